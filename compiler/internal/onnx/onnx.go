// Package onnx reads ONNX model files into plain Go structs. Use it to get at the graph, the weights
// and the attributes of a model as they stand in the file; never to decide what an operator means or
// whether the compiler supports it: that is the work of the package load.
//
// It follows onnx.proto of ONNX 1.20 (IR version 13): unknown fields are skipped, repeated numbers are
// accepted packed and unpacked, and raw weights are slices of the input, not copies. Internal to the
// compiler; v0, so it may change until 1.0.
package onnx

import (
	"errors"
	"fmt"
)

var (
	// ErrNotModel says that the bytes are no ONNX model at all: another format, text, nothing.
	ErrNotModel = errors.New("not an ONNX model")
	// ErrMalformed says that the bytes began like an ONNX model and broke the format later.
	ErrMalformed = errors.New("malformed ONNX")
	// ErrData says that a tensor's data does not fit its type and shape, or cannot be read.
	ErrData = errors.New("bad tensor data")
)

// Model is a whole file.
type Model struct {
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Opsets          map[string]int64 // operator set version by domain; "" is ai.onnx
	Graph           *Graph           // never nil after Parse
	Functions       []*Function
	Metadata        map[string]string
}

// Function is a model-local function: an operator (Domain, Name) defined by nodes.
type Function struct {
	Name, Domain, Overload string
	Inputs, Outputs        []string
	Attrs                  []string     // names of attributes without a default
	AttrDefaults           []*Attribute // attributes with a default
	Nodes                  []*Node
	Opsets                 map[string]int64
	ValueInfo              []*ValueInfo
}

// Graph is a list of nodes in topological order, with its constants and its interface.
type Graph struct {
	Name               string
	Nodes              []*Node
	Initializers       []*Tensor
	SparseInitializers []*SparseTensor
	Inputs, Outputs    []*ValueInfo
	ValueInfo          []*ValueInfo
}

// Node is one use of an operator. An empty string among Inputs or Outputs is an optional value left out.
type Node struct {
	Name, OpType, Domain, Overload string
	Inputs, Outputs                []string
	Attrs                          []*Attribute // file order, names unique
}

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) *Attribute {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// AttributeType says which field of an Attribute holds its value.
type AttributeType int32

// The numbers are those of onnx.proto.
const (
	AttrUndefined     AttributeType = 0
	AttrFloat         AttributeType = 1
	AttrInt           AttributeType = 2
	AttrString        AttributeType = 3
	AttrTensor        AttributeType = 4
	AttrGraph         AttributeType = 5
	AttrFloats        AttributeType = 6
	AttrInts          AttributeType = 7
	AttrStrings       AttributeType = 8
	AttrTensors       AttributeType = 9
	AttrGraphs        AttributeType = 10
	AttrSparseTensor  AttributeType = 11
	AttrSparseTensors AttributeType = 12
	AttrType          AttributeType = 13
	AttrTypes         AttributeType = 14
)

var attributeTypeNames = [...]string{"undefined", "float", "int", "string", "tensor", "graph", "floats", "ints",
	"strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "type", "types"}

func (t AttributeType) String() string {
	if t < 0 || int(t) >= len(attributeTypeNames) {
		return "unknown"
	}
	return attributeTypeNames[t]
}

// Attribute is a named constant of a node. Files older than IR version 2 leave Type out; it is then set
// from the field that is present.
type Attribute struct {
	Name    string
	Type    AttributeType
	RefName string // inside a Function: take the value of this attribute of the calling node

	F             float32
	I             int64
	S             []byte
	T             *Tensor
	G             *Graph
	Sparse        *SparseTensor
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []*Tensor
	Graphs        []*Graph
	SparseTensors []*SparseTensor
}

// SparseTensor is a tensor given by its non-zero values and where they stand.
type SparseTensor struct {
	Values, Indices *Tensor
	Dims            []int64
}

// ValueInfo is the type of a value of the graph.
type ValueInfo struct {
	Name     string
	Kind     string // "tensor"; or "sequence", "map", "optional", "sparse_tensor", "opaque"; "" when the file gives no type
	DType    DType  // of a tensor
	Shape    []Dim
	HasShape bool // false: rank unknown; true with an empty Shape: a scalar
}

// Dim is one dimension: a number, a symbol, or, with both unset, unknown.
type Dim struct {
	Value int64  // valid when Param is empty and Known
	Param string // such as "batch"
	Known bool
}

func (n *Node) typed(name string, t AttributeType) (*Attribute, error) {
	a := n.Attr(name)
	if a != nil && a.Type != t {
		return nil, fmt.Errorf("%w: attribute %q of %s is %v, want %v", ErrMalformed, name, n.OpType, a.Type, t)
	}
	return a, nil
}

// Int returns an integer attribute, or absent when the node does not have it; an attribute of another
// type is an error. Float, Str and Ints are alike.
func (n *Node) Int(name string, absent int64) (int64, error) {
	a, err := n.typed(name, AttrInt)
	if a == nil {
		return absent, err
	}
	return a.I, nil
}

func (n *Node) Float(name string, absent float32) (float32, error) {
	a, err := n.typed(name, AttrFloat)
	if a == nil {
		return absent, err
	}
	return a.F, nil
}

func (n *Node) Str(name, absent string) (string, error) {
	a, err := n.typed(name, AttrString)
	if a == nil {
		return absent, err
	}
	return string(a.S), nil
}

func (n *Node) Ints(name string, absent []int64) ([]int64, error) {
	a, err := n.typed(name, AttrInts)
	if a == nil {
		return absent, err
	}
	return a.Ints, nil
}
