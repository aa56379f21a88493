package load

import (
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// toFloat8 rounds x to the values that a float of 8 bits or 4 has, halves to even, and keeps it as f32
// (Cast version 25). Steps between values are powers of two, one for each exponent, so that every
// operation is exact. What is beyond the greatest value becomes it, or Inf or NaN where saturate is 0.
func (c *context) toFloat8(x *ir.Value, t onnx.DType, f onnx.Float8) *ir.Value {
	if c.err != nil {
		return x
	}
	size := c.unary("abs", x)
	least := 1 - f.Bias // the exponent of the smallest normal value, and of all below it
	step := c.number(float32(math.Ldexp(1, least-f.Mantissa)))
	for e := least + 1; math.Ldexp(1, e) <= float64(f.Max); e++ {
		step = c.each("where", c.each("le", c.number(float32(math.Ldexp(1, e))), size), c.number(float32(math.Ldexp(1, e-f.Mantissa))), step)
	}
	y := c.binary("mul", c.unary("round", c.binary("div", x, step)), step)
	top := c.number(f.Max)
	bottom := c.number(-f.Max)
	if c.attrInt("saturate", 1) != 0 || !f.NaN {
		y = c.binary("max", c.binary("min", y, top), bottom)
	} else {
		beyond := float32(math.NaN())
		if f.Inf {
			beyond = float32(math.Inf(1))
		}
		y = c.each("where", c.each("lt", top, y), c.number(beyond), y)
		y = c.each("where", c.each("lt", y, bottom), c.number(-beyond), y)
	}
	if !f.NaN {
		y = c.each("where", c.each("isnan", x), c.number(0), y)
	}
	c.note(y, t)
	return y
}
