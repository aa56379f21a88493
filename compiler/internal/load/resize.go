package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// resizing is what the attributes of Resize say.
type resizing struct {
	how, mode, round   string
	antialias, exclude bool
	cubic              float64
	roi                []float32 // start of each axis, then end
	beyond             float32
}

// resize converts Resize (versions 10 to 19) and Upsample: along each axis whose extent changes, every
// output element is one input element or a weighted sum of some.
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
	r := resizing{
		how: c.attrStr("coordinate_transformation_mode", def), mode: c.attrStr("mode", "nearest"), round: c.attrStr("nearest_mode", "round_prefer_floor"),
		antialias: c.attrInt("antialias", 0) != 0, exclude: c.attrInt("exclude_outside", 0) != 0,
		cubic: float64(c.attrFloat("cubic_coeff_a", -0.75)), beyond: c.attrFloat("extrapolation_value", 0),
	}
	if r.how == "tf_crop_and_resize" {
		r.roi = c.regions(s)
	}
	for a := range s {
		if to[a] == s[a] && scales[a] == 1 && r.how != "tf_crop_and_resize" {
			continue
		}
		if !c.spend(float64(to[a])) {
			return nil
		}
		if scalesAt == 1 && scales[a] < 1 { // version 10 has no rule; its test case and ONNX Runtime go up
			r.round = "ceil"
		} else if scalesAt == 1 {
			r.round = "floor"
		}
		x = c.resizeAxis(r, x, a, scales[a], to[a])
	}
	return []*ir.Value{x}
}

// regions reads the start and the end of each axis as fractions of it.
func (c *context) regions(s ir.Shape) []float32 {
	t := c.constant(1)
	axes := c.resizeAxes(len(s))
	if c.err != nil || t == nil || len(t.F) != 2*len(axes) {
		c.fail("no region of two values for each of %d axes", len(axes))
		return nil
	}
	roi := append(make([]float32, len(s)), slices.Repeat([]float32{1}, len(s))...)
	for i, a := range axes {
		roi[a], roi[len(s)+a] = t.F[i], t.F[len(axes)+i]
	}
	return roi
}

// resizeAxis resizes one axis to an extent.
func (c *context) resizeAxis(r resizing, x *ir.Value, axis int, scale float64, to int) *ir.Value {
	s := x.Type.Shape
	n := float64(s[axis])
	at := make([]float64, to)
	outside := ir.NewTensor(ir.Of(ir.Bool, to))
	crops := false
	for i := range at {
		if r.roi != nil {
			from, end := float64(r.roi[axis]), float64(r.roi[len(s)+axis])
			at[i] = (from + end) * (n - 1) / 2
			if to > 1 {
				// Terms are rounded to f32, as the region is: -0.2·5 + 1 is the first element, not beside it.
				at[i] = float64(float32(from*(n-1))) + float64(float32(float64(i)*(end-from)*(n-1)/(scale*n-1)))
			}
			if at[i] < 0 || at[i] > n-1 {
				outside.I[i], crops = 1, true
			}
			continue
		}
		p, ok := sourcePosition(r.how, float64(i), scale, n, float64(to))
		if !ok {
			c.unsupported("coordinate_transformation_mode %q", r.how)
			return x
		}
		at[i] = p
	}
	switch {
	case r.mode == "nearest":
		x = c.nearest(x, axis, at, r.round)
	case r.mode == "linear" && !(r.antialias && scale < 1) && !r.exclude:
		x = c.linear(x, axis, at)
	case r.mode == "linear" || r.mode == "cubic":
		x = c.weighted(x, axis, r.weights(at, scale, s[axis]))
	default:
		c.unsupported("mode %q", r.mode)
	}
	if crops && c.err == nil {
		dims := slices.Repeat([]int{1}, len(s))
		dims[axis] = to
		x = c.each("where", c.reshape(c.constantOf(outside), dims...), c.like(x, float64(r.beyond)), x)
	}
	return x
}

// weights gives, for each output element, a weight for each input element: the kernel by the distance, wider
// by the scale against aliasing; elements beyond the ends count for the last one or, if they are excluded, for
// none.
func (r resizing) weights(at []float64, scale float64, n int) [][]float64 {
	squeeze, support, kernel := 1., 1., func(d float64) float64 { return max(1-d, 0) }
	if r.antialias {
		squeeze = min(scale, 1)
	}
	if a := r.cubic; r.mode == "cubic" {
		support, kernel = 2, func(d float64) float64 {
			switch {
			case d <= 1:
				return ((a+2)*d-(a+3))*d*d + 1
			case d < 2:
				return ((a*d-5*a)*d+8*a)*d - 4*a
			}
			return 0
		}
	}
	w := make([][]float64, len(at))
	for o, p := range at {
		row, sum := make([]float64, n), 0.
		reach := support / squeeze
		for i := math.Ceil(p - reach); i <= p+reach; i++ {
			k := kernel(math.Abs(i-p) * squeeze)
			if r.exclude && (i < 0 || i >= float64(n)) {
				continue
			}
			row[int(min(max(i, 0), float64(n-1)))] += k
			sum += k
		}
		for i := range row {
			row[i] /= sum
		}
		w[o] = row
	}
	return w
}

// weighted multiplies an axis with a matrix.
func (c *context) weighted(x *ir.Value, axis int, w [][]float64) *ir.Value {
	s := x.Type.Shape
	if !c.spend(float64(len(w)) * float64(s[axis])) {
		return x
	}
	m := make([]float32, s[axis]*len(w))
	for o, row := range w {
		for i, v := range row {
			m[i*len(w)+o] = float32(v)
		}
	}
	perm := make([]int, len(s))
	for i := range perm {
		perm[i] = i
	}
	last := len(s) - 1
	perm[axis], perm[last] = last, axis
	v := c.transpose(x, perm...)
	vs := slices.Clone(v.Type.Shape)
	y := c.product(c.reshape(v, s.Elems()/s[axis], s[axis]), c.floats(m, s[axis], len(w)))
	vs[last] = len(w)
	return c.transpose(c.reshape(y, vs...), perm...)
}

// resizeAxes are the axes that scales, sizes and regions are given for: all, or those of the attribute.
func (c *context) resizeAxes(rank int) []int {
	axes := c.attrInts("axes", nil)
	if axes == nil {
		for a := range rank {
			axes = append(axes, a)
		}
		return axes
	}
	axes = slices.Clone(axes)
	for i, a := range axes {
		axes[i] = c.axis(a, rank)
	}
	return axes
}

// resizeTarget reads scales or sizes and returns both.
func (c *context) resizeTarget(scalesAt, sizesAt int, s ir.Shape) (scales []float64, to []int) {
	scales, to = slices.Repeat([]float64{1}, len(s)), slices.Clone(s)
	axes := c.resizeAxes(len(s))
	var given []float32
	if a := c.Attr("scales"); a != nil {
		given = a.Floats
	} else if t := c.constant(scalesAt); t != nil {
		given = t.F
	}
	if len(given) > 0 {
		if len(given) != len(axes) {
			c.fail("scales %v do not fit %v", given, s)
			return
		}
		for i, v := range given {
			a := axes[i]
			if !(v > 0) || float64(v)*float64(s[a]) > ir.MaxElems {
				c.fail("scales %v: %v on axis %d", given, v, a)
				return
			}
			scales[a], to[a] = float64(v), int(math.Floor(float64(s[a])*float64(v)))
		}
	} else {
		c.resizeSizes(c.ints(sizesAt, "", nil), axes, s, scales, to)
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

// resizeSizes fills in scales and extents from sizes; a policy takes the least or the greatest scale for all.
func (c *context) resizeSizes(sizes, axes []int, s ir.Shape, scales []float64, to []int) {
	if c.err == nil && len(sizes) != len(axes) {
		c.fail("sizes %v do not fit %v", sizes, s)
	}
	var all []float64
	for i, v := range sizes {
		if c.err == nil && (v < 1 || s[axes[i]] < 1) {
			c.fail("sizes %v of %v", sizes, s)
		}
		if c.err != nil {
			return
		}
		all = append(all, float64(v)/float64(s[axes[i]]))
	}
	policy := c.attrStr("keep_aspect_ratio_policy", "stretch")
	for i, a := range axes {
		if c.err != nil || len(all) == 0 {
			return
		}
		scales[a], to[a] = all[i], sizes[i]
		switch policy {
		case "stretch":
			continue
		case "not_larger":
			scales[a] = slices.Min(all)
		case "not_smaller":
			scales[a] = slices.Max(all)
		default:
			c.fail("keep_aspect_ratio_policy %q is none of stretch, not_larger, not_smaller", policy)
		}
		to[a] = int(math.Floor(scales[a]*float64(s[a]) + 0.5))
	}
}

// sourcePosition is where output element i lies in the input, by the specification's formulas; scale·n is
// the output's extent before it was rounded to the extent to.
func sourcePosition(how string, i, scale, n, to float64) (float64, bool) {
	full := scale * n
	switch how {
	case "half_pixel":
		return (i+0.5)/scale - 0.5, true
	case "pytorch_half_pixel":
		if full > 1 {
			return (i+0.5)/scale - 0.5, true
		}
		return 0, true
	case "half_pixel_symmetric":
		adjust := to / full
		return n/2*(1-adjust) + (i+0.5)/scale - 0.5, true
	case "align_corners":
		if full == 1 || to == 1 {
			return 0, true
		}
		return i * (n - 1) / (full - 1), true
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
