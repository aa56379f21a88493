package ir

import (
	"fmt"
	"slices"
)

// Permuter is an operator that commutes with a transpose: op(T(x)…) = T(op'(x…)). The layout pass
// uses it to move transposes until they meet and cancel.
type Permuter interface {
	// Permute returns op' for the transpose perm of every input.
	Permute(perm []int) Op
}

// Transpose permutes axes: axis i of the output is axis Perm[i] of the input.
type Transpose struct{ Perm []int }

// Name implements [Op].
func (Transpose) Name() string { return "transpose" }

// Infer implements [Op].
func (t Transpose) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	seen := make([]bool, len(in[0].Shape))
	y := make(Shape, 0, len(seen))
	for _, p := range t.Perm {
		if p < 0 || p >= len(seen) || seen[p] {
			return nil, fmt.Errorf("%v is no permutation of the axes of %v", t.Perm, in[0])
		}
		seen[p] = true
		y = append(y, in[0].Shape[p])
	}
	if len(y) != len(seen) {
		return nil, fmt.Errorf("%v is no permutation of the axes of %v", t.Perm, in[0])
	}
	return []Type{{in[0].DType, y}}, nil
}

// Eval implements [Op].
func (t Transpose) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := t.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	st := in[0].Shape.Strides()
	ps := make([]int, len(st))
	for i, p := range t.Perm {
		ps[i] = st[p]
	}
	return []*Tensor{gatherStrided(in[0], out[0], 0, ps)}, nil
}

// gatherStrided copies the elements of x at base + position·strides into a dense tensor.
func gatherStrided(x *Tensor, t Type, base int, strides []int) *Tensor {
	y := NewTensor(t)
	if t.DType.Float() {
		gatherRows(y.F, x.F, t.Shape, base, strides)
	} else {
		gatherRows(y.I, x.I, t.Shape, base, strides)
	}
	return y
}

// gatherRows copies rows of the last axis, 16 of them side by side: where they are columns of x, these share
// the lines of the cache.
func gatherRows[T any](y, x []T, s Shape, base int, strides []int) {
	if len(y) == 0 {
		return
	}
	const together = 16
	outer := max(len(s)-1, 0)
	n, step := 1, 0
	if len(s) > 0 {
		n, step = s[outer], strides[outer]
	}
	pos := make([]int, outer)
	var from [together]int
	for rows := len(y) / n; rows > 0; rows -= together {
		row := len(y)/n - rows
		some := from[:min(rows, together)]
		for r := range some {
			unflatten(row+r, s[:outer], pos)
			some[r] = base + dot(pos, strides[:outer])
		}
		for j := range n {
			for r, at := range some {
				y[(row+r)*n+j] = x[at+j*step]
			}
		}
	}
}

func copyElem(y *Tensor, i int, x *Tensor, j int) {
	if y.DType.Float() {
		y.F[i] = x.F[j]
	} else {
		y.I[i] = x.I[j]
	}
}

// Reshape gives the elements, in order, another shape.
type Reshape struct{ Shape []int }

// Name implements [Op].
func (Reshape) Name() string { return "reshape" }

// Infer implements [Op].
func (r Reshape) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(r.Shape, func(d int) bool { return d < 0 }) || Shape(r.Shape).Elems() != in[0].Shape.Elems() {
		return nil, fmt.Errorf("%d elements of %v do not fill %v", in[0].Shape.Elems(), in[0].Shape, Shape(r.Shape))
	}
	return []Type{{in[0].DType, slices.Clone(r.Shape)}}, nil
}

// Eval implements [Op].
func (r Reshape) Eval(in []*Tensor) ([]*Tensor, error) {
	y := *in[0]
	y.Shape = r.Shape
	return []*Tensor{&y}, nil
}

// Expand repeats a tensor to Shape, by numpy's broadcasting.
type Expand struct{ Shape []int }

// Name implements [Op].
func (Expand) Name() string { return "expand" }

// Infer implements [Op].
func (e Expand) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	y, err := Broadcast(in[0].Shape, e.Shape)
	if err == nil && !slices.Equal(y, e.Shape) {
		err = fmt.Errorf("%v does not expand to %v", in[0].Shape, Shape(e.Shape))
	}
	return []Type{{in[0].DType, y}}, err
}

// Eval implements [Op].
func (e Expand) Eval(in []*Tensor) ([]*Tensor, error) {
	t := Type{in[0].DType, slices.Clone(e.Shape)}
	return []*Tensor{gatherStrided(in[0], t, 0, BroadcastStrides(in[0].Shape, e.Shape))}, nil
}

// Concat joins tensors along an axis.
type Concat struct{ Axis int }

// Name implements [Op].
func (Concat) Name() string { return "concat" }

// Infer implements [Op].
func (c Concat) Infer(in []Type) ([]Type, error) {
	if len(in) == 0 || c.Axis < 0 || c.Axis >= len(in[0].Shape) {
		return nil, fmt.Errorf("axis %d of %d inputs is out of range", c.Axis, len(in))
	}
	y := slices.Clone(in[0].Shape)
	for _, t := range in[1:] {
		rest := slices.Clone(t.Shape)
		if len(rest) != len(y) || t.DType != in[0].DType {
			return nil, fmt.Errorf("%v and %v do not join", in[0], t)
		}
		y[c.Axis] += rest[c.Axis]
		rest[c.Axis] = y[c.Axis]
		if !slices.Equal(rest, y) {
			return nil, fmt.Errorf("%v and %v do not join on axis %d", in[0], t, c.Axis)
		}
	}
	return []Type{{in[0].DType, y}}, nil
}

// Eval implements [Op].
func (c Concat) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := c.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	y, st := NewTensor(out[0]), out[0].Shape.Strides()
	at := 0
	for _, x := range in {
		pos := make([]int, len(x.Shape))
		for i := range x.Shape.Elems() {
			unflatten(i, x.Shape, pos)
			copyElem(y, at+dot(pos, st), x, i)
		}
		at += x.Shape[c.Axis] * st[c.Axis]
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (c Concat) Permute(perm []int) Op { return Concat{perm[c.Axis]} }

// Slice takes Count[i] elements of axis i, from Start[i] on, Step[i] apart; steps may be negative.
type Slice struct{ Start, Count, Step []int }

// Name implements [Op].
func (Slice) Name() string { return "slice" }

// Infer implements [Op].
func (s Slice) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(s.Start) != len(x) || len(s.Count) != len(x) || len(s.Step) != len(x) {
		return nil, fmt.Errorf("start %v, count %v, step %v do not fit %v", s.Start, s.Count, s.Step, x)
	}
	for i, n := range s.Count {
		last := s.Start[i] + (n-1)*s.Step[i]
		if n < 0 || n > 0 && (s.Start[i] < 0 || s.Start[i] >= x[i] || last < 0 || last >= x[i]) {
			return nil, fmt.Errorf("elements %d to %d are outside axis %d of %v", s.Start[i], last, i, x)
		}
	}
	return []Type{{in[0].DType, slices.Clone(s.Count)}}, nil
}

// Eval implements [Op].
func (s Slice) Eval(in []*Tensor) ([]*Tensor, error) {
	st := in[0].Shape.Strides()
	base := dot(s.Start, st)
	for i := range st {
		st[i] *= s.Step[i]
	}
	return []*Tensor{gatherStrided(in[0], Type{in[0].DType, slices.Clone(s.Count)}, base, st)}, nil
}

// Permute implements [Permuter].
func (s Slice) Permute(perm []int) Op {
	return Slice{unpermute(s.Start, perm), unpermute(s.Count, perm), unpermute(s.Step, perm)}
}

// unpermute returns the attributes, one an axis, of the tensor before the transpose perm.
func unpermute[T any](v []T, perm []int) []T {
	u := make([]T, len(v))
	for i, p := range perm {
		u[p] = v[i]
	}
	return u
}

// Pad surrounds a tensor with Value: Pads[i] elements before axis i, Pads[rank+i] after it.
type Pad struct {
	Pads  []int
	Value float32
	Int   int64 // the value for integers
}

// Name implements [Op].
func (Pad) Name() string { return "pad" }

// Infer implements [Op].
func (p Pad) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	y := slices.Clone(in[0].Shape)
	if len(p.Pads) != 2*len(y) {
		return nil, fmt.Errorf("pads %v do not fit %v", p.Pads, y)
	}
	for i := range y {
		if p.Pads[i] < 0 || p.Pads[len(y)+i] < 0 {
			return nil, fmt.Errorf("pads %v: negative", p.Pads)
		}
		y[i] += p.Pads[i] + p.Pads[len(y)+i]
	}
	return []Type{{in[0].DType, y}}, nil
}

// Eval implements [Op].
func (p Pad) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := p.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y, st := in[0], NewTensor(out[0]), out[0].Shape.Strides()
	for i := range y.F {
		y.F[i] = p.Value
	}
	for i := range y.I {
		y.I[i] = wrap(p.Int, y.DType)
	}
	pos := make([]int, len(x.Shape))
	base := dot(p.Pads[:len(pos)], st)
	for i := range x.Shape.Elems() {
		unflatten(i, x.Shape, pos)
		copyElem(y, base+dot(pos, st), x, i)
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (p Pad) Permute(perm []int) Op {
	n := len(perm)
	return Pad{append(unpermute(p.Pads[:n], perm), unpermute(p.Pads[n:], perm)...), p.Value, p.Int}
}

// Gather picks the slices of the first input along Axis that the second, of integers, names;
// negative indices count from the end (ONNX Gather version 13).
type Gather struct{ Axis int }

// Name implements [Op].
func (Gather) Name() string { return "gather" }

// Infer implements [Op].
func (g Gather) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if g.Axis < 0 || g.Axis >= len(x) || in[1].DType != I32 && in[1].DType != I64 {
		return nil, fmt.Errorf("axis %d of %v by %v is out of range or not by i32 or i64", g.Axis, x, in[1])
	}
	return []Type{{in[0].DType, slices.Concat(x[:g.Axis], in[1].Shape, x[g.Axis+1:])}}, nil
}

// Eval implements [Op].
func (g Gather) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := g.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y := in[0], NewTensor(out[0])
	extent, inner := x.Shape[g.Axis], x.Shape[g.Axis+1:].Elems()
	at := 0
	for o := range x.Shape[:g.Axis].Elems() {
		for _, k := range in[1].I {
			if k < 0 {
				k += int64(extent)
			}
			if k < 0 || k >= int64(extent) {
				return nil, fmt.Errorf("%w: %d of axis %d of %v", ErrIndex, k, g.Axis, x.Shape)
			}
			for i := range inner {
				copyElem(y, at, x, (o*extent+int(k))*inner+i)
				at++
			}
		}
	}
	return []*Tensor{y}, nil
}
