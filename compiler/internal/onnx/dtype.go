package onnx

import "fmt"

// DType is the type of a tensor's elements; the numbers are those of onnx.proto.
type DType int32

const (
	Undefined  DType = 0
	F32        DType = 1
	U8         DType = 2
	I8         DType = 3
	U16        DType = 4
	I16        DType = 5
	I32        DType = 6
	I64        DType = 7
	String     DType = 8
	Bool       DType = 9
	F16        DType = 10
	F64        DType = 11
	U32        DType = 12
	U64        DType = 13
	Complex64  DType = 14
	Complex128 DType = 15
	BF16       DType = 16
	F8E4M3FN   DType = 17
	F8E4M3FNUZ DType = 18
	F8E5M2     DType = 19
	F8E5M2FNUZ DType = 20
	U4         DType = 21
	I4         DType = 22
	F4E2M1     DType = 23
	F8E8M0     DType = 24
	U2         DType = 25
	I2         DType = 26
)

// dtypes gives each type's name and its size in bits in raw data; strings have no raw form.
var dtypes = [...]struct {
	name string
	bits int
}{
	Undefined: {"undefined", 0}, F32: {"f32", 32}, U8: {"u8", 8}, I8: {"i8", 8}, U16: {"u16", 16}, I16: {"i16", 16},
	I32: {"i32", 32}, I64: {"i64", 64}, String: {"string", 0}, Bool: {"bool", 8}, F16: {"f16", 16}, F64: {"f64", 64},
	U32: {"u32", 32}, U64: {"u64", 64}, Complex64: {"complex64", 64}, Complex128: {"complex128", 128}, BF16: {"bf16", 16},
	F8E4M3FN: {"f8e4m3fn", 8}, F8E4M3FNUZ: {"f8e4m3fnuz", 8}, F8E5M2: {"f8e5m2", 8}, F8E5M2FNUZ: {"f8e5m2fnuz", 8},
	U4: {"u4", 4}, I4: {"i4", 4}, F4E2M1: {"f4e2m1", 4}, F8E8M0: {"f8e8m0", 8}, U2: {"u2", 2}, I2: {"i2", 2},
}

func (d DType) String() string {
	if d < 0 || int(d) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", int32(d))
	}
	return dtypes[d].name
}

// Bits is the size of one element in raw data; 0 for strings and unknown types. Types below 8 bits are
// packed, the first element in the low bits.
func (d DType) Bits() int {
	if d < 0 || int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].bits
}
