package wasm

import (
	"encoding/binary"
	"math"
)

// ConstExpr is a constant expression: instructions with the final end, as in the binary format.
type ConstExpr []byte

// ConstI32 is the expression of an i32 constant.
func ConstI32(v int32) ConstExpr {
	return append(appendS64([]byte{byte(I32Const)}, int64(v)), byte(End))
}

// ConstI64 is the expression of an i64 constant.
func ConstI64(v int64) ConstExpr {
	return append(appendS64([]byte{byte(I64Const)}, v), byte(End))
}

// ConstF32 is the expression of an f32 constant.
func ConstF32(v float32) ConstExpr {
	return append(binary.LittleEndian.AppendUint32([]byte{byte(F32Const)}, math.Float32bits(v)), byte(End))
}

// ConstF64 is the expression of an f64 constant.
func ConstF64(v float64) ConstExpr {
	return append(binary.LittleEndian.AppendUint64([]byte{byte(F64Const)}, math.Float64bits(v)), byte(End))
}

// ConstV128 is the expression of a v128 constant.
func ConstV128(v [16]byte) ConstExpr {
	return append(append(appendOp(nil, V128Const), v[:]...), byte(End))
}

// I32 gives the value of an expression that is one i32 constant, such as the address in an input_0
// global.
func (x ConstExpr) I32() (int32, bool) {
	r := reader{b: x}
	if r.byte("an instruction") != byte(I32Const) {
		return 0, false
	}
	v := r.signed("a constant", 32)
	if r.byte("end") != byte(End) || r.left() > 0 {
		return 0, false
	}
	return int32(v), r.ok()
}

// constExpr reads a constant expression. Globals in it must be immutable and stand before; functions
// must exist.
func (d *decoder) constExpr(r *reader) ConstExpr {
	if !r.ok() {
		return nil
	}
	start := r.pos
	in := instrReader{
		reader: reader{b: r.b, pos: r.pos, base: r.base, section: r.section},
		open:   append(d.open[:0], Block),
	}
	var i Instr
	for len(in.open) > 0 && in.next(&i) {
		switch i.Op {
		case I32Const, I64Const, F32Const, F64Const, V128Const, RefNull, End,
			I32Add, I32Sub, I32Mul, I64Add, I64Sub, I64Mul:
		case GlobalGet:
			if i.Index >= d.globals {
				in.failAt(i.Offset, "constant expression reads global %d of %d", i.Index, d.globals)
			} else if d.mutable[i.Index] {
				in.failAt(i.Offset, "constant expression reads mutable global %d", i.Index)
			}
		case RefFunc:
			if i.Index >= d.funcs {
				in.failAt(i.Offset, "constant expression refers to function %d of %d", i.Index, d.funcs)
			}
		default:
			in.failAt(i.Offset, "%v is not allowed in a constant expression", i.Op)
		}
	}
	d.open = in.open
	if !in.ok() {
		r.err = in.err
		return nil
	}
	r.pos = in.pos
	return ConstExpr(r.b[start:r.pos:r.pos])
}
