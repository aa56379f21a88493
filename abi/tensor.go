package abi

import (
	"fmt"
	"math"
)

// DType is a tensor's element type. In memory elements are little-endian, without gaps, in
// row-major order.
type DType string

// The element types. A bool is one byte, 0 or 1.
const (
	F32  DType = "f32"
	F64  DType = "f64"
	F16  DType = "f16"
	I8   DType = "i8"
	U8   DType = "u8"
	I16  DType = "i16"
	U16  DType = "u16"
	I32  DType = "i32"
	U32  DType = "u32"
	I64  DType = "i64"
	U64  DType = "u64"
	Bool DType = "bool"
)

// Size is the size of one element in bytes, 0 for a type that does not exist.
func (d DType) Size() int {
	switch d {
	case I8, U8, Bool:
		return 1
	case F16, I16, U16:
		return 2
	case F32, I32, U32:
		return 4
	case F64, I64, U64:
		return 8
	}
	return 0
}

// TensorSpec describes one input or output tensor of the tensors convention.
type TensorSpec struct {
	Name   string `json:"name"`
	Global string `json:"global"` // exported immutable i32 global that holds the address
	DType  DType  `json:"dtype"`
	Shape  []int  `json:"shape"` // every dimension ≥ 1; empty: one element
}

// ByteSize is the tensor's size in memory, or an error where shape or dtype do not give one below
// 2 GiB (int has 32 bits on the smallest devices).
func (t TensorSpec) ByteSize() (int, error) {
	size := t.DType.Size()
	if size == 0 {
		return 0, fmt.Errorf("dtype %q is not known", t.DType)
	}
	total := uint64(size)
	for i, d := range t.Shape {
		if d < 1 {
			return 0, fmt.Errorf("shape %v: dimension %d is %d, want at least 1", t.Shape, i, d)
		}
		if uint64(d) > math.MaxInt32/total {
			return 0, fmt.Errorf("shape %v of %s: more than 2 GiB", t.Shape, t.DType)
		}
		total *= uint64(d)
	}
	return int(total), nil
}
