// Package tflite reads TensorFlow Lite files as the ONNX model that means the same. Use it where a file
// may be either; never to decide what can be compiled: operators that it does not know stay in the
// model under the domain "tflite", and package load lists them with all others.
//
// It follows schema version 3. Convolutions stand between transposes, since TensorFlow Lite keeps
// channels last and ONNX first; quantised values are dequantised before and quantised after each
// operator. Later passes take both away again. Weights are slices of the input, not copies. Internal to
// the compiler; it promises no compatibility.
package tflite

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// Domain is that of operators with no counterpart in ONNX.
const Domain = "tflite"

// Reason is the attribute of nodes in Domain that says why a known operator stays unconverted.
const Reason = "reason"

// opset is the version of the ONNX operators that are written here.
const opset = 20

// Is reports whether b carries the identifier of a TensorFlow Lite file.
func Is(b []byte) bool { return len(b) >= 8 && string(b[4:8]) == "TFL3" }

// Parse reads a model; its first subgraph counts. Its tensors refer to b, which must not be changed
// afterwards. Inputs and outputs that the file holds as quantised integers are floats of the model: the
// values that the integers stand for.
//
// The error matches onnx.ErrMalformed.
func Parse(b []byte) (*onnx.Model, error) {
	f := &file{b: b, left: reuse*len(b) + 4096}
	c := &converter{f: f, names: map[string]bool{}, g: &onnx.Graph{}}
	c.read(f.table(0))
	if f.err != nil {
		return nil, f.err
	}
	return &onnx.Model{ProducerName: "TensorFlow Lite", Opsets: map[string]int64{"": opset, Domain: 1}, Graph: c.g}, nil
}

// dtypes gives the element types by their number in the file.
var dtypes = []onnx.DType{
	onnx.F32, onnx.F16, onnx.I32, onnx.U8, onnx.I64, onnx.String, onnx.Bool, onnx.I16, onnx.Complex64, onnx.I8, onnx.F64,
	onnx.Complex128, onnx.U64, onnx.Undefined, onnx.Undefined, onnx.U32, onnx.U16, onnx.I4, onnx.BF16, onnx.I2, onnx.U4,
	onnx.F8E4M3FN, onnx.F8E5M2,
}

// tensor is one of the subgraph, with what became of it in the model.
type tensor struct {
	name   string
	dtype  onnx.DType
	shape  []int64
	open   []int64 // the shape with -1 for what is not known; nil: none is
	data   []byte  // nil if it is computed
	scale  []float32
	zero   []int64
	axis   int64  // of the scales, if there are several
	refuse string // why nothing can be computed with it
	given  bool   // an input of the model, which then has its name

	value string // its name in the model, "" while it is not defined
	real  string // that of the floats that it stands for, if it is quantised and they were needed
}

// quantised reports whether the elements of t stand for floats.
func (t *tensor) quantised() bool {
	switch t.dtype {
	case onnx.I8, onnx.U8, onnx.I16, onnx.I4, onnx.U4, onnx.I2:
		return len(t.scale) > 0
	case onnx.I32, onnx.I64: // sums for a bias
		return len(t.scale) > 0 && t.data != nil
	}
	return false
}

// converter makes the model out of the file.
type converter struct {
	f       *file
	tensors []*tensor
	names   map[string]bool // taken
	serial  int             // of the last name that was taken already
	g       *onnx.Graph
}

// maxName is how much of a name is kept: it returns in the names of several nodes.
const maxName = 256

// name makes a name that nothing has yet.
func (c *converter) name(base string) string {
	base = base[:min(len(base), maxName)]
	name := base
	for name == "" || c.names[name] {
		c.serial++ // and never from 2 on again: a hostile file has taken all numbers, for many names
		name = fmt.Sprintf("%s#%d", base, c.serial)
	}
	c.names[name] = true
	return name
}

func (c *converter) read(root table) {
	graphs := root.tables(2)
	if len(graphs) == 0 {
		c.f.fail(root.at, "it holds no graph")
		return
	}
	g := graphs[0]
	name := g.bytes(4)
	c.g.Name = string(name[:min(len(name), maxName)])
	buffers := root.tables(4)
	for _, t := range g.tables(0) {
		c.tensors = append(c.tensors, c.tensor(t, buffers))
	}
	for _, i := range g.ints(1) {
		c.input(c.at(i))
	}
	codes := root.tables(1)
	for i, t := range g.tables(3) {
		c.operator(i, t, codes)
		if c.f.err != nil {
			return
		}
	}
	for _, i := range g.ints(2) {
		c.output(c.at(i))
	}
}

// at returns tensor i, which must exist.
func (c *converter) at(i int64) *tensor {
	if i < 0 || i >= int64(len(c.tensors)) {
		c.f.fail(0, "tensor %d of %d", i, len(c.tensors))
		return &tensor{}
	}
	return c.tensors[i]
}

func (c *converter) tensor(t table, buffers []table) *tensor {
	name := t.bytes(3)
	x := &tensor{name: c.name(string(name[:min(len(name), maxName)])), shape: t.ints(0), open: t.ints(7)}
	if len(x.open) != len(x.shape) || !slices.Contains(x.open, -1) {
		x.open = nil
	}
	if d := t.byte(1); d < len(dtypes) {
		x.dtype = dtypes[d]
	}
	q := t.table(4)
	x.scale, x.zero, x.axis = q.floats(2), q.longs(3), int64(q.int(6, 0))
	switch {
	case x.dtype == onnx.Undefined || x.dtype == onnx.String || x.dtype == onnx.Complex64 || x.dtype == onnx.Complex128:
		x.refuse = fmt.Sprintf("element type number %d", t.byte(1))
	case t.bool(5):
		x.refuse = "a variable, whose value outlives the call"
	case t.field(6, 4) != 0:
		x.refuse = "sparse weights"
	case q.byte(4) != 0:
		x.refuse = "a quantisation of its own kind"
	case len(x.zero) > 1 && len(x.zero) != len(x.scale):
		c.f.fail(t.at, "%d zero points for %d scales", len(x.zero), len(x.scale))
	}
	if n := t.int(2, 0); n != 0 {
		if n < 0 || n >= len(buffers) {
			c.f.fail(t.at, "buffer %d of %d", n, len(buffers))
			return x
		}
		x.data = c.buffer(buffers[n])
	}
	if x.data == nil && slices.Contains(x.shape, 0) {
		x.data = []byte{}
	}
	if x.data != nil {
		c.f.pay(t.at, len(x.data))
	}
	return x
}

// buffer is the data of a constant: in the table, or behind it in files beyond 2 GB.
func (c *converter) buffer(t table) []byte {
	offset, size := t.u64(1), t.u64(2)
	if offset <= 1 {
		if b := t.bytes(0); len(b) > 0 {
			return b
		}
		return nil
	}
	if offset > math.MaxInt32*2 || size > math.MaxInt32*2 || !c.f.has(int(offset), int(size)) {
		c.f.fail(t.at, "%d bytes from byte %d on are beyond the end", size, offset)
		return nil
	}
	return c.f.b[offset : offset+size : offset+size]
}

func (c *converter) input(t *tensor) {
	if t.value != "" || t.data != nil {
		c.f.fail(0, "input %q is there twice", t.name)
		return
	}
	in := &onnx.ValueInfo{Name: t.name, Kind: "tensor", DType: t.dtype, HasShape: true}
	for i, d := range t.shape {
		if t.open != nil && t.open[i] == -1 {
			in.Shape = append(in.Shape, onnx.Dim{})
		} else {
			in.Shape = append(in.Shape, onnx.Dim{Value: d, Known: true})
		}
	}
	c.g.Inputs = append(c.g.Inputs, in)
	t.value, t.given = t.name, true
	if t.quantised() {
		in.DType = onnx.F32
		t.value = c.quantize(t, t.name)
	}
}

func (c *converter) output(t *tensor) {
	if c.f.err != nil {
		return
	}
	v := c.floats(t)
	if v != t.name || t.given {
		v = c.node(t.name, "Identity", []string{v})
	}
	c.g.Outputs = append(c.g.Outputs, &onnx.ValueInfo{Name: v})
}

// node adds a node for the tensor or operator called base and returns its result.
func (c *converter) node(base, op string, in []string, attrs ...*onnx.Attribute) string {
	name := c.name(base + "/" + op)
	c.g.Nodes = append(c.g.Nodes, &onnx.Node{Name: name, OpType: op, Inputs: in, Outputs: []string{name}, Attrs: attrs})
	return name
}

// constant adds data as it stands in a file.
func (c *converter) constant(name string, d onnx.DType, data []byte, dims ...int64) string {
	c.g.Initializers = append(c.g.Initializers, &onnx.Tensor{Name: name, DType: d, Dims: dims, Raw: data})
	return name
}

func (c *converter) ints(base string, v ...int64) string {
	data := []byte{}
	for _, x := range v {
		data = binary.LittleEndian.AppendUint64(data, uint64(x))
	}
	return c.constant(c.name(base+"/list"), onnx.I64, data, int64(len(v)))
}

func (c *converter) number(base string, v float32) string {
	return c.constant(c.name(base+"/number"), onnx.F32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

// defined is the name of t as it is kept, integers if it is quantised.
func (c *converter) defined(t *tensor) string {
	if t.value == "" && t.data != nil {
		name := t.name
		if t.quantised() {
			name = c.name(t.name + "/quantised")
		}
		t.value = c.constant(name, t.dtype, t.data, t.shape...)
	}
	if t.value == "" {
		c.f.fail(0, "tensor %q is read before it is computed", t.name)
	}
	return t.value
}

// floats is the name of what t stands for: its elements, unless they are quantised.
func (c *converter) floats(t *tensor) string {
	v := c.defined(t)
	if !t.quantised() {
		return v
	}
	if t.real == "" {
		t.real = t.name
		if t.given {
			t.real = c.name(t.name + "/DequantizeLinear")
		}
		c.g.Nodes = append(c.g.Nodes, &onnx.Node{
			Name: t.real, OpType: "DequantizeLinear", Inputs: append([]string{v}, c.grid(t)...), Outputs: []string{t.real},
			Attrs: []*onnx.Attribute{integer("axis", t.axis)},
		})
	}
	return t.real
}

func (c *converter) quantize(t *tensor, v string) string {
	return c.node(t.name, "QuantizeLinear", append([]string{v}, c.grid(t)...), integer("axis", t.axis))
}

// grid adds the scale and the zero point of t.
func (c *converter) grid(t *tensor) []string {
	var scales, zeros []byte
	for i, s := range t.scale {
		scales = binary.LittleEndian.AppendUint32(scales, math.Float32bits(s))
		var z int64
		if len(t.zero) > 0 {
			z = t.zero[i%len(t.zero)]
		}
		// Values of four bits and less keep their zero point, 0, unsaid.
		zeros = binary.LittleEndian.AppendUint64(zeros, uint64(z))[:(i+1)*t.dtype.Bits()/8]
	}
	var dims []int64
	if len(t.scale) > 1 {
		dims = []int64{int64(len(t.scale))}
	}
	out := []string{c.constant(c.name(t.name+"/scale"), onnx.F32, scales, dims...)}
	if t.dtype.Bits() < 8 || t.data != nil && !slices.ContainsFunc(t.zero, func(z int64) bool { return z != 0 }) {
		return out
	}
	return append(out, c.constant(c.name(t.name+"/zero"), t.dtype, zeros, dims...))
}
