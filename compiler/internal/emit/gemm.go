package emit

import (
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// skewTile is the tile of a product with constants whose segments have that depth. Three rows spill in
// each engine. A loop body of 32 steps reaches 14.6 GMAC/s in wazero, whose loops begin with some
// thirty instructions, where 8 reach 12.3; V8 gives 20.2 and 19.2, wasmtime 17.3 and 18.4. A body that
// divides the depth needs no second one for the rest.
func skewTile(depth int) kernel.Tile {
	t := kernel.Tile{MR: 2, NV: 1, Unroll: 16, Skew: true}
	for u := 32; u > t.Unroll; u -= 4 {
		if depth%u == 0 {
			t.Unroll = u
		}
	}
	return t
}

// tile chooses the block that accumulators hold of a product with values. 2×4 vectors: the spread of a value
// feeds four vectors of columns, and with the vectors of B and one of A all sixteen registers of
// amd64 are in use; 3×4 and 4×4 spill, 10.0 and 9.6 against 11.7 GMAC/s (BenchmarkGemmTiles, wazero).
func tile(n int) kernel.Tile {
	return kernel.Tile{MR: 2, NV: min(4, (n+3)/4), Unroll: 8}
}

// depthTile is the number of output pixels of a depthwise step. Each pixel is one chain of additions that
// wait for each other, so more of them are faster as long as they and a row of weights fit sixteen
// registers, and a number that divides the row needs no second body. 14×14×576, 3×3, GMAC/s in V8 and
// wazero: 12.4 and 10.3 with 4 pixels, 13.5 and 11.4 with 7, 13.5 and 12.2 with 8.
func depthTile(width, kernelWidth int) int {
	if kernelWidth > 5 {
		return 4
	}
	for t := 8; t >= 4; t-- {
		if width%t == 0 {
			return t
		}
	}
	return 7
}

func (l *lowerer) conv(op ir.Conv, n *ir.Node, in []plan.Layout, out plan.Layout) error {
	x, _ := planar(in[0])
	y, _ := planar(out)
	var r plan.Layout
	if len(in) == 4 {
		r, _ = planar(in[3])
	}
	w := n.In[1].Const
	g := geometry(op, w.Shape, x, y)
	x.Address -= g.top*x.Strides[1] + g.left*x.Strides[2]
	if op.Group > 1 && g.inGroup == 1 && g.outGroup == 1 {
		l.depthwise(op, n, g, x, y, r)
		return nil
	}
	k := kernel.Gemm{
		Outer: y.Shape[1], Inner: y.Shape[2],
		AOuter: g.sh * x.Strides[1], AInner: g.sw * x.Strides[2],
		COuter: y.Strides[1], CInner: y.Strides[2],
		Residual: len(in) == 4,
		Seg0:     g.kh, Seg0Step: g.dh * x.Strides[1],
		Seg1: g.kw, Seg1Step: g.dw * x.Strides[2], Depth: g.inGroup,
		N: g.outGroup, Act: act(op.Act),
	}
	if k.Residual {
		k.ROuter, k.RInner = r.Strides[1], r.Strides[2]
	}
	if k.Seg1Step == 4*k.Depth { // the pixels under a kernel row follow each other
		k.Depth, k.Seg1, k.Seg1Step = k.Depth*k.Seg1, 1, 0
	}
	if k.Seg0 == 1 {
		k.Seg0Step = 0
	}
	k = oneRow(k)
	depth := k.Seg0 * k.Seg1 * k.Depth
	skew(&k)
	oc := g.outGroup * op.Group
	for group := range op.Group {
		b := l.skewed(w.F[group*g.outGroup:], depth, g.outGroup, k.Depth, oc)
		bias := l.plan.Consts.Padded(n.In[2].Const.F[group*g.outGroup:][:g.outGroup], k.Tile.PanelCols())
		for image := range x.Shape[0] {
			args := []int{
				x.Address + image*x.Strides[0] + group*g.inGroup*4, b,
				y.Address + image*y.Strides[0] + group*g.outGroup*4, bias,
			}
			if k.Residual {
				args = append(args, r.Address+image*r.Strides[0]+group*g.outGroup*4)
			}
			l.call(k, args...)
		}
	}
	return nil
}

// skewed adds the weights that [kernel.Skewed] packs so.
func (l *lowerer) skewed(w []float32, depth, cols, inner, stride int) int {
	type packing struct {
		from                       *float32
		depth, cols, inner, stride int
	}
	return l.plan.Consts.Once(packing{&w[0], depth, cols, inner, stride}, func() int {
		return l.plan.Consts.Skewed(kernel.Skewed(w, depth, cols, inner, stride), cols)
	})
}

// skew makes k a product with constants that [kernel.Skewed] packed.
func skew(k *kernel.Gemm) {
	k.Tile = skewTile(k.Depth)
	k.BRow, k.BPanel = kernel.SkewedStrides(k.Seg0*k.Seg1, k.Depth)
}

// oneRow makes Outer rows of Inner one long row where every operand steps evenly from one to the next.
func oneRow(k kernel.Gemm) kernel.Gemm {
	even := func(outer, inner int) bool { return outer == inner*k.Inner }
	if k.Outer == 1 || even(k.AOuter, k.AInner) && even(k.COuter, k.CInner) && (!k.Residual || even(k.ROuter, k.RInner)) {
		k.Inner, k.Outer = k.Inner*k.Outer, 1
		k.AOuter, k.COuter, k.ROuter = 0, 0, 0
	}
	return k
}

// single is step, or 1 where there is only one to take: a step that nobody takes may be of any size,
// also beyond what an address holds.
func single(count, step int) int {
	if count == 1 {
		return 1
	}
	return step
}

// geom is a convolution with two spatial axes, in the names of kernels.
type geom struct {
	kh, kw, sh, sw, dh, dw, top, left int
	inGroup, outGroup                 int
}

func geometry(op ir.Conv, w ir.Shape, x, y plan.Layout) geom {
	n := len(w) - 2
	g := geom{inGroup: w[n], outGroup: w[n+1] / op.Group}
	g.kh, g.kw = planar2(w[:n], 1)
	g.sh, g.sw = planar2(op.Strides, 1)
	g.dh, g.dw = planar2(op.Dilations, 1)
	g.top, g.left = planar2(op.Pads[:n], 0)
	g.sh, g.sw = single(y.Shape[1], g.sh), single(y.Shape[2], g.sw)
	g.dh, g.dw = single(g.kh, g.dh), single(g.kw, g.dw)
	return g
}

func (l *lowerer) depthwise(op ir.Conv, n *ir.Node, g geom, x, y, r plan.Layout) {
	k := kernel.Depthwise{
		C: y.Shape[3], OH: y.Shape[1], OW: y.Shape[2],
		KH: g.kh, KW: g.kw, SH: g.sh, SW: g.sw, DH: g.dh, DW: g.dw,
		AY: x.Strides[1], AX: x.Strides[2], CY: y.Strides[1], CX: y.Strides[2],
		Act: act(op.Act), Tile: depthTile(y.Shape[2], g.kw),
	}
	weights := n.In[1].Const
	w := l.plan.Consts.Once([3]any{weights, "depthwise", k.C}, func() int { return l.plan.Consts.Depthwise(weights, g.kh*g.kw, k.C) })
	bias := l.plan.Consts.Padded(n.In[2].Const.F, 4)
	if k.Residual = len(n.In) == 4; k.Residual {
		k.RY, k.RX = r.Strides[1], r.Strides[2]
	}
	for image := range x.Shape[0] {
		args := []int{x.Address + image*x.Strides[0], w, y.Address + image*y.Strides[0], bias}
		if k.Residual {
			args = append(args, r.Address+image*r.Strides[0])
		}
		l.call(k, args...)
	}
}

// matmul multiplies the matrices of each leading position; where b is one constant matrix all rows of
// a are one product.
func (l *lowerer) matmul(op ir.MatMul, n *ir.Node, in []plan.Layout, out plan.Layout) error {
	a, b := n.In[0].Type.Shape, n.In[1].Type.Shape
	ra, rb := len(a), len(b)
	m, depth, cols := a[ra-2], a[ra-1], b[rb-1]
	lead := out.Shape[:len(out.Shape)-2]
	if b[:rb-2].Elems() == 1 {
		m, lead = m*lead.Elems(), nil
	}
	t := tile(cols)
	k := kernel.Gemm{
		Outer: 1, Inner: m, AInner: depth * 4, CInner: cols * 4,
		Residual: len(in) == 4, Seg0: 1, Seg1: 1, Depth: depth, N: cols, Tile: t, Act: act(op.Act),
		BRow: cols * 4, BPanel: t.NV * 16,
	}
	if k.Residual {
		k.RInner = cols * 4
	}
	w := n.In[1].Const
	if w != nil {
		skew(&k)
	}
	bias := l.plan.Consts.Padded(n.In[2].Const.F, t.PanelCols())
	var as, bs []int
	if lead != nil {
		as, bs = ir.BroadcastStrides(a[:ra-2], lead), ir.BroadcastStrides(b[:rb-2], lead)
	}
	for i := range lead.Elems() {
		ai, bi := 0, 0
		for axis, rest := len(lead)-1, i; axis >= 0; axis-- {
			pos := rest % lead[axis]
			rest /= lead[axis]
			ai, bi = ai+pos*as[axis], bi+pos*bs[axis]
		}
		bAt := 0
		if w != nil {
			bAt = l.skewed(w.F[bi*depth*cols:], depth, cols, depth, cols)
		} else {
			bAt = in[1].Address + bi*depth*cols*4
		}
		args := []int{in[0].Address + ai*m*depth*4, bAt, out.Address + i*m*cols*4, bias}
		if k.Residual {
			args = append(args, in[3].Address+i*m*cols*4)
		}
		l.call(k, args...)
	}
	return nil
}
