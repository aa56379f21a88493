package load

import (
	"maps"
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// The operators of this file are those of the domain com.microsoft that ONNX Runtime's optimiser leaves
// in the models that it saves. Each is a few operators of ONNX in one.

func init() {
	maps.Copy(converters, map[string]converter{
		"com.microsoft.FusedConv": fusedConv, "com.microsoft.FusedGemm": fusedGemm, "com.microsoft.FusedMatMul": fusedMatMul,
		"com.microsoft.Gelu": biasGelu, "com.microsoft.BiasGelu": biasGelu, "com.microsoft.FastGelu": fastGelu,
		"com.microsoft.QuickGelu":              quickGelu,
		"com.microsoft.SkipLayerNormalization": skipLayerNorm, "com.microsoft.SkipSimplifiedLayerNormalization": skipLayerNorm,
		"SimplifiedLayerNormalization": rmsNorm,
	})
}

// activated applies the function that the attribute activation names, with the parameters in the
// attribute params, or in attributes of their own.
func (c *context) activated(x *ir.Value, params string) *ir.Value {
	p := c.floatList(params)
	param := func(i int, attr string, absent float32) float32 {
		if i < len(p) {
			return p[i]
		}
		return c.attrFloat(attr, absent)
	}
	switch name := c.attrStr("activation", ""); name {
	case "":
		return x
	case "Relu":
		return c.positive(x)
	case "Tanh", "Sigmoid", "HardSwish":
		return c.unary(map[string]string{"Tanh": "tanh", "Sigmoid": "sigmoid", "HardSwish": "hardswish"}[name], x)
	case "Clip":
		return c.add(ir.Unary{Fn: "clip", P: [2]float32{param(0, "", -math.MaxFloat32), param(1, "", math.MaxFloat32)}}, x)
	case "LeakyRelu":
		return c.add(ir.Unary{Fn: "leakyrelu", P: [2]float32{param(0, "activation_alpha", 0.01)}}, x)
	case "HardSigmoid":
		return c.add(ir.Unary{Fn: "hardsigmoid", P: [2]float32{param(0, "activation_alpha", 0.2), param(1, "activation_beta", 0.5)}}, x)
	default:
		c.unsupported("activation %q", name)
	}
	return x
}

// given are the first n inputs, as far as they are there.
func (c *context) given(n int) []*ir.Value { return c.in[:min(n, len(c.in))] }

// fusedConv converts FusedConv: a convolution, the sum with a fourth input, an activation.
func fusedConv(c *context) []*ir.Value {
	y := c.with(conv, c.given(3)...)
	if z := c.optional(3); z != nil {
		y = c.binary("add", y, z)
	}
	return []*ir.Value{c.activated(y, "activation_params")}
}

// fusedGemm converts FusedGemm.
func fusedGemm(c *context) []*ir.Value {
	return []*ir.Value{c.activated(c.with(gemm, c.in...), "")}
}

// fusedMatMul converts FusedMatMul: α·A'·B', each turned in its last two axes if it is asked.
func fusedMatMul(c *context) []*ir.Value {
	if c.attrInt("transBatchA", 0) != 0 || c.attrInt("transBatchB", 0) != 0 {
		c.unsupported("transBatchA and transBatchB")
		return nil
	}
	operand := func(i int, attr string) *ir.Value {
		v := c.input(i)
		rank := len(v.Type.Shape)
		if c.attrInt(attr, 0) == 0 || rank < 2 || c.err != nil {
			return v
		}
		perm := make([]int, rank)
		for k := range perm {
			perm[k] = k
		}
		perm[rank-1], perm[rank-2] = rank-2, rank-1
		return c.transpose(v, perm...)
	}
	y := c.with(matmul, operand(0, "transA"), operand(1, "transB"))
	if alpha := c.attrFloat("alpha", 1); alpha != 1 {
		y = c.binary("mul", y, c.number(alpha))
	}
	return []*ir.Value{y}
}

// biased is the first input, plus the second if it is there.
func (c *context) biased() *ir.Value {
	x := c.input(0)
	if b := c.optional(1); b != nil {
		x = c.binary("add", x, b)
	}
	return x
}

// biasGelu converts Gelu and BiasGelu, which are exact.
func biasGelu(c *context) []*ir.Value { return []*ir.Value{c.with(gelu, c.biased())} }

// fastGelu converts FastGelu, the approximation with tanh.
func fastGelu(c *context) []*ir.Value { return []*ir.Value{c.tanhGelu(c.biased())} }

func (c *context) tanhGelu(x *ir.Value) *ir.Value {
	cube := c.binary("mul", c.binary("mul", x, x), x)
	sum := c.binary("add", x, c.binary("mul", cube, c.number(0.044715)))
	phi := c.unary("tanh", c.binary("mul", sum, c.number(float32(math.Sqrt(2/math.Pi)))))
	return c.binary("mul", c.binary("mul", x, c.number(0.5)), c.binary("add", phi, c.number(1)))
}

// quickGelu converts QuickGelu: x·sigmoid(α·x).
func quickGelu(c *context) []*ir.Value {
	x := c.input(0)
	return []*ir.Value{c.binary("mul", x, c.unary("sigmoid", c.binary("mul", x, c.number(c.attrFloat("alpha", 1.702)))))}
}

// skipLayerNorm converts SkipLayerNormalization and its simplified form: the normalised sum of two
// inputs and a bias, and the sum as fourth output.
func skipLayerNorm(c *context) []*ir.Value {
	simple := c.OpType != "SkipLayerNormalization"
	for i := 1; i < min(len(c.Outputs), 3); i++ {
		if c.Outputs[i] != "" {
			c.unsupported("output %d, which training wants", i)
		}
	}
	sum := c.binary("add", c.input(0), c.input(1))
	gamma, beta, bias := c.input(2), c.optional(3), c.optional(4)
	if simple {
		beta, bias = nil, c.optional(3)
	}
	if bias != nil {
		sum = c.binary("add", sum, bias)
	}
	axes := []int{len(sum.Type.Shape) - 1}
	y := c.normalized(sum, axes, c.attrFloat("epsilon", 1e-12), simple)
	y = c.binary("mul", y, gamma)
	if beta != nil {
		y = c.binary("add", y, beta)
	}
	return []*ir.Value{y, c.number(0), c.number(0), sum}
}

// normalized is x by its deviation over axes, its mean taken off before unless simple.
func (c *context) normalized(x *ir.Value, axes []int, eps float32, simple bool) *ir.Value {
	if !simple {
		return c.standardize(x, axes, eps)
	}
	square := c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", x, x))
	return c.binary("div", x, c.unary("sqrt", c.binary("add", square, c.number(eps))))
}
