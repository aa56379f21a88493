package load

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestFormulasByHand gives operators small inputs whose results follow from the specification by hand.
func TestFormulasByHand(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	toF32 := func(from string) *onnx.Node { return node("Cast", from, "y", attr("to", int(onnx.F32))) }
	for name, c := range map[string]struct {
		x      []float32
		dims   []any
		opset  int64
		consts []*onnx.Tensor
		nodes  []*onnx.Node
		want   []float32
	}{
		"greater or equal": {[]float32{1, 2, nan}, []any{3}, 17, consts(floats("w", []float32{2})),
			[]*onnx.Node{node("GreaterOrEqual", "x w", "a"), toF32("a")}, []float32{0, 1, 0}},
		"where": {[]float32{-1, 2, -3}, []any{3}, 17, consts(floats("z", []float32{0})),
			[]*onnx.Node{node("Less", "x z", "a"), node("Where", "a z x", "y")}, []float32{0, 2, 0}},
		"mod of floats": {[]float32{-4.5, 4.5}, []any{2}, 17, consts(floats("w", []float32{2})), []*onnx.Node{node("Mod", "x w", "y", attr("fmod", 1))}, []float32{-0.5, 0.5}},
		"isinf":         {[]float32{-inf, inf, 3}, []any{3}, 20, nil, []*onnx.Node{node("IsInf", "x", "a", attr("detect_negative", 0)), toF32("a")}, []float32{0, 1, 0}},
		"argmax":        {[]float32{2, 2, 1, 0, 3, 3}, []any{2, 3}, 13, nil, []*onnx.Node{node("ArgMax", "x", "a", attr("axis", 1), attr("keepdims", 0), attr("select_last_index", 1)), toF32("a")}, []float32{1, 2}},
		"one hot from behind": {[]float32{-1, 0, 7}, []any{3}, 11, consts(ints("d", 3), floats("v", []float32{2, 5})),
			[]*onnx.Node{node("OneHot", "x d v", "y", attr("axis", 0))}, []float32{2, 5, 2, 2, 2, 2, 5, 2, 2}},
		"lower triangle":      {[]float32{1, 2, 3, 4, 5, 6}, []any{2, 3}, 14, consts(ints("k", -1)), []*onnx.Node{node("Trilu", "x k", "y", attr("upper", 0))}, []float32{0, 0, 0, 4, 0, 0}},
		"hardmax of old":      {[]float32{1, 3, 2, 3}, []any{1, 2, 2}, 11, nil, []*onnx.Node{node("Hardmax", "x", "y")}, []float32{0, 1, 0, 0}},
		"shrink":              {[]float32{-2, 0.5, 2}, []any{3}, 10, nil, []*onnx.Node{node("Shrink", "x", "y", attr("lambd", 1.), attr("bias", 0.5))}, []float32{-1.5, 0, 1.5}},
		"norm of nothing":     {[]float32{3, 4, 0, 0}, []any{2, 2}, 13, nil, []*onnx.Node{node("LpNormalization", "x", "y")}, []float32{0.6, 0.8, 0, 0}},
		"einsum of a trace":   {[]float32{1, 2, 3, 4}, []any{2, 2}, 12, nil, []*onnx.Node{node("Einsum", "x", "y", attr("equation", "ii->"))}, []float32{5}},
		"einsum of a product": {[]float32{1, 2, 3, 4}, []any{2, 2}, 12, nil, []*onnx.Node{node("Einsum", "x x", "y", attr("equation", "ij,kj->ki"))}, []float32{5, 11, 11, 25}},
		"product of integers": {[]float32{1, 2, 3, 4}, []any{2, 2}, 13, consts(ints("w", 2, -1)),
			[]*onnx.Node{node("Cast", "x", "i", attr("to", int(onnx.I64))), node("MatMul", "i w", "a"), toF32("a")}, []float32{0, 2}},
		"reversed sequences": {[]float32{0, 1, 2, 3, 4, 5}, []any{3, 2}, 10, consts(ints("l", 2, 3)), []*onnx.Node{node("ReverseSequence", "x l", "y")}, []float32{2, 5, 0, 3, 4, 1}},
		"places of maxima": {[]float32{1, 5, 2, 9}, []any{1, 1, 4}, 12, nil,
			[]*onnx.Node{node("MaxPool", "x", "v i", attr("kernel_shape", []int64{2}), attr("strides", []int64{2})), toF32("i")}, []float32{1, 3}},
		"loss": {[]float32{1, 3, 2, 5}, []any{2, 2}, 13, consts(ints("t", 1, 0), floats("w", []float32{1, 3})),
			[]*onnx.Node{node("NegativeLogLikelihoodLoss", "x t w", "y")}, []float32{-(3*3 + 2*1) / 4.}},
		"a column back to a picture": {[]float32{1, 2, 3, 4}, []any{1, 2, 2}, 18, consts(ints("i", 1, 3), ints("b", 1, 2)), []*onnx.Node{node("Col2Im", "x i b", "y")}, []float32{1, 2 + 3, 4}},
		"resize by cubes":            {[]float32{1, 1, 1}, []any{1, 1, 3}, 13, consts(floats("s", []float32{1, 1, 2})), []*onnx.Node{node("Resize", "x - s", "y", attr("mode", "cubic"))}, []float32{1, 1, 1, 1, 1, 1}},
		"transform of a wave":        {[]float32{1, 0, -1, 0}, []any{1, 4, 1}, 17, nil, []*onnx.Node{node("DFT", "x", "y", attr("onesided", 1))}, []float32{0, 0, 2, 0, 0, 0}},
		"deep pool":                  {[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []any{1, 1, 2, 2, 2}, 13, nil, []*onnx.Node{node("AveragePool", "x", "y", attr("kernel_shape", []int64{2, 2, 1}))}, []float32{4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Model(model(c.opset, in(input("x", c.dims...)), c.consts, c.nodes...), Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Graph.Eval(ir.Floats(c.x, r.Graph.In[0].Type.Shape...))
			if err != nil || len(out[0].F) != len(c.want) {
				t.Fatalf("got %v, %v, want %v", out, err, c.want)
			}
			for i, w := range c.want {
				if d := math.Abs(float64(out[0].F[i] - w)); !(d < 1e-5) {
					t.Fatalf("got %v, want %v", out[0].F, c.want)
				}
			}
		})
	}
}

// A shape that is an input is what the output's declaration says, or is fixed; if neither, the error names
// the input.
func TestShapesThatAreInputs(t *testing.T) {
	shape := &onnx.ValueInfo{Name: "s", Kind: "tensor", DType: onnx.I64, HasShape: true, Shape: []onnx.Dim{{Known: true, Value: 2}}}
	m := model(17, in(input("x", 6), shape), nil, node("Reshape", "x s", "y"))
	_, err := Model(m, Options{})
	var list *UnsupportedError
	if !errors.As(err, &list) || list.Nodes[0].Fix != "s" {
		t.Fatalf("error is %v", err)
	}
	picture := model(17, in(input("x", 1, 3, 32, 32)), nil, node("NonZero", "x", "y"))
	if _, err := Model(picture, Options{}); !errors.As(err, &list) || list.Nodes[0].Fix != "" {
		t.Fatalf("a picture is to be fixed: %v", err)
	}
	r, err := Model(m, Options{Fixed: map[string][]float64{"s": {2, -1}}})
	if err != nil || r.Graph.Out[0].Type.Shape.String() != "[2,3]" || len(r.Graph.In) != 1 {
		t.Fatalf("fixed: %v, %v", r, err)
	}
	for _, bad := range []map[string][]float64{{"s": {1, 2, 3}}, {"z": {1}}} {
		if _, err := Model(m, Options{Fixed: bad}); !errors.Is(err, ErrFixed) {
			t.Errorf("fixed to %v: error is %v", bad, err)
		}
	}
	m.Graph.Outputs[0] = input("y", 3, 2)
	if r, err = Model(m, Options{}); err != nil || r.Graph.Out[0].Type.Shape.String() != "[3,2]" {
		t.Fatalf("declared: %v, %v", r, err)
	}
}

// Bodies are written out for each trip, and a branch that is not taken is not there.
func TestControlFlow(t *testing.T) {
	yes := &onnx.Tensor{Name: "c", DType: onnx.Bool, Raw: []byte{1}}
	body := func(name string, g *onnx.Graph) *onnx.Attribute {
		return &onnx.Attribute{Name: name, Type: onnx.AttrGraph, G: g}
	}
	outs := func(names ...string) (v []*onnx.ValueInfo) {
		for _, n := range names {
			v = append(v, &onnx.ValueInfo{Name: n})
		}
		return v
	}
	twice := &onnx.Graph{Nodes: []*onnx.Node{node("Add", "x x", "r")}, Outputs: outs("r")}
	minus := &onnx.Graph{Nodes: []*onnx.Node{node("Neg", "x", "r")}, Outputs: outs("r")}
	choice := node("If", "c", "y")
	choice.Attrs = append(choice.Attrs, body("then_branch", twice), body("else_branch", minus))
	if got := evaluate(t, model(17, in(input("x", 2)), consts(yes), choice), 3, 4); got[0] != 6 || got[1] != 8 {
		t.Errorf("the branch gives %v", got)
	}
	// v := v·x, three times from x, the states as rows.
	trip := &onnx.Graph{Inputs: outs("i", "k", "v"), Nodes: []*onnx.Node{node("Identity", "k", "k2"), node("Mul", "v x", "w"), node("Identity", "w", "row")}, Outputs: outs("k2", "w", "row")}
	loop := node("Loop", "n - x", "last y")
	loop.Attrs = append(loop.Attrs, body("body", trip))
	if got := evaluate(t, model(17, in(input("x", 1)), consts(ints("n", 3)), loop), 2); len(got) != 3 || got[0] != 4 || got[2] != 16 {
		t.Errorf("the loop gives %v", got)
	}
	trip.Nodes[1].OpType = "Bogus"
	_, err := Model(model(17, in(input("x", 1)), consts(ints("n", 3)), loop), Options{})
	if err == nil || strings.Count(err.Error(), "Bogus") != 1 {
		t.Errorf("a body with an unknown operator: %v", err)
	}
}

// TestReductionsOfIntegers reduces -7 and 2, which have formulas before and after the sum.
func TestReductionsOfIntegers(t *testing.T) {
	for op, want := range map[string]int64{"ReduceL1": 9, "ReduceL2": 7, "ReduceSumSquare": 53, "ReduceSum": -5} {
		r, err := Model(model(13, in(input("x", 1)), consts(ints("a", -7, 2)), node(op, "a", "y", attr("keepdims", 0))), Options{})
		if err != nil {
			t.Fatal(err)
		}
		y, err := r.Graph.Eval(ir.Floats([]float32{1}, 1))
		if err != nil || y[0].I[0] != want {
			t.Errorf("%s: %v %v, want %d", op, y, err, want)
		}
	}
}

// TestCumSumAlongAnInput sums along the axis that the model's input says.
func TestCumSumAlongAnInput(t *testing.T) {
	for axis, want := range map[float32][]float32{0: {1, 2, 4, 6}, 1: {1, 3, 3, 7}, -1: {1, 3, 3, 7}, -2: {1, 2, 4, 6}} {
		y := valueOf(t, 14, ir.Floats([]float32{axis}, 1), consts(floats("m", []float32{1, 2, 3, 4}, 2, 2)),
			node("Cast", "x", "a", attr("to", int(onnx.I32))), node("CumSum", "m a", "y"))
		if !slices.Equal(y.F, want) {
			t.Errorf("axis %v: %v, want %v", axis, y.F, want)
		}
	}
}
