package emit

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// acts are the epilogues that kernels know, in the text form.
var acts = []string{"", "clip(0,+Inf)", "clip(0,6)", "clip(-0.5,0.5)", "leakyrelu(0.1)", "hardsigmoid(0.2,0.5)",
	"hardswish", "sigmoid", "silu", "tanh", "exp", "elu(1)", "abs", "neg", "sqrt", "floor", "ceil", "round", "sign"}

// conv is one convolution in the text form, behind a copy or right behind the graph's input, where
// its padding takes a node of its own.
type conv struct {
	n, h, w, c, oc, group  int // h 0: one spatial axis
	kh, kw, sh, sw, dh, dw int
	pads                   [4]int // top, left, bottom, right
	behind, residual       bool
	act                    string
}

func (v conv) String() string {
	x, k := fmt.Sprintf("%d,%d,%d,%d", v.n, v.h, v.w, v.c), fmt.Sprintf("%d,%d", v.kh, v.kw)
	at := fmt.Sprintf("Strides=[%d,%d] Dilations=[%d,%d] Pads=[%d,%d,%d,%d]", v.sh, v.sw, v.dh, v.dw, v.pads[0], v.pads[1], v.pads[2], v.pads[3])
	y := ""
	if v.h > 0 {
		y = fmt.Sprintf("%d,%d,%d,%d", v.n, v.out(v.h, v.kh, v.sh, v.dh, v.pads[0]+v.pads[2]), v.outW(), v.oc)
	} else {
		x, k = fmt.Sprintf("%d,%d,%d", v.n, v.w, v.c), fmt.Sprint(v.kw)
		at = fmt.Sprintf("Strides=[%d] Dilations=[%d] Pads=[%d,%d]", v.sw, v.dw, v.pads[1], v.pads[3])
		y = fmt.Sprintf("%d,%d,%d", v.n, v.outW(), v.oc)
	}
	s := fmt.Sprintf("graph conv\n%%x = input f32[%s]\n", x)
	in, args := "%x", ""
	if v.residual {
		s += fmt.Sprintf("%%r = input f32[%s]\n", y)
		args = ", %r"
	}
	if v.behind {
		s += "%copy = unary(%x) Fn=neg\n"
		in = "%copy"
	}
	s += fmt.Sprintf("%%w = const f32[%s,%d,%d] rand(3)\n%%b = const f32[%d] rand(4)\n", k, v.c/v.group, v.oc, v.oc)
	s += fmt.Sprintf("%%y = conv(%s, %%w, %%b%s) %s Group=%d", in, args, at, v.group)
	if v.act != "" {
		s += " Act=" + v.act
	}
	return s + "\nreturn %y\n"
}

func (v conv) out(n, k, s, d, pad int) int { return (n+pad-(k-1)*d-1)/s + 1 }
func (v conv) outW() int                   { return v.out(v.w, v.kw, v.sw, v.dw, v.pads[1]+v.pads[3]) }

func (v conv) fits() bool {
	return v.w+v.pads[1]+v.pads[3] > (v.kw-1)*v.dw && (v.h == 0 || v.h+v.pads[0]+v.pads[2] > (v.kh-1)*v.dh)
}

func TestConvMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(2, 1))
	one := func(n int) int { return 1 + r.IntN(n) }
	for done := 0; done < 220; {
		v := conv{
			n: one(2), h: r.IntN(9), w: one(9), kh: one(4), kw: one(4), sh: one(3), sw: one(3), dh: one(2), dw: one(2),
			behind: r.IntN(2) == 0, residual: r.IntN(3) == 0, act: acts[r.IntN(len(acts))],
		}
		for i := range v.pads {
			v.pads[i] = r.IntN(2) * r.IntN(4)
		}
		if v.act == "sqrt" && v.residual {
			continue // half of the values are NaN, and near zero an error of 1e-7 becomes one of 3e-4
		}
		switch r.IntN(4) {
		case 0: // depthwise
			v.c = one(13)
			v.oc, v.group = v.c, v.c
		case 1: // groups
			v.group = one(3)
			v.c, v.oc = v.group*one(5), v.group*one(6)
		default:
			v.c, v.oc, v.group = one(17), one(19), 1
		}
		if !v.fits() {
			continue
		}
		tol := sums
		switch v.act {
		case "floor", "ceil", "round", "sign", "sqrt":
			v.act = "" // a sum one unit off is another integer; TestUnaryMatchesEval has them
		case "exp":
			tol = 1e-4 // sums of ±20 multiply their error by e^x·x
		}
		b.check(v.String(), tol)
		done++
	}
}

// The shapes that a random draw rarely meets.
func TestConvCorners(t *testing.T) {
	b := newBench(t)
	for name, v := range map[string]conv{
		"one pixel":                  {n: 1, h: 1, w: 1, c: 1, oc: 1, group: 1, kh: 1, kw: 1, sh: 1, sw: 1, dh: 1, dw: 1},
		"kernel larger than input":   {n: 1, h: 2, w: 2, c: 3, oc: 5, group: 1, kh: 5, kw: 5, sh: 1, sw: 1, dh: 1, dw: 1, pads: [4]int{2, 2, 2, 2}},
		"the same behind a node":     {n: 2, h: 2, w: 2, c: 3, oc: 5, group: 1, kh: 5, kw: 5, sh: 1, sw: 1, dh: 1, dw: 1, pads: [4]int{2, 2, 2, 2}, behind: true},
		"depthwise, larger kernel":   {n: 2, h: 2, w: 3, c: 7, oc: 7, group: 7, kh: 5, kw: 5, sh: 1, sw: 1, dh: 1, dw: 1, pads: [4]int{2, 2, 2, 2}, behind: true},
		"depthwise, wide stride":     {n: 1, h: 9, w: 11, c: 6, oc: 6, group: 6, kh: 3, kw: 3, sh: 4, sw: 5, dh: 1, dw: 1, pads: [4]int{1, 1, 1, 1}, behind: true},
		"depthwise, dilated":         {n: 1, h: 9, w: 9, c: 5, oc: 5, group: 5, kh: 3, kw: 3, sh: 2, sw: 1, dh: 3, dw: 2, pads: [4]int{3, 2, 3, 2}, behind: true},
		"depthwise, two for each":    {n: 1, h: 4, w: 4, c: 3, oc: 6, group: 3, kh: 3, kw: 3, sh: 1, sw: 1, dh: 1, dw: 1, pads: [4]int{1, 1, 1, 1}, behind: true},
		"stride beyond the kernel":   {n: 1, h: 7, w: 7, c: 4, oc: 4, group: 1, kh: 1, kw: 1, sh: 3, sw: 3, dh: 1, dw: 1},
		"padding all round, one tap": {n: 1, h: 3, w: 3, c: 2, oc: 3, group: 1, kh: 1, kw: 1, sh: 1, sw: 1, dh: 1, dw: 1, pads: [4]int{1, 2, 3, 0}, behind: true},
		"padding at the end alone":   {n: 2, h: 3, w: 4, c: 4, oc: 8, group: 1, kh: 2, kw: 2, sh: 2, sw: 2, dh: 1, dw: 1, pads: [4]int{0, 0, 1, 1}, behind: true},
		"one axis, dilated":          {n: 2, w: 12, c: 3, oc: 9, group: 1, kw: 3, sw: 2, dw: 2, pads: [4]int{0, 2, 0, 1}, behind: true},
		"one axis, depthwise":        {n: 2, w: 12, c: 9, oc: 9, group: 9, kw: 3, sw: 1, dw: 1, pads: [4]int{0, 1, 0, 1}, behind: true},
		"one axis, from the input":   {n: 2, w: 7, c: 4, oc: 4, group: 1, kw: 3, sw: 1, dw: 1, pads: [4]int{0, 1, 0, 1}},
		"deep":                       {n: 1, h: 3, w: 3, c: 70, oc: 33, group: 1, kh: 2, kw: 2, sh: 1, sw: 1, dh: 1, dw: 1, residual: true, act: "clip(0,6)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{t, b.rt}
			b.check(v.String(), sums)
		})
	}
}

// Two convolutions read one value with different padding: each must find zeros where it looks.
func TestConvsShareRoom(t *testing.T) {
	newBench(t).check(`graph two
%x = input f32[2,5,6,3]
%a = unary(%x) Fn=neg
%w = const f32[3,3,3,4] rand(1)
%v = const f32[5,1,3,4] rand(2)
%b = const f32[4] rand(3)
%p = conv(%a, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,1,1,1] Group=1
%q = conv(%a, %v, %b, %p) Strides=[1,1] Dilations=[1,1] Pads=[2,0,2,0] Group=1 Act=clip(0,6)
%s = binary(%p, %q) Fn=add
return %s
`, sums)
}

// Every operator that CanHalo trusts to write and to read with strides does so.
func TestOpsWithRoomAround(t *testing.T) {
	b := newBench(t)
	for _, op := range []string{
		"%a = unary(%x) Fn=neg",
		"%a = binary(%x, %x) Fn=add",
		"%t = transpose(%x) Perm=[0,2,1,3]\n%a = transpose(%t) Perm=[0,2,1,3]",
		"%t = transpose(%x) Perm=[0,3,1,2]\n%m = softmax(%t)\n%a = transpose(%m) Perm=[0,2,3,1]",
		"%a = slice(%x) Start=[0,3,0,0] Count=[2,4,5,3] Step=[1,-1,1,1]",
		"%a = pad(%x) Pads=[0,1,0,0,0,0,2,0] Value=0.5",
		"%a = concat(%x, %x) Axis=3",
		"%a = concat(%x, %x) Axis=1",
		"%a = pool(%x) Fn=max Kernel=[2,2] Strides=[1,1] Dilations=[1,1] Pads=[0,0,1,1]",
		"%a = pool(%x) Fn=avg Kernel=[2,2] Strides=[1,1] Dilations=[1,1] Pads=[1,0,0,0]",
		"%a = reshape(%x) Shape=[2,5,4,3]",
		"%m = softmax(%x)\n%a = reshape(%m) Shape=[2,5,4,3]",
	} {
		for _, reader := range []string{
			"%r = unary(%a) Fn=abs",
			"%r = binary(%a, %a) Fn=mul",
			"%r = transpose(%a) Perm=[3,1,2,0]",
			"%r = slice(%a) Start=[1,2,3,0] Count=[1,3,2,2] Step=[1,-1,-2,2]",
			"%r = pad(%a) Pads=[0,1,0,0,1,0,2,1] Value=-1",
			"%r = concat(%a, %a) Axis=2",
			"%r = pool(%a) Fn=max Kernel=[2,2] Strides=[2,1] Dilations=[1,1] Pads=[1,0,0,1] Ceil=true",
			"%r = reshape(%a) Shape=[1]",
			"%r = reduce(%a) Fn=sum Axes=[1]",
		} {
			ch := 3
			if op == "%a = concat(%x, %x) Axis=3" {
				ch = 6
			}
			if reader == "%r = reshape(%a) Shape=[1]" {
				reader = "%s = reduce(%a) Fn=max Axes=[1,2]\n%r = reshape(%s) Shape=[2," + fmt.Sprint(ch) + "]"
			}
			b.check(fmt.Sprintf(`graph room
%%x = input f32[2,4,5,3]
%s
%s
%%w = const f32[3,3,%d,2] rand(5)
%%b = const f32[2] rand(6)
%%y = conv(%%a, %%w, %%b) Strides=[1,1] Dilations=[1,1] Pads=[1,1,1,1] Group=1
return %%y, %%r
`, op, reader, ch), sums)
		}
	}
}
