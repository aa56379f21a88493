package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// The operators of this file are formulas over core ones, as their definitions in the ONNX
// specification give them.

func (c *context) unary(fn string, x *ir.Value) *ir.Value     { return c.add(ir.Unary{Fn: fn}, x) }
func (c *context) binary(fn string, a, b *ir.Value) *ir.Value { return c.add(ir.Binary{Fn: fn}, a, b) }

var inf = float32(math.Inf(1))

func (c *context) positive(x *ir.Value) *ir.Value { return c.add(ir.Relu(), x) }

func (c *context) negative(x *ir.Value) *ir.Value {
	return c.add(ir.Unary{Fn: "clip", P: [2]float32{float32(math.Inf(-1)), 0}}, x)
}

// prelu is max(x, 0) + slope·min(x, 0) (version 16). The slope broadcasts to x; a vector that does not
// is one slope for each channel, as a vector always is before version 7.
func prelu(c *context) []*ir.Value {
	x, slope := c.input(0), c.input(1)
	xs, ss := x.Type.Shape, slope.Type.Shape
	_, err := ir.Broadcast(xs, ss)
	if (err != nil || c.opset < 7) && len(xs) > 2 && len(ss) == 1 && ss[0] == xs[1] {
		slope = c.reshape(slope, slices.Concat([]int{ss[0]}, slices.Repeat([]int{1}, len(xs)-2))...)
	}
	if k := slope.Const; k != nil && k.Shape.Elems() == 1 && k.DType == ir.F32 && len(k.Shape) <= len(xs) {
		return []*ir.Value{c.add(ir.Unary{Fn: "leakyrelu", P: [2]float32{k.F[0]}}, x)}
	}
	return []*ir.Value{c.binary("add", c.positive(x), c.binary("mul", c.negative(x), slope))}
}

// selu is γ·elu(x, α) (version 6).
func selu(c *context) []*ir.Value {
	alpha, gamma := c.attrFloat("alpha", 1.67326319217681884765625), c.attrFloat("gamma", 1.05070102214813232421875)
	y := c.add(ir.Unary{Fn: "elu", P: [2]float32{alpha}}, c.input(0))
	return []*ir.Value{c.binary("mul", y, c.number(gamma))}
}

// softplus is log(1 + exp(x)) (version 1).
func softplus(c *context) []*ir.Value { return []*ir.Value{c.unary("softplus", c.input(0))} }

// mish is x·tanh(softplus(x)) (version 18).
func mish(c *context) []*ir.Value { return []*ir.Value{c.unary("mish", c.input(0))} }

// softsign is x/(1 + |x|) (version 1).
func softsign(c *context) []*ir.Value {
	x := c.input(0)
	return []*ir.Value{c.binary("div", x, c.binary("add", c.unary("abs", x), c.number(1)))}
}

// gelu is x·Φ(x) (version 20), exact or by its tanh approximation.
func gelu(c *context) []*ir.Value {
	fn, ok := map[string]string{"none": "gelu", "tanh": "gelutanh"}[c.attrStr("approximate", "none")]
	if !ok {
		c.unsupported("approximate %q", c.attrStr("approximate", "none"))
		return nil
	}
	return []*ir.Value{c.unary(fn, c.input(0))}
}

// pow converts Pow (version 15). A whole constant exponent up to 16 is a chain of products, other
// exponents and those of each element are IEEE's pow. The result is of x's type.
func pow(c *context) []*ir.Value {
	x, y := c.input(0), c.input(1)
	if c.err != nil {
		return nil
	}
	y = c.legacy(x, y)
	if t := y.Const; t != nil && t.Shape.Elems() == 1 && x.Type.DType == ir.F32 {
		e := c.scalar(1, "", 0)
		if short := e == 0.5 || e == float32(math.Trunc(float64(e))) && e >= -16 && e <= 16; short {
			z := c.power(x, e)
			if to, err := ir.Broadcast(x.Type.Shape, t.Shape); err == nil && len(to) > len(x.Type.Shape) {
				z = c.reshape(z, to...)
			}
			return []*ir.Value{z}
		}
	}
	to := x.Type.DType
	if to != y.Type.DType { // of an integer and a float, the floats' power
		if to.Float() || y.Type.DType.Float() {
			x, y = c.cast(x, ir.F32), c.cast(y, ir.F32)
		} else {
			y = c.cast(y, to)
		}
	}
	return []*ir.Value{c.cast(c.each("pow", x, y), to)}
}

// power is x^e: whole exponents by squaring, exact for every sign of x, others through the logarithm.
func (c *context) power(x *ir.Value, e float32) *ir.Value {
	const whole = 1 << 24 // beyond it f32 counts in steps of two and more
	switch {
	case c.err != nil:
		return x
	case e == 0:
		return c.add(ir.Expand{Shape: x.Type.Shape}, c.number(1))
	case e == 0.5:
		return c.unary("sqrt", x)
	case e > whole || e < -whole || e != float32(math.Trunc(float64(e))):
		return c.unary("exp", c.binary("mul", c.unary("log", x), c.number(e)))
	case e < 0:
		return c.binary("div", c.number(1), c.power(x, -e))
	}
	var y *ir.Value
	for n := int(e); ; {
		if n%2 == 1 {
			if y == nil {
				y = x
			} else {
				y = c.binary("mul", y, x)
			}
		}
		if n /= 2; n == 0 {
			return y
		}
		x = c.binary("mul", x, x)
	}
}

// logSoftmax converts LogSoftmax: x - max - log Σ exp(x - max), over one axis from version 13 on and
// over all axes from the given one before it.
func logSoftmax(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	var axes []int
	if c.opset < 13 {
		for a := c.split(c.attrInt("axis", 1), len(s)); a < len(s); a++ {
			axes = append(axes, a)
		}
	} else {
		axes = []int{c.axis(c.attrInt("axis", -1), len(s))}
	}
	d := c.binary("sub", x, c.add(ir.Reduce{Fn: "max", Axes: axes}, x))
	sum := c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.unary("exp", d))
	return []*ir.Value{c.binary("sub", d, c.unary("log", sum))}
}

// mean converts Mean (version 13) of any number of inputs.
func mean(c *context) []*ir.Value {
	sum := binary("add")(c)
	return []*ir.Value{c.binary("mul", sum[0], c.number(1/float32(max(len(c.in), 1))))}
}
