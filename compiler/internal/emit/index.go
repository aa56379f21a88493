package emit

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// elem is the kernels' name of an element type.
func elem(t ir.DType) kernel.Elem {
	return [...]kernel.Elem{
		ir.F32: kernel.F32, ir.I64: kernel.I64, ir.I32: kernel.I32, ir.I8: kernel.I8, ir.U8: kernel.U8, ir.Bool: kernel.Bool,
		ir.I16: kernel.I16, ir.U16: kernel.U16, ir.U32: kernel.U32, ir.U64: kernel.U64,
	}[t]
}

// typed appends the calls of operators on any element type, and of those on indices.
func (l *lowerer) typed(n *ir.Node, in []plan.Layout, out plan.Layout) error {
	switch op := n.Op.(type) {
	case ir.Each:
		return l.each(kernel.Each{Fn: op.Fn, P: op.P}, out, in)
	case ir.Cast:
		return l.each(kernel.Each{Fn: "cast"}, out, in)
	case ir.Arg:
		return l.arg(op, in[0], out)
	case ir.GatherElements:
		return l.gatherElements(op, in, out)
	case ir.GatherND:
		return l.gatherND(op, in, out)
	case ir.ScatterElements:
		return l.scatterElements(op, in, out)
	case ir.ScatterND:
		return l.scatterND(op, in, out)
	case ir.TopK:
		return l.topK(op, n, in[0], out)
	case ir.Cumulate:
		return l.cumulate(op, in[0], out)
	}
	return fmt.Errorf("no kernel computes %s", n.Op.Name())
}

// each fills in types, extents and strides of k and calls it; operands broadcast to out's shape.
func (l *lowerer) each(k kernel.Each, out plan.Layout, in []plan.Layout) error {
	if !k.Supported() {
		return fmt.Errorf("no kernel computes %s", k.Fn)
	}
	strides, args := [][]int{out.Strides}, []int{out.Address}
	for _, x := range in {
		strides = append(strides, broadcast(x, out.Shape).Strides)
		args = append(args, x.Address)
	}
	dims, err := fit(out.Shape, strides)
	if err != nil {
		return err
	}
	k.T, k.To = elem(in[len(in)-1].DType), elem(out.DType)
	k.Extent, k.Out = dims[0], dims[1]
	for i, to := range []*kernel.Dims{&k.A, &k.B, &k.C}[:len(in)] {
		*to = dims[i+2]
	}
	l.call(k, args...)
	return nil
}

// rows gives the axes but one with the strides of each layout over them.
func rows(shape ir.Shape, axis int, of ...plan.Layout) ([]kernel.Dims, error) {
	var strides [][]int
	for _, x := range of {
		strides = append(strides, slices.Delete(slices.Clone(x.Strides), axis, axis+1))
	}
	return fit(slices.Delete(slices.Clone(shape), axis, axis+1), strides)
}

func (l *lowerer) arg(op ir.Arg, in, out plan.Layout) error {
	d, err := rows(in.Shape, op.Axis, in)
	if err != nil {
		return err
	}
	l.call(kernel.Arg{Fn: op.Fn, T: elem(in.DType), Last: op.Last, Keep: d[0], KeepIn: d[1], N: in.Shape[op.Axis], Step: in.Strides[op.Axis]},
		out.Address, in.Address)
	return nil
}

func (l *lowerer) topK(op ir.TopK, n *ir.Node, in, out plan.Layout) error {
	places := l.plan.Of(n.Out[1])
	d, err := rows(in.Shape, op.Axis, out, places, in)
	if err != nil {
		return err
	}
	l.call(kernel.TopK{T: elem(in.DType), Smallest: op.Smallest, N: in.Shape[op.Axis], K: op.K, Rows: d[0], Out: d[1], Places: d[2], In: d[3],
		OutStep: out.Strides[op.Axis], PlaceStep: places.Strides[op.Axis], InStep: in.Strides[op.Axis]}, out.Address, places.Address, in.Address)
	return nil
}

func (l *lowerer) cumulate(op ir.Cumulate, in, out plan.Layout) error {
	d, err := rows(in.Shape, op.Axis, out, in)
	if err != nil {
		return err
	}
	k := kernel.Cumulate{Fn: op.Fn, T: elem(in.DType), Exclusive: op.Exclusive, N: in.Shape[op.Axis], Rows: d[0], Out: d[1], In: d[2],
		OutStep: out.Strides[op.Axis], InStep: in.Strides[op.Axis]}
	if op.Reverse {
		out.Address += (k.N - 1) * k.OutStep
		in.Address += (k.N - 1) * k.InStep
		k.OutStep, k.InStep = -k.OutStep, -k.InStep
	}
	l.call(k, out.Address, in.Address)
	return nil
}

// indexed fills in the loop of k, over shape with these byte strides of dense side, table and indices, and
// the K axes of the table that indices name.
func (l *lowerer) indexed(k kernel.Indexed, shape ir.Shape, strides [][]int, axes ir.Shape, steps []int, args ...int) error {
	d, err := fit(shape, strides)
	if err != nil {
		return err
	}
	if len(axes) > kernel.MaxDims {
		return fmt.Errorf("indices of %d axes; kernels take at most %d", len(axes), kernel.MaxDims)
	}
	k.Extent, k.Dense, k.Table, k.Index = d[0], d[1], d[2], d[3]
	k.K = len(axes)
	copy(k.Axes[:], axes)
	copy(k.Steps[:], steps)
	l.call(k, args...)
	return nil
}

// index says how indices of v lie in memory.
func index(k kernel.Indexed, x plan.Layout) kernel.Indexed {
	k.Wide, k.Next = x.DType == ir.I64, x.DType.Size()
	return k
}

func (l *lowerer) gatherAtRunTime(op ir.Gather, idx, in, out plan.Layout) error {
	a, size := op.Axis, in.DType.Size()
	outer, block := in.Shape[:a].Elems(), in.Shape[a+1:].Elems()
	row := block * size
	return l.indexed(index(kernel.Indexed{T: elem(in.DType), Block: block}, idx), ir.Shape{outer, idx.Shape.Elems()},
		[][]int{{idx.Shape.Elems() * row, row}, {in.Shape[a] * row, 0}, {0, idx.DType.Size()}},
		in.Shape[a:a+1], []int{row}, out.Address, in.Address, idx.Address)
}

// but is strides with none along axis, where indices say the place.
func but(strides []int, axis int) []int {
	s := slices.Clone(strides)
	s[axis] = 0
	return s
}

func (l *lowerer) gatherElements(op ir.GatherElements, in []plan.Layout, out plan.Layout) error {
	x, idx := in[0], in[1]
	return l.indexed(index(kernel.Indexed{T: elem(x.DType), Block: 1}, idx), idx.Shape,
		[][]int{out.Strides, but(x.Strides, op.Axis), idx.Strides},
		x.Shape[op.Axis:op.Axis+1], x.Strides[op.Axis:op.Axis+1], out.Address, x.Address, idx.Address)
}

func (l *lowerer) scatterElements(op ir.ScatterElements, in []plan.Layout, out plan.Layout) error {
	if err := l.copy(out, in[0]); err != nil {
		return err
	}
	idx := in[1]
	return l.indexed(index(kernel.Indexed{Scatter: true, Fn: op.Fn, T: elem(out.DType), Block: 1}, idx), idx.Shape,
		[][]int{in[2].Strides, but(out.Strides, op.Axis), idx.Strides},
		out.Shape[op.Axis:op.Axis+1], out.Strides[op.Axis:op.Axis+1], in[2].Address, out.Address, idx.Address)
}

// tuples is the loop over the tuples of indices of a table whose first batch axes the indices share.
func (l *lowerer) tuples(k kernel.Indexed, batch int, table, idx plan.Layout, dense int) error {
	last := len(idx.Shape) - 1
	n, size := idx.Shape[last], table.DType.Size()
	k = index(k, idx)
	k.T, k.Block = elem(table.DType), table.Shape[batch+n:].Elems()
	count, tuple := idx.Shape[batch:last].Elems(), n*idx.DType.Size()
	block := k.Block * size
	return l.indexed(k, ir.Shape{table.Shape[:batch].Elems(), count},
		[][]int{{count * block, block}, {table.Shape[batch:].Elems() * size, 0}, {count * tuple, tuple}},
		table.Shape[batch:batch+n], table.Strides[batch:batch+n], dense, table.Address, idx.Address)
}

func (l *lowerer) gatherND(op ir.GatherND, in []plan.Layout, out plan.Layout) error {
	return l.tuples(kernel.Indexed{}, op.Batch, in[0], in[1], out.Address)
}

func (l *lowerer) scatterND(op ir.ScatterND, in []plan.Layout, out plan.Layout) error {
	if err := l.copy(out, in[0]); err != nil {
		return err
	}
	return l.tuples(kernel.Indexed{Scatter: true, Fn: op.Fn}, 0, out, in[1], in[2].Address)
}
