package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// windowConverters are operators on the spatial axes beside convolutions and pools.
var windowConverters = map[string]converter{
	"LpPool": lpPool, "GlobalLpPool": globalLpPool, "MaxUnpool": maxUnpool, "Col2Im": col2im,
	"GridSample": gridSample, "RoiAlign": roiAlign, "AffineGrid": affineGrid,
	"DeformConv": deformConv, "MaxRoiPool": maxRoiPool,
}

// convolution adds op over x and w [kernel…, C/group, OC]. Kernels take one or two spatial axes and weights
// that are known; three axes are a sum over the planes of the first one, and what remains a product of
// windows laid out in rows.
func (c *context) convolution(op ir.Conv, x, w *ir.Value, channels int) *ir.Value {
	n := len(op.Strides)
	switch {
	case c.err != nil:
		return x
	case n <= 2 && w.Const != nil:
		return c.convolve(op, x, w, channels)
	case n == 3 && w.Const != nil:
		return c.planes(op, x, w, channels)
	}
	y := c.rowsOfWindows(op, x, w)
	if bias := c.optional(2); bias != nil && c.err == nil {
		y = c.binary("add", y, bias)
	}
	return y
}

// padded puts the pads of spatial axes around x, channels last.
func (c *context) padded(x *ir.Value, pads []int) *ir.Value {
	if !slices.ContainsFunc(pads, func(p int) bool { return p != 0 }) || c.err != nil {
		return x
	}
	rank, n := len(x.Type.Shape), len(pads)/2
	all := make([]int, 2*rank)
	copy(all[1:], pads[:n])
	copy(all[rank+1:], pads[n:])
	return c.add(ir.Pad{Pads: all}, x)
}

// windowed is what tap t of the windows over spatial axis a sees: every stride-th element from t·dilation
// on.
func (c *context) windowed(x *ir.Value, a, t, stride, dilation, count int) *ir.Value {
	s := x.Type.Shape
	op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
	op.Start[a], op.Count[a], op.Step[a] = t*dilation, count, stride
	return c.add(op, x)
}

// outputExtents are those of the spatial axes, for x that is padded already.
func (c *context) outputExtents(op ir.Conv, x ir.Shape, kernel []int) []int {
	var out []int
	for i, k := range kernel {
		room := x[i+1] - (k-1)*op.Dilations[i] - 1
		if k < 1 || op.Strides[i] < 1 || op.Dilations[i] < 1 || room < 0 {
			c.fail("kernel %v, strides %v, dilations %v do not fit %v", kernel, op.Strides, op.Dilations, x)
			return nil
		}
		out = append(out, room/op.Strides[i]+1)
	}
	return out
}

// planes is a convolution over three axes as the sum of those over the last two.
func (c *context) planes(op ir.Conv, x, w *ir.Value, channels int) *ir.Value {
	kernel := w.Type.Shape[:3]
	pads := []int{op.Pads[0], 0, 0, op.Pads[3], 0, 0}
	flat := ir.Conv{Strides: op.Strides[1:], Dilations: op.Dilations[1:], Group: op.Group,
		Pads: []int{op.Pads[1], op.Pads[2], op.Pads[4], op.Pads[5]}}
	x = c.padded(x, pads)
	s := x.Type.Shape
	if c.err != nil || len(s) != 5 {
		return x
	}
	out := c.outputExtents(op, s, kernel[:1])
	bias, in := c.optional(2), c.in
	var sum *ir.Value
	for t := range kernel[0] {
		if c.err != nil {
			return x
		}
		plane := c.windowed(x, 1, t, op.Strides[0], op.Dilations[0], out[0])
		plane = c.reshape(plane, append([]int{s[0] * out[0]}, s[2:]...)...)
		if t > 0 && bias != nil { // once is enough
			c.in = in[:2]
		}
		part := c.convolve(flat, plane, c.reshape(c.cut(w, 0, t, 1), w.Type.Shape[1:]...), channels)
		c.in = in
		if sum == nil {
			sum = part
		} else {
			sum = c.binary("add", sum, part)
		}
	}
	if c.err != nil || sum == nil {
		return x
	}
	ys := sum.Type.Shape
	return c.reshape(sum, append([]int{s[0], out[0]}, ys[1:]...)...)
}

// maxTaps bounds the windows that are laid out in rows.
const maxTaps = 1 << 12

// rowsOfWindows lays the window of each output element out as a row and multiplies the rows with the
// weights, one product for each group.
func (c *context) rowsOfWindows(op ir.Conv, x, w *ir.Value) *ir.Value {
	x = c.padded(x, op.Pads)
	n, ws, s := len(op.Strides), w.Type.Shape, x.Type.Shape
	if c.err != nil || len(s) != n+2 || op.Group < 1 || s[n+1] != ws[n]*op.Group || ws[n+1]%op.Group != 0 {
		c.fail("input %v, weights %v and group %d do not add up", s, ws, op.Group)
		return x
	}
	kernel, g := ws[:n], op.Group
	out := c.outputExtents(op, s, kernel)
	taps := kernel.Elems()
	if c.err != nil || taps < 1 || taps > maxTaps {
		c.fail("windows of %d elements; at most %d are laid out", taps, maxTaps)
		return x
	}
	count := s[0] * ir.Shape(out).Elems()
	var parts []*ir.Value
	for t := range taps {
		v, rest := x, t
		for i := n - 1; i >= 0; i-- {
			v = c.windowed(v, i+1, rest%kernel[i], op.Strides[i], op.Dilations[i], out[i])
			rest /= kernel[i]
		}
		parts = append(parts, c.reshape(v, count, 1, g, ws[n]))
	}
	rows := c.reshape(c.transpose(c.join(1, parts...), 2, 0, 1, 3), g, count, taps*ws[n])
	cols := c.reshape(c.transpose(c.reshape(w, taps*ws[n], g, ws[n+1]/g), 1, 0, 2), g, taps*ws[n], ws[n+1]/g)
	y := c.transpose(c.product(rows, cols), 1, 0, 2)
	return c.reshape(y, slices.Concat([]int{s[0]}, out, []int{ws[n+1]})...)
}

// turnedValue is [turned] for weights that are computed while the model runs.
func (c *context) turnedValue(w *ir.Value, group int) *ir.Value {
	s := w.Type.Shape
	n := len(s) - 2
	if w.Const != nil {
		return c.constantOf(turned(w.Const, group))
	}
	v := c.reshape(w, slices.Concat([]int{group, s[0] / group, s[1]}, s[2:])...)
	if c.err != nil {
		return w
	}
	flip := ir.Slice{Start: make([]int, n+3), Count: slices.Clone(v.Type.Shape), Step: slices.Repeat([]int{1}, n+3)}
	var perm []int
	for i := range n {
		flip.Start[3+i], flip.Step[3+i] = s[2+i]-1, -1
		perm = append(perm, 3+i)
	}
	v = c.transpose(c.add(flip, v), append(perm, 1, 0, 2)...)
	return c.reshape(v, append(slices.Clone(s[2:]), s[0]/group, group*s[1])...)
}

// pooled adds op over x, channels last. Three axes are two and then one: the window's elements are a
// product of those on each axis, for extremes, sums, and counts alike.
func (c *context) pooled(op ir.Pool, x *ir.Value) *ir.Value {
	n := len(op.Kernel)
	if n <= 2 || c.err != nil {
		return c.add(op, x)
	}
	if n > 3 {
		c.unsupported("%d spatial axes", n)
		return x
	}
	s := x.Type.Shape
	flat, deep := op, op
	flat.Kernel, flat.Strides, flat.Dilations = op.Kernel[1:], op.Strides[1:], op.Dilations[1:]
	flat.Pads = []int{op.Pads[1], op.Pads[2], op.Pads[4], op.Pads[5]}
	deep.Kernel, deep.Strides, deep.Dilations = op.Kernel[:1], op.Strides[:1], op.Dilations[:1]
	deep.Pads = []int{op.Pads[0], op.Pads[3]}
	y := c.add(flat, c.reshape(x, s[0]*s[1], s[2], s[3], s[4]))
	ys := y.Type.Shape
	if c.err != nil {
		return x
	}
	y = c.add(deep, c.reshape(y, s[0], s[1], ys[1:].Elems()))
	if c.err != nil {
		return x
	}
	return c.reshape(y, s[0], y.Type.Shape[1], ys[1], ys[2], ys[3])
}

// lpPool is (Σ|x|^p)^(1/p) over windows (version 18).
func lpPool(c *context) []*ir.Value {
	x, p := c.input(0), float32(c.attrInt("p", 2))
	s := x.Type.Shape
	if len(s) < 3 {
		c.fail("input %v has no spatial axis", s)
		return nil
	}
	ceil := c.attrInt("ceil_mode", 0) != 0
	w := c.window(nil, s[2:])
	op := ir.Pool{Fn: "sum", Kernel: w.kernel, Strides: w.strides, Dilations: w.dilations, Pads: w.pads, Ceil: ceil}
	y := c.pooled(op, c.channelsLast(c.power(c.unary("abs", x), p)))
	return []*ir.Value{c.channelsFirst(c.root(y, p))}
}

// root is x^(1/p) for x that is not negative.
func (c *context) root(x *ir.Value, p float32) *ir.Value {
	switch p {
	case 1:
		return x
	case 2:
		return c.unary("sqrt", x)
	}
	return c.each("pow", x, c.number(1/p))
}

func globalLpPool(c *context) []*ir.Value {
	x, p := c.input(0), float32(c.attrInt("p", 2))
	var axes []int
	for i := 2; i < len(x.Type.Shape); i++ {
		axes = append(axes, i)
	}
	return []*ir.Value{c.root(c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.power(c.unary("abs", x), p)), p)}
}

// windowTable lists, for each output element and each tap, the flat place in the spatial axes of the input,
// or -1 outside.
func (c *context) windowTable(op ir.Pool, spatial ir.Shape) (table []int64, out ir.Shape, taps int) {
	types, err := op.Infer([]ir.Type{{DType: ir.F32, Shape: slices.Concat(ir.Shape{1}, spatial, ir.Shape{1})}})
	if err != nil {
		c.err = err
		return
	}
	n := len(spatial)
	out, taps = types[0].Shape[1:n+1], ir.Shape(op.Kernel).Elems()
	if !c.spend(float64(out.Elems()) * float64(taps)) {
		return
	}
	for o := range out.Elems() {
		for t := range taps {
			at, st, ro, rt, outside := 0, 1, o, t, false
			for i := n - 1; i >= 0; i-- {
				p := ro%out[i]*op.Strides[i] + rt%op.Kernel[i]*op.Dilations[i] - op.Pads[i]
				ro, rt = ro/out[i], rt/op.Kernel[i]
				outside = outside || p < 0 || p >= spatial[i]
				at += p * st
				st *= spatial[i]
			}
			if outside {
				at = -1
			}
			table = append(table, int64(at))
		}
	}
	return
}

// maxPoolPlaces converts MaxPool of integers, or with its second output: windows are laid out in rows, with
// the least number outside, and the greatest is found with its place, counted over the whole input.
func (c *context) maxPoolPlaces(op ir.Pool, x *ir.Value) []*ir.Value {
	s := x.Type.Shape
	spatial := s[2:]
	table, out, taps := c.windowTable(op, spatial)
	if c.err != nil {
		return nil
	}
	size := spatial.Elems()
	flat := c.reshape(x, s[0], s[1], size)
	least := ir.Pad{Pads: []int{0, 0, 0, 0, 0, 1}, Value: -inf}
	if !x.Type.DType.Float() {
		least.Int = ir.Saturate(float64(-inf), x.Type.DType)
	}
	places := make([]int64, len(table))
	columns := c.attrInt("storage_order", 0) != 0
	for i, at := range table {
		if places[i] = at; at < 0 {
			table[i] = int64(size)
		} else if columns {
			places[i] = columnMajor(at, spatial)
		}
	}
	count := out.Elems()
	rows := c.reshape(c.pick(c.add(least, flat), 2, table), s[0]*s[1], count, taps)
	to := slices.Concat(s[:2], out)
	y := c.reshape(c.add(ir.Reduce{Fn: "max", Axes: []int{2}}, rows), to...)
	if len(c.Outputs) < 2 {
		return []*ir.Value{y}
	}
	best := c.add(ir.Arg{Fn: "max", Axis: 2}, rows) // [planes, count, 1]
	wide := c.add(ir.Expand{Shape: []int{s[0] * s[1], count, taps}}, c.reshape(c.constantOf(ir.Ints(places, len(places))), 1, count, taps))
	idx := c.reshape(c.add(ir.GatherElements{Axis: 2}, wide, best), s[0]*s[1], count)
	plane := ir.Ints(make([]int64, s[0]*s[1]), s[0]*s[1], 1)
	for i := range plane.I {
		plane.I[i] = int64(i * size)
	}
	return []*ir.Value{y, c.reshape(c.binary("add", idx, c.constantOf(plane)), to...)}
}

// columnMajor counts a place, given with the last axis first, with the first axis first.
func columnMajor(at int64, s ir.Shape) int64 {
	place, step := int64(0), int64(s.Elems())
	for i := len(s) - 1; i >= 0; i-- {
		step /= int64(s[i])
		place += at % int64(s[i]) * step
		at /= int64(s[i])
	}
	return place
}

// maxUnpool converts MaxUnpool (version 11): each element goes back to its place, zeros elsewhere.
func maxUnpool(c *context) []*ir.Value {
	x, idx := c.input(0), c.input(1)
	s := x.Type.Shape
	n := len(s) - 2
	if n < 1 {
		c.fail("input %v has no spatial axis", s)
		return nil
	}
	w := c.window(nil, s[2:])
	if c.err != nil {
		return nil
	}
	full := slices.Clone(s)
	for i := range n {
		full[i+2] = (s[i+2]-1)*w.strides[i] - w.pads[i] - w.pads[n+i] + w.kernel[i]
	}
	if c.err = full.Check(); c.err != nil || !c.spend(float64(full.Elems())) {
		return nil
	}
	zeros := c.constantOf(ir.NewTensor(ir.Type{DType: x.Type.DType, Shape: ir.Shape{full.Elems()}}))
	y := c.reshape(c.add(ir.ScatterElements{}, zeros, c.reshape(idx, s.Elems()), c.reshape(x, s.Elems())), full...)
	to := []int(c.declared(0))
	if v := c.optional(2); v == nil {
		return []*ir.Value{y}
	} else if v.Const != nil || to == nil {
		to = c.ints(2, "", nil)
	}
	pads := make([]int, 2*len(s))
	for a := range s {
		if c.err != nil || len(to) != len(s) || to[a] < full[a] {
			c.fail("output_shape %v, the elements need %v", to, full)
			return nil
		}
		pads[len(s)+a] = to[a] - full[a]
	}
	return []*ir.Value{c.add(ir.Pad{Pads: pads}, y)}
}

// col2im converts Col2Im (version 18): blocks are added where they lie in the picture.
func col2im(c *context) []*ir.Value {
	x := c.input(0)
	image, block := c.ints(1, "", nil), c.ints(2, "", nil)
	n := len(image)
	ones := slices.Repeat([]int{1}, n)
	op := ir.Pool{Fn: "max", Kernel: block, Strides: c.attrInts("strides", ones), Dilations: c.attrInts("dilations", ones),
		Pads: c.attrInts("pads", make([]int, 2*n))}
	s := x.Type.Shape
	if c.err != nil || len(s) != 3 || len(block) != n {
		c.fail("input %v, picture %v, block %v", s, image, block)
		return nil
	}
	table, out, taps := c.windowTable(op, image)
	size := ir.Shape(image).Elems()
	if c.err != nil {
		return nil
	}
	if s[1]%taps != 0 || s[2] != out.Elems() {
		c.fail("input %v, picture %v, block %v", s, image, block)
		return nil
	}
	ch := s[1] / taps
	idx := make([]int64, len(table)) // [taps, out], what lies outside in a place that is cut off
	for o := range s[2] {
		for t := range taps {
			if idx[t*s[2]+o] = table[o*taps+t]; idx[t*s[2]+o] < 0 {
				idx[t*s[2]+o] = int64(size)
			}
		}
	}
	rows := ir.Shape{s[0] * ch, taps * s[2]}
	where := c.add(ir.Expand{Shape: rows}, c.reshape(c.constantOf(ir.Ints(idx, len(idx))), 1, len(idx)))
	if !c.spend(float64(s[0]*ch) * float64(size+1)) {
		return nil
	}
	zeros := c.constantOf(ir.NewTensor(ir.Of(x.Type.DType, s[0]*ch, size+1)))
	y := c.add(ir.ScatterElements{Axis: 1, Fn: "add"}, zeros, where, c.reshape(x, rows...))
	return []*ir.Value{c.reshape(c.cut(y, 1, 0, size), slices.Concat([]int{s[0], ch}, image)...)}
}
