package kernel

import "github.com/isomer-iot/isomer/wasm"

// Elem is the type of a tensor's elements in memory.
type Elem uint8

// The element types. Narrow integers are computed as i32, booleans are bytes of 0 and 1.
const (
	F32 Elem = iota + 1
	I64
	I32
	I8
	U8
	Bool
	I16
	U16
	U32
	U64
)

type elemInfo struct {
	name        string
	size        int
	load, store wasm.Op
	signed      bool
}

var elems = [...]elemInfo{
	F32:  {"f32", 4, wasm.F32Load, wasm.F32Store, true},
	I64:  {"i64", 8, wasm.I64Load, wasm.I64Store, true},
	I32:  {"i32", 4, wasm.I32Load, wasm.I32Store, true},
	I8:   {"i8", 1, wasm.I32Load8S, wasm.I32Store8, true},
	U8:   {"u8", 1, wasm.I32Load8U, wasm.I32Store8, false},
	Bool: {"bool", 1, wasm.I32Load8U, wasm.I32Store8, false},
	I16:  {"i16", 2, wasm.I32Load16S, wasm.I32Store16, true},
	U16:  {"u16", 2, wasm.I32Load16U, wasm.I32Store16, false},
	U32:  {"u32", 4, wasm.I32Load, wasm.I32Store, false},
	U64:  {"u64", 8, wasm.I64Load, wasm.I64Store, false},
}

func (t Elem) String() string { return elems[t].name }

// Size is the number of bytes of one element.
func (t Elem) Size() int { return elems[t].size }

func (t Elem) signed() bool { return elems[t].signed }

// wide reports whether t is computed as i64.
func (t Elem) wide() bool { return t == I64 || t == U64 }

// val is the type of a local that holds an element.
func (t Elem) val() wasm.ValType {
	switch {
	case t == F32:
		return wasm.F32
	case t.wide():
		return wasm.I64
	}
	return wasm.I32
}

// load pushes the element at the address in p.
func (t Elem) load(c *wasm.Code, p wasm.Local) { c.Get(p).Load(elems[t].load, 0) }

// ops give the instruction of the type that t is computed in.
func (t Elem) op(f32, i32s, i32u, i64s, i64u wasm.Op) wasm.Op {
	switch {
	case t == F32:
		return f32
	case t.wide() && t.signed():
		return i64s
	case t.wide():
		return i64u
	case t.signed():
		return i32s
	}
	return i32u
}

func (t Elem) add() wasm.Op {
	return t.op(wasm.F32Add, wasm.I32Add, wasm.I32Add, wasm.I64Add, wasm.I64Add)
}

func (t Elem) sub() wasm.Op {
	return t.op(wasm.F32Sub, wasm.I32Sub, wasm.I32Sub, wasm.I64Sub, wasm.I64Sub)
}

func (t Elem) mul() wasm.Op {
	return t.op(wasm.F32Mul, wasm.I32Mul, wasm.I32Mul, wasm.I64Mul, wasm.I64Mul)
}

func (t Elem) lt() wasm.Op {
	return t.op(wasm.F32Lt, wasm.I32LtS, wasm.I32LtU, wasm.I64LtS, wasm.I64LtU)
}

func (t Elem) le() wasm.Op {
	return t.op(wasm.F32Le, wasm.I32LeS, wasm.I32LeU, wasm.I64LeS, wasm.I64LeU)
}

func (t Elem) eq() wasm.Op {
	return t.op(wasm.F32Eq, wasm.I32Eq, wasm.I32Eq, wasm.I64Eq, wasm.I64Eq)
}

// number pushes a whole number.
func (t Elem) number(c *wasm.Code, v int64) {
	switch {
	case t == F32:
		c.F32(float32(v))
	case t.wide():
		c.I64(v)
	default:
		c.I32(int32(v))
	}
}

// wrap cuts the value on the stack to the bits of t, as memory would.
func (t Elem) wrap(c *wasm.Code) {
	switch t {
	case I8:
		c.Op(wasm.I32Extend8S)
	case I16:
		c.Op(wasm.I32Extend16S)
	case U8, Bool:
		c.I32(0xff).Op(wasm.I32And)
	case U16:
		c.I32(0xffff).Op(wasm.I32And)
	}
}

// convert turns the value of type t on the stack into one of type to, by the rules of ir.Cast.
func (t Elem) convert(c *wasm.Code, to Elem, f, g wasm.Local) {
	switch {
	case t == to:
	case t == F32:
		floatTo(c, to, f, g)
	case to == F32:
		c.Op(t.op(0, wasm.F32ConvertI32S, wasm.F32ConvertI32U, wasm.F32ConvertI64S, wasm.F32ConvertI64U))
	case to == Bool:
		t.number(c, 0)
		c.Op(t.op(0, wasm.I32Ne, wasm.I32Ne, wasm.I64Ne, wasm.I64Ne))
	case t.wide() && !to.wide():
		c.Op(wasm.I32WrapI64)
	case !t.wide() && to.wide():
		c.Op(t.op(0, wasm.I64ExtendI32S, wasm.I64ExtendI32U, 0, 0))
	}
}

// floatTo converts the f32 on the stack: cut towards zero, saturating, NaN is 0.
func floatTo(c *wasm.Code, to Elem, f, g wasm.Local) {
	switch to {
	case Bool:
		c.F32(0).Op(wasm.F32Ne)
	case I64:
		c.Op(wasm.I64TruncSatF32S)
	case U64:
		c.Op(wasm.I64TruncSatF32U)
	case I32:
		c.Op(wasm.I32TruncSatF32S)
	case U32:
		c.Op(wasm.I32TruncSatF32U)
	default:
		bits := 8 * to.Size()
		lo, hi := int32(0), int32(1)<<bits-1
		if to.signed() {
			lo, hi = -(int32(1) << (bits - 1)), int32(1)<<(bits-1)-1
		}
		c.Op(wasm.I32TruncSatF32S).Set(f)
		c.Get(f).I32(lo).Get(f).I32(lo).Op(wasm.I32GtS).Select().Set(g)
		c.Get(g).I32(hi).Get(g).I32(hi).Op(wasm.I32LtS).Select()
	}
}
