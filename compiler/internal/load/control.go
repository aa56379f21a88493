package load

import (
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// controlConverters are operators that run graphs of their own. A module has no loops of layers: bodies are
// written out once for each time that they run.
var controlConverters = map[string]converter{"If": ifElse, "Loop": loop, "Scan": scan}

// maxTrips bounds how often a body is written out, and maxDepth how deep they and functions nest.
const (
	maxTrips = 1 << 10
	maxDepth = 32
	// nodeWork is what a node of a body costs of the budget, each time: two microseconds or so.
	nodeWork = 64
)

// body returns a graph among the attributes.
func (c *context) body(name string) *onnx.Graph {
	a := c.Attr(name)
	if a == nil || a.G == nil {
		c.fail("attribute %q, a graph, is missing", name)
		return &onnx.Graph{}
	}
	return a.G
}

// run converts a body for these inputs and returns its outputs; names of the graph around it are known
// inside, those inside are forgotten after it.
func (c *context) run(g *onnx.Graph, inputs ...*ir.Value) []*ir.Value {
	if c.err == nil && len(g.Inputs) != len(inputs) {
		c.fail("the body takes %d inputs, not %d", len(g.Inputs), len(inputs))
	}
	if c.err == nil && c.depth >= maxDepth {
		c.fail("bodies are nested more than %d deep", maxDepth)
	}
	if c.err != nil {
		return nil
	}
	if !c.spend(nodeWork * float64(1+len(g.Nodes)+len(g.Initializers))) {
		return nil
	}
	said := c.said
	c.said = map[string]ir.Shape{}
	c.depth++
	leave := c.enter(g)
	defer func() {
		leave()
		c.said = said
		c.depth--
	}()
	if c.err = c.initializers(g); c.err != nil {
		return nil
	}
	for i, in := range g.Inputs {
		c.vals[in.Name] = inputs[i]
	}
	missing := len(c.missing)
	for i, n := range g.Nodes {
		if c.err = c.node(n, i); c.err != nil {
			return nil
		}
	}
	if len(c.missing) > missing {
		c.inner = true
		c.unsupported("its body has unsupported nodes")
		return nil
	}
	var out []*ir.Value
	for _, o := range g.Outputs {
		v, ok := c.vals[o.Name]
		if !ok {
			c.fail("output %q of the body is never computed", o.Name)
			return nil
		}
		if v == absent {
			c.fail("output %q of the body is an input that is left out", o.Name)
			return nil
		}
		if v == nil {
			c.inner = true
			c.unsupported("its body needs what is unsupported")
			return nil
		}
		out = append(out, v)
	}
	return out
}

// enter forgets the values whose names g takes again, and returns what brings them back. A copy of all values
// would cost each trip of a loop as much as the graph around it.
func (c *context) enter(g *onnx.Graph) (leave func()) {
	var names []string
	for _, t := range g.Initializers {
		names = append(names, t.Name)
	}
	for _, in := range g.Inputs {
		names = append(names, in.Name)
	}
	for _, n := range g.Nodes {
		names = append(names, n.Outputs...)
	}
	outside := map[string]*ir.Value{}
	for _, name := range names {
		if v, ok := c.vals[name]; ok {
			outside[name] = v
			delete(c.vals, name)
		}
	}
	return func() {
		for _, name := range names {
			delete(c.vals, name)
		}
		maps.Copy(c.vals, outside)
	}
}

// ifElse converts If (versions 1 to 21). A condition that is computed while the model runs chooses between
// the results of both branches, which must then agree in type.
func ifElse(c *context) []*ir.Value {
	cond := c.input(0)
	if c.err == nil && (cond.Type.DType != ir.Bool || cond.Type.Shape.Elems() != 1) {
		c.fail("the condition is %v, wants a bool", cond.Type)
	}
	if c.err != nil {
		return nil
	}
	if cond.Const != nil {
		if cond.Const.I[0] != 0 {
			return c.run(c.body("then_branch"))
		}
		return c.run(c.body("else_branch"))
	}
	yes, no := c.run(c.body("then_branch")), c.run(c.body("else_branch"))
	if c.err == nil && len(yes) != len(no) {
		c.fail("the branches have %d and %d outputs", len(yes), len(no))
	}
	var out []*ir.Value
	for i := range yes {
		if c.err != nil {
			return nil
		}
		if !yes[i].Type.Equal(no[i].Type) {
			c.unsupported("the branches give %v and %v, and which one is computed while the model runs", yes[i].Type, no[i].Type)
			return nil
		}
		out = append(out, c.each("where", c.reshape(cond), yes[i], no[i]))
	}
	return out
}

// loop converts Loop (versions 1 to 21) with a number of trips that is known.
func loop(c *context) []*ir.Value {
	trips := maxTrips + 1
	if t := c.constant(0); t != nil && len(t.I) == 1 {
		trips = toInt(t.I[0])
	}
	cond, g := c.optional(1), c.body("body")
	if cond == nil {
		cond = c.constantOf(&ir.Tensor{Type: ir.Of(ir.Bool), I: []int64{1}})
	}
	var state []*ir.Value
	for i := 2; i < len(c.in); i++ {
		state = append(state, c.input(i))
	}
	rows := make([][]*ir.Value, max(len(g.Outputs)-1-len(state), 0))
	for trip := 0; trip < trips && c.err == nil; trip++ {
		if cond.Const == nil {
			if c.err == nil {
				c.fix = c.source(cond)
			}
			c.unsupported("whether it goes on is computed while the model runs")
			return nil
		}
		if len(cond.Const.I) != 1 || cond.Const.I[0] == 0 {
			break
		}
		if trip >= maxTrips {
			c.unsupported("more than %d trips", maxTrips)
			return nil
		}
		out := c.run(g, append([]*ir.Value{c.constantOf(ir.Ints([]int64{int64(trip)})), cond}, state...)...)
		if c.err != nil || len(out) != 1+len(state)+len(rows) {
			c.fail("the body has %d outputs for %d values that are carried", len(out), len(state))
			return nil
		}
		cond, state = out[0], out[1:1+len(state)]
		for i, v := range out[1+len(state):] {
			rows[i] = append(rows[i], c.reshape(v, append([]int{1}, v.Type.Shape...)...))
		}
	}
	out := slices.Clone(state)
	for i, r := range rows {
		if len(r) == 0 {
			c.unsupported("output %d has no elements: the body never runs", len(state)+i)
			return nil
		}
		out = append(out, c.join(0, r...))
	}
	return out
}

// scan converts Scan (versions 9 to 21): a body for each element along an axis of its inputs.
func scan(c *context) []*ir.Value {
	if c.opset < 9 {
		c.unsupported("version 8, with a batch")
		return nil
	}
	g, n := c.body("body"), c.attrInt("num_scan_inputs", 0)
	carried := len(c.in) - n
	if c.err == nil && (n < 1 || carried < 0 || len(g.Outputs) < carried) {
		c.fail("%d of %d inputs to scan, %d outputs", n, len(c.in), len(g.Outputs))
	}
	if c.err != nil {
		return nil
	}
	made := len(g.Outputs) - carried
	list := func(name string, n int) []int {
		v := c.attrInts(name, make([]int, n))
		if len(v) != n {
			c.fail("%s %v for %d", name, v, n)
			return make([]int, n)
		}
		return v
	}
	axes, back := list("scan_input_axes", n), list("scan_input_directions", n)
	outAxes, outBack := list("scan_output_axes", made), list("scan_output_directions", made)
	var state []*ir.Value
	for i := range carried {
		state = append(state, c.input(i))
	}
	steps := -1
	for i := range n {
		s := c.shape(carried + i)
		a := c.axis(axes[i], len(s))
		if c.err != nil || steps >= 0 && s[a] != steps || s[a] > maxTrips {
			c.fail("input %d is %v, scanned along axis %d for %d steps; at most %d are written out", carried+i, s, a, steps, maxTrips)
			return nil
		}
		steps, axes[i] = s[a], a
	}
	rows := make([][]*ir.Value, made)
	for step := range steps {
		in := slices.Clone(state)
		for i := range n {
			v, at := c.input(carried+i), step
			if back[i] != 0 {
				at = steps - 1 - step
			}
			s := v.Type.Shape
			in = append(in, c.reshape(c.cut(v, axes[i], at, 1), without(s, axes[i:i+1])...))
		}
		out := c.run(g, in...)
		if c.err != nil {
			return nil
		}
		state = out[:carried]
		for i, v := range out[carried:] {
			a := c.axis(outAxes[i], len(v.Type.Shape)+1)
			v = c.reshape(v, slices.Insert(slices.Clone(v.Type.Shape), a, 1)...)
			if outBack[i] != 0 {
				rows[i] = append([]*ir.Value{v}, rows[i]...)
			} else {
				rows[i] = append(rows[i], v)
			}
		}
	}
	out := slices.Clone(state)
	for i, r := range rows {
		if c.err != nil || len(r) == 0 {
			c.fail("output %d has no elements", carried+i)
			return nil
		}
		out = append(out, c.join(c.axis(outAxes[i], len(r[0].Type.Shape)), r...))
	}
	return out
}
