package load

import (
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// stateConverters are layers that hand a state from one call to the next, as outputs and inputs.
var stateConverters = map[string]converter{"CausalConvWithState": causalConv, "LinearAttention": linearAttention}

// causalConv converts CausalConvWithState (version 27): a convolution of each channel on its own over the
// past and the present, which becomes the next call's past.
func causalConv(c *context) []*ir.Value {
	x, w, past := c.input(0), c.input(1), c.optional(3)
	s, ws := x.Type.Shape, w.Type.Shape
	if len(s) != 3 || len(ws) != 3 || ws[0] != s[1] || ws[1] != 1 || ws[2] < 1 || ws[2] > maxWindow {
		c.fail("input %v, weights %v", s, ws)
		return nil
	}
	before := ws[2] - 1
	if past == nil {
		if !c.spend(float64(s[0]) * float64(s[1]) * float64(before)) {
			return nil
		}
		past = c.constantOf(ir.NewTensor(ir.Of(ir.F32, s[0], s[1], before)))
	}
	all := x
	if before > 0 {
		all = c.join(2, past, x)
	}
	op := ir.Conv{Strides: []int{1}, Dilations: []int{1}, Pads: []int{0, 0}, Group: s[1]}
	y := c.channelsFirst(c.convolution(op, c.channelsLast(all), c.transpose(w, 2, 1, 0), s[1]))
	switch fn := c.attrStr("activation", "none"); fn {
	case "none":
	case "silu", "swish":
		y = c.unary("silu", y)
	default:
		c.fail("activation %q is none of none, silu, swish", fn)
	}
	if c.err != nil {
		return nil
	}
	if before == 0 {
		return []*ir.Value{y, past}
	}
	return []*ir.Value{y, c.cut(all, 2, s[2], before)}
}

// linearAttention converts LinearAttention (version 27), whose state is a matrix for each head: steps are
// written out.
func linearAttention(c *context) []*ir.Value {
	q, k, v, state := c.input(0), c.input(1), c.input(2), c.optional(3)
	heads, kv := c.attrInt("q_num_heads", 0), c.attrInt("kv_num_heads", 0)
	rule := c.attrStr("update_rule", "gated_delta")
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	qs, ks, vs := q.Type.Shape, k.Type.Shape, v.Type.Shape
	if len(qs) != 3 || len(ks) != 3 || len(vs) != 3 || kv < 1 || heads < kv || heads%kv != 0 ||
		qs[2]%heads != 0 || ks[2] != qs[2]/heads*kv || vs[2]%kv != 0 || !gated && !delta && rule != "linear" {
		c.fail("query %v, key %v, value %v for %d and %d heads, rule %q", qs, ks, vs, heads, kv, rule)
		return nil
	}
	batch, steps, dk, dv := qs[0], qs[1], qs[2]/heads, vs[2]/kv
	if steps > maxTrips {
		c.unsupported("more than %d steps", maxTrips)
		return nil
	}
	scale := c.attrFloat("scale", 0)
	if scale == 0 {
		scale = float32(1 / math.Sqrt(float64(dk)))
	}
	if state == nil {
		if !c.spend(float64(batch) * float64(kv) * float64(dk) * float64(dv)) {
			return nil
		}
		state = c.constantOf(ir.NewTensor(ir.Of(ir.F32, batch, kv, dk, dv)))
	}
	at := func(x *ir.Value, t int, dims ...int) *ir.Value { return c.reshape(c.cut(x, 1, t, 1), dims...) }
	// A value for each head, or for each element of a key, down the rows of the state.
	rows := func(i, t int) *ir.Value {
		x := c.input(i)
		if n := x.Type.Shape.Elems(); c.err == nil && n == batch*steps*kv*dk {
			return at(x, t, batch, kv, dk, 1)
		} else if n == batch*steps {
			return at(x, t, batch, 1, 1, 1)
		}
		return at(x, t, batch, kv, 1, 1)
	}
	var out []*ir.Value
	for t := 0; t < steps && c.err == nil; t++ {
		key, value := at(k, t, batch, kv, dk, 1), at(v, t, batch, kv, 1, dv)
		if gated {
			state = c.binary("mul", state, c.unary("exp", rows(4, t)))
		}
		if delta {
			known := c.product(c.reshape(key, batch, kv, 1, dk), state)
			value = c.binary("mul", c.binary("sub", value, known), rows(5, t))
		}
		state = c.binary("add", state, c.binary("mul", key, value))
		y := c.product(at(q, t, batch, kv, heads/kv, dk), state)
		out = append(out, c.reshape(c.binary("mul", y, c.number(scale)), batch, 1, heads*dv))
	}
	if len(out) == 0 {
		c.fail("no steps")
		return nil
	}
	return []*ir.Value{c.join(1, out...), state}
}
