package load

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// conv converts Conv (versions 1 and 11): x [N, C, spatial…], w [OC, C/group, kernel…], b [OC].
func conv(c *context) []*ir.Value {
	x, w := c.input(0), c.input(1)
	n := len(x.Type.Shape) - 2
	ws := w.Type.Shape
	switch {
	case c.err != nil:
		return nil
	case n < 1 || len(ws) != n+2:
		c.fail("input %v and weights %v: ranks must agree and be at least 3", x.Type.Shape, ws)
		return nil
	}
	win := c.window(ws[2:], x.Type.Shape[2:])
	op := ir.Conv{Strides: win.strides, Dilations: win.dilations, Pads: win.pads, Group: c.attrInt("group", 1)}
	return []*ir.Value{c.channelsFirst(c.convolution(op, c.channelsLast(x), c.kernelFirst(w), ws[0]))}
}

// kernelFirst turns weights into [kernel…, C/group, OC]: for one tap, a matrix with the output channels in rows.
func (c *context) kernelFirst(w *ir.Value) *ir.Value {
	perm := []int{}
	for i := 2; i < len(w.Type.Shape); i++ {
		perm = append(perm, i)
	}
	return c.transpose(w, append(perm, 1, 0)...)
}

// convolve adds op with the bias of input 2. Kernels take a bias that is known now; one that is
// computed while the model runs is a sum of its own.
func (c *context) convolve(op ir.Conv, x, w *ir.Value, channels int) *ir.Value {
	bias := c.optional(2)
	if bias == nil || bias.Const != nil {
		if bias == nil {
			bias = c.zeros(channels)
		}
		return c.add(op, x, w, bias)
	}
	if !slices.Equal(bias.Type.Shape, ir.Shape{channels}) {
		c.fail("bias %v for %d channels", bias.Type.Shape, channels)
		return bias
	}
	return c.add(ir.Binary{Fn: "add"}, c.add(op, x, w, c.zeros(channels)), bias)
}

// maxWindow bounds what moves a window, so that places in the padded picture fit an i32.
const maxWindow = 1 << 24

type window struct{ kernel, strides, dilations, pads []int }

// window reads the attributes that convolution and pooling share. spatial are the input's extents.
func (c *context) window(kernel, spatial []int) window {
	n := len(spatial)
	ones := slices.Repeat([]int{1}, n)
	w := window{
		kernel:    c.attrInts("kernel_shape", kernel),
		strides:   c.attrInts("strides", ones),
		dilations: c.attrInts("dilations", ones),
		pads:      c.attrInts("pads", make([]int, 2*n)),
	}
	if kernel != nil && !slices.Equal(kernel, w.kernel) {
		c.fail("kernel_shape %v differs from the weights' %v", w.kernel, kernel)
	}
	if len(w.kernel) != n || len(w.strides) != n || len(w.dilations) != n || len(w.pads) != 2*n {
		c.fail("kernel_shape %v, strides %v, dilations %v, pads %v do not fit %d spatial axes", w.kernel, w.strides, w.dilations, w.pads, n)
		return window{}
	}
	for _, list := range [][]int{w.kernel, w.strides, w.dilations, w.pads} {
		for _, v := range list {
			if v < -maxWindow || v > maxWindow {
				c.fail("kernel_shape %v, strides %v, dilations %v, pads %v: beyond %d", w.kernel, w.strides, w.dilations, w.pads, maxWindow)
				return window{}
			}
		}
	}
	switch auto := c.attrStr("auto_pad", "NOTSET"); auto {
	case "NOTSET", "":
	case "VALID":
		w.pads = make([]int, 2*n)
	case "SAME_UPPER", "SAME_LOWER":
		for i := range n {
			if w.strides[i] < 1 {
				c.fail("stride %d on spatial axis %d", w.strides[i], i)
				return window{}
			}
			out := (spatial[i] + w.strides[i] - 1) / w.strides[i]
			total := max((out-1)*w.strides[i]+(w.kernel[i]-1)*w.dilations[i]+1-spatial[i], 0)
			w.pads[i] = total / 2
			if auto == "SAME_LOWER" {
				w.pads[i] = total - total/2
			}
			w.pads[n+i] = total - w.pads[i]
		}
	default:
		c.fail("auto_pad %q is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER", auto)
	}
	return w
}

// pool converts MaxPool (versions 1 to 12) and AveragePool (versions 1 to 19).
func pool(fn string) converter {
	return func(c *context) []*ir.Value {
		x := c.input(0)
		if len(x.Type.Shape) < 3 {
			c.fail("input %v has no spatial axis", x.Type.Shape)
			return nil
		}
		w := c.window(nil, x.Type.Shape[2:])
		op := ir.Pool{
			Fn: fn, Kernel: w.kernel, Strides: w.strides, Dilations: w.dilations, Pads: w.pads,
			Ceil: c.attrInt("ceil_mode", 0) != 0, CountPad: c.attrInt("count_include_pad", 0) != 0,
		}
		if fn == "max" && (len(c.Outputs) > 1 && c.Outputs[1] != "" || !x.Type.DType.Float()) && c.err == nil {
			return c.maxPoolPlaces(op, x)
		}
		return []*ir.Value{c.channelsFirst(c.pooled(op, c.channelsLast(x)))}
	}
}

// globalPool converts GlobalAveragePool and GlobalMaxPool (version 1).
func globalPool(fn string) converter {
	return func(c *context) []*ir.Value {
		x := c.input(0)
		var axes []int
		for i := 2; i < len(x.Type.Shape); i++ {
			axes = append(axes, i)
		}
		return []*ir.Value{c.add(ir.Reduce{Fn: fn, Axes: axes}, x)}
	}
}

// batchNorm converts BatchNormalization (versions 7 to 15) to y = x·s + t.
func batchNorm(c *context) []*ir.Value {
	x := c.input(0)
	if c.opset < 7 && c.attrInt("is_test", 0) == 0 {
		c.unsupported("training mode")
	}
	if c.attrInt("spatial", 1) == 0 {
		c.unsupported("spatial=0")
	}
	if len(x.Type.Shape) < 2 {
		c.fail("input %v has no channels", x.Type.Shape)
		return nil
	}
	ch := x.Type.Shape[1]
	dims := slices.Concat([]int{ch}, slices.Repeat([]int{1}, len(x.Type.Shape)-2))
	var p [4]*ir.Value
	for i := range p {
		if v := c.input(i + 1); c.err == nil {
			p[i] = c.reshape(v, dims...)
		}
	}
	scale, bias, mean, variance := p[0], p[1], p[2], p[3]
	eps := c.number(c.attrFloat("epsilon", 1e-5))
	if c.err != nil {
		return nil
	}
	running := []*ir.Value{nil}
	if c.attrInt("training_mode", 0) != 0 { // the statistics of this batch, and those that go on
		axes := []int{0}
		for a := 2; a < len(x.Type.Shape); a++ {
			axes = append(axes, a)
		}
		old := [2]*ir.Value{mean, variance}
		now := c.add(ir.Reduce{Fn: "mean", Axes: axes}, x)
		d := c.binary("sub", x, now)
		mean = c.reshape(now, dims...)
		variance = c.reshape(c.add(ir.Reduce{Fn: "mean", Axes: axes}, c.binary("mul", d, d)), dims...)
		keep := c.attrFloat("momentum", 0.9)
		for i, v := range []*ir.Value{mean, variance} {
			v = c.binary("add", c.binary("mul", old[i], c.number(keep)), c.binary("mul", v, c.number(1-keep)))
			running = append(running, c.reshape(v, ch))
		}
	}
	dev := c.add(ir.Unary{Fn: "sqrt"}, c.add(ir.Binary{Fn: "add"}, variance, eps))
	s := c.add(ir.Binary{Fn: "div"}, scale, dev)
	t := c.add(ir.Binary{Fn: "sub"}, bias, c.add(ir.Binary{Fn: "mul"}, mean, s))
	running[0] = c.add(ir.Binary{Fn: "add"}, c.add(ir.Binary{Fn: "mul"}, x, s), t)
	return running
}

// convTranspose converts ConvTranspose (version 11) to the convolution that it is the transpose of:
// zeros between the input's elements, as many as the stride leaves out, and the kernel turned round.
func convTranspose(c *context) []*ir.Value {
	x, wv := c.input(0), c.input(1)
	if c.err != nil {
		return nil
	}
	w := wv.Type
	s, n := x.Type.Shape, len(x.Type.Shape)-2
	group := c.attrInt("group", 1)
	switch {
	case w.DType != ir.F32 || n < 1 || len(w.Shape) != n+2 || group < 1 || w.Shape[0] != s[1] || s[1]%group != 0:
		c.fail("input %v, weights and group %d do not add up", s, group)
		return nil
	}
	win := c.window(w.Shape[2:], s[2:])
	extra := c.attrInts("output_padding", make([]int, n))
	before, after := c.transposedPads(win, s[2:], extra)
	if c.err != nil {
		return nil
	}
	y := c.channelsLast(x)
	crop := ir.Slice{Start: make([]int, n+2), Count: []int{s[0]}, Step: slices.Repeat([]int{1}, n+2)}
	pads := make([]int, 2*(n+2))
	for i := range n {
		if y = c.spread(y, i+1, win.strides[i]); c.err != nil {
			return nil
		}
		have := y.Type.Shape[i+1]
		crop.Start[i+1] = max(-before[i], 0)
		crop.Count = append(crop.Count, have-max(-before[i], 0)-max(-after[i], 0))
		pads[i+1], pads[n+2+i+1] = max(before[i], 0), max(after[i], 0)
	}
	crop.Count = append(crop.Count, s[1])
	if c.err == nil && !slices.Equal(crop.Count, y.Type.Shape) {
		y = c.add(crop, y)
	}
	y = c.add(ir.Pad{Pads: pads}, y)
	oc := w.Shape[1] * group
	ones := slices.Repeat([]int{1}, n)
	op := ir.Conv{Strides: ones, Dilations: win.dilations, Pads: make([]int, 2*n), Group: group}
	return []*ir.Value{c.channelsFirst(c.convolution(op, y, c.turnedValue(wv, group), oc))}
}

// transposedPads are the zeros before and after each spatial axis of the spread input; negative ones
// crop.
func (c *context) transposedPads(win window, spatial ir.Shape, extra []int) (before, after []int) {
	n := len(spatial)
	if c.err != nil {
		return
	}
	if len(extra) != n {
		c.fail("output_padding %v does not fit %d spatial axes", extra, n)
		return
	}
	shape := c.attrInts("output_shape", nil)
	auto := c.attrStr("auto_pad", "NOTSET")
	for i := range n {
		if win.strides[i] < 1 || win.dilations[i] < 1 || win.kernel[i] < 1 || extra[i] < 0 {
			c.fail("strides %v, dilations %v, output_padding %v: out of range", win.strides, win.dilations, extra)
			return
		}
		span := (win.kernel[i]-1)*win.dilations[i] + 1
		full := (spatial[i]-1)*win.strides[i] + span + extra[i]
		lo, hi := win.pads[i], win.pads[n+i]
		want := -1
		if len(shape) >= n {
			want = shape[len(shape)-n+i]
		} else if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
			want = spatial[i] * win.strides[i]
		}
		if want >= 0 {
			total := full - want
			half := max(total, 0) / 2
			lo = max(total, 0) - half
			if auto == "SAME_UPPER" {
				lo = half
			}
			hi = total - lo // an output that is larger than the kernels reach is so behind, as in TensorFlow
			if len(shape) < n {
				hi = max(hi, 0) // SAME never pads the output
			}
		}
		before = append(before, span-1-lo)
		after = append(after, span-1-hi+extra[i])
	}
	return
}

// spread puts step-1 zeros between the elements along an axis.
func (c *context) spread(x *ir.Value, axis, step int) *ir.Value {
	if step == 1 || c.err != nil {
		return x
	}
	s := x.Type.Shape
	wide := slices.Insert(slices.Clone(s), axis+1, 1)
	pads := make([]int, 2*len(wide))
	pads[len(wide)+axis+1] = step - 1
	x = c.add(ir.Pad{Pads: pads}, c.reshape(x, wide...))
	joined := slices.Clone(s)
	joined[axis] *= step
	x = c.reshape(x, joined...)
	op := ir.Slice{Start: make([]int, len(s)), Count: joined, Step: slices.Repeat([]int{1}, len(s))}
	op.Count = slices.Clone(joined)
	op.Count[axis] -= step - 1
	return c.add(op, x)
}

// turned rearranges weights [C, OC/group, kernel…] to those of the equal convolution, [kernel…,
// C/group, OC] with the kernel reversed.
func turned(w *ir.Tensor, group int) *ir.Tensor {
	kernel := w.Shape[2:]
	taps, in, out := kernel.Elems(), w.Shape[0]/group, w.Shape[1]
	y := ir.NewTensor(ir.Type{DType: ir.F32, Shape: slices.Concat(kernel, ir.Shape{in, out * group})})
	for g := range group {
		for i := range in {
			for o := range out {
				for t := range taps {
					y.F[((taps-1-t)*in+i)*out*group+g*out+o] = w.F[((g*in+i)*out+o)*taps+t]
				}
			}
		}
	}
	return y
}
