package ir

import (
	"fmt"
	"slices"
)

// Lookup replaces each byte of its first input by what stands there in the second, a table of 256: at the
// place 0 for the byte 0, for i8 from 128 on those of negative values. It is any function of one quantised
// value that gives a quantised one.
type Lookup struct{}

// Name implements [Op].
func (Lookup) Name() string { return "lookup" }

// Infer implements [Op].
func (Lookup) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	for i, t := range in {
		if t.DType != U8 && t.DType != I8 || i == 1 && !slices.Equal(t.Shape, Shape{256}) {
			return nil, fmt.Errorf("bytes %v by table %v, wants u8 or i8 and 256 of them", in[0], in[1])
		}
	}
	return []Type{{in[1].DType, slices.Clone(in[0].Shape)}}, nil
}

// Eval implements [Op].
func (Lookup) Eval(in []*Tensor) ([]*Tensor, error) {
	y := NewTensor(Type{in[1].DType, in[0].Shape})
	for i, v := range in[0].I {
		y.I[i] = in[1].I[v&255]
	}
	return []*Tensor{y}, nil
}
