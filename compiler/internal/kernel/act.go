package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Act is a function of one variable, applied to accumulators before they are stored or by [Map]. The
// names and parameters are those of ir.Unary; the zero value does nothing.
type Act struct {
	Fn string
	P  [2]float32
}

func (a Act) name() string {
	switch {
	case a.Fn == "":
		return ""
	case a.P == [2]float32{}:
		return "_" + a.Fn
	}
	return fmt.Sprintf("_%s(%g,%g)", a.Fn, a.P[0], a.P[1])
}

// actions write the function over the vector in x.
var actions = map[string]func(f *fn, x wasm.Local, p [2]float32){
	"clip":      clip,
	"leakyrelu": func(f *fn, x wasm.Local, p [2]float32) { f.signSplit(x, func() { f.mulBy(x, p[0]) }) },
	"elu": func(f *fn, x wasm.Local, p [2]float32) {
		f.signSplit(x, func() {
			f.quickExp(x, false)
			f.c.Get(x)
			splat(f.c, 1)
			f.c.Op(wasm.F32x4Sub).Set(x)
			f.mulBy(x, p[0])
		})
	},
	"hardsigmoid": func(f *fn, x wasm.Local, p [2]float32) { f.hardSigmoid(x, p) },
	"hardswish": func(f *fn, x wasm.Local, _ [2]float32) {
		f.times(x, func(y wasm.Local) { f.hardSigmoid(y, [2]float32{1. / 6, 0.5}) })
	},
	"sigmoid": func(f *fn, x wasm.Local, _ [2]float32) { f.sigmoid(x) },
	"silu":    func(f *fn, x wasm.Local, _ [2]float32) { f.silu(x) },
	"mish":    func(f *fn, x wasm.Local, _ [2]float32) { f.mish(x) },
	"gelu":    func(f *fn, x wasm.Local, _ [2]float32) { f.gelu(x) },
	"tanh":    func(f *fn, x wasm.Local, _ [2]float32) { f.tanh(x) },
	"exp":     func(f *fn, x wasm.Local, _ [2]float32) { f.exp(x) },
	"log":     func(f *fn, x wasm.Local, _ [2]float32) { f.log(x) },
	"erf":     func(f *fn, x wasm.Local, _ [2]float32) { f.erf(x) },
	"sign":    func(f *fn, x wasm.Local, _ [2]float32) { f.sign(x) },
	"abs":     lanewise(wasm.F32x4Abs),
	"neg":     lanewise(wasm.F32x4Neg),
	"sqrt":    lanewise(wasm.F32x4Sqrt),
	"floor":   lanewise(wasm.F32x4Floor),
	"ceil":    lanewise(wasm.F32x4Ceil),
	"round":   lanewise(wasm.F32x4Nearest),

	"affine": func(f *fn, x wasm.Local, p [2]float32) { f.affine(x, p) },
	"scaledtanh": func(f *fn, x wasm.Local, p [2]float32) {
		f.mulBy(x, p[1])
		f.tanh(x)
		f.mulBy(x, p[0])
	},
	"gelutanh": func(f *fn, x wasm.Local, _ [2]float32) { f.geluTanh(x) },
	"softsign": func(f *fn, x wasm.Local, _ [2]float32) { f.softsign(x) },
	"softplus": func(f *fn, x wasm.Local, _ [2]float32) { f.softplus(x) },
	"above":    func(f *fn, x wasm.Local, p [2]float32) { f.above(x, p[0]) },
}

func lanewise(op wasm.Op) func(*fn, wasm.Local, [2]float32) {
	return func(f *fn, x wasm.Local, _ [2]float32) { f.c.Get(x).Op(op).Set(x) }
}

// Supported reports whether kernels know the function.
func (a Act) Supported() bool {
	_, ok := actions[a.Fn]
	return ok || a.Fn == ""
}

// fn writes elementwise functions, with temporaries that are shared by all uses in one body.
type fn struct {
	c    *wasm.Code
	free []wasm.Local
}

func (f *fn) temp() wasm.Local {
	if n := len(f.free); n > 0 {
		l := f.free[n-1]
		f.free = f.free[:n-1]
		return l
	}
	return f.c.Local(wasm.V128)
}

func (f *fn) done(l wasm.Local) { f.free = append(f.free, l) }

// apply writes a over the vector in x.
func (f *fn) apply(a Act, x wasm.Local) {
	if a.Fn != "" {
		actions[a.Fn](f, x, a.P)
	}
}

// clip bounds x. pmax and pmin are one SSE instruction each, where max and min are five, and with
// x first they hand NaN on as well.
func clip(f *fn, x wasm.Local, p [2]float32) {
	f.c.Get(x)
	if p[0] != -inf {
		splat(f.c, p[0])
		f.c.Op(wasm.F32x4Pmax)
	}
	if p[1] != inf {
		splat(f.c, p[1])
		f.c.Op(wasm.F32x4Pmin)
	}
	f.c.Set(x)
}

func (f *fn) mulBy(x wasm.Local, k float32) {
	f.c.Get(x)
	splat(f.c, k)
	f.c.Op(wasm.F32x4Mul).Set(x)
}

// times multiplies x by what body makes of a copy of it.
func (f *fn) times(x wasm.Local, body func(y wasm.Local)) {
	y := f.temp()
	f.c.Get(x).Set(y)
	body(y)
	f.c.Get(x, y).Op(wasm.F32x4Mul).Set(x)
	f.done(y)
}

// signSplit applies negative, which changes x, where x is below zero.
func (f *fn) signSplit(x wasm.Local, negative func()) {
	keep := f.temp()
	f.c.Get(x).Set(keep)
	f.c.Get(x)
	splat(f.c, 0)
	f.c.Op(wasm.F32x4Pmin).Set(x) // so that exp of large positive lanes does not overflow to NaN
	negative()
	f.c.Get(x, keep, keep)
	splat(f.c, 0)
	f.c.Op(wasm.F32x4Lt, wasm.V128Bitselect).Set(x)
	f.done(keep)
}

func (f *fn) hardSigmoid(x wasm.Local, p [2]float32) {
	f.mulBy(x, p[0])
	f.c.Get(x)
	splat(f.c, p[1])
	f.c.Op(wasm.F32x4Add).Set(x)
	clip(f, x, [2]float32{0, 1})
}

// tanh writes sign(x)·(1-e)/(1+e) with e = exp(-2|x|), which never overflows; below 0.04 the odd
// series x - x³/3 + 2x⁵/15 keeps the digits that the quotient cancels.
func (f *fn) tanh(x wasm.Local) {
	e, small, sq := f.temp(), f.temp(), f.temp()
	c := f.c
	c.Get(x, x).Op(wasm.F32x4Mul).Set(sq)
	c.Get(x)
	c.Get(sq)
	splat(c, 2./15)
	c.Op(wasm.F32x4Mul)
	splat(c, -1./3)
	c.Op(wasm.F32x4Add).Get(sq).Op(wasm.F32x4Mul)
	splat(c, 1)
	c.Op(wasm.F32x4Add, wasm.F32x4Mul).Set(small)

	c.Get(x).Op(wasm.F32x4Abs).Set(e)
	c.Get(e, e).Op(wasm.F32x4Add).Set(e)
	f.quickExp(e, true)
	splat(c, 1)
	c.Get(e).Op(wasm.F32x4Sub)
	splat(c, 1)
	c.Get(e).Op(wasm.F32x4Add, wasm.F32x4Div)
	// The quotient takes x's sign, and NaN goes through small.
	c.Get(x)
	splatInt(c, -1<<31)
	c.Op(wasm.V128And, wasm.V128Or).Set(e)
	c.Get(e, small, sq)
	splat(c, 0.0016)
	c.Op(wasm.F32x4Gt, wasm.V128Bitselect).Set(x)
	f.done(e)
	f.done(small)
	f.done(sq)
}

// expPoly are the coefficients of a minimax polynomial for exp on ±ln2/2, highest power first, from
// S. L. Moshier's Cephes library, expf.
var expPoly = [...]float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// exp writes e^x with an error below 2 units in the last place: x = n·ln2 + r, a polynomial in r, and
// 2^n multiplied in two halves so that results reach from denormals to infinity.
func (f *fn) exp(x wasm.Local) {
	c, n, y := f.c, f.temp(), f.temp()
	clip(f, x, [2]float32{-104, 89})
	c.Get(x)
	splat(c, 1.44269504088896341)
	c.Op(wasm.F32x4Mul, wasm.F32x4Nearest).Set(n)
	for _, ln2 := range []float32{0.693359375, -2.12194440e-4} { // in two parts: the first is exact
		c.Get(x, n)
		splat(c, ln2)
		c.Op(wasm.F32x4Mul, wasm.F32x4Sub).Set(x)
	}
	splat(c, expPoly[0])
	for _, k := range expPoly[1:] {
		c.Get(x).Op(wasm.F32x4Mul)
		splat(c, k)
		c.Op(wasm.F32x4Add)
	}
	c.Get(x).Op(wasm.F32x4Mul).Get(x).Op(wasm.F32x4Mul).Get(x).Op(wasm.F32x4Add)
	splat(c, 1)
	c.Op(wasm.F32x4Add).Set(y)
	c.Get(n).Op(wasm.I32x4TruncSatF32x4S).Set(n)
	half := f.temp()
	c.Get(n).I32(1).Op(wasm.I32x4ShrS).Set(half)
	c.Get(y)
	power := func() {
		splatInt(c, 127)
		c.Op(wasm.I32x4Add).I32(23).Op(wasm.I32x4Shl, wasm.F32x4Mul)
	}
	c.Get(half)
	power()
	c.Get(n, half).Op(wasm.I32x4Sub)
	power()
	c.Set(x)
	f.done(n)
	f.done(y)
	f.done(half)
}

// logPoly are the coefficients of a minimax polynomial for (log(1+r) - r + r²/2)/r³ with 1+r between
// √½ and √2, highest power first, from S. L. Moshier's Cephes library, logf.
var logPoly = [...]float32{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
	-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1}

// log writes the natural logarithm: x = 2^e·m with m between √½ and √2, a polynomial in m - 1, and
// e·ln2 in two parts. Denormals are scaled up first; 0 gives -Inf, less gives NaN.
func (f *fn) log(x wasm.Local) {
	c, e, m, sq, keep := f.c, f.temp(), f.temp(), f.temp(), f.temp()
	const smallest, scale = 1.17549435e-38, 1 << 24
	c.Get(x).Set(keep)
	// Denormals: x·2²⁴, and 24 less in the exponent.
	c.Get(x)
	splat(c, scale)
	c.Op(wasm.F32x4Mul).Get(x, x)
	splat(c, smallest)
	c.Op(wasm.F32x4Lt, wasm.V128Bitselect).Set(m)
	c.Get(m).I32(23).Op(wasm.I32x4ShrU)
	splatInt(c, 126)
	c.Op(wasm.I32x4Sub)
	splatInt(c, 24)
	c.Get(x)
	splat(c, smallest)
	c.Op(wasm.F32x4Lt, wasm.V128And, wasm.I32x4Sub, wasm.F32x4ConvertI32x4S).Set(e)
	c.Get(m)
	splatInt(c, 0x007fffff)
	c.Op(wasm.V128And)
	splatInt(c, 0x3f000000)
	c.Op(wasm.V128Or).Set(m) // between ½ and 1
	// Below √½: m doubles and e loses one.
	below := f.temp()
	c.Get(m)
	splat(c, 0.707106781186547524)
	c.Op(wasm.F32x4Lt).Set(below)
	c.Get(e)
	splat(c, 1)
	c.Get(below).Op(wasm.V128And, wasm.F32x4Sub).Set(e)
	c.Get(m, m, below).Op(wasm.V128And, wasm.F32x4Add)
	splat(c, 1)
	c.Op(wasm.F32x4Sub).Set(m)
	c.Get(m, m).Op(wasm.F32x4Mul).Set(sq)
	splat(c, logPoly[0])
	for _, k := range logPoly[1:] {
		c.Get(m).Op(wasm.F32x4Mul)
		splat(c, k)
		c.Op(wasm.F32x4Add)
	}
	c.Get(m, sq).Op(wasm.F32x4Mul, wasm.F32x4Mul).Get(e)
	splat(c, -2.12194440e-4)
	c.Op(wasm.F32x4Mul, wasm.F32x4Add).Get(sq)
	splat(c, 0.5)
	c.Op(wasm.F32x4Mul, wasm.F32x4Sub).Get(m).Op(wasm.F32x4Add).Get(e)
	splat(c, 0.693359375)
	c.Op(wasm.F32x4Mul, wasm.F32x4Add).Set(x)
	// Infinity and NaN stay, 0 becomes -Inf, negatives NaN.
	special := func(value func(), when func()) {
		value()
		c.Get(x)
		when()
		c.Op(wasm.V128Bitselect).Set(x)
	}
	special(func() { c.Get(keep) }, func() { c.Get(keep); splat(c, inf); c.Op(wasm.F32x4Lt, wasm.V128Not) })
	special(func() { splat(c, -inf) }, func() { c.Get(keep); splat(c, 0); c.Op(wasm.F32x4Eq) })
	special(func() { splatInt(c, 0x7fc00000) }, func() { c.Get(keep); splat(c, 0); c.Op(wasm.F32x4Lt) })
	for _, l := range []wasm.Local{e, m, sq, keep, below} {
		f.done(l)
	}
}

// sign writes -1, 0 or 1, and NaN for NaN.
func (f *fn) sign(x wasm.Local) {
	c, y := f.c, f.temp()
	one := func(op wasm.Op, value float32) {
		c.Get(x)
		splat(c, 0)
		c.Op(op)
		splat(c, value)
		c.Op(wasm.V128And)
	}
	one(wasm.F32x4Gt, 1)
	one(wasm.F32x4Lt, -1)
	c.Op(wasm.V128Or).Set(y)
	c.Get(x, y, x, x).Op(wasm.F32x4Ne, wasm.V128Bitselect).Set(x)
	f.done(y)
}
