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
