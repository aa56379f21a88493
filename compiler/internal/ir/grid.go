package ir

import (
	"fmt"
	"math"
	"slices"
)

// Grid is how a tensor is quantised whose range is known when it is computed (ONNX DynamicQuantizeLinear
// version 11): the step that spreads its values, and 0, over 255 of them, and the byte that stands for 0.
// A tensor of zeros has step 1. NaN does not count.
//
//	x f32 → step f32 [], zero u8 []
type Grid struct{}

// Name implements [Op].
func (Grid) Name() string { return "grid" }

// Infer implements [Op].
func (Grid) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return []Type{{F32, Shape{}}, {U8, Shape{}}}, wantFloat(in)
}

// Eval implements [Op].
func (Grid) Eval(in []*Tensor) ([]*Tensor, error) {
	var lo, hi float32
	for _, v := range in[0].F {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	step := (hi - lo) / 255
	if step == 0 {
		step = 1
	}
	y := []*Tensor{NewTensor(Of(F32)), NewTensor(Of(U8))}
	y[0].F[0], y[1].I[0] = step, Quantize{Hi: math.MaxUint8}.step(-lo/step)
	return y, nil
}

// OnGrid makes bytes of floats as [Grid] says: round(x/step) + zero, halves to even, kept within a byte.
//
//	x f32   step f32   zero u8, one of each → u8 of x's shape
type OnGrid struct{}

// Name implements [Op].
func (OnGrid) Name() string { return "ongrid" }

// Infer implements [Op].
func (OnGrid) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	if in[1].Shape.Elems() != 1 || in[2].Shape.Elems() != 1 || in[2].DType != U8 {
		return nil, fmt.Errorf("step %v and zero %v, wants one f32 and one u8", in[1], in[2])
	}
	return []Type{{U8, slices.Clone(in[0].Shape)}}, wantFloat(in[:2])
}

// Eval implements [Op].
func (OnGrid) Eval(in []*Tensor) ([]*Tensor, error) {
	return Quantize{Scale: in[1].F[0], Zero: int(in[2].I[0]), Hi: math.MaxUint8, To: U8}.Eval(in[:1])
}

// Permute implements [Permuter].
func (o OnGrid) Permute([]int) Op { return o }
