package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// converter adds the nodes for one ONNX node and returns its outputs.
type converter func(c *context) []*ir.Value

// converters are the ONNX operators that the compiler takes, each as a composition of core ones.
var converters map[string]converter

func init() {
	inf := float32(math.Inf(1))
	converters = map[string]converter{
		"Conv": conv, "ConvTranspose": convTranspose, "MaxPool": pool("max"), "AveragePool": pool("avg"),
		"GlobalAveragePool": globalPool("mean"), "GlobalMaxPool": globalPool("max"),
		"BatchNormalization": batchNorm,
		"Gemm":               gemm, "MatMul": matmul,

		"Relu": unary("clip", param{"", 0}, param{"", inf}), "Clip": clip,
		"LeakyRelu":   unary("leakyrelu", param{"alpha", 0.01}),
		"HardSigmoid": unary("hardsigmoid", param{"alpha", 0.2}, param{"beta", 0.5}),
		"Elu":         unary("elu", param{"alpha", 1}),
		"HardSwish":   unary("hardswish"), "Sigmoid": unary("sigmoid"), "Tanh": unary("tanh"), "Exp": unary("exp"),
		"Abs": unary("abs"), "Neg": unary("neg"), "Sqrt": unary("sqrt"), "Floor": unary("floor"), "Ceil": unary("ceil"),
		"Round": unary("round"), "Reciprocal": reciprocal,
		"Add": binary("add"), "Sub": binary("sub"), "Mul": binary("mul"), "Div": binary("div"),
		"Sum": binary("add"), "Min": binary("min"), "Max": binary("max"),

		"ReduceMean": reduce("mean"), "ReduceSum": reduce("sum"), "ReduceMax": reduce("max"), "ReduceMin": reduce("min"), "ReduceProd": reduce("prod"),
		"ReduceL1": reduceOf(apply("abs"), "sum", nil), "ReduceL2": reduceOf(square, "sum", apply("sqrt")),
		"ReduceSumSquare": reduceOf(square, "sum", nil), "ReduceLogSum": reduceOf(nil, "sum", apply("log")),
		"Softmax": softmax, "LogSoftmax": logSoftmax,
		"RNN": recurrent("rnn", 1, "Tanh"), "GRU": recurrent("gru", 3, "Sigmoid", "Tanh"),
		"LSTM":                  recurrent("lstm", 4, "Sigmoid", "Tanh", "Tanh"),
		"InstanceNormalization": instanceNorm, "LayerNormalization": layerNorm, "LRN": lrn,

		"Log": unary("log"), "Erf": unary("erf"), "Sign": unary("sign"), "PRelu": prelu, "Selu": selu, "Softplus": softplus,
		"Softsign": softsign, "Mish": mish, "Gelu": gelu, "Pow": pow, "Mean": mean, "ThresholdedRelu": unary("above", param{"alpha", 1}),

		"Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
		"Concat": concat, "Slice": slice, "Split": split, "Pad": pad, "Gather": gather,
		"Expand": expand, "Tile": tile, "Resize": resize, "Upsample": resize,
		"DepthToSpace": depthToSpace, "SpaceToDepth": spaceToDepth,

		"Identity": identity, "Dropout": dropout,
		"Constant": constant, "ConstantOfShape": constantOfShape, "Shape": shapeOf, "Cast": cast,
	}
	for _, more := range []map[string]converter{typedConverters, formulaConverters, windowConverters, controlConverters, attentionConverters, signalConverters, sequenceConverters, stateConverters} {
		for name, convert := range more {
			converters[name] = convert
		}
	}
	for name, convert := range mlConverters {
		converters["ai.onnx.ml."+name] = convert
	}
}

type param struct {
	attr   string
	absent float32
}

func unary(fn string, params ...param) converter {
	return func(c *context) []*ir.Value {
		u := ir.Unary{Fn: fn}
		for i, p := range params {
			u.P[i] = c.attrFloat(p.attr, p.absent)
		}
		x := c.input(0)
		if _, ok := intUnary[fn]; ok && !x.Type.DType.Float() {
			return []*ir.Value{c.each(fn, x)}
		}
		if fn == "clip" && !x.Type.DType.Float() { // Relu (version 14)
			return []*ir.Value{c.binary("max", x, c.like(x, 0))}
		}
		return []*ir.Value{c.add(u, x)}
	}
}

var intUnary = map[string]bool{"abs": true, "neg": true, "sign": true}

// clip converts Clip (versions 1 to 13): bounds as attributes, then as inputs.
func clip(c *context) []*ir.Value {
	x := c.input(0)
	lo, hi := c.optional(1), c.optional(2)
	if !x.Type.DType.Float() {
		if lo != nil {
			x = c.binary("max", x, c.reshape(lo))
		}
		if hi != nil {
			x = c.binary("min", x, c.reshape(hi))
		}
		return []*ir.Value{x}
	}
	if lo == nil || lo.Const != nil {
		if hi == nil || hi.Const != nil {
			inf := float32(math.Inf(1))
			return []*ir.Value{c.add(ir.Unary{Fn: "clip", P: [2]float32{c.scalar(1, "min", -inf), c.scalar(2, "max", inf)}}, x)}
		}
	}
	if lo != nil {
		x = c.add(ir.Binary{Fn: "max"}, x, lo)
	}
	if hi != nil {
		x = c.add(ir.Binary{Fn: "min"}, x, hi)
	}
	return []*ir.Value{x}
}

func reciprocal(c *context) []*ir.Value {
	return []*ir.Value{c.add(ir.Binary{Fn: "div"}, c.number(1), c.input(0))}
}

// binary folds its inputs from the left: two for Add, any number for Sum, Min and Max.
func binary(fn string) converter {
	return func(c *context) []*ir.Value {
		x := c.input(0)
		for i := 1; i < len(c.in); i++ {
			x = c.add(ir.Binary{Fn: fn}, x, c.legacy(x, c.input(i)))
		}
		return []*ir.Value{x}
	}
}

// legacy gives the second operand of an operator before version 7 the shape that it broadcasts from:
// only if the attribute broadcast allows it, and from axis on instead of to the last one.
func (c *context) legacy(a, b *ir.Value) *ir.Value {
	as, bs := a.Type.Shape, b.Type.Shape
	if c.opset >= 7 || slices.Equal(as, bs) || c.err != nil {
		return b
	}
	if c.attrInt("broadcast", 0) == 0 && c.OpType != "Gemm" && c.OpType != "Sum" && c.OpType != "Min" && c.OpType != "Max" {
		c.fail("operands %v and %v differ and broadcast is not set", as, bs)
		return b
	}
	axis := c.attrInt("axis", len(as)-len(bs))
	if axis < 0 || axis+len(bs) > len(as) {
		c.fail("operand %v does not lie in %v from axis %d on", bs, as, axis)
		return b
	}
	return c.reshape(b, slices.Concat(bs, slices.Repeat(ir.Shape{1}, len(as)-axis-len(bs)))...)
}

// gemm converts Gemm (versions 7 to 13): α·A'·B' + β·C.
func gemm(c *context) []*ir.Value {
	a, b := c.input(0), c.input(1)
	if c.err == nil && (len(a.Type.Shape) != 2 || len(b.Type.Shape) != 2) {
		c.fail("operands %v and %v must be matrices", a.Type.Shape, b.Type.Shape)
	}
	if c.attrInt("transA", 0) != 0 {
		a = c.transpose(a, 1, 0)
	}
	if c.attrInt("transB", 0) != 0 {
		b = c.transpose(b, 1, 0)
	}
	if c.err != nil {
		return nil
	}
	if alpha := c.attrFloat("alpha", 1); alpha != 1 {
		b = c.add(ir.Binary{Fn: "mul"}, b, c.number(alpha))
	}
	bias := c.optional(2)
	if bias == nil {
		return []*ir.Value{c.product(a, b)}
	}
	if beta := c.attrFloat("beta", 1); beta != 1 {
		bias = c.add(ir.Binary{Fn: "mul"}, bias, c.number(beta))
	}
	y := c.product(a, b)
	if to, err := ir.Broadcast(y.Type.Shape, bias.Type.Shape); c.err == nil && (err != nil || !slices.Equal(to, y.Type.Shape)) {
		c.fail("C is %v, which does not broadcast to the product's %v", bias.Type.Shape, y.Type.Shape)
	}
	return []*ir.Value{c.add(ir.Binary{Fn: "add"}, y, bias)}
}

func (c *context) product(a, b *ir.Value) *ir.Value {
	if c.err != nil {
		return a
	}
	as, bs := a.Type.Shape, b.Type.Shape
	if !a.Type.DType.Float() && a.Type.DType == b.Type.DType && len(as) > 1 && len(bs) > 1 { // rare: no kernel of its own
		ra, rb := len(as)-1, len(bs)-2
		wide := c.binary("mul", c.reshape(a, slices.Insert(slices.Clone(as), ra+1, 1)...), c.reshape(b, slices.Insert(slices.Clone(bs), rb, 1)...))
		if c.err != nil {
			return a
		}
		ws := wide.Type.Shape
		return c.reshape(c.add(ir.Reduce{Fn: "sum", Axes: []int{len(ws) - 2}}, wide), without(ws, []int{len(ws) - 2})...)
	}
	return c.add(ir.MatMul{}, a, b, c.zeros(bs[len(bs)-1]))
}

// matmul converts MatMul (version 13); a vector becomes a matrix of one row or one column.
func matmul(c *context) []*ir.Value {
	a, b := c.input(0), c.input(1)
	as, bs := a.Type.Shape, b.Type.Shape
	if len(as) == 0 || len(bs) == 0 {
		c.fail("operands %v and %v: a scalar is no matrix", as, bs)
		return nil
	}
	if len(as) == 1 {
		a = c.reshape(a, 1, as[0])
	}
	if len(bs) == 1 {
		b = c.reshape(b, bs[0], 1)
	}
	y := c.product(a, b)
	ys := y.Type.Shape
	var drop []int
	if len(as) == 1 {
		drop = append(drop, len(ys)-2)
	}
	if len(bs) == 1 {
		drop = append(drop, len(ys)-1)
	}
	return []*ir.Value{c.reshape(y, without(ys, drop)...)}
}

// reduce converts ReduceMean, -Sum, -Prod, -Max and -Min (versions 1 to 20).
func reduce(fn string) converter {
	return func(c *context) []*ir.Value {
		x := c.input(0)
		axes, keep := c.reductionAxes(x)
		if axes == nil {
			return []*ir.Value{x}
		}
		return []*ir.Value{c.squeezed(c.add(ir.Reduce{Fn: fn, Axes: axes}, x), axes, keep)}
	}
}

// reductionAxes are the axes to reduce x over, as an attribute, then as an input, and whether they stay
// with extent 1; nil for no reduction at all. Axes that are computed while the model runs follow from the
// output's declared shape where they stay: one of extent 1 in both makes no difference.
func (c *context) reductionAxes(x *ir.Value) (axes []int, keep bool) {
	rank := len(x.Type.Shape)
	keep = c.attrInt("keepdims", 1) != 0
	said := c.declared(0)
	if v := c.optional(1); v != nil && v.Const == nil && keep && len(said) == rank {
		axes = []int{}
		for i, d := range said {
			if d != x.Type.Shape[i] {
				axes = append(axes, i)
			}
		}
		return axes, keep
	}
	axes = c.axes(c.ints(1, "axes", nil), rank)
	if len(axes) > 0 {
		return axes, keep
	}
	if c.attrInt("noop_with_empty_axes", 0) != 0 {
		return nil, keep
	}
	for i := range rank {
		axes = append(axes, i)
	}
	return append([]int{}, axes...), keep
}

// squeezed drops the reduced axes of y unless they are to stay.
func (c *context) squeezed(y *ir.Value, axes []int, keep bool) *ir.Value {
	if keep || c.err != nil {
		return y
	}
	return c.reshape(y, without(y.Type.Shape, axes)...)
}

func without(s ir.Shape, axes []int) []int {
	out := []int{}
	for i, d := range s {
		if !slices.Contains(axes, i) {
			out = append(out, d)
		}
	}
	return out
}

// softmax converts Softmax: one axis from version 13 on, all axes from the given one before it.
func softmax(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	if c.opset < 13 {
		axis := c.split(c.attrInt("axis", 1), len(s))
		if c.err != nil {
			return nil
		}
		flat := c.reshape(x, s[:axis].Elems(), s[axis:].Elems())
		return []*ir.Value{c.reshape(c.add(ir.Softmax{}, flat), s...)}
	}
	axis, last := c.axis(c.attrInt("axis", -1), len(s)), len(s)-1
	if c.err != nil || axis == last {
		return []*ir.Value{c.add(ir.Softmax{}, x)}
	}
	perm := make([]int, len(s))
	for i := range perm {
		perm[i] = i
	}
	perm[axis], perm[last] = last, axis
	return []*ir.Value{c.transpose(c.add(ir.Softmax{}, c.transpose(x, perm...)), perm...)}
}
