package pass

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// sinkTransposes moves transposes towards the outputs, through every operator that commutes with
// them, and merges those that meet. The transposes that load puts around convolutions cancel so,
// and the whole network between its ends runs channels last.
func sinkTransposes(g *ir.Graph) error {
	for changed := true; changed; {
		changed = false
		s := sinker{made: producers(g), turned: map[turning]*ir.Value{}}
		r := readersOf(g)
		nodes := make([]*ir.Node, 0, len(g.Nodes))
		for _, n := range g.Nodes {
			fresh, err := s.sink(n)
			if err != nil {
				return err
			}
			if fresh == nil {
				nodes = append(nodes, n)
				continue
			}
			changed = true
			nodes = append(nodes, fresh...)
			r.add(fresh...)
			r.rename(n.Out[0], fresh[len(fresh)-1].Out[0])
			for _, n := range fresh {
				s.made[n.Out[0]] = n
			}
		}
		g.Nodes = nodes
		dropIdentities(g)
		if err := removeDead(g); err != nil {
			return err
		}
	}
	return nil
}

// sinker is one sweep over the graph.
type sinker struct {
	made   map[*ir.Value]*ir.Node
	turned map[turning]*ir.Value // constants that many nodes read are turned once
}

// turning is a constant that goes back through a permutation.
type turning struct {
	v    *ir.Value
	perm string
}

// sink returns the nodes that compute the same as n with the transposes of its inputs after it, or
// nil if there is nothing to move.
func (s *sinker) sink(n *ir.Node) ([]*ir.Node, error) {
	switch n.Op.(type) {
	case ir.Transpose, ir.Unary, ir.Binary, ir.Permuter:
	case ir.Gather:
		return s.sinkGather(n)
	case ir.Grid: // the range of a tensor is that of its turned self
		if p := s.made[n.In[0]]; p != nil {
			if _, ok := p.Op.(ir.Transpose); ok {
				n.In[0] = p.In[0]
			}
		}
		return nil, nil
	default:
		return nil, nil // before the weights of a convolution are turned for nothing
	}
	perm, before, turned := s.transposed(n)
	if perm == nil {
		return nil, nil
	}
	if t, ok := n.Op.(ir.Transpose); ok {
		both := make([]int, len(perm))
		for i, p := range t.Perm {
			both[i] = perm[p]
		}
		m, err := ir.NewNode(n.Name, ir.Transpose{Perm: both}, before...)
		return append(turned, m), err
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
	return append(turned, m, t), err
}

// sinkGather is sink for a choice of slices by a list of places, such as the nearest neighbours of
// Resize: the list stays as it is.
func (s *sinker) sinkGather(n *ir.Node) ([]*ir.Node, error) {
	p, idx := s.made[n.In[0]], n.In[1]
	if p == nil || len(idx.Type.Shape) != 1 {
		return nil, nil
	}
	t, ok := p.Op.(ir.Transpose)
	if !ok || p.In[0].Const != nil {
		return nil, nil
	}
	m, err := ir.NewNode(n.Name, ir.Gather{Axis: t.Perm[n.Op.(ir.Gather).Axis]}, p.In[0], idx)
	if err != nil {
		return nil, err
	}
	after, err := ir.NewNode(n.Name, t, m.Out[0])
	return []*ir.Node{m, after}, err
}

// transposed returns the permutation that all computed inputs of n went through, and the inputs before it,
// constants turned back to match. Scales of channels that [scaleOf] finds are computed anew by the nodes returned.
func (s *sinker) transposed(n *ir.Node) (perm []int, before []*ir.Value, turned []*ir.Node) {
	for _, v := range n.In {
		if v.Const != nil || single(v) || s.scaleOf(v) >= 0 {
			continue
		}
		p := s.made[v]
		if p == nil {
			return nil, nil, nil
		}
		t, ok := p.Op.(ir.Transpose)
		if !ok || perm != nil && !slices.Equal(perm, t.Perm) {
			return nil, nil, nil
		}
		perm = t.Perm
	}
	if perm == nil {
		return nil, nil, nil
	}
	for _, v := range n.In {
		if len(v.Type.Shape) > len(perm) {
			return nil, nil, nil
		}
		p := s.made[v]
		switch i := s.scaleOf(v); {
		case v.Const != nil:
			v = s.turnBack(v, perm)
		case single(v):
		case i >= 0:
			in := slices.Clone(p.In)
			if in[i] = s.turnBack(in[i], perm); in[i] == nil {
				return nil, nil, nil
			}
			m, err := ir.NewNode(p.Name, p.Op, in...)
			if err != nil {
				return nil, nil, nil
			}
			turned, v = append(turned, m), m.Out[0]
		default:
			v = p.In[0]
		}
		if v == nil {
			return nil, nil, nil
		}
		before = append(before, v)
	}
	return perm, before, turned
}

// scaleOf returns which input of the node that made v holds constants, if the other is one computed value, as
// where the scale of an activation meets those of the channels of weights; or -1.
func (s *sinker) scaleOf(v *ir.Value) int {
	p := s.made[v]
	if p == nil || single(v) {
		return -1
	}
	if _, ok := p.Op.(ir.Binary); ok {
		for i, c := range p.In {
			if f := p.In[1-i]; c.Const != nil && f.Const == nil && single(f) && len(f.Type.Shape) <= len(c.Type.Shape) {
				return i
			}
		}
	}
	return -1
}

// single reports whether v is one value, which is the same however it is turned: a scale that is computed.
func single(v *ir.Value) bool { return v.Type.Shape.Elems() == 1 }

// turnBack returns constant c, extended to the rank of perm, so that the transpose perm of it is c; nil if it
// cannot be turned.
func (s *sinker) turnBack(c *ir.Value, perm []int) *ir.Value {
	key := turning{c, fmt.Sprint(perm)}
	if s.turned[key] == nil {
		s.turned[key] = turnBack(c, perm)
	}
	return s.turned[key]
}

func turnBack(c *ir.Value, perm []int) *ir.Value {
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
	r, inputs := readersOf(g), map[*ir.Value]bool{}
	for _, v := range g.In {
		inputs[v] = true
	}
	for _, n := range g.Nodes {
		t, ok := n.Op.(ir.Transpose)
		if ok && slices.IsSorted(t.Perm) && n.In[0].Const == nil && !inputs[n.In[0]] {
			isOut := r.isOut(n.Out[0])
			if isOut && r.isOut(n.In[0]) {
				continue
			}
			if isOut {
				n.In[0].Name = n.Out[0].Name
			}
			r.replace(n.Out[0], n.In[0])
		} else if ok && slices.IsSorted(t.Perm) && !r.isOut(n.Out[0]) {
			r.replace(n.Out[0], n.In[0])
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
	r := readersOf(g)
	for _, n := range g.Nodes {
		_, ok := n.Op.(ir.Reshape)
		if ok && n.In[0].Type.Equal(n.Out[0].Type) && n.In[0].Const == nil && !r.isOut(n.Out[0]) {
			r.replace(n.Out[0], n.In[0])
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
