package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// deformConv converts DeformConv (version 19): a convolution whose taps are moved by the third input, and
// weighed by the fifth.
func deformConv(c *context) []*ir.Value {
	x, w, offset, mask := c.input(0), c.input(1), c.input(2), c.optional(4)
	s, ws, n := x.Type.Shape, w.Type.Shape, len(x.Type.Shape)-2
	if n < 1 || len(ws) != n+2 {
		c.fail("input %v, weights %v", s, ws)
	}
	group, og := c.attrInt("group", 1), c.attrInt("offset_group", 1)
	if c.err != nil || group < 1 || og < 1 || s[1]%og != 0 || s[1] != ws[1]*group || ws[0]%group != 0 {
		c.fail("input %v, weights %v, %d groups, %d of offsets", s, ws, group, og)
		return nil
	}
	win := c.window(ws[2:], s[2:])
	op := ir.Pool{Fn: "max", Kernel: win.kernel, Strides: win.strides, Dilations: win.dilations, Pads: win.pads}
	if c.err != nil {
		return nil
	}
	types, err := op.Infer([]ir.Type{{DType: ir.F32, Shape: slices.Concat(ir.Shape{1}, s[2:], ir.Shape{1})}})
	if err != nil {
		c.err = err
		return nil
	}
	out, taps := types[0].Shape[1:n+1], ir.Shape(op.Kernel).Elems()
	points := taps * out.Elems()
	offset = c.reshape(offset, s[0], og, taps, n, out.Elems())
	if mask != nil {
		mask = c.reshape(mask, s[0], og, points, 1)
	}
	still := c.tapPlaces(op, out)
	var columns []*ir.Value // of each group of offsets, [N, points, C/og]
	for g := range og {
		if c.err != nil {
			return nil
		}
		p := sampler{c: c, table: c.channelsLast(c.cut(x, 1, g*s[1]/og, s[1]/og)), extents: s[2:], batch: s[0], pad: "zeros"}
		var at []*ir.Value
		for i := range n {
			moved := c.reshape(c.cut(c.cut(offset, 1, g, 1), 3, i, 1), s[0], points)
			at = append(at, c.binary("add", moved, still[i]))
		}
		v := p.blend(at, 0, nil, 2)
		if mask != nil {
			v = c.binary("mul", v, c.reshape(c.cut(mask, 1, g, 1), s[0], points, 1))
		}
		columns = append(columns, v)
	}
	// [N, taps, out, C] to rows of taps, for one product a group.
	all := c.transpose(c.reshape(c.join(2, columns...), s[0], taps, out.Elems(), s[1]), 0, 2, 1, 3)
	w = c.transpose(c.reshape(w, ws[0], ws[1], taps), 2, 1, 0) // [taps, C/group, OC]
	var made []*ir.Value
	for g := range group {
		if c.err != nil {
			return nil
		}
		rows := c.reshape(c.cut(all, 3, g*ws[1], ws[1]), s[0], out.Elems(), taps*ws[1])
		made = append(made, c.product(rows, c.reshape(c.cut(w, 2, g*ws[0]/group, ws[0]/group), taps*ws[1], ws[0]/group)))
	}
	y := c.join(2, made...)
	if b := c.optional(3); b != nil {
		y = c.binary("add", y, c.reshape(b, ws[0]))
	}
	return []*ir.Value{c.reshape(c.transpose(y, 0, 2, 1), slices.Concat([]int{s[0], ws[0]}, out)...)}
}

// tapPlaces are the places of the taps of a window before anything moves them, on each axis: [taps·out].
func (c *context) tapPlaces(op ir.Pool, out ir.Shape) []*ir.Value {
	n, taps := len(out), ir.Shape(op.Kernel).Elems()
	if !c.spend(float64(n) * float64(taps) * float64(out.Elems())) {
		return make([]*ir.Value, n)
	}
	places := make([][]float32, n)
	for t := range taps {
		for o := range out.Elems() {
			rt, ro := t, o
			for i := n - 1; i >= 0; i-- {
				places[i] = append(places[i], float32(ro%out[i]*op.Strides[i]+rt%op.Kernel[i]*op.Dilations[i]-op.Pads[i]))
				rt, ro = rt/op.Kernel[i], ro/out[i]
			}
		}
	}
	var still []*ir.Value
	for _, p := range places {
		still = append(still, c.floats(p, len(p)))
	}
	return still
}

// maxRoiPool converts MaxRoiPool (versions 1 and 22): the greatest element of each bin of each region. The
// greatest of rows is found first, then that of columns; a bin without elements is 0.
func maxRoiPool(c *context) []*ir.Value {
	x, rois := c.input(0), c.input(1)
	s, rs := x.Type.Shape, rois.Type.Shape
	bins := c.attrInts("pooled_shape", nil)
	if len(s) != 4 || len(rs) != 2 || rs[1] != 5 || len(bins) != 2 || min(bins[0], bins[1]) < 1 || max(bins[0], bins[1]) > 1024 {
		c.fail("input %v, regions %v, pooled_shape %v", s, rs, bins)
		return nil
	}
	r, scale := rs[0], c.attrFloat("spatial_scale", 1)
	column := func(i int) *ir.Value { return c.reshape(c.cut(rois, 1, i, 1), r, 1, 1) }
	nearest := func(v *ir.Value) *ir.Value { // halves go up
		return c.unary("floor", c.add(ir.Unary{Fn: "affine", P: [2]float32{scale, 0.5}}, v))
	}
	// Which elements of an axis belong to which bin: [regions, bins, extent].
	inside := func(from, to *ir.Value, bins, extent int) *ir.Value {
		from, to = nearest(from), nearest(to)
		length := c.binary("max", c.binary("add", c.binary("sub", to, from), c.number(1)), c.number(1))
		size := c.binary("div", length, c.number(float32(bins)))
		k, place := make([]float32, bins), make([]float32, extent)
		for i := range k {
			k[i] = float32(i)
		}
		for i := range place {
			place[i] = float32(i)
		}
		edge := c.floats(k, 1, bins, 1)
		low := c.binary("add", c.unary("floor", c.binary("mul", edge, size)), from)
		high := c.binary("add", c.unary("ceil", c.binary("mul", c.binary("add", edge, c.number(1)), size)), from)
		at := c.floats(place, 1, 1, extent)
		return c.each("and", c.each("le", low, at), c.each("lt", at, high))
	}
	if c.err != nil || !c.spend(float64(s[2]+s[3]+bins[0]+bins[1])) {
		return nil
	}
	rows, cols := inside(column(2), column(4), bins[0], s[2]), inside(column(1), column(3), bins[1], s[3])
	least := c.number(-math.MaxFloat32)
	planes := c.add(ir.Gather{}, x, c.cast(c.reshape(c.cut(rois, 1, 0, 1), r), ir.I32))
	y := c.each("where", c.reshape(cols, r, 1, 1, bins[1], s[3]), c.reshape(planes, r, s[1], s[2], 1, s[3]), least)
	y = c.reshape(c.add(ir.Reduce{Fn: "max", Axes: []int{4}}, y), r, s[1], 1, s[2], bins[1])
	y = c.each("where", c.reshape(rows, r, 1, bins[0], s[2], 1), y, least)
	y = c.reshape(c.add(ir.Reduce{Fn: "max", Axes: []int{3}}, y), r, s[1], bins[0], bins[1])
	return []*ir.Value{c.each("where", c.each("eq", y, least), c.number(0), y)}
}
