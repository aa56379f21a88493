package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// pick gathers along axis with indices known now.
func (c *context) pick(x *ir.Value, axis int, idx []int64) *ir.Value {
	return c.add(ir.Gather{Axis: axis}, x, ir.ConstValue(c.name+".index", ir.Ints(idx, len(idx))))
}

// padMode converts the modes of Pad (version 19) that repeat elements of the input.
func (c *context) padMode(x *ir.Value, pads []int, index func(i, n int) int) *ir.Value {
	rank := len(x.Type.Shape)
	for a, n := range x.Type.Shape {
		before, after := pads[a], pads[rank+a]
		if before == 0 && after == 0 {
			continue
		}
		if n == 0 {
			c.fail("nothing to repeat on axis %d of %v", a, x.Type.Shape)
		}
		if !c.spend(float64(before + n + after)) {
			return x
		}
		var idx []int64
		for i := -before; i < n+after; i++ {
			idx = append(idx, int64(index(i, n)))
		}
		x = c.pick(x, a, idx)
	}
	return x
}

// padModes give the element that stands at position i, which may be outside 0…n-1.
var padModes = map[string]func(i, n int) int{
	"edge": func(i, n int) int { return min(max(i, 0), n-1) },
	"wrap": func(i, n int) int { return ((i % n) + n) % n },
	"reflect": func(i, n int) int {
		if n == 1 {
			return 0
		}
		period := 2 * (n - 1)
		i = ((i % period) + period) % period
		return min(i, period-i)
	},
}

// expand converts Expand (version 13): numpy's broadcasting in both directions.
func expand(c *context) []*ir.Value {
	x := c.input(0)
	to := []int(c.declared(0))
	if v := c.optional(1); v == nil || v.Const != nil || to == nil {
		to = c.ints(1, "", nil)
	}
	if c.err != nil {
		return nil
	}
	s, err := ir.Broadcast(x.Type.Shape, to)
	if err != nil {
		c.err = err
		return nil
	}
	if c.err = ir.Shape(s).Check(); c.err != nil {
		return nil
	}
	return []*ir.Value{c.add(ir.Expand{Shape: s}, x)}
}

// tile converts Tile (version 13): each axis d becomes [1, d], expands to [r, d], and joins again.
func tile(c *context) []*ir.Value {
	x, repeats := c.input(0), c.ints(1, "", nil)
	s := x.Type.Shape
	if c.err == nil && len(repeats) != len(s) {
		c.fail("repeats %v do not fit %v", repeats, s)
	}
	for a, r := range repeats {
		if c.err != nil {
			return nil
		}
		if r == 1 {
			continue
		}
		if r < 1 || r > ir.MaxElems {
			c.fail("repeats %v: %d on axis %d", repeats, r, a)
			return nil
		}
		cur := x.Type.Shape
		wide := slices.Insert(slices.Clone(cur), a, r)
		if c.err = ir.Shape(wide).Check(); c.err != nil {
			return nil
		}
		x = c.add(ir.Expand{Shape: wide}, c.reshape(x, slices.Insert(slices.Clone(cur), a, 1)...))
		joined := slices.Clone(cur)
		joined[a] *= r
		x = c.reshape(x, joined...)
	}
	return []*ir.Value{x}
}

// depthToSpace converts DepthToSpace (version 13): blocks of channels become pixels.
func depthToSpace(c *context) []*ir.Value {
	x := c.input(0)
	s, b := x.Type.Shape, c.attrInt("blocksize", 0)
	if len(s) != 4 || b < 1 || b > s[1] || s[1]%(b*b) != 0 {
		c.fail("blocksize %d of %v", b, s)
		return nil
	}
	n, ch, h, w := s[0], s[1]/(b*b), s[2], s[3]
	switch mode := c.attrStr("mode", "DCR"); mode {
	case "DCR":
		x = c.transpose(c.reshape(x, n, b, b, ch, h, w), 0, 3, 4, 1, 5, 2)
	case "CRD":
		x = c.transpose(c.reshape(x, n, ch, b, b, h, w), 0, 1, 4, 2, 5, 3)
	default:
		c.fail("mode %q is none of DCR, CRD", mode)
		return nil
	}
	return []*ir.Value{c.reshape(x, n, ch, h*b, w*b)}
}

// spaceToDepth converts SpaceToDepth (versions 13 and 28), the inverse.
func spaceToDepth(c *context) []*ir.Value {
	x := c.input(0)
	s, b := x.Type.Shape, c.attrInt("blocksize", 0)
	if len(s) != 4 || b < 1 || s[2]%b != 0 || s[3]%b != 0 {
		c.fail("blocksize %d of %v", b, s)
		return nil
	}
	n, ch, h, w := s[0], s[1], s[2]/b, s[3]/b
	x = c.reshape(x, n, ch, h, b, w, b)
	switch mode := c.attrStr("mode", "DCR"); mode {
	case "DCR":
		x = c.transpose(x, 0, 3, 5, 1, 2, 4)
	case "CRD":
		x = c.transpose(x, 0, 1, 3, 5, 2, 4)
	default:
		c.fail("mode %q is none of DCR, CRD", mode)
		return nil
	}
	return []*ir.Value{c.reshape(x, n, ch*b*b, h, w)}
}
