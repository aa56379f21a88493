package emit

import (
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// product packs each matrix of the second operand and multiplies by it.
func (l *lowerer) product(op ir.Product, n *ir.Node, in []plan.Layout, out plan.Layout) {
	a, b, y := turned(in[0], op.A), turned(in[1], op.B), out
	if op.Y != nil { // as it was before it was turned
		y.Shape, y.Strides = make(ir.Shape, len(out.Shape)), make([]int, len(out.Shape))
		for i, p := range op.Y {
			y.Shape[p], y.Strides[p] = out.Shape[i], out.Strides[i]
		}
	}
	ra, rb, lead := len(a.Shape)-2, len(b.Shape)-2, y.Shape[:len(y.Shape)-2]
	m, depth, cols := a.Shape[ra], a.Shape[ra+1], b.Shape[rb+1]
	pack := kernel.Pack{K: depth, N: cols, KStep: b.Strides[rb], NStep: b.Strides[rb+1]}
	k := kernel.Gemm{
		Outer: 1, Inner: m, AInner: a.Strides[ra], CInner: y.Strides[len(lead)],
		Seg0: 1, Seg1: 1, Depth: depth, N: cols, Act: act(op.Act),
	}
	skew(&k)
	bias := l.plan.Consts.Padded(n.In[2].Const.F, k.Tile.PanelCols())
	scratch, have := l.plan.Scratch(n), -1
	a.Shape, a.Strides = a.Shape[:ra], a.Strides[:ra]
	b.Shape, b.Strides = b.Shape[:rb], b.Strides[:rb]
	a, b = broadcast(a, lead), broadcast(b, lead)
	for i := range lead.Elems() {
		at, bt, yt := a.Address, b.Address, y.Address
		for axis, rest := len(lead)-1, i; axis >= 0; axis-- {
			pos := rest % lead[axis]
			rest /= lead[axis]
			at, bt, yt = at+pos*a.Strides[axis], bt+pos*b.Strides[axis], yt+pos*y.Strides[axis]
		}
		if bt != have {
			l.call(pack, scratch, bt)
			have = bt
		}
		l.call(k, at, scratch, yt, bias)
	}
}

func turned(x plan.Layout, perm []int) plan.Layout {
	if perm == nil {
		return x
	}
	return permuted(x, perm)
}
