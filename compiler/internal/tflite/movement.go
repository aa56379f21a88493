package tflite

import "github.com/isomer-iot/isomer/compiler/internal/onnx"

func reshape(o *operator) {
	var shape string
	switch {
	case !o.has(1):
		shape = o.ints(o.base, o.opt.ints(0)...)
	case o.t(1).data != nil:
		shape = o.ints(o.base, o.list(1)...)
	default: // from shapes, which package load knows
		shape = o.do("Cast", []string{o.raw(1)}, integer("to", int64(onnx.I64)))
	}
	o.give(0, o.do("Reshape", []string{o.x(0), shape}))
}

func squeeze(o *operator) {
	in := []string{o.x(0)}
	if axes := o.opt.ints(0); len(axes) > 0 {
		in = append(in, o.ints(o.base, axes...))
	}
	o.give(0, o.do("Squeeze", in))
}

func transpose(o *operator) { o.give(0, o.turn(o.x(0), o.list(1)...)) }

// all are the inputs as floats.
func (o *operator) all() []string {
	var in []string
	for i := range o.in {
		in = append(in, o.x(i))
	}
	return in
}

func concatenation(o *operator) {
	o.give(0, o.activated(o.do("Concat", o.all(), integer("axis", int64(o.opt.int(0, 0)))), 1))
}

func pack(o *operator) {
	axis := int64(o.opt.int(1, 0))
	in := o.all()
	for i, v := range in {
		in[i] = o.do("Unsqueeze", []string{v, o.ints(o.base, axis)})
	}
	o.give(0, o.do("Concat", in, integer("axis", axis)))
}

func unpack(o *operator) {
	axis := int64(o.opt.int(1, 0))
	parts := o.several("Split", []string{o.x(0)}, len(o.out), integer("axis", axis), integer("num_outputs", int64(len(o.out))))
	for i, v := range parts {
		o.give(i, o.do("Squeeze", []string{v, o.ints(o.base, axis)}))
	}
}

// split has the axis and x; splitV has x, the extents of the parts, and the axis.
func split(o *operator) {
	axis := o.single(0)
	for i, v := range o.several("Split", []string{o.x(1)}, len(o.out), integer("axis", axis), integer("num_outputs", int64(len(o.out)))) {
		o.give(i, v)
	}
}

func splitV(o *operator) {
	sizes, axis := o.list(1), o.single(2)
	for i, v := range o.several("Split", []string{o.x(0), o.ints(o.base, sizes...)}, len(o.out), integer("axis", axis)) {
		o.give(i, v)
	}
}

// slice has x, where each axis begins and how much of it is taken, -1 for the rest.
func slice(o *operator) {
	from, size := o.list(1), o.list(2)
	if len(from) != len(size) {
		o.refuse("%d places and %d extents", len(from), len(size))
		return
	}
	var to, axes []int64
	for i, n := range size {
		axes = append(axes, int64(i))
		if n < 0 {
			to = append(to, end)
		} else {
			to = append(to, from[i]+n)
		}
	}
	o.give(0, o.do("Slice", []string{o.x(0), o.ints(o.base, from...), o.ints(o.base, to...), o.ints(o.base, axes...)}))
}

// stridedSlice has x, begins, ends and steps. Bits of its options say which begins and ends are not
// meant, and which axes have one element and go.
func stridedSlice(o *operator) {
	from, to, step := o.list(1), o.list(2), o.list(3)
	if len(from) != len(to) || len(from) != len(step) || len(from) > 31 {
		o.refuse("%d begins, %d ends and %d steps", len(from), len(to), len(step))
		return
	}
	if o.opt.int(2, 0) != 0 || o.opt.int(3, 0) != 0 || o.opt.bool(5) {
		o.refuse("an ellipsis, a new axis or ends that count from the begin")
		return
	}
	var axes, gone []int64
	for i := range from {
		bit := 1 << i
		axes = append(axes, int64(i))
		if o.opt.int(4, 0)&bit != 0 {
			gone = append(gone, int64(i))
			if to[i], step[i] = from[i]+1, 1; from[i] == -1 {
				to[i] = end
			}
			continue
		}
		if o.opt.int(0, 0)&bit != 0 {
			if from[i] = 0; step[i] < 0 {
				from[i] = end
			}
		}
		if o.opt.int(1, 0)&bit != 0 {
			if to[i] = end; step[i] < 0 {
				to[i] = -end
			}
		}
	}
	y := o.do("Slice", []string{o.x(0), o.ints(o.base, from...), o.ints(o.base, to...), o.ints(o.base, axes...), o.ints(o.base, step...)})
	if len(gone) > 0 {
		y = o.do("Squeeze", []string{y, o.ints(o.base, gone...)})
	}
	o.give(0, y)
}

func gather(o *operator) {
	if o.opt.int(1, 0) != 0 {
		o.refuse("batch axes")
		return
	}
	o.give(0, o.do("Gather", []string{o.x(0), o.raw(1)}, integer("axis", int64(o.opt.int(0, 0)))))
}

// as gives v the element type that the file says result i has.
func (o *operator) as(i int, v string) {
	if i < len(o.out) {
		o.give(i, o.do("Cast", []string{v}, integer("to", int64(o.at(o.out[i]).dtype))))
	}
}

func extreme(op string) convert {
	return func(o *operator) {
		o.as(0, o.do(op, []string{o.x(0)}, integer("axis", o.single(1)), integer("keepdims", 0)))
	}
}

func topK(o *operator) {
	y := o.several("TopK", []string{o.x(0), o.ints(o.base, o.single(1))}, 2)
	o.give(0, y[0])
	o.as(1, y[1])
}

// choose is SELECT, whose condition may be a list that chooses whole parts along the first axis.
func choose(o *operator) {
	if o.rank(0) != o.rank(1) && o.rank(0) != 0 {
		o.refuse("a condition of fewer axes")
		return
	}
	o.give(0, o.do("Where", o.all()))
}
