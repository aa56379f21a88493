package pass

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// packedRows is the number of rows from which a product packs the computed matrix that it multiplies by.
// Packing costs about as much as two rows.
const packedRows = 4

// products lets matrix products of two computed values, as attention has them, take their operands and
// leave their result turned, so that no transpose around them copies; and puts a factor behind them,
// such as attention's 1/√d, into their epilogue.
func products(g *ir.Graph) error {
	made, uses, r := producers(g), g.Uses(), readersOf(g)
	for i, n := range g.Nodes {
		op, ok := n.Op.(ir.MatMul)
		if !ok || len(n.In) != 3 || n.In[1].Const != nil {
			continue
		}
		if s := n.In[0].Type.Shape; s[len(s)-2] < packedRows {
			continue
		}
		p := ir.Product{Act: op.Act}
		in := slices.Clone(n.In)
		in[0], p.A = through(made[n.In[0]], in[0], true)
		in[1], p.B = through(made[n.In[1]], in[1], false)
		m := &ir.Node{Name: n.Name, Op: p, In: in, Out: n.Out}
		g.Nodes[i], made[n.Out[0]] = m, m
		r.add(m)
	}
	for _, n := range g.Nodes {
		scaleProduct(n, made, uses, r)
	}
	for _, n := range g.Nodes {
		t, ok := n.Op.(ir.Transpose)
		if !ok || t.Perm[len(t.Perm)-1] != len(t.Perm)-1 {
			continue
		}
		m := made[n.In[0]]
		if m == nil || uses[n.In[0]] != 1 {
			continue
		}
		if p, ok := m.Op.(ir.Product); ok && p.Y == nil {
			p.Y = t.Perm
			takeOver(m, p, n, made, uses, r)
		}
	}
	return removeDead(g)
}

// through returns the value before the transpose that makes v, and its permutation; v itself if there is
// none, or one that moves the last axis where it must stay.
func through(by *ir.Node, v *ir.Value, last bool) (*ir.Value, []int) {
	if by == nil {
		return v, nil
	}
	t, ok := by.Op.(ir.Transpose)
	if !ok || by.In[0].Const != nil || last && t.Perm[len(t.Perm)-1] != len(t.Perm)-1 {
		return v, nil
	}
	return by.In[0], t.Perm
}

// scaleProduct makes n, a product or a quotient by one constant, part of the product of matrices before it.
func scaleProduct(n *ir.Node, made map[*ir.Value]*ir.Node, uses map[*ir.Value]int, r *readers) {
	b, ok := n.Op.(ir.Binary)
	if !ok || b.Fn != "mul" && b.Fn != "div" {
		return
	}
	for i, v := range n.In {
		m, c := made[v], n.In[1-i].Const
		if m == nil || c == nil || c.Shape.Elems() != 1 || uses[v] != 1 || !v.Type.Equal(n.Out[0].Type) || b.Fn == "div" && i == 1 {
			continue
		}
		p, ok := m.Op.(ir.Product)
		if !ok || p.Act.Fn != "" || p.Y != nil {
			continue
		}
		k := c.F[0]
		if b.Fn == "div" {
			k = 1 / k
		}
		p.Act = ir.Unary{Fn: "affine", P: [2]float32{k, 0}}
		takeOver(m, p, n, made, uses, r)
		return
	}
}

// takeOver lets m, with the operator op, compute what n computed.
func takeOver(m *ir.Node, op ir.Op, n *ir.Node, made map[*ir.Value]*ir.Node, uses map[*ir.Value]int, r *readers) {
	out := &ir.Value{Name: n.Out[0].Name, Type: n.Out[0].Type}
	m.Op, m.Out = op, []*ir.Value{out}
	made[out], uses[out] = m, uses[n.Out[0]]
	r.replace(n.Out[0], out)
}
