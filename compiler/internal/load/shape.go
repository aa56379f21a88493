package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

func identity(c *context) []*ir.Value { return []*ir.Value{c.input(0)} }

// dropout converts Dropout (version 13): nothing is dropped in inference, and the mask says so.
func dropout(c *context) []*ir.Value {
	x := c.input(0)
	if t := c.constant(2); c.err == nil && t != nil && t.Shape.Elems() > 0 && !t.DType.Float() && t.I[0] != 0 {
		if ratio := c.constant(1); c.err == nil && (ratio == nil || !slices.Equal(ratio.F, []float32{0})) {
			c.unsupported("training mode")
		}
	}
	if c.err != nil {
		return nil
	}
	if len(c.Outputs) < 2 || !c.spend(float64(x.Type.Shape.Elems())) {
		return []*ir.Value{x}
	}
	mask := ir.NewTensor(ir.Type{DType: ir.Bool, Shape: x.Type.Shape})
	for i := range mask.I {
		mask.I[i] = 1
	}
	return []*ir.Value{x, ir.ConstValue(c.name+".mask", mask)}
}

// flatten converts Flatten (versions 1 to 13) to a matrix.
func flatten(c *context) []*ir.Value {
	s := c.shape(0)
	axis := c.split(c.attrInt("axis", 1), len(s))
	if c.err != nil {
		return nil
	}
	return []*ir.Value{c.reshape(c.input(0), s[:axis].Elems(), s[axis:].Elems())}
}

// reshape converts Reshape (versions 5 to 14): 0 keeps an extent unless allowzero, -1 takes the rest.
func reshape(c *context) []*ir.Value {
	x := c.input(0)
	if v := c.optional(1); v != nil && v.Const == nil && c.declared(0) != nil {
		return []*ir.Value{c.reshape(x, c.declared(0)...)}
	}
	to := slices.Clone(c.ints(1, "shape", nil))
	if c.err == nil && c.optional(1) == nil && c.Attr("shape") == nil {
		c.fail("input 1, the shape, is missing")
	}
	rest, known := -1, 1
	for i, d := range to {
		switch {
		case d == 0 && c.attrInt("allowzero", 0) == 0:
			if i >= len(x.Type.Shape) {
				c.fail("shape %v keeps axis %d of %v", to, i, x.Type.Shape)
				return nil
			}
			to[i] = x.Type.Shape[i]
			known *= to[i]
		case d == -1 && rest < 0:
			rest = i
		case d < 0 || d > ir.MaxElems:
			c.fail("shape %v: %d on axis %d", to, d, i)
			return nil
		default:
			known *= d
		}
		if known > ir.MaxElems || known < 0 {
			c.fail("shape %v is more than a 32-bit memory holds", to)
			return nil
		}
	}
	if rest >= 0 {
		if known == 0 || x.Type.Shape.Elems()%known != 0 {
			c.fail("%d elements of %v do not fill shape %v", x.Type.Shape.Elems(), x.Type.Shape, to)
			return nil
		}
		to[rest] = x.Type.Shape.Elems() / known
	}
	return []*ir.Value{c.reshape(x, to...)}
}

// squeeze converts Squeeze (versions 1 to 13): axes as an attribute, then as an input.
func squeeze(c *context) []*ir.Value {
	s := c.shape(0)
	if v := c.optional(1); v != nil && v.Const == nil && c.declared(0) != nil {
		return []*ir.Value{c.reshape(c.input(0), c.declared(0)...)}
	}
	axes := c.axes(c.ints(1, "axes", nil), len(s))
	if len(axes) == 0 {
		for i, d := range s {
			if d == 1 {
				axes = append(axes, i)
			}
		}
	}
	for _, a := range axes {
		if c.err == nil && s[a] != 1 {
			c.fail("axis %d of %v has extent %d, not 1", a, s, s[a])
		}
	}
	if c.err != nil {
		return nil
	}
	return []*ir.Value{c.reshape(c.input(0), without(s, axes)...)}
}

// unsqueeze converts Unsqueeze (versions 1 to 13): axes as an attribute, then as an input.
func unsqueeze(c *context) []*ir.Value {
	s := c.shape(0)
	if v := c.optional(1); v != nil && v.Const == nil && c.declared(0) != nil {
		return []*ir.Value{c.reshape(c.input(0), c.declared(0)...)}
	}
	given := c.ints(1, "axes", nil)
	axes := c.axes(given, len(s)+len(given))
	to := slices.Clone(s)
	for _, a := range axes {
		if c.err != nil {
			return nil
		}
		to = slices.Insert(to, a, 1)
	}
	return []*ir.Value{c.reshape(c.input(0), to...)}
}

func transpose(c *context) []*ir.Value {
	rank := len(c.shape(0))
	var reverse []int
	for i := range rank {
		reverse = append(reverse, rank-1-i)
	}
	return []*ir.Value{c.transpose(c.input(0), c.attrInts("perm", reverse)...)}
}

func concat(c *context) []*ir.Value {
	var in []*ir.Value
	for i := range c.in {
		in = append(in, c.input(i))
	}
	return []*ir.Value{c.add(ir.Concat{Axis: c.axis(c.attrInt("axis", 1), len(c.shape(0)))}, in...)}
}

// slice converts Slice (versions 1 to 13), with bounds clamped as the specification says.
func slice(c *context) []*ir.Value {
	s := c.shape(0)
	starts, ends := c.ints(1, "starts", nil), c.ints(2, "ends", nil)
	axes := c.ints(3, "axes", nil)
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	steps := c.ints(4, "", slices.Repeat([]int{1}, len(starts)))
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		c.fail("starts %v, ends %v, axes %v, steps %v differ in length", starts, ends, axes, steps)
		return nil
	}
	op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
	for i, a := range axes {
		a = c.axis(a, len(s))
		if c.err != nil {
			return nil
		}
		if steps[i] == 0 {
			c.fail("step 0 on axis %d", a)
			return nil
		}
		op.Start[a], op.Count[a] = bounds(starts[i], ends[i], steps[i], s[a])
		op.Step[a] = steps[i]
	}
	return []*ir.Value{c.add(op, c.input(0))}
}

// bounds resolves one axis of a slice over n elements to its first element and their count. Going
// backwards, the start is clamped to the last element and the end to the place before the first.
func bounds(start, end, step, n int) (first, count int) {
	within := func(v, lo, hi int) int {
		if v < 0 {
			v += n
		}
		return max(min(v, hi), lo)
	}
	if step > 0 {
		start, end = within(start, 0, n), within(end, 0, n)
		return start, (max(end-start, 0) + step - 1) / step
	}
	start, end = within(start, 0, n-1), within(end, -1, n-1)
	return start, (max(start-end, 0) - step - 1) / -step
}

// split converts Split (versions 1 to 18) to one slice for each output.
func split(c *context) []*ir.Value {
	s := c.shape(0)
	axis := c.axis(c.attrInt("axis", 0), len(s))
	sizes := c.ints(1, "split", nil)
	if c.err != nil {
		return nil
	}
	if sizes == nil {
		parts := c.attrInt("num_outputs", len(c.Outputs))
		if parts < 1 || parts != len(c.Outputs) {
			c.fail("num_outputs is %d, the node has %d", parts, len(c.Outputs))
			return nil
		}
		each := (s[axis] + parts - 1) / parts
		for left := s[axis]; len(sizes) < parts; left -= each {
			sizes = append(sizes, min(each, max(left, 0)))
		}
	}
	var out []*ir.Value
	at := 0
	for _, n := range sizes {
		op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
		op.Start[axis], op.Count[axis] = at, n
		out = append(out, c.add(op, c.input(0)))
		at += n
	}
	if at != s[axis] {
		c.fail("parts %v do not add up to axis %d of %v", sizes, axis, s)
	}
	return out
}

// pad converts Pad (versions 2 to 19).
func pad(c *context) []*ir.Value {
	s := c.shape(0)
	mode := c.attrStr("mode", "constant")
	if mode != "constant" && padModes[mode] == nil {
		c.unsupported("mode %q", mode)
	}
	given := c.ints(1, "pads", nil)
	axes := c.ints(3, "", nil)
	if axes == nil {
		for i := range s {
			axes = append(axes, i)
		}
	}
	if len(given) != 2*len(axes) {
		c.fail("pads %v do not fit %d axes", given, len(axes))
		return nil
	}
	pads := make([]int, 2*len(s))
	op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
	for i, a := range axes {
		a = c.axis(a, len(s))
		if c.err != nil {
			return nil
		}
		before, after := given[i], given[len(axes)+i]
		pads[a], pads[len(s)+a] = max(before, 0), max(after, 0)
		op.Start[a] = max(-before, 0)
		op.Count[a] = s[a] - max(-before, 0) - max(-after, 0)
	}
	x := c.input(0)
	if !slices.Equal(op.Count, s) { // a negative pad crops
		x = c.add(op, x)
	}
	if repeat := padModes[mode]; repeat != nil {
		return []*ir.Value{c.padMode(x, pads, repeat)}
	}
	fill := c.optional(2)
	if fill != nil && fill.Const == nil {
		return []*ir.Value{c.padWith(x, pads, fill)}
	}
	pad := ir.Pad{Pads: pads, Value: c.scalar(2, "value", 0)}
	if !x.Type.DType.Float() && fill != nil && len(fill.Const.I) == 1 {
		pad.Int = fill.Const.I[0]
	}
	return []*ir.Value{c.add(pad, x)}
}

// padWith surrounds x with a value that is computed while the model runs: a mask chooses.
func (c *context) padWith(x *ir.Value, pads []int, fill *ir.Value) *ir.Value {
	if c.err != nil || !c.spend(float64(x.Type.Shape.Elems())) {
		return x
	}
	mask := ir.NewTensor(ir.Type{DType: ir.Bool, Shape: x.Type.Shape})
	for i := range mask.I {
		mask.I[i] = 1
	}
	inside := c.add(ir.Pad{Pads: pads}, c.constantOf(mask))
	return c.each("where", inside, c.add(ir.Pad{Pads: pads}, x), c.reshape(fill))
}

func gather(c *context) []*ir.Value {
	x, idx := c.input(0), c.input(1)
	axis := c.axis(c.attrInt("axis", 0), len(x.Type.Shape))
	if c.err != nil {
		return nil
	}
	if idx.Const == nil {
		return []*ir.Value{c.add(ir.Gather{Axis: axis}, x, idx)}
	}
	n := int64(x.Type.Shape[axis])
	for _, k := range idx.Const.I {
		if k < -n || k >= n {
			c.fail("index %d is outside axis %d of %v", k, axis, x.Type.Shape)
			return nil
		}
	}
	return []*ir.Value{c.add(ir.Gather{Axis: axis}, x, idx)}
}

// constant converts Constant (versions 1 to 13).
func constant(c *context) []*ir.Value {
	for _, a := range c.Attrs {
		switch a.Name {
		case "value":
			if a.T == nil {
				break
			}
			t, err := Tensor(a.T)
			if err != nil {
				c.err = err
				return nil
			}
			return []*ir.Value{ir.ConstValue(c.name, t)}
		case "value_float":
			return []*ir.Value{c.number(a.F)}
		case "value_floats":
			return []*ir.Value{c.floats(a.Floats, len(a.Floats))}
		case "value_int":
			return []*ir.Value{ir.ConstValue(c.name, ir.Ints([]int64{a.I}))}
		case "value_ints":
			return []*ir.Value{ir.ConstValue(c.name, ir.Ints(a.Ints, len(a.Ints)))}
		}
	}
	c.unsupported("a constant that is no tensor of numbers")
	return nil
}

// constantOfShape converts ConstantOfShape (version 9).
func constantOfShape(c *context) []*ir.Value {
	shape := c.ints(0, "", nil)
	fill := ir.Floats([]float32{0}, 1)
	if a := c.Attr("value"); a != nil && a.T != nil {
		t, err := Tensor(a.T)
		if err != nil || t.Shape.Elems() != 1 {
			c.fail("value is no single number")
			return nil
		}
		fill = t
	}
	for _, d := range shape {
		if d < 0 {
			c.fail("shape %v", shape)
		}
	}
	if c.err == nil {
		c.err = ir.Shape(shape).Check()
	}
	if c.err != nil || !c.spend(float64(ir.Shape(shape).Elems())) {
		return nil
	}
	c.budget += madeWork * float64(ir.Shape(shape).Elems())
	t := ir.NewTensor(ir.Type{DType: fill.DType, Shape: shape})
	for i := range t.F {
		t.F[i] = fill.F[0]
	}
	for i := range t.I {
		t.I[i] = fill.I[0]
	}
	return []*ir.Value{ir.ConstValue(c.name, t)}
}

// shapeOf converts Shape (versions 1 to 19); shapes are known, so it is a constant.
func shapeOf(c *context) []*ir.Value {
	s := c.shape(0)
	clamp := func(v int) int {
		if v < 0 {
			v += len(s)
		}
		return min(max(v, 0), len(s))
	}
	from, to := clamp(c.attrInt("start", 0)), clamp(c.attrInt("end", len(s)))
	var dims []int64
	for _, d := range s[from:max(from, to)] {
		dims = append(dims, int64(d))
	}
	return []*ir.Value{ir.ConstValue(c.name, ir.Ints(dims, len(dims)))}
}

func cast(c *context) []*ir.Value {
	to, err := castType(c.attrInt("to", 0))
	if err != nil {
		c.err = err
		return nil
	}
	t := onnx.DType(c.attrInt("to", 0))
	if _, small := t.Float8(); small || t.Bits() < 8 {
		return []*ir.Value{c.toNarrow(c.input(0), t)}
	}
	return []*ir.Value{c.cast(c.input(0), to)}
}
