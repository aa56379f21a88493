package load

import (
	"math"
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
	to := c.ints(1, "", nil)
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

// resize converts Resize (versions 10 to 19) and Upsample, modes nearest and linear: along each axis
// whose extent changes, every output element is one input element or the mean of two by weight.
func resize(c *context) []*ir.Value {
	x := c.input(0)
	s := x.Type.Shape
	scalesAt, sizesAt := 2, 3
	if c.opset < 11 || c.OpType == "Upsample" {
		scalesAt, sizesAt = 1, 4
	}
	scales, to := c.resizeTarget(scalesAt, sizesAt, s)
	if c.err != nil {
		return nil
	}
	def := "half_pixel"
	if scalesAt == 1 {
		def = "asymmetric"
	}
	how, mode := c.attrStr("coordinate_transformation_mode", def), c.attrStr("mode", "nearest")
	round := c.attrStr("nearest_mode", map[bool]string{true: "floor", false: "round_prefer_floor"}[scalesAt == 1])
	if mode != "nearest" && mode != "linear" {
		c.unsupported("mode %q", mode)
		return nil
	}
	if c.attrInt("antialias", 0) != 0 || c.attrInt("exclude_outside", 0) != 0 {
		c.unsupported("antialias or exclude_outside")
		return nil
	}
	for a := range s {
		if to[a] == s[a] && scales[a] == 1 {
			continue
		}
		if !c.spend(float64(to[a])) {
			return nil
		}
		at := make([]float64, to[a])
		for i := range at {
			p, ok := sourcePosition(how, float64(i), scales[a], float64(s[a]), float64(to[a]))
			if !ok {
				c.unsupported("coordinate_transformation_mode %q", how)
				return nil
			}
			at[i] = p
		}
		if mode == "nearest" {
			x = c.nearest(x, a, at, round)
		} else {
			x = c.linear(x, a, at)
		}
	}
	return []*ir.Value{x}
}

// resizeTarget reads scales or sizes and returns both.
func (c *context) resizeTarget(scalesAt, sizesAt int, s ir.Shape) (scales []float64, to []int) {
	scales, to = make([]float64, len(s)), slices.Clone(s)
	if c.Attr("axes") != nil || c.attrStr("keep_aspect_ratio_policy", "stretch") != "stretch" {
		c.unsupported("axes or keep_aspect_ratio_policy")
		return
	}
	var given []float32
	if t := c.constant(scalesAt); t != nil {
		given = t.F
	} else if a := c.Attr("scales"); a != nil {
		given = a.Floats
	}
	if len(given) > 0 {
		if len(given) != len(s) {
			c.fail("scales %v do not fit %v", given, s)
			return
		}
		for i, v := range given {
			if !(v > 0) || float64(v)*float64(s[i]) > ir.MaxElems {
				c.fail("scales %v: %v on axis %d", given, v, i)
				return
			}
			scales[i], to[i] = float64(v), int(math.Floor(float64(s[i])*float64(v)))
		}
	} else {
		sizes := c.ints(sizesAt, "", nil)
		if c.err == nil && len(sizes) != len(s) {
			c.fail("sizes %v do not fit %v", sizes, s)
		}
		for i, v := range sizes {
			if c.err == nil && v < 1 {
				c.fail("sizes %v", sizes)
			}
			if c.err != nil {
				return
			}
			scales[i], to[i] = float64(v)/float64(s[i]), v
		}
	}
	for i, n := range to {
		if c.err == nil && n < 1 {
			c.fail("axis %d of %v shrinks to nothing", i, s)
		}
	}
	if c.err == nil {
		c.err = ir.Shape(to).Check()
	}
	return
}

// sourcePosition is where output element i lies in the input, by the specification's formulas.
func sourcePosition(how string, i, scale, n, to float64) (float64, bool) {
	switch how {
	case "half_pixel":
		return (i+0.5)/scale - 0.5, true
	case "pytorch_half_pixel":
		if to > 1 {
			return (i+0.5)/scale - 0.5, true
		}
		return 0, true
	case "half_pixel_symmetric":
		adjust := to / (scale * n)
		return n/2*(1-adjust) + (i+0.5)/scale - 0.5, true
	case "align_corners":
		if to == 1 {
			return 0, true
		}
		return i * (n - 1) / (to - 1), true
	case "asymmetric":
		return i / scale, true
	}
	return 0, false
}

func (c *context) nearest(x *ir.Value, axis int, at []float64, round string) *ir.Value {
	n := x.Type.Shape[axis]
	idx := make([]int64, len(at))
	for i, p := range at {
		switch round {
		case "floor":
			p = math.Floor(p)
		case "ceil":
			p = math.Ceil(p)
		case "round_prefer_ceil":
			p = math.Floor(p + 0.5)
		case "round_prefer_floor":
			p = math.Ceil(p - 0.5)
		default:
			c.unsupported("nearest_mode %q", round)
			return x
		}
		idx[i] = int64(min(max(int(p), 0), n-1))
	}
	return c.pick(x, axis, idx)
}

func (c *context) linear(x *ir.Value, axis int, at []float64) *ir.Value {
	s := x.Type.Shape
	n := s[axis]
	lo, hi := make([]int64, len(at)), make([]int64, len(at))
	wl, wh := make([]float32, len(at)), make([]float32, len(at))
	for i, p := range at {
		p = min(max(p, 0), float64(n-1))
		f := math.Floor(p)
		lo[i], hi[i] = int64(f), int64(min(int(f)+1, n-1))
		wl[i], wh[i] = float32(1-(p-f)), float32(p-f)
	}
	dims := slices.Repeat([]int{1}, len(s))
	dims[axis] = len(at)
	side := func(idx []int64, w []float32) *ir.Value {
		return c.binary("mul", c.pick(x, axis, idx), c.floats(w, dims...))
	}
	return c.binary("add", side(lo, wl), side(hi, wh))
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

// spaceToDepth converts SpaceToDepth (version 13), the inverse.
func spaceToDepth(c *context) []*ir.Value {
	x := c.input(0)
	s, b := x.Type.Shape, c.attrInt("blocksize", 0)
	if len(s) != 4 || b < 1 || s[2]%b != 0 || s[3]%b != 0 {
		c.fail("blocksize %d of %v", b, s)
		return nil
	}
	n, ch, h, w := s[0], s[1], s[2]/b, s[3]/b
	x = c.transpose(c.reshape(x, n, ch, h, b, w, b), 0, 3, 5, 1, 2, 4)
	return []*ir.Value{c.reshape(x, n, ch*b*b, h, w)}
}
