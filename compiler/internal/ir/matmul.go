package ir

import (
	"fmt"
	"slices"
)

// MatMul multiplies matrices held in the last two axes, with the leading axes broadcast as in
// numpy (ONNX MatMul version 13 for ranks of two and more):
//
//	a […, M, K]   b […, K, N]   bias [N]   → y […, M, N]
//
// A fourth input of y's type is added if it is there, then Act applies.
type MatMul struct {
	Act Unary
}

// Name implements [Op].
func (MatMul) Name() string { return "matmul" }

// Infer implements [Op].
func (m MatMul) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 4); err != nil {
		return nil, err
	}
	if err := wantFloat(in); err != nil {
		return nil, err
	}
	a, b := in[0].Shape, in[1].Shape
	if len(a) < 2 || len(b) < 2 {
		return nil, fmt.Errorf("operands %v and %v need at least two axes", a, b)
	}
	la, lb := len(a)-2, len(b)-2
	if a[la+1] != b[lb] {
		return nil, fmt.Errorf("operands %v and %v: inner extents %d and %d differ", a, b, a[la+1], b[lb])
	}
	y, err := Broadcast(a[:la], b[:lb])
	if err != nil {
		return nil, err
	}
	y = append(y, a[la], b[lb+1])
	if !slices.Equal(in[2].Shape, Shape{b[lb+1]}) {
		return nil, fmt.Errorf("bias is %v, wants [%d]", in[2].Shape, b[lb+1])
	}
	if len(in) == 4 && !slices.Equal(in[3].Shape, y) {
		return nil, fmt.Errorf("residual is %v, wants %v", in[3].Shape, y)
	}
	return []Type{{F32, y}}, nil
}

// Eval implements [Op].
func (m MatMul) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := m.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y := NewTensor(out[0])
	a, b := in[0], in[1]
	r := len(y.Shape)
	rows, cols, depth := y.Shape[r-2], y.Shape[r-1], a.Shape[len(a.Shape)-1]
	lead := y.Shape[:r-2]
	as, bs := BroadcastStrides(a.Shape[:len(a.Shape)-2], lead), BroadcastStrides(b.Shape[:len(b.Shape)-2], lead)
	pos := make([]int, len(lead))
	for i := range lead.Elems() {
		unflatten(i, lead, pos)
		am := a.F[dot(pos, as)*rows*depth:]
		bm := b.F[dot(pos, bs)*depth*cols:]
		for row := range rows {
			acc := y.F[(i*rows+row)*cols:][:cols]
			copy(acc, in[2].F)
			for k, av := range am[row*depth:][:depth] {
				for c, bv := range bm[k*cols:][:len(acc)] {
					acc[c] += av * bv
				}
			}
		}
	}
	return []*Tensor{epilogue(y, in[3:], m.Act)}, nil
}

// MACs is the number of multiply-adds of the operator for the given types.
func (m MatMul) MACs(in, out []Type) int {
	return out[0].Shape.Elems() * in[0].Shape[len(in[0].Shape)-1]
}

// Broadcast returns the shape that a and b extend to, by numpy's rule.
func Broadcast(a, b Shape) (Shape, error) {
	n := max(len(a), len(b))
	y := make(Shape, n)
	for i := range n {
		da, db := 1, 1
		if j := i - n + len(a); j >= 0 {
			da = a[j]
		}
		if j := i - n + len(b); j >= 0 {
			db = b[j]
		}
		switch {
		case da == db || db == 1:
			y[i] = da
		case da == 1:
			y[i] = db
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast: %d and %d on axis %d", a, b, da, db, i)
		}
	}
	return y, nil
}

// BroadcastStrides returns, for each axis of to, the distance in elements between neighbours of a
// dense tensor of shape s that is broadcast to it; 0 where s is repeated.
func BroadcastStrides(s, to Shape) []int {
	st := make([]int, len(to))
	for i, d := range s.Strides() {
		if s[i] != 1 {
			st[len(to)-len(s)+i] = d
		}
	}
	return st
}

func dot(pos, strides []int) int {
	n := 0
	for i, p := range pos {
		n += p * strides[i]
	}
	return n
}
