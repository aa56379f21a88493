package emit

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// recurrentTile is the tile of the product with the state. A batch of one has a single row to hold, so
// more columns keep as many sums in flight.
func recurrentTile(batch int, w *ir.Value) kernel.Tile {
	switch n := w.Type.Shape[1]; {
	case batch == 1:
		return kernel.Tile{MR: 1, NV: min(8, (n+3)/4), Unroll: 8}
	case w.Const == nil:
		return tile(n)
	}
	return skewTile(w.Type.Shape[0])
}

// recurrent walks the whole batch at once, or each sequence of its own length.
func (l *lowerer) recurrent(op ir.Recurrent, n *ir.Node, in []plan.Layout) error {
	x, y := n.In[0].Type.Shape, l.plan.Of(n.Out[0])
	steps, batch, width, hidden := x[0], x[1], x[2]*4, y.Shape[2]
	lens := []int{steps}
	if len(op.Lens) > 0 {
		lens = op.Lens
	}
	k := kernel.Recurrent{
		Cell: op.Cell, Batch: batch / len(lens), Hidden: hidden,
		XStep: single(steps, batch*width), YStep: single(steps, batch*hidden*4),
		F: act(op.F), G: act(op.G), H: act(op.H), Clip: op.Clip,
		Linear: op.Linear, Coupled: op.Coupled, Tile: recurrentTile(batch/len(lens), n.In[1]),
	}
	for _, a := range []kernel.Act{k.F, k.G, k.H} {
		if !a.Supported() {
			return fmt.Errorf("no kernel computes %s", a.Fn)
		}
	}
	var w [2]int
	w[0], k.BRow, k.BPanel = l.weights(n.In[1], in[1], k.Tile)
	bias := l.plan.Consts.Padded(make([]float32, n.In[1].Type.Shape[1]), k.Tile.PanelCols())
	split := op.Cell == "gru" && !op.Linear
	switch {
	case split:
		w[1], k.CRow, k.CPanel = l.weights(n.In[2], in[2], k.Tile)
	case op.Linear:
		bias = l.plan.Consts.Padded(n.In[2].Const.F, k.Tile.PanelCols())
	}
	if slices.Min(lens) < steps {
		dims, err := fit(y.Shape, [][]int{y.Strides})
		if err != nil {
			return err
		}
		l.call(kernel.Fill{Extent: dims[0], Out: dims[1]}, y.Address)
	}
	states := in[1+op.Weights():]
	var at [2]int
	for i := range op.States() {
		s := l.plan.Of(n.Out[1+i])
		at[i] = s.Address
		if err := l.copy(s, states[i]); err != nil {
			return err
		}
	}
	k.Peephole = len(states) > op.States()
	if op.Reverse {
		k.XStep, k.YStep = -k.XStep, -k.YStep
	}
	for b, steps := range lens {
		first := 0
		if op.Reverse {
			first = max(steps-1, 0)
		}
		row := b * hidden * 4
		args := []int{steps, in[0].Address + b*width + first*batch*width, w[0]}
		if split {
			args = append(args, w[1])
		}
		args = append(args, bias, y.Address+row+first*batch*hidden*4, at[0]+row, l.plan.Scratch(n))
		if op.Cell == "lstm" {
			args = append(args, at[1]+row)
		}
		if k.Peephole {
			args = append(args, states[2].Address)
		}
		l.call(k, args...)
	}
	return nil
}

// weights gives a matrix [K, N] to a product: packed in panels if it is constant, else as it lies.
func (l *lowerer) weights(v *ir.Value, at plan.Layout, t kernel.Tile) (address, row, panel int) {
	k, n := v.Type.Shape[0], v.Type.Shape[1]
	if v.Const == nil {
		return at.Address, n * 4, t.NV * 16
	}
	if t.Skew {
		var g kernel.Gemm
		g.Seg0, g.Seg1, g.Depth, g.N = 1, 1, k, n
		skew(&g)
		return l.skewed(v.Const.F, k, n, k, n), g.BRow, g.BPanel
	}
	return l.plan.Consts.Panels(v.Const.F, k, n, n, t.PanelCols()), t.NV * 16, k * t.NV * 16
}
