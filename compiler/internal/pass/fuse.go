package pass

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// open reports whether n is a convolution or a product whose result is still the plain sum, so that
// more can be folded into it: nothing else reads it and its epilogue is empty.
func open(n *ir.Node, uses map[*ir.Value]int) bool {
	if n == nil || uses[n.Out[0]] != 1 || len(n.In) != 3 {
		return false
	}
	switch op := n.Op.(type) {
	case ir.Conv:
		return op.Act.Fn == ""
	case ir.MatMul:
		return op.Act.Fn == ""
	}
	return false
}

// foldAffine folds y·s, y/s, y+t and y-t with constants of one value for each output channel into
// the weights and the bias of the convolution or product that computes y.
//
// Weights that several read stay as they are for factors: each would get a copy of its own, and a file of
// a megabyte a module of a gigabyte.
func foldAffine(g *ir.Graph) error {
	uses, made, r := g.Uses(), producers(g), readersOf(g)
	for _, n := range g.Nodes {
		b, ok := n.Op.(ir.Binary)
		if !ok {
			continue
		}
		at := slices.IndexFunc(n.In, func(v *ir.Value) bool { return v.Const != nil })
		if at < 0 || at == 0 && (b.Fn == "sub" || b.Fn == "div") {
			continue
		}
		target := made[n.In[1-at]]
		if !open(target, uses) || target.In[2].Const == nil || !n.Out[0].Type.Equal(target.Out[0].Type) {
			continue
		}
		ch := len(target.In[2].Const.F)
		c := perChannel(n.In[at].Const, ch)
		if c == nil || (b.Fn == "mul" || b.Fn == "div") && (target.In[1].Const == nil || uses[target.In[1]] > 1) {
			continue
		}
		target.In = slices.Clone(target.In)
		switch b.Fn {
		case "mul", "div":
			target.In[1] = scaled(target.In[1], c, b)
			target.In[2] = scaled(target.In[2], c, b)
		case "add", "sub":
			target.In[2] = scaled(target.In[2], c, b)
		default:
			continue
		}
		out := target.Out[0]
		r.rename(n.Out[0], out)
		made[out] = target
		uses[target.Out[0]] = uses[n.Out[0]]
	}
	return removeDead(g)
}

// perChannel returns c as one value for each of ch channels in the last axis, or nil.
func perChannel(c *ir.Tensor, ch int) []float32 {
	n := c.Shape.Elems()
	switch {
	case n == 1:
		return slices.Repeat(c.F[:1], ch)
	case n == ch && c.Shape[len(c.Shape)-1] == ch:
		return c.F
	}
	return nil
}

// scaled applies b to the constant v and c, which repeats along v's last axis.
func scaled(v *ir.Value, c []float32, b ir.Binary) *ir.Value {
	y, err := b.Eval([]*ir.Tensor{v.Const, ir.Floats(c, len(c))})
	if err != nil {
		panic(err) // the shapes agree by construction
	}
	return ir.ConstValue(v.Name, y[0])
}

// fuseEpilogues moves residual additions and activations into the convolution or product before
// them, where they work on accumulators.
func fuseEpilogues(g *ir.Graph) error {
	uses, made := g.Uses(), producers(g)
	place := map[*ir.Node]int{}
	for i, n := range g.Nodes {
		place[n] = i
	}
	for i, n := range g.Nodes {
		switch op := n.Op.(type) {
		case ir.Binary:
			// The operand computed last takes the other one in: it is there by then.
			x, y := made[n.In[0]], made[n.In[1]]
			target, other := x, n.In[1]
			if !open(x, uses) || open(y, uses) && place[y] > place[x] {
				target, other = y, n.In[0]
			}
			if op.Fn != "add" || !open(target, uses) || other.Const != nil || n.In[0] == n.In[1] ||
				!other.Type.Equal(target.Out[0].Type) || !n.Out[0].Type.Equal(other.Type) {
				continue
			}
			// The node moves here, so that the other operand is computed before it.
			fused := &ir.Node{Name: target.Name, Op: target.Op, In: append(slices.Clone(target.In), other), Out: n.Out}
			g.Nodes[i], made[n.Out[0]], place[fused] = fused, fused, i
		case ir.Unary:
			target := made[n.In[0]]
			if target == nil || uses[target.Out[0]] != 1 || slices.Contains(g.Out, target.Out[0]) {
				continue
			}
			fused := *target
			switch h := target.Op.(type) {
			case ir.Conv:
				if h.Act.Fn != "" {
					continue
				}
				h.Act = op
				fused.Op = h
			case ir.MatMul:
				if h.Act.Fn != "" {
					continue
				}
				h.Act = op
				fused.Op = h
			default:
				continue
			}
			fused.Out = n.Out
			g.Nodes[i], made[n.Out[0]], place[&fused] = &fused, &fused, i
		}
	}
	return removeDead(g)
}

// explicitPads puts a pad before each convolution whose padding cannot be written around its input
// by the node that computes it.
func explicitPads(g *ir.Graph) error {
	tight := tight(g) // a pad writes and reads with strides, so one that comes in changes nothing
	for i := 0; i < len(g.Nodes); i++ {
		n := g.Nodes[i]
		c, ok := n.Op.(ir.Conv)
		if !ok || !slices.ContainsFunc(c.Pads, func(p int) bool { return p > 0 }) || !tight(n.In[0]) {
			continue
		}
		rank := len(n.In[0].Type.Shape)
		pads := make([]int, 2*rank)
		copy(pads[1:], c.Pads[:rank-2])
		copy(pads[rank+1:], c.Pads[rank-2:])
		p, err := ir.NewNode(n.Name, ir.Pad{Pads: pads}, n.In[0])
		if err != nil {
			return err
		}
		c.Pads = make([]int, len(c.Pads))
		n.Op = c
		n.In = slices.Clone(n.In)
		n.In[0] = p.Out[0]
		g.Nodes = slices.Insert(g.Nodes, i, p)
		i++
	}
	return nil
}

// CanHalo reports whether plan may lay v out with room around its spatial axes: its producer writes
// with strides and everyone who reads it can read with strides.
func CanHalo(g *ir.Graph, v *ir.Value) bool { return !tight(g)(v) }

// tight returns which values CanHalo does not hold for, after one look at the graph.
func tight(g *ir.Graph) func(v *ir.Value) bool {
	m := map[*ir.Value]bool{}
	mark := func(vs []*ir.Value) {
		for _, v := range vs {
			m[v] = true
		}
	}
	mark(g.In)
	mark(g.Out)
	for _, n := range g.Nodes {
		if strided(n.Op) {
			continue
		}
		mark(n.In)
		if _, ok := n.Op.(ir.Reshape); !ok { // a view into a buffer with room becomes a copy
			mark(n.Out)
		}
	}
	return func(v *ir.Value) bool { return v.Const != nil || m[v] }
}

// strided are the operators whose kernels address their tensors with a stride for each axis.
func strided(op ir.Op) bool {
	switch op.(type) {
	case ir.Conv, ir.Unary, ir.Binary, ir.Transpose, ir.Slice, ir.Pad, ir.Concat, ir.Expand, ir.Pool, ir.Each, ir.Cast:
		return true
	}
	return false
}
