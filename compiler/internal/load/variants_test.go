package load

import (
	"math"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// variant is one operator in the form of one version, over x = 1, 2, 3, … of the given extents.
type variant struct {
	opset  int64
	x      []any
	consts []*onnx.Tensor
	node   *onnx.Node
	shape  ir.Shape
	want   []float32 // nil: the shape alone
}

func runVariants(t *testing.T, cases map[string]variant) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, err := Model(model(c.opset, in(input("x", c.x...)), c.consts, c.node), Options{})
			if err != nil {
				t.Fatal(err)
			}
			x := ir.NewTensor(r.Graph.In[0].Type)
			for i := range x.F {
				x.F[i] = float32(i + 1)
			}
			y, err := r.Graph.Eval(x)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(y[0].Shape, c.shape) {
				t.Errorf("shape is %v, want %v", y[0].Shape, c.shape)
			}
			if c.want != nil && !slices.EqualFunc(y[0].F, c.want, func(a, b float32) bool {
				return math.Abs(float64(a-b)) <= 1e-6*math.Max(1, math.Abs(float64(b)))
			}) {
				t.Errorf("got %v, want %v", y[0].F, c.want)
			}
		})
	}
}

func TestVersionsOfOperators(t *testing.T) {
	v := func(x ...any) []any { return x }
	runVariants(t, map[string]variant{
		"Clip 6":                   {6, v(4), nil, node("Clip", "x", "y", attr("min", 2.), attr("max", 3.)), ir.Shape{4}, []float32{2, 2, 3, 3}},
		"Clip 11":                  {11, v(4), consts(floats("a", []float32{2}), floats("b", []float32{3})), node("Clip", "x a b", "y"), ir.Shape{4}, []float32{2, 2, 3, 3}},
		"Clip 11, no minimum":      {11, v(4), consts(floats("b", []float32{3})), node("Clip", "x - b", "y"), ir.Shape{4}, []float32{1, 2, 3, 3}},
		"Clip 13, no bounds":       {13, v(4), nil, node("Clip", "x", "y"), ir.Shape{4}, []float32{1, 2, 3, 4}},
		"Squeeze 1":                {6, v(1, 2, 1), nil, node("Squeeze", "x", "y", attr("axes", []int64{2})), ir.Shape{1, 2}, nil},
		"Squeeze 11, from the end": {11, v(1, 2, 1), nil, node("Squeeze", "x", "y", attr("axes", []int64{-3})), ir.Shape{2, 1}, nil},
		"Squeeze 13":               {13, v(1, 2, 1), consts(ints("a", -1)), node("Squeeze", "x a", "y"), ir.Shape{1, 2}, nil},
		"Squeeze 13, all":          {13, v(1, 2, 1), nil, node("Squeeze", "x", "y"), ir.Shape{2}, nil},
		"Unsqueeze 1":              {6, v(2), nil, node("Unsqueeze", "x", "y", attr("axes", []int64{0, 2})), ir.Shape{1, 2, 1}, nil},
		"Unsqueeze 13, unsorted":   {13, v(2, 3), consts(ints("a", -1, 0)), node("Unsqueeze", "x a", "y"), ir.Shape{1, 2, 3, 1}, nil},
		"ReduceSum 1":              {6, v(2, 2), nil, node("ReduceSum", "x", "y", attr("axes", []int64{0})), ir.Shape{1, 2}, []float32{4, 6}},
		"ReduceSum 1, all":         {6, v(2, 2), nil, node("ReduceSum", "x", "y", attr("keepdims", 0)), ir.Shape{}, []float32{10}},
		"ReduceSum 13":             {13, v(2, 2), consts(ints("a", -1)), node("ReduceSum", "x a", "y", attr("keepdims", 0)), ir.Shape{2}, []float32{3, 7}},
		"ReduceSum 13, none":       {13, v(2, 2), nil, node("ReduceSum", "x", "y", attr("noop_with_empty_axes", 1)), ir.Shape{2, 2}, []float32{1, 2, 3, 4}},
		"ReduceMean 11":            {11, v(2, 2), nil, node("ReduceMean", "x", "y", attr("axes", []int64{-2})), ir.Shape{1, 2}, []float32{2, 3}},
		"ReduceMax 18":             {18, v(2, 2), consts(ints("a", 1)), node("ReduceMax", "x a", "y"), ir.Shape{2, 1}, []float32{2, 4}},
		// Before version 13 all axes from the given one are one; the values of x differ by 1, 2 or 3.
		"Softmax 11":             {11, v(1, 2, 2), nil, node("Softmax", "x", "y"), ir.Shape{1, 2, 2}, []float32{0.0320586, 0.08714432, 0.23688282, 0.6439142}},
		"Softmax 13":             {13, v(1, 2, 2), nil, node("Softmax", "x", "y"), ir.Shape{1, 2, 2}, []float32{0.26894143, 0.73105857, 0.26894143, 0.73105857}},
		"Softmax 13, axis 1":     {13, v(1, 2, 2), nil, node("Softmax", "x", "y", attr("axis", 1)), ir.Shape{1, 2, 2}, []float32{0.11920292, 0.11920292, 0.880797, 0.880797}},
		"Flatten":                {13, v(2, 3, 2), nil, node("Flatten", "x", "y", attr("axis", 2)), ir.Shape{6, 2}, nil},
		"Flatten, from 0":        {13, v(2, 3), nil, node("Flatten", "x", "y", attr("axis", 0)), ir.Shape{1, 6}, nil},
		"Flatten, to the end":    {13, v(2, 3), nil, node("Flatten", "x", "y", attr("axis", 2)), ir.Shape{6, 1}, nil},
		"Reshape 1":              {6, v(2, 3), nil, node("Reshape", "x", "y", attr("shape", []int64{3, 2})), ir.Shape{3, 2}, nil},
		"Reshape 5, 0 and -1":    {6, v(2, 3, 4), consts(ints("s", 0, -1)), node("Reshape", "x s", "y"), ir.Shape{2, 12}, nil},
		"Reshape 14, no zeros":   {14, v(2, 3), consts(ints("s", -1, 1, 2)), node("Reshape", "x s", "y", attr("allowzero", 1)), ir.Shape{3, 1, 2}, nil},
		"Reshape to a scalar":    {14, v(1, 1), consts(ints("s")), node("Reshape", "x s", "y"), ir.Shape{}, []float32{1}},
		"Transpose, reversed":    {13, v(1, 2, 2), nil, node("Transpose", "x", "y"), ir.Shape{2, 2, 1}, []float32{1, 3, 2, 4}},
		"Slice 1":                {6, v(4), nil, node("Slice", "x", "y", attr("starts", []int64{1}), attr("ends", []int64{math.MaxInt64})), ir.Shape{3}, []float32{2, 3, 4}},
		"Pad 2":                  {6, v(2), nil, node("Pad", "x", "y", attr("pads", []int64{1, 1}), attr("value", 7.)), ir.Shape{4}, []float32{7, 1, 2, 7}},
		"Pad 13, value":          {13, v(2), consts(ints("p", 0, 1), floats("v", []float32{7}, []int64{}...)), node("Pad", "x p v", "y"), ir.Shape{3}, []float32{1, 2, 7}},
		"Pad 13, negative crops": {13, v(4), consts(ints("p", -1, 2)), node("Pad", "x p", "y"), ir.Shape{5}, []float32{2, 3, 4, 0, 0}},
		"Pad 18, axes":           {18, v(2, 2), consts(ints("p", 1, -1), ints("a", -1)), node("Pad", "x p - a", "y"), ir.Shape{2, 2}, []float32{0, 1, 0, 3}},
		"Pad, edge":              {13, v(3), consts(ints("p", 2, 1)), node("Pad", "x p", "y", attr("mode", "edge")), ir.Shape{6}, []float32{1, 1, 1, 2, 3, 3}},
		"Pad, reflect":           {13, v(3), consts(ints("p", 2, 1)), node("Pad", "x p", "y", attr("mode", "reflect")), ir.Shape{6}, []float32{3, 2, 1, 2, 3, 2}},
		"Pad, wrap":              {19, v(3), consts(ints("p", 2, 1)), node("Pad", "x p", "y", attr("mode", "wrap")), ir.Shape{6}, []float32{2, 3, 1, 2, 3, 1}},
		"Split 2":                {6, v(3), nil, node("Split", "x", "a y", attr("split", []int64{1, 2})), ir.Shape{2}, []float32{2, 3}},
		"Split 13":               {13, v(3), consts(ints("s", 2, 1)), node("Split", "x s", "a y"), ir.Shape{1}, []float32{3}},
		"Split 18, uneven":       {18, v(5), nil, node("Split", "x", "a b y", attr("num_outputs", 3)), ir.Shape{1}, []float32{5}},
		"Gemm": {13, v(2, 1), consts(floats("b", []float32{1, 2}, 1, 2), floats("c", []float32{1})), node("Gemm", "x b c", "y",
			attr("transA", 1), attr("transB", 1), attr("alpha", 2.), attr("beta", 3.)), ir.Shape{1, 1}, []float32{13}},
		"MatMul of vectors": {13, v(3), consts(floats("w", []float32{1, 10, 100})), node("MatMul", "x w", "y"), ir.Shape{}, []float32{321}},
		"MatMul of a vector and matrices": {13, v(2), consts(floats("w", []float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2)), node("MatMul", "x w", "y"), ir.Shape{2, 2},
			[]float32{7, 10, 19, 22}},
		"MatMul by one matrix": {13, v(2, 1, 2), consts(floats("w", []float32{1, 2}, 2, 1)), node("MatMul", "x w", "y"), ir.Shape{2, 1, 1}, []float32{5, 11}},
		"Sum of one":           {13, v(2), nil, node("Sum", "x", "y"), ir.Shape{2}, []float32{1, 2}},
		"Max of three":         {13, v(3), consts(floats("a", []float32{2}), floats("b", []float32{0, 0, 9})), node("Max", "x a b", "y"), ir.Shape{3}, []float32{2, 2, 9}},
		"Dropout":              {13, v(2), nil, node("Dropout", "x", "y mask"), ir.Shape{2}, []float32{1, 2}},
		"Dropout, nothing drops": {13, v(2), consts(floats("r", []float32{0}, []int64{}...), &onnx.Tensor{Name: "t", DType: onnx.Bool, Raw: []byte{1}, Dims: []int64{}}),
			node("Dropout", "x r t", "y mask"), ir.Shape{2}, []float32{1, 2}},
		"Resize 10 down": {10, v(1, 4), consts(floats("s", []float32{1, 0.6})), node("Resize", "x s", "y"), ir.Shape{1, 2}, []float32{1, 3}},
		"Resize 10 up":   {10, v(1, 2), consts(floats("s", []float32{1, 1.5})), node("Resize", "x s", "y"), ir.Shape{1, 3}, []float32{1, 1, 2}},
		"Resize to a region": {13, v(1, 6), consts(floats("r", []float32{0, -0.2, 1, 1}), ints("n", 1, 7)), node("Resize", "x r - n", "y",
			attr("coordinate_transformation_mode", "tf_crop_and_resize")), ir.Shape{1, 7}, []float32{0, 1, 2, 3, 4, 5, 6}},
		"Concat":               {13, v(1, 2), nil, node("Concat", "x x", "y", attr("axis", -1)), ir.Shape{1, 4}, []float32{1, 2, 1, 2}},
		"Gather, an axis less": {13, v(2, 2), consts(&onnx.Tensor{Name: "i", DType: onnx.I64, Raw: []byte{255, 255, 255, 255, 255, 255, 255, 255}}), node("Gather", "x i", "y"), ir.Shape{2}, []float32{3, 4}},
		"BatchNormalization": {15, v(1, 1, 2), consts(floats("s", []float32{2}), floats("b", []float32{1}), floats("m", []float32{1}), floats("v", []float32{3})),
			node("BatchNormalization", "x s b m v", "y", attr("epsilon", 1.)), ir.Shape{1, 1, 2}, []float32{1, 2}},
		"BatchNormalization of a batch": {15, v(2, 1), consts(floats("s", []float32{2}), floats("b", []float32{1}), floats("m", []float32{9}), floats("v", []float32{9})),
			node("BatchNormalization", "x s b m v", "y", attr("epsilon", 0.75), attr("training_mode", 1)), ir.Shape{2, 1}, []float32{0, 2}},
		"weights among the inputs": {7, v(2), consts(floats("w", []float32{5})), node("Mul", "x w", "y"), ir.Shape{2}, []float32{5, 10}},
	})
}

// Bounds of slices, over x = 1…5 (ONNX Slice version 13: clamping depends on the sign of the step).
func TestSliceBounds(t *testing.T) {
	const end = math.MaxInt64
	for _, c := range []struct {
		start, end, step int64
		want             []float32
	}{
		{0, 5, 1, []float32{1, 2, 3, 4, 5}},
		{1, -1, 1, []float32{2, 3, 4}},
		{-2, end, 1, []float32{4, 5}},
		{-99, 2, 1, []float32{1, 2}},
		{3, 99, 1, []float32{4, 5}},
		{0, end, 2, []float32{1, 3, 5}},
		{1, end, 2, []float32{2, 4}},
		{0, end, 99, []float32{1}},
		{1, 3, end, []float32{2}},
		{4, 0, -1, []float32{5, 4, 3, 2}},
		{4, -6, -1, []float32{5, 4, 3, 2, 1}},
		{end, -end, -1, []float32{5, 4, 3, 2, 1}},
		{end, math.MinInt64, -2, []float32{5, 3, 1}},
		{-1, -4, -2, []float32{5, 3}},
		{-99, math.MinInt64, -1, []float32{1}}, // a start before the first element is clamped to it
		{3, end, math.MinInt64, nil},
		{3, -end, math.MinInt64, []float32{4}},
		{3, 3, 1, nil}, {5, end, 1, nil}, {0, 4, -1, nil},
	} {
		// Over a constant, where no elements are no error.
		m := model(13, in(input("x", 1)), consts(floats("c", []float32{1, 2, 3, 4, 5}), ints("a", c.start), ints("b", c.end), ints("z", 0), ints("s", c.step)),
			node("Slice", "c a b z s", "k"), node("Concat", "x k", "y", attr("axis", 0)))
		r, err := Model(m, Options{})
		if err != nil {
			t.Errorf("%d:%d:%d: %v", c.start, c.end, c.step, err)
			continue
		}
		y, err := r.Graph.Eval(ir.Floats([]float32{0}, 1))
		if err != nil || !slices.Equal(y[0].F[1:], c.want) {
			t.Errorf("%d:%d:%d is %v (%v), want %v", c.start, c.end, c.step, y[0].F[1:], err, c.want)
		}
	}
}

func TestAutoPad(t *testing.T) {
	for _, c := range []struct {
		auto           string
		n, kernel      int
		stride, dilate int64
		out            int
		first          float32 // the sum under the first window over 1, 2, 3, …
	}{
		{"NOTSET", 5, 3, 1, 1, 5, 3}, // pads [1, 1] are given
		{"VALID", 5, 3, 1, 1, 3, 6},
		{"VALID", 6, 3, 2, 1, 2, 6},
		{"SAME_UPPER", 5, 3, 1, 1, 5, 3},
		{"SAME_UPPER", 4, 2, 1, 1, 4, 3}, // the odd one comes after
		{"SAME_LOWER", 4, 2, 1, 1, 4, 1}, // the odd one comes before
		{"SAME_UPPER", 6, 3, 2, 1, 3, 6},
		{"SAME_LOWER", 6, 3, 2, 1, 3, 3},
		{"SAME_UPPER", 5, 2, 1, 3, 5, 3}, // dilated: one of three before
		{"SAME_UPPER", 5, 1, 3, 1, 2, 1}, // nothing to pad
	} {
		w := make([]float32, c.kernel)
		for i := range w {
			w[i] = 1
		}
		attrs := []*onnx.Attribute{attr("auto_pad", c.auto), attr("strides", []int64{c.stride}), attr("dilations", []int64{c.dilate})}
		if c.auto == "NOTSET" {
			attrs = append(attrs, attr("pads", []int64{1, 1}))
		}
		r, err := Model(model(13, in(input("x", 1, 1, c.n)), consts(floats("w", w, 1, 1, int64(c.kernel))), node("Conv", "x w", "y", attrs...)), Options{})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		x := ir.NewTensor(r.Graph.In[0].Type)
		for i := range x.F {
			x.F[i] = float32(i + 1)
		}
		y, err := r.Graph.Eval(x)
		if err != nil || len(y[0].F) != c.out || y[0].F[0] != c.first {
			t.Errorf("%+v: %v, %v", c, y, err)
		}
	}
}

// What is known at compile time leaves no node behind.
func TestConstantsFold(t *testing.T) {
	r, err := Model(model(13, in(input("x", 2, 6)), consts(ints("zero", 0), ints("one", 1), ints("minus", -1)),
		node("Shape", "x", "s"),
		node("Gather", "s zero", "n"),
		node("Concat", "n minus", "to", attr("axis", 0)),
		node("Constant", "", "half", attr("value", floats("", []float32{0.5}, 1))),
		node("Cast", "s", "f", attr("to", int(onnx.F32))),
		node("Mul", "f half", "g"),
		node("ReduceSum", "g zero", "h", attr("keepdims", 0)),
		node("Reshape", "x to", "r"),
		node("Mul", "r h", "y"),
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Graph.Nodes) != 1 || r.Graph.Nodes[0].In[1].Const.F[0] != 4 {
		t.Errorf("left is\n%s", r.Graph)
	}
}

// Outputs that are inputs, constants or each other get values of their own.
func TestOutputsStandAlone(t *testing.T) {
	m := model(13, in(input("x", 2)), consts(floats("c", []float32{7})), node("Neg", "x", "n"), node("Identity", "n", "m"))
	m.Graph.Outputs = []*onnx.ValueInfo{{Name: "x"}, {Name: "c"}, {Name: "n"}, {Name: "m"}}
	r, err := Model(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := r.Graph.Eval(ir.Floats([]float32{1, 2}, 2))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{1, 2}, {7}, {-1, -2}, {-1, -2}} {
		if !slices.Equal(y[i].F, want) || r.Graph.Out[i].Name != m.Graph.Outputs[i].Name {
			t.Errorf("output %d is %s = %v, want %s = %v", i, r.Graph.Out[i].Name, y[i].F, m.Graph.Outputs[i].Name, want)
		}
	}
}
