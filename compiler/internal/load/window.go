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
	case n > 2:
		c.unsupported("%d spatial axes", n)
		return nil
	case w.Const == nil:
		c.unsupported("its weights (%s) are computed while the model runs", w.Name)
		return nil
	}
	win := c.window(ws[2:], x.Type.Shape[2:])
	op := ir.Conv{Strides: win.strides, Dilations: win.dilations, Pads: win.pads, Group: c.attrInt("group", 1)}
	bias := c.optional(2)
	if bias == nil {
		bias = c.zeros(ws[0])
	}
	// Weights become [kernel…, C/group, OC]: for one tap, a matrix with the output channels in rows.
	perm := []int{}
	for i := range n {
		perm = append(perm, i+2)
	}
	w = c.transpose(w, append(perm, 1, 0)...)
	return []*ir.Value{c.channelsFirst(c.add(op, c.channelsLast(x), w, bias))}
}

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
		if len(x.Type.Shape) > 4 {
			c.unsupported("%d spatial axes", len(x.Type.Shape)-2)
			return nil
		}
		w := c.window(nil, x.Type.Shape[2:])
		op := ir.Pool{
			Fn: fn, Kernel: w.kernel, Strides: w.strides, Dilations: w.dilations, Pads: w.pads,
			Ceil: c.attrInt("ceil_mode", 0) != 0, CountPad: c.attrInt("count_include_pad", 0) != 0,
		}
		return []*ir.Value{c.channelsFirst(c.add(op, c.channelsLast(x)))}
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

// batchNorm converts BatchNormalization (versions 7 to 15, inference) to y = x·s + t.
func batchNorm(c *context) []*ir.Value {
	x := c.input(0)
	if c.attrInt("training_mode", 0) != 0 {
		c.unsupported("training mode")
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
	dev := c.add(ir.Unary{Fn: "sqrt"}, c.add(ir.Binary{Fn: "add"}, variance, eps))
	s := c.add(ir.Binary{Fn: "div"}, scale, dev)
	t := c.add(ir.Binary{Fn: "sub"}, bias, c.add(ir.Binary{Fn: "mul"}, mean, s))
	return []*ir.Value{c.add(ir.Binary{Fn: "add"}, c.add(ir.Binary{Fn: "mul"}, x, s), t)}
}
