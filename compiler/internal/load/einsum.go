package load

import (
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// term is an operand of Einsum with a letter for each axis.
type term struct {
	v      *ir.Value
	labels []rune
}

// einsum converts Einsum (version 12): operands are taken in from the left, each pair by a matrix product
// over the letters that nothing else needs.
func einsum(c *context) []*ir.Value {
	equation := strings.ReplaceAll(c.attrStr("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	parts := strings.Split(left, ",")
	if len(parts) != len(c.in) {
		c.fail("equation %q for %d inputs", equation, len(c.in))
		return nil
	}
	// An ellipsis becomes letters of its own, the same from the last one back.
	extra := 0
	for i, p := range parts {
		if strings.Contains(p, "...") {
			extra = max(extra, len(c.shape(i))-len([]rune(p))+3)
		}
	}
	dots := make([]rune, extra)
	for i := range dots {
		dots[i] = rune(0xE000 + i)
	}
	var terms []term
	count := map[rune]int{}
	for i, p := range parts {
		own := 0
		if strings.Contains(p, "...") {
			own = len(c.shape(i)) - len([]rune(p)) + 3
		}
		if own < 0 {
			c.fail("term %q for input %v", p, c.shape(i))
			return nil
		}
		t := term{c.input(i), []rune(strings.Replace(p, "...", string(dots[extra-own:]), 1))}
		if c.err == nil && len(t.labels) != len(t.v.Type.Shape) {
			c.fail("term %q for input %v", p, t.v.Type.Shape)
		}
		if c.err != nil {
			return nil
		}
		for _, l := range t.labels {
			count[l]++
		}
		terms = append(terms, c.diagonal(t))
	}
	out := []rune(strings.Replace(right, "...", string(dots), 1))
	if !explicit {
		out = slices.Clone(dots)
		for l, n := range count {
			if n == 1 && !slices.Contains(dots, l) {
				out = append(out, l)
			}
		}
		slices.SortFunc(out[extra:], func(a, b rune) int { return int(a - b) })
	}
	for _, l := range out {
		if count[l] == 0 {
			c.fail("equation %q: %q is in no term", equation, l)
			return nil
		}
	}
	acc := terms[0]
	for i, t := range terms[1:] {
		needed := slices.Clone(out)
		for _, later := range terms[i+2:] {
			needed = append(needed, later.labels...)
		}
		acc = c.contract(acc, t, needed)
	}
	acc = c.sumOut(acc, out)
	return []*ir.Value{c.arrange(acc, out)}
}

// diagonal keeps one axis of a letter that is there twice, and the elements where both are equal.
func (c *context) diagonal(t term) term {
	for i := 0; i < len(t.labels) && c.err == nil; i++ {
		j := slices.Index(t.labels[i+1:], t.labels[i])
		if j < 0 {
			continue
		}
		j += i + 1
		n := t.v.Type.Shape[i]
		order := []rune{}
		for k, l := range t.labels {
			if k != i && k != j {
				order = append(order, l)
			}
		}
		var perm []int
		for k := range t.labels {
			if k != i && k != j {
				perm = append(perm, k)
			}
		}
		if t.v.Type.Shape[j] != n {
			c.fail("letter %q has extents %d and %d", t.labels[i], n, t.v.Type.Shape[j])
			return t
		}
		v := c.transpose(t.v, append(perm, i, j)...)
		s := v.Type.Shape
		rest := s[:len(s)-2]
		v = c.reshape(v, append(slices.Clone(rest), n*n)...)
		op := ir.Slice{Start: make([]int, len(rest)+1), Count: append(slices.Clone(rest), n), Step: append(slices.Repeat([]int{1}, len(rest)), n+1)}
		t = term{c.add(op, v), append(order, t.labels[i])}
		i = -1
	}
	return t
}

// sumOut adds up the axes whose letters are not needed.
func (c *context) sumOut(t term, needed []rune) term {
	var axes []int
	var left []rune
	for i, l := range t.labels {
		if slices.Contains(needed, l) {
			left = append(left, l)
		} else {
			axes = append(axes, i)
		}
	}
	if len(axes) == 0 || c.err != nil {
		return t
	}
	s := t.v.Type.Shape
	return term{c.reshape(c.add(ir.Reduce{Fn: "sum", Axes: axes}, t.v), without(s, axes)...), left}
}

// arrange turns the axes of t to the order of letters.
func (c *context) arrange(t term, order []rune) *ir.Value {
	perm := make([]int, len(order))
	for i, l := range order {
		perm[i] = slices.Index(t.labels, l)
	}
	if len(perm) != len(t.labels) {
		c.fail("letters %q do not make %q", string(t.labels), string(order))
	}
	if slices.IsSorted(perm) || c.err != nil {
		return t.v
	}
	return c.transpose(t.v, perm...)
}

// contract multiplies two terms and adds up over the letters of both that are not needed.
func (c *context) contract(a, b term, needed []rune) term {
	a, b = c.sumOut(a, append(slices.Clone(b.labels), needed...)), c.sumOut(b, append(slices.Clone(a.labels), needed...))
	if c.err != nil {
		return a
	}
	var batch, inner, rows, columns []rune
	for _, l := range a.labels {
		switch {
		case !slices.Contains(b.labels, l):
			rows = append(rows, l)
		case slices.Contains(needed, l):
			batch = append(batch, l)
		default:
			inner = append(inner, l)
		}
	}
	for _, l := range b.labels {
		if !slices.Contains(a.labels, l) {
			columns = append(columns, l)
		}
	}
	extents := map[rune]int{}
	for _, t := range []term{a, b} {
		for i, l := range t.labels {
			if d := t.v.Type.Shape[i]; extents[l] <= 1 {
				extents[l] = d
			}
		}
	}
	dims := func(ls ...[]rune) (s ir.Shape) {
		for _, l := range slices.Concat(ls...) {
			s = append(s, extents[l])
		}
		return s
	}
	matrix := func(t term, order []rune, shape ...int) *ir.Value {
		v := c.arrange(t, order)
		if full := dims(order); c.err == nil && !slices.Equal(full, v.Type.Shape) {
			v = c.add(ir.Expand{Shape: full}, v) // an extent of 1 stands for all
		}
		return c.reshape(v, shape...)
	}
	n, m, k, w := dims(batch).Elems(), dims(rows).Elems(), dims(inner).Elems(), dims(columns).Elems()
	x := matrix(a, slices.Concat(batch, rows, inner), n, m, k)
	y := matrix(b, slices.Concat(batch, inner, columns), n, k, w)
	return term{c.reshape(c.product(x, y), dims(batch, rows, columns)...), slices.Concat(batch, rows, columns)}
}
