package ir

import (
	"fmt"
	"slices"
)

// Conv is a convolution over channels-last tensors, the ONNX operator Conv (version 11) after a
// transpose of its input and weights:
//
//	x [N, spatial…, C]   w [kernel…, C/Group, OC]   b [OC]   → y [N, spatial'…, OC]
//
// followed by the epilogue: a fourth input of y's type is added if it is there, then Act applies.
type Conv struct {
	Strides   []int
	Dilations []int
	Pads      []int // before each spatial axis, then after each
	Group     int
	Act       Unary
}

// Name implements [Op].
func (Conv) Name() string { return "conv" }

// Infer implements [Op].
func (c Conv) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 4); err != nil {
		return nil, err
	}
	if err := wantFloat(in); err != nil {
		return nil, err
	}
	x, w, b := in[0].Shape, in[1].Shape, in[2].Shape
	n := len(x) - 2
	if n < 1 || len(w) != len(x) {
		return nil, fmt.Errorf("input %v and weights %v: ranks must agree and be at least 3", x, w)
	}
	if len(c.Strides) != n || len(c.Dilations) != n || len(c.Pads) != 2*n {
		return nil, fmt.Errorf("strides %v, dilations %v, pads %v do not fit %d spatial axes", c.Strides, c.Dilations, c.Pads, n)
	}
	ch, oc := x[len(x)-1], w[n+1]
	if c.Group < 1 || w[n] < 1 || oc < 1 || ch != w[n]*c.Group || oc%c.Group != 0 {
		return nil, fmt.Errorf("%d channels, weights %v, group %d do not add up", ch, w, c.Group)
	}
	if !slices.Equal(b, Shape{oc}) {
		return nil, fmt.Errorf("bias is %v, wants [%d]", b, oc)
	}
	y := Shape{x[0]}
	for i := range n {
		if c.Strides[i] < 1 || c.Dilations[i] < 1 || c.Pads[i] < 0 || c.Pads[n+i] < 0 {
			return nil, fmt.Errorf("stride %d, dilation %d, pads %d and %d on spatial axis %d: out of range",
				c.Strides[i], c.Dilations[i], c.Pads[i], c.Pads[n+i], i)
		}
		span := (w[i]-1)*c.Dilations[i] + 1
		room := x[i+1] + c.Pads[i] + c.Pads[n+i]
		if w[i] < 1 || room < span {
			return nil, fmt.Errorf("kernel of extent %d does not fit %d padded elements on spatial axis %d", span, room, i)
		}
		y = append(y, (room-span)/c.Strides[i]+1)
	}
	y = append(y, oc)
	if len(in) == 4 && !slices.Equal(in[3].Shape, y) {
		return nil, fmt.Errorf("residual is %v, wants %v", in[3].Shape, y)
	}
	return []Type{{F32, y}}, nil
}

// Eval implements [Op].
func (c Conv) Eval(in []*Tensor) ([]*Tensor, error) {
	x, w := in[0], in[1]
	out, err := c.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y := NewTensor(out[0])
	n := len(x.Shape) - 2
	oc := w.Shape[n+1]
	icg, ocg := w.Shape[n], oc/c.Group
	xs, ws, taps := x.Shape.Strides(), w.Shape.Strides(), Shape(w.Shape[:n]).Elems()
	pos := make([]int, n)
	for o := 0; o < len(y.F)/oc; o++ {
		acc := y.F[o*oc : o*oc+oc]
		copy(acc, in[2].F)
		batch := unflatten(o, y.Shape[1:n+1], pos)
		for tap := range taps {
			src, rest, inside := batch*xs[0], tap, true
			for i := n - 1; i >= 0; i-- {
				k := rest % w.Shape[i]
				rest /= w.Shape[i]
				at := pos[i]*c.Strides[i] + k*c.Dilations[i] - c.Pads[i]
				inside = inside && at >= 0 && at < x.Shape[i+1]
				src += at * xs[i+1]
			}
			if !inside {
				continue
			}
			for g := range c.Group {
				part := acc[g*ocg : g*ocg+ocg]
				for ic := range icg {
					xv := x.F[src+g*icg+ic]
					row := w.F[tap*icg*ws[n]+ic*ws[n]+g*ocg:][:len(part)]
					for i, wv := range row {
						part[i] += xv * wv
					}
				}
			}
		}
	}
	return []*Tensor{epilogue(y, in[3:], c.Act)}, nil
}

// MACs is the number of multiply-adds of the operator for the given types.
func (c Conv) MACs(in, out []Type) int {
	w := in[1].Shape
	return out[0].Shape.Elems() * w[:len(w)-1].Elems()
}

// epilogue adds the residual, if there is one, and applies act in place.
func epilogue(y *Tensor, residual []*Tensor, act Unary) *Tensor {
	for _, r := range residual {
		for i, v := range r.F {
			y.F[i] += v
		}
	}
	if act.Fn != "" {
		for i, v := range y.F {
			y.F[i] = act.apply(v)
		}
	}
	return y
}

func typesOf(in []*Tensor) []Type {
	ts := make([]Type, len(in))
	for i, t := range in {
		ts[i] = t.Type
	}
	return ts
}

// unflatten writes the position that flat index i has within shape and returns what is left over
// for the axes before it.
func unflatten(i int, shape Shape, pos []int) int {
	for a := len(shape) - 1; a >= 0; a-- {
		pos[a] = i % shape[a]
		i /= shape[a]
	}
	return i
}
