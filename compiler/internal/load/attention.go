package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// attentionConverters are the operators that Transformers are made of.
var attentionConverters = map[string]converter{"Attention": attention, "RotaryEmbedding": rotaryEmbedding}

// heads turns [batch, length, heads·size] into [batch, heads, length, size].
func (c *context) heads(v *ir.Value, n int) *ir.Value {
	s := v.Type.Shape
	if c.err != nil || len(s) == 4 {
		return v
	}
	if len(s) != 3 || n < 1 || s[2]%n != 0 {
		c.fail("%v does not split into %d heads", s, n)
		return v
	}
	return c.transpose(c.reshape(v, s[0], s[1], n, s[2]/n), 0, 2, 1, 3)
}

// attention converts Attention (versions 23 to 25): softmax(q·k' + bias)·v for each head, with the keys and
// values of earlier calls before the new ones.
func attention(c *context) []*ir.Value {
	q, k, v := c.input(0), c.input(1), c.input(2)
	flat := len(q.Type.Shape) == 3
	q, k, v = c.heads(q, c.attrInt("q_num_heads", 0)), c.heads(k, c.attrInt("kv_num_heads", 0)), c.heads(v, c.attrInt("kv_num_heads", 0))
	past := 0
	if pk, pv := c.optional(4), c.optional(5); pk != nil && pv != nil && len(pk.Type.Shape) == 4 {
		past = pk.Type.Shape[2]
		k, v = c.join(2, pk, k), c.join(2, pv, v)
	}
	presentK, presentV := k, v
	if c.err == nil && (len(q.Type.Shape) != 4 || len(k.Type.Shape) != 4 || len(v.Type.Shape) != 4) {
		c.fail("query %v, key %v, value %v", q.Type.Shape, k.Type.Shape, v.Type.Shape)
	}
	if c.err != nil {
		return nil
	}
	if groups := k.Type.Shape[1]; groups < 1 || q.Type.Shape[1]%groups != 0 {
		c.fail("%d heads of queries for %d of keys", q.Type.Shape[1], groups)
		return nil
	}
	k, v = c.shared(k, q.Type.Shape[1]), c.shared(v, q.Type.Shape[1])
	scale := float64(c.attrFloat("scale", float32(1/math.Sqrt(float64(q.Type.Shape[3])))))
	root := c.number(float32(math.Sqrt(scale)))
	score := c.product(c.binary("mul", q, root), c.transpose(c.binary("mul", k, root), 0, 1, 3, 2))
	debug, mode := score, c.attrInt("qk_matmul_output_mode", 0)
	if limit := c.attrFloat("softcap", 0); limit > 0 {
		score = c.binary("mul", c.unary("tanh", c.binary("div", score, c.number(limit))), c.number(limit))
		if mode == 1 {
			debug = score
		}
	}
	bias := c.attentionBias(q.Type.Shape[2], k.Type.Shape[2], past)
	if bias != nil {
		score = c.binary("add", score, bias)
	}
	if mode == 2 {
		debug = score
	}
	p := c.add(ir.Softmax{}, score)
	if bias != nil && c.err == nil { // a query that may see no key sees zeros
		top := c.add(ir.Reduce{Fn: "max", Axes: []int{len(bias.Type.Shape) - 1}}, bias)
		p = c.each("where", c.each("eq", top, c.number(-inf)), c.number(0), p)
	}
	if mode == 3 {
		debug = p
	}
	y := c.product(p, v)
	if flat && c.err == nil {
		s := y.Type.Shape
		y = c.reshape(c.transpose(y, 0, 2, 1, 3), s[0], s[2], s[1]*s[3])
	}
	return []*ir.Value{y, presentK, presentV, debug}
}

// shared repeats each head of keys or values for the group of queries that it serves.
func (c *context) shared(v *ir.Value, heads int) *ir.Value {
	s := v.Type.Shape
	if c.err != nil || s[1] == heads {
		return v
	}
	wide := c.add(ir.Expand{Shape: ir.Shape{s[0], s[1], heads / s[1], s[2], s[3]}}, c.reshape(v, s[0], s[1], 1, s[2], s[3]))
	return c.reshape(wide, s[0], heads, s[2], s[3])
}

// attentionBias is what is added to the scores [batch, heads, queries, keys]: the given mask, and -Inf for
// keys after the query, outside its window and beyond the length of the cache. Nil for none.
func (c *context) attentionBias(queries, keys, past int) *ir.Value {
	var allowed, bias *ir.Value
	both := func(v *ir.Value) {
		if allowed == nil {
			allowed = v
		} else {
			allowed = c.each("and", allowed, v)
		}
	}
	if mask := c.optional(3); mask != nil {
		s := mask.Type.Shape
		if short := len(s) > 0 && s[len(s)-1] < keys && s[len(s)-1] > 1; short {
			pads := make([]int, 2*len(s))
			pads[2*len(s)-1] = keys - s[len(s)-1]
			mask = c.add(ir.Pad{Pads: pads, Value: -inf}, mask)
		}
		if mask.Type.DType == ir.Bool {
			both(mask)
		} else {
			bias = mask
		}
	}
	left, right := c.attrInt("left_window_size", -1), c.attrInt("right_window_size", -1)
	causal := c.attrInt("is_causal", 0) != 0
	lens := c.optional(6)
	if !c.spend(float64(queries) * float64(keys)) {
		return nil
	}
	if causal || left >= 0 || right >= 0 {
		// How far a key lies behind its query, if none is cached.
		behind := ir.Ints(make([]int64, queries*keys), queries, keys)
		for i := range behind.I {
			behind.I[i] = int64(i/keys - i%keys)
		}
		distance := c.constantOf(behind)
		switch {
		case lens != nil && past == 0:
			offset := c.binary("sub", c.cast(lens, ir.I64), c.constantOf(ir.Ints([]int64{int64(queries)})))
			distance = c.binary("add", distance, c.reshape(offset, offset.Type.Shape.Elems(), 1, 1, 1))
		case past > 0:
			distance = c.binary("add", distance, c.constantOf(ir.Ints([]int64{int64(past)})))
		}
		number := func(n int) *ir.Value { return c.constantOf(ir.Ints([]int64{int64(n)})) }
		if causal {
			both(c.each("le", number(0), distance))
		}
		if left >= 0 {
			both(c.each("le", distance, number(left)))
		}
		if right >= 0 {
			both(c.each("le", number(-right), distance))
		}
	}
	if lens != nil {
		n := lens.Type.Shape.Elems()
		both(c.each("lt", c.reshape(c.constantOf(iota64(keys)), 1, 1, 1, keys), c.reshape(c.cast(lens, ir.I64), n, 1, 1, 1)))
	}
	if allowed != nil && c.err == nil {
		seen := c.each("where", allowed, c.number(0), c.number(-inf))
		if bias == nil {
			bias = seen
		} else {
			bias = c.binary("add", bias, seen)
		}
	}
	if bias != nil && c.err == nil && len(bias.Type.Shape) == 0 {
		bias = c.reshape(bias, 1)
	}
	return bias
}

// rotaryEmbedding converts RotaryEmbedding (version 23): pairs of elements turn by angles whose cosines and
// sines are given for each position.
func rotaryEmbedding(c *context) []*ir.Value {
	given := c.input(0)
	x := c.heads(given, c.attrInt("num_heads", 0)) // [batch, heads, length, size]
	if c.err != nil || len(x.Type.Shape) != 4 {
		c.fail("input %v", given.Type.Shape)
		return nil
	}
	s := x.Type.Shape
	size := c.attrInt("rotary_embedding_dim", 0)
	if size == 0 {
		size = s[3]
	}
	if size < 2 || size > s[3] || size%2 != 0 {
		c.fail("%d of %d elements turn", size, s[3])
		return nil
	}
	angle := func(i int) *ir.Value {
		v := c.input(i)
		if pos := c.optional(3); pos != nil {
			v = c.add(ir.Gather{}, v, pos)
		}
		vs := v.Type.Shape
		if c.err == nil && !slices.Equal(vs, ir.Shape{s[0], s[2], size / 2}) && !slices.Equal(vs, ir.Shape{1, s[2], size / 2}) {
			c.fail("angles %v for input %v", vs, s)
		}
		if c.err != nil {
			return v
		}
		return c.reshape(v, vs[0], 1, s[2], size/2)
	}
	cos, sin := angle(1), angle(2)
	part := c.cut(x, 3, 0, size)
	var a, b *ir.Value
	interleaved := c.attrInt("interleaved", 0) != 0
	if interleaved {
		pairs := c.reshape(part, s[0], s[1], s[2], size/2, 2)
		a, b = c.reshape(c.cut(pairs, 4, 0, 1), s[0], s[1], s[2], size/2), c.reshape(c.cut(pairs, 4, 1, 1), s[0], s[1], s[2], size/2)
	} else {
		a, b = c.cut(part, 3, 0, size/2), c.cut(part, 3, size/2, size/2)
	}
	re := c.binary("sub", c.binary("mul", cos, a), c.binary("mul", sin, b))
	im := c.binary("add", c.binary("mul", sin, a), c.binary("mul", cos, b))
	var y *ir.Value
	if interleaved {
		dims := []int{s[0], s[1], s[2], size / 2, 1}
		y = c.reshape(c.join(4, c.reshape(re, dims...), c.reshape(im, dims...)), s[0], s[1], s[2], size)
	} else {
		y = c.join(3, re, im)
	}
	if size < s[3] {
		y = c.join(3, y, c.cut(x, 3, size, s[3]-size))
	}
	if len(given.Type.Shape) == 3 && c.err == nil {
		y = c.reshape(c.transpose(y, 0, 2, 1, 3), given.Type.Shape...)
	}
	return []*ir.Value{y}
}
