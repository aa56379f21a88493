package load

import (
	"maps"
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// Quantised models are loaded as what they mean: integers are dequantised, floats are computed, the
// result is quantised. A pass finds what integers can compute.

// quantConverters are the operators of quantised models.
var quantConverters = map[string]converter{
	"QuantizeLinear": quantizeLinear, "DequantizeLinear": dequantizeLinear,
	"QLinearConv": qLinearConv, "QLinearMatMul": qLinearMatMul,

	"com.microsoft.QuantizeLinear": quantizeLinear, "com.microsoft.DequantizeLinear": dequantizeLinear,
	"com.microsoft.QLinearAdd": qLinearBinary("add"), "com.microsoft.QLinearMul": qLinearBinary("mul"),
	"com.microsoft.QLinearSigmoid":           qLinearUnary(unary("sigmoid")),
	"com.microsoft.QLinearLeakyRelu":         qLinearUnary(unary("leakyrelu", param{"alpha", 0.01})),
	"com.microsoft.QLinearGlobalAveragePool": qLinearGlobalAveragePool, "com.microsoft.QLinearConcat": qLinearConcat,
	"com.microsoft.QGemm": qGemm,
}

// This file's name is behind that of the table, whose init has then run.
func init() { maps.Copy(converters, quantConverters) }

// keepSteps hands on the steps of v, of which y is the transpose.
func keepSteps(v, y *ir.Value, perm []int) {
	if v.Steps != nil && y.Const != nil {
		y.Steps, y.StepAxis = v.Steps, slices.Index(perm, v.StepAxis)
	}
}

// limits are the least and the greatest value of an integer type, and the type of results.
func limits(t onnx.DType) (lo, hi int, to ir.DType, ok bool) {
	switch t {
	case onnx.I8:
		return math.MinInt8, math.MaxInt8, ir.I8, true
	case onnx.U8:
		return 0, math.MaxUint8, ir.U8, true
	case onnx.I16:
		return math.MinInt16, math.MaxInt16, ir.I16, true
	case onnx.U16:
		return 0, math.MaxUint16, ir.U16, true
	case onnx.I4:
		return -8, 7, ir.I8, true
	case onnx.U4:
		return 0, 15, ir.U8, true
	case onnx.I2:
		return -2, 1, ir.I8, true
	case onnx.U2:
		return 0, 3, ir.U8, true
	}
	return 0, 0, 0, false
}

// onnxOf is the type of the model for the types of integers that quantised values have.
func onnxOf(t ir.DType) onnx.DType {
	return map[ir.DType]onnx.DType{ir.I8: onnx.I8, ir.U8: onnx.U8, ir.I16: onnx.I16, ir.U16: onnx.U16, ir.I32: onnx.I32}[t]
}

// grid is how a value is quantised: the inputs that say so, and where they apply.
type grid struct {
	scale, zero *ir.Value // zero is nil for 0
	axis, block int
}

// grid reads scale and zero point from inputs i and i+1.
func (c *context) grid(i int) grid {
	g := grid{scale: c.input(i), zero: c.optional(i + 1), axis: c.attrInt("axis", 1), block: c.attrInt("block_size", 0)}
	if !g.scale.Type.DType.Float() {
		c.fail("the scale is %v", g.scale.Type)
	}
	return g
}

// single returns the scale and the zero point of a whole tensor that are known now.
func (g grid) single() (float32, int, bool) {
	if g.scale.Const == nil || g.scale.Type.Shape.Elems() != 1 || !(g.scale.Const.F[0] > 0) || math.IsInf(float64(g.scale.Const.F[0]), 0) {
		return 0, 0, false
	}
	if g.zero == nil {
		return g.scale.Const.F[0], 0, true
	}
	if g.zero.Const == nil || g.zero.Type.Shape.Elems() != 1 || g.zero.Type.DType.Float() {
		return 0, 0, false
	}
	return g.scale.Const.F[0], int(g.zero.Const.I[0]), true
}

// spreadOver gives one of the inputs of a grid the shape that broadcasts to x.
func (c *context) spreadOver(v *ir.Value, g grid, x ir.Shape) *ir.Value {
	s := v.Type.Shape
	switch {
	case c.err != nil || s.Elems() == 1:
		return c.reshape(v, slices.Repeat([]int{1}, len(x))...)
	case g.block > 0: // one value for each block of elements along the axis
		axis := c.axis(g.axis, len(x))
		if c.err != nil || len(s) != len(x) || s[axis] != (x[axis]+g.block-1)/g.block {
			c.fail("scales %v do not fit blocks of %d along axis %d of %v", s, g.block, axis, x)
			return v
		}
		if !c.spend(float64(x[axis])) {
			return v
		}
		at := make([]int64, x[axis])
		for i := range at {
			at[i] = int64(i / g.block)
		}
		return c.add(ir.Gather{Axis: axis}, v, ir.ConstValue(c.name+".const", ir.Ints(at, len(at))))
	case len(s) == 1:
		axis := c.axis(g.axis, len(x))
		if c.err == nil && s[0] != x[axis] {
			c.fail("%d scales for axis %d of %v", s[0], axis, x)
		}
		if c.err != nil {
			return v
		}
		dims := slices.Repeat([]int{1}, len(x))
		dims[axis] = s[0]
		return c.reshape(v, dims...)
	}
	return v
}

// quantize makes integers of x, of the type t.
func (c *context) quantize(x *ir.Value, g grid, t onnx.DType) *ir.Value {
	lo, hi, to, ok := limits(t)
	if c.err != nil {
		return x
	}
	if f, small := t.Float8(); small { // its zero point is 0
		return c.toFloat8(c.binary("div", x, c.spreadOver(g.scale, g, x.Type.Shape)), t, f)
	}
	if !ok {
		c.unsupported("quantised values of type %v", t)
		return x
	}
	scale, zero, single := g.single()
	if single && (to == ir.U8 || to == ir.I8) {
		return c.add(ir.Quantize{Scale: scale, Zero: zero, Lo: lo, Hi: hi, To: to}, x)
	}
	y := c.unary("round", c.binary("div", x, c.spreadOver(g.scale, g, x.Type.Shape)))
	if g.zero != nil {
		y = c.binary("add", y, c.float(c.spreadOver(g.zero, g, x.Type.Shape)))
	}
	y = c.add(ir.Unary{Fn: "clip", P: [2]float32{float32(lo), float32(hi)}}, y)
	return c.add(ir.Cast{To: to}, y)
}

// dequantize makes floats of integers.
func (c *context) dequantize(q *ir.Value, g grid) *ir.Value {
	if c.err != nil {
		return q
	}
	if _, small := c.narrow[q].Float8(); q.Type.DType.Float() && small {
		return c.binary("mul", q, c.spreadOver(g.scale, g, q.Type.Shape))
	}
	if q.Type.DType.Float() {
		c.unsupported("a quantised value of %v", q.Type)
		return q
	}
	scale, zero, single := g.single()
	if single && (q.Const != nil || q.Type.DType == ir.U8 || q.Type.DType == ir.I8) {
		y := c.add(ir.Dequantize{Scale: scale, Zero: zero}, q)
		if q.Const != nil && c.err == nil {
			y.Steps = []float32{scale}
		}
		return y
	}
	x := q.Type.Shape
	y := c.float(q)
	if g.zero != nil {
		y = c.binary("sub", y, c.float(c.spreadOver(g.zero, g, x)))
	}
	y = c.binary("mul", y, c.spreadOver(g.scale, g, x))
	if c.err == nil && y.Const != nil && g.block == 0 && g.scale.Const != nil && len(g.scale.Type.Shape) == 1 {
		y.Steps = g.scale.Const.F
		if len(y.Steps) > 1 {
			y.StepAxis = c.axis(g.axis, len(x))
		}
	}
	return y
}

// target is the type of a quantised result: that of the zero point, or what output_dtype says, or u8.
func (c *context) target(zero *ir.Value) onnx.DType {
	if t, ok := c.narrow[zero]; ok {
		return t
	}
	if zero != nil {
		return onnxOf(zero.Type.DType)
	}
	if t := c.attrInt("output_dtype", 0); t != 0 {
		return onnx.DType(t)
	}
	return onnx.U8
}

// quantizeLinear converts QuantizeLinear (versions 10 to 25).
func quantizeLinear(c *context) []*ir.Value {
	g := c.grid(1)
	t := c.target(g.zero)
	y := c.quantize(c.float(c.input(0)), g, t)
	c.note(y, t)
	return []*ir.Value{y}
}

// toNarrow casts to integers of less than 8 bits: floats are cut to integers, of which the low bits stay.
func (c *context) toNarrow(x *ir.Value, t onnx.DType) *ir.Value {
	if f, ok := t.Float8(); ok {
		return c.toFloat8(c.float(x), t, f)
	}
	lo, hi, to, _ := limits(t)
	if c.err != nil {
		return x
	}
	x = c.cast(x, ir.I32)
	x = c.each("and", x, c.like(x, float64(hi-lo)))
	if lo < 0 { // the sign bit weighs -2ⁿ
		x = c.binary("sub", c.each("xor", x, c.like(x, float64(-lo))), c.like(x, float64(-lo)))
	}
	y := c.cast(x, to)
	c.note(y, t)
	return y
}

// dequantizeLinear converts DequantizeLinear (versions 10 to 25).
func dequantizeLinear(c *context) []*ir.Value {
	return []*ir.Value{c.dequantize(c.input(0), c.grid(1))}
}

// with converts as another operator would over these inputs.
func (c *context) with(convert converter, in ...*ir.Value) *ir.Value {
	if c.err != nil {
		return &ir.Value{Type: ir.Of(ir.F32)}
	}
	inner := *c
	inner.in = in
	y := convert(&inner)
	if c.err = inner.err; c.err != nil || len(y) == 0 {
		return &ir.Value{Type: ir.Of(ir.F32)}
	}
	return y[0]
}

// weights is the grid of constant weights whose scales, if there are several, are for an axis.
func (c *context) weights(i, axis int) grid {
	g := c.grid(i)
	g.axis, g.block = axis, 0
	return g
}

// whole is the grid of a whole tensor, from inputs i and i+1.
func (c *context) whole(i int) grid { return c.weights(i, 0) }

// qLinearConv converts QLinearConv (version 10).
func qLinearConv(c *context) []*ir.Value {
	xg, wg, yg := c.whole(1), c.weights(4, 0), c.whole(6)
	x, w := c.dequantize(c.input(0), xg), c.dequantize(c.input(3), wg)
	in := []*ir.Value{x, w}
	if b := c.optional(8); b != nil {
		in = append(in, c.dequantize(b, grid{scale: c.binary("mul", xg.scale, wg.scale)}))
	}
	return []*ir.Value{c.quantize(c.with(conv, in...), yg, c.target(yg.zero))}
}

// qLinearMatMul converts QLinearMatMul (versions 10 and 21).
func qLinearMatMul(c *context) []*ir.Value {
	b := c.input(3)
	ag, bg, yg := c.whole(1), c.weights(4, max(len(b.Type.Shape)-1, 0)), c.whole(6)
	if s := ag.scale.Type.Shape; len(s) == 1 && s[0] > 1 { // one for each row
		ag.axis = max(len(c.shape(0))-2, 0)
	}
	y := c.with(matmul, c.dequantize(c.input(0), ag), c.dequantize(b, bg))
	return []*ir.Value{c.quantize(y, yg, c.target(yg.zero))}
}

// qGemm converts com.microsoft.QGemm: α·A'·B' + C, quantised if the result has a scale.
func qGemm(c *context) []*ir.Value {
	ag, bAxis := c.whole(1), 1
	if c.attrInt("transB", 0) != 0 {
		bAxis = 0
	}
	bg := c.weights(4, bAxis)
	in := []*ir.Value{c.dequantize(c.input(0), ag), c.dequantize(c.input(3), bg)}
	if b := c.optional(6); b != nil {
		scale := c.binary("mul", c.binary("mul", ag.scale, bg.scale), c.number(c.attrFloat("alpha", 1)))
		in = append(in, c.dequantize(b, grid{scale: scale, axis: len(b.Type.Shape) - 1}))
	}
	y := c.with(gemm, in...)
	if c.optional(7) == nil {
		return []*ir.Value{y}
	}
	yg := c.whole(7)
	return []*ir.Value{c.quantize(y, yg, c.target(yg.zero))}
}

// qLinearBinary converts com.microsoft.QLinearAdd and QLinearMul.
func qLinearBinary(fn string) converter {
	return func(c *context) []*ir.Value {
		a, b := c.dequantize(c.input(0), c.whole(1)), c.dequantize(c.input(3), c.whole(4))
		yg := c.whole(6)
		return []*ir.Value{c.quantize(c.binary(fn, a, b), yg, onnxOf(c.input(0).Type.DType))}
	}
}

// qLinearUnary converts com.microsoft operators of one input.
func qLinearUnary(convert converter) converter {
	return func(c *context) []*ir.Value {
		x, yg := c.dequantize(c.input(0), c.whole(1)), c.whole(3)
		return []*ir.Value{c.quantize(c.with(convert, x), yg, onnxOf(c.input(0).Type.DType))}
	}
}

// qLinearGlobalAveragePool converts com.microsoft.QLinearGlobalAveragePool.
func qLinearGlobalAveragePool(c *context) []*ir.Value {
	x, yg := c.dequantize(c.input(0), c.whole(1)), c.whole(3)
	last := c.attrInt("channels_last", 0) != 0
	if last {
		x = c.channelsFirst(x)
	}
	y := c.with(globalPool("mean"), x)
	if last {
		y = c.channelsLast(y)
	}
	return []*ir.Value{c.quantize(y, yg, onnxOf(c.input(0).Type.DType))}
}

// qLinearConcat converts com.microsoft.QLinearConcat: the result's grid, then value, scale and zero
// point of each part.
func qLinearConcat(c *context) []*ir.Value {
	yg := c.whole(0)
	var parts []*ir.Value
	for i := 2; i+2 < len(c.in); i += 3 {
		parts = append(parts, c.dequantize(c.input(i), c.whole(i+1)))
	}
	if len(parts) == 0 {
		c.fail("it has nothing to join")
		return nil
	}
	y := c.with(concat, parts...)
	return []*ir.Value{c.quantize(y, yg, c.target(yg.zero))}
}
