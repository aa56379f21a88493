package ir

import (
	"fmt"
	"math"
	"slices"
)

// Reduce folds Axes into extent 1.
type Reduce struct {
	Fn   string // mean, sum, prod, max, min; of booleans max and min alone
	Axes []int
}

// Name implements [Op].
func (Reduce) Name() string { return "reduce" }

// Infer implements [Op].
func (r Reduce) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	switch r.Fn {
	case "mean", "sum", "prod":
		if in[0].DType == Bool {
			return nil, fmt.Errorf("%w: %s of %v", ErrDType, r.Fn, in[0])
		}
	case "max", "min":
	default:
		return nil, fmt.Errorf("no function %q", r.Fn)
	}
	y := slices.Clone(in[0].Shape)
	for _, a := range r.Axes {
		if a < 0 || a >= len(y) {
			return nil, fmt.Errorf("axis %d is outside %v", a, in[0])
		}
		y[a] = 1
	}
	return []Type{{in[0].DType, y}}, nil
}

// integers folds integers: sums and products wrap, and a mean is cut towards zero.
func (r Reduce) integers(x, y *Tensor) {
	t := x.DType
	for i := range y.I {
		switch r.Fn {
		case "max":
			y.I[i] = lowest(t)
		case "min":
			y.I[i] = highest(t)
		case "prod":
			y.I[i] = 1
		}
	}
	st := BroadcastStrides(y.Shape, x.Shape)
	pos := make([]int, len(x.Shape))
	for i, v := range x.I {
		unflatten(i, x.Shape, pos)
		o := dot(pos, st)
		switch acc := &y.I[o]; {
		case r.Fn == "max" && less(*acc, v, t), r.Fn == "min" && less(v, *acc, t):
			*acc = v
		case r.Fn == "prod":
			*acc = wrap(*acc*v, t)
		case r.Fn == "sum" || r.Fn == "mean":
			*acc = wrap(*acc+v, t)
		}
	}
	for i := range y.I {
		if r.Fn == "mean" {
			y.I[i] = quotient(y.I[i], int64(len(x.I)/len(y.I)), t)
		}
	}
}

// lowest and highest are the ends of an integer type's range.
func lowest(t DType) int64 {
	if t == Bool {
		return 0
	}
	return Saturate(math.Inf(-1), t)
}

func highest(t DType) int64 { return Saturate(math.Inf(1), t) }

// Eval implements [Op]. Sums are kept in float64, so that the oracle is closer to the truth than
// any order of float32 additions. NaN wins over all else (math.Max prefers +Inf, max does not).
func (r Reduce) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := r.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y := in[0], NewTensor(out[0])
	if !x.DType.Float() {
		r.integers(x, y)
		return []*Tensor{y}, nil
	}
	acc := make([]float64, len(y.F))
	for i := range acc {
		acc[i] = map[string]float64{"max": math.Inf(-1), "min": math.Inf(1), "prod": 1}[r.Fn]
	}
	st := BroadcastStrides(y.Shape, x.Shape)
	pos := make([]int, len(x.Shape))
	for i, v := range x.F {
		unflatten(i, x.Shape, pos)
		o := dot(pos, st)
		switch r.Fn {
		case "max":
			acc[o] = max(acc[o], float64(v))
		case "min":
			acc[o] = min(acc[o], float64(v))
		case "prod":
			acc[o] *= float64(v)
		default:
			acc[o] += float64(v)
		}
	}
	for i, v := range acc {
		if r.Fn == "mean" {
			v /= float64(len(x.F) / len(y.F))
		}
		y.F[i] = float32(v)
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (r Reduce) Permute(perm []int) Op {
	axes := make([]int, len(r.Axes))
	for i, a := range r.Axes {
		axes[i] = perm[a]
	}
	slices.Sort(axes)
	return Reduce{r.Fn, axes}
}

// Softmax normalises the last axis to exp(x)/Σexp(x) (ONNX Softmax version 13).
type Softmax struct{}

// Name implements [Op].
func (Softmax) Name() string { return "softmax" }

// Infer implements [Op].
func (Softmax) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if len(in[0].Shape) == 0 {
		return nil, fmt.Errorf("a scalar has no axis to normalise")
	}
	return in, wantFloat(in)
}

// Eval implements [Op].
func (Softmax) Eval(in []*Tensor) ([]*Tensor, error) {
	x, y := in[0], NewTensor(in[0].Type)
	n := x.Shape[len(x.Shape)-1]
	for at := 0; at < len(x.F); at += n {
		row, out := x.F[at:at+n], y.F[at:at+n]
		top, sum := float64(slices.Max(row)), 0.
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		for i, v := range row {
			out[i] = float32(math.Exp(float64(v)-top) / sum)
		}
	}
	return []*Tensor{y}, nil
}

// Pool reduces a window that moves over the spatial axes of x [N, spatial…, C] (ONNX MaxPool
// version 12, AveragePool version 19). Elements beyond the input do not take part, except that an
// average counts those within Pads when CountPad is set.
type Pool struct {
	Fn                         string // max, avg, sum
	Kernel, Strides, Dilations []int
	Pads                       []int // before each spatial axis, then after each
	Ceil                       bool  // the last window may begin inside and end beyond the padded input
	CountPad                   bool
}

// Name implements [Op].
func (Pool) Name() string { return "pool" }

// Infer implements [Op].
func (p Pool) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if p.Fn != "max" && p.Fn != "avg" && p.Fn != "sum" {
		return nil, fmt.Errorf("no function %q", p.Fn)
	}
	x := in[0].Shape
	n := len(x) - 2
	if n < 1 || len(p.Kernel) != n || len(p.Strides) != n || len(p.Dilations) != n || len(p.Pads) != 2*n {
		return nil, fmt.Errorf("kernel %v, strides %v, dilations %v, pads %v do not fit %v", p.Kernel, p.Strides, p.Dilations, p.Pads, x)
	}
	y := slices.Clone(x)
	for i := range n {
		if p.Kernel[i] < 1 || p.Strides[i] < 1 || p.Dilations[i] < 1 || p.Pads[i] < 0 || p.Pads[n+i] < 0 {
			return nil, fmt.Errorf("kernel %v, strides %v, dilations %v, pads %v: out of range", p.Kernel, p.Strides, p.Dilations, p.Pads)
		}
		span := (p.Kernel[i]-1)*p.Dilations[i] + 1
		room := x[i+1] + p.Pads[i] + p.Pads[n+i] - span
		if room < 0 {
			return nil, fmt.Errorf("window of extent %d does not fit spatial axis %d of %v", span, i, x)
		}
		if p.Ceil {
			room += p.Strides[i] - 1
		}
		y[i+1] = room/p.Strides[i] + 1
		// A window must begin within the input or the padding before it.
		if p.Ceil && (y[i+1]-1)*p.Strides[i] >= x[i+1]+p.Pads[i] {
			y[i+1]--
		}
	}
	return []Type{{F32, y}}, wantFloat(in)
}

// Eval implements [Op].
func (p Pool) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := p.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y := in[0], NewTensor(out[0])
	n := len(x.Shape) - 2
	ch := x.Shape[n+1]
	pos, acc := make([]int, n), make([]float64, ch)
	st, kernel := x.Shape.Strides(), Shape(p.Kernel)
	tap := make([]int, n)
	for o := range len(y.F) / max(ch, 1) {
		batch := unflatten(o, y.Shape[1:n+1], pos)
		count := 0
		for i := range acc {
			acc[i] = map[string]float64{"max": math.Inf(-1)}[p.Fn]
		}
		for k := range kernel.Elems() {
			unflatten(k, kernel, tap)
			src, inside, padded := batch*st[0], true, true
			for i := range n {
				at := pos[i]*p.Strides[i] + tap[i]*p.Dilations[i] - p.Pads[i]
				inside = inside && at >= 0 && at < x.Shape[i+1]
				padded = padded && at < x.Shape[i+1]+p.Pads[n+i]
				src += at * st[i+1]
			}
			if inside || padded && p.CountPad {
				count++
			}
			for c := 0; inside && c < ch; c++ {
				if v := float64(x.F[src+c]); p.Fn == "max" {
					acc[c] = max(acc[c], v)
				} else {
					acc[c] += v
				}
			}
		}
		for c, v := range acc {
			if p.Fn == "avg" {
				v /= float64(count) // NaN for the mean of nothing, as kernels have it
			}
			y.F[o*ch+c] = float32(v)
		}
	}
	return []*Tensor{y}, nil
}
