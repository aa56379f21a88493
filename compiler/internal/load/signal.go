package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// signalConverters are operators on sound and vibration. Transforms are products with a matrix of cosines
// and sines: quick for the few hundred samples of a frame.
var signalConverters = map[string]converter{
	"DFT": dft, "STFT": stft, "MelWeightMatrix": melWeights, "SwiGLU": swiGLU, "TensorScatter": tensorScatter, "BitCast": bitCast,
}

// one is the single whole number of constant input i, or absent.
func (c *context) one(i, absent int) int {
	v := c.ints(i, "", []int{absent})
	if c.err == nil && len(v) != 1 {
		c.fail("input %d is %v, wants one number", i, v)
	}
	if c.err != nil {
		return absent
	}
	return v[0]
}

// fourier is a matrix of rows (sample, part) and columns (frequency, part), for samples of one or two parts,
// such that a row of samples times it is their transform of length n.
func (c *context) fourier(samples, parts, n, frequencies int, inverse bool) *ir.Value {
	if !c.spend(float64(samples) * float64(parts) * float64(frequencies) * 2) {
		return c.number(0)
	}
	m := make([]float32, samples*parts*frequencies*2)
	turn, scale := -2*math.Pi/float64(n), 1.
	if inverse {
		turn, scale = -turn, 1/float64(n)
	}
	for t := range samples {
		for k := range frequencies {
			sin, cos := math.Sincos(turn * float64(t*k%n))
			row := t * parts * frequencies * 2
			m[row+2*k], m[row+2*k+1] = float32(cos*scale), float32(sin*scale)
			if parts == 2 {
				row += frequencies * 2
				m[row+2*k], m[row+2*k+1] = float32(-sin*scale), float32(cos*scale)
			}
		}
	}
	return c.floats(m, samples*parts, frequencies*2)
}

// fourierReal is the inverse for half of the frequencies of real samples: the others are their mirror.
func (c *context) fourierReal(frequencies, n int) *ir.Value {
	if !c.spend(float64(frequencies) * float64(n) * 2) {
		return c.number(0)
	}
	m := make([]float32, 2*frequencies*n)
	for k := range frequencies {
		weight := 2 / float64(n)
		if k == 0 || 2*k == n {
			weight = 1 / float64(n)
		}
		for t := range n {
			sin, cos := math.Sincos(2 * math.Pi * float64(t*k%n) / float64(n))
			m[2*k*n+t], m[(2*k+1)*n+t] = float32(weight*cos), float32(-weight*sin)
		}
	}
	return c.floats(m, 2*frequencies, n)
}

// maxTransform bounds the length of a transform, whose matrix has its square.
const maxTransform = 1 << 12

// dft converts DFT (versions 17 and 20).
func dft(c *context) []*ir.Value {
	x := c.input(0)
	rank := len(x.Type.Shape)
	axis := c.attrInt("axis", 1)
	if c.opset >= 20 {
		axis = c.one(2, -2)
	}
	if axis = c.axis(axis, rank); c.err != nil || rank < 2 || axis == rank-1 {
		c.fail("axis %d of %v", axis, x.Type.Shape)
		return nil
	}
	inverse, half := c.attrInt("inverse", 0) != 0, c.attrInt("onesided", 0) != 0
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	perm[axis], perm[rank-2] = rank-2, axis
	x = c.transpose(x, perm...)
	s := slices.Clone(x.Type.Shape)
	have, parts := s[rank-2], s[rank-1]
	n := c.one(1, have)
	if inverse && half && c.optional(1) == nil {
		n = 2 * (have - 1)
	}
	if c.err != nil || n < 1 || n > maxTransform || parts < 1 || parts > 2 || have < 1 {
		c.fail("a transform of %d samples of %v; at most %d are taken", n, s, maxTransform)
		return nil
	}
	rows, out := s[:rank-2].Elems(), 2
	var y *ir.Value
	switch used := min(have, n); {
	case inverse && half:
		used, out = min(have, n/2+1), 1
		x = c.reshape(c.cut(x, rank-2, 0, used), rows, used*parts)
		if parts != 2 {
			c.fail("half a transform has two parts, the input %v one", s)
			return nil
		}
		y = c.product(x, c.fourierReal(used, n))
	case half:
		x = c.reshape(c.cut(x, rank-2, 0, used), rows, used*parts)
		y, n = c.product(x, c.fourier(used, parts, n, n/2+1, inverse)), n/2+1
	default:
		x = c.reshape(c.cut(x, rank-2, 0, used), rows, used*parts)
		y = c.product(x, c.fourier(used, parts, n, n, inverse))
	}
	s[rank-2], s[rank-1] = n, out
	return []*ir.Value{c.transpose(c.reshape(y, s...), perm...)}
}

// stft converts STFT (version 17): transforms of frames that begin a step apart, each under a window.
func stft(c *context) []*ir.Value {
	x, step := c.input(0), c.one(1, 0)
	s := x.Type.Shape
	if len(s) == 2 {
		s = ir.Shape{s[0], s[1], 1}
		x = c.reshape(x, s...)
	}
	window := c.optional(2)
	if c.err != nil || len(s) != 3 {
		c.fail("signal %v", s)
		return nil
	}
	length := s[1]
	if window != nil && len(window.Type.Shape) == 1 {
		length = window.Type.Shape[0]
	}
	length = c.one(3, length)
	if c.err != nil || step < 1 || length < 1 || length > s[1] || length > maxTransform || s[2] < 1 || s[2] > 2 {
		c.fail("frames of %d samples, %d apart, of signal %v", length, step, s)
		return nil
	}
	frames := (s[1]-length)/step + 1
	if !c.spend(float64(frames) * float64(length)) {
		return nil
	}
	var idx []int64
	for f := range frames {
		for t := range length {
			idx = append(idx, int64(f*step+t))
		}
	}
	v := c.reshape(c.pick(x, 1, idx), s[0], frames, length, s[2])
	if window != nil {
		v = c.binary("mul", v, c.reshape(window, length, 1))
	}
	k := length
	if c.attrInt("onesided", 1) != 0 {
		k = length/2 + 1
	}
	y := c.product(c.reshape(v, s[0]*frames, length*s[2]), c.fourier(length, s[2], length, k, false))
	return []*ir.Value{c.reshape(y, s[0], frames, k, 2)}
}

// melWeights converts MelWeightMatrix (version 17): triangles over the frequencies of a transform, evenly
// apart on the mel scale.
func melWeights(c *context) []*ir.Value {
	bins, n := c.one(0, 0), c.one(1, 0)
	rate, low, high := c.one(2, 0), c.scalar(3, "", 0), c.scalar(4, "", 0)
	if c.err != nil || bins < 1 || bins > maxTransform || n < 1 || n > 1<<20 || rate < 1 || !(low >= 0) || !(high > low) || !c.spend(float64(bins)*float64(n)) {
		c.fail("%d bins of %d samples at %d Hz between %v and %v Hz", bins, n, rate, low, high)
		return nil
	}
	mel := func(hz float32) float64 { return 2595 * math.Log10(1+float64(hz)/700) }
	rows := n/2 + 1
	edges := make([]int, bins+2)
	for i := range edges {
		m := mel(low) + float64(i)*(mel(high)-mel(low))/float64(len(edges))
		edges[i] = int(math.Floor(float64(n+1) * 700 * (math.Pow(10, m/2595) - 1) / float64(rate)))
	}
	if edges[bins+1] > rows {
		c.fail("%v Hz is beyond half of the rate %d", high, rate)
		return nil
	}
	w := make([]float32, rows*bins)
	for i := range bins {
		left, mid, right := edges[i], edges[i+1], edges[i+2]
		for j := left; j < right && j < rows; j++ {
			switch {
			case j < mid:
				w[j*bins+i] = float32(j-left) / float32(mid-left)
			default:
				w[j*bins+i] = float32(right-j) / float32(right-mid)
			}
		}
		if mid < rows {
			w[mid*bins+i] = 1
		}
	}
	return []*ir.Value{c.floats(w, rows, bins)}
}

// swiGLU is a·sigmoid(αa)·b (version 28).
func swiGLU(c *context) []*ir.Value {
	return []*ir.Value{c.binary("mul", swish(c)[0], c.input(1))}
}

// tensorScatter converts TensorScatter (version 24): the update goes into the cache from a place of its own
// for each element of the batch on.
func tensorScatter(c *context) []*ir.Value {
	cache, update := c.input(0), c.input(1)
	s, us := cache.Type.Shape, update.Type.Shape
	axis := c.axis(c.attrInt("axis", -2), len(s))
	if c.err != nil || len(us) != len(s) || axis == 0 {
		c.fail("update %v of cache %v along axis %d", us, s, axis)
		return nil
	}
	steps := make([]int, len(s))
	for i := range steps {
		steps[i] = 1
	}
	steps[axis] = us[axis]
	idx := c.reshape(c.constantOf(iota64(us[axis])), steps...)
	if from := c.optional(2); from != nil {
		dims := slices.Repeat([]int{1}, len(s))
		dims[0] = s[0]
		idx = c.binary("add", idx, c.reshape(c.cast(from, ir.I64), dims...))
	}
	switch mode := c.attrStr("mode", "linear"); mode {
	case "linear":
	case "circular":
		idx = c.each("mod", idx, c.like(idx, float64(s[axis])))
	default:
		c.fail("mode %q is none of linear, circular", mode)
		return nil
	}
	return []*ir.Value{c.add(ir.ScatterElements{Axis: axis}, cache, c.add(ir.Expand{Shape: us}, idx), update)}
}

// bitCast converts BitCast (version 26) between integers of one width.
func bitCast(c *context) []*ir.Value {
	x := c.input(0)
	to, err := castType(c.attrInt("to", 0))
	switch {
	case err != nil:
		c.err = err
	case x.Type.DType.Float() || to.Float() || to == ir.Bool:
		c.unsupported("from %v to %v", x.Type.DType, to)
	case x.Type.DType.Size() != to.Size():
		c.fail("from %v to %v, which differ in size", x.Type.DType, to)
	}
	return []*ir.Value{c.cast(x, to)}
}
