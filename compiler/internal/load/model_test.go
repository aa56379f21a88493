package load

import (
	le "encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// floats and ints are constants of a model; without dims a vector.
func floats(name string, v []float32, dims ...int64) *onnx.Tensor {
	if dims == nil {
		dims = []int64{int64(len(v))}
	}
	t := &onnx.Tensor{Name: name, DType: onnx.F32, Dims: dims, Raw: []byte{}}
	for _, x := range v {
		t.Raw = le.LittleEndian.AppendUint32(t.Raw, math.Float32bits(x))
	}
	return t
}

func ints(name string, v ...int64) *onnx.Tensor {
	t := &onnx.Tensor{Name: name, DType: onnx.I64, Dims: []int64{int64(len(v))}, Raw: []byte{}}
	for _, x := range v {
		t.Raw = le.LittleEndian.AppendUint64(t.Raw, uint64(x))
	}
	return t
}

// node is an operator from names, separated by spaces, to names; "-" is an optional input left out.
func node(op, in, out string, attrs ...*onnx.Attribute) *onnx.Node {
	n := &onnx.Node{OpType: op, Inputs: strings.Fields(in), Outputs: strings.Fields(out), Attrs: attrs}
	for i, v := range n.Inputs {
		if v == "-" {
			n.Inputs[i] = ""
		}
	}
	return n
}

// attr is an attribute of the type of v.
func attr(name string, v any) *onnx.Attribute {
	a := &onnx.Attribute{Name: name}
	switch v := v.(type) {
	case int:
		a.Type, a.I = onnx.AttrInt, int64(v)
	case int64: // beyond an int of 32 bits
		a.Type, a.I = onnx.AttrInt, v
	case float64:
		a.Type, a.F = onnx.AttrFloat, float32(v)
	case string:
		a.Type, a.S = onnx.AttrString, []byte(v)
	case []int64:
		a.Type, a.Ints = onnx.AttrInts, v
	case *onnx.Tensor:
		a.Type, a.T = onnx.AttrTensor, v
	default:
		panic("no attribute of that type")
	}
	return a
}

// input is an f32 input; a dimension is a number, a name, or "" for an unknown one.
func input(name string, dims ...any) *onnx.ValueInfo {
	v := &onnx.ValueInfo{Name: name, Kind: "tensor", DType: onnx.F32, HasShape: true}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			v.Shape = append(v.Shape, onnx.Dim{Value: int64(d), Known: true})
		case string:
			v.Shape = append(v.Shape, onnx.Dim{Param: d})
		}
	}
	return v
}

// model computes y from the inputs.
func model(opset int64, inputs []*onnx.ValueInfo, consts []*onnx.Tensor, nodes ...*onnx.Node) *onnx.Model {
	return &onnx.Model{Opsets: map[string]int64{"": opset}, Graph: &onnx.Graph{
		Name: "test", Inputs: inputs, Outputs: []*onnx.ValueInfo{{Name: "y"}}, Initializers: consts, Nodes: nodes,
	}}
}

func in(v ...*onnx.ValueInfo) []*onnx.ValueInfo { return v }
func consts(t ...*onnx.Tensor) []*onnx.Tensor   { return t }

func TestUnsupportedNodesAreListedAtOnce(t *testing.T) {
	_, err := Model(model(17, in(input("x", 1, 3)), consts(ints("i", 0)),
		node("Blur", "x", "a"),
		node("Relu", "a", "b"), // waits for what is not there: not to blame
		node("Sharpen", "b", "c"),
		&onnx.Node{Name: "third", OpType: "Fold", Domain: "com.example", Inputs: []string{"x"}, Outputs: []string{"d"}},
		node("Cast", "x", "e", attr("to", int(onnx.I64))),
		node("Add", "c d", "y"),
	), Options{})
	var list *UnsupportedError
	if !errors.As(err, &list) || !errors.Is(err, ErrUnsupported) {
		t.Fatalf("error is %v", err)
	}
	want := []Unsupported{
		{Node: "node 0 → a", Op: "Blur", Reason: "no such operator in this compiler"},
		{Node: "node 2 → c", Op: "Sharpen", Reason: "no such operator in this compiler"},
		{Node: "third", Op: "com.example.Fold", Reason: "no such operator in this compiler"},
	}
	if !slices.Equal(list.Nodes, want) {
		t.Errorf("listed are\n%v\nwant\n%v", list.Nodes, want)
	}
	if text := err.Error(); !strings.Contains(text, "3 node(s)") || !strings.Contains(text, "\n  com.example.Fold (third): no such") {
		t.Errorf("message is %s", text)
	}
}

func TestDimensionsAreBound(t *testing.T) {
	relu := node("Relu", "x", "y")
	for name, c := range map[string]struct {
		input *onnx.ValueInfo
		dims  map[string]int
		shape ir.Shape
		bound map[string]int
		err   string
	}{
		"batch is 1":            {input("x", "batch_size", 3), nil, ir.Shape{1, 3}, map[string]int{"batch_size": 1}, ""},
		"N is 1":                {input("x", "N", 3), nil, ir.Shape{1, 3}, map[string]int{"N": 1}, ""},
		"without a name too":    {input("x", "", 3), nil, ir.Shape{1, 3}, map[string]int{"x.0": 1}, ""},
		"unless it is given":    {input("x", "N", 3), map[string]int{"N": 4}, ir.Shape{4, 3}, map[string]int{"N": 4}, ""},
		"by its place":          {input("x", 2, ""), map[string]int{"x.1": 5}, ir.Shape{2, 5}, map[string]int{"x.1": 5}, ""},
		"one name, two axes":    {input("x", 1, "s", "s"), map[string]int{"s": 5}, ir.Shape{1, 5, 5}, map[string]int{"s": 5}, ""},
		"all that lack one":     {input("x", "batch", "height", "w"), nil, nil, nil, `dimension not bound: height (axis 1 of input "x"), w (axis 2 of input "x")`},
		"a batch further on":    {input("x", 3, "batch"), nil, nil, nil, `batch (axis 1 of input "x")`},
		"a vector has no batch": {input("x", "N"), nil, nil, nil, `N (axis 0 of input "x")`},
		"not to 0":              {input("x", "N", 3), map[string]int{"N": 0}, nil, nil, `input "x": axis 0 has extent 0`},
		"a fixed 0":             {input("x", 0, 3), nil, nil, nil, `output "y" is f32[0,3], which has no elements`},
		"a negative one":        {input("x", 1, -3), nil, nil, nil, `input "x": axis 1 has extent -3`},
		"huge ones":             {input("x", 1<<20, 1<<20), nil, nil, nil, `input "x": a tensor of shape [1048576,1048576] is more than a 32-bit memory holds`},
		"empty huge ones":       {input("x", 0, 1<<20, 1<<20), nil, nil, nil, `input "x": a tensor of shape [0,1048576,1048576] is more than a 32-bit memory holds`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Model(model(17, in(c.input), nil, relu), Options{Dims: c.dims})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error is %v, want %s", err, c.err)
				}
				if strings.Contains(c.err, "of input") && !errors.Is(err, ErrUnbound) {
					t.Error("it is no ErrUnbound")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Graph.In[0].Type.Shape; !slices.Equal(got, c.shape) {
				t.Errorf("shape is %v, want %v", got, c.shape)
			}
			for k, v := range c.bound {
				if r.Bound[k] != v || len(r.Bound) != len(c.bound) {
					t.Errorf("bound are %v, want %v", r.Bound, c.bound)
				}
			}
		})
	}
}

func TestMalformedModels(t *testing.T) {
	x := input("x", 1, 2, 4, 4)
	conv := func(attrs ...*onnx.Attribute) *onnx.Node { return node("Conv", "x w", "y", attrs...) }
	w := floats("w", make([]float32, 18), 1, 2, 3, 3)
	outside := &onnx.Tensor{Name: "w", DType: onnx.F32, Dims: []int64{2}, External: &onnx.External{Location: "weights.bin", Length: -1}}
	sequence, unshaped := input("x"), input("x")
	sequence.Kind, unshaped.HasShape = "sequence", false
	for name, c := range map[string]struct {
		m    *onnx.Model
		want string
	}{
		"shapes that do not add up": {model(17, in(x), consts(floats("w", make([]float32, 27), 1, 3, 3, 3)), conv()),
			"node 0 → y (Conv): conv: 2 channels, weights [3,3,3,1], group 1 do not add up"},
		"kernel_shape against weights":  {model(17, in(x), consts(w), conv(attr("kernel_shape", []int64{2, 2}))), "kernel_shape [2 2] differs from the weights' [3 3]"},
		"strides of another rank":       {model(17, in(x), consts(w), conv(attr("strides", []int64{1}))), "do not fit 2 spatial axes"},
		"a dilation that overflows":     {model(17, in(x), consts(w), conv(attr("dilations", []int64{1 << 62, 1}))), "beyond 16777216"},
		"a group that overflows":        {model(17, in(x), consts(w), conv(attr("group", int64(1<<62+1)))), "do not add up"},
		"an attribute of another type":  {model(17, in(x), consts(w), conv(attr("group", "two"))), `attribute "group" of Conv is string, want int`},
		"auto_pad":                      {model(17, in(x), consts(w), conv(attr("auto_pad", "SAME"))), `auto_pad "SAME" is none of NOTSET`},
		"an input that is left out":     {model(17, in(x), nil, node("Conv", "x", "y")), "node 0 → y (Conv): input 1 is missing"},
		"used before it is defined":     {model(17, in(x), nil, node("Relu", "h", "y"), node("Relu", "x", "h")), `node 0 → y (Relu): input "h" is not defined before it`},
		"a cycle":                       {model(17, in(x), nil, node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "a", "y")), `input "b" is not defined before it`},
		"defined twice":                 {model(17, in(x), nil, node("Relu", "x", "y"), node("Relu", "x", "y")), `output "y" is already the name of another value`},
		"an output nobody computes":     {model(17, in(x), nil, node("Relu", "x", "z")), `output "y" is never computed`},
		"weights in a file not read":    {model(17, in(x), consts(outside), node("Add", "x w", "y")), `"weights.bin", which was not read`},
		"weights that do not fill":      {model(17, in(x), consts(floats("w", []float32{1}, 2)), node("Add", "x w", "y")), `initializer "w"`},
		"weights of a negative extent":  {model(17, in(x), consts(floats("w", nil, -2)), node("Add", "x w", "y")), "negative dimension"},
		"weights without end":           {model(17, in(x), consts(floats("w", nil, 1<<40, 1<<40)), node("Add", "x w", "y")), "shape too large"},
		"no broadcast":                  {model(17, in(x), consts(floats("w", []float32{1, 2, 3})), node("Add", "x w", "y")), "shapes [1,2,4,4] and [3] do not broadcast"},
		"element types":                 {model(17, in(x), consts(ints("w", 1)), node("Add", "x w", "y")), "wants one element type"},
		"a sequence":                    {model(17, in(sequence), nil, node("Relu", "x", "y")), `input "x": unsupported: it has no tensor type with a shape`},
		"no shape":                      {model(17, in(unshaped), nil, node("Relu", "x", "y")), `input "x": unsupported`},
		"an axis outside":               {model(17, in(x), nil, node("Softmax", "x", "y", attr("axis", 4))), "axis 4 is outside rank 4"},
		"an axis twice":                 {model(17, in(x), consts(ints("w", 1, -3)), node("ReduceSum", "x w", "y")), "name one twice"},
		"a permutation that is none":    {model(17, in(x), nil, node("Transpose", "x", "y", attr("perm", []int64{0, 1, 2, 2}))), "is no permutation"},
		"an index outside":              {model(17, in(x), consts(ints("w", 4)), node("Gather", "x w", "y", attr("axis", 3))), "index 4 is outside axis 3 of [1,2,4,4]"},
		"an index below":                {model(17, in(x), consts(ints("w", -5)), node("Gather", "x w", "y", attr("axis", 3))), "index -5 is outside axis 3"},
		"a step of 0":                   {model(17, in(x), consts(ints("a", 0), ints("b", 1), ints("s", 0)), node("Slice", "x a b a s", "y")), "step 0 on axis 0"},
		"slice lists":                   {model(17, in(x), consts(ints("a", 0), ints("b", 1, 2)), node("Slice", "x a b", "y")), "differ in length"},
		"an empty slice":                {model(17, in(x), consts(ints("a", 3), ints("b", 3), ints("c", 2)), node("Slice", "x a b c", "y")), "which has no elements"},
		"parts of another sum":          {model(17, in(x), consts(ints("w", 1, 2)), node("Split", "x w", "y z", attr("axis", 3))), "parts [1 2] do not add up to axis 3"},
		"parts without end":             {model(18, in(x), nil, node("Split", "x", "y z", attr("num_outputs", int64(1<<40)))), "the node has 2"},
		"a pad that crops all":          {model(17, in(x), consts(ints("w", 0, 0, -2, 0, 0, 0, -2, 0)), node("Pad", "x w", "y")), "which has no elements"},
		"an empty turn":                 {model(23, in(input("x", 1, 2, 0, 4)), consts(floats("c", nil, 1, 0, 2)), node("RotaryEmbedding", "x c c", "y")), "which has no elements"},
		"a pad without end":             {model(17, in(x), consts(ints("w", 0, 0, 1<<62, 0, 0, 0, 1<<62, 0)), node("Pad", "x w", "y")), "more than a 32-bit memory holds"},
		"an edge without end":           {model(17, in(x), consts(ints("w", 0, 0, 1<<62, 0, 0, 0, 1<<62, 0)), node("Pad", "x w", "y", attr("mode", "edge"))), "out of all proportion"},
		"constants without end":         {model(17, in(x), consts(ints("w", 1<<15, 1<<15)), node("ConstantOfShape", "w", "c"), node("Add", "x c", "y")), "out of all proportion to its weights"},
		"constants of constants":        {model(17, in(x), consts(ints("w", 1<<12, 1<<12), ints("i", 0)), node("ConstantOfShape", "w", "a"), node("MatMul", "a a", "b"), node("Gather", "b i", "y")), "out of all proportion"},
		"a list without end":            {model(17, in(x), consts(ints("w", make([]int64, 2000)...)), node("Reshape", "x w", "y")), "a list of 2000 values"},
		"a shape that does not fill":    {model(17, in(x), consts(ints("w", 3, -1)), node("Reshape", "x w", "y")), "32 elements of [1,2,4,4] do not fill shape [3 -1]"},
		"a shape with two unknown":      {model(17, in(x), consts(ints("w", -1, -1)), node("Reshape", "x w", "y")), "shape [-1 -1]: -1 on axis 1"},
		"a shape that keeps what isn't": {model(17, in(x), consts(ints("w", 1, 2, 4, 4, 0)), node("Reshape", "x w", "y")), "keeps axis 4"},
		"squeeze of what is wide":       {model(17, in(x), consts(ints("w", 1)), node("Squeeze", "x w", "y")), "axis 1 of [1,2,4,4] has extent 2, not 1"},
		"a scalar that is none":         {model(17, in(x), consts(floats("w", []float32{1, 2})), node("Clip", "x w", "y")), "wants a scalar"},
		"blocks without end":            {model(17, in(x), nil, node("DepthToSpace", "x", "y", attr("blocksize", int64(1<<32)))), "blocksize"},
		"a stride without end":          {model(17, in(x), consts(floats("w", make([]float32, 18), 2, 1, 3, 3)), node("ConvTranspose", "x w", "y", attr("strides", []int64{1 << 40, 1}))), "beyond 16777216"},
		"weights of integers":           {model(17, in(input("x", 1, 1, 4)), consts(&onnx.Tensor{Name: "w", DType: onnx.I64, Dims: []int64{1, 1, 1}, Raw: make([]byte, 8)}), node("ConvTranspose", "x w", "y")), "do not add up"},
		"a C that extends the product":  {model(17, in(input("x", 1, 2)), consts(floats("w", []float32{1, 2}, 2, 1), floats("c", []float32{1, 2})), node("Gemm", "x w c", "y")), "C is [2], which does not broadcast"},
		"no operands":                   {model(17, in(x), nil, node("Sum", "", "y")), "input 0 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Model(c.m, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
	empty := model(17, in(x), nil)
	empty.Graph.Outputs = nil
	if _, err := Model(empty, Options{}); err == nil || !strings.Contains(err.Error(), "the graph has no output") {
		t.Errorf("a model without outputs: %v", err)
	}
}
