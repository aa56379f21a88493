package tflite

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// window reads the options of convolutions: padding, strides and, from a slot on, dilations.
func (o *operator) window(dilations int) []*onnx.Attribute {
	a := []*onnx.Attribute{o.padding(0), integers("strides", int64(o.opt.int(2, 0)), int64(o.opt.int(1, 0)))}
	if dilations > 0 {
		a = append(a, integers("dilations", int64(o.opt.int(dilations+1, 1)), int64(o.opt.int(dilations, 1))))
	}
	return a
}

// bias appends input i, if it is there.
func (o *operator) bias(in []string, i int) []string {
	if !o.has(i) {
		return in
	}
	if t := o.t(i); t.dtype == onnx.I32 && !t.quantised() {
		o.refuse("an integer bias without a scale")
	}
	return append(in, o.x(i))
}

// conv2D has weights [out, height, width, in/groups].
func conv2D(o *operator) {
	channels, each := o.dim(0, 3), o.dim(1, 3)
	if each < 1 || channels%each != 0 {
		o.refuse("%d channels for weights of %d", channels, each)
		return
	}
	in := o.bias([]string{o.first(o.x(0)), o.turn(o.x(1), 0, 3, 1, 2)}, 2)
	y := o.do("Conv", in, append(o.window(4), integer("group", channels/each))...)
	o.give(0, o.last(o.activated(y, 3)))
}

// depthwise has weights [1, height, width, channels × multiplier].
func depthwise(o *operator) {
	in := o.bias([]string{o.first(o.x(0)), o.turn(o.x(1), 3, 0, 1, 2)}, 2)
	y := o.do("Conv", in, append(o.window(5), integer("group", o.dim(0, 3)))...)
	o.give(0, o.last(o.activated(y, 4)))
}

// transposeConv has the shape of the result, weights [out, height, width, in], x and a bias. The result
// is what a convolution with that padding would have taken to give x.
func transposeConv(o *operator) {
	shape := o.list(0)
	if len(shape) != 4 {
		o.refuse("the shape of its result is not known")
		return
	}
	strides := []int64{int64(o.opt.int(2, 0)), int64(o.opt.int(1, 0))}
	pads, room := make([]int64, 4), make([]int64, 2)
	for i := range 2 {
		total := (o.dim(2, i+1)-1)*strides[i] + o.dim(1, i+1) - shape[i+1]
		room[i], total = max(-total, 0), max(total, 0)
		if o.opt.byte(0) == 0 {
			pads[i] = total / 2
		}
		pads[i+2] = total - pads[i]
	}
	in := o.bias([]string{o.first(o.x(2)), o.turn(o.x(1), 3, 0, 1, 2)}, 3)
	y := o.do("ConvTranspose", in, integers("strides", strides...), integers("pads", pads...), integers("output_padding", room...))
	o.give(0, o.last(o.activated(y, 3)))
}

// fullyConnected has weights [out, in].
func fullyConnected(o *operator) {
	if o.opt.byte(1) != 0 {
		o.refuse("shuffled weights")
		return
	}
	x, w := o.x(0), o.x(1)
	if o.rank(0) == 2 || !o.opt.bool(2) {
		if o.rank(0) != 2 {
			x = o.do("Reshape", []string{x, o.ints(o.base, -1, o.dim(1, 1))})
		}
		y := o.do("Gemm", o.bias([]string{x, w}, 2), integer("transB", 1))
		o.give(0, o.activated(y, 0))
		return
	}
	y := o.do("MatMul", []string{x, o.turn(w, 1, 0)})
	if o.has(2) {
		y = o.do("Add", o.bias([]string{y}, 2))
	}
	o.give(0, o.activated(y, 0))
}

func pool2D(op string) convert {
	return func(o *operator) {
		y := o.do(op, []string{o.first(o.x(0))}, append(o.window(0), integers("kernel_shape", int64(o.opt.int(4, 0)), int64(o.opt.int(3, 0))))...)
		o.give(0, o.last(o.activated(y, 5)))
	}
}

// batchMatMul multiplies the last two axes; options say which operands are turned first.
func batchMatMul(o *operator) {
	var in []string
	for i := range 2 {
		v, r := o.x(i), int64(o.rank(i))
		if o.opt.bool(i) && r >= 2 {
			perm := make([]int64, r)
			for a := range perm {
				perm[a] = int64(a)
			}
			perm[r-2], perm[r-1] = r-1, r-2
			v = o.turn(v, perm...)
		}
		in = append(in, v)
	}
	o.give(0, o.do("MatMul", in))
}

// resize has x and the size of the result. Options from a slot on: corners aligned, centres half.
func resize(mode string, slot int) convert {
	return func(o *operator) {
		size := o.list(1)
		if len(size) != 2 {
			o.refuse("the size of its result is not known")
			return
		}
		corners, half := o.opt.bool(slot), o.opt.bool(slot+1)
		how, round := "asymmetric", "floor"
		switch {
		case corners:
			how, round = "align_corners", "round_prefer_ceil"
		case half:
			how, round = "half_pixel", "round_prefer_ceil"
		}
		x := o.first(o.x(0))
		// Batch and channels stay: only the axes of the picture are named.
		y := o.do("Resize", []string{x, "", "", o.ints(o.base, size...)}, text("mode", mode), integers("axes", 2, 3),
			text("coordinate_transformation_mode", how), text("nearest_mode", round))
		o.give(0, o.last(y))
	}
}

func blocks(op string) convert {
	return func(o *operator) {
		o.give(0, o.last(o.do(op, []string{o.first(o.x(0))}, integer("blocksize", int64(o.opt.int(0, 0))))))
	}
}

// l2Norm divides by the root of the sum of squares along the last axis.
func l2Norm(o *operator) {
	x := o.x(0)
	norm := o.do("ReduceL2", []string{x, o.ints(o.base, -1)}, integer("keepdims", 1))
	norm = o.do("Max", []string{norm, o.number(o.base, 1e-6)})
	o.give(0, o.activated(o.do("Div", []string{x, norm}), 0))
}

func softmax(o *operator) {
	x := o.x(0)
	if beta := o.opt.float(0); beta != 1 {
		x = o.do("Mul", []string{x, o.number(o.base, beta)})
	}
	o.give(0, o.do("Softmax", []string{x}, integer("axis", -1)))
}

// reduce has x and axes.
func reduce(op string) convert {
	return func(o *operator) {
		keep := int64(0)
		if o.opt.bool(0) {
			keep = 1
		}
		axes := o.list(1)
		if len(axes) == 0 {
			o.refuse("axes that are not known")
			return
		}
		o.give(0, o.do(op, []string{o.x(0), o.ints(o.base, axes...)}, integer("keepdims", keep)))
	}
}

// pad has x, a pair of extents for each axis, and for PADV2 the value.
func pad(mode string) convert {
	return func(o *operator) {
		pairs := o.list(1)
		if len(pairs)%2 != 0 {
			o.refuse("%d extents in pairs", len(pairs))
			return
		}
		pads := slices.Clone(pairs)
		for i, p := range pairs {
			pads[i%2*(len(pairs)/2)+i/2] = p
		}
		in := []string{o.x(0), o.ints(o.base, pads...)}
		if mode == "reflect" && o.opt.byte(0) != 0 {
			o.refuse("symmetric padding")
		}
		if mode == "constant" && o.has(2) {
			in = append(in, o.do("Reshape", []string{o.x(2), o.ints(o.base)}))
		}
		o.give(0, o.do("Pad", in, text("mode", mode)))
	}
}
