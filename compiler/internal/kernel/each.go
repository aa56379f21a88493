package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Each computes out[i] = Fn(a[i], b[i], c[i]) element by element for any types, over axes with strides of
// their own as [Map] does. Comparisons, choices, conversions and logic go by vectors where all operands
// lie together or repeat.
//
// Arguments: out, and one for each operand.
type Each struct {
	Fn      string // those of ir.Each and ir.Binary, and "cast"
	P       [2]float32
	T       Elem // of the operands; a choice's condition is Bool
	To      Elem // of the result
	Extent  Dims
	Out     Dims // byte strides
	A, B, C Dims
}

// eachFn is the code of a function: it pushes the result for the elements in locals x, which it may change.
type eachFn struct {
	operands int
	emit     func(e *eacher, x []wasm.Local)
}

var eachFns = map[string]eachFn{
	"add": {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.add()) }},
	"sub": {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.sub()) }},
	"mul": {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.mul()) }},
	"min": {2, func(e *eacher, x []wasm.Local) { e.c.Get(x[0], x[1], x[0], x[1]).Op(e.T.lt()).Select() }},
	"max": {2, func(e *eacher, x []wasm.Local) { e.c.Get(x[1], x[0], x[0], x[1]).Op(e.T.lt()).Select() }},
	"div": {2, func(e *eacher, x []wasm.Local) { e.divide(x, true) }},
	"eq":  {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.eq()) }},
	"lt":  {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.lt()) }},
	"le":  {2, func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.le()) }},
	"and": {2, bitwise(wasm.I32And, wasm.I64And)},
	"or":  {2, bitwise(wasm.I32Or, wasm.I64Or)},
	"xor": {2, bitwise(wasm.I32Xor, wasm.I64Xor)},
	"not": {1, func(e *eacher, x []wasm.Local) {
		e.c.Get(x[0])
		if e.T == Bool {
			e.c.Op(wasm.I32Eqz)
			return
		}
		e.T.number(e.c, -1)
		e.c.Op(e.T.op(0, wasm.I32Xor, wasm.I32Xor, wasm.I64Xor, wasm.I64Xor))
	}},
	"shl":   {2, func(e *eacher, x []wasm.Local) { e.shift(x, wasm.I32Shl, wasm.I64Shl) }},
	"shr":   {2, func(e *eacher, x []wasm.Local) { e.shiftRight(x) }},
	"mod":   {2, func(e *eacher, x []wasm.Local) { e.modulo(x) }},
	"fmod":  {2, func(e *eacher, x []wasm.Local) { e.fmod(x) }},
	"pow":   {2, func(e *eacher, x []wasm.Local) { e.pow(x) }},
	"where": {3, func(e *eacher, x []wasm.Local) { e.c.Get(x[1], x[2], x[0]).Select() }},
	"abs": {1, func(e *eacher, x []wasm.Local) {
		if !e.T.signed() {
			e.c.Get(x[0])
			return
		}
		e.T.number(e.c, 0)
		e.c.Get(x[0]).Op(e.T.sub()).Get(x[0], x[0])
		e.T.number(e.c, 0)
		e.c.Op(e.T.lt()).Select()
	}},
	"neg": {1, func(e *eacher, x []wasm.Local) {
		e.T.number(e.c, 0)
		e.c.Get(x[0]).Op(e.T.sub())
	}},
	"sign": {1, func(e *eacher, x []wasm.Local) { // (x > 0) - (x < 0)
		e.T.number(e.c, 0)
		e.c.Get(x[0]).Op(e.T.lt())
		if e.T.signed() {
			e.c.Get(x[0])
			e.T.number(e.c, 0)
			e.c.Op(e.T.lt(), wasm.I32Sub)
		}
		I32.convert(e.c, widened(e.T), 0, 0)
	}},
	"isnan": {1, func(e *eacher, x []wasm.Local) { e.c.Get(x[0], x[0]).Op(wasm.F32Ne) }},
	"isinf": {1, func(e *eacher, x []wasm.Local) {
		e.c.I32(0)
		if e.P[0] != 0 {
			e.c.Get(x[0]).F32(inf).Op(wasm.F32Eq, wasm.I32Or)
		}
		if e.P[1] != 0 {
			e.c.Get(x[0]).F32(-inf).Op(wasm.F32Eq, wasm.I32Or)
		}
	}},
	"cast": {1, func(e *eacher, x []wasm.Local) {
		e.c.Get(x[0])
		e.T.convert(e.c, e.To, e.n, e.m)
	}},
}

func init() {
	for name, f := range curves {
		eachFns[name] = eachFn{1, func(e *eacher, x []wasm.Local) {
			m := newMath(e.c)
			e.c.Get(x[0]).Op(wasm.F64PromoteF32).Set(m.x)
			f(m)
			e.c.Get(m.x).Op(wasm.F32DemoteF64)
		}}
	}
}

// widened is the integer type that has the width in which t is computed.
func widened(t Elem) Elem {
	if t.wide() {
		return I64
	}
	return I32
}

func bitwise(narrow, wide wasm.Op) func(*eacher, []wasm.Local) {
	return func(e *eacher, x []wasm.Local) { e.c.Get(x...).Op(e.T.op(0, narrow, narrow, wide, wide)) }
}

// Supported reports whether the kernel knows its function.
func (e Each) Supported() bool {
	_, ok := eachFns[e.Fn]
	return ok
}

// Name implements [Kernel].
func (e Each) Name() string {
	s := fmt.Sprintf("%s_%v_%d", e.Fn, e.T, product(e.Extent))
	if e.To != e.T {
		s = fmt.Sprintf("%s_%v_%v_%d", e.Fn, e.T, e.To, product(e.Extent))
	}
	return s
}

// Args implements [Kernel].
func (e Each) Args() int { return 1 + eachFns[e.Fn].operands }

type eacher struct {
	Each
	c    *wasm.Code
	vals []wasm.Local // one element of each operand
	n, m wasm.Local   // i32
}

// operand is the element type of operand i.
func (e Each) operand(i int) Elem {
	if e.Fn == "where" && i == 0 {
		return Bool
	}
	return e.T
}

// Emit implements [Kernel].
func (e Each) Emit(c *wasm.Code) {
	r := &eacher{Each: e, c: c, n: c.Local(wasm.I32), m: c.Local(wasm.I32)}
	var ptrs []wasm.Local
	for i := range e.Args() {
		ptrs = append(ptrs, c.Param(i))
		if i > 0 {
			r.vals = append(r.vals, c.Local(e.operand(i-1).val()))
		}
	}
	r.axis(0, ptrs)
}

func (e *eacher) strides(axis int) []int {
	return []int{e.Out[axis], e.A[axis], e.B[axis], e.C[axis]}[:e.Args()]
}

func (e *eacher) axis(i int, ptrs []wasm.Local) {
	if i < MaxDims-1 && e.Extent[i] == 1 {
		e.axis(i+1, ptrs)
		return
	}
	p, n := moving(e.c, ptrs...), e.Extent[i]
	advance := func(times int) {
		for k, l := range p {
			if st := e.strides(i)[k]; st != 0 {
				e.c.Inc(l, int32(times*st))
			}
		}
	}
	if i < MaxDims-1 {
		times(e.c, n, func() {
			e.axis(i+1, p)
			advance(1)
		})
		return
	}
	if body, step := e.vector(); body != nil {
		times(e.c, n/step, func() {
			body(p)
			advance(step)
		})
		n %= step
	}
	times(e.c, n, func() {
		e.element(p)
		advance(1)
	})
}

// element computes one element at the addresses in p.
func (e *eacher) element(p []wasm.Local) {
	for i, v := range e.vals {
		e.operand(i).load(e.c, p[i+1])
		e.c.Set(v)
	}
	e.c.Get(p[0])
	eachFns[e.Fn].emit(e, e.vals)
	e.c.Store(elems[e.To].store, 0)
}

// divide pushes x/y cut towards zero, or the remainder, and 0 where y is 0. The least number by -1, which
// traps, wraps to itself and leaves no remainder.
func (e *eacher) divide(x []wasm.Local, quotient bool) {
	c, t := e.c, e.T
	op := t.op(0, wasm.I32RemS, wasm.I32RemU, wasm.I64RemS, wasm.I64RemU)
	if quotient {
		op = t.op(0, wasm.I32DivS, wasm.I32DivU, wasm.I64DivS, wasm.I64DivU)
	}
	is := func(v int64) {
		c.Get(x[1])
		t.number(c, v)
		c.Op(t.eq())
	}
	is(0)
	c.IfElseOf(t.val(), func() { t.number(c, 0) }, func() {
		if !t.signed() || !quotient { // Wasm's remainder by -1 is 0
			c.Get(x[0], x[1]).Op(op)
			return
		}
		is(-1)
		c.IfElseOf(t.val(), func() {
			t.number(c, 0)
			c.Get(x[0]).Op(t.sub())
		}, func() { c.Get(x[0], x[1]).Op(op) })
	})
}

// modulo pushes the remainder with the sign of the divisor.
func (e *eacher) modulo(x []wasm.Local) {
	c, t := e.c, e.T
	e.divide(x, false)
	if !t.signed() {
		return
	}
	c.Set(x[0])
	// r + y where r is not 0 and its sign differs from y's.
	c.Get(x[0], x[1]).Op(t.add()).Get(x[0])
	c.Get(x[0])
	t.number(c, 0)
	c.Op(t.eq(), wasm.I32Eqz)
	c.Get(x[0], x[1]).Op(t.op(0, wasm.I32Xor, wasm.I32Xor, wasm.I64Xor, wasm.I64Xor))
	t.number(c, 0)
	c.Op(t.lt(), wasm.I32And).Select()
}

// shift pushes x shifted by y bits, 0 if y is no less than there are.
func (e *eacher) shift(x []wasm.Local, narrow, wide wasm.Op) {
	c, t := e.c, e.T
	c.Get(x...).Op(t.op(0, narrow, narrow, wide, wide))
	t.number(c, 0)
	e.within(x[1])
	c.Select()
}

// within pushes whether y is a number of bits that t has.
func (e *eacher) within(y wasm.Local) {
	e.c.Get(y)
	e.T.number(e.c, int64(8*e.T.Size()))
	e.c.Op(e.T.op(0, wasm.I32LtU, wasm.I32LtU, wasm.I64LtU, wasm.I64LtU))
}

// shiftRight brings the sign of x in, to the last bit.
func (e *eacher) shiftRight(x []wasm.Local) {
	c, t := e.c, e.T
	if !t.signed() {
		e.shift(x, wasm.I32ShrU, wasm.I64ShrU)
		return
	}
	c.Get(x[0], x[1])
	t.number(c, int64(8*t.Size()-1))
	e.within(x[1])
	c.Select().Op(t.op(0, wasm.I32ShrS, 0, wasm.I64ShrS, 0))
}

// fmod pushes the remainder with the sign of the dividend. That of floats is exact: the divisor is doubled
// until it is no longer smaller, subtracted where it fits and halved again, in f64 so that neither rounds.
func (e *eacher) fmod(x []wasm.Local) {
	c := e.c
	if e.T != F32 {
		e.divide(x, false)
		return
	}
	m := newMath(c)
	r, d, y := m.local(), m.local(), m.local()
	c.Get(x[0]).Op(wasm.F64PromoteF32, wasm.F64Abs).Set(r)
	c.Get(x[1]).Op(wasm.F64PromoteF32, wasm.F64Abs).Tee(y).Set(d)
	// Not a number: a NaN, an infinite dividend, a divisor of 0.
	c.Get(r, r).Op(wasm.F64Sub).F64(0).Op(wasm.F64Ne).Get(y).F64(0).Op(wasm.F64Gt, wasm.I32Eqz, wasm.I32Or)
	c.IfElse(func() { c.F64(nan).Set(r) }, func() {
		c.Get(y, r).Op(wasm.F64Le).If(func() {
			c.Loop(func(top wasm.Label) {
				c.Get(d, d).Op(wasm.F64Add).Set(d)
				c.Get(d, r).Op(wasm.F64Le).BrIf(top)
			})
			c.Loop(func(top wasm.Label) {
				c.Get(d).F64(0.5).Op(wasm.F64Mul).Set(d)
				c.Get(r, d).Op(wasm.F64Sub).Get(r).Get(d, r).Op(wasm.F64Le).Select().Set(r)
				c.Get(d, y).Op(wasm.F64Gt).BrIf(top)
			})
		})
	})
	c.Get(r).Op(wasm.F32DemoteF64).Get(x[0]).Op(wasm.F32Copysign)
}

// pow pushes x to the power of y.
func (e *eacher) pow(x []wasm.Local) {
	c, t := e.c, e.T
	if t == F32 {
		newMath(c).pow(x[0], x[1])
		return
	}
	y := c.Local(t.val())
	negative := func() {
		c.Get(x[1])
		t.number(c, 0)
		c.Op(t.lt())
	}
	one := func(v int64) {
		c.Get(x[0])
		t.number(c, v)
		c.Op(t.eq())
	}
	t.number(c, 1)
	c.Set(y)
	if t.signed() {
		// Of negative exponents only ±1 gives no 0: of 1 every power is 1, of -1 the parity says it.
		negative()
		c.If(func() {
			one(1)
			one(-1)
			c.Op(wasm.I32Or, wasm.I32Eqz).If(func() {
				t.number(c, 0)
				c.Set(y)
				t.number(c, 0)
				c.Set(x[1])
			})
		})
	}
	and, shr := t.op(0, wasm.I32And, wasm.I32And, wasm.I64And, wasm.I64And), t.op(0, wasm.I32ShrU, wasm.I32ShrU, wasm.I64ShrU, wasm.I64ShrU)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(x[1])
			t.number(c, 0)
			c.Op(t.eq()).BrIf(out)
			c.Get(y, x[0]).Op(t.mul()).Get(y).Get(x[1])
			t.number(c, 1)
			c.Op(and)
			if t.wide() {
				c.Op(wasm.I32WrapI64)
			}
			c.Select().Set(y)
			c.Get(x[0], x[0]).Op(t.mul()).Set(x[0])
			c.Get(x[1])
			t.number(c, 1)
			c.Op(shr).Set(x[1]).Br(top)
		})
	})
	c.Get(y)
}
