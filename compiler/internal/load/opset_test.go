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

func TestOpsetsAreBounded(t *testing.T) {
	for opset, taken := range map[int64]bool{-1: false, 0: false, 5: false, 6: true, 21: true, 25: true, 28: true, 29: false} {
		_, err := Model(model(opset, in(input("x", 2)), nil, node("Relu", "x", "y")), Options{})
		if taken != (err == nil) || !taken && !errors.Is(err, ErrUnsupported) {
			t.Errorf("opset %d: error is %v", opset, err)
		}
	}
}

// Before version 7 an operand lies in the other from an axis on (ONNX Add version 6).
func TestLegacyBroadcasting(t *testing.T) {
	w := consts(floats("w", []float32{10, 20}))
	for name, c := range map[string]struct {
		node *onnx.Node
		want []float32
	}{
		"from axis 0": {node("Add", "x w", "y", attr("broadcast", 1), attr("axis", 0)), []float32{11, 12, 23, 24}},
		"to the last": {node("Add", "x w", "y", attr("broadcast", 1)), []float32{11, 22, 13, 24}},
	} {
		if got := evaluate(t, model(6, in(input("x", 2, 2)), w, c.node), 1, 2, 3, 4); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	_, err := Model(model(6, in(input("x", 2, 2)), w, node("Add", "x w", "y")), Options{})
	if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "broadcast is not set") {
		t.Errorf("without the attribute: %v", err)
	}
}

func evaluate(t *testing.T, m *onnx.Model, x ...float32) []float32 {
	t.Helper()
	r, err := Model(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Graph.Eval(ir.Floats(x, r.Graph.In[0].Type.Shape...))
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F
}

// What no kernel computes on integers is unsupported, and does not end the list.
func TestIntegersAreUnsupported(t *testing.T) {
	_, err := Model(model(17, in(input("x", 2)), consts(ints("i", 1, 2)),
		node("Softmax", "i", "a"), node("Bogus", "x", "y")), Options{})
	var list *UnsupportedError
	if !errors.As(err, &list) || len(list.Nodes) != 2 || !strings.Contains(list.Nodes[0].Reason, "i64") {
		t.Fatalf("error is %v", err)
	}
}

// What a model declares of its outputs may be wrong: shape inference is, of STFT and some pools. The operators count.
func TestDeclaredShapesDoNotCount(t *testing.T) {
	m := model(17, in(input("x", 1, 3)), nil, node("Relu", "x", "y"))
	for _, dims := range [][]any{{"n", 3}, {7, 7}, {3}} {
		m.Graph.Outputs[0] = input("y", dims...)
		r, err := Model(m, Options{})
		if err != nil || !slices.Equal(r.Graph.Out[0].Type.Shape, ir.Shape{1, 3}) {
			t.Errorf("%v: %v", dims, err)
		}
	}
}

func TestWholePowers(t *testing.T) {
	for _, c := range []struct{ x, e, want float32 }{
		{-2, 17, -131072}, {-1, 17, -1}, {2, -3, 0.125}, {float32(math.Inf(1)), 0, 1}, {float32(math.NaN()), 0, 1}, {3, 1, 3}, {9, 0.5, 3},
	} {
		m := model(17, in(input("x", 1)), consts(floats("e", []float32{c.e})), node("Pow", "x e", "y"))
		if got := evaluate(t, m, c.x); got[0] != c.want {
			t.Errorf("%v^%v is %v, want %v", c.x, c.e, got[0], c.want)
		}
	}
}

func TestWhatIsNotInference(t *testing.T) {
	yes := &onnx.Tensor{Name: "t", DType: onnx.Bool, Raw: []byte{1}}
	for name, m := range map[string]*onnx.Model{
		"Dropout in training": model(17, in(input("x", 2)), consts(yes), node("Dropout", "x - t", "y")),
		"a mode of its own":   model(17, in(input("x", 1, 4, 1, 1)), nil, node("DepthToSpace", "x", "y", attr("blocksize", 2), attr("mode", "XYZ"))),
		"a mode unknown":      model(17, in(input("x", 1, 1, 2, 2)), consts(floats("s", []float32{1, 1, 2, 2})), node("Resize", "x - s", "y", attr("mode", "quartic"))),
		"a nameless input":    model(17, in(input("", 2)), nil, node("Constant", "", "y", attr("value_float", 1.))),
	} {
		if _, err := Model(m, Options{}); !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrModel) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
