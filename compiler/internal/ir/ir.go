// Package ir is the compiler's graph: values with static shapes, nodes that compute them, and
// the core operators. Use it to represent a model between loading and code generation; never to
// describe Wasm code, which has no second representation beyond the instructions themselves.
//
// A graph is in topological order, every value has one producer, and every shape is known. The
// package imports nothing of the compiler. It is internal and promises no compatibility.
package ir

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// DType is the type of a tensor's elements.
type DType uint8

// The element types. Floats are held as float32 and all others as int64 by a [Tensor].
const (
	F32 DType = iota + 1
	I64
	I32
	I8
	U8
	Bool
	I16
	U16
	U32
	U64 // its bits are those of the int64
)

var dtypeNames = [...]string{F32: "f32", I64: "i64", I32: "i32", I8: "i8", U8: "u8", Bool: "bool", I16: "i16", U16: "u16", U32: "u32", U64: "u64"}

func (t DType) String() string {
	if int(t) < len(dtypeNames) && dtypeNames[t] != "" {
		return dtypeNames[t]
	}
	return "dtype(" + strconv.Itoa(int(t)) + ")"
}

// Size is the number of bytes of one element in linear memory.
func (t DType) Size() int {
	switch t {
	case F32, I32, U32:
		return 4
	case I64, U64:
		return 8
	case I16, U16:
		return 2
	}
	return 1
}

// Signed reports whether integers of t may be negative.
func (t DType) Signed() bool { return t == I8 || t == I16 || t == I32 || t == I64 }

// Float reports whether elements are held in [Tensor.F].
func (t DType) Float() bool { return t == F32 }

// Shape holds the extent of each axis, outermost first. The empty shape is a scalar.
type Shape []int

// Elems is the number of elements.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// MaxElems bounds one tensor: 4 GiB of f32 is all that a 32-bit memory holds.
const MaxElems = 1 << 30

// Check refuses a negative extent, and more elements than MaxElems without counting beyond it. An empty tensor
// is held to it as if its extents of 0 were 1, so that products of some of the extents never overflow.
func (s Shape) Check() error {
	n := 1
	for _, d := range s {
		if d < 0 || n > MaxElems/max(d, 1) {
			return fmt.Errorf("a tensor of shape %v is more than a 32-bit memory holds", s)
		}
		n *= max(d, 1)
	}
	return nil
}

// Strides are the distances in elements between neighbours along each axis of a dense tensor.
func (s Shape) Strides() []int {
	st := make([]int, len(s))
	n := 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}

// Type is an element type with a shape.
type Type struct {
	DType DType
	Shape Shape
}

// Of returns the type with elements t and the given extents.
func Of(t DType, dims ...int) Type { return Type{t, Shape(dims)} }

// Equal reports whether element types and shapes agree.
func (t Type) Equal(u Type) bool { return t.DType == u.DType && slices.Equal(t.Shape, u.Shape) }

func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// Tensor is a dense, row-major tensor. Elements stand in F for floats and in I for the rest.
type Tensor struct {
	Type
	F []float32
	I []int64
}

// NewTensor returns a zeroed tensor.
func NewTensor(t Type) *Tensor {
	x := &Tensor{Type: t}
	if t.DType.Float() {
		x.F = make([]float32, t.Shape.Elems())
	} else {
		x.I = make([]int64, t.Shape.Elems())
	}
	return x
}

// Floats returns a float tensor over data, which must have as many elements as the shape.
func Floats(data []float32, dims ...int) *Tensor { return &Tensor{Type: Of(F32, dims...), F: data} }

// Ints returns an i64 tensor over data, which must have as many elements as the shape.
func Ints(data []int64, dims ...int) *Tensor { return &Tensor{Type: Of(I64, dims...), I: data} }

// Value is one tensor of a graph. Const is set when it is known at compile time.
type Value struct {
	Name  string
	Type  Type
	Const *Tensor
	// Steps is set for constant floats that a quantised model gives as integers: they are multiples of
	// Steps, which has one value, or one for each element of the axis StepAxis.
	Steps    []float32
	StepAxis int
}

// Node computes its outputs from its inputs. Name is the model's name for it, for messages and
// for profiles.
type Node struct {
	Name string
	Op   Op
	In   []*Value
	Out  []*Value
}

// Graph is a function over tensors. Nodes are in topological order.
type Graph struct {
	Name  string
	In    []*Value
	Out   []*Value
	Nodes []*Node
}

// Op is one operator with its attributes.
type Op interface {
	// Name is the operator's word in the text form, such as "conv".
	Name() string
	// Infer returns the types of the outputs, or says what does not add up.
	Infer(in []Type) ([]Type, error)
	// Eval computes the outputs in plain Go. It is the constant folder and the test oracle, so
	// it follows the definition and not the fast way. Inputs satisfy Infer.
	Eval(in []*Tensor) ([]*Tensor, error)
}

// Scratcher is an operator whose kernel needs memory of its own while it runs.
type Scratcher interface {
	// Scratch is the number of bytes.
	Scratch(in []Type) int
}

// NewNode infers the output types of op over in and returns the node with its fresh outputs,
// named after the node.
func NewNode(name string, op Op, in ...*Value) (*Node, error) {
	types := make([]Type, len(in))
	for i, v := range in {
		types[i] = v.Type
	}
	out, err := op.Infer(types)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name(), err)
	}
	n := &Node{Name: name, Op: op, In: in}
	for i, t := range out {
		vn := name
		if i > 0 {
			vn += "." + strconv.Itoa(i)
		}
		n.Out = append(n.Out, &Value{Name: vn, Type: t})
	}
	return n, nil
}

// ConstValue returns a value known at compile time.
func ConstValue(name string, t *Tensor) *Value { return &Value{Name: name, Type: t.Type, Const: t} }

// Verify checks the graph's invariants: topological order, one producer for each value, and
// types that agree with Infer. It reports everything that is wrong.
func (g *Graph) Verify() error {
	known := map[*Value]bool{}
	var errs []error
	for _, v := range g.In {
		known[v] = true
	}
	for i, n := range g.Nodes {
		where := fmt.Sprintf("node %d %q (%s)", i, n.Name, n.Op.Name())
		types := make([]Type, len(n.In))
		for j, v := range n.In {
			if v == nil {
				errs = append(errs, fmt.Errorf("%s: input %d is missing", where, j))
				return errors.Join(errs...)
			}
			if v.Const == nil && !known[v] {
				errs = append(errs, fmt.Errorf("%s: input %d (%s) is used before it is computed", where, j, v.Name))
			}
			types[j] = v.Type
		}
		out, err := n.Op.Infer(types)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		case len(out) != len(n.Out):
			errs = append(errs, fmt.Errorf("%s: %d outputs, the operator has %d", where, len(n.Out), len(out)))
		default:
			for j, t := range out {
				if err := t.Shape.Check(); err != nil {
					errs = append(errs, fmt.Errorf("%s: output %d: %w", where, j, err))
				}
				if !t.Equal(n.Out[j].Type) {
					errs = append(errs, fmt.Errorf("%s: output %d is %v, the operator gives %v", where, j, n.Out[j].Type, t))
				}
			}
		}
		for _, v := range n.Out {
			if known[v] {
				errs = append(errs, fmt.Errorf("%s: %s has two producers", where, v.Name))
			}
			known[v] = true
		}
	}
	for i, v := range g.Out {
		if v.Const == nil && !known[v] {
			errs = append(errs, fmt.Errorf("output %d (%s) is never computed", i, v.Name))
		}
	}
	return errors.Join(errs...)
}

// Eval computes the graph's outputs from its inputs with the operators' reference code.
func (g *Graph) Eval(in ...*Tensor) ([]*Tensor, error) {
	return g.EvalSteps(func(int) error { return nil }, in...)
}

// EvalSteps is Eval that calls before with the index of each node first; an error of it ends the evaluation.
func (g *Graph) EvalSteps(before func(node int) error, in ...*Tensor) ([]*Tensor, error) {
	if len(in) != len(g.In) {
		return nil, fmt.Errorf("graph %q takes %d inputs, got %d", g.Name, len(g.In), len(in))
	}
	vals := map[*Value]*Tensor{}
	for i, v := range g.In {
		if !v.Type.Equal(in[i].Type) {
			return nil, fmt.Errorf("input %s is %v, got %v", v.Name, v.Type, in[i].Type)
		}
		vals[v] = in[i]
	}
	get := func(v *Value) *Tensor {
		if v.Const != nil {
			return v.Const
		}
		return vals[v]
	}
	for k, n := range g.Nodes {
		if err := before(k); err != nil {
			return nil, err
		}
		args := make([]*Tensor, len(n.In))
		for i, v := range n.In {
			args[i] = get(v)
		}
		out, err := n.Op.Eval(args)
		if err != nil {
			return nil, fmt.Errorf("%q (%s): %w", n.Name, n.Op.Name(), err)
		}
		for i, v := range n.Out {
			vals[v] = out[i]
		}
	}
	out := make([]*Tensor, len(g.Out))
	for i, v := range g.Out {
		out[i] = get(v)
	}
	return out, nil
}

// Uses counts the readers of each value; being an output of the graph is one.
func (g *Graph) Uses() map[*Value]int {
	uses := map[*Value]int{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			uses[v]++
		}
	}
	for _, v := range g.Out {
		uses[v]++
	}
	return uses
}

func arity(in []Type, min, max int) error {
	if len(in) < min || len(in) > max {
		if min == max {
			return fmt.Errorf("takes %d inputs, got %d", min, len(in))
		}
		return fmt.Errorf("takes %d to %d inputs, got %d", min, max, len(in))
	}
	return nil
}

// ErrDType marks an operator that does not compute on the element type of its input.
var ErrDType = errors.New("no kernel for this element type")

func wantFloat(in []Type) error {
	for i, t := range in {
		if t.DType != F32 {
			return fmt.Errorf("%w: input %d is %v, wants f32", ErrDType, i, t)
		}
	}
	return nil
}
