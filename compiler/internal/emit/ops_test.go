package emit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func TestMatMulMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(3, 1))
	one := func(n int) int { return 1 + r.IntN(n) }
	dims := func(s ...int) string { return strings.Trim(ir.Shape(s).String(), "[]") }
	for range 120 {
		m, k, n := one(9), one(40), one(19)
		var la, lb []int
		for range r.IntN(4) {
			d := one(3)
			la, lb = append(la, d), append(lb, d)
			switch r.IntN(4) {
			case 0:
				la[len(la)-1] = 1
			case 1:
				lb[len(lb)-1] = 1
			}
		}
		lead, _ := ir.Broadcast(la, lb)
		drop := r.IntN(len(lb) + 1) // leading axes may be missing
		lb = lb[drop:]
		if drop > 0 {
			lead, _ = ir.Broadcast(la, lb)
		}
		right := "input f32[" + dims(append(lb, k, n)...) + "]"
		if r.IntN(2) == 0 {
			right = "const f32[" + dims(append(lb, k, n)...) + "] rand(9)"
		}
		residual, arg := "", ""
		if r.IntN(3) == 0 {
			residual, arg = "%r = input f32["+dims(append(slices.Clone(lead), m, n)...)+"]\n", ", %r"
		}
		act := acts[r.IntN(14)]
		tol := sums
		if act == "exp" {
			tol = 1e-4 // e^x multiplies the error of a sum of ±10 by e^10
		}
		if act != "" {
			act = " Act=" + act
		}
		b.check(fmt.Sprintf(`graph product
%%a = input f32[%s]
%%b = %s
%s%%c = const f32[%d] rand(8)
%%y = matmul(%%a, %%b, %%c%s)%s
return %%y
`, dims(append(la, m, k)...), right, residual, n, arg, act), tol)
	}
}

// special are the values where functions break: both zeros and infinities, NaN, denormals, the ends of
// the range, halves, and where exp overflows and underflows.
func special() []float32 {
	v := []float32{0, 1, 2, 0.5, 1.5, 2.5, 3.5, 1e-3, 0.03, 0.04, 0.05, 0.3, 3, 6, 7, 10, 17, 88.5, 88.73, 89, 100, 103, 104, 105, 1000,
		1e-10, 1e-20, 1e10, 1e20, 8388607.5, 16777216, math.MaxFloat32, math.SmallestNonzeroFloat32, 1.1754942e-38, 1.17549435e-38, float32(math.Inf(1))}
	for _, x := range slices.Clone(v) {
		v = append(v, float32(math.Copysign(float64(x), -1)))
	}
	v = append(v, float32(math.NaN()))
	for i := range 200 {
		v = append(v, float32(i-100)/7)
	}
	return v
}

func TestUnaryMatchesEval(t *testing.T) {
	b := newBench(t)
	x := special()
	// The functions whose error grows with their argument: e^x doubles that of x at x = 1.
	tols := map[string]float64{"clip": exact, "leakyrelu": 1e-7, "hardsigmoid": 2e-7, "hardswish": 5e-7, "abs": exact, "neg": exact,
		"sqrt": exact, "floor": exact, "ceil": exact, "round": exact, "sign": exact, "above": exact, "softsign": 2e-7}
	for _, act := range append(acts[1:], "log", "erf", "gelu", "gelutanh", "mish", "clip(-Inf,0)", "clip(1,-1)", "leakyrelu(0)", "leakyrelu(-2)", "elu(0.5)", "hardsigmoid(0.5,-1)",
		"affine(0.5,-1)", "scaledtanh(0.5,1.5)", "softsign", "softplus", "above(0.3)") {
		t.Run(act, func(t *testing.T) {
			b := &bench{t, b.rt}
			name, rest, _ := strings.Cut(act, "(")
			tol, ok := tols[name]
			if !ok {
				tol = transcendental
			}
			params := ""
			if rest != "" {
				params = " P=[" + strings.TrimSuffix(rest, ")") + "]"
				if !strings.Contains(rest, ",") {
					params = " P=[" + strings.TrimSuffix(rest, ")") + ",0]"
				}
			}
			for _, n := range []int{len(x), 1, 2, 3} { // whole vectors and each kind of rest
				b.check(fmt.Sprintf("graph f\n%%x = input f32[%d]\n%%y = unary(%%x) Fn=%s%s\nreturn %%y\n", n, name, params), tol, ir.Floats(x[:n], n))
			}
		})
	}
}

func TestBinaryMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(4, 1))
	for _, fn := range []string{"add", "sub", "mul", "div", "min", "max"} {
		// Every special value with every other.
		s := special()[:73]
		b.check(fmt.Sprintf("graph f\n%%x = input f32[73,1]\n%%z = input f32[1,73]\n%%y = binary(%%x, %%z) Fn=%s\nreturn %%y\n", fn),
			exact, ir.Floats(s, 73, 1), ir.Floats(s, 1, 73))
		for range 25 {
			rank := r.IntN(7)
			var p, q []string
			for range rank {
				d := 1 + r.IntN(4)
				e := d
				switch r.IntN(4) {
				case 0:
					d = 1
				case 1:
					e = 1
				}
				p, q = append(p, fmt.Sprint(d)), append(q, fmt.Sprint(e))
			}
			q = q[r.IntN(rank+1):]
			kind, seed := "input", ""
			if r.IntN(2) == 0 {
				kind, seed = "const", " rand(5)"
			}
			args := "%x, %z"
			if r.IntN(2) == 0 {
				args = "%z, %x"
			}
			b.check(fmt.Sprintf("graph f\n%%x = input f32[%s]\n%%z = %s f32[%s]%s\n%%y = binary(%s) Fn=%s\nreturn %%y\n",
				strings.Join(p, ","), kind, strings.Join(q, ","), seed, args, fn), exact)
		}
	}
}

func TestReduceMatchesEval(t *testing.T) {
	b := newBench(t)
	for _, fn := range []string{"sum", "mean", "max", "min"} {
		for _, shape := range []ir.Shape{{7}, {1}, {3, 5}, {2, 3, 4}, {2, 5, 3, 7}, {1, 7, 7, 6}, {2, 1, 3, 1, 5}, {2, 2, 2, 3, 2, 2}} {
			for set := range 1 << len(shape) {
				axes := []string{}
				for a := range shape {
					if set>>a&1 == 1 {
						axes = append(axes, fmt.Sprint(a))
					}
				}
				if len(shape) > 4 && set%3 != 0 { // a third of the many
					continue
				}
				b.check(fmt.Sprintf("graph r\n%%x = input f32%v\n%%y = reduce(%%x) Fn=%s Axes=[%s]\nreturn %%y\n", shape, fn, strings.Join(axes, ",")), sums)
			}
		}
		x := special()[:73]
		for _, n := range []int{1, 2, 3, 5, 71, 73} { // NaN wins, infinities of both signs make one
			b.check(fmt.Sprintf("graph r\n%%x = input f32[%d]\n%%y = reduce(%%x) Fn=%s Axes=[0]\nreturn %%y\n", n, fn), sums, ir.Floats(x[73-n:], n))
		}
	}
}

func TestPoolMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(5, 1))
	one := func(n int) int { return 1 + r.IntN(n) }
	for done := 0; done < 150; {
		h, w := one(9), one(9)
		kh, kw, dh, dw := one(3), one(4), one(2), one(2)
		p := [4]int{r.IntN(kh), r.IntN(kw), r.IntN(kh), r.IntN(kw)}
		flags := []string{"", " Ceil=true", " CountPad=true", " Ceil=true CountPad=true"}[r.IntN(4)]
		fn := []string{"max", "avg"}[r.IntN(2)]
		if w+p[1]+p[3] <= (kw-1)*dw || h+p[0]+p[2] <= (kh-1)*dh {
			continue
		}
		if done%4 == 0 {
			b.check(fmt.Sprintf("graph p\n%%x = input f32[%d,%d,%d]\n%%y = pool(%%x) Fn=%s Kernel=[%d] Strides=[%d] Dilations=[%d] Pads=[%d,%d]%s\nreturn %%y\n",
				one(2), w, one(9), fn, kw, one(3), dw, p[1], p[3], flags), sums)
		} else {
			b.check(fmt.Sprintf("graph p\n%%x = input f32[%d,%d,%d,%d]\n%%y = pool(%%x) Fn=%s Kernel=[%d,%d] Strides=[%d,%d] Dilations=[%d,%d] Pads=[%d,%d,%d,%d]%s\nreturn %%y\n",
				one(2), h, w, one(9), fn, kh, kw, one(3), one(3), dh, dw, p[0], p[1], p[2], p[3], flags), sums)
		}
		done++
	}
	// All taps of the corner windows lie in the padding.
	for _, fn := range []string{"max", "avg"} {
		b.check("graph p\n%x = input f32[1,3,3,5]\n%y = pool(%x) Fn="+fn+" Kernel=[2,2] Strides=[1,1] Dilations=[4,4] Pads=[1,1,1,1]\nreturn %y\n", sums)
	}
}

func TestSoftmaxMatchesEval(t *testing.T) {
	b := newBench(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, row := range [][]float32{{3}, {-inf}, {nan}, {1e30, 1e30}, {-1e30, 1e30, 0}, {-inf, 0, -inf, 1, -inf}, {-inf, -inf}, {inf, 1}, {1, nan, 2},
		{88, 89, 90, 91, 92}, {-200, -100, 0, 0}, {0, 0, 0, 0, 0, 0, 0}, {1000, 999, 998, 997, 996, 995, 994, 993, 992}} {
		n := len(row)
		b.check(fmt.Sprintf("graph s\n%%x = input f32[%d]\n%%y = softmax(%%x)\nreturn %%y\n", n), transcendental, ir.Floats(row, n))
		both := slices.Concat(row, slices.Repeat([]float32{0.25}, n))
		b.check(fmt.Sprintf("graph s\n%%x = input f32[2,%d]\n%%y = softmax(%%x)\nreturn %%y\n", n), transcendental, ir.Floats(both, 2, n))
	}
	b.check("graph s\n%x = input f32[3,2,1000]\n%y = softmax(%x)\nreturn %y\n", transcendental)
}
