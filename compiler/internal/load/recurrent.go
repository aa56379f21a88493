package load

import (
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// layerOf describes the ONNX operators RNN, GRU and LSTM (versions 7 to 22).
type layerOf struct {
	cell  string
	gates int
	acts  []string // of one direction, where the model names none
}

func recurrent(cell string, gates int, acts ...string) converter {
	l := layerOf{cell, gates, acts}
	return func(c *context) []*ir.Value { return l.convert(c) }
}

// recurrentActs are the activations by their names in lower case, with the defaults of α and β; the
// operators of the same name define them.
var recurrentActs = map[string]struct {
	fn     string
	params int
	absent [2]float32
}{
	"relu": {"clip", 0, ir.Relu().P}, "tanh": {fn: "tanh"}, "sigmoid": {fn: "sigmoid"},
	"softsign": {fn: "softsign"}, "softplus": {fn: "softplus"},
	"leakyrelu": {"leakyrelu", 1, [2]float32{0.01}}, "elu": {"elu", 1, [2]float32{1}},
	"thresholdedrelu": {"above", 1, [2]float32{1}},
	"affine":          {"affine", 2, [2]float32{1}}, "scaledtanh": {"scaledtanh", 2, [2]float32{1, 1}},
	"hardsigmoid": {"hardsigmoid", 2, [2]float32{0.2, 0.5}},
}

// activations reads the functions of all directions. α and β are lists that those functions which
// have such a parameter take from in order.
func (l layerOf) activations(c *context, directions int) []ir.Unary {
	names := slices.Repeat(l.acts, directions)
	if a := c.Attr("activations"); a != nil {
		names = nil
		for _, s := range a.Strings {
			names = append(names, string(s))
		}
	}
	if len(names) != directions*len(l.acts) {
		c.fail("%d activations, wants %d", len(names), directions*len(l.acts))
		return make([]ir.Unary, directions*len(l.acts))
	}
	var lists [2][]float32
	for i, name := range []string{"activation_alpha", "activation_beta"} {
		if a := c.Attr(name); a != nil {
			lists[i] = a.Floats
		}
	}
	acts := make([]ir.Unary, len(names))
	for i, name := range names {
		f, ok := recurrentActs[strings.ToLower(name)]
		if !ok {
			c.unsupported("activation %q", name)
			return acts
		}
		acts[i] = ir.Unary{Fn: f.fn, P: f.absent}
		for p := range f.params {
			if len(lists[p]) > 0 {
				acts[i].P[p], lists[p] = lists[p][0], lists[p][1:]
			}
		}
	}
	return acts
}

func (l layerOf) convert(c *context) []*ir.Value {
	x, w, r := c.input(0), c.input(1), c.input(2)
	if c.err != nil {
		return nil
	}
	directions := map[string]int{"forward": 1, "reverse": 1, "bidirectional": 2}[c.attrStr("direction", "forward")]
	layout := c.attrInt("layout", 0)
	xs, ws := x.Type.Shape, w.Type.Shape
	switch {
	case directions == 0:
		c.fail("direction %q", c.attrStr("direction", ""))
	case len(xs) != 3 || len(ws) != 3 || len(r.Type.Shape) != 3 || ws[0] != directions || ws[1]%l.gates != 0 || ws[1] == 0:
		c.fail("input %v, weights %v and %v do not add up for %d directions and %d gates", xs, ws, r.Type.Shape, directions, l.gates)
	case c.Attr("hidden_size") != nil && c.attrInt("hidden_size", 0) != ws[1]/l.gates:
		c.fail("hidden_size %d, the weights %v have %d", c.attrInt("hidden_size", 0), ws, ws[1]/l.gates)
	case layout != 0 && layout != 1:
		c.fail("layout %d", layout)
	}
	if c.err != nil {
		return nil
	}
	if layout == 1 {
		x = c.transpose(x, 1, 0, 2)
	}
	lens := c.ints(4, "", nil)
	acts := l.activations(c, directions)
	var ends [][]*ir.Value // per direction: y, h, c
	for d := range directions {
		op := ir.Recurrent{
			Cell: l.cell, Clip: c.attrFloat("clip", 0), Lens: lens,
			Reverse: d == 1 || c.attrStr("direction", "forward") == "reverse",
			Coupled: l.cell == "lstm" && c.attrInt("input_forget", 0) != 0,
			Linear:  l.cell == "gru" && c.attrInt("linear_before_reset", 0) != 0,
		}
		for i, u := range acts[d*len(l.acts):][:len(l.acts)] {
			*[]*ir.Unary{&op.F, &op.G, &op.H}[i] = u
		}
		ends = append(ends, l.direction(c, op, d, x))
	}
	if c.err != nil {
		return nil
	}
	var out []*ir.Value
	for i := range ends[0] {
		var parts []*ir.Value
		for _, e := range ends {
			s := e[i].Type.Shape
			parts = append(parts, c.reshape(e[i], slices.Insert(slices.Clone(s), len(s)-2, 1)...))
		}
		y := c.join(len(parts[0].Type.Shape)-3, parts...)
		if layout == 1 && i == 0 {
			y = c.transpose(y, 2, 0, 1, 3)
		} else if layout == 1 {
			y = c.transpose(y, 1, 0, 2)
		}
		out = append(out, y)
	}
	return out
}

// join concatenates along an axis what may be one value alone.
func (c *context) join(axis int, parts ...*ir.Value) *ir.Value {
	if len(parts) == 1 {
		return parts[0]
	}
	return c.add(ir.Concat{Axis: axis}, parts...)
}

// direction adds the product of the input with its weights and the walk over the steps.
func (l layerOf) direction(c *context, op ir.Recurrent, d int, x *ir.Value) []*ir.Value {
	xs, width := x.Type.Shape, c.shape(1)[1]
	hidden := width / l.gates
	w, r := c.transpose(c.row(c.input(1), d), 1, 0), c.transpose(c.row(c.input(2), d), 1, 0)
	var bias, late *ir.Value
	if b := c.optional(3); b != nil {
		both := c.row(b, d)
		if c.err == nil && !slices.Equal(both.Type.Shape, ir.Shape{2 * width}) {
			c.fail("bias is %v, wants [%d,%d]", b.Type.Shape, b.Type.Shape[0], 2*width)
		}
		bias = c.cut(both, 0, 0, width)
		late = c.cut(both, 0, width, width)
		if !op.Linear {
			bias = c.binary("add", bias, late)
		}
	} else if op.Linear {
		late = c.zeros(width)
	}
	if op.Linear && c.err == nil && late.Const == nil {
		c.unsupported("its bias (%s) is computed while the model runs", c.input(3).Name)
	}
	flat := c.product(c.reshape(x, xs[0]*xs[1], xs[2]), w)
	if bias != nil {
		flat = c.binary("add", flat, bias)
	}
	in := []*ir.Value{c.reshape(flat, xs[0], xs[1], width)}
	switch {
	case op.Linear:
		in = append(in, r, late)
	case l.cell == "gru":
		in = append(in, c.cut(r, 1, 0, 2*hidden), c.cut(r, 1, 2*hidden, hidden))
	default:
		in = append(in, r)
	}
	for i := range op.States() {
		in = append(in, l.state(c, i, d, xs[1], hidden))
	}
	if p := c.optional(7); p != nil && l.cell == "lstm" {
		in = append(in, c.row(p, d))
	}
	return c.addAll(op, in...)
}

// state is how state i of direction d begins: as the model says, or zero.
func (l layerOf) state(c *context, i, d, batch, hidden int) *ir.Value {
	v := c.optional(5 + i)
	if v == nil {
		return c.reshape(c.zeros(batch*hidden), batch, hidden)
	}
	if c.attrInt("layout", 0) == 1 && c.err == nil {
		if len(v.Type.Shape) != 3 {
			c.fail("the first state is %v, wants three axes", v.Type.Shape)
			return v
		}
		v = c.transpose(v, 1, 0, 2)
	}
	return c.row(v, d)
}

// row is element i of the first axis of v.
func (c *context) row(v *ir.Value, i int) *ir.Value {
	s := v.Type.Shape
	if c.err == nil && (len(s) == 0 || i >= s[0]) {
		c.fail("%s is %v, wants an element %d", v.Name, s, i)
	}
	if c.err != nil {
		return v
	}
	return c.reshape(c.cut(v, 0, i, 1), s[1:]...)
}

// cut is the n elements of an axis of v from at on.
func (c *context) cut(v *ir.Value, axis, at, n int) *ir.Value {
	s := v.Type.Shape
	if c.err != nil || at == 0 && n == s[axis] {
		return v
	}
	op := ir.Slice{Start: make([]int, len(s)), Count: slices.Clone(s), Step: slices.Repeat([]int{1}, len(s))}
	op.Start[axis], op.Count[axis] = at, n
	return c.add(op, v)
}
