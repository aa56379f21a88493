package pass

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// sinkTransposes moves transposes towards the outputs, through every operator that commutes with
// them, and merges those that meet. The transposes that load puts around convolutions cancel so,
// and the whole network between its ends runs channels last.
func sinkTransposes(g *ir.Graph) error {
	for changed := true; changed; {
		changed = false
		made := producers(g)
		for i := 0; i < len(g.Nodes); i++ {
			fresh, err := sink(g.Nodes[i], made)
			if err != nil {
				return err
			}
			if fresh == nil {
				continue
			}
			changed = true
			old, last := g.Nodes[i].Out[0], fresh[len(fresh)-1].Out[0]
			g.Nodes = slices.Replace(g.Nodes, i, i+1, fresh...)
			rename(g, old, last)
			for _, n := range fresh {
				made[n.Out[0]] = n
			}
		}
		dropIdentities(g)
		if err := removeDead(g); err != nil {
			return err
		}
	}
	return nil
}

// rename lets new take the place of old, its name included: outputs keep theirs.
func rename(g *ir.Graph, old, new *ir.Value) {
	new.Name = old.Name
	g.Replace(old, new)
}

// sink returns the nodes that compute the same as n with the transposes of its inputs after it, or
// nil if there is nothing to move.
func sink(n *ir.Node, made map[*ir.Value]*ir.Node) ([]*ir.Node, error) {
	switch n.Op.(type) {
	case ir.Transpose, ir.Unary, ir.Binary, ir.Permuter:
	default:
		return nil, nil // before the weights of a convolution are turned for nothing
	}
	perm, before := transposed(n, made)
	if perm == nil {
		return nil, nil
	}
	if t, ok := n.Op.(ir.Transpose); ok {
		both := make([]int, len(perm))
		for i, p := range t.Perm {
			both[i] = perm[p]
		}
		m, err := ir.NewNode(n.Name, ir.Transpose{Perm: both}, before...)
		return []*ir.Node{m}, err
	}
	op := n.Op
	if o, ok := op.(ir.Permuter); ok {
		op = o.Permute(perm)
	}
	m, err := ir.NewNode(n.Name, op, before...)
	if err != nil {
		return nil, err
	}
	t, err := ir.NewNode(n.Name, ir.Transpose{Perm: perm}, m.Out[0])
	return []*ir.Node{m, t}, err
}

// transposed returns the permutation that all computed inputs of n went through, and the inputs
// before it, constants turned back to match.
func transposed(n *ir.Node, made map[*ir.Value]*ir.Node) (perm []int, before []*ir.Value) {
	for _, v := range n.In {
		if v.Const != nil {
			continue
		}
		p := made[v]
		if p == nil {
			return nil, nil
		}
		t, ok := p.Op.(ir.Transpose)
		if !ok || perm != nil && !slices.Equal(perm, t.Perm) {
			return nil, nil
		}
		perm = t.Perm
	}
	if perm == nil {
		return nil, nil
	}
	for _, v := range n.In {
		if v.Const == nil {
			before = append(before, made[v].In[0])
			continue
		}
		c := turnBack(v, perm)
		if c == nil {
			return nil, nil
		}
		before = append(before, c)
	}
	return perm, before
}

// turnBack returns constant c, extended to the rank of perm, so that the transpose perm of it is c;
// nil if c has too many axes.
func turnBack(c *ir.Value, perm []int) *ir.Value {
	if len(c.Type.Shape) > len(perm) {
		return nil
	}
	full := slices.Concat(slices.Repeat(ir.Shape{1}, len(perm)-len(c.Type.Shape)), c.Type.Shape)
	inverse := make([]int, len(perm))
	for i, p := range perm {
		inverse[p] = i
	}
	x := *c.Const
	x.Shape = full
	y, err := ir.Transpose{Perm: inverse}.Eval([]*ir.Tensor{&x})
	if err != nil {
		return nil
	}
	return ir.ConstValue(c.Name, y[0])
}

// dropIdentities removes transposes that move nothing.
func dropIdentities(g *ir.Graph) {
	for _, n := range g.Nodes {
		t, ok := n.Op.(ir.Transpose)
		if ok && slices.IsSorted(t.Perm) && n.In[0].Const == nil && !slices.Contains(g.In, n.In[0]) {
			isOut := slices.Contains(g.Out, n.Out[0])
			if isOut && slices.Contains(g.Out, n.In[0]) {
				continue
			}
			if isOut {
				n.In[0].Name = n.Out[0].Name
			}
			g.Replace(n.Out[0], n.In[0])
		} else if ok && slices.IsSorted(t.Perm) && !slices.Contains(g.Out, n.Out[0]) {
			g.Replace(n.Out[0], n.In[0])
		}
	}
}

// mergeReshapes turns transposes that keep the order of the elements into views, and views of views
// into one.
func mergeReshapes(g *ir.Graph) error {
	made := producers(g)
	for _, n := range g.Nodes {
		if t, ok := n.Op.(ir.Transpose); ok && keepsOrder(n.In[0].Type.Shape, t.Perm) {
			n.Op = ir.Reshape{Shape: n.Out[0].Type.Shape}
		}
		if _, ok := n.Op.(ir.Reshape); !ok {
			continue
		}
		if p := made[n.In[0]]; p != nil {
			if _, ok := p.Op.(ir.Reshape); ok {
				n.In = []*ir.Value{p.In[0]}
			}
		}
	}
	for _, n := range g.Nodes {
		_, ok := n.Op.(ir.Reshape)
		if ok && n.In[0].Type.Equal(n.Out[0].Type) && n.In[0].Const == nil && !slices.Contains(g.Out, n.Out[0]) {
			g.Replace(n.Out[0], n.In[0])
		}
	}
	return removeDead(g)
}

// keepsOrder reports whether the transpose only moves axes of extent 1.
func keepsOrder(s ir.Shape, perm []int) bool {
	last := -1
	for _, p := range perm {
		if s[p] == 1 {
			continue
		}
		if p < last {
			return false
		}
		last = p
	}
	return true
}
