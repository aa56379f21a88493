package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// formulaConverters are operators that are formulas over core ones.
var formulaConverters = map[string]converter{
	"Hardmax": hardmax, "LpNormalization": lpNormalization, "MeanVarianceNormalization": meanVariance,
	"GroupNormalization": groupNorm, "RMSNormalization": rmsNorm, "ReduceLogSumExp": reduceLogSumExp,
	"Celu": celu, "Shrink": shrink, "Swish": swish, "Einsum": einsum,
	"NegativeLogLikelihoodLoss": nllLoss, "SoftmaxCrossEntropyLoss": crossEntropy,
	"HannWindow": taper(0.5, 0.5, 0), "HammingWindow": taper(25./46, 21./46, 0), "BlackmanWindow": taper(0.42, 0.5, 0.08),
	"CenterCropPad": centerCropPad, "Det": det,
}

func iota64(n int) *ir.Tensor {
	t := ir.Ints(make([]int64, n), n)
	for i := range t.I {
		t.I[i] = int64(i)
	}
	return t
}

// hardmax is 1 at the first greatest element and 0 elsewhere: along one axis from version 13 on, over all
// axes from the given one before it.
func hardmax(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	axis := c.attrInt("axis", -1)
	if c.opset < 13 {
		a := c.split(c.attrInt("axis", 1), len(s))
		if c.err != nil {
			return nil
		}
		x, axis = c.reshape(x, s[:a].Elems(), s[a:].Elems()), 1
	}
	axis = c.axis(axis, len(x.Type.Shape))
	if c.err != nil || !c.spend(float64(x.Type.Shape[axis])) {
		return nil
	}
	dims := slices.Repeat([]int{1}, len(x.Type.Shape))
	dims[axis] = x.Type.Shape[axis]
	place := c.add(ir.Arg{Fn: "max", Axis: axis}, x)
	hot := c.each("eq", place, c.reshape(c.constantOf(iota64(dims[axis])), dims...))
	return []*ir.Value{c.reshape(c.cast(hot, x.Type.DType), s...)}
}

// lpNormalization is x divided by its norm along an axis, 0 where the norm is (version 22).
func lpNormalization(c *context) []*ir.Value {
	x, p := c.input(0), c.attrInt("p", 2)
	axes := []int{c.axis(c.attrInt("axis", -1), len(x.Type.Shape))}
	var norm *ir.Value
	switch p {
	case 1:
		norm = c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.unary("abs", x))
	case 2:
		norm = c.unary("sqrt", c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.binary("mul", x, x)))
	default:
		c.fail("p is %d, neither 1 nor 2", p)
		return nil
	}
	return []*ir.Value{c.each("where", c.each("eq", norm, c.number(0)), c.number(0), c.binary("div", x, norm))}
}

// meanVariance converts MeanVarianceNormalization (version 13), whose ε is beside the deviation.
func meanVariance(c *context) []*ir.Value {
	x := c.input(0)
	axes := c.axes(c.attrInts("axes", []int{0, 2, 3}), len(x.Type.Shape))
	d := c.binary("sub", x, c.add(ir.Reduce{Fn: "mean", Axes: axes}, x))
	dev := c.unary("sqrt", c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", d, d)))
	return []*ir.Value{c.binary("div", d, c.binary("add", dev, c.number(1e-9)))}
}

// groupNorm converts GroupNormalization: scale and bias are those of groups in version 18, of channels from
// version 21 on.
func groupNorm(c *context) []*ir.Value {
	x, scale, bias := c.input(0), c.input(1), c.input(2)
	s, groups := x.Type.Shape, c.attrInt("num_groups", 0)
	if len(s) < 2 || groups < 1 || s[1]%groups != 0 {
		c.fail("%d groups of input %v", groups, s)
		return nil
	}
	y := c.standardize(c.reshape(x, s[0], groups, s[1:].Elems()/groups), []int{2}, c.attrFloat("epsilon", 1e-5))
	spread := func(v *ir.Value) *ir.Value {
		if n := v.Type.Shape.Elems(); n == groups && c.opset < 21 {
			v = c.add(ir.Expand{Shape: ir.Shape{groups, s[1] / groups}}, c.reshape(v, groups, 1))
		} else if n != s[1] {
			c.fail("scale or bias %v for %d channels", v.Type.Shape, s[1])
		}
		return c.reshape(v, append([]int{s[1]}, slices.Repeat([]int{1}, len(s)-2)...)...)
	}
	return []*ir.Value{c.binary("add", c.binary("mul", c.reshape(y, s...), spread(scale)), spread(bias))}
}

// rmsNorm is x/√(mean(x²) + ε)·scale over the axes from the given one on (version 23).
func rmsNorm(c *context) []*ir.Value {
	x := c.input(0)
	var axes []int
	for a := c.axis(c.attrInt("axis", -1), len(x.Type.Shape)); a < len(x.Type.Shape); a++ {
		axes = append(axes, a)
	}
	mean := c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", x, x))
	root := c.unary("sqrt", c.binary("add", mean, c.number(c.attrFloat("epsilon", 1e-5))))
	return []*ir.Value{c.binary("mul", c.binary("div", x, root), c.input(1))}
}

// reduceLogSumExp is log Σ exp(x - m) + m with the maximum m, where it is finite (version 18).
func reduceLogSumExp(c *context) []*ir.Value {
	x := c.input(0)
	axes, keep := c.reductionAxes(x)
	if axes == nil {
		return []*ir.Value{x}
	}
	x = c.cast(x, ir.F32)
	if x.Type.Shape.Elems() == 0 {
		return []*ir.Value{c.unary("log", c.add(ir.Reduce{Fn: "sum", Axes: axes}, x))}
	}
	top := c.add(ir.Unary{Fn: "clip", P: [2]float32{-math.MaxFloat32, math.MaxFloat32}}, c.add(ir.Reduce{Fn: "max", Axes: axes}, x))
	sum := c.add(ir.Reduce{Fn: "sum", Axes: axes}, c.unary("exp", c.binary("sub", x, top)))
	return []*ir.Value{c.squeezed(c.binary("add", c.unary("log", sum), top), axes, keep)}
}

// celu is max(0, x) + min(0, α·(exp(x/α) - 1)) (version 12).
func celu(c *context) []*ir.Value {
	x, alpha := c.input(0), c.attrFloat("alpha", 1)
	low := c.add(ir.Unary{Fn: "elu", P: [2]float32{alpha}}, c.binary("div", c.negative(x), c.number(alpha)))
	return []*ir.Value{c.binary("add", c.positive(x), low)}
}

// shrink is x + bias below -λ, x - bias above λ, else 0 (version 9).
func shrink(c *context) []*ir.Value {
	given := c.input(0)
	x := c.cast(given, ir.F32)
	bias, lambda := c.number(c.attrFloat("bias", 0)), c.attrFloat("lambd", 0.5)
	y := c.each("where", c.each("lt", x, c.number(-lambda)), c.binary("add", x, bias), c.number(0))
	y = c.each("where", c.each("lt", c.number(lambda), x), c.binary("sub", x, bias), y)
	return []*ir.Value{c.cast(y, given.Type.DType)}
}

// swish is x·sigmoid(αx) (version 24).
func swish(c *context) []*ir.Value {
	x := c.input(0)
	return []*ir.Value{c.binary("mul", x, c.unary("sigmoid", c.binary("mul", x, c.number(c.attrFloat("alpha", 1)))))}
}

// nllLoss converts NegativeLogLikelihoodLoss (version 13).
func nllLoss(c *context) []*ir.Value { return []*ir.Value{c.likelihood(c.input(0))} }

// crossEntropy converts SoftmaxCrossEntropyLoss (version 13); its second output is the logarithm of the
// softmax.
func crossEntropy(c *context) []*ir.Value {
	x := c.input(0)
	d := c.binary("sub", x, c.add(ir.Reduce{Fn: "max", Axes: []int{1}}, x))
	p := c.binary("sub", d, c.unary("log", c.add(ir.Reduce{Fn: "sum", Axes: []int{1}}, c.unary("exp", d))))
	return []*ir.Value{c.likelihood(p), p}
}

// likelihood is the loss for log probabilities [N, C, …] and targets [N, …]: the weight of the target's
// class times minus its probability; targets to ignore weigh nothing.
func (c *context) likelihood(p *ir.Value) *ir.Value {
	target := c.input(1)
	s, ts := p.Type.Shape, target.Type.Shape
	if len(s) < 2 || len(ts) != len(s)-1 || target.Type.DType.Float() {
		c.fail("probabilities %v for targets %v", s, target.Type)
		return p
	}
	var weight *ir.Value
	if w := c.optional(2); w != nil {
		weight = w
	}
	ignored := (*ir.Value)(nil)
	if c.Attr("ignore_index") != nil {
		ignored = c.each("eq", target, c.like(target, float64(c.attrInt("ignore_index", 0))))
		target = c.each("where", ignored, c.like(target, 0), target)
	}
	if target.Type.DType != ir.I32 {
		target = c.cast(target, ir.I64)
	}
	if weight != nil {
		weight = c.add(ir.Gather{}, weight, target)
	} else if ignored != nil {
		weight = c.number(1)
	}
	if ignored != nil {
		weight = c.each("where", ignored, c.number(0), weight)
	}
	c.within(target, s[1])
	picked := c.add(ir.GatherElements{Axis: 1}, p, c.reshape(target, slices.Insert(slices.Clone(ts), 1, 1)...))
	loss := c.unary("neg", c.reshape(picked, ts...))
	if weight != nil {
		loss = c.binary("mul", loss, weight)
	}
	var all []int
	for a := range ts {
		all = append(all, a)
	}
	switch how := c.attrStr("reduction", "mean"); {
	case how == "none":
		return loss
	case how == "sum":
		return c.reshape(c.add(ir.Reduce{Fn: "sum", Axes: all}, loss))
	case weight == nil:
		return c.reshape(c.add(ir.Reduce{Fn: "mean", Axes: all}, loss))
	}
	return c.reshape(c.binary("div", c.add(ir.Reduce{Fn: "sum", Axes: all}, loss), c.add(ir.Reduce{Fn: "sum", Axes: all}, weight)))
}

// taper converts the window functions (version 17): a - b·cos(2πi/n) + d·cos(4πi/n).
func taper(a, b, d float64) converter {
	return func(c *context) []*ir.Value {
		n := int(c.scalar(0, "", 0))
		if c.constant(0) == nil || n < 1 || n > ir.MaxElems || !c.spend(float64(n)) {
			c.fail("a window of %d values", n)
			return nil
		}
		period := float64(n)
		if c.attrInt("periodic", 1) == 0 {
			period--
		}
		w := make([]float32, n)
		for i := range w {
			t := 2 * math.Pi * float64(i) / period
			w[i] = float32(a - b*math.Cos(t) + d*math.Cos(2*t))
		}
		return []*ir.Value{c.floats(w, n)}
	}
}

// centerCropPad converts CenterCropPad (version 18): each axis is cut or padded around its middle.
func centerCropPad(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	to := []int(c.declared(0))
	if v := c.optional(1); v != nil && v.Const != nil || to == nil {
		sizes, axes := c.ints(1, "", nil), c.attrInts("axes", nil)
		to = slices.Clone(s)
		if axes == nil {
			for a := range s {
				axes = append(axes, a)
			}
		}
		if c.err == nil && len(axes) != len(sizes) {
			c.fail("sizes %v for axes %v", sizes, axes)
		}
		for i, a := range axes {
			if a = c.axis(a, len(s)); c.err != nil {
				return nil
			}
			to[a] = sizes[i]
		}
	}
	pads := make([]int, 2*len(s))
	for a, n := range to {
		if n < s[a] {
			x = c.cut(x, a, (s[a]-n)/2, n)
		}
		room := max(n-s[a], 0)
		pads[a], pads[len(s)+a] = room/2, room-room/2
	}
	return []*ir.Value{c.add(ir.Pad{Pads: pads}, x)}
}

// det converts Det (version 11) of small matrices by the first row's minors.
func det(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	if len(s) < 2 || s[len(s)-1] != s[len(s)-2] {
		c.fail("input %v is no square matrix", s)
		return nil
	}
	n := s[len(s)-1]
	if n > 4 {
		c.unsupported("a matrix of more than 4 rows")
		return nil
	}
	cell := func(i, j int) *ir.Value { return c.cut(c.cut(x, len(s)-2, i, 1), len(s)-1, j, 1) }
	var minor func(row int, columns []int) *ir.Value
	minor = func(row int, columns []int) *ir.Value {
		var sum *ir.Value
		for k, j := range columns {
			v := cell(row, j)
			if len(columns) > 1 {
				v = c.binary("mul", v, minor(row+1, slices.Delete(slices.Clone(columns), k, k+1)))
			}
			switch {
			case sum == nil:
				sum = v
			case k%2 == 1:
				sum = c.binary("sub", sum, v)
			default:
				sum = c.binary("add", sum, v)
			}
		}
		return sum
	}
	var columns []int
	for j := range n {
		columns = append(columns, j)
	}
	return []*ir.Value{c.reshape(minor(0, columns), s[:len(s)-2]...)}
}
