package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// sequenceConverters are operators on lists of tensors, as exporters write them for split, stack and loops
// that collect. A list is known now, its tensors may be computed while the model runs; a module neither
// takes nor gives one.
var sequenceConverters = map[string]converter{
	"SequenceEmpty": func(c *context) []*ir.Value { return c.list() }, "SequenceConstruct": sequenceConstruct,
	"SequenceInsert": sequenceInsert, "SequenceErase": sequenceErase, "SequenceAt": sequenceAt,
	"SequenceLength": sequenceLength, "SequenceMap": sequenceMap,
	"ConcatFromSequence": concatFromSequence, "SplitToSequence": splitToSequence,
	"Optional": optional, "OptionalGetElement": identity, "OptionalHasElement": hasElement,
}

// list is the value that stands for a list of tensors.
func (c *context) list(elems ...*ir.Value) []*ir.Value {
	if len(elems) > maxList {
		c.unsupported("a sequence of %d tensors", len(elems))
	}
	v := &ir.Value{Name: c.name}
	c.lists[v] = slices.Clone(elems)
	return []*ir.Value{v}
}

// elements are those of input i, a list.
func (c *context) elements(i int) []*ir.Value {
	l, ok := c.lists[c.input(i)]
	if !ok {
		c.fail("input %d is no sequence", i)
	}
	return l
}

// position is where input i points in a list that has room for n; absent if the input is left out.
func (c *context) position(i, n, absent int) int {
	at := c.ints(i, "", []int{absent})
	if c.err == nil && len(at) != 1 {
		c.fail("input %d is no single position", i)
	}
	if c.err != nil {
		return 0
	}
	return c.axis(at[0], n)
}

func sequenceConstruct(c *context) []*ir.Value {
	var elems []*ir.Value
	for i := range c.in {
		elems = append(elems, c.input(i))
	}
	return c.list(elems...)
}

// sequenceInsert converts SequenceInsert (version 11): before a position, or at the end.
func sequenceInsert(c *context) []*ir.Value {
	l, x := c.elements(0), c.input(1)
	at := c.position(2, len(l)+1, len(l))
	if v := c.optional(2); c.err == nil && v != nil && v.Const.I[0] < 0 {
		at = c.axis(int(v.Const.I[0]), len(l)) // counts from the last element, not from behind it
	}
	if c.err != nil {
		return nil
	}
	return c.list(slices.Insert(slices.Clone(l), at, x)...)
}

func sequenceErase(c *context) []*ir.Value {
	l := c.elements(0)
	at := c.position(1, len(l), -1)
	if c.err != nil {
		return nil
	}
	return c.list(slices.Delete(slices.Clone(l), at, at+1)...)
}

func sequenceAt(c *context) []*ir.Value {
	l := c.elements(0)
	at := c.position(1, len(l), 0)
	if c.err != nil {
		return nil
	}
	return []*ir.Value{l[at]}
}

func sequenceLength(c *context) []*ir.Value {
	return []*ir.Value{c.constantOf(ir.Ints([]int64{int64(len(c.elements(0)))}))}
}

// concatFromSequence converts ConcatFromSequence (version 11), with new_axis a stack.
func concatFromSequence(c *context) []*ir.Value {
	l := slices.Clone(c.elements(0))
	if c.err == nil && len(l) == 0 {
		c.fail("an empty sequence")
	}
	if c.err != nil {
		return nil
	}
	stack := c.attrInt("new_axis", 0) != 0
	rank := len(l[0].Type.Shape)
	if stack {
		rank++
	}
	axis := c.axis(c.attrInt("axis", 0), rank)
	for i, v := range l {
		if c.err != nil {
			return nil
		}
		if stack && len(v.Type.Shape) == rank-1 {
			l[i] = c.reshape(v, slices.Insert(slices.Clone(v.Type.Shape), axis, 1)...)
		}
	}
	return []*ir.Value{c.join(axis, l...)}
}

// splitToSequence converts SplitToSequence (version 11): parts of one size, of listed sizes, or of 1.
func splitToSequence(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	axis := c.axis(c.attrInt("axis", 0), len(s))
	if c.err != nil {
		return nil
	}
	sizes, size := []int(nil), 1
	if v := c.optional(1); v != nil {
		sizes = c.ints(1, "", nil)
		if c.err == nil && len(v.Type.Shape) == 0 {
			sizes, size = nil, sizes[0]
		}
	}
	if c.err == nil && (size < 1 || sizes == nil && s[axis]/size > maxList) {
		c.fail("parts of %d on axis %d of %v", size, axis, s)
	}
	if c.err != nil {
		return nil
	}
	if sizes == nil {
		sizes = slices.Repeat([]int{size}, s[axis]/size)
		if rest := s[axis] % size; rest > 0 {
			sizes = append(sizes, rest)
		}
	}
	single := c.optional(1) == nil && c.attrInt("keepdims", 1) == 0
	var parts []*ir.Value
	at := 0
	for _, n := range sizes {
		if n < 0 || at+n > s[axis] {
			c.fail("parts %v on axis %d of %v", sizes, axis, s)
			return nil
		}
		v := c.cut(x, axis, at, n)
		if single && c.err == nil {
			v = c.reshape(v, without(s, []int{axis})...)
		}
		parts = append(parts, v)
		at += n
	}
	if at != s[axis] {
		c.fail("parts %v on axis %d of %v", sizes, axis, s)
		return nil
	}
	return c.list(parts...)
}

// sequenceMap converts SequenceMap (version 17): a body for each element of the first list, and the element
// beside it of those that are lists as well.
func sequenceMap(c *context) []*ir.Value {
	g, n := c.body("body"), len(c.elements(0))
	made := make([][]*ir.Value, len(g.Outputs))
	for k := range n {
		var in []*ir.Value
		for i := range c.in {
			v := c.input(i)
			if l, ok := c.lists[v]; ok && k < len(l) {
				v = l[k]
			}
			in = append(in, v)
		}
		out := c.run(g, in...)
		if c.err != nil {
			return nil
		}
		for i, v := range out {
			made[i] = append(made[i], v)
		}
	}
	var out []*ir.Value
	for _, l := range made {
		out = append(out, c.list(l...)...)
	}
	return out
}

// optional converts Optional (version 15) around a value.
func optional(c *context) []*ir.Value {
	if c.optional(0) == nil {
		c.unsupported("an optional without a value")
		return nil
	}
	return identity(c)
}

// hasElement converts OptionalHasElement (version 18): what is there has one.
func hasElement(c *context) []*ir.Value {
	there := &ir.Tensor{Type: ir.Of(ir.Bool), I: []int64{0}}
	if c.optional(0) != nil {
		there.I[0] = 1
	}
	return []*ir.Value{c.constantOf(there)}
}
