package load

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// absent stands for an input of a function that its caller leaves out.
var absent = &ir.Value{}

// function returns the function of the model that n calls, or nil. Its nodes are written out where it is called.
func (l *loader) function(n *onnx.Node) *onnx.Function {
	for _, f := range l.functions {
		if f.Name == n.OpType && domain(f.Domain) == domain(n.Domain) && f.Overload == n.Overload {
			return f
		}
	}
	return nil
}

// domain gives the operators of ONNX their short name.
func domain(name string) string {
	if name == "ai.onnx" {
		return ""
	}
	return name
}

// call converts the body of f for the inputs and attributes of the node that calls it. Inside it there are no
// names but its own, and its operators are of the version that it states.
func (c *context) call(f *onnx.Function) []*ir.Value {
	if len(c.in) > len(f.Inputs) || len(c.Outputs) > len(f.Outputs) {
		c.fail("%d inputs and %d outputs, the function has %d and %d", len(c.in), len(c.Outputs), len(f.Inputs), len(f.Outputs))
		return nil
	}
	opset := c.opset
	if v, ok := f.Opsets[""]; ok {
		opset = v
	}
	if opset < minOpset || opset > maxOpset {
		c.unsupported("operator set version %d of the function; %d to %d are compiled", opset, minOpset, maxOpset)
		return nil
	}
	g := &onnx.Graph{Name: f.Name, Nodes: f.Nodes}
	inputs := make([]*ir.Value, len(f.Inputs))
	for i, name := range f.Inputs {
		g.Inputs = append(g.Inputs, &onnx.ValueInfo{Name: name})
		if inputs[i] = c.optional(i); inputs[i] == nil {
			inputs[i] = absent
		}
	}
	for i, name := range f.Outputs {
		if i < len(c.Outputs) && c.Outputs[i] != "" {
			g.Outputs = append(g.Outputs, &onnx.ValueInfo{Name: name})
		}
	}
	outside := *c.loader
	c.opset, c.vals, c.unfilled = opset, map[string]*ir.Value{}, map[string]Unsupported{}
	c.calls = &frame{caller: c.Node, function: f, within: outside.calls}
	given := c.run(g, inputs...)
	c.opset, c.vals, c.unfilled, c.calls = outside.opset, outside.vals, outside.unfilled, outside.calls
	if c.err != nil {
		return nil
	}
	out := make([]*ir.Value, len(c.Outputs))
	for i, name := range c.Outputs {
		if name != "" {
			out[i], given = given[0], given[1:]
		}
	}
	return out
}

// frame is a function that is being written out.
type frame struct {
	caller   *onnx.Node // its references to attributes are resolved
	function *onnx.Function
	within   *frame // the function that calls it
}

// attribute is what the function knows by this name: of the caller, or else the default.
func (f *frame) attribute(name string) *onnx.Attribute {
	if a := f.caller.Attr(name); a != nil {
		return a
	}
	for _, a := range f.function.AttrDefaults {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// resolved returns n with the values of the attributes that it takes from the function's caller; one that
// is not there is left out.
func (l *loader) resolved(n *onnx.Node) (*onnx.Node, error) {
	refers := func(a *onnx.Attribute) bool { return a.RefName != "" }
	if !slices.ContainsFunc(n.Attrs, refers) {
		return n, nil
	}
	if l.calls == nil {
		return nil, fmt.Errorf("an attribute refers to a function's, outside of any function")
	}
	y := *n
	y.Attrs = nil
	for _, a := range n.Attrs {
		if refers(a) {
			given := l.calls.attribute(a.RefName)
			if given == nil {
				continue
			}
			named := *given
			named.Name = a.Name
			a = &named
		}
		y.Attrs = append(y.Attrs, a)
	}
	return &y, nil
}
