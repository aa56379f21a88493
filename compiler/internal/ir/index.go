package ir

import (
	"errors"
	"fmt"
	"slices"
)

// GatherElements picks, for each position of the indices, the element of the first input that lies at
// that position but for Axis, where the index says the place (ONNX GatherElements version 13).
type GatherElements struct{ Axis int }

// Name implements [Op].
func (GatherElements) Name() string { return "gatherelements" }

// Infer implements [Op].
func (g GatherElements) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if err := elementwiseIndex(in[0], in[1], g.Axis); err != nil {
		return nil, err
	}
	return []Type{{in[0].DType, slices.Clone(in[1].Shape)}}, nil
}

// elementwiseIndex checks indices that have x's axes, none but the given one longer than x's.
func elementwiseIndex(x, idx Type, axis int) error {
	if idx.DType != I64 && idx.DType != I32 {
		return fmt.Errorf("indices are %v, wants i64 or i32", idx)
	}
	if len(idx.Shape) != len(x.Shape) || axis < 0 || axis >= len(x.Shape) {
		return fmt.Errorf("indices %v along axis %d do not fit %v", idx, axis, x)
	}
	for i, d := range idx.Shape {
		if i != axis && d > x.Shape[i] {
			return fmt.Errorf("indices %v reach beyond axis %d of %v", idx, i, x)
		}
	}
	return nil
}

// ErrIndex says that a value that is computed points outside of an axis.
var ErrIndex = errors.New("index outside its axis")

// place resolves an index that may count from the end.
func place(k int64, extent int) (int, error) {
	if k < 0 {
		k += int64(extent)
	}
	if k < 0 || k >= int64(extent) {
		return 0, fmt.Errorf("%w: %d of %d", ErrIndex, k, extent)
	}
	return int(k), nil
}

// Eval implements [Op].
func (g GatherElements) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := g.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y := in[0], NewTensor(out[0])
	pos, st := make([]int, len(x.Shape)), x.Shape.Strides()
	for i, k := range in[1].I {
		unflatten(i, y.Shape, pos)
		if pos[g.Axis], err = place(k, x.Shape[g.Axis]); err != nil {
			return nil, err
		}
		copyElem(y, i, x, dot(pos, st))
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (g GatherElements) Permute(perm []int) Op { return GatherElements{perm[g.Axis]} }

// GatherND picks slices of the first input: the last axis of the indices holds the place of a slice on
// the axes after the first Batch ones, which both inputs share (ONNX GatherND version 13).
type GatherND struct{ Batch int }

// Name implements [Op].
func (GatherND) Name() string { return "gathernd" }

// Infer implements [Op].
func (g GatherND) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x, idx := in[0].Shape, in[1].Shape
	if in[1].DType != I64 && in[1].DType != I32 {
		return nil, fmt.Errorf("indices are %v, wants i64 or i32", in[1])
	}
	if len(idx) == 0 || g.Batch < 0 || g.Batch >= len(idx) || g.Batch > len(x) || !slices.Equal(idx[:g.Batch], x[:g.Batch]) {
		return nil, fmt.Errorf("indices %v with %d batch axes do not fit %v", idx, g.Batch, x)
	}
	k := idx[len(idx)-1]
	if k < 1 || g.Batch+k > len(x) {
		return nil, fmt.Errorf("indices %v name %d axes of %v after %d", idx, k, x, g.Batch)
	}
	return []Type{{in[0].DType, slices.Concat(idx[:len(idx)-1], x[g.Batch+k:])}}, nil
}

// Eval implements [Op].
func (g GatherND) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := g.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, idx, y := in[0], in[1], NewTensor(out[0])
	k := idx.Shape[len(idx.Shape)-1]
	block := x.Shape[g.Batch+k:].Elems()
	tuples := len(idx.I) / k
	each := tuples / max(x.Shape[:g.Batch].Elems(), 1)
	for t := range tuples {
		at, err := tuple(idx.I[t*k:][:k], x.Shape[g.Batch:])
		if err != nil {
			return nil, err
		}
		at += t / each * x.Shape[g.Batch:].Elems()
		for i := range block {
			copyElem(y, t*block+i, x, at+i)
		}
	}
	return []*Tensor{y}, nil
}

// tuple is the first element of the slice of a tensor of shape s at the place idx.
func tuple(idx []int64, s Shape) (int, error) {
	at := 0
	for i, st := range s.Strides()[:len(idx)] {
		p, err := place(idx[i], s[i])
		if err != nil {
			return 0, err
		}
		at += p * st
	}
	return at, nil
}

// scatterFns are the reductions of the scattering operators; "" replaces.
var scatterFns = []string{"", "add", "mul", "min", "max"}

// fold writes element j of x to element i of y, by the reduction fn.
func fold(fn string, y *Tensor, i int, x *Tensor, j int) {
	switch {
	case fn == "":
		copyElem(y, i, x, j)
	case y.DType.Float():
		y.F[i] = binaryFns[fn].f(y.F[i], x.F[j])
	default:
		y.I[i] = wrap(binaryFns[fn].i(y.I[i], x.I[j], y.DType), y.DType)
	}
}

// copied returns a tensor with the elements of x.
func copied(x *Tensor) *Tensor {
	return &Tensor{Type: x.Type, F: slices.Clone(x.F), I: slices.Clone(x.I)}
}

// ScatterElements writes each element of the third input to the place in a copy of the first one that
// lies at its position but for Axis, where the second input says the place (ONNX ScatterElements
// version 18).
type ScatterElements struct {
	Axis int
	Fn   string // the reduction: empty, add, mul, min, max
}

// Name implements [Op].
func (ScatterElements) Name() string { return "scatterelements" }

// Infer implements [Op].
func (s ScatterElements) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	if err := elementwiseIndex(in[0], in[1], s.Axis); err != nil {
		return nil, err
	}
	if !slices.Equal(in[1].Shape, in[2].Shape) || in[2].DType != in[0].DType || !slices.Contains(scatterFns, s.Fn) {
		return nil, fmt.Errorf("updates %v at %v of %v by %q do not fit", in[2], in[1], in[0], s.Fn)
	}
	return []Type{in[0]}, nil
}

// Eval implements [Op].
func (s ScatterElements) Eval(in []*Tensor) ([]*Tensor, error) {
	y, idx := copied(in[0]), in[1]
	pos, st := make([]int, len(y.Shape)), y.Shape.Strides()
	for i, k := range idx.I {
		unflatten(i, idx.Shape, pos)
		var err error
		if pos[s.Axis], err = place(k, y.Shape[s.Axis]); err != nil {
			return nil, err
		}
		fold(s.Fn, y, dot(pos, st), in[2], i)
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (s ScatterElements) Permute(perm []int) Op { return ScatterElements{perm[s.Axis], s.Fn} }

// ScatterND writes slices of the third input to a copy of the first one, at the places that the last
// axis of the second input holds (ONNX ScatterND version 18).
type ScatterND struct {
	Fn string // the reduction: empty, add, mul, min, max
}

// Name implements [Op].
func (ScatterND) Name() string { return "scatternd" }

// Infer implements [Op].
func (s ScatterND) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 3, 3); err != nil {
		return nil, err
	}
	gathered, err := GatherND{}.Infer(in[:2])
	if err != nil {
		return nil, err
	}
	if !in[2].Equal(gathered[0]) || !slices.Contains(scatterFns, s.Fn) {
		return nil, fmt.Errorf("updates %v at %v of %v by %q do not fit", in[2], in[1], in[0], s.Fn)
	}
	return []Type{in[0]}, nil
}

// Eval implements [Op].
func (s ScatterND) Eval(in []*Tensor) ([]*Tensor, error) {
	y, idx := copied(in[0]), in[1]
	k := idx.Shape[len(idx.Shape)-1]
	block := y.Shape[k:].Elems()
	for t := range len(idx.I) / k {
		at, err := tuple(idx.I[t*k:][:k], y.Shape)
		if err != nil {
			return nil, err
		}
		for i := range block {
			fold(s.Fn, y, at+i, in[2], t*block+i)
		}
	}
	return []*Tensor{y}, nil
}

// TopK gives the K greatest or smallest elements along Axis, in order, and where they stood; of equals the
// first one comes first (ONNX TopK version 11).
type TopK struct {
	Axis, K  int
	Smallest bool
}

// Name implements [Op].
func (TopK) Name() string { return "topk" }

// Infer implements [Op].
func (k TopK) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	y := slices.Clone(in[0].Shape)
	if k.Axis < 0 || k.Axis >= len(y) || k.K < 1 || k.K > y[k.Axis] {
		return nil, fmt.Errorf("%d elements along axis %d of %v: out of range", k.K, k.Axis, in[0])
	}
	y[k.Axis] = k.K
	return []Type{{in[0].DType, y}, {I64, slices.Clone(y)}}, nil
}

// Eval implements [Op].
func (k TopK) Eval(in []*Tensor) ([]*Tensor, error) {
	out, err := k.Infer(typesOf(in))
	if err != nil {
		return nil, err
	}
	x, y, idx := in[0], NewTensor(out[0]), NewTensor(out[1])
	n, inner := x.Shape[k.Axis], x.Shape[k.Axis+1:].Elems()
	order := make([]int, n)
	for row := range x.Shape.Elems() / n {
		base := row/inner*inner*n + row%inner
		for i := range order {
			order[i] = base + i*inner
		}
		slices.SortStableFunc(order, func(p, q int) int {
			if k.Smallest {
				p, q = q, p
			}
			switch {
			case x.greater(p, q):
				return -1
			case x.greater(q, p):
				return 1
			}
			return 0
		})
		for i, from := range order[:k.K] {
			at := row/inner*inner*k.K + i*inner + row%inner
			copyElem(y, at, x, from)
			idx.I[at] = int64((from - base) / inner)
		}
	}
	return []*Tensor{y, idx}, nil
}

// Cumulate gives running sums or products along Axis (ONNX CumSum version 14).
type Cumulate struct {
	Fn        string // add, mul
	Axis      int
	Exclusive bool // without the element itself
	Reverse   bool // from the end
}

// Name implements [Op].
func (Cumulate) Name() string { return "cumulate" }

// Infer implements [Op].
func (c Cumulate) Infer(in []Type) ([]Type, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if c.Axis < 0 || c.Axis >= len(in[0].Shape) || c.Fn != "add" && c.Fn != "mul" || in[0].DType == Bool {
		return nil, fmt.Errorf("%q along axis %d of %v", c.Fn, c.Axis, in[0])
	}
	return in, nil
}

// Eval implements [Op].
func (c Cumulate) Eval(in []*Tensor) ([]*Tensor, error) {
	x, y := in[0], NewTensor(in[0].Type)
	n, inner := x.Shape[c.Axis], x.Shape[c.Axis+1:].Elems()
	one := NewTensor(Of(x.DType, 1))
	if c.Fn == "mul" && x.DType.Float() {
		one.F[0] = 1
	} else if c.Fn == "mul" {
		one.I[0] = 1
	}
	for row := range x.Shape.Elems() / max(n, 1) {
		acc := copied(one)
		for i := range n {
			if c.Reverse {
				i = n - 1 - i
			}
			at := row/inner*inner*n + i*inner + row%inner
			if c.Exclusive {
				copyElem(y, at, acc, 0)
			}
			fold(c.Fn, acc, 0, x, at)
			if !c.Exclusive {
				copyElem(y, at, acc, 0)
			}
		}
	}
	return []*Tensor{y}, nil
}

// Permute implements [Permuter].
func (c Cumulate) Permute(perm []int) Op {
	return Cumulate{c.Fn, perm[c.Axis], c.Exclusive, c.Reverse}
}
