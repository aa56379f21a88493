package ir

import (
	"math"
	"slices"
)

// Cast converts the element type (ONNX Cast version 13). Floats are cut towards zero and saturate, with 0
// for NaN; integers keep the low bits; what is not 0 is true.
type Cast struct{ To DType }

// Name implements [Op].
func (Cast) Name() string { return "cast" }

// Infer implements [Op].
func (c Cast) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return []Type{{c.To, slices.Clone(in[0].Shape)}}, nil
}

// Eval implements [Op].
func (c Cast) Eval(in []*Tensor) ([]*Tensor, error) {
	x, y := in[0], NewTensor(Type{c.To, in[0].Shape})
	for i := range x.Shape.Elems() {
		switch {
		case x.DType.Float() && c.To.Float():
			y.F[i] = x.F[i]
		case x.DType.Float():
			y.I[i] = Saturate(float64(x.F[i]), c.To)
		case c.To.Float():
			y.F[i] = x.float(i)
		default:
			y.I[i] = wrap(x.I[i], c.To)
		}
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (c Cast) Permute([]int) Op { return c }

// float is element i of integers as a float.
func (x *Tensor) float(i int) float32 {
	if x.DType == U64 {
		return float32(uint64(x.I[i]))
	}
	return float32(x.I[i])
}

// bounds of each integer type, the upper one excluded, as floats.
func (t DType) bounds() (lo, hi float64) {
	bits := 8 * t.Size()
	if t.Signed() {
		return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)
	}
	return 0, math.Ldexp(1, bits)
}

// Saturate converts x to the integer type t, by the rules of [Cast].
func Saturate(x float64, t DType) int64 {
	lo, hi := t.bounds()
	switch {
	case t == Bool:
		return int64(truth(x != 0))
	case math.IsNaN(x):
		return 0
	case x <= lo:
		if t == I64 {
			return math.MinInt64
		}
		return int64(lo)
	case x >= hi && t == I64:
		return math.MaxInt64
	case x >= hi && t == U64:
		return -1
	case x >= hi:
		return int64(hi) - 1
	case t == U64:
		return int64(uint64(x))
	}
	return int64(x)
}

// wrap keeps the low bits of v that t has, as two's complement hardware does.
func wrap(v int64, t DType) int64 {
	switch t {
	case I32:
		return int64(int32(v))
	case U32:
		return int64(uint32(v))
	case I16:
		return int64(int16(v))
	case U16:
		return int64(uint16(v))
	case I8:
		return int64(int8(v))
	case U8:
		return int64(uint8(v))
	case Bool:
		if v != 0 {
			return 1
		}
	}
	return v
}

// less compares integers of type t.
func less(a, b int64, t DType) bool {
	if t == U64 {
		return uint64(a) < uint64(b)
	}
	return a < b
}

// quotient is a/b cut towards zero, and 0 where b is.
func quotient(a, b int64, t DType) int64 {
	switch {
	case b == 0:
		return 0
	case t == U64:
		return int64(uint64(a) / uint64(b))
	}
	return a / b
}
