package compiler

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// net is a graph under construction: input "x", output "y".
type net struct{ *onnx.Model }

func newNet(dims ...int64) net {
	info := func(name string, dims []int64) *onnx.ValueInfo {
		v := &onnx.ValueInfo{Name: name, Kind: "tensor", DType: onnx.F32, HasShape: dims != nil}
		for _, d := range dims {
			v.Shape = append(v.Shape, onnx.Dim{Value: d, Known: true})
		}
		return v
	}
	return net{&onnx.Model{IRVersion: 8, Opsets: map[string]int64{"": 13}, Graph: &onnx.Graph{
		Name: "g", Inputs: []*onnx.ValueInfo{info("x", dims)}, Outputs: []*onnx.ValueInfo{info("y", nil)},
	}}}
}

func (n net) input(name string, dims ...int64) net {
	v := *newNet(dims...).Graph.Inputs[0]
	v.Name = name
	n.Graph.Inputs = append(n.Graph.Inputs, &v)
	return n
}

// op appends a node: "Conv x w > y".
func (n net) op(text string, attrs ...*onnx.Attribute) net {
	left, right, _ := strings.Cut(text, ">")
	words := strings.Fields(left)
	n.Graph.Nodes = append(n.Graph.Nodes, &onnx.Node{
		Name: "n" + fmt.Sprint(len(n.Graph.Nodes)), OpType: words[0], Inputs: words[1:], Outputs: strings.Fields(right), Attrs: attrs,
	})
	return n
}

func ints(name string, v ...int64) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrInts, Ints: v}
}

func integer(name string, v int64) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrInt, I: v}
}

func text(name, v string) *onnx.Attribute {
	return &onnx.Attribute{Name: name, Type: onnx.AttrString, S: []byte(v)}
}

// weights adds a constant of zeros.
func (n net) weights(name string, dims ...int64) net {
	size := int64(4)
	for _, d := range dims {
		size *= d
	}
	n.Graph.Initializers = append(n.Graph.Initializers, &onnx.Tensor{Name: name, DType: onnx.F32, Dims: dims, Raw: make([]byte, size)})
	return n
}

// list adds a constant list of integers.
func (n net) list(name string, v ...int64) net {
	raw := []byte{}
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	n.Graph.Initializers = append(n.Graph.Initializers, &onnx.Tensor{Name: name, DType: onnx.I64, Dims: []int64{int64(len(v))}, Raw: raw})
	return n
}

// times appends an operator n times in a chain from x to y. Where it has other inputs, % stands for the one of
// the chain.
func (n net) times(count int, op string, attrs ...*onnx.Attribute) net {
	if !strings.Contains(op, "%") {
		op += " %"
	}
	from := "x"
	for i := range count {
		to := fmt.Sprint("v", i)
		if i == count-1 {
			to = "y"
		}
		n.op(strings.ReplaceAll(op, "%", from)+" > "+to, attrs...)
		from = to
	}
	return n
}

const huge = 1 << 40

// hostileModels are small models that ask for much, or make no sense. want is a part of the reason for
// which each is refused; empty: it may compile.
var hostileModels = map[string]struct {
	net  net
	want string
}{
	"cycle":               {newNet(1, 4).op("Add x b > a").op("Relu a > b").op("Relu b > y"), `input "b" is not defined`},
	"itself":              {newNet(1, 4).op("Relu y > y"), `input "y" is not defined`},
	"twice":               {newNet(1, 4).op("Relu x > y").op("Abs x > y"), `output "y" is already`},
	"input again":         {newNet(1, 4).op("Relu x > x"), `output "x" is already`},
	"two inputs x":        {newNet(1, 4).input("x", 1, 5).op("Relu x > y"), `input "x"`},
	"no output":           {newNet(1, 4).op("Relu x > z"), `"y"`},
	"no node":             {newNet(1, 4), `"y"`},
	"no op":               {newNet(1, 4).op("Nothing x > y"), "Nothing"},
	"nothing in":          {newNet(1, 4).op("Relu > y"), "input 0 is missing"},
	"zero extent":         {newNet(1, 0).op("Relu x > y"), "no elements"},
	"negative extent":     {newNet(1, -4).op("Relu x > y"), "extent -4"},
	"huge input":          {newNet(huge, huge).op("Relu x > y"), "more than a 32-bit memory"},
	"4 GiB input":         {newNet(1 << 30).op("Relu x > y"), ""},
	"huge kernel":         {newNet(1, 1, 8, 8).op("MaxPool x > y", ints("kernel_shape", huge, huge)), "n0"},
	"huge pads":           {newNet(1, 1, 8, 8).op("MaxPool x > y", ints("kernel_shape", 2, 2), ints("pads", huge, huge, huge, huge)), "n0"},
	"wide pads":           {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("pads", 1<<14, 1<<14, 1<<14, 1<<14)), "n0"},
	"negative pads":       {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("pads", -9, -9, -9, -9)), "n0"},
	"huge stride":         {newNet(1, 1, 8, 8).op("MaxPool x > y", ints("kernel_shape", 2, 2), ints("strides", math.MaxInt64, math.MinInt64)), "n0"},
	"zero stride":         {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("strides", 0, 0)), "n0"},
	"zero stride, same":   {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("strides", 0, 0), text("auto_pad", "SAME_UPPER")), "stride 0"},
	"huge dilation":       {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("dilations", huge, huge)), "n0"},
	"huge dilation, same": {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", ints("dilations", 1<<30, 1<<30), text("auto_pad", "SAME_UPPER")), "beyond 16777216"},
	"group 0":             {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", integer("group", 0)), "group 0"},
	"group -1":            {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("Conv x w > y", integer("group", -1)), "group -1"},
	"group 2^40":          {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("ConvTranspose x w > y", integer("group", huge)), "n0"},
	"no channels":         {newNet(1, 1, 8, 8).weights("w", 0, 1, 2, 2).op("Conv x w > y"), "n0"},
	"no taps":             {newNet(1, 1, 8, 8).weights("w", 1, 1, 0, 0).op("Conv x w > y"), "n0"},
	"transposed stride":   {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("ConvTranspose x w > y", ints("strides", 1<<20, 1<<20)), "n0"},
	"transposed padding":  {newNet(1, 1, 8, 8).weights("w", 1, 1, 2, 2).op("ConvTranspose x w > y", ints("output_padding", 1<<30, 1<<30)), "n0"},
	"computed bias":       {newNet(1, 1, 8, 8).input("b", 2).weights("w", 1, 1, 2, 2).op("Conv x w b > y"), "bias [2] for 1 channels"},
	"axis":                {newNet(1, 4).op("Softmax x > y", integer("axis", 7)), "axis 7"},
	"axis -2^63":          {newNet(1, 4).op("Softmax x > y", integer("axis", math.MinInt64)), "n0"},
	"flatten":             {newNet(1, 4).op("Flatten x > y", integer("axis", -9)), "axis -9"},
	"perm":                {newNet(1, 4).op("Transpose x > y", ints("perm", 1, 1)), "n0"},
	"perm out of range":   {newNet(1, 4).op("Transpose x > y", ints("perm", 0, huge)), "n0"},
	"reshape":             {newNet(1, 4).list("s", huge, huge).op("Reshape x s > y"), "n0"},
	"reshape to less":     {newNet(1, 4).list("s", 1, 3).op("Reshape x s > y"), "n0"},
	"tile":                {newNet(1, 4).list("s", 1<<28, 1<<28).op("Tile x s > y"), "n0"},
	"tile -1":             {newNet(1, 4).list("s", 1, -1).op("Tile x s > y"), "n0"},
	"expand":              {newNet(1, 1).list("s", huge, huge).op("Expand x s > y"), "n0"},
	"constant expand":     {newNet(1, 1).weights("w", 1).list("s", 1<<15, 1<<14).op("Expand w s > c").op("Add c x > y"), "out of all proportion"},
	"constant":            {newNet(1, 1).list("s", 1<<15, 1<<14).op("ConstantOfShape s > c").op("Add c x > y"), "out of all proportion"},
	"resize":              {newNet(1, 1, 8, 8).list("s", 1, 1, huge, huge).op("Resize x   > a").op("Relu a > y"), "n0"},
	"resize to 2^20":      {newNet(1, 1, 8, 8).list("s", 1, 1, 1<<20, 1<<20).op("Resize x x x s > y"), "n0"},
	"resize to 0":         {newNet(1, 1, 8, 8).list("s", 1, 1, 0, -8).op("Resize x x x s > y"), "n0"},
	"pad":                 {newNet(1, 4).list("s", huge, huge, huge, huge).op("Pad x s > y"), "n0"},
	"crop by pad":         {newNet(1, 4).list("s", 0, -2, 0, -2).op("Pad x s > y"), "no elements"},
	"slice of nothing":    {newNet(1, 4).list("s", 3).list("e", 1).list("a", 1).op("Slice x s e a > y"), "no elements"},
	"slice step 0":        {newNet(1, 4).list("s", 0).list("e", 4).list("a", 1).list("st", 0).op("Slice x s e a st > y"), "n0"},
	"slice step -2^63":    {newNet(1, 4).list("s", math.MaxInt64).list("e", math.MinInt64).list("a", 1).list("st", math.MinInt64).op("Slice x s e a st > y"), ""},
	"split":               {newNet(1, 4).list("s", 5, -1).op("Split x s > y z", integer("axis", 1)), "n0"},
	"gather":              {newNet(1, 4).list("s", 9).op("Gather x s > y", integer("axis", 1)), "n0"},
	"depth to space":      {newNet(1, 4, 2, 2).op("DepthToSpace x > y", integer("blocksize", 0)), "n0"},
	"space to depth":      {newNet(1, 4, 2, 2).op("SpaceToDepth x > y", integer("blocksize", huge)), "n0"},
	"lrn":                 {newNet(1, 4, 2, 2).op("LRN x > y", integer("size", huge)), ""},
	"gemm":                {newNet(1, 4).weights("w", 5, 3).op("Gemm x w > y"), "n0"},
	"matmul":              {newNet(1, 4).weights("w", 0, 3).op("MatMul x w > y"), "n0"},
	"broadcast":           {newNet(1<<15, 1).input("b", 1, 1<<15).op("Add x b > c").op("ReduceSum c > y"), ""},
	"resize by weights":   {newNet(1, 1, 4, 5).list("e").list("s", 1, 1, 3276928, 7).op("Resize x e e s > y", text("mode", "cubic")), ""},
	"top 2^40":            {newNet(1, 4).list("k", huge).op("TopK x k > y z"), "n0"},
	"top -1":              {newNet(1, 4).list("k", -1).op("TopK x k > y z"), "n0"},
	"range":               {newNet(1, 4).list("a", 0).list("b", huge).list("c", 1).op("Squeeze a > d").op("Squeeze b > e").op("Squeeze c > f").op("Range d e f > r").op("Cast r > q", integer("to", 1)).op("Add q x > y"), "n3"},
	"range by 0":          {newNet(1, 4).list("a", 0).list("b", 9).op("Squeeze a > d").op("Squeeze b > e").op("Range d e d > r").op("Cast r > q", integer("to", 1)).op("Add q x > y"), "n2"},
	"one hot":             {newNet(4).list("d", huge).weights("v", 2).op("OneHot x d v > y"), "n0"},
	"long sequence":       {newNet(1<<20, 1, 1).weights("w", 1, 4, 1).weights("r", 1, 4, 1).op("LSTM x w r > y", integer("hidden_size", 1)), ""},
	"huge state":          {newNet(1, 1, 1).weights("w", 1, 4, 1).weights("r", 1, 4, 1).op("LSTM x w r > y", integer("hidden_size", huge)), "n0"},
	"softmax of nothing":  {newNet(1, 4).list("s", 0).list("e", 0).list("a", 1).op("Slice x s e a > z").op("Softmax z > q").op("ReduceSum q > y"), ""},
	"many groups":         {newNet(1, 1<<16, 1, 1).weights("w", 1<<17, 1, 1, 1).op("Conv x w > y", integer("group", 1<<16)), ""},
	"long kernel":         {newNet(1, 1, 1<<16).weights("w", 1, 1, 1<<15).op("Conv x w > y"), ""},
	"fourier":             {newNet(1, 1<<20, 1).op("DFT x > y"), ""},
	"all pictures":        {newNet(1<<20, 1, 3, 3).weights("w", 1, 1, 3, 3).op("Conv x w > y"), "kernel calls"},
	"attribute's type":    {newNet(1, 4).op("Softmax x > y", text("axis", "one")), "axis"},
	"no body":             {newNet(1, 4).list("t", 9).op("Loop t t x > y"), "n0"},
	"endless loop":        {newNet(1, 4).list("t", math.MaxInt64).op("Loop t t x > y", body(newNet().input("s", 1, 4).op("Exp s > y"))), "n0"},
	"axis of a scalar":    {newNet().weights("s", 1<<4).op("QuantizeLinear x s > q").op("DequantizeLinear q s > y"), ""},
	"many axes":           {newNet(slices.Repeat([]int64{1}, 2000)...).op("Relu x > y"), ""},
	"long chain":          {newNet(1, 4).times(100_000, "Exp"), ""},
	"long chain, unknown": {newNet(1, 4).times(100_000, "Nothing"), "100000 node(s)"},
	"doubled without end": {newNet(1, 4).times(40, "Concat x"), ""},
}

// A hostile model is refused by name and reason, or compiled, at a price in proportion.
func TestHostileModels(t *testing.T) {
	const most = 1 << 30
	for name, c := range hostileModels {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := compile(c.net.Model, Options{})
			runtime.ReadMemStats(&after)
			if got := fmt.Sprint(err); c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("error %.300q, want one with %q", got, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// A bias may be computed while the model runs, as no kernel takes it.
func TestComputedBias(t *testing.T) {
	for _, op := range []string{"Conv", "ConvTranspose"} {
		n := newNet(1, 2, 5, 5).input("b", 2).weights("w", 2, 2, 3, 3).op(op+" x w b > y", ints("pads", 1, 1, 1, 1))
		checkModel(t, n.Model, Options{}, 1e-5)
	}
}
