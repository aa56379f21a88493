package pass

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// moveBytes lets operators that only move elements move bytes instead of the floats that were made of
// them: the dequantisation goes behind them, and the quantisation behind a concatenation before it, to
// each of its inputs, as those may have scales of their own.
func moveBytes(g *ir.Graph) error {
	made, uses, r := producers(g), g.Uses(), readersOf(g)
	nodes := make([]*ir.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		fresh, err := bytesFirst(n, made, uses)
		if err != nil {
			return err
		}
		if fresh == nil {
			nodes = append(nodes, n)
			continue
		}
		nodes = append(nodes, fresh...)
		r.add(fresh...)
		last := fresh[len(fresh)-1].Out[0]
		uses[last] = uses[n.Out[0]]
		r.rename(n.Out[0], last)
		for _, m := range fresh {
			made[m.Out[0]] = m
			for _, v := range m.In {
				uses[v]++
			}
		}
	}
	g.Nodes = nodes
	return removeDead(g)
}

// bytesFirst returns the nodes that take the place of n, or nil if it stays.
func bytesFirst(n *ir.Node, made map[*ir.Value]*ir.Node, uses map[*ir.Value]int) ([]*ir.Node, error) {
	switch op := n.Op.(type) {
	case ir.Reshape, ir.Slice, ir.Gather, ir.Expand, ir.Transpose:
		d, ok := dequantized(made[n.In[0]])
		if !ok {
			return nil, nil
		}
		in := slices.Clone(n.In)
		in[0] = made[n.In[0]].In[0]
		moved, err := ir.NewNode(n.Name, op, in...)
		if err != nil {
			return nil, err
		}
		after, err := ir.NewNode(n.Name, d, moved.Out[0])
		return []*ir.Node{moved, after}, err
	case ir.Quantize:
		c := made[n.In[0]]
		if c == nil || uses[n.In[0]] != 1 || op.To != ir.U8 && op.To != ir.I8 {
			return nil, nil
		}
		join, ok := c.Op.(ir.Concat)
		if !ok || !slices.ContainsFunc(c.In, func(v *ir.Value) bool { _, ok := dequantized(made[v]); return ok }) {
			return nil, nil
		}
		var fresh []*ir.Node
		var parts []*ir.Value
		for _, v := range c.In {
			q, err := ir.NewNode(n.Name, op, v)
			if err != nil {
				return nil, err
			}
			fresh, parts = append(fresh, q), append(parts, q.Out[0])
		}
		all, err := ir.NewNode(c.Name, join, parts...)
		return append(fresh, all), err
	}
	return nil, nil
}

// dequantized returns how n makes floats of bytes, if it does.
func dequantized(n *ir.Node) (ir.Dequantize, bool) {
	if n == nil {
		return ir.Dequantize{}, false
	}
	d, ok := n.Op.(ir.Dequantize)
	t := n.In[0].Type.DType
	return d, ok && (t == ir.U8 || t == ir.I8) && n.In[0].Const == nil
}

// tabulate makes a table of each chain of functions that leads from one quantised value to another,
// such as a sigmoid between its dequantisation and its quantisation and the product of both that SiLU is;
// chains that change nothing go.
func tabulate(g *ir.Graph) error {
	r := readersOf(g)
	t := tables{made: producers(g), of: map[*ir.Value]table{}}
	have := map[function]*ir.Value{} // what is a value of its own already
	for i, n := range g.Nodes {
		switch n.Op.(type) {
		case ir.Quantize, ir.IntBinary:
		default:
			continue
		}
		y := n.Out[0]
		f, ok := t.read(y)
		if !ok || f.root == y || !slices.Equal(f.root.Type.Shape, y.Type.Shape) {
			continue
		}
		same := function{f.root, fmt.Sprint(y.Type.DType, f.values.I)}
		if _, ok := have[same]; !ok && f.root.Type.DType == y.Type.DType && slices.Equal(f.values.I, everyByte(y.Type.DType).I) {
			have[same] = f.root
		}
		if v := have[same]; v != nil && !r.isOut(y) {
			r.replace(y, v)
			continue
		}
		have[same] = y
		g.Nodes[i] = &ir.Node{Name: n.Name, Op: ir.Lookup{}, In: []*ir.Value{f.root, ir.ConstValue(n.Name+".table", f.values)}, Out: n.Out}
	}
	return removeDead(g)
}

// function is what a value is of another, as text that can be compared.
type function struct {
	root   *ir.Value
	values string
}

// table is a value as a function of the bytes of another: what it is for each of them.
type table struct {
	root   *ir.Value
	values *ir.Tensor
}

type tables struct {
	made map[*ir.Value]*ir.Node
	of   map[*ir.Value]table
}

// everyByte are all values of an 8-bit type, in the order of their bits.
func everyByte(t ir.DType) *ir.Tensor {
	x := ir.NewTensor(ir.Of(t, 256))
	for i := range x.I {
		x.I[i] = int64(i)
		if t == ir.I8 {
			x.I[i] = int64(int8(i))
		}
	}
	return x
}

// read returns v as a function of the first bytes on its way that nothing else comes to; bytes that are no
// such function are one of themselves.
func (t *tables) read(v *ir.Value) (table, bool) {
	if f, ok := t.of[v]; ok {
		return f, f.root != nil
	}
	f := t.compute(v)
	if f.root == nil && v.Const == nil && (v.Type.DType == ir.U8 || v.Type.DType == ir.I8) {
		f = table{v, everyByte(v.Type.DType)}
	}
	t.of[v] = f
	return f, f.root != nil
}

func (t *tables) compute(v *ir.Value) table {
	n := t.made[v]
	if n == nil {
		return table{}
	}
	switch n.Op.(type) {
	case ir.Dequantize, ir.Unary, ir.Quantize, ir.IntBinary, ir.Binary:
	default:
		return table{}
	}
	var root *ir.Value
	in := make([]*ir.Tensor, len(n.In))
	for i, x := range n.In {
		if x.Const != nil && x.Type.Shape.Elems() == 1 {
			c := *x.Const
			c.Shape = ir.Shape{1}
			in[i] = &c
			continue
		}
		f, ok := t.read(x)
		if !ok || root != nil && root != f.root {
			return table{}
		}
		root, in[i] = f.root, f.values
	}
	if root == nil {
		return table{}
	}
	y, err := n.Op.Eval(in)
	if err != nil {
		return table{}
	}
	return table{root, y[0]}
}
