package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Tensor is a constant. Its elements are read through the accessor that fits its DType; each checks that
// the data has exactly the size that Dims say.
type Tensor struct {
	Name  string
	DType DType
	Dims  []int64 // empty for a scalar
	// Raw is the data, little endian and dense, where the file holds it so (all large weights); nil otherwise.
	// It is a slice of the file's bytes.
	Raw []byte
	// External is where the data stands when it is in another file; ReadFile sets Raw from it.
	External *External

	floats  []float32
	int32s  []int32
	int64s  []int64
	uint64s []uint64
	doubles []float64
	strings [][]byte
}

// External is a range of a file beside the model.
type External struct {
	Location string // path relative to the model's directory
	Offset   int64
	Length   int64 // -1: to the end of the file
}

func (t *Tensor) fail(format string, args ...any) error {
	return fmt.Errorf("%w: tensor %q (%v %v): %w", ErrData, t.Name, t.DType, t.Dims, fmt.Errorf(format, args...))
}

// Len is the number of elements that Dims give.
func (t *Tensor) Len() (int, error) {
	n := uint64(1)
	zero := false
	for _, d := range t.Dims {
		if d < 0 {
			return 0, t.fail("negative dimension")
		}
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		// 2^48 elements is beyond any memory and leaves room to multiply by the element size.
		if hi != 0 || lo > 1<<48 {
			return 0, t.fail("shape too large")
		}
		n = lo
	}
	if zero {
		return 0, nil
	}
	if n > math.MaxInt/16 {
		return 0, t.fail("shape too large")
	}
	return int(n), nil
}

// check compares the element count with the data present. typed is the length of the list that holds
// this DType when the data is not raw, per elements to an entry.
func (t *Tensor) check(typed, per int) (int, error) {
	n, err := t.Len()
	if err != nil {
		return 0, err
	}
	if t.Raw != nil {
		if want := (n*t.DType.Bits() + 7) / 8; len(t.Raw) != want {
			return 0, t.fail("%d bytes of data, the shape needs %d", len(t.Raw), want)
		}
		return n, nil
	}
	if t.External != nil {
		return 0, t.fail("the data is in file %q, which was not read", t.External.Location)
	}
	if want := (n + per - 1) / per; typed != want {
		return 0, t.fail("%d values, the shape needs %d", typed, want)
	}
	return n, nil
}

// Float32s returns the elements of a tensor of floats, those of f64 rounded to f32.
func (t *Tensor) Float32s() ([]float32, error) {
	if f, ok := t.DType.Float8(); ok {
		return t.float8s(f)
	}
	le := binary.LittleEndian
	switch t.DType {
	case F32:
		n, err := t.check(len(t.floats), 1)
		if err != nil {
			return nil, err
		}
		if t.Raw == nil {
			return slices.Clone(t.floats), nil
		}
		out := make([]float32, n)
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(t.Raw[4*i:]))
		}
		return out, nil
	case F64:
		n, err := t.check(len(t.doubles), 1)
		if err != nil {
			return nil, err
		}
		out := make([]float32, n)
		for i := range out {
			if t.Raw == nil {
				out[i] = float32(t.doubles[i])
			} else {
				out[i] = float32(math.Float64frombits(le.Uint64(t.Raw[8*i:])))
			}
		}
		return out, nil
	case F16, BF16:
		n, err := t.check(len(t.int32s), 1)
		if err != nil {
			return nil, err
		}
		out := make([]float32, n)
		for i := range out {
			var h uint16
			if t.Raw == nil {
				h = uint16(t.int32s[i])
			} else {
				h = le.Uint16(t.Raw[2*i:])
			}
			if t.DType == BF16 {
				out[i] = math.Float32frombits(uint32(h) << 16)
			} else {
				out[i] = halfToFloat(h)
			}
		}
		return out, nil
	}
	return nil, t.fail("not a float tensor")
}

// Float64s returns the elements of a tensor of floats, those of f64 as they are.
func (t *Tensor) Float64s() ([]float64, error) {
	if t.DType != F64 {
		f, err := t.Float32s()
		out := make([]float64, len(f))
		for i, v := range f {
			out[i] = float64(v)
		}
		return out, err
	}
	n, err := t.check(len(t.doubles), 1)
	if err != nil || t.Raw == nil {
		return slices.Clone(t.doubles), err
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Raw[8*i:]))
	}
	return out, nil
}

// halfToFloat expands an IEEE 754 binary16.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 31
	frac := uint32(h) & 1023
	switch exp {
	case 31: // infinity and NaN keep their payload
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	case 0: // zero and subnormals: frac × 2^-24, exact in f32
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// Int64s returns the elements of an integer or bool tensor, those of u64 by their bits.
func (t *Tensor) Int64s() ([]int64, error) {
	typed, per := 0, 1
	switch t.DType {
	case I8, U8, I16, U16, I32, Bool:
		typed = len(t.int32s)
	case I4, U4:
		typed, per = len(t.int32s), 2
	case I2, U2:
		typed, per = len(t.int32s), 4
	case I64:
		typed = len(t.int64s)
	case U32, U64:
		typed = len(t.uint64s)
	default:
		return nil, t.fail("not an integer tensor")
	}
	n, err := t.check(typed, per)
	if err != nil {
		return nil, err
	}
	if t.DType == I64 && t.Raw == nil {
		return slices.Clone(t.int64s), nil
	}
	out := make([]int64, n)
	for i := range out {
		u := t.element(i, per)
		out[i] = t.DType.signed(u)
	}
	return out, nil
}

// element returns the bits of integer i, the high ones undefined.
func (t *Tensor) element(i, per int) uint64 {
	le := binary.LittleEndian
	if t.Raw == nil {
		switch {
		case t.DType == U32 || t.DType == U64:
			return t.uint64s[i]
		case per > 1:
			return uint64(t.int32s[i/per]) >> (i % per * t.DType.Bits())
		}
		return uint64(t.int32s[i])
	}
	switch w := t.DType.Bits(); w {
	case 64:
		return le.Uint64(t.Raw[8*i:])
	case 32:
		return uint64(le.Uint32(t.Raw[4*i:]))
	case 16:
		return uint64(le.Uint16(t.Raw[2*i:]))
	case 8:
		return uint64(t.Raw[i])
	default:
		return uint64(t.Raw[i/per]) >> (i % per * w)
	}
}

// signed extends the low bits of u as the type says.
func (d DType) signed(u uint64) int64 {
	shift := 64 - d.Bits()
	switch d {
	case Bool:
		if u&0xff != 0 {
			return 1
		}
		return 0
	case U2, U4, U8, U16, U32, U64:
		return int64(u << shift >> shift)
	}
	return int64(u) << shift >> shift
}

// StringElems returns the elements of a string tensor.
func (t *Tensor) StringElems() ([][]byte, error) {
	if t.DType != String {
		return nil, t.fail("not a string tensor")
	}
	if _, err := t.check(len(t.strings), 1); err != nil {
		return nil, err
	}
	return t.strings, nil
}

func (m *message) floats(to []float32) []float32 {
	if to == nil {
		to = make([]float32, 0, m.count(4))
	}
	m.packed(protowire.Fixed32Type, func(b []byte) int {
		v, n := protowire.ConsumeFixed32(b)
		if n >= 0 {
			to = append(to, math.Float32frombits(v))
		}
		return n
	})
	return to
}

func (m *message) doubles(to []float64) []float64 {
	if to == nil {
		to = make([]float64, 0, m.count(8))
	}
	m.packed(protowire.Fixed64Type, func(b []byte) int {
		v, n := protowire.ConsumeFixed64(b)
		if n >= 0 {
			to = append(to, math.Float64frombits(v))
		}
		return n
	})
	return to
}
