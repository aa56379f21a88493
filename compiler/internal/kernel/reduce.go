package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Reduce folds the axes Fold of an input into one value for each position of the axes Keep.
//
// Arguments: out (dense over Keep), in.
type Reduce struct {
	Fn     string // sum, mean, prod, max, min
	Keep   Dims
	KeepIn Dims // byte strides of the input
	Fold   Dims
	FoldIn Dims // byte strides of the input
}

// Name implements [Kernel].
func (r Reduce) Name() string { return fmt.Sprintf("%s_%dx%d", r.Fn, product(r.Keep), product(r.Fold)) }

// Args implements [Kernel].
func (r Reduce) Args() int { return 2 }

func product(d Dims) int {
	n := 1
	for _, v := range d {
		n *= v
	}
	return n
}

// foldFns give each function's instruction and its neutral element.
var foldFns = map[string]struct {
	op    wasm.Op
	start float32
}{
	"sum": {wasm.F32x4Add, 0}, "prod": {wasm.F32x4Mul, 1}, "mean": {wasm.F32x4Add, 0}, "max": {wasm.F32x4Max, -inf}, "min": {wasm.F32x4Min, inf},
}

// reduceVectors is the number of vectors of kept elements that are folded side by side: one alone waits
// for each addition, and comes back to each pixel for every four of its channels. The mean of 56×56
// pixels of 96 channels takes 70 µs in V8 with one, 18 with four, 23 with eight.
const reduceVectors = 4

// Emit implements [Kernel]. Vectors run over the last kept axis if it is dense, over the last folded
// one if that is, and else single elements are folded.
func (r Reduce) Emit(c *wasm.Code) {
	e := &reducer{Reduce: r, c: c, x: c.Local(wasm.V128), out: c.Param(0)}
	e.acc = c.Locals(wasm.V128, reduceVectors)
	last := MaxDims - 1
	e.across = r.Keep[last] > 1 && r.KeepIn[last] == 4
	e.along = !e.across && r.FoldIn[last] == 4 && r.Fold[last] >= lanes
	e.keep(0, c.Param(1))
}

type reducer struct {
	Reduce
	c             *wasm.Code
	acc           []wasm.Local
	x, out        wasm.Local
	across, along bool
	wide          int // accumulators in use
}

func (e *reducer) keep(i int, in wasm.Local) {
	c := e.c
	p := moving(c, in)[0]
	last := i == MaxDims-1
	step := func(n int) {
		if !last {
			e.keep(i+1, p)
			return
		}
		e.wide = (n + lanes - 1) / lanes
		if e.along {
			e.wide = reduceVectors
		}
		for _, acc := range e.acc[:e.wide] {
			splat(c, foldFns[e.Fn].start)
			c.Set(acc)
		}
		e.fold(0, p)
		e.finish(n)
		c.Inc(e.out, int32(4*n))
	}
	left := e.Keep[i]
	every := func(n int) {
		times(c, left/n, func() {
			step(n)
			c.Inc(p, int32(n*e.KeepIn[i]))
		})
		left %= n
	}
	if !last || !e.across {
		every(1)
		return
	}
	every(reduceVectors * lanes)
	every(lanes)
	if left > 0 {
		step(left)
	}
}

func (e *reducer) fold(i int, in wasm.Local) {
	c := e.c
	p := moving(c, in)[0]
	if i < MaxDims-1 {
		times(c, e.Fold[i], func() {
			e.fold(i+1, p)
			c.Inc(p, int32(e.FoldIn[i]))
		})
		return
	}
	take := func(load wasm.Op, wide int) {
		for k := wide - 1; k >= 0; k-- {
			c.Get(e.acc[k], p).Load(load, uint32(k*vec)).Op(foldFns[e.Fn].op).Set(e.acc[k])
		}
	}
	n := e.Fold[i]
	switch {
	case e.across:
		times(c, n, func() {
			take(wasm.V128Load, e.wide)
			c.Inc(p, int32(e.FoldIn[i]))
		})
	case e.along:
		const block = reduceVectors * lanes
		times(c, n/block, func() {
			take(wasm.V128Load, reduceVectors)
			c.Inc(p, block*4)
		})
		times(c, n%block/lanes, func() {
			take(wasm.V128Load, 1)
			c.Inc(p, vec)
		})
		// What is left goes to lane 0 alone: the others must not count it again.
		times(c, n%lanes, func() {
			acc := e.acc[0]
			c.Get(acc, acc).Lane(wasm.F32x4ExtractLane, 0).Get(p).Load(wasm.F32Load, 0)
			c.Op(scalar[foldFns[e.Fn].op]).Lane(wasm.F32x4ReplaceLane, 0).Set(acc)
			c.Inc(p, 4)
		})
	default:
		times(c, n, func() {
			take(wasm.V128Load32Splat, 1)
			c.Inc(p, int32(e.FoldIn[i]))
		})
	}
}

var scalar = map[wasm.Op]wasm.Op{
	wasm.F32x4Add: wasm.F32Add, wasm.F32x4Mul: wasm.F32Mul, wasm.F32x4Max: wasm.F32Max, wasm.F32x4Min: wasm.F32Min,
}

// finish joins the lanes if they hold parts of one value, and stores n values.
func (e *reducer) finish(n int) {
	c := e.c
	if e.along {
		for _, acc := range e.acc[1:] {
			c.Get(e.acc[0], acc).Op(foldFns[e.Fn].op).Set(e.acc[0])
		}
		joinLanes(c, e.acc[0], e.x, foldFns[e.Fn].op)
		e.wide = 1
	}
	for k, acc := range e.acc[:e.wide] {
		if e.Fn == "mean" {
			c.Get(acc)
			splat(c, float32(product(e.Fold)))
			c.Op(wasm.F32x4Div).Set(acc)
		}
		store(c, e.out, acc, k*vec, min(lanes, n-k*lanes))
	}
}

// joinLanes folds the four lanes of x into all of them.
func joinLanes(c *wasm.Code, x, tmp wasm.Local, op wasm.Op) {
	for _, distance := range []byte{8, 4} {
		var turn [16]byte
		for i := range turn {
			turn[i] = (byte(i) + distance) % 16
		}
		c.Get(x, x).Shuffle(turn).Set(tmp)
		c.Get(x, tmp).Op(op).Set(x)
	}
}

// Softmax normalises Rows rows of N dense values to exp(x - max)/Σexp(x - max).
//
// Arguments: out, in; they may be the same.
type Softmax struct{ Rows, N int }

// Name implements [Kernel].
func (s Softmax) Name() string { return fmt.Sprintf("softmax_%dx%d", s.Rows, s.N) }

// Args implements [Kernel].
func (s Softmax) Args() int { return 2 }

// Emit implements [Kernel]. Lanes beyond the row's end are kept out of maximum and sum by a mask.
func (s Softmax) Emit(c *wasm.Code) {
	out, in := c.Param(0), c.Param(1)
	top, sum, x, tmp := c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128)
	f := fn{c: c}
	tail := s.N % lanes
	mask := func() {
		m := [4]int32{}
		for i := range tail {
			m[i] = -1
		}
		c.I32x4(m[0], m[1], m[2], m[3])
	}
	each := func(body func(p, q wasm.Local, n int)) {
		ps := moving(c, in, out)
		times(c, s.N/lanes, func() {
			body(ps[0], ps[1], lanes)
			c.Inc(ps[0], vec).Inc(ps[1], vec)
		})
		if tail > 0 {
			body(ps[0], ps[1], tail)
		}
	}
	times(c, s.Rows, func() {
		splat(c, -inf)
		c.Set(top)
		each(func(p, _ wasm.Local, n int) {
			c.Get(top, p).Load(wasm.V128Load, 0)
			if n < lanes {
				splat(c, -inf)
				mask()
				c.Op(wasm.V128Bitselect)
			}
			c.Op(wasm.F32x4Max).Set(top)
		})
		joinLanes(c, top, tmp, wasm.F32x4Max)
		splat(c, 0)
		c.Set(sum)
		each(func(p, q wasm.Local, n int) {
			c.Get(p).Load(wasm.V128Load, 0).Get(top).Op(wasm.F32x4Sub).Set(x)
			f.quickExp(x, false)
			store(c, q, x, 0, n)
			c.Get(sum, x)
			if n < lanes {
				mask()
				c.Op(wasm.V128And)
			}
			c.Op(wasm.F32x4Add).Set(sum)
		})
		joinLanes(c, sum, tmp, wasm.F32x4Add)
		each(func(_, q wasm.Local, n int) {
			c.Get(q).Load(wasm.V128Load, 0).Get(sum).Op(wasm.F32x4Div).Set(x)
			store(c, q, x, 0, n)
		})
		c.Inc(in, int32(4*s.N)).Inc(out, int32(4*s.N))
	})
}
