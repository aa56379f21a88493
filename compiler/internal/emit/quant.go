package emit

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// intTile is the tile of products of bytes. Three rows spill.
var intTile = kernel.IntTile{MR: 2, Unroll: 32}

func requant(zero, lo, hi int, to ir.DType) kernel.Requant {
	switch to {
	case ir.I32:
		return kernel.Requant{Wide: true}
	case ir.F32:
		return kernel.Requant{Float: true}
	}
	return kernel.Requant{Zero: zero, Lo: lo, Hi: hi, Unsigned: to == ir.U8}
}

func (l *lowerer) quantize(op ir.Quantize, in, out plan.Layout) error {
	if op.To != ir.U8 && op.To != ir.I8 {
		return fmt.Errorf("no kernel quantises to %v", op.To)
	}
	l.call(kernel.Quantize{N: out.Shape.Elems(), Scale: op.Scale, Requant: requant(op.Zero, op.Lo, op.Hi, op.To)}, out.Address, in.Address)
	return nil
}

func (l *lowerer) dequantize(op ir.Dequantize, in, out plan.Layout) error {
	if from := in.DType; from != ir.U8 && from != ir.I8 {
		return fmt.Errorf("no kernel dequantises %v", in.DType)
	}
	l.call(kernel.Dequantize{N: out.Shape.Elems(), Scale: op.Scale, Zero: op.Zero, Signed: in.DType == ir.I8}, out.Address, in.Address)
	return nil
}

func (l *lowerer) intBinary(op ir.IntBinary, n *ir.Node, in []plan.Layout, out plan.Layout) {
	k := kernel.IntBinary{
		Fn: op.Fn, N: out.Shape.Elems(), ScaleA: op.ScaleA, ScaleB: op.ScaleB, ZeroA: op.ZeroA, ZeroB: op.ZeroB,
		SignedA: n.In[0].Type.DType == ir.I8, SignedB: n.In[1].Type.DType == ir.I8,
		Requant: requant(op.Zero, op.Lo, op.Hi, op.To),
	}
	l.call(k, out.Address, in[0].Address, in[1].Address)
}

// intDepthTile is the number of output pixels of a step of a depthwise convolution of bytes.
const intDepthTile = 4

// intConv pads each picture of bytes into scratch, if it has to, and convolves it.
func (l *lowerer) intConv(op ir.IntConv, n *ir.Node, in, out plan.Layout) error {
	for i := 1; i < len(n.In); i++ {
		if i != 4 && i != 5 && n.In[i].Const == nil {
			return fmt.Errorf("input %d must be constant", i)
		}
	}
	w, x, y := n.In[1].Const, n.In[0].Type.Shape, n.Out[0].Type.Shape
	spatial := len(x) - 2
	size := func(s ir.Shape) (h, w int) { return planar2(s[1:spatial+1], 1) }
	h, wd := size(x)
	oh, ow := size(y)
	c, oc := x[spatial+1], y[spatial+1]
	kh, kw := planar2(w.Shape[:spatial], 1)
	top, left := planar2(op.Pads[:spatial], 0)
	bottom, right := planar2(op.Pads[spatial:], 0)
	sh, sw := planar2(op.Strides, 1)
	dh, dw := planar2(op.Dilations, 1)
	sh, sw, dh, dw = single(oh, sh), single(ow, sw), single(kh, dh), single(kw, dw)
	row := (left + wd + right) * c
	q := requant(op.OutZero, op.Lo, op.Hi, op.To)
	q.Act = act(op.Act)
	if !q.Act.Supported() {
		return fmt.Errorf("no kernel computes %s", q.Act.Fn)
	}
	width := op.To.Size()
	signed := n.In[0].Type.DType == ir.I8
	icg, ocg := w.Shape[spatial], oc/op.Group
	ends := l.intEpilogue(op, n)
	for image := range x[0] {
		from, to := in.Address+image*h*wd*c, out.Address+image*oh*ow*oc*width
		if top+left+bottom+right > 0 {
			scratch := l.plan.Scratch(n)
			pad := kernel.PadBytes{
				Rows: h, Row: wd * c, Top: top, Bottom: bottom, Left: left * c, Right: right * c, Value: byte(op.Zero),
			}
			if len(n.In) > 4 {
				pad.Value, pad.Computed = 0, true
				l.call(pad, scratch, from, l.plan.Of(n.In[4]).Address)
			} else {
				l.call(pad, scratch, from)
			}
			from = scratch
		}
		if op.Group > 1 && icg == 1 && ocg == 1 {
			k := kernel.IntDepthwise{
				C: c, OH: oh, OW: ow, KH: kh, KW: kw, SH: sh, SW: sw, DH: dh, DW: dw,
				AY: row, AX: c, CY: ow * oc * width, CX: oc * width, Signed: signed, Requant: q, Tile: intDepthTile,
			}
			l.call(k, append([]int{from, l.packed(k, &w.I[0], func() []int16 { return k.Pack(w.I) }), to}, ends(0, oc)...)...)
			continue
		}
		k := kernel.IntGemm{
			Outer: oh, Inner: ow, AOuter: sh * row, AInner: sw * c, COuter: ow * oc * width, CInner: oc * width,
			Seg0: kh, Seg0Step: dh * row, Seg1: kw, Seg1Step: dw * c, Depth: icg,
			N: ocg, Signed: signed, Requant: q, Tile: intTile,
		}
		if k.Seg1Step == k.Depth {
			k.Depth, k.Seg1, k.Seg1Step = k.Depth*k.Seg1, 1, 0
		}
		if k.Seg0 == 1 {
			k.Seg0Step = 0
		}
		if k.Outer == 1 || k.AOuter == k.AInner*k.Inner {
			k.Inner, k.Outer, k.AOuter, k.COuter = k.Inner*k.Outer, 1, 0, 0
		}
		for g := range op.Group {
			b := l.packed(k, &w.I[g*ocg], func() []int16 { return k.Pack(w.I[g*ocg:], oc) })
			l.call(k, append([]int{from + g*icg, b, to + g*ocg*width}, ends(g*ocg, ocg)...)...)
		}
	}
	return nil
}

// intEpilogue gives the addresses of bias, scales and sums of channels, the zero point of the input made part
// of the bias: Σ (x - z)·w is Σ x·w - z·Σ w. What is computed while the model runs lies in scratch.
func (l *lowerer) intEpilogue(op ir.IntConv, n *ir.Node) func(from, channels int) []int {
	w, bias, scales := n.In[1].Const.I, n.In[2].Const.I, n.In[3].Const.F
	oc := len(bias)
	sums := make([]int64, oc)
	for i, v := range w {
		sums[i%oc] += v
	}
	if len(n.In) == 4 {
		bias = slices.Clone(bias)
		for i, s := range sums {
			bias[i] -= int64(op.Zero) * s
		}
		return func(from, channels int) []int {
			return []int{l.int32s(bias[from:][:channels], eight), l.plan.Consts.Padded(scales[from:][:channels], eight)}
		}
	}
	at := l.plan.Scratch(n) + op.Padded(n.In[0].Type.Shape)
	scaled := at + (oc+eight-1)/eight*eight*4
	k := kernel.Shift{N: oc, Signed: n.In[4].Type.DType == ir.I8, Scaled: len(n.In) > 5}
	args := []int{at, l.int32s(bias, eight), l.int32s(sums, eight), l.plan.Of(n.In[4]).Address}
	if !k.Scaled {
		l.call(k, args...)
		return func(from, _ int) []int { return []int{at + 4*from, at + 4*from} } // nothing reads the scales
	}
	l.call(k, append(args, scaled, l.plan.Consts.Padded(scales, eight), l.plan.Of(n.In[5]).Address)...)
	return func(from, channels int) []int {
		return []int{at + 4*from, scaled + 4*from, l.plan.Consts.Padded(n.In[6].Const.F[from:][:channels], eight)}
	}
}

// eight is what the channels of bias and scales are rounded up to.
const eight = 8

// int32s adds v and zeros up to a multiple of n.
func (l *lowerer) int32s(v []int64, n int) int {
	b := make([]byte, (len(v)+n-1)/n*n*4)
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(int32(x)))
	}
	return l.plan.Consts.Bytes(b)
}

// packed adds the weights that pack gives for k, those from the integer at from on.
func (l *lowerer) packed(k kernel.Kernel, from *int64, pack func() []int16) int {
	return l.plan.Consts.Once([2]any{k, from}, func() int { return l.plan.Consts.Int16s(pack()) })
}
