package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// gridSample converts GridSample (versions 16 to 20): the picture at places between its elements, which the
// second input says from -1 to 1 on each axis, the last axis first.
func gridSample(c *context) []*ir.Value {
	x, grid := c.input(0), c.input(1)
	s, gs := x.Type.Shape, grid.Type.Shape
	n := len(s) - 2
	if n < 1 || len(gs) != n+2 || gs[n+1] != n || gs[0] != s[0] {
		c.fail("input %v for grid %v", s, gs)
		return nil
	}
	sampler := sampler{c: c, pad: c.attrStr("padding_mode", "zeros"), corners: c.attrInt("align_corners", 0) != 0, extents: s[2:], batch: s[0]}
	if !slices.Contains([]string{"zeros", "border", "reflection"}, sampler.pad) {
		c.fail("padding_mode %q is none of zeros, border, reflection", sampler.pad)
	}
	sampler.table = c.channelsLast(x)
	points := gs[1 : n+1].Elems()
	var at []*ir.Value // of each axis, [N, points], outermost first
	for i := range n {
		v := c.reshape(c.cut(grid, n+1, n-1-i, 1), s[0], points)
		d := float32(s[2+i])
		if sampler.corners {
			v = c.binary("mul", c.binary("add", v, c.number(1)), c.number((d-1)/2))
		} else {
			v = c.binary("mul", c.binary("sub", c.binary("mul", c.binary("add", v, c.number(1)), c.number(d)), c.number(1)), c.number(0.5))
		}
		at = append(at, v)
	}
	var y *ir.Value
	switch mode := c.attrStr("mode", "linear"); mode {
	case "nearest":
		for i := range at {
			at[i] = c.unary("round", at[i])
		}
		y = sampler.fetch(at)
	case "linear", "bilinear":
		if sampler.pad != "zeros" {
			for i := range at {
				at[i] = sampler.inside(at[i], i)
			}
		}
		y = sampler.blend(at, 0, nil, 2)
	case "cubic", "bicubic":
		y = sampler.blend(at, 0, nil, 4)
	default:
		c.fail("mode %q is none of linear, nearest, cubic", mode)
		return nil
	}
	// [N, points, C] to [N, C, spatial…]
	return []*ir.Value{c.reshape(c.transpose(y, 0, 2, 1), slices.Concat([]int{s[0], s[1]}, gs[1:n+1])...)}
}

// sampler reads a table [N, spatial…, C] at computed places.
type sampler struct {
	c       *context
	table   *ir.Value
	extents ir.Shape
	batch   int
	pad     string
	corners bool
}

// inside brings places on an axis into the picture as the padding mode says.
func (p sampler) inside(v *ir.Value, axis int) *ir.Value {
	c, n := p.c, float32(p.extents[axis])
	clip := func(v *ir.Value) *ir.Value { return c.add(ir.Unary{Fn: "clip", P: [2]float32{0, n - 1}}, v) }
	if p.pad != "reflection" {
		return clip(v)
	}
	low, span := float32(-0.5), n
	if p.corners {
		low, span = 0, n-1
	}
	if span == 0 {
		return clip(v)
	}
	// The distance from the lower edge, folded back and forth.
	d := c.each("fmod", c.unary("abs", c.binary("sub", v, c.number(low))), c.number(2*span))
	d = c.binary("min", d, c.binary("sub", c.number(2*span), d))
	return clip(c.binary("add", d, c.number(low)))
}

// fetch reads the elements at whole places, one value for each axis; outside the picture they are 0, or
// what the padding mode says.
func (p sampler) fetch(at []*ir.Value) *ir.Value {
	c := p.c
	var mask *ir.Value
	var idx []*ir.Value
	for i, v := range at {
		if p.pad == "zeros" {
			in := c.each("and", c.each("le", c.number(0), v), c.each("le", v, c.number(float32(p.extents[i]-1))))
			if mask == nil {
				mask = in
			} else {
				mask = c.each("and", mask, in)
			}
		}
		k := c.cast(p.inside(v, i), ir.I32)
		idx = append(idx, c.reshape(k, append(slices.Clone(k.Type.Shape), 1)...))
	}
	y := c.add(ir.GatherND{Batch: 1}, p.table, c.join(len(idx[0].Type.Shape)-1, idx...))
	if mask == nil {
		return y
	}
	return c.each("where", c.reshape(mask, append(slices.Clone(mask.Type.Shape), 1)...), y, c.number(0))
}

// blend weighs the elements around the places, two or four on each axis; from is what is chosen on the
// axes before.
func (p sampler) blend(at []*ir.Value, axis int, from []*ir.Value, taps int) *ir.Value {
	c := p.c
	if axis == len(at) {
		return p.fetch(from)
	}
	base := c.unary("floor", at[axis])
	t := c.binary("sub", at[axis], base)
	var sum *ir.Value
	for k := range taps {
		offset := float32(k - taps/2 + 1)
		w := c.kernelWeight(t, k, taps)
		v := p.blend(at, axis+1, append(slices.Clone(from), c.binary("add", base, c.number(offset))), taps)
		v = c.binary("mul", v, c.reshape(w, append(slices.Clone(w.Type.Shape), 1)...))
		if sum == nil {
			sum = v
		} else {
			sum = c.binary("add", sum, v)
		}
	}
	return sum
}

// kernelWeight is the weight of tap k at fraction t: linear for two taps, Keys' cubic with a = -0.75 for four.
func (c *context) kernelWeight(t *ir.Value, k, taps int) *ir.Value {
	one := c.number(1)
	if taps == 2 {
		if k == 0 {
			return c.binary("sub", one, t)
		}
		return t
	}
	const a = -0.75
	// The distance d from the tap, and the polynomial of its part.
	d := map[int]func() *ir.Value{
		0: func() *ir.Value { return c.binary("add", t, one) },
		1: func() *ir.Value { return t },
		2: func() *ir.Value { return c.binary("sub", one, t) },
		3: func() *ir.Value { return c.binary("sub", c.number(2), t) },
	}[k]()
	poly := func(k3, k2, k1, k0 float32) *ir.Value {
		y := c.add(ir.Unary{Fn: "affine", P: [2]float32{k3, k2}}, d)
		y = c.binary("add", c.binary("mul", y, d), c.number(k1))
		return c.binary("add", c.binary("mul", y, d), c.number(k0))
	}
	if k == 1 || k == 2 {
		return poly(a+2, -(a + 3), 0, 1)
	}
	return poly(a, -5*a, 8*a, -4*a)
}

// affineGrid converts AffineGrid (version 20): places from -1 to 1 through a matrix.
func affineGrid(c *context) []*ir.Value {
	theta := c.input(0)
	size := c.ints(1, "", nil)
	ts := theta.Type.Shape
	n := len(size) - 2
	if c.err != nil || n < 1 || len(ts) != 3 || ts[1] != n || ts[2] != n+1 || size[0] != ts[0] {
		c.fail("matrices %v for size %v", ts, size)
		return nil
	}
	corners := c.attrInt("align_corners", 0) != 0
	spatial := ir.Shape(size[2:])
	if c.err = spatial.Check(); c.err != nil || !c.spend(float64(spatial.Elems())*float64(n+1)) {
		return nil
	}
	points := make([]float32, 0, spatial.Elems()*(n+1))
	for i := range spatial.Elems() {
		at, rest := make([]float32, n), i
		for a := n - 1; a >= 0; a-- {
			d, k := float32(spatial[a]), float32(rest%spatial[a])
			rest /= spatial[a]
			switch {
			case !corners:
				at[n-1-a] = (2*k+1)/d - 1
			case d > 1:
				at[n-1-a] = 2*k/(d-1) - 1
			default:
				at[n-1-a] = -1
			}
		}
		points = append(append(points, at...), 1)
	}
	y := c.product(c.floats(points, 1, spatial.Elems(), n+1), c.transpose(theta, 0, 2, 1))
	return []*ir.Value{c.reshape(y, slices.Concat([]int{ts[0]}, spatial, []int{n})...)}
}

// roiAlign converts RoiAlign (versions 10 to 22).
func roiAlign(c *context) []*ir.Value {
	x, rois, batch := c.input(0), c.input(1), c.input(2)
	s, rs := x.Type.Shape, rois.Type.Shape
	def := "half_pixel"
	if c.opset < 16 {
		def = "output_half_pixel"
	}
	mode := c.attrStr("mode", "avg")
	op := ir.RoiAlign{
		Height: c.attrInt("output_height", 1), Width: c.attrInt("output_width", 1), Samples: c.attrInt("sampling_ratio", 0),
		Scale: c.attrFloat("spatial_scale", 1), Half: c.attrStr("coordinate_transformation_mode", def) == "half_pixel",
		Max: mode == "max",
	}
	if len(s) != 4 || len(rs) != 2 || rs[1] != 4 || max(op.Height, op.Width) > 1024 || op.Samples > 64 || mode != "avg" && mode != "max" {
		c.fail("input %v, regions %v, output %dx%d, %d samples, mode %q", s, rs, op.Height, op.Width, op.Samples, mode)
		return nil
	}
	c.within(batch, s[0])
	if x.Const != nil && rois.Const != nil && rois.Type.DType.Float() && !c.spend(op.Work(rois.Const)*float64(s[1])) {
		return nil
	}
	return []*ir.Value{c.channelsFirst(c.add(op, c.channelsLast(x), rois, batch))}
}
