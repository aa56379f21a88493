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

// bytesOf is a tensor of random bytes, the ends of the range among them.
func bytesOf(r *rand.Rand, t ir.DType, dims ...int) *ir.Tensor {
	x := ir.NewTensor(ir.Of(t, dims...))
	lo := int64(0)
	if t == ir.I8 {
		lo = -128
	}
	for i := range x.I {
		x.I[i] = lo + []int64{0, 255, int64(r.IntN(256)), int64(r.IntN(256))}[r.IntN(4)]
	}
	return x
}

// elements writes the elements of a constant.
func elements[T any](v []T) string { return strings.Trim(fmt.Sprint(v), "[]") }

// TestIntConvMatchesEval covers depthwise, grouped and dense windows and products; sums are exact, so
// that every byte must be the oracle's.
func TestIntConvMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(51, 1))
	for i := range 90 {
		spatial := 1 + r.IntN(2)
		n, group, icg, ocg := 1+r.IntN(2), 1, 1+r.IntN(19), 1+r.IntN(37)
		switch i % 3 {
		case 1:
			group, icg, ocg = 1+r.IntN(21), 1, 1
		case 2:
			group, icg, ocg = 1+r.IntN(3), 1+r.IntN(5), 1+r.IntN(6)
		}
		if i%15 == 0 { // deep enough for a loop
			icg = 40 + r.IntN(30)
		}
		var x, k, strides, dilations, before, after []int
		for range spatial {
			kernel, d := 1+r.IntN(4), 1+r.IntN(2)
			if i%5 == 0 {
				kernel = 1
			}
			p, q := r.IntN(2), r.IntN(3)
			k, strides, dilations = append(k, kernel), append(strides, 1+r.IntN(3)), append(dilations, d)
			before, after = append(before, p), append(after, q)
			x = append(x, max((kernel-1)*d+1-p-q, 1)+r.IntN(9))
		}
		oc, taps := ocg*group, 1
		for _, e := range k {
			taps *= e
		}
		w := make([]int, taps*icg*oc)
		for j := range w {
			w[j] = r.IntN(511) - 255
		}
		bias, scale := make([]int, oc), make([]float32, oc)
		for j := range bias {
			bias[j], scale[j] = r.IntN(20001)-10000, float32(math.Exp2(float64(-6-r.IntN(9))))*(1+r.Float32())
		}
		from := []ir.DType{ir.U8, ir.I8}[r.IntN(2)]
		to := []ir.DType{ir.U8, ir.I8, ir.I32}[r.IntN(3)]
		zero, out, lo, hi := r.IntN(256), r.IntN(256), 0, 255
		if from == ir.I8 {
			zero -= 128
		}
		if to == ir.I8 {
			out, lo, hi = out-128, -128, 127
		}
		if r.IntN(3) == 0 {
			lo, hi = lo+r.IntN(100), hi-r.IntN(100)
		}
		dims := slices.Concat([]int{n}, x, []int{icg * group})
		b.check(fmt.Sprintf(`graph c
%%x = input %v%s
%%w = const i16%s {%s}
%%b = const i32[%d] {%s}
%%s = const f32[%d] {%s}
%%y = intconv(%%x, %%w, %%b, %%s) Strides=%s Dilations=%s Pads=%s Group=%d Zero=%d OutZero=%d Lo=%d Hi=%d To=%v
return %%y
`, from, list(dims), list(slices.Concat(k, []int{icg, oc})), elements(w), oc, elements(bias), oc, elements(scale),
			list(strides), list(dilations), list(slices.Concat(before, after)), group, zero, out, lo, hi, to),
			exact, bytesOf(r, from, dims...))
	}
}

// TestQuantisedWhileRunningMatchesEval covers products whose operand is quantised over its own range: the zero
// point, and with it padding and bias, and the scale are computed. A result of i32 has every bit of the
// oracle's.
func TestQuantisedWhileRunningMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(55, 1))
	for i := range 80 {
		group, icg, ocg := 1, 1+r.IntN(19), 1+r.IntN(37)
		switch i % 4 {
		case 1: // depthwise
			group, icg, ocg = 1+r.IntN(21), 1, 1
		case 2:
			group, icg, ocg = 2+r.IntN(2), 1+r.IntN(5), 1+r.IntN(6)
		}
		x, kernel, pad := []int{1 + r.IntN(2), 3 + r.IntN(7), 3 + r.IntN(5), icg * group}, 1+r.IntN(3), r.IntN(2)
		if i%4 == 3 { // a product
			x, kernel, pad = []int{1, 1, 1 + r.IntN(9), icg + r.IntN(50)}, 1, 0
			icg = x[3]
		}
		oc := ocg * group
		k := []int{min(kernel, x[1]), kernel, icg, oc}
		w, bias, scale, sum := make([]int, k[0]*k[1]*icg*oc), make([]int, oc), make([]float32, oc), make([]float32, oc)
		for j := range w {
			w[j] = r.IntN(511) - 255
		}
		for j := range bias {
			bias[j], scale[j], sum[j] = r.IntN(2001)-1000, 0.001*(1+r.Float32()), r.Float32()-0.5
		}
		to := []string{"To=i32", "To=f32", "To=f32 Act=clip(0,1)", "To=f32 Act=sigmoid"}[i/4%4]
		more, tol := "", float64(exact)
		if i/4%4 > 0 {
			more = ", %step, %t"
		}
		if i/4%4 == 3 {
			tol = transcendental
		}
		consts := fmt.Sprintf(`%%w = const i16%s {%s}
%%b = const i32[%d] {%s}
%%s = const f32[%d] {%s}
%%t = const f32[%d] {%s}
`, list(k), elements(w), oc, elements(bias), oc, elements(scale), oc, elements(sum))
		op := fmt.Sprintf("Strides=[%d,1] Dilations=[1,1] Pads=[%d,%d,0,%d] Group=%d %s\n", 1+r.IntN(2), pad, pad, pad, group, to)
		if i%2 == 0 {
			in := ir.NewTensor(ir.Of(ir.F32, x...))
			for j := range in.F {
				in.F[j] = (r.Float32() - float32(i%5)/4) * float32(math.Exp2(float64(r.IntN(9)-4)))
			}
			b.check("graph d\n%x = input f32"+list(x)+"\n"+consts+"%step, %z = grid(%x)\n%q = ongrid(%x, %step, %z)\n"+
				"%y = intconv(%q, %w, %b, %s, %z"+more+") "+op+"return %y, %q, %step, %z\n", tol, in)
			continue
		}
		if i%8 == 5 {
			b.check("graph d\n%q = input i8"+list(x)+"\n%z = const i8[1] {-7}\n%step = const f32[1] {0.3}\n"+consts+
				"%y = intconv(%q, %w, %b, %s, %z"+more+") "+op+"return %y\n", tol, bytesOf(r, ir.I8, x...))
			continue
		}
		step := ir.Floats([]float32{r.Float32()})
		step.Shape = ir.Shape{}
		b.check("graph d\n%q = input i8"+list(x)+"\n%z = input i8[1]\n%step = input f32[]\n"+consts+
			"%y = intconv(%q, %w, %b, %s, %z"+more+") "+op+"return %y\n", tol, bytesOf(r, ir.I8, x...), bytesOf(r, ir.I8, 1), step)
	}
}

// Ranges that begin or end at 0, of one value, of none, of numbers beside which 255 steps are not f32, and with
// what is no number.
func TestGridMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(56, 1))
	inf, nan, least := float32(math.Inf(1)), float32(math.NaN()), math.Float32frombits(1)
	for i, edges := range [][]float32{
		{1}, {-1}, {0}, {-0.5, 0.5}, {3e38, -3e38}, {inf, 1}, {-inf, 1}, {inf, -inf}, {nan, 1, -2}, {nan}, {least}, {-300 * least},
		{-200 * least, 0}, {1e-40, 5}, {-127.5, 127.5}, {-1, 254},
	} {
		for _, n := range []int{1, 2, 3, 4, 7, 16, 18, 33, 50} {
			x := make([]float32, n)
			for j := range x {
				if x[j] = edges[r.IntN(len(edges))]; i > 2 && r.IntN(2) == 0 {
					x[j] *= r.Float32()
				}
			}
			b.check(fmt.Sprintf("graph g\n%%x = input f32[%d]\n%%s, %%z = grid(%%x)\n%%y = ongrid(%%x, %%s, %%z)\nreturn %%y, %%s, %%z\n", n), exact, ir.Floats(x, n))
		}
	}
}

func TestQuantizeMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(52, 1))
	inf := float32(math.Inf(1))
	edges := []float32{0, 0.5, 1.5, -0.5, -1.5, 1e9, -1e9, inf, -inf, float32(math.NaN()), 126.5, 127.5, 254.5, 255.5, -127.5, -128.5}
	for i := range 40 {
		n := 1 + r.IntN(50)
		to, zero, lo, hi := "u8", r.IntN(256), 0, 255
		if i%2 == 0 {
			to, zero, lo, hi = "i8", zero-128, -128, 127
		}
		if i%5 == 0 {
			lo, hi = lo+10, hi-10
		}
		x := make([]float32, n)
		scale := []float32{1, 0.1, 0.0123}[i%3]
		for j := range x {
			if x[j] = (r.Float32() - 0.5) * 300 * scale; r.IntN(3) == 0 {
				x[j] = edges[r.IntN(len(edges))] * scale
			}
		}
		b.check(fmt.Sprintf(`graph q
%%x = input f32[%d]
%%q = quantize(%%x) Scale=%v Zero=%d Lo=%d Hi=%d To=%s
%%y = dequantize(%%q) Scale=%v Zero=%d
return %%q, %%y
`, n, scale, zero, lo, hi, to, scale, zero), exact, ir.Floats(x, n))
	}
}

func TestIntBinaryMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(53, 1))
	for i := range 40 {
		n := 1 + r.IntN(70)
		kinds := []ir.DType{ir.U8, ir.I8}
		ka, kb, to := kinds[r.IntN(2)], kinds[r.IntN(2)], kinds[r.IntN(2)]
		lo, hi := 0, 255
		if to == ir.I8 {
			lo, hi = -128, 127
		}
		b.check(fmt.Sprintf(`graph b
%%a = input %v[%d]
%%b = input %v[%d]
%%y = intbinary(%%a, %%b) Fn=%s ScaleA=%v ScaleB=%v ZeroA=%d ZeroB=%d Zero=%d Lo=%d Hi=%d To=%v
return %%y
`, ka, n, kb, n, []string{"add", "mul"}[i%2], r.Float32()*0.3, r.Float32()*0.3, r.IntN(100), r.IntN(100), lo+r.IntN(256), lo, hi, to),
			exact, bytesOf(r, ka, n), bytesOf(r, kb, n))
	}
}

// Functions of one byte become tables, and what moves bytes between them moves bytes.
func TestTablesMatchEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(54, 1))
	for i := range 30 {
		n := 1 + r.IntN(70)
		kind, to, lo, hi := ir.U8, ir.I8, -128, 127
		if i%2 == 0 {
			kind, to, lo, hi = ir.I8, ir.U8, 0, 255
		}
		b.check(fmt.Sprintf(`graph t
%%x = input %v[2,%d]
%%a = dequantize(%%x) Scale=0.0625 Zero=%d
%%s = unary(%%a) Fn=%s
%%t = transpose(%%s) Perm=[1,0]
%%z = dequantize(%%x) Scale=0.5 Zero=1
%%u = transpose(%%z) Perm=[1,0]
%%c = concat(%%t, %%u) Axis=%d
%%y = quantize(%%c) Scale=0.03125 Zero=%d Lo=%d Hi=%d To=%v
return %%y
`, kind, n, lo+r.IntN(256), []string{"sigmoid", "tanh", "hardswish", "neg"}[i%4], r.IntN(2), lo+r.IntN(256), lo, hi, to), exact, bytesOf(r, kind, 2, n))
	}
}
