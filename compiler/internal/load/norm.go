package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// standardize returns (x - mean)/√(variance + ε) over axes.
func (c *context) standardize(x *ir.Value, axes []int, eps float32) *ir.Value {
	d := c.binary("sub", x, c.add(ir.Reduce{Fn: "mean", Axes: axes}, x))
	variance := c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", d, d))
	return c.binary("div", d, c.unary("sqrt", c.binary("add", variance, c.number(eps))))
}

// instanceNorm converts InstanceNormalization (version 6): each channel of each picture on its own.
func instanceNorm(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	if len(s) < 3 {
		c.fail("input %v has no spatial axis", s)
		return nil
	}
	var axes []int
	for i := 2; i < len(s); i++ {
		axes = append(axes, i)
	}
	dims := slices.Concat([]int{s[1]}, slices.Repeat([]int{1}, len(s)-2))
	scale, bias := c.reshape(c.input(1), dims...), c.reshape(c.input(2), dims...)
	y := c.standardize(x, axes, c.attrFloat("epsilon", 1e-5))
	return []*ir.Value{c.binary("add", c.binary("mul", y, scale), bias)}
}

// layerNorm converts LayerNormalization (version 17), with the mean and the reciprocal of the deviation.
func layerNorm(c *context) []*ir.Value {
	x := c.input(0)
	var axes []int
	for a := c.axis(c.attrInt("axis", -1), len(x.Type.Shape)); a < len(x.Type.Shape); a++ {
		axes = append(axes, a)
	}
	mean := c.add(ir.Reduce{Fn: "mean", Axes: axes}, x)
	d := c.binary("sub", x, mean)
	variance := c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", d, d))
	dev := c.unary("sqrt", c.binary("add", variance, c.number(c.attrFloat("epsilon", 1e-5))))
	y := c.binary("mul", c.binary("div", d, dev), c.input(1))
	if bias := c.optional(2); bias != nil {
		y = c.binary("add", y, bias)
	}
	if len(c.Outputs) < 2 {
		return []*ir.Value{y}
	}
	return []*ir.Value{y, mean, c.binary("div", c.number(1), dev)}
}

// lrn converts LRN (version 13): x / (bias + α/size·Σ x²)^β over size channels around each.
func lrn(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	size := c.attrInt("size", 0)
	if len(s) < 2 || size < 1 || size > 64 {
		c.fail("size %d over input %v", size, s)
		return nil
	}
	// The squares, with zeros around the channels, shifted and added.
	pads := make([]int, 2*len(s))
	pads[1], pads[len(s)+1] = (size-1)/2, size-1-(size-1)/2
	padded := c.add(ir.Pad{Pads: pads}, c.binary("mul", x, x))
	var sum *ir.Value
	for i := range size {
		op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
		op.Start[1] = i
		if v := c.add(op, padded); sum == nil {
			sum = v
		} else {
			sum = c.binary("add", sum, v)
		}
	}
	sum = c.binary("mul", sum, c.number(c.attrFloat("alpha", 1e-4)/float32(size)))
	sum = c.binary("add", sum, c.number(c.attrFloat("bias", 1)))
	return []*ir.Value{c.binary("div", x, c.power(sum, c.attrFloat("beta", 0.75)))}
}

// reduceOf converts the reductions that are a formula around a core one.
func reduceOf(before func(*context, *ir.Value) *ir.Value, fn string, after func(*context, *ir.Value) *ir.Value) converter {
	core := reduce(fn)
	return func(c *context) []*ir.Value {
		if x := c.input(0); before != nil && c.err == nil {
			c.in = slices.Clone(c.in)
			c.in[0] = before(c, x)
		}
		y := core(c)
		if after != nil && c.err == nil {
			y[0] = after(c, y[0])
		}
		return y
	}
}

func square(c *context, x *ir.Value) *ir.Value { return c.binary("mul", x, x) }

func apply(fn string) func(*context, *ir.Value) *ir.Value {
	return func(c *context, x *ir.Value) *ir.Value {
		t := x.Type.DType
		if intUnary[fn] && !t.Float() {
			return c.each(fn, x)
		}
		return c.cast(c.unary(fn, c.cast(x, ir.F32)), t)
	}
}
