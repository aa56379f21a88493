package ir

import (
	"fmt"
	"math"
	"slices"
)

// LayerNorm brings the last axis of its first input to mean 0 and variance 1 and then applies a factor
// and a sum for each place of it, the other two inputs (ONNX LayerNormalization version 17 over the last
// axis): (x - mean)/√(variance + Eps)·w + b.
type LayerNorm struct{ Eps float32 }

// Name implements [Op].
func (LayerNorm) Name() string { return "layernorm" }

// Infer implements [Op].
func (LayerNorm) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	s := in[0].Shape
	if len(s) == 0 || !slices.Equal(in[1].Shape, s[len(s)-1:]) || !slices.Equal(in[2].Shape, s[len(s)-1:]) {
		return nil, fmt.Errorf("factors %v and sums %v for %v", in[1], in[2], in[0])
	}
	return in[:1], wantFloat(in)
}

// Eval implements [Op].
func (l LayerNorm) Eval(in []*Tensor) ([]*Tensor, error) {
	x, y := in[0], NewTensor(in[0].Type)
	n := x.Shape[len(x.Shape)-1]
	for at := 0; at < len(x.F); at += n {
		mean, variance := 0., 0.
		for _, v := range x.F[at : at+n] {
			mean += float64(v) / float64(n)
		}
		for _, v := range x.F[at : at+n] {
			variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
		}
		dev := math.Sqrt(variance + float64(l.Eps))
		for i, v := range x.F[at : at+n] {
			y.F[at+i] = float32((float64(v)-mean)/dev*float64(in[1].F[i]) + float64(in[2].F[i]))
		}
	}
	return []*Tensor{y}, nil
}
