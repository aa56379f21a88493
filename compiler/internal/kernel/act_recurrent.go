package kernel

import "github.com/isomer-iot/isomer/wasm"

// The functions of this file are activations that only recurrent layers name as such.

func (f *fn) affine(x wasm.Local, p [2]float32) {
	f.mulBy(x, p[0])
	f.c.Get(x)
	splat(f.c, p[1])
	f.c.Op(wasm.F32x4Add).Set(x)
}

// softsign writes x/(1+|x|).
func (f *fn) softsign(x wasm.Local) {
	f.c.Get(x)
	splat(f.c, 1)
	f.c.Get(x).Op(wasm.F32x4Abs, wasm.F32x4Add, wasm.F32x4Div).Set(x)
}

// softplus writes max(x, 0) + log(1 + exp(-|x|)), which cannot overflow.
func (f *fn) softplus(x wasm.Local) {
	c, e := f.c, f.temp()
	c.Get(x).Op(wasm.F32x4Abs).Set(e)
	f.quickExp(e, true)
	c.Get(e)
	splat(c, 1)
	c.Op(wasm.F32x4Add).Set(e)
	f.log(e)
	c.Get(x)
	splat(c, 0)
	c.Op(wasm.F32x4Pmax).Get(e).Op(wasm.F32x4Add).Set(x)
	f.done(e)
}

// above keeps x where it is greater than k, and writes 0 elsewhere.
func (f *fn) above(x wasm.Local, k float32) {
	f.c.Get(x, x)
	splat(f.c, k)
	f.c.Op(wasm.F32x4Gt, wasm.V128And).Set(x)
}
