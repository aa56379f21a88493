package pass

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// norms makes one operator of layer normalisation over the last axis, which load and exporters older than
// the operator write as nine: (x - mean)/√(mean of (x - mean)² + ε), with the factors and sums behind it.
func norms(g *ir.Graph) error {
	f := formulas{producers(g)}
	uses, r := g.Uses(), readersOf(g)
	for i, n := range g.Nodes {
		b, ok := n.Op.(ir.Binary)
		if !ok {
			continue
		}
		if x, eps, ok := f.normalised(n); ok {
			size := x.Type.Shape[len(x.Type.Shape)-1]
			one, zero := ir.NewTensor(ir.Of(ir.F32, size)), ir.NewTensor(ir.Of(ir.F32, size))
			for k := range one.F {
				one.F[k] = 1
			}
			m := &ir.Node{Name: n.Name, Op: ir.LayerNorm{Eps: eps}, Out: n.Out,
				In: []*ir.Value{x, ir.ConstValue(n.Name+".scale", one), ir.ConstValue(n.Name+".bias", zero)}}
			g.Nodes[i], f.made[n.Out[0]] = m, m
			continue
		}
		for k, v := range n.In {
			m, c := f.made[v], n.In[1-k].Const
			if m == nil || c == nil || uses[v] != 1 || b.Fn != "mul" && b.Fn != "add" || !v.Type.Equal(n.Out[0].Type) {
				continue
			}
			if _, ok := m.Op.(ir.LayerNorm); !ok {
				continue
			}
			each := perChannel(c, m.In[1].Type.Shape[0])
			if each == nil {
				continue
			}
			m.In = slices.Clone(m.In)
			if b.Fn == "mul" {
				m.In[1] = scaled(m.In[1], each, b)
			}
			m.In[2] = scaled(m.In[2], each, b)
			uses[v] = uses[n.Out[0]]
			r.rename(n.Out[0], v)
			break
		}
	}
	return removeDead(g)
}

// normalised reads n as (x - mean)/√(variance + ε) over the last axis.
func (f formulas) normalised(n *ir.Node) (x *ir.Value, eps float32, ok bool) {
	fn, in := f.binary(n.Out[0])
	if fn != "div" {
		return nil, 0, false
	}
	d := in[0]
	root, sum := f.unary(in[1])
	if sum == nil || root.Fn != "sqrt" {
		return nil, 0, false
	}
	variance, eps := f.plus(sum)
	if variance == nil {
		return nil, 0, false
	}
	fn, square := f.binary(f.mean(variance))
	if fn != "mul" || square[0] != d || square[1] != d {
		return nil, 0, false
	}
	fn, diff := f.binary(d)
	if fn != "sub" || f.mean(diff[1]) != diff[0] || diff[0].Const != nil {
		return nil, 0, false
	}
	return diff[0], eps, true
}

// mean returns what v is the mean over the last axis of, nil if it is none.
func (f formulas) mean(v *ir.Value) *ir.Value {
	n := f.made[v]
	if n == nil {
		return nil
	}
	m, ok := n.Op.(ir.Reduce)
	if !ok || m.Fn != "mean" || !slices.Equal(m.Axes, []int{len(n.In[0].Type.Shape) - 1}) || n.In[0].Type.DType != ir.F32 {
		return nil
	}
	return n.In[0]
}
