package ir

import (
	"fmt"
	"slices"
)

// Product is [MatMul] by a matrix that is computed while the model runs. Its operands and its result may
// go through transposes that cost nothing: A and B turn the first two inputs before, Y turns what comes
// out. nil turns nothing. The last axis of the first operand and of the result stays last.
//
// The pass products makes them; load has [MatMul] alone.
type Product struct {
	A, B, Y []int
	Act     Unary
}

// Name implements [Op].
func (Product) Name() string { return "product" }

// plain are the operands of the product, turned.
func (p Product) plain(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	in = slices.Clone(in)
	for i, perm := range [][]int{p.A, p.B} {
		if perm == nil {
			continue
		}
		t, err := Transpose{perm}.Infer(in[i : i+1])
		if err != nil {
			return nil, err
		}
		in[i] = t[0]
	}
	for _, perm := range [][]int{p.A, p.Y} {
		if n := len(perm); n > 0 && perm[n-1] != n-1 {
			return nil, fmt.Errorf("%v moves the last axis", perm)
		}
	}
	return in, nil
}

// Infer implements [Op].
func (p Product) Infer(in []Type) ([]Type, error) {
	in, err := p.plain(in)
	if err != nil {
		return nil, err
	}
	out, err := MatMul{}.Infer(in)
	if err != nil || p.Y == nil {
		return out, err
	}
	return Transpose{p.Y}.Infer(out)
}

// Eval implements [Op].
func (p Product) Eval(in []*Tensor) ([]*Tensor, error) {
	if _, err := p.Infer(typesOf(in)); err != nil {
		return nil, err
	}
	in = slices.Clone(in)
	for i, perm := range [][]int{p.A, p.B} {
		if perm != nil {
			t, err := Transpose{perm}.Eval(in[i : i+1])
			if err != nil {
				return nil, err
			}
			in[i] = t[0]
		}
	}
	out, err := MatMul{Act: p.Act}.Eval(in)
	if err != nil || p.Y == nil {
		return out, err
	}
	return Transpose{p.Y}.Eval(out)
}

// MACs is the number of multiply-adds of the operator for the given types.
func (p Product) MACs(in, out []Type) int {
	return out[0].Shape.Elems() * in[0].Shape[len(in[0].Shape)-1]
}

// Scratch implements [Scratcher]: one matrix of the second operand, in blocks of 4×4.
func (p Product) Scratch(in []Type) int {
	in, err := p.plain(in)
	if err != nil {
		return 0
	}
	b := in[1].Shape
	up := func(n int) int { return (n + 3) / 4 * 4 }
	return up(b[len(b)-2]) * up(b[len(b)-1]) * F32.Size()
}
