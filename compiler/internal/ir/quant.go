package ir

import (
	"fmt"
	"math"
	"slices"
)

// Quantize makes integers of floats (ONNX QuantizeLinear version 19, one scale for the tensor):
// round(x/Scale) + Zero, halves to even, kept within Lo and Hi.
type Quantize struct {
	Scale        float32
	Zero, Lo, Hi int
	To           DType
}

// Name implements [Op].
func (Quantize) Name() string { return "quantize" }

// Infer implements [Op].
func (q Quantize) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !(q.Scale > 0) || q.Lo > q.Hi || q.To.Float() {
		return nil, fmt.Errorf("scale %v, range %d to %d of %v", q.Scale, q.Lo, q.Hi, q.To)
	}
	return []Type{{q.To, slices.Clone(in[0].Shape)}}, wantFloat(in)
}

// Eval implements [Op].
func (q Quantize) Eval(in []*Tensor) ([]*Tensor, error) {
	y := NewTensor(Type{q.To, in[0].Shape})
	for i, v := range in[0].F {
		y.I[i] = q.step(v / q.Scale)
	}
	return []*Tensor{y}, nil
}

// step rounds what is already divided by the scale. NaN becomes the zero point's end of the range below.
func (q Quantize) step(v float32) int64 {
	r := math.RoundToEven(float64(v)) + float64(q.Zero)
	if math.IsNaN(r) {
		return int64(q.Lo)
	}
	return int64(min(max(r, float64(q.Lo)), float64(q.Hi)))
}

// Permute implements [Permuter].
func (q Quantize) Permute([]int) Op { return q }

// Dequantize is (x - Zero)·Scale (ONNX DequantizeLinear version 19, one scale for the tensor).
type Dequantize struct {
	Scale float32
	Zero  int
}

// Name implements [Op].
func (Dequantize) Name() string { return "dequantize" }

// Infer implements [Op].
func (d Dequantize) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if in[0].DType.Float() {
		return nil, fmt.Errorf("input is %v, wants integers", in[0])
	}
	return []Type{{F32, slices.Clone(in[0].Shape)}}, nil
}

// Eval implements [Op].
func (d Dequantize) Eval(in []*Tensor) ([]*Tensor, error) {
	y := NewTensor(Type{F32, in[0].Shape})
	for i, v := range in[0].I {
		y.F[i] = float32(v-int64(d.Zero)) * d.Scale
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (d Dequantize) Permute([]int) Op { return d }

// IntConv is a convolution of 8-bit integers, as quantised models have it (ONNX QLinearConv version 10,
// ConvInteger version 10, channels last):
//
//	x u8 or i8 [N, spatial…, C]   w i16 [kernel…, C/Group, OC]   b i32 [OC]   s f32 [OC]
//
// The sum Σ (x - Zero)·w + b is scaled by s of its channel, rounded with halves to even, and kept,
// OutZero added, within Lo and Hi; as i32 it is the result itself.
//
// Where x is quantised while the model runs, there are more inputs, the first two of one element:
//
//	z of x's type   k f32   t f32 [OC]
//
// Then z takes the place of Zero. As f32, which needs all of them, the sum is scaled by s·k, t is added, and
// Act applies.
type IntConv struct {
	Strides, Dilations, Pads []int
	Group                    int
	Zero, OutZero, Lo, Hi    int
	To                       DType
	Act                      Unary
}

// Name implements [Op].
func (IntConv) Name() string { return "intconv" }

// conv is the convolution of floats that moves its window alike.
func (c IntConv) conv() Conv {
	return Conv{Strides: c.Strides, Dilations: c.Dilations, Pads: c.Pads, Group: c.Group}
}

// Infer implements [Op].
func (c IntConv) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 4, 7); err != nil {
		return nil, err
	}
	if t := in[0].DType; t != U8 && t != I8 || in[1].DType != I16 || in[2].DType != I32 || in[3].DType != F32 {
		return nil, fmt.Errorf("inputs are %v, wants u8 or i8, i16, i32, f32", in)
	}
	if !slices.Equal(in[2].Shape, in[3].Shape) {
		return nil, fmt.Errorf("%v and %v differ", in[2], in[3])
	}
	if c.To != U8 && c.To != I8 && c.To != I32 && c.To != F32 {
		return nil, fmt.Errorf("no result of %v", c.To)
	}
	if err := c.inferScale(in); err != nil {
		return nil, err
	}
	f := func(t Type) Type { return Type{F32, t.Shape} }
	y, err := c.conv().Infer([]Type{f(in[0]), f(in[1]), f(in[2])})
	if err != nil {
		return nil, err
	}
	y[0].DType = c.To
	return y, nil
}

// inferScale checks the inputs that are there when x is quantised while the model runs.
func (c IntConv) inferScale(in []Type) error {
	if len(in) > 4 && (in[4].DType != in[0].DType || in[4].Shape.Elems() != 1) {
		return fmt.Errorf("zero point is %v, wants one %v", in[4], in[0].DType)
	}
	if (c.To == F32) != (len(in) == 7) || len(in) == 6 {
		return fmt.Errorf("%d inputs for a result of %v", len(in), c.To)
	}
	if len(in) == 7 && (in[5].DType != F32 || in[5].Shape.Elems() != 1 || !in[6].Equal(in[3])) {
		return fmt.Errorf("scale is %v and sum %v, wants one f32 and %v", in[5], in[6], in[3])
	}
	return nil
}

// MACs is the number of multiply-adds of the operator for the given types.
func (c IntConv) MACs(in, out []Type) int { return c.conv().MACs(in, out) }

// Scratch implements [Scratcher]: the input with its padding, and behind it what z and k make of bias and
// scales.
func (c IntConv) Scratch(in []Type) int {
	size := c.Padded(in[0].Shape)
	if len(in) > 4 {
		size += 2*4*((in[2].Shape[0]+7)/8*8) + 16 // the channels of the last group are read up to a vector's end
	}
	return size
}

// Padded is the number of bytes of x with its padding, whole vectors of them; 0 if it has none.
func (c IntConv) Padded(x Shape) int {
	if slices.Max(c.Pads) == 0 {
		return 0
	}
	n, size := len(x)-2, x[len(x)-1]
	for i := range n {
		size *= x[i+1] + c.Pads[i] + c.Pads[n+i]
	}
	return (size + 31) / 16 * 16
}

// Eval implements [Op].
func (c IntConv) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := c.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, w, y := in[0], in[1], NewTensor(out[0])
	n, zero := len(x.Shape)-2, int64(c.Zero)
	if len(in) > 4 {
		zero = in[4].I[0]
	}
	oc, icg := w.Shape[n+1], w.Shape[n]
	ocg := oc / c.Group
	xs, taps := x.Shape.Strides(), w.Shape[:n].Elems()
	pos := make([]int, n)
	for o := range y.Shape.Elems() / oc {
		batch := unflatten(o, y.Shape[1:n+1], pos)
		acc := make([]int64, oc)
		copy(acc, in[2].I)
		for tap := range taps {
			src, rest, inside := batch*xs[0], tap, true
			for i := n - 1; i >= 0; i-- {
				at := pos[i]*c.Strides[i] + rest%w.Shape[i]*c.Dilations[i] - c.Pads[i]
				rest /= w.Shape[i]
				inside = inside && at >= 0 && at < x.Shape[i+1]
				src += at * xs[i+1]
			}
			for k := 0; inside && k < oc; k++ {
				for ic := range icg {
					acc[k] += (x.I[src+k/ocg*icg+ic] - zero) * w.I[(tap*icg+ic)*oc+k]
				}
			}
		}
		for k, v := range acc {
			switch c.To {
			case I32:
				y.I[o*oc+k] = int64(int32(v))
			case F32:
				y.F[o*oc+k] = float32(float32(int32(v))*(in[3].F[k]*in[5].F[0])) + in[6].F[k]
			default:
				q := Quantize{Zero: c.OutZero, Lo: c.Lo, Hi: c.Hi}
				y.I[o*oc+k] = q.step(float32(int32(v)) * in[3].F[k])
			}
		}
	}
	if c.To == F32 {
		return []*Tensor{epilogue(y, nil, c.Act)}, nil
	}
	return []*Tensor{y}, nil
}

// IntBinary is a function of two dequantised operands, quantised: round(Fn(a, b)) + Zero within Lo and
// Hi, where a is (x - ZeroA)·ScaleA and b alike, both in steps of the result (ONNX Runtime's QLinearAdd
// and QLinearMul).
type IntBinary struct {
	Fn             string // add, mul
	ScaleA, ScaleB float32
	ZeroA, ZeroB   int
	Zero, Lo, Hi   int
	To             DType
}

// Name implements [Op].
func (IntBinary) Name() string { return "intbinary" }

// Infer implements [Op].
func (b IntBinary) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if b.Fn != "add" && b.Fn != "mul" {
		return nil, fmt.Errorf("no function %q", b.Fn)
	}
	for _, t := range in {
		if t.DType != U8 && t.DType != I8 || !slices.Equal(t.Shape, in[0].Shape) {
			return nil, fmt.Errorf("operands are %v and %v, wants one shape of u8 or i8", in[0], in[1])
		}
	}
	return []Type{{b.To, slices.Clone(in[0].Shape)}}, nil
}

// Permute implements [Permuter].
func (b IntBinary) Permute([]int) Op { return b }

// Eval implements [Op].
func (b IntBinary) Eval(in []*Tensor) ([]*Tensor, error) {
	y := NewTensor(Type{b.To, in[0].Shape})
	q := Quantize{Zero: b.Zero, Lo: b.Lo, Hi: b.Hi}
	for i := range y.I {
		x, z := float32(in[0].I[i]-int64(b.ZeroA))*b.ScaleA, float32(in[1].I[i]-int64(b.ZeroB))*b.ScaleB
		if b.Fn == "add" {
			y.I[i] = q.step(x + z)
		} else {
			y.I[i] = q.step(x * z)
		}
	}
	return []*Tensor{y}, nil
}
