package emit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

var intTypes = []ir.DType{ir.I64, ir.I32, ir.I16, ir.I8, ir.U64, ir.U32, ir.U16, ir.U8}

// edges are values of t where integer functions break, and seeded ones.
func edges(t ir.DType, r *rand.Rand, dims ...int) *ir.Tensor {
	x := ir.NewTensor(ir.Of(t, dims...))
	if t.Float() {
		s := special()
		for i := range x.F {
			x.F[i] = s[r.IntN(len(s))]
		}
		return x
	}
	s := []int64{0, 1, 2, 3, 5, 7, 31, 63, 64, 100}
	bits := 8 * t.Size()
	if t.Signed() {
		s = append(s, -1, -2, -3, -7, -100, -1<<(bits-1), 1<<(bits-1)-1)
	} else if t != ir.U64 {
		s = append(s, 1<<bits-1, 1<<(bits-1))
	} else {
		s = append(s, -1, math.MinInt64)
	}
	for i := range x.I {
		x.I[i] = s[r.IntN(len(s))]
		if t == ir.Bool {
			x.I[i] &= 1
		}
	}
	return x
}

// shapes returns two shapes that broadcast, of up to five axes.
func shapes(r *rand.Rand) (a, b []int) {
	for range r.IntN(6) {
		d := 1 + r.IntN(5)
		e := d
		switch r.IntN(4) {
		case 0:
			d = 1
		case 1:
			e = 1
		}
		a, b = append(a, d), append(b, e)
	}
	if len(a) > 0 && r.IntN(2) == 0 { // long enough for vectors and a rest
		n := 1 + r.IntN(40)
		a[len(a)-1], b[len(b)-1] = n, n
	}
	return a, b[r.IntN(len(b)+1):]
}

// TestEachMatchesEval runs each function on each of its types, over operands that broadcast.
func TestEachMatchesEval(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	b := newBench(t)
	all := append([]ir.DType{ir.F32, ir.Bool}, intTypes...)
	for _, fn := range []string{"eq", "lt", "le", "and", "or", "xor", "not", "shl", "shr", "mod", "fmod", "pow", "where", "abs", "neg", "sign",
		"add", "sub", "mul", "div", "min", "max"} {
		op, tol := "each", 0.
		if strings.Contains("add sub mul div min max", fn) {
			op = "binary"
		}
		if fn == "pow" {
			tol = transcendental
		}
		for _, typ := range all {
			for round := range 6 {
				p, q := shapes(r)
				x, y := edges(typ, r, p...), edges(typ, r, q...)
				head := fmt.Sprintf("graph f\n%%x = input %v\n", x.Type)
				args, in := "%x", []*ir.Tensor{x}
				switch fn {
				case "not", "abs", "neg", "sign":
				case "where":
					c := edges(ir.Bool, r, p...)
					head += fmt.Sprintf("%%z = input %v\n%%c = input %v\n", y.Type, c.Type)
					args, in = "%c, %x, %z", []*ir.Tensor{x, y, c}
				default:
					head += fmt.Sprintf("%%z = input %v\n", y.Type)
					args, in = "%x, %z", []*ir.Tensor{x, y}
					if round%2 == 1 {
						args = "%z, %x"
					}
				}
				text := fmt.Sprintf("%s%%y = %s(%s) Fn=%s\nreturn %%y\n", head, op, args, fn)
				if _, err := ir.Parse(text); err != nil {
					break // no such function of this type
				}
				b.check(text, tol, in...)
			}
		}
	}
}

func TestCastMatchesEval(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	b := newBench(t)
	all := append([]ir.DType{ir.F32, ir.Bool}, intTypes...)
	for _, from := range all {
		for _, to := range all {
			for _, n := range []int{1, 3, 4, 37} {
				b.check(fmt.Sprintf("graph f\n%%x = input %v[%d]\n%%y = cast(%%x) To=%v\nreturn %%y\n", from, n, to), exact, edges(from, r, n))
			}
		}
	}
	x := special()
	for _, to := range all {
		b.check(fmt.Sprintf("graph f\n%%x = input f32[%d]\n%%y = cast(%%x) To=%v\nreturn %%y\n", len(x), to), exact, ir.Floats(x, len(x)))
	}
}

func TestCurvesMatchEval(t *testing.T) {
	b := newBench(t)
	x := special()
	for _, fn := range []string{"sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "isnan", "isinf"} {
		p, tol := "", transcendental
		var in []float32
		for _, v := range x {
			if math.Abs(float64(v)) > 1e6 && strings.Contains("sin cos tan", fn) {
				continue // the reduction to a period loses digits there, see kernel
			}
			in = append(in, v)
		}
		for round := range 4 {
			if fn == "isinf" {
				p = fmt.Sprintf(" P=[%d,%d]", round%2, round/2)
			}
			n := len(in) >> round // whole, and down to a few
			b.check(fmt.Sprintf("graph f\n%%x = input f32[%d]\n%%y = each(%%x) Fn=%s%s\nreturn %%y\n", n, fn, p), tol, ir.Floats(in[len(in)-n:], n))
		}
	}
}

// TestRunTimeIndices covers gathering and scattering at places that the input says.
func TestRunTimeIndices(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(13, 1))
	all := append([]ir.DType{ir.F32, ir.F32, ir.Bool}, intTypes...)
	for round := range 240 {
		rank := 1 + r.IntN(4)
		s := make(ir.Shape, rank)
		for i := range s {
			s[i] = 1 + r.IntN(6)
		}
		typ, axis := all[r.IntN(len(all))], r.IntN(rank)
		x := edges(typ, r, s...)
		for i, v := range x.F { // sums and products of infinities are no test of places
			if v != v || v > 1e6 || v < -1e6 {
				x.F[i] = float32(i)
			}
		}
		idxType := []ir.DType{ir.I64, ir.I32}[r.IntN(2)]
		places := func(n int, dims ...int) *ir.Tensor {
			idx := ir.NewTensor(ir.Of(idxType, dims...))
			for i := range idx.I {
				idx.I[i] = int64(r.IntN(2*n) - n)
			}
			return idx
		}
		idx, updates := places(s[axis], 1+r.IntN(4)), (*ir.Tensor)(nil)
		node := ""
		fn := []string{"", " Fn=add", " Fn=mul", " Fn=min", " Fn=max"}[r.IntN(5)]
		if typ == ir.Bool {
			fn = ""
		}
		switch round % 6 {
		case 0:
			if r.IntN(4) == 0 {
				idx = places(s[axis], 1+r.IntN(3), 1+r.IntN(3))
			}
			node = fmt.Sprintf("gather(%%x, %%i) Axis=%d", axis)
		case 1, 2:
			d := append(ir.Shape{}, s...)
			for i := range d {
				d[i] = 1 + r.IntN(d[i])
			}
			idx = places(s[axis], d...)
			node = fmt.Sprintf("gatherelements(%%x, %%i) Axis=%d", axis)
			if round%6 == 2 {
				updates = edges(typ, r, d...)
				node = fmt.Sprintf("scatterelements(%%x, %%i, %%u) Axis=%d%s", axis, fn)
			}
		case 3, 4, 5:
			batch := 0
			if round%6 == 5 {
				batch = r.IntN(rank)
			}
			k := 1 + r.IntN(rank-batch)
			d := append(append(ir.Shape{}, s[:batch]...), 1+r.IntN(4), k)
			idx = places(1, d...)
			for i := range idx.I {
				n := s[batch+i%k]
				idx.I[i] = int64(r.IntN(2*n) - n)
			}
			node = fmt.Sprintf("gathernd(%%x, %%i) Batch=%d", batch)
			if round%6 == 4 {
				updates = edges(typ, r, append(append([]int{}, d[:len(d)-1]...), s[k:]...)...)
				node = "scatternd(%x, %i, %u)" + fn
			}
		}
		head, in := fmt.Sprintf("graph g\n%%x = input %v\n%%i = input %v\n", x.Type, idx.Type), []*ir.Tensor{x, idx}
		if updates != nil {
			head += fmt.Sprintf("%%u = input %v\n", updates.Type)
			in = append(in, updates)
		}
		b.check(fmt.Sprintf("%s%%y = %s\nreturn %%y\n", head, node), exact, in...)
	}
}

// TestRowsMatchEval covers what goes along one axis: places of extremes, the greatest few, running sums,
// and reductions of integers.
func TestRowsMatchEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(14, 1))
	all := append([]ir.DType{ir.F32, ir.F32, ir.F32}, intTypes...)
	for round := range 320 {
		s := make(ir.Shape, 1+r.IntN(4))
		for i := range s {
			s[i] = 1 + r.IntN(7)
		}
		typ, axis := all[r.IntN(len(all))], r.IntN(len(s))
		x, node, out := edges(typ, r, s...), "", "%y"
		switch round % 4 {
		case 0:
			node = fmt.Sprintf("arg(%%x) Fn=%s Axis=%d Last=%v", []string{"max", "min"}[r.IntN(2)], axis, r.IntN(2) == 0)
		case 1:
			out = "%y, %z"
			node = fmt.Sprintf("topk(%%x) Axis=%d K=%d Smallest=%v", axis, 1+r.IntN(s[axis]), r.IntN(2) == 0)
		case 2:
			for i := range x.F {
				x.F[i] = float32(r.IntN(9) - 4) // exact in any order
			}
			node = fmt.Sprintf("cumulate(%%x) Fn=%s Axis=%d Exclusive=%v Reverse=%v", []string{"add", "mul"}[r.IntN(2)], axis, r.IntN(2) == 0, r.IntN(2) == 0)
		case 3:
			if typ == ir.F32 {
				typ = ir.Bool
			}
			x = edges(typ, r, s...)
			fn := []string{"max", "min", "sum", "prod", "mean"}[r.IntN(5)]
			if typ == ir.Bool {
				fn = []string{"max", "min"}[r.IntN(2)]
			}
			node = fmt.Sprintf("reduce(%%x) Fn=%s Axes=[%d]", fn, axis)
		}
		b.check(fmt.Sprintf("graph g\n%%x = input %v\n%s = %s\nreturn %s\n", x.Type, out, node, out), exact, x)
	}
}

// TestMovementOfTypes moves elements of each size.
func TestMovementOfTypes(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(15, 1))
	for round := range 160 {
		typ := []ir.DType{ir.Bool, ir.I8, ir.U16, ir.I32, ir.I64}[r.IntN(5)]
		s := make(ir.Shape, 1+r.IntN(4))
		for i := range s {
			s[i] = 1 + r.IntN(9)
		}
		axis, node := r.IntN(len(s)), ""
		switch round % 6 {
		case 0:
			node = "transpose(%x) Perm=" + list(r.Perm(len(s)))
		case 1:
			ones, zeros := make([]int, len(s)), make([]int, len(s))
			for i := range ones {
				ones[i] = 1
			}
			count := append(ir.Shape{}, s...)
			count[axis], zeros[axis], ones[axis] = (s[axis]+1)/2, s[axis]-1, -1
			node = fmt.Sprintf("slice(%%x) Start=%s Count=%s Step=%s", list(zeros), list(count), list(ones))
		case 2:
			pads := make([]int, 2*len(s))
			for i := range pads {
				pads[i] = r.IntN(3)
			}
			node = fmt.Sprintf("pad(%%x) Pads=%s Int=1", list(pads))
		case 3:
			node = fmt.Sprintf("concat(%%x, %%x) Axis=%d", axis)
		case 4:
			node = "expand(%x) Shape=" + list(append(ir.Shape{3}, s...))
		case 5:
			node = fmt.Sprintf("reshape(%%x) Shape=[%d]", s.Elems())
		}
		b.check(fmt.Sprintf("graph g\n%%x = input %v%v\n%%y = %s\nreturn %%y\n", typ, s, node), exact, edges(typ, r, s...))
	}
}

// TestConstantIndices covers indices that become copies of runs, and those that become a table.
func TestConstantIndices(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(16, 1))
	for range 60 {
		s := ir.Shape{1 + r.IntN(4), 1 + r.IntN(30), 1 + r.IntN(5)}
		typ, axis := []ir.DType{ir.F32, ir.I64, ir.U8}[r.IntN(3)], r.IntN(3)
		var idx []string
		for range 1 + r.IntN(60) {
			idx = append(idx, fmt.Sprint(r.IntN(2*s[axis])-s[axis]))
		}
		b.check(fmt.Sprintf("graph g\n%%x = input %v%v\n%%i = const i64[%d] {%s}\n%%y = gather(%%x, %%i) Axis=%d\nreturn %%y\n",
			typ, s, len(idx), strings.Join(idx, " "), axis), exact, edges(typ, r, s...))
	}
}
