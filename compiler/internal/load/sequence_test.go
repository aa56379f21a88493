package load

import (
	"errors"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestSequences follows lists of tensors, over x = 1, 2, … 6 of shape [3,2].
func TestSequences(t *testing.T) {
	scalar := func(name string, v int64) *onnx.Tensor {
		s := ints(name, v)
		s.Dims = []int64{}
		return s
	}
	known := consts(ints("first", 0), ints("second", 1), scalar("last", -1), scalar("two", 2), ints("sizes", 1, 2))
	for name, c := range map[string]struct {
		nodes []*onnx.Node
		want  []float32
		shape ir.Shape
	}{
		"split by 1, at": {[]*onnx.Node{node("SplitToSequence", "x", "l"), node("SequenceAt", "l second", "y")}, []float32{3, 4}, ir.Shape{1, 2}},
		"split without the axis": {[]*onnx.Node{node("SplitToSequence", "x", "l", attr("keepdims", 0)), node("SequenceAt", "l last", "y")},
			[]float32{5, 6}, ir.Shape{2}},
		"split by 2 leaves a rest": {[]*onnx.Node{node("SplitToSequence", "x two", "l", attr("keepdims", 0)), node("SequenceAt", "l last", "y")},
			[]float32{5, 6}, ir.Shape{1, 2}},
		"split as listed": {[]*onnx.Node{node("SplitToSequence", "x sizes", "l", attr("axis", -2)), node("SequenceAt", "l last", "y")},
			[]float32{3, 4, 5, 6}, ir.Shape{2, 2}},
		"stack": {[]*onnx.Node{node("SequenceConstruct", "x x", "l"), node("ConcatFromSequence", "l", "y", attr("axis", -1), attr("new_axis", 1))},
			[]float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6}, ir.Shape{3, 2, 2}},
		"insert before the last": {[]*onnx.Node{node("SplitToSequence", "x", "l"), node("Neg", "x", "n"), node("SequenceInsert", "l n last", "m"),
			node("ConcatFromSequence", "m", "y", attr("axis", 0))}, []float32{1, 2, 3, 4, -1, -2, -3, -4, -5, -6, 5, 6}, ir.Shape{6, 2}},
		"insert at the end": {[]*onnx.Node{node("SequenceEmpty", "", "l"), node("SequenceInsert", "l x", "m"), node("SequenceAt", "m last", "y")},
			[]float32{1, 2, 3, 4, 5, 6}, ir.Shape{3, 2}},
		"erase": {[]*onnx.Node{node("SplitToSequence", "x", "l"), node("SequenceErase", "l first", "m"), node("SequenceErase", "m", "k"),
			node("ConcatFromSequence", "k", "y", attr("axis", 0))}, []float32{3, 4}, ir.Shape{1, 2}},
		"length": {[]*onnx.Node{node("SplitToSequence", "x", "l"), node("SequenceLength", "l", "n"), node("Cast", "n", "f", attr("to", 1)), node("Mul", "x f", "y")},
			[]float32{3, 6, 9, 12, 15, 18}, ir.Shape{3, 2}},
		"an optional": {[]*onnx.Node{node("Optional", "x", "o"), node("OptionalGetElement", "o", "y")}, []float32{1, 2, 3, 4, 5, 6}, ir.Shape{3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Model(model(17, in(input("x", 3, 2)), known, c.nodes...), Options{})
			if err != nil {
				t.Fatal(err)
			}
			y, err := r.Graph.Eval(ir.Floats([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(y[0].F, c.want) || !slices.Equal(y[0].Shape, c.shape) {
				t.Errorf("got %v of %v, want %v of %v", y[0].F, y[0].Shape, c.want, c.shape)
			}
		})
	}
	for name, nodes := range map[string][]*onnx.Node{
		"a list as output": {node("SplitToSequence", "x", "y")},
		"a list to add":    {node("SplitToSequence", "x", "l"), node("Add", "l l", "y")},
		"a list to abs":    {node("SplitToSequence", "x", "l"), node("Abs", "l", "y")},
	} {
		if _, err := Model(model(17, in(input("x", 3, 2)), known, nodes...), Options{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNarrowIntegers casts to integers below 8 bits, of which the low bits stay, and quantises to them.
func TestNarrowIntegers(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []*onnx.Node
		want  []int64
	}{
		"cast to i4": {[]*onnx.Node{node("Cast", "x", "y", attr("to", int(onnx.I4)))}, []int64{7, -8, -1, 0, 7, -8}},
		"cast to u4": {[]*onnx.Node{node("Cast", "x", "y", attr("to", int(onnx.U4)))}, []int64{7, 8, 15, 0, 7, 8}},
		"cast to i2": {[]*onnx.Node{node("Cast", "x", "y", attr("to", int(onnx.I2)))}, []int64{-1, 0, -1, 0, -1, 0}},
		"like":       {[]*onnx.Node{node("CastLike", "x four", "y")}, []int64{7, -8, -1, 0, 7, -8}},
		"quantised":  {[]*onnx.Node{node("QuantizeLinear", "x one four", "y")}, []int64{-8, -8, -1, 1, 7, 7}},
	} {
		four := &onnx.Tensor{Name: "four", DType: onnx.I4, Raw: []byte{0}, Dims: []int64{}}
		m := model(21, in(input("x", 6)), consts(four, floats("one", []float32{1}, []int64{}...)), c.nodes...)
		r, err := Model(m, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		y, err := r.Graph.Eval(ir.Floats([]float32{-9, -8, -1, 0.9, 7, 8.2}, 6))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(y[0].I, c.want) {
			t.Errorf("%s: got %v, want %v", name, y[0].I, c.want)
		}
	}
}
