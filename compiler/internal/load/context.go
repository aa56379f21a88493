package load

import (
	"errors"
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// context is one node while it is converted. The first error sticks: after it every method does
// nothing, so that a converter reads as the formula that it is.
type context struct {
	*loader
	*onnx.Node
	name     string
	in       []*ir.Value // nil: left out
	poisoned bool
	fix      string // the model's input that must be known now
	inner    bool   // a node of its body is unsupported
	err      error
}

func (c *context) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *context) unsupported(format string, args ...any) {
	c.fail("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// input returns input i, which the operator requires.
func (c *context) input(i int) *ir.Value {
	if v := c.optional(i); v != nil {
		return v
	}
	c.fail("input %d is missing", i)
	return &ir.Value{Type: ir.Of(ir.F32)}
}

func (c *context) optional(i int) *ir.Value {
	if i < len(c.in) {
		return c.in[i]
	}
	return nil
}

func (c *context) shape(i int) ir.Shape { return c.input(i).Type.Shape }

// constant returns input i, which must be known at compile time, or nil if it is left out.
func (c *context) constant(i int) *ir.Tensor {
	v := c.optional(i)
	if v == nil {
		return nil
	}
	if v.Const == nil {
		if c.err == nil && len(c.missing) < maxSources {
			c.fix = c.source(v)
		}
		c.unsupported("input %d (%s) is computed while the model runs; it must be a constant", i, v.Name)
	}
	return v.Const
}

// maxNodes bounds the graph. The largest networks that fit a 32-bit memory have some thousands of
// operators, with the bodies of loops written out some ten thousand; ten bytes of a hostile file are one.
const maxNodes = 1 << 16

// errTooMany ends the load: a list of all nodes beyond the bound helps nobody.
var errTooMany = fmt.Errorf("%w: the model has more than %d operators that are computed while it runs", ErrUnsupported, maxNodes)

// maxSources is for how many nodes the input to blame is looked for: it takes a look at the whole graph.
const maxSources = 64

// maxFixed is the number of elements up to which an input is a shape, axes, counts or scales that --fix could
// give. Longer ones are the data that the model is for: a picture that is fixed leaves nothing to compute.
const maxFixed = 64

// source is the short input of the model that v is computed from: the first one of integers, as shapes are, or
// else the first.
func (c *context) source(v *ir.Value) string {
	made := map[*ir.Value]*ir.Node{}
	for _, n := range c.graph.Nodes {
		for _, o := range n.Out {
			made[o] = n
		}
	}
	seen := map[*ir.Value]bool{v: true}
	first := ""
	for list := []*ir.Value{v}; len(list) > 0; list = list[1:] {
		if slices.Contains(c.graph.In, list[0]) && list[0].Type.Shape.Elems() <= maxFixed {
			if !list[0].Type.DType.Float() {
				return list[0].Name
			}
			if first == "" {
				first = list[0].Name
			}
		}
		if n := made[list[0]]; n != nil {
			for _, in := range n.In {
				if !seen[in] && in.Const == nil {
					seen[in] = true
					list = append(list, in)
				}
			}
		}
	}
	return first
}

// ints returns the integers of constant input i, or those of attribute attr as older versions of
// the operators have it, or absent.
func (c *context) ints(i int, attr string, absent []int) []int {
	if t := c.constant(i); t != nil {
		if t.DType.Float() {
			c.fail("input %d is %v, wants integers", i, t.Type)
			return absent
		}
		return c.toInts(t.I)
	}
	if attr == "" {
		return absent
	}
	return c.attrInts(attr, absent)
}

func (c *context) toInts(v []int64) []int {
	if len(v) > maxList {
		c.fail("a list of %d values, no tensor has as many axes", len(v))
		return nil
	}
	s := make([]int, len(v))
	for i, x := range v {
		s[i] = toInt(x)
	}
	return s
}

func toInt(x int64) int { return int(min(max(x, -maxInt), maxInt)) }

// scalar returns the only element of constant input i, or attribute attr, or absent.
func (c *context) scalar(i int, attr string, absent float32) float32 {
	if t := c.constant(i); t != nil {
		switch {
		case t.Shape.Elems() != 1:
			c.fail("input %d is %v, wants a scalar", i, t.Type)
			return absent
		case t.DType.Float():
			return t.F[0]
		}
		return float32(t.I[0])
	}
	return c.attrFloat(attr, absent)
}

func (c *context) attrInt(name string, absent int) int {
	v, err := c.Node.Int(name, int64(absent))
	if err != nil {
		c.fail("%w", err)
	}
	return toInt(v)
}

func (c *context) attrFloat(name string, absent float32) float32 {
	if name == "" {
		return absent
	}
	v, err := c.Node.Float(name, absent)
	if err != nil {
		c.fail("%w", err)
	}
	return v
}

func (c *context) attrStr(name, absent string) string {
	v, err := c.Node.Str(name, absent)
	if err != nil {
		c.fail("%w", err)
	}
	return v
}

func (c *context) attrInts(name string, absent []int) []int {
	v, err := c.Node.Ints(name, nil)
	if err != nil {
		c.fail("%w", err)
	}
	if v == nil {
		return absent
	}
	return c.toInts(v)
}

// axis resolves an axis that may count from the end.
func (c *context) axis(a, rank int) int {
	if a < -rank || a >= rank {
		c.fail("axis %d is outside rank %d", a, rank)
		return 0
	}
	return (a + rank) % rank
}

// split resolves an axis that parts the axes in two: it may be the rank itself, for none behind it.
func (c *context) split(a, rank int) int {
	if a == rank {
		return rank
	}
	return c.axis(a, rank)
}

func (c *context) axes(as []int, rank int) []int {
	out := make([]int, len(as))
	for i, a := range as {
		out[i] = c.axis(a, rank)
	}
	slices.Sort(out)
	if len(slices.Compact(slices.Clone(out))) != len(out) {
		c.fail("axes %v name one twice", as)
	}
	return out
}

// add appends a node for op and returns its output; one whose inputs are all known is folded.
func (c *context) add(op ir.Op, in ...*ir.Value) *ir.Value { return c.addAll(op, in...)[0] }

// addAll is add for an operator with several outputs.
func (c *context) addAll(op ir.Op, in ...*ir.Value) []*ir.Value {
	failed := []*ir.Value{{Type: ir.Of(ir.F32)}, {Type: ir.Of(ir.F32)}, {Type: ir.Of(ir.F32)}}
	if c.err != nil {
		return failed
	}
	for _, v := range in {
		if _, ok := c.lists[v]; ok {
			c.unsupported("a sequence where a tensor is expected")
			return failed
		}
	}
	n, err := ir.NewNode(c.name, op, in...)
	if err != nil {
		if c.err = err; errors.Is(err, ir.ErrDType) {
			c.err = fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		return failed
	}
	for _, v := range n.Out {
		if c.err = v.Type.Shape.Check(); c.err != nil {
			return n.Out
		}
	}
	if c.fold(n) || c.err != nil {
		return n.Out
	}
	if v := n.Out[0]; v.Type.Shape.Elems() == 0 {
		return []*ir.Value{c.constantOf(ir.NewTensor(v.Type))}
	}
	if len(c.graph.Nodes) == maxNodes {
		c.err = errTooMany
		return n.Out
	}
	c.graph.Nodes = append(c.graph.Nodes, n)
	return n.Out
}

func (c *context) fold(n *ir.Node) bool {
	args := make([]*ir.Tensor, len(n.In))
	for i, v := range n.In {
		if v.Const == nil {
			return false
		}
		args[i] = v.Const
	}
	if !c.spend(work(n)) {
		return false
	}
	out, err := n.Op.Eval(args)
	if err != nil {
		c.err = err
		return false
	}
	for i, t := range out {
		n.Out[i].Const = t
	}
	return true
}

// work is what folding n costs.
func work(n *ir.Node) float64 {
	in, out := n.In[0].Type.Shape.Elems(), n.Out[0].Type.Shape.Elems()
	w := float64(out)
	switch op := n.Op.(type) {
	case ir.Conv:
		w += float64(op.MACs([]ir.Type{n.In[0].Type, n.In[1].Type}, []ir.Type{n.Out[0].Type})) / 8
	case ir.MatMul:
		w += float64(op.MACs([]ir.Type{n.In[0].Type, n.In[1].Type}, []ir.Type{n.Out[0].Type})) / 8
	case ir.Pool:
		for _, k := range op.Kernel {
			w *= float64(k)
		}
	case ir.Reduce:
		w += float64(in) / 8
	}
	return w
}

// spend takes work off the budget, or fails.
func (c *context) spend(work float64) bool {
	if c.budget -= work; c.budget < 0 {
		c.fail("what this model computes from constants is out of all proportion to its weights; compile it with a larger budget if it makes them out of nothing")
	}
	return c.err == nil
}

// floats returns a constant of the given shape.
func (c *context) floats(data []float32, dims ...int) *ir.Value {
	return ir.ConstValue(c.name+".const", ir.Floats(data, dims...))
}

func (c *context) constantOf(t *ir.Tensor) *ir.Value { return ir.ConstValue(c.name+".const", t) }

// like is the number n as a scalar of the element type of x.
func (c *context) like(x *ir.Value, n float64) *ir.Value {
	t := ir.NewTensor(ir.Of(x.Type.DType))
	if x.Type.DType.Float() {
		t.F[0] = float32(n)
	} else {
		t.I[0] = ir.Saturate(n, x.Type.DType)
	}
	return c.constantOf(t)
}

func (c *context) each(fn string, in ...*ir.Value) *ir.Value { return c.add(ir.Each{Fn: fn}, in...) }

func (c *context) cast(x *ir.Value, to ir.DType) *ir.Value {
	if c.err != nil || x.Type.DType == to {
		return x
	}
	return c.add(ir.Cast{To: to}, x)
}

func (c *context) number(x float32) *ir.Value { return c.floats([]float32{x}) }

// zeros is the bias of an operator that has none.
func (c *context) zeros(n int) *ir.Value {
	if !c.spend(float64(n)) {
		n = 0
	}
	return c.floats(make([]float32, n), n)
}

func (c *context) reshape(v *ir.Value, shape ...int) *ir.Value {
	if slices.Equal(v.Type.Shape, shape) {
		return v
	}
	return c.add(ir.Reshape{Shape: shape}, v)
}

func (c *context) transpose(v *ir.Value, perm ...int) *ir.Value {
	y := c.add(ir.Transpose{Perm: perm}, v)
	if c.err == nil {
		keepSteps(v, y, perm)
	}
	return y
}

// channelsLast and channelsFirst turn [N, C, spatial…] into [N, spatial…, C] and back.
func (c *context) channelsLast(v *ir.Value) *ir.Value {
	perm := []int{0}
	for i := 2; i < len(v.Type.Shape); i++ {
		perm = append(perm, i)
	}
	return c.transpose(v, append(perm, 1)...)
}

func (c *context) channelsFirst(v *ir.Value) *ir.Value {
	r := len(v.Type.Shape)
	perm := []int{0, r - 1}
	for i := 1; i < r-1; i++ {
		perm = append(perm, i)
	}
	return c.transpose(v, perm...)
}
