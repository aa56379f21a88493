package pass

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// integers finds what a quantised model computes with floats between a dequantisation and a
// quantisation, and lets integers do it: convolutions and products with constant weights, sums and
// products of two values, what moves elements, and functions of one value.
func integers(g *ir.Graph) error {
	if !slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		switch n.Op.(type) {
		case ir.Dequantize, ir.OnGrid:
			return true
		}
		return false
	}) {
		return nil
	}
	if err := moveBytes(g); err != nil {
		return err
	}
	if err := hoistTransposes(g); err != nil {
		return err
	}
	q := &quantised{uses: g.Uses(), made: producers(g), readers: map[*ir.Value]*ir.Node{}}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			q.readers[v] = n
		}
	}
	r := readersOf(g)
	for i := 0; i < len(g.Nodes); i++ {
		fresh, last, err := q.rewrite(g.Nodes[i])
		if err != nil {
			return err
		}
		if fresh == nil {
			continue
		}
		// The place of the quantisation: what it reads is there by then, and nothing reads it before.
		at := slices.Index(g.Nodes, last)
		r.add(fresh...)
		r.rename(last.Out[0], fresh[len(fresh)-1].Out[0])
		g.Nodes = slices.Replace(g.Nodes, at, at+1, fresh...)
		for _, n := range fresh {
			q.made[n.Out[0]] = n
		}
	}
	if err := removeDead(g); err != nil {
		return err
	}
	return tabulate(g)
}

// hoistTransposes moves the transpose between a dequantisation and what computes with it before the
// dequantisation, and that of the model's input before its quantisation: its floats are turned fast.
func hoistTransposes(g *ir.Graph) error {
	made, r := producers(g), readersOf(g)
	for i := 0; i < len(g.Nodes); i++ {
		n := g.Nodes[i]
		t, ok := n.Op.(ir.Transpose)
		if !ok || made[n.In[0]] == nil {
			continue
		}
		before := made[n.In[0]]
		switch before.Op.(type) {
		case ir.Dequantize:
		case ir.Quantize, ir.OnGrid:
			if made[before.In[0]] != nil { // bytes are turned in less time than floats
				continue
			}
		default:
			continue
		}
		turned, err := ir.NewNode(n.Name, t, before.In[0])
		if err != nil {
			return err
		}
		after, err := ir.NewNode(before.Name, before.Op, append([]*ir.Value{turned.Out[0]}, before.In[1:]...)...)
		if err != nil {
			return err
		}
		r.add(turned, after)
		r.rename(n.Out[0], after.Out[0])
		made[turned.Out[0]], made[after.Out[0]] = turned, after
		g.Nodes = slices.Replace(g.Nodes, i, i+1, turned, after)
		i-- // what is before it may be such a pair as well
	}
	return removeDead(g)
}

type quantised struct {
	uses    map[*ir.Value]int
	made    map[*ir.Value]*ir.Node
	readers map[*ir.Value]*ir.Node // the one reader of a value that has one use
}

// bytes is a value before it was dequantised.
type bytes struct {
	v *ir.Value
	d ir.Dequantize
}

// from returns the bytes that v was made of.
func (q *quantised) from(v *ir.Value) (bytes, bool) {
	n := q.made[v]
	if n == nil {
		return bytes{}, false
	}
	d, ok := n.Op.(ir.Dequantize)
	if !ok || n.In[0].Type.DType != ir.U8 && n.In[0].Type.DType != ir.I8 {
		return bytes{}, false
	}
	return bytes{n.In[0], d}, true
}

// next returns the only reader of v.
func (q *quantised) next(v *ir.Value) *ir.Node {
	if q.uses[v] != 1 {
		return nil
	}
	return q.readers[v]
}

// quantisation follows v through views and a bound to the node that quantises it, and returns that with
// the bound made part of its range.
func (q *quantised) quantisation(v *ir.Value) (*ir.Node, ir.Quantize, bool) {
	lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
	n := q.next(v)
	for n != nil {
		switch op := n.Op.(type) {
		case ir.Quantize:
			if op.To != ir.U8 && op.To != ir.I8 {
				return nil, op, false
			}
			op.Lo = int(max(float64(op.Lo), math.RoundToEven(float64(lo/op.Scale))+float64(op.Zero)))
			op.Hi = int(min(float64(op.Hi), math.RoundToEven(float64(hi/op.Scale))+float64(op.Zero)))
			return n, op, op.Lo <= op.Hi
		case ir.Unary:
			if op.Fn != "clip" {
				return nil, ir.Quantize{}, false
			}
			lo, hi = max(lo, op.P[0]), min(hi, op.P[1])
		case ir.Reshape:
		default:
			return nil, ir.Quantize{}, false
		}
		n = q.next(n.Out[0])
	}
	return nil, ir.Quantize{}, false
}

// rewrite returns the nodes that compute with integers what n begins and last ends, or nil.
func (q *quantised) rewrite(n *ir.Node) (fresh []*ir.Node, last *ir.Node, err error) {
	switch op := n.Op.(type) {
	case ir.Conv:
		if len(n.In) != 3 || op.Act.Fn != "" || len(op.Strides) > 2 {
			return nil, nil, nil
		}
		return q.product(n, ir.IntConv{Strides: op.Strides, Dilations: op.Dilations, Pads: op.Pads, Group: op.Group}, nil)
	case ir.MatMul:
		a, b := n.In[0].Type.Shape, n.In[1].Type.Shape
		if len(n.In) != 3 || op.Act.Fn != "" || len(b) != 2 {
			return nil, nil, nil
		}
		one := ir.IntConv{Strides: []int{1}, Dilations: []int{1}, Pads: []int{0, 0}, Group: 1}
		return q.product(n, one, ir.Shape{1, a[:len(a)-1].Elems(), a[len(a)-1]})
	case ir.Binary:
		a, okA := q.from(n.In[0])
		b, okB := q.from(n.In[1])
		end, to, ok := q.quantisation(n.Out[0])
		if !okA || !okB || !ok || op.Fn != "add" && op.Fn != "mul" || !slices.Equal(a.v.Type.Shape, b.v.Type.Shape) {
			return nil, nil, nil
		}
		k := ir.IntBinary{
			Fn: op.Fn, ScaleA: a.d.Scale / to.Scale, ScaleB: b.d.Scale / to.Scale, ZeroA: a.d.Zero, ZeroB: b.d.Zero,
			Zero: to.Zero, Lo: to.Lo, Hi: to.Hi, To: to.To,
		}
		if op.Fn == "mul" {
			k.ScaleB = b.d.Scale
		}
		fresh, err = chain(n.Name, end.Out[0].Type.Shape, k, a.v, b.v)
		return fresh, end, err
	}
	return nil, nil, nil
}

// chain is the node for op and, where its result has another shape, the view of it.
func chain(name string, shape ir.Shape, op ir.Op, in ...*ir.Value) ([]*ir.Node, error) {
	n, err := ir.NewNode(name, op, in...)
	if err != nil || slices.Equal(n.Out[0].Type.Shape, shape) {
		return []*ir.Node{n}, err
	}
	v, err := ir.NewNode(name, ir.Reshape{Shape: shape}, n.Out[0])
	return []*ir.Node{n, v}, err
}

// product rewrites a convolution or a product of dequantised values with weights that stand for
// integers. View is the shape that the input takes; nil: its own.
func (q *quantised) product(n *ir.Node, op ir.IntConv, view ir.Shape) ([]*ir.Node, *ir.Node, error) {
	x, ok := q.from(n.In[0])
	if !ok {
		return nil, nil, nil
	}
	w, steps, ok := whole(n.In[1])
	if !ok || n.In[2].Const == nil {
		return nil, nil, nil
	}
	end, to, ok := q.quantisation(n.Out[0])
	if !ok {
		return nil, nil, nil
	}
	op.Zero, op.OutZero, op.Lo, op.Hi, op.To = x.d.Zero, to.Zero, to.Lo, to.Hi, to.To
	oc := len(steps)
	bias, scale := ir.NewTensor(ir.Of(ir.I32, oc)), ir.NewTensor(ir.Of(ir.F32, oc))
	// A sum must fit i32: each product is at most 510·255, and the bias takes its part of the room.
	depth := w.Shape[:len(w.Shape)-1].Elems()
	for i, s := range steps {
		b := math.RoundToEven(float64(n.In[2].Const.F[i]) / (float64(x.d.Scale) * float64(s)))
		if !(math.Abs(b) < 1<<30) || depth > 1<<30/(510*255) {
			return nil, nil, nil
		}
		bias.I[i], scale.F[i] = int64(b), float32(float64(x.d.Scale)*float64(s)/float64(to.Scale))
	}
	var nodes []*ir.Node
	from := x.v
	if view != nil {
		v, err := ir.NewNode(n.Name, ir.Reshape{Shape: view}, from)
		if err != nil {
			return nil, nil, err
		}
		nodes, from = append(nodes, v), v.Out[0]
		w.Shape = ir.Shape{1, w.Shape[0], w.Shape[1]}
	}
	name := n.In[1].Name
	rest, err := chain(n.Name, end.Out[0].Type.Shape, op, from, ir.ConstValue(name, w),
		ir.ConstValue(name+".bias", bias), ir.ConstValue(name+".scale", scale))
	return append(nodes, rest...), end, err
}

// whole returns the integers that the constant floats of v stand for, and a step for each element of its
// last axis; not if they are none, or beyond what two bytes differ by.
func whole(v *ir.Value) (*ir.Tensor, []float32, bool) {
	if v.Const == nil || v.Steps == nil || len(v.Steps) > 1 && v.StepAxis != len(v.Type.Shape)-1 {
		return nil, nil, false
	}
	n := v.Type.Shape[len(v.Type.Shape)-1]
	steps := v.Steps
	if len(steps) == 1 {
		steps = slices.Repeat(steps, n)
	}
	if len(steps) != n {
		return nil, nil, false
	}
	w := ir.NewTensor(ir.Type{DType: ir.I16, Shape: slices.Clone(v.Type.Shape)})
	for i, f := range v.Const.F {
		s := steps[i%n]
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return nil, nil, false
		}
		r := math.RoundToEven(float64(f / s))
		if math.Abs(r) > 255 || math.Abs(float64(f/s)-r) > 1e-3 {
			return nil, nil, false
		}
		w.I[i] = int64(r)
	}
	return w, steps, true
}
