package load

import (
	"math"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestFormulasOfActivations compares operators that load composes with their definitions in the ONNX
// specification, computed in f64, for x from -6 to 6.
func TestFormulasOfActivations(t *testing.T) {
	softplus := func(x float64) float64 { return math.Log1p(math.Exp(x)) }
	for name, c := range map[string]struct {
		node *onnx.Node
		f    func(x float64) float64
	}{
		"Relu":        {node("Relu", "x", "y"), func(x float64) float64 { return max(x, 0) }},
		"LeakyRelu":   {node("LeakyRelu", "x", "y"), func(x float64) float64 { return max(x, 0.01*x) }},
		"PRelu":       {node("PRelu", "x k", "y"), func(x float64) float64 { return max(x, 0) + 0.25*min(x, 0) }},
		"HardSigmoid": {node("HardSigmoid", "x", "y"), func(x float64) float64 { return min(max(0.2*x+0.5, 0), 1) }},
		"HardSwish":   {node("HardSwish", "x", "y"), func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }},
		"Elu":         {node("Elu", "x", "y", attr("alpha", 2.)), func(x float64) float64 { return max(x, 0) + 2*math.Expm1(min(x, 0)) }},
		"Selu": {node("Selu", "x", "y"), func(x float64) float64 {
			return 1.0507009873554805 * (max(x, 0) + 1.6732632423543772*math.Expm1(min(x, 0)))
		}},
		"Softplus": {node("Softplus", "x", "y"), softplus},
		"Softsign": {node("Softsign", "x", "y"), func(x float64) float64 { return x / (1 + math.Abs(x)) }},
		"Mish":     {node("Mish", "x", "y"), func(x float64) float64 { return x * math.Tanh(softplus(x)) }},
		"Gelu":     {node("Gelu", "x", "y"), func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }},
		"Gelu, tanh": {node("Gelu", "x", "y", attr("approximate", "tanh")), func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}},
		"ThresholdedRelu": {node("ThresholdedRelu", "x", "y", attr("alpha", 1.5)), func(x float64) float64 {
			if x > 1.5 {
				return x
			}
			return 0
		}},
		"Reciprocal": {node("Reciprocal", "x", "y"), func(x float64) float64 { return 1 / x }},
		"Pow 3":      {node("Pow", "x three", "y"), func(x float64) float64 { return x * x * x }},
		"Pow -2":     {node("Pow", "x minus", "y"), func(x float64) float64 { return 1 / (x * x) }},
		"Pow k":      {node("Pow", "x k", "y"), func(x float64) float64 { return math.Pow(x, 0.25) }},
		"Log":        {node("Log", "x", "y"), math.Log},
		"Sign":       {node("Sign", "x", "y"), func(x float64) float64 { return math.Copysign(1, x) }},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Model(model(20, in(input("x", 24)), consts(floats("k", []float32{0.25}), floats("three", []float32{3}), floats("minus", []float32{-2})), c.node), Options{})
			if err != nil {
				t.Fatal(err)
			}
			x := ir.NewTensor(ir.Of(ir.F32, 24))
			for i := range x.F {
				x.F[i] = (float32(i) - 11.5) / 2
			}
			y, err := r.Graph.Eval(x)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range x.F {
				want := c.f(float64(v))
				// f32 between the steps, and powers that go through a logarithm.
				if got := float64(y[0].F[i]); !(math.Abs(got-want) <= 2e-6*max(1, math.Abs(want)) || math.IsNaN(got) && math.IsNaN(want)) {
					t.Errorf("%s(%v) is %v, want %v", name, v, got, want)
				}
			}
		})
	}
}

// TestComposedOperators has the rest of them, by hand.
func TestComposedOperators(t *testing.T) {
	v := func(x ...any) []any { return x }
	ones := func(n int) []float32 {
		f := make([]float32, n)
		for i := range f {
			f[i] = 1
		}
		return f
	}
	sizes := func(s ...int64) []*onnx.Tensor { return consts(ints("s", s...), ints("e")) }
	up := func(attrs ...*onnx.Attribute) *onnx.Node { return node("Resize", "x e e s", "y", attrs...) }
	lse := float32(math.Log(math.Exp(1) + math.Exp(2)))
	std := float32(1 / math.Sqrt(0.25+1e-5) / 2)
	runVariants(t, map[string]variant{
		"ReduceL1":           {18, v(1, 3), nil, node("ReduceL1", "x", "y"), ir.Shape{1, 1}, []float32{6}},
		"ReduceL2":           {18, v(1, 2), nil, node("ReduceL2", "x", "y", attr("keepdims", 0)), ir.Shape{}, []float32{float32(math.Sqrt(5))}},
		"ReduceSumSquare":    {18, v(1, 3), nil, node("ReduceSumSquare", "x", "y"), ir.Shape{1, 1}, []float32{14}},
		"ReduceLogSum":       {18, v(1, 3), nil, node("ReduceLogSum", "x", "y"), ir.Shape{1, 1}, []float32{float32(math.Log(6))}},
		"LogSoftmax":         {13, v(1, 2), nil, node("LogSoftmax", "x", "y"), ir.Shape{1, 2}, []float32{1 - lse, 2 - lse}},
		"LayerNormalization": {17, v(2, 2), consts(floats("w", []float32{1, 2}), floats("b", []float32{0, 1})), node("LayerNormalization", "x w b", "y"), ir.Shape{2, 2}, []float32{-std, 1 + 2*std, -std, 1 + 2*std}},
		"InstanceNormalization": {13, v(1, 2, 2), consts(floats("w", []float32{1, 2}), floats("b", []float32{0, 1})), node("InstanceNormalization", "x w b", "y"), ir.Shape{1, 2, 2},
			[]float32{-std, std, 1 - 2*std, 1 + 2*std}},
		"LRN": {13, v(1, 3, 1), nil, node("LRN", "x", "y", attr("size", 3), attr("alpha", 3.), attr("beta", 1.)), ir.Shape{1, 3, 1},
			[]float32{1. / 6, 2. / 15, 3. / 14}},
		"Mean":   {13, v(2), consts(floats("a", []float32{4}), floats("b", []float32{7})), node("Mean", "x a b", "y"), ir.Shape{2}, []float32{4, 13. / 3}},
		"Tile":   {13, v(2, 1), consts(ints("r", 2, 3)), node("Tile", "x r", "y"), ir.Shape{4, 3}, []float32{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}},
		"Expand": {13, v(2, 1), consts(ints("r", 2, 1, 2)), node("Expand", "x r", "y"), ir.Shape{2, 2, 2}, []float32{1, 1, 2, 2, 1, 1, 2, 2}},
		"DepthToSpace, depth first": {13, v(1, 8, 1, 1), nil, node("DepthToSpace", "x", "y", attr("blocksize", 2)), ir.Shape{1, 2, 2, 2},
			[]float32{1, 3, 5, 7, 2, 4, 6, 8}},
		"DepthToSpace, columns first": {13, v(1, 8, 1, 1), nil, node("DepthToSpace", "x", "y", attr("blocksize", 2), attr("mode", "CRD")), ir.Shape{1, 2, 2, 2},
			[]float32{1, 2, 3, 4, 5, 6, 7, 8}},
		"SpaceToDepth": {13, v(1, 1, 2, 4), nil, node("SpaceToDepth", "x", "y", attr("blocksize", 2)), ir.Shape{1, 4, 1, 2}, []float32{1, 3, 2, 4, 5, 7, 6, 8}},
		// One tap of the input meets each of the kernel: 1 2 under a kernel of ones.
		"ConvTranspose":         {11, v(1, 1, 2), consts(floats("w", ones(3), 1, 1, 3)), node("ConvTranspose", "x w", "y"), ir.Shape{1, 1, 4}, []float32{1, 3, 3, 2}},
		"ConvTranspose, stride": {11, v(1, 1, 2), consts(floats("w", []float32{1, 10, 100}, 1, 1, 3)), node("ConvTranspose", "x w", "y", attr("strides", []int64{2})), ir.Shape{1, 1, 5}, []float32{1, 10, 102, 20, 200}},
		"ConvTranspose, pads": {11, v(1, 1, 2), consts(floats("w", []float32{1, 10, 100}, 1, 1, 3)), node("ConvTranspose", "x w", "y", attr("strides", []int64{2}), attr("pads", []int64{1, 1}), attr("output_padding", []int64{1})),
			ir.Shape{1, 1, 4}, []float32{10, 102, 20, 200}},
		"ConvTranspose, larger": {11, v(1, 1, 2), consts(floats("w", []float32{1, 10}, 1, 1, 2)), node("ConvTranspose", "x w", "y", attr("strides", []int64{3}), attr("output_shape", []int64{8}), attr("auto_pad", "SAME_UPPER")),
			ir.Shape{1, 1, 8}, []float32{1, 10, 0, 2, 20, 0, 0, 0}},
		"ConvTranspose, channels": {11, v(1, 2, 1), consts(floats("w", []float32{1, 2, 3, 4}, 2, 2, 1)), node("ConvTranspose", "x w", "y"), ir.Shape{1, 2, 1}, []float32{7, 10}},
		"ConvTranspose, groups":   {11, v(1, 2, 1), consts(floats("w", []float32{3, 4, 5, 6}, 2, 2, 1)), node("ConvTranspose", "x w", "y", attr("group", 2)), ir.Shape{1, 4, 1}, []float32{3, 4, 10, 12}},
		"ConvTranspose, dilated":  {11, v(1, 1, 2), consts(floats("w", []float32{1, 10}, 1, 1, 2)), node("ConvTranspose", "x w", "y", attr("dilations", []int64{2})), ir.Shape{1, 1, 4}, []float32{1, 2, 10, 20}},
		"Resize, nearest":         {13, v(1, 1, 2), sizes(1, 1, 4), up(), ir.Shape{1, 1, 4}, []float32{1, 1, 2, 2}},
		"Resize, nearest, down":   {13, v(1, 1, 4), sizes(1, 1, 2), up(attr("coordinate_transformation_mode", "asymmetric"), attr("nearest_mode", "floor")), ir.Shape{1, 1, 2}, []float32{1, 3}},
		"Resize, linear":          {13, v(1, 1, 2), sizes(1, 1, 4), up(attr("mode", "linear")), ir.Shape{1, 1, 4}, []float32{1, 1.25, 1.75, 2}},
		"Resize, corners":         {13, v(1, 1, 2), sizes(1, 1, 4), up(attr("mode", "linear"), attr("coordinate_transformation_mode", "align_corners")), ir.Shape{1, 1, 4}, []float32{1, 4. / 3, 5. / 3, 2}},
		"Resize 10, scales":       {10, v(1, 1, 2), consts(floats("s", []float32{1, 1, 1.5})), node("Resize", "x s", "y"), ir.Shape{1, 1, 3}, []float32{1, 1, 2}},
		"Upsample 7": {7, v(1, 1, 2), nil, node("Upsample", "x", "y", &onnx.Attribute{Name: "scales", Type: onnx.AttrFloats, Floats: []float32{1, 1, 2}}), ir.Shape{1, 1, 4},
			[]float32{1, 1, 2, 2}},
		"Upsample 9": {9, v(1, 1, 2), consts(floats("s", []float32{1, 1, 2})), node("Upsample", "x s", "y"), ir.Shape{1, 1, 4}, []float32{1, 1, 2, 2}},
	})
}
