// Package load turns an ONNX model into the compiler's graph. Use it to learn what a model means:
// shapes are bound, operators are decomposed into the core ones, whatever is known at compile time is
// folded, and pictures are turned channels last around the operators that want it. It never
// optimises; that is the work of the passes. Internal to the compiler; it promises no compatibility.
package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// Options bind what a model leaves open.
type Options struct {
	// Dims gives symbolic dimensions their extent, by name. An unnamed one is called
	// "<input>.<axis>". A leading batch dimension that is not named here is 1.
	Dims map[string]int
	// Fixed gives inputs their values now, element by element in order; they are inputs no more. One
	// value fills the whole input, and a list of open length gets that of the values.
	Fixed map[string][]float64
	// Budget is the work on constants that is free; 0: freeWork.
	Budget int
}

// maxList bounds the lists of axes, pads, shapes and parts; no tensor has more axes.
const maxList = 1024

// maxTensors bounds the inputs and the outputs of a model; each is a global of the module.
const maxTensors = 1 << 12

// maxInt bounds the integers of attributes and lists. Slices name the end of an axis by the largest
// integer; nothing else comes near, and the product of two fits an int.
const maxInt = 1 << 31

// The operator set versions whose meaning of operators the converters know. From 22 on operators only
// gained element types; before 6 their attributes were others.
const (
	minOpset = 6
	maxOpset = 28
)

// ErrUnsupported marks what the compiler does not know how to compile.
var ErrUnsupported = errors.New("unsupported")

// ErrFixed marks values for an input that do not fit it, or for one that the model does not have.
var ErrFixed = errors.New("fixed input")

// ErrUnbound marks a symbolic dimension without an extent.
var ErrUnbound = errors.New("dimension not bound")

// ErrModel marks a model that contradicts itself: shapes that do not add up, names that nothing defines.
var ErrModel = errors.New("the model does not add up")

// Unsupported is one node that cannot be compiled, and why.
type Unsupported struct {
	Node   string // the model's name for it, or its place among the nodes
	Op     string // with its domain, if it is not ai.onnx
	Reason string
	// Fix names the input of the model that must be known at compile time, if that is the reason.
	Fix string
}

// UnsupportedError lists every node that cannot be compiled. It matches ErrUnsupported.
type UnsupportedError struct{ Nodes []Unsupported }

// maxListed are the nodes that an error's text names; Nodes has all.
const maxListed = 100

func (e *UnsupportedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "unsupported: %d node(s) cannot be compiled:", len(e.Nodes))
	for _, n := range e.Nodes[:min(len(e.Nodes), maxListed)] {
		fmt.Fprintf(&b, "\n  %s (%s): %s", n.Op, n.Node, n.Reason)
	}
	if more := len(e.Nodes) - maxListed; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

// Unwrap makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// UnboundError lists every symbolic dimension that has no extent. It matches ErrUnbound.
type UnboundError struct{ Dims []string } // "name (axis 2 of input "x")", name first

func (e *UnboundError) Error() string {
	return "dimension not bound: " + strings.Join(e.Dims, ", ")
}

// Unwrap makes errors.Is(err, ErrUnbound) true.
func (e *UnboundError) Unwrap() error { return ErrUnbound }

// Result is a loaded model.
type Result struct {
	Graph *ir.Graph
	Bound map[string]int // each symbolic dimension with the extent that it got
	// Labels are the names of the classes, if the model gives them names.
	Labels []string
}

type loader struct {
	graph   *ir.Graph
	vals    map[string]*ir.Value // nil: its producer is unsupported
	opset   int64
	opt     Options
	bound   map[string]int
	missing []Unsupported
	// unfilled are outputs that no converter computes, by name.
	unfilled map[string]Unsupported
	// budget is the work that is left for what is computed now: constants folded, made up or
	// rearranged, in elements written and, for sums, an eighth of those read.
	budget float64
	labels []string // of classes
	used   []string // inputs that were fixed
	depth  int      // of bodies around the node
	// functions are those of the model, calls the one that is being written out.
	functions []*onnx.Function
	calls     *frame
	rounded   bool                // an input is f64 in the model and f32 here
	said      map[string]ir.Shape // the shapes that the model states in full
	lists     map[*ir.Value][]*ir.Value
	narrow    map[*ir.Value]onnx.DType // of integers below 8 bits, which are held as bytes, and small floats
}

// A small hostile file can ask for endless constants and endless work on them. freeWork is for shapes,
// masks and indices; beyond it a model pays with its weights: layouts change and scales fold in a few
// times for each.
const (
	freeWork   = 1 << 25
	weightWork = 16
	madeWork   = 4 // what ConstantOfShape makes may be weights as well: ResNet-50 and DenseNet-121 pass
)

// Model loads m. The error is a *UnsupportedError, a *UnboundError, or says which node is malformed.
func Model(m *onnx.Model, opt Options) (*Result, error) {
	l := &loader{
		graph:     &ir.Graph{Name: m.Graph.Name},
		vals:      map[string]*ir.Value{},
		opset:     m.Opsets[""],
		functions: m.Functions,
		opt:       opt,
		bound:     map[string]int{},
		unfilled:  map[string]Unsupported{},
		said:      map[string]ir.Shape{},
		lists:     map[*ir.Value][]*ir.Value{},
		narrow:    map[*ir.Value]onnx.DType{},
		budget:    freeWork,
	}
	if opt.Budget > 0 {
		l.budget = float64(opt.Budget)
	}
	if _, ok := m.Opsets[""]; !ok { // every node is of another domain
		l.opset = maxOpset
	}
	if l.opset < minOpset || l.opset > maxOpset {
		return nil, fmt.Errorf("%w: operator set version %d; %d to %d are compiled", ErrUnsupported, l.opset, minOpset, maxOpset)
	}
	l.statements(m.Graph)
	if err := l.initializers(m.Graph); err != nil {
		return nil, blame(err)
	}
	if err := l.inputs(m.Graph); err != nil {
		return nil, blame(err)
	}
	for name := range opt.Fixed {
		if !slices.Contains(l.used, name) {
			return nil, fmt.Errorf("%w: the model has no input %q", ErrFixed, name)
		}
	}
	for i, n := range m.Graph.Nodes {
		if err := l.node(n, i); err != nil {
			return nil, blame(err)
		}
	}
	if len(l.missing) > 0 {
		return nil, &UnsupportedError{l.missing}
	}
	if err := l.outputs(m.Graph); err != nil {
		return nil, blame(err)
	}
	if err := l.graph.Verify(); err != nil {
		return nil, fmt.Errorf("the loaded graph does not hold together: %w", err)
	}
	return &Result{Graph: l.graph, Bound: l.bound, Labels: l.labels}, nil
}

// blame says that the model is wrong, unless err says that the compiler or the options are.
func blame(err error) error {
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrUnbound) || errors.Is(err, ErrFixed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrModel, err)
}

func (l *loader) initializers(g *onnx.Graph) error {
	for _, t := range g.Initializers {
		c, err := Tensor(t)
		if err != nil {
			return fmt.Errorf("initializer %q: %w", t.Name, err)
		}
		l.vals[t.Name] = ir.ConstValue(t.Name, c)
		l.note(l.vals[t.Name], t.DType)
		l.budget += weightWork * float64(c.Shape.Elems())
	}
	if len(g.SparseInitializers) > 0 {
		l.missing = append(l.missing, Unsupported{Node: "graph", Op: "initializers", Reason: "sparse tensors"})
	}
	return nil
}

// Tensor converts a constant of the model.
func Tensor(t *onnx.Tensor) (*ir.Tensor, error) {
	typ, err := typeOf(t.DType)
	if err != nil {
		return nil, err
	}
	n, err := t.Len()
	if err != nil {
		return nil, err
	}
	if n > ir.MaxElems {
		return nil, fmt.Errorf("%d elements are more than a 32-bit memory holds", n)
	}
	x := &ir.Tensor{Type: ir.Type{DType: typ, Shape: ir.Shape{}}}
	for _, d := range t.Dims {
		x.Shape = append(x.Shape, int(d))
	}
	if typ.Float() {
		x.F, err = t.Float32s()
	} else {
		x.I, err = t.Int64s()
	}
	return x, err
}

// typeOf maps element types; floats of any width compute as f32, and integers below 8 bits are bytes.
func typeOf(t onnx.DType) (ir.DType, error) {
	switch t {
	case onnx.F32, onnx.F16, onnx.BF16, onnx.F64, onnx.F8E4M3FN, onnx.F8E4M3FNUZ, onnx.F8E5M2, onnx.F8E5M2FNUZ, onnx.F4E2M1:
		return ir.F32, nil
	case onnx.I64:
		return ir.I64, nil
	case onnx.I32:
		return ir.I32, nil
	case onnx.I16:
		return ir.I16, nil
	case onnx.U16:
		return ir.U16, nil
	case onnx.U32:
		return ir.U32, nil
	case onnx.U64:
		return ir.U64, nil
	case onnx.I8, onnx.I4, onnx.I2:
		return ir.I8, nil
	case onnx.U8, onnx.U4, onnx.U2:
		return ir.U8, nil
	case onnx.Bool:
		return ir.Bool, nil
	}
	return 0, fmt.Errorf("%w element type %v", ErrUnsupported, t)
}

func (l *loader) inputs(g *onnx.Graph) error {
	var unbound []string
	for _, in := range g.Inputs {
		if v, ok := l.vals[in.Name]; ok {
			if v.Const == nil {
				return fmt.Errorf("input %q is there twice", in.Name)
			}
			continue // IR versions below 4 list the weights among the inputs
		}
		if in.Name == "" {
			return fmt.Errorf("an input has no name")
		}
		if in.Kind != "tensor" || !in.HasShape {
			return fmt.Errorf("input %q: %w: it has no tensor type with a shape", in.Name, ErrUnsupported)
		}
		typ, err := typeOf(in.DType)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.Name, err)
		}
		t := ir.Type{DType: typ, Shape: ir.Shape{}}
		if values, ok := l.opt.Fixed[in.Name]; ok {
			if err := l.fixed(in, typ, values); err != nil {
				return err
			}
			continue
		}
		for axis, d := range in.Shape {
			n, name := l.extent(in, axis, d)
			if name != "" {
				unbound = append(unbound, name)
				continue
			}
			if n < 0 || n == 0 && !d.Known {
				return fmt.Errorf("input %q: axis %d has extent %d", in.Name, axis, n)
			}
			t.Shape = append(t.Shape, n)
		}
		if err := t.Shape.Check(); err != nil {
			return fmt.Errorf("input %q: %w", in.Name, err)
		}
		if t.Shape.Elems() == 0 { // it is known, and none of the module's
			l.vals[in.Name] = ir.ConstValue(in.Name, ir.NewTensor(t))
			l.note(l.vals[in.Name], in.DType)
			continue
		}
		l.rounded = l.rounded || in.DType == onnx.F64
		v := &ir.Value{Name: in.Name, Type: t}
		l.vals[in.Name] = v
		l.note(v, in.DType)
		l.graph.In = append(l.graph.In, v)
	}
	if len(unbound) > 0 {
		return &UnboundError{unbound}
	}
	return nil
}

// fixed makes an input a constant.
func (l *loader) fixed(in *onnx.ValueInfo, typ ir.DType, values []float64) error {
	t := ir.Type{DType: typ, Shape: ir.Shape{}}
	for axis, d := range in.Shape {
		n, name := l.extent(in, axis, d)
		if name != "" {
			n = len(values)
		}
		t.Shape = append(t.Shape, n)
	}
	if err := t.Shape.Check(); err != nil {
		return fmt.Errorf("input %q: %w", in.Name, err)
	}
	if n := t.Shape.Elems(); len(values) != n && len(values) != 1 {
		return fmt.Errorf("input %q is %v: %w: it is fixed to %d values", in.Name, t, ErrFixed, len(values))
	}
	x := ir.NewTensor(t)
	for i := range x.F {
		x.F[i] = float32(values[i%len(values)])
	}
	for i := range x.I {
		x.I[i] = ir.Saturate(values[i%len(values)], typ)
	}
	l.vals[in.Name] = ir.ConstValue(in.Name, x)
	l.note(l.vals[in.Name], in.DType)
	l.used = append(l.used, in.Name)
	return nil
}

// extent resolves one dimension of an input, or returns a description of the unbound one.
func (l *loader) extent(in *onnx.ValueInfo, axis int, d onnx.Dim) (int, string) {
	if d.Known {
		return int(d.Value), ""
	}
	name := d.Param
	if name == "" {
		name = fmt.Sprintf("%s.%d", in.Name, axis)
	}
	if n, ok := l.opt.Dims[name]; ok {
		l.bound[name] = n
		return n, ""
	}
	if axis == 0 && len(in.Shape) > 1 && isBatch(d.Param) {
		l.bound[name] = 1
		return 1, ""
	}
	return 0, fmt.Sprintf("%s (axis %d of input %q)", name, axis, in.Name)
}

// isBatch tells the names that exporters give the batch dimension.
func isBatch(name string) bool {
	n := strings.ToLower(name)
	return strings.Contains(n, "batch") || strings.HasPrefix(n, "unk__") || slices.Contains([]string{"", "n", "b", "bs", "none", "?"}, n)
}

// NodeName is the name that the graph has for node number index of the model: its own, or its place.
func NodeName(n *onnx.Node, index int) string {
	if n.Name != "" {
		return n.Name
	}
	name := fmt.Sprintf("node %d", index)
	if len(n.Outputs) > 0 {
		name += " → " + n.Outputs[0]
	}
	return name
}

// NodeOp is the operator of n, with its domain if that is not ai.onnx.
func NodeOp(n *onnx.Node) string {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return n.Domain + "." + n.OpType
	}
	return n.OpType
}

func (l *loader) node(n *onnx.Node, index int) error {
	name, op := NodeName(n, index), NodeOp(n)
	n, err := l.resolved(n)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", name, op, err)
	}
	c := &context{loader: l, Node: n, name: name}
	poison := func(reason string) {
		if reason != "" {
			l.missing = append(l.missing, Unsupported{Node: name, Op: op, Reason: reason, Fix: c.fix})
		}
		for _, o := range n.Outputs {
			l.vals[o] = nil
		}
	}
	for _, o := range n.Outputs {
		if _, twice := l.vals[o]; twice && o != "" {
			return fmt.Errorf("%s (%s): output %q is already the name of another value", name, op, o)
		}
	}
	for _, in := range n.Inputs {
		v, ok := l.vals[in]
		if in != "" && !ok {
			return fmt.Errorf("%s (%s): input %q is not defined before it", name, op, in)
		}
		if in != "" && v == nil {
			c.poisoned = true
			if u, ok := l.unfilled[in]; ok {
				l.missing = append(l.missing, u)
				delete(l.unfilled, in)
			}
		}
		if v == absent {
			v = nil
		}
		c.in = append(c.in, v)
	}
	convert, ok := converters[op]
	if f := l.function(n); !ok && f != nil {
		convert, ok = func(c *context) []*ir.Value { return c.call(f) }, true
	}
	if !ok {
		reason := "no such operator in this compiler"
		if a := n.Attr("reason"); a != nil && n.Domain == "tflite" { // it knows the operator, but not so
			reason = string(a.S)
		}
		poison(reason)
		return nil
	}
	if c.poisoned {
		poison("")
		return nil
	}
	out := convert(c)
	if c.inner { // the nodes inside are in the list
		poison("")
		return nil
	}
	if errors.Is(c.err, errTooMany) {
		return c.err
	}
	if errors.Is(c.err, ErrUnsupported) {
		poison(strings.TrimPrefix(c.err.Error(), ErrUnsupported.Error()+": "))
		return nil
	}
	if c.err != nil {
		return fmt.Errorf("%s (%s): %w", name, op, c.err)
	}
	for i, o := range n.Outputs {
		switch {
		case o == "":
		case i >= len(out): // one that only training fills: an error if anything reads it
			l.vals[o] = nil
			l.unfilled[o] = Unsupported{Node: name, Op: op, Reason: fmt.Sprintf("output %d (%s)", i, o)}
		default:
			l.vals[o] = out[i]
		}
	}
	return nil
}

func (l *loader) outputs(g *onnx.Graph) error {
	if len(g.Outputs) == 0 {
		return fmt.Errorf("the graph has no output")
	}
	if n := max(len(g.Outputs), len(l.graph.In)); n > maxTensors {
		return fmt.Errorf("%w: %d inputs and %d outputs; at most %d each are compiled", ErrUnsupported, len(l.graph.In), len(g.Outputs), maxTensors)
	}
	said := map[string]bool{}
	for _, o := range g.Outputs {
		if said[o.Name] {
			return fmt.Errorf("output %q is there twice", o.Name)
		}
		said[o.Name] = true
		v, ok := l.vals[o.Name]
		if !ok {
			return fmt.Errorf("output %q is never computed", o.Name)
		}
		if v == nil {
			return &UnsupportedError{[]Unsupported{l.unfilled[o.Name]}}
		}
		if _, ok := l.lists[v]; ok {
			return fmt.Errorf("%w: output %q is a sequence", ErrUnsupported, o.Name)
		}
		// What the model declares of its shape counts for nothing: shape inference of ONNX is wrong about some
		// operators (STFT, a ceil_mode that drops a window), and ONNX Runtime warns and goes on.
		// An output has a buffer and a name of its own, even when it is an input or a constant.
		if v.Const != nil || slices.Contains(l.graph.In, v) || slices.Contains(l.graph.Out, v) {
			n, err := ir.NewNode(o.Name, ir.Reshape{Shape: v.Type.Shape}, v)
			if err != nil {
				return err
			}
			l.graph.Nodes = append(l.graph.Nodes, n)
			v = n.Out[0]
		}
		if v.Type.Shape.Elems() == 0 {
			return fmt.Errorf("%w: output %q is %v, which has no elements", ErrUnsupported, o.Name, v.Type)
		}
		v.Name = o.Name
		l.graph.Out = append(l.graph.Out, v)
	}
	return nil
}

func castType(n int) (ir.DType, error) { return typeOf(onnx.DType(n)) }

// note remembers that v is a small float or has less than 8 bits in the model.
func (l *loader) note(v *ir.Value, t onnx.DType) {
	if _, small := t.Float8(); small || t.Bits() < 8 {
		l.narrow[v] = t
	}
}
