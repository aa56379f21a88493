package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// unique converts Unique (version 11) of a constant: the distinct elements, or slices along an axis, with
// their first places, the place of each element among them, and how often each is there.
func unique(c *context) []*ir.Value {
	x := c.constant(0)
	if c.err != nil || x == nil {
		c.fail("input 0 is missing")
		return nil
	}
	in, axis := c.input(0), 0
	if c.Attr("axis") == nil {
		in = c.reshape(in, x.Shape.Elems())
	} else {
		axis = c.axis(c.attrInt("axis", 0), len(x.Shape))
	}
	if c.err != nil || !c.spend(float64(x.Shape.Elems())) {
		return nil
	}
	x = in.Const
	n, inner := x.Shape[axis], x.Shape[axis+1:].Elems()
	outer := x.Shape[:axis].Elems()
	compare := func(a, b int) int {
		for o := range outer {
			for i := range inner {
				if d := x.Compare((o*n+a)*inner+i, (o*n+b)*inner+i); d != 0 {
					return d
				}
			}
		}
		return 0
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, compare)
	var first []int64 // of each distinct slice, its first place
	group := make([]int, n)
	for i, k := range order {
		if i == 0 || compare(order[i-1], k) != 0 {
			first = append(first, int64(k))
		}
		group[k] = len(first) - 1
	}
	rank := make([]int64, len(first)) // of each group among the results
	for i := range rank {
		rank[i] = int64(i)
	}
	if c.attrInt("sorted", 1) == 0 { // in the order of their first places
		by := slices.Clone(rank)
		slices.SortFunc(by, func(a, b int64) int { return int(first[a] - first[b]) })
		for i, g := range by {
			rank[g] = int64(i)
		}
		slices.Sort(first)
	}
	inverse, counts := make([]int64, n), make([]int64, len(first))
	for i, g := range group {
		inverse[i] = rank[g]
		counts[rank[g]]++
	}
	list := func(v []int64) *ir.Value { return c.constantOf(ir.Ints(v, len(v))) }
	return []*ir.Value{c.pick(in, axis, first), list(first), list(inverse), list(counts)}
}
