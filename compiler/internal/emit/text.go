package emit

import (
	"math"

	"github.com/isomer-iot/isomer/wasm"
)

var inf = math.Inf(1)

// texts writes JSON inside the module: literals from the constants, integers and floats. A function
// takes the address to write to and returns the one after it.
type texts struct {
	w                   *writer
	null                span
	uintFunc, floatFunc uint32
	hasUint, hasFloatFn bool
}

// span is a literal among the constants.
type span struct{ at, n int }

func (w *writer) text() *texts {
	t := &texts{w: w}
	t.null = t.literal("null")
	return t
}

func (t *texts) literal(s string) span { return span{t.w.plan.Consts.Bytes([]byte(s)), len(s)} }

// put copies s to the address in at and advances it.
func (t *texts) put(c *wasm.Code, at wasm.Local, s span) {
	c.Get(at).I32(int32(s.at)).I32(int32(s.n)).MemoryCopy().Inc(at, int32(s.n))
}

func putByte(c *wasm.Code, at wasm.Local, b byte) {
	c.Get(at).I32(int32(b)).Store(wasm.I32Store8, 0).Inc(at, 1)
}

// digit writes '0' plus the value that push leaves.
func digit(c *wasm.Code, at wasm.Local, push func()) {
	c.Get(at)
	push()
	c.I32('0').Op(wasm.I32Add).Store(wasm.I32Store8, 0).Inc(at, 1)
}

// uint is (address, i64) → address: the decimal digits of a number that is not negative.
func (t *texts) uint() uint32 {
	if t.hasUint {
		return t.uintFunc
	}
	c := wasm.NewCode(wasm.I32, wasm.I64)
	at, v, unit := c.Param(0), c.Param(1), c.Local(wasm.I64)
	c.I64(1).Set(unit)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(v, unit).Op(wasm.I64DivU).I64(10).Op(wasm.I64LtU).BrIf(out)
			c.Get(unit).I64(10).Op(wasm.I64Mul).Set(unit).Br(top)
		})
	})
	c.Loop(func(top wasm.Label) {
		digit(c, at, func() { c.Get(v, unit).Op(wasm.I64DivU, wasm.I32WrapI64) })
		c.Get(v, unit).Op(wasm.I64RemU).Set(v)
		c.Get(unit).I64(10).Op(wasm.I64DivU).Tee(unit).I64(0).Op(wasm.I64Ne).BrIf(top)
	})
	c.Get(at)
	t.uintFunc = t.w.module.AddFunc("put_uint", wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I64}, Results: i32s(1)}, c)
	t.hasUint = true
	return t.uintFunc
}

// float is (address, f32) → address: a JSON number with six decimals, below 1 with as many as give
// seven digits, trailing zeros cut, with an exponent beyond 1e9 and below 1e-4; null for what JSON
// cannot say. What it parses to is within 1e-6 of the value, relatively.
func (t *texts) float() uint32 {
	if t.hasFloatFn {
		return t.floatFunc
	}
	number := t.uint()
	c := wasm.NewCode(wasm.I32, wasm.F32)
	at, x := c.Param(0), c.Param(1)
	d, ones := c.Local(wasm.F64), c.Local(wasm.F64)
	exp, n, unit := c.Local(wasm.I32), c.Local(wasm.I64), c.Local(wasm.I64)
	c.Get(x, x).Op(wasm.F32Sub).F32(0).Op(wasm.F32Ne).If(func() { // NaN and the infinities
		t.put(c, at, t.null)
		c.Get(at).Return()
	})
	c.Get(x).F32(0).Op(wasm.F32Lt).If(func() { putByte(c, at, '-') })
	c.Get(x).Op(wasm.F32Abs, wasm.F64PromoteF32).Set(d)
	c.Get(d).F64(1e9).Op(wasm.F64Ge).Get(d).F64(1e-4).Op(wasm.F64Lt).Get(d).F64(0).Op(wasm.F64Gt, wasm.I32And, wasm.I32Or)
	c.If(func() {
		scale := func(op wasm.Op, limit float64, compare wasm.Op, step int32) {
			c.Block(func(out wasm.Label) {
				c.Loop(func(top wasm.Label) {
					c.Get(d).F64(limit).Op(compare).BrIf(out)
					c.Get(d).F64(10).Op(op).Set(d).Inc(exp, step).Br(top)
				})
			})
		}
		scale(wasm.F64Div, 10, wasm.F64Lt, 1)
		scale(wasm.F64Mul, 1, wasm.F64Ge, -1)
	})
	c.F64(1e6).Set(ones)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(d, ones).Op(wasm.F64Mul).F64(1e6).Op(wasm.F64Ge).Get(ones).F64(1e10).Op(wasm.F64Ge, wasm.I32Or).BrIf(out)
			c.Get(ones).F64(10).Op(wasm.F64Mul).Set(ones).Br(top)
		})
	})
	c.Get(d, ones).Op(wasm.F64Mul, wasm.F64Nearest, wasm.I64TruncSatF64S).Set(n)
	c.Get(ones).Op(wasm.I64TruncSatF64S).Set(unit)
	c.Get(at, n, unit).Op(wasm.I64DivU).Call(number).Set(at)
	c.Get(n, unit).Op(wasm.I64RemU).Tee(n).I64(0).Op(wasm.I64Ne).If(func() {
		putByte(c, at, '.')
		c.Loop(func(top wasm.Label) {
			c.Get(unit).I64(10).Op(wasm.I64DivU).Set(unit)
			digit(c, at, func() { c.Get(n, unit).Op(wasm.I64DivU, wasm.I32WrapI64) })
			c.Get(n, unit).Op(wasm.I64RemU).Set(n)
			c.Get(n).I64(0).Op(wasm.I64Ne).BrIf(top)
		})
	})
	c.Get(exp).If(func() {
		putByte(c, at, 'e')
		c.Get(exp).I32(0).Op(wasm.I32LtS).If(func() {
			putByte(c, at, '-')
			c.I32(0).Get(exp).Op(wasm.I32Sub).Set(exp)
		})
		c.Get(at, exp).Op(wasm.I64ExtendI32U).Call(number).Set(at)
	})
	c.Get(at)
	t.floatFunc = t.w.module.AddFunc("put_float", wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.F32}, Results: i32s(1)}, c)
	t.hasFloatFn = true
	return t.floatFunc
}
