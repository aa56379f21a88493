package load

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

func ref(name, of string) *onnx.Attribute { return &onnx.Attribute{Name: name, RefName: of} }

func local(n *onnx.Node) *onnx.Node {
	n.Domain = "local"
	return n
}

func function(name, in, out string, nodes ...*onnx.Node) *onnx.Function {
	return &onnx.Function{Domain: "local", Name: name, Inputs: strings.Fields(in), Outputs: strings.Fields(out), Nodes: nodes, Opsets: map[string]int64{"": 17}}
}

// Functions of the model are written out where they are called.
func TestFunctions(t *testing.T) {
	scaled := function("Scaled", "x", "y", node("Elu", "x", "y", ref("alpha", "a")))
	scaled.AttrDefaults = []*onnx.Attribute{attr("a", 2.0)}
	old := function("Old", "x", "t", node("Squeeze", "x", "s", ref("axes", "at")), node("Unsqueeze", "s", "t", attr("axes", []int64{0, 1})))
	old.Opsets[""] = 11
	half := function("Half", "x b", "y rest", node("Split", "x", "y rest", attr("axis", 0), ref("num_outputs", "none")))
	for name, c := range map[string]struct {
		nodes     []*onnx.Node
		functions []*onnx.Function
		want      []float32
	}{
		"a default":         {[]*onnx.Node{local(node("Scaled", "x", "y"))}, []*onnx.Function{scaled}, []float32{-2, -2, 3, 4}},
		"an attribute":      {[]*onnx.Node{local(node("Scaled", "x", "y", attr("a", 5.0)))}, []*onnx.Function{scaled}, []float32{-5, -5, 3, 4}},
		"a version":         {[]*onnx.Node{local(node("Old", "x", "y"))}, []*onnx.Function{old}, []float32{-50, -60, 3, 4}},
		"no output for all": {[]*onnx.Node{local(node("Half", "x", "- h")), node("Concat", "h h", "y", attr("axis", 0))}, []*onnx.Function{half}, []float32{3, 4, 3, 4}},
		"an input left out": {[]*onnx.Node{local(node("Bound", "x - top", "y"))},
			[]*onnx.Function{function("Bound", "x low top more", "y", node("Clip", "x low top", "y"))}, []float32{-50, -60, 3, 3}},
		"one inside another, the same names": {[]*onnx.Node{node("Neg", "x", "h"), local(node("Outer", "h", "y", attr("b", 0.0)))},
			[]*onnx.Function{function("Outer", "x", "y", local(node("Scaled", "x", "h", ref("a", "b"))), node("Neg", "h", "y")), scaled}, []float32{-50, -60, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(17, in(input("x", 4)), []*onnx.Tensor{{Name: "top", DType: onnx.F32, Raw: floats("", []float32{3}).Raw}}, c.nodes...)
			m.Functions = c.functions
			r, err := Model(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			x := ir.NewTensor(ir.Of(ir.F32, 4))
			copy(x.F, []float32{-50, -60, 3, 4})
			out, err := r.Graph.Eval(x)
			if err != nil || !slices.Equal(out[0].F, c.want) {
				t.Errorf("got %v, %v, want %v", out[0].F, err, c.want)
			}
		})
	}
}

func TestFunctionsThatAreWrong(t *testing.T) {
	for want, f := range map[string]*onnx.Function{
		"deep":                         function("F", "x", "y", local(node("F", "x", "y"))),
		`output "y" of the body`:       function("F", "x", "y", node("Relu", "x", "z")),
		"the function has 0 and 1":     function("F", "", "y", node("Relu", "x", "y")),
		`input "outside" is not`:       function("F", "x", "y", node("Add", "x outside", "y")),
		"is an input that is left out": function("F", "x y", "y"),
	} {
		m := model(17, in(input("x", 4)), nil, node("Relu", "x", "outside"), local(node("F", "x", "y")))
		m.Functions = []*onnx.Function{f}
		if _, err := Model(m, Options{}); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	m := model(17, in(input("x", 4)), nil, local(node("F", "x", "y")))
	m.Functions = []*onnx.Function{function("F", "x", "y", node("Frob", "x", "y"))}
	var list *UnsupportedError
	if _, err := Model(m, Options{}); !errors.As(err, &list) || len(list.Nodes) != 1 || list.Nodes[0].Op != "Frob" {
		t.Errorf("error is %v, want one about the node inside", err)
	}
	m = model(17, in(input("x", 4)), nil, node("Elu", "x", "y", ref("alpha", "a")))
	if _, err := Model(m, Options{}); !errors.Is(err, ErrModel) {
		t.Errorf("a reference outside of functions: error is %v", err)
	}
	// A call in each call doubles the nodes: what is written out is bounded.
	m = model(17, in(input("x", 4)), nil, local(node("F0", "x", "y")))
	for i := range 30 {
		next := "F" + string(rune('1'+i))
		m.Functions = append(m.Functions, function("F"+string(rune('0'+i)), "x", "y", local(node(next, "x", "a")), local(node(next, "a", "y"))))
	}
	m.Functions = append(m.Functions, function("F"+string(rune('0'+30)), "x", "y", node("Relu", "x", "y")))
	if _, err := Model(m, Options{}); err == nil {
		t.Error("a thousand million nodes were written out")
	}
}
