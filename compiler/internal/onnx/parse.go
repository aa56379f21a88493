package onnx

import (
	"errors"
	"fmt"
)

// Parse reads a model. Its tensors refer to b, which must not be changed afterwards. Weights that the
// model keeps in other files are not read: use ReadFile for those.
//
// The error matches ErrNotModel or ErrMalformed and says where the file breaks.
func Parse(b []byte) (*Model, error) {
	m, _, err := parse(b)
	return m, err
}

func parse(b []byte) (*Model, *input, error) {
	if len(b) == 0 {
		return nil, nil, fmt.Errorf("%w: the file is empty", ErrNotModel)
	}
	in := &input{b: b}
	model := readModel(newMessage(in))
	if err := in.err; err != nil || model.Graph == nil {
		// Only now, so that no model is refused because its first bytes resemble another format.
		if kind := looksLike(b); kind != "" {
			return nil, nil, fmt.Errorf("%w: looks like %s", ErrNotModel, kind)
		}
		if err == nil {
			return nil, nil, fmt.Errorf("%w: the file holds no graph", ErrNotModel)
		}
		var f *FormatError
		if errors.As(err, &f) && f.Path == "" && model.Graph == nil {
			return nil, nil, fmt.Errorf("%w: %s at byte %d", ErrNotModel, f.Reason, f.Offset)
		}
		return nil, nil, err
	}
	return model, in, nil
}

// ParseTensor reads one TensorProto, the form of the test data beside ONNX models (input_0.pb).
func ParseTensor(b []byte) (*Tensor, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: not an ONNX tensor: the file is empty", ErrMalformed)
	}
	in := &input{b: b}
	t := readTensor(newMessage(in))
	if in.err != nil {
		if kind := looksLike(b); kind != "" {
			return nil, fmt.Errorf("%w: not an ONNX tensor: looks like %s", ErrMalformed, kind)
		}
		return nil, in.err
	}
	return t, nil
}

func readModel(m *message) *Model {
	model := &Model{Opsets: map[string]int64{}, Metadata: map[string]string{}}
	for m.next() {
		switch m.num {
		case 1:
			model.IRVersion = m.varint()
		case 2:
			model.ProducerName = m.string()
		case 3:
			model.ProducerVersion = m.string()
		case 4:
			model.Domain = m.string()
		case 5:
			model.ModelVersion = m.varint()
		case 6:
			model.Doc = m.string()
		case 7:
			// A message field that occurs twice is merged, as protobuf prescribes.
			if model.Graph == nil {
				model.Graph = &Graph{}
			}
			readGraph(m.message("graph", -1), model.Graph)
		case 8:
			readOpset(m.message("opset_import", len(model.Opsets)), model.Opsets)
		case 14:
			k, v := readEntry(m.message("metadata_props", len(model.Metadata)))
			model.Metadata[k] = v
		case 25:
			model.Functions = append(model.Functions, readFunction(m.message("functions", len(model.Functions))))
		default:
			m.skip()
		}
	}
	return model
}

func readOpset(m *message, to map[string]int64) {
	var domain string
	var version int64
	for m.next() {
		switch m.num {
		case 1:
			domain = m.string()
		case 2:
			version = m.varint()
		default:
			m.skip()
		}
	}
	if domain == "ai.onnx" { // the long name of the default domain
		domain = ""
	}
	to[domain] = version
}

func readEntry(m *message) (key, value string) {
	for m.next() {
		switch m.num {
		case 1:
			key = m.string()
		case 2:
			value = m.string()
		default:
			m.skip()
		}
	}
	return key, value
}

func readFunction(m *message) *Function {
	f := &Function{Opsets: map[string]int64{}}
	for m.next() {
		switch m.num {
		case 1:
			f.Name = m.string()
		case 4:
			f.Inputs = append(f.Inputs, m.string())
		case 5:
			f.Outputs = append(f.Outputs, m.string())
		case 6:
			f.Attrs = append(f.Attrs, m.string())
		case 7:
			f.Nodes = append(f.Nodes, readNode(m.message("node", len(f.Nodes))))
		case 9:
			readOpset(m.message("opset_import", len(f.Opsets)), f.Opsets)
		case 10:
			f.Domain = m.string()
		case 11:
			f.AttrDefaults = append(f.AttrDefaults, readAttribute(m.message("attribute_proto", len(f.AttrDefaults))))
		case 12:
			f.ValueInfo = append(f.ValueInfo, readValueInfo(m.message("value_info", len(f.ValueInfo))))
		case 13:
			f.Overload = m.string()
		default:
			m.skip()
		}
	}
	return f
}

func readGraph(m *message, g *Graph) {
	for m.next() {
		switch m.num {
		case 1:
			g.Nodes = append(g.Nodes, readNode(m.message("node", len(g.Nodes))))
		case 2:
			g.Name = m.string()
		case 5:
			g.Initializers = append(g.Initializers, readTensor(m.message("initializer", len(g.Initializers))))
		case 11:
			g.Inputs = append(g.Inputs, readValueInfo(m.message("input", len(g.Inputs))))
		case 12:
			g.Outputs = append(g.Outputs, readValueInfo(m.message("output", len(g.Outputs))))
		case 13:
			g.ValueInfo = append(g.ValueInfo, readValueInfo(m.message("value_info", len(g.ValueInfo))))
		case 15:
			g.SparseInitializers = append(g.SparseInitializers,
				readSparse(m.message("sparse_initializer", len(g.SparseInitializers))))
		default:
			m.skip()
		}
	}
}

func readNode(m *message) *Node {
	n := &Node{}
	start := m.pos
	for m.next() {
		switch m.num {
		case 1:
			n.Inputs = append(n.Inputs, m.string())
		case 2:
			n.Outputs = append(n.Outputs, m.string())
		case 3:
			n.Name = m.string()
		case 4:
			n.OpType = m.string()
		case 5:
			n.Attrs = append(n.Attrs, readAttribute(m.message("attribute", len(n.Attrs))))
		case 7:
			n.Domain = m.string()
		case 8:
			n.Overload = m.string()
		default:
			m.skip()
		}
	}
	// Refused here, an empty node costs two bytes of input and no memory beyond the first.
	if n.OpType == "" {
		m.fail(start, "node without an operator")
	}
	if n.Domain == "ai.onnx" {
		n.Domain = ""
	}
	seen := make(map[string]bool, len(n.Attrs))
	for _, a := range n.Attrs {
		if seen[a.Name] {
			m.fail(start, "two attributes %q", a.Name)
		}
		seen[a.Name] = true
	}
	return n
}

func readAttribute(m *message) *Attribute {
	a := &Attribute{}
	start := m.pos
	present := AttrUndefined
	for m.next() {
		if t, ok := attributeFields[int32(m.num)]; ok && present == AttrUndefined {
			present = t
		}
		switch m.num {
		case 1:
			a.Name = m.string()
		case 2:
			a.F = m.float()
		case 3:
			a.I = m.varint()
		case 4:
			a.S = m.bytes()
		case 5:
			a.T = readTensor(m.message("t", -1))
		case 6:
			a.G = &Graph{}
			readGraph(m.message("g", -1), a.G)
		case 7:
			a.Floats = m.floats(a.Floats)
		case 8:
			a.Ints = m.int64s(a.Ints)
		case 9:
			a.Strings = append(a.Strings, m.bytes())
		case 10:
			a.Tensors = append(a.Tensors, readTensor(m.message("tensors", len(a.Tensors))))
		case 11:
			g := &Graph{}
			readGraph(m.message("graphs", len(a.Graphs)), g)
			a.Graphs = append(a.Graphs, g)
		case 20:
			a.Type = AttributeType(m.enum())
		case 21:
			a.RefName = m.string()
		case 22:
			a.Sparse = readSparse(m.message("sparse_tensor", -1))
		case 23:
			a.SparseTensors = append(a.SparseTensors, readSparse(m.message("sparse_tensors", len(a.SparseTensors))))
		default:
			m.skip()
		}
	}
	if a.Name == "" {
		m.fail(start, "attribute without a name")
	}
	if a.Type == AttrUndefined {
		a.Type = present
	}
	switch {
	case a.RefName != "":
	case a.Type == AttrTensor && a.T == nil:
		m.fail(start, "attribute %q is a tensor without a value", a.Name)
	case a.Type == AttrGraph && a.G == nil:
		m.fail(start, "attribute %q is a graph without a value", a.Name)
	case a.Type == AttrSparseTensor && a.Sparse == nil:
		m.fail(start, "attribute %q is a sparse tensor without a value", a.Name)
	}
	return a
}

// attributeFields gives the type that the presence of a value field implies.
var attributeFields = map[int32]AttributeType{
	2: AttrFloat, 3: AttrInt, 4: AttrString, 5: AttrTensor, 6: AttrGraph, 7: AttrFloats, 8: AttrInts, 9: AttrStrings,
	10: AttrTensors, 11: AttrGraphs, 14: AttrType, 15: AttrTypes, 22: AttrSparseTensor, 23: AttrSparseTensors,
}

func readSparse(m *message) *SparseTensor {
	s := &SparseTensor{}
	start := m.pos
	for m.next() {
		switch m.num {
		case 1:
			s.Values = readTensor(m.message("values", -1))
		case 2:
			s.Indices = readTensor(m.message("indices", -1))
		case 3:
			s.Dims = m.int64s(s.Dims)
		default:
			m.skip()
		}
	}
	if s.Values == nil || s.Indices == nil {
		m.fail(start, "sparse tensor without values or indices")
	}
	return s
}

func readTensor(m *message) *Tensor {
	t := &Tensor{}
	start := m.pos
	external := false
	refs := 0
	for m.next() {
		switch m.num {
		case 1:
			t.Dims = m.int64s(t.Dims)
		case 2:
			t.DType = DType(m.enum())
		case 3:
			m.fail(m.at, "tensor in segments, which no exporter writes")
		case 4:
			t.floats = m.floats(t.floats)
		case 5:
			t.int32s = m.int32s(t.int32s)
		case 6:
			t.strings = append(t.strings, m.bytes())
		case 7:
			t.int64s = m.int64s(t.int64s)
		case 8:
			t.Name = m.string()
		case 9:
			t.Raw = m.bytes()
		case 10:
			t.doubles = m.doubles(t.doubles)
		case 11:
			t.uint64s = m.uint64s(t.uint64s)
		case 13:
			if t.External == nil {
				t.External = &External{Length: -1}
			}
			m.external(t.External, refs)
			refs++
		case 14:
			external = m.enum() == 1
		default:
			m.skip()
		}
	}
	if t.DType == Undefined {
		m.fail(start, "tensor %q without an element type", t.Name)
	}
	switch {
	case !external:
		t.External = nil
	case t.External == nil || t.External.Location == "":
		m.fail(start, "tensor %q is in another file, and the model does not say which", t.Name)
	default:
		m.in.external = append(m.in.external, t)
	}
	return t
}

func readValueInfo(m *message) *ValueInfo {
	v := &ValueInfo{}
	for m.next() {
		switch m.num {
		case 1:
			v.Name = m.string()
		case 2:
			readType(m.message("type", -1), v)
		default:
			m.skip()
		}
	}
	return v
}

func readType(m *message, v *ValueInfo) {
	for m.next() {
		switch m.num {
		case 1:
			v.Kind = "tensor"
			readTensorType(m.message("tensor_type", -1), v)
			continue
		case 4:
			v.Kind = "sequence"
		case 5:
			v.Kind = "map"
		case 7:
			v.Kind = "opaque"
		case 8:
			v.Kind = "sparse_tensor"
		case 9:
			v.Kind = "optional"
		}
		m.skip()
	}
}

func readTensorType(m *message, v *ValueInfo) {
	for m.next() {
		switch m.num {
		case 1:
			v.DType = DType(m.enum())
		case 2:
			v.HasShape = true
			shape := m.message("shape", -1)
			for shape.next() {
				if shape.num == 1 {
					v.Shape = append(v.Shape, readDim(shape.message("dim", len(v.Shape))))
				} else {
					shape.skip()
				}
			}
		default:
			m.skip()
		}
	}
}

func readDim(m *message) Dim {
	var d Dim
	for m.next() {
		switch m.num {
		case 1:
			d = Dim{Value: m.varint(), Known: true}
		case 2:
			d = Dim{Param: m.string()}
		default:
			m.skip()
		}
	}
	// Some exporters write a dynamic dimension as -1 instead of leaving it out.
	if d.Value < 0 {
		d = Dim{}
	}
	return d
}
