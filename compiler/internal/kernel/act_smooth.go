package kernel

import "github.com/isomer-iot/isomer/wasm"

// The functions of this file are built on quickExp: those whose result tells neither a denormal of e^x
// from 0 nor the last half of a binade below infinity from infinity.

// quickExp writes e^x, or e^-x, with an error below 2 units in the last place: 0 below e^-87.7 and
// infinity above e^88.4, as 2^n is one float. Rounding is an addition whose sum has n as its last bits,
// so that n needs no conversion, which is nine instructions in V8; NaN stays in r. Four values of
// x/(1 + e^-x) take 5.5 ns in V8, with [fn.exp] and a product 9.0.
func (f *fn) quickExp(x wasm.Local, negative bool) {
	// 1.5·2²³: the last bit of a sum with it is worth 1. Its lowest nine bits are 0, so that the shift
	// that makes the exponent drops all of it.
	const round = 12582912
	c, n, y, sign := f.c, f.temp(), f.temp(), float32(1)
	bounds := [2]float32{-88, 89}
	if negative {
		bounds, sign = [2]float32{-89, 88}, -1
	}
	clip(f, x, bounds)
	c.Get(x)
	splat(c, sign*1.44269504088896341)
	c.Op(wasm.F32x4Mul)
	splat(c, round)
	c.Op(wasm.F32x4Add).Tee(n)
	splat(c, round)
	c.Op(wasm.F32x4Sub).Set(y)
	for _, ln2 := range []float32{0.693359375, -2.12194440e-4} { // in two parts: the first is exact
		c.Get(x, y)
		splat(c, sign*ln2)
		c.Op(wasm.F32x4Mul, wasm.F32x4Sub).Set(x)
	}
	// x is r, or -r: its odd powers take the sign from their coefficients.
	odd := func(i int) float32 { return sign * expPoly[i] }
	// Pairs of terms side by side, then a polynomial of three steps in r²: one of seven steps in r is a
	// chain of 56 cycles, and 15 % slower in V8.
	pair := func(i int) {
		c.Get(x)
		splat(c, odd(i))
		c.Op(wasm.F32x4Mul)
		splat(c, expPoly[i+1])
		c.Op(wasm.F32x4Add)
	}
	sq := f.temp()
	c.Get(x, x).Op(wasm.F32x4Mul).Set(sq)
	pair(0)
	for i := 2; i < len(expPoly); i += 2 {
		c.Get(sq).Op(wasm.F32x4Mul)
		pair(i)
		c.Op(wasm.F32x4Add)
	}
	c.Get(sq).Op(wasm.F32x4Mul)
	splat(c, 1)
	c.Get(x)
	if negative {
		c.Op(wasm.F32x4Sub)
	} else {
		c.Op(wasm.F32x4Add)
	}
	c.Op(wasm.F32x4Add).Get(n)
	splatInt(c, 127)
	c.Op(wasm.I32x4Add).I32(23).Op(wasm.I32x4Shl, wasm.F32x4Mul).Set(x)
	f.done(sq)
	f.done(n)
	f.done(y)
}

// sigmoid writes 1/(1 + e^-x).
func (f *fn) sigmoid(x wasm.Local) {
	f.quickExp(x, true)
	f.reciprocal(x)
}

// reciprocal writes 1/(1 + x).
func (f *fn) reciprocal(x wasm.Local) {
	splat(f.c, 1)
	splat(f.c, 1)
	f.c.Get(x).Op(wasm.F32x4Add, wasm.F32x4Div).Set(x)
}

// silu writes x·sigmoid(x) as x/(1 + e^-x).
func (f *fn) silu(x wasm.Local) {
	e := f.temp()
	f.c.Get(x).Set(e)
	f.overOnePlusExp(x, e)
	f.done(e)
}

// overOnePlusExp writes x/(1 + e^-u).
func (f *fn) overOnePlusExp(x, u wasm.Local) {
	f.quickExp(u, true)
	f.c.Get(x, u)
	splat(f.c, 1)
	f.c.Op(wasm.F32x4Add, wasm.F32x4Div).Set(x)
}

// gelu writes x·Φ(x). With q = ½·poly(t)·e^(-x²/2), which is Φ of what is below 0, that is
// max(x, 0) - |x|·q on either side: nothing cancels where Φ is small. |x| is bounded above 0, where
// infinity times q would be no number; below 0 it is none by the definition.
func (f *fn) gelu(x wasm.Local) {
	c, a, t, e := f.c, f.temp(), f.temp(), f.temp()
	c.Get(x)
	splat(c, 20)
	c.Op(wasm.F32x4Pmin, wasm.F32x4Abs).Set(a)
	c.Get(a)
	splat(c, 0.3275911*0.70710678118654752)
	c.Op(wasm.F32x4Mul).Set(t)
	f.reciprocal(t)
	c.Get(a)
	splat(c, -0.5)
	c.Op(wasm.F32x4Mul).Get(a).Op(wasm.F32x4Mul).Set(e)
	f.quickExp(e, false)
	f.erfPoly(t, 0.5)
	c.Get(t, e, a).Op(wasm.F32x4Mul, wasm.F32x4Mul).Set(t)
	c.Get(x)
	splat(c, 0)
	c.Op(wasm.F32x4Pmax).Get(t).Op(wasm.F32x4Sub).Set(x)
	f.done(a)
	f.done(t)
	f.done(e)
}

// geluTanh writes ½x·(1 + tanh u) with u = √(2/π)·(x + 0.044715x³), which is x/(1 + e^-2u).
func (f *fn) geluTanh(x wasm.Local) {
	const two = 2 * 0.7978845608028654
	c, u := f.c, f.temp()
	c.Get(x, x).Op(wasm.F32x4Mul)
	splat(c, two*0.044715)
	c.Op(wasm.F32x4Mul)
	splat(c, two)
	c.Op(wasm.F32x4Add).Get(x).Op(wasm.F32x4Mul).Set(u)
	f.overOnePlusExp(x, u)
	f.done(u)
}

// mish writes x·tanh(log(1 + e^x)), which is x·n/(n + 2) with n = e^x·(e^x + 2). From e^20 on the
// quotient is 1.
func (f *fn) mish(x wasm.Local) {
	c, n := f.c, f.temp()
	c.Get(x)
	splat(c, 20)
	c.Op(wasm.F32x4Pmin).Set(n)
	f.quickExp(n, false)
	c.Get(n, n)
	splat(c, 2)
	c.Op(wasm.F32x4Add, wasm.F32x4Mul).Set(n)
	c.Get(x, n, n)
	splat(c, 2)
	c.Op(wasm.F32x4Add, wasm.F32x4Div, wasm.F32x4Mul).Set(x)
	f.done(n)
}

// erfCoefs are the coefficients of formula 7.1.26 of Abramowitz and Stegun, whose error is below 1.5e-7.
var erfCoefs = [...]float32{1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592}

// erfPoly writes scale·Σ coefficient·t^k in t.
func (f *fn) erfPoly(t wasm.Local, scale float32) {
	c := f.c
	splat(c, scale*erfCoefs[0])
	for _, k := range erfCoefs[1:] {
		c.Get(t).Op(wasm.F32x4Mul)
		splat(c, scale*k)
		c.Op(wasm.F32x4Add)
	}
	c.Get(t).Op(wasm.F32x4Mul).Set(t)
}

// erf writes sign(x)·(1 - poly(t)·e^(-x²)) with t = 1/(1 + 0.3275911·|x|).
func (f *fn) erf(x wasm.Local) {
	c, t, e := f.c, f.temp(), f.temp()
	c.Get(x).Op(wasm.F32x4Abs)
	splat(c, 0.3275911)
	c.Op(wasm.F32x4Mul).Set(t)
	f.reciprocal(t)
	c.Get(x, x).Op(wasm.F32x4Mul).Set(e)
	f.quickExp(e, true)
	f.erfPoly(t, 1)
	splat(c, 1)
	c.Get(t, e).Op(wasm.F32x4Mul, wasm.F32x4Sub).Get(x)
	splatInt(c, -1<<31)
	c.Op(wasm.V128And, wasm.V128Xor).Set(x)
	f.done(t)
	f.done(e)
}
