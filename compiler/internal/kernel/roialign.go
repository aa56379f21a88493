package kernel

import (
	"fmt"
	"math"

	"github.com/isomer-iot/isomer/wasm"
)

// RoiAlign pools regions of pictures [Pictures, H, W, C] into bins, Height by Width for each. See
// ir.RoiAlign for what it computes; the order of its sums is the same. A picture that is not there traps.
//
// Arguments: out, pictures, regions, an i64 for each region that says which picture.
type RoiAlign struct {
	Pictures, H, W, C, Regions int
	Height, Width              int
	Scale                      float32
	Half, Max                  bool
	Samples, Most              int // Samples 0: one for each element, at most Most
}

// Name implements [Kernel].
func (k RoiAlign) Name() string {
	return fmt.Sprintf("roialign_%dx%dx%dx%d", k.Regions, k.Height, k.Width, k.C)
}

// Args implements [Kernel].
func (k RoiAlign) Args() int { return 4 }

type roiAlign struct {
	RoiAlign
	c                       *wasm.Code
	pool, region, base, off wasm.Local
	bin, sample, samples    [2]wasm.Local // down and across
	start, step, near       [2]wasm.Local
	low, high               [2]wasm.Local // the elements around a sample
	size, count             wasm.Local
	corner, weight          []wasm.Local
}

// Emit implements [Kernel].
func (k RoiAlign) Emit(c *wasm.Code) {
	e := &roiAlign{RoiAlign: k, c: c, pool: c.Param(0), region: c.Param(2)}
	pictures := c.Param(3)
	e.base, e.off, e.count, e.size = c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.F32)
	for a := range 2 {
		e.bin[a], e.sample[a], e.samples[a] = c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
		e.start[a], e.step[a], e.near[a] = c.Local(wasm.F32), c.Local(wasm.F32), c.Local(wasm.F32)
		e.low[a], e.high[a] = c.Local(wasm.I32), c.Local(wasm.I32)
	}
	e.corner, e.weight = c.Locals(wasm.I32, 4), c.Locals(wasm.F32, 4)
	at := c.Local(wasm.I64)
	times(c, k.Regions, func() {
		n := int64(k.Pictures)
		c.Get(pictures).Load(wasm.I64Load, 0).Set(at)
		c.Get(at).I64(n).Op(wasm.I64Add).Get(at, at).I64(0).Op(wasm.I64LtS).Select().Tee(at)
		c.I64(n).Op(wasm.I64GeU).If(func() { c.Unreachable() })
		c.Get(c.Param(1), at).Op(wasm.I32WrapI64).I32(int32(4*k.H*k.W*k.C)).Op(wasm.I32Mul, wasm.I32Add).Set(e.base)
		e.side(0, 4, k.Height)
		e.side(1, 0, k.Width)
		c.Get(e.samples[0], e.samples[1]).Op(wasm.I32Mul).Set(e.count)
		c.Range(e.bin[0], 0, int32(k.Height), 1, func() {
			c.Range(e.bin[1], 0, int32(k.Width), 1, func() {
				e.fill()
				c.Inc(e.pool, int32(4*k.C))
			})
		})
		c.Inc(e.region, 16).Inc(pictures, 8)
	})
}

// side computes where the region begins on an axis, the step between samples and the samples of a bin. from is
// the place of its first corner in the region; the second is 8 bytes on.
func (e *roiAlign) side(axis int, from uint32, bins int) {
	c, start, size := e.c, e.start[axis], e.size
	corner := func(at uint32) { c.Get(e.region).Load(wasm.F32Load, at).F32(e.Scale).Op(wasm.F32Mul) }
	corner(from)
	c.Set(start)
	corner(from + 8)
	c.Get(start).Op(wasm.F32Sub)
	if e.Half {
		c.Get(start).F32(0.5).Op(wasm.F32Sub).Set(start)
	} else {
		c.F32(1).Op(wasm.F32Max)
	}
	c.F32(float32(bins)).Op(wasm.F32Div).Set(size)
	if e.Samples > 0 {
		c.I32(int32(e.Samples))
	} else {
		c.Get(size).Op(wasm.F32Ceil).F32(0).Op(wasm.F32Max).F32(float32(e.Most)).Op(wasm.F32Min, wasm.I32TruncSatF32S)
	}
	c.Set(e.samples[axis])
	c.Get(size, e.samples[axis]).Op(wasm.F32ConvertI32S).F32(1).Op(wasm.F32Max, wasm.F32Div).Set(e.step[axis])
}

// fill computes one bin.
func (e *roiAlign) fill() {
	c := e.c
	first := float32(0)
	if e.Max {
		first = float32(math.Inf(-1))
	}
	c.Get(e.pool).I32(0).I32(int32(4 * e.C)).MemoryFill()
	c.Get(e.count).If(func() {
		if e.Max {
			e.channels(func(o roiOps) { o.constant(c, first) })
		}
		e.along(0, func() {
			e.along(1, e.one)
		})
		if !e.Max {
			e.channels(func(o roiOps) {
				c.Get(e.pool, e.off).Op(wasm.I32Add).Load(o.load, 0).Get(e.count).Op(wasm.F32ConvertI32S)
				o.spread(c)
				c.Op(o.div)
			})
		}
	})
}

// along runs body for each sample of the bin on an axis; low is -1 where it lies outside.
func (e *roiAlign) along(axis int, body func()) {
	c, k := e.c, e.sample[axis]
	extent := []int{e.H, e.W}[axis]
	low, high, near := e.low[axis], e.high[axis], e.near[axis]
	c.I32(0).Set(k)
	c.Loop(func(top wasm.Label) {
		c.Get(e.start[axis])
		c.Get(e.bin[axis], e.samples[axis]).Op(wasm.I32Mul).Get(k).Op(wasm.I32Add, wasm.F32ConvertI32S).F32(0.5).Op(wasm.F32Add)
		c.Get(e.step[axis]).Op(wasm.F32Mul, wasm.F32Add).Set(near)
		c.I32(-1).Set(low)
		c.Get(near).F32(-1).Op(wasm.F32Ge).Get(near).F32(float32(extent)).Op(wasm.F32Le, wasm.I32And).If(func() {
			c.Get(near).F32(0).Op(wasm.F32Max).F32(float32(extent - 1)).Op(wasm.F32Min).Tee(near)
			c.Op(wasm.I32TruncSatF32S).Set(low)
			last := int32(extent - 1)
			c.Get(low).I32(1).Op(wasm.I32Add).I32(last).Get(low).I32(last).Op(wasm.I32LtS).Select().Set(high)
			c.Get(near, low).Op(wasm.F32ConvertI32S, wasm.F32Sub).Set(near)
		})
		body()
		c.Inc(k, 1).Get(k, e.samples[axis]).Op(wasm.I32LtS).BrIf(top)
	})
}

// one adds a sample to the bin.
func (e *roiAlign) one() {
	c := e.c
	c.Get(e.low[0], e.low[1]).Op(wasm.I32Or).I32(0).Op(wasm.I32GeS)
	inside := func() {
		for k := range 4 {
			side := [2]int{k >> 1, k & 1}
			ends := [2]wasm.Local{}
			for a := range 2 {
				ends[a] = e.low[a]
				if side[a] == 1 {
					ends[a] = e.high[a]
				}
				if side[a] == 0 {
					c.F32(1).Get(e.near[a]).Op(wasm.F32Sub)
				} else {
					c.Get(e.near[a])
				}
			}
			c.Op(wasm.F32Mul).Set(e.weight[k])
			c.Get(ends[0]).I32(int32(e.W)).Op(wasm.I32Mul).Get(ends[1]).Op(wasm.I32Add).I32(int32(4 * e.C)).Op(wasm.I32Mul)
			c.Get(e.base).Op(wasm.I32Add).Set(e.corner[k])
		}
		e.channels(func(o roiOps) {
			fold := o.add
			c.Get(e.pool, e.off).Op(wasm.I32Add).Load(o.load, 0)
			if e.Max {
				fold = o.max
			}
			for k := range 4 {
				c.Get(e.corner[k], e.off).Op(wasm.I32Add).Load(o.load, 0).Get(e.weight[k])
				o.spread(c)
				c.Op(o.mul)
				if k > 0 {
					c.Op(fold)
				}
			}
			c.Op(fold)
		})
	}
	if !e.Max {
		c.If(inside)
		return
	}
	c.IfElse(inside, func() {
		e.channels(func(o roiOps) {
			c.Get(e.pool, e.off).Op(wasm.I32Add).Load(o.load, 0)
			o.constant(c, 0)
			c.Op(o.max)
		})
	})
}

// roiOps are the instructions for four channels, or for one.
type roiOps struct {
	load, store, add, mul, div, max wasm.Op
	wide                            bool
}

func (o roiOps) spread(c *wasm.Code) {
	if o.wide {
		c.Op(wasm.F32x4Splat)
	}
}

func (o roiOps) constant(c *wasm.Code, v float32) {
	c.F32(v)
	o.spread(c)
}

// channels sets all channels of the bin to what value pushes, four at a time while there are as many.
func (e *roiAlign) channels(value func(roiOps)) {
	four := int32(e.C / lanes * vec)
	each := func(o roiOps, from, to, step int32) {
		e.c.Range(e.off, from, to, step, func() {
			e.c.Get(e.pool, e.off).Op(wasm.I32Add)
			value(o)
			e.c.Store(o.store, 0)
		})
	}
	each(roiOps{wasm.V128Load, wasm.V128Store, wasm.F32x4Add, wasm.F32x4Mul, wasm.F32x4Div, wasm.F32x4Max, true}, 0, four, vec)
	each(roiOps{wasm.F32Load, wasm.F32Store, wasm.F32Add, wasm.F32Mul, wasm.F32Div, wasm.F32Max, false}, four, int32(4*e.C), 4)
}
