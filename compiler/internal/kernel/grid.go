package kernel

import (
	"fmt"
	"math"

	"github.com/isomer-iot/isomer/wasm"
)

// Grid finds the step and the zero point of N dense floats whose range, 0 within it, bytes are to span.
//
// Arguments: step (f32), zero (u8), in.
type Grid struct{ N int }

// Name implements [Kernel].
func (g Grid) Name() string { return fmt.Sprintf("grid_%d", g.N) }

// Args implements [Kernel].
func (g Grid) Args() int { return 3 }

// Emit implements [Kernel]. pmin and pmax with the value second leave NaN out, and are one instruction.
func (g Grid) Emit(c *wasm.Code) {
	p := moving(c, c.Param(2))[0]
	lo, hi, x := c.Locals(wasm.V128, reduceVectors), c.Locals(wasm.V128, reduceVectors), c.Local(wasm.V128)
	block := func(n int) {
		for k := (n - 1) / lanes; k >= 0; k-- {
			c.Get(p).Load(wasm.V128Load, uint32(k*vec))
			if rest := n - k*lanes; rest < lanes { // 0 instead of what lies beyond changes no end of the range
				m := [4]int32{}
				for i := range rest {
					m[i] = -1
				}
				c.I32x4(m[0], m[1], m[2], m[3]).Op(wasm.V128And)
			}
			c.Set(x)
			c.Get(lo[k], x).Op(wasm.F32x4Pmin).Set(lo[k])
			c.Get(hi[k], x).Op(wasm.F32x4Pmax).Set(hi[k])
		}
	}
	const size = reduceVectors * lanes
	inBlocks(c, g.N, size, block, func() { c.Inc(p, 4*size) })
	for k := 1; k < reduceVectors; k++ {
		c.Get(lo[0], lo[k]).Op(wasm.F32x4Pmin).Set(lo[0])
		c.Get(hi[0], hi[k]).Op(wasm.F32x4Pmax).Set(hi[0])
	}
	joinLanes(c, lo[0], x, wasm.F32x4Pmin)
	joinLanes(c, hi[0], x, wasm.F32x4Pmax)
	step := c.Local(wasm.F32)
	c.Get(hi[0], lo[0]).Op(wasm.F32x4Sub).Lane(wasm.F32x4ExtractLane, 0).F32(math.MaxUint8).Op(wasm.F32Div).Set(step)
	c.F32(1).Get(step, step).F32(0).Op(wasm.F32Eq).Select().Set(step)
	c.Get(c.Param(0), step).Store(wasm.F32Store, 0)
	// The ends are 0 or beyond it, so only what is above 255 has to be bounded; NaN becomes 0.
	c.Get(c.Param(1), lo[0]).Lane(wasm.F32x4ExtractLane, 0).Op(wasm.F32Neg).Get(step).Op(wasm.F32Div)
	c.F32(math.MaxUint8).Op(wasm.F32Min, wasm.F32Nearest, wasm.I32TruncSatF32U).Store(wasm.I32Store8, 0)
}

// OnGrid makes bytes of N dense floats by a step and a zero point that [Grid] found. 32,768 values take 14 µs
// in V8, with the operators that the specification writes it with 100.
//
// Arguments: out, in, step (f32), zero (u8).
type OnGrid struct{ N int }

// Name implements [Kernel].
func (g OnGrid) Name() string { return fmt.Sprintf("ongrid_%d", g.N) }

// Args implements [Kernel].
func (g OnGrid) Args() int { return 4 }

// Emit implements [Kernel].
func (g OnGrid) Emit(c *wasm.Code) {
	p, x := moving(c, c.Param(0), c.Param(1)), c.Locals(wasm.V128, 4)
	step, lo, hi, bits, bytes := c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128)
	c.Get(c.Param(2)).Load(wasm.V128Load32Splat, 0).Set(step)
	c.Get(c.Param(3)).Load(wasm.I32Load8U, 0).Op(wasm.I32x4Splat).Set(bits)
	c.Get(bits).Op(wasm.I32x4Neg, wasm.F32x4ConvertI32x4S).Set(lo)
	splatInt(c, math.MaxUint8)
	c.Get(bits).Op(wasm.I32x4Sub, wasm.F32x4ConvertI32x4S).Set(hi)
	splatInt(c, magicBits)
	c.Get(bits).Op(wasm.I32x4Sub).Set(bits)
	block := func(n int) {
		used := (n + lanes - 1) / lanes
		for i := range used {
			// As [Quantize] does, with bounds that are no constants.
			c.Get(lo, p[1]).Load(wasm.V128Load, uint32(i*vec))
			c.Get(step).Op(wasm.F32x4Div, wasm.F32x4Pmax).Get(hi).Op(wasm.F32x4Pmin)
			splat(c, magic)
			c.Op(wasm.F32x4Add).Get(bits).Op(wasm.I32x4Sub).Set(x[i])
		}
		Requant{Unsigned: true}.narrow(c, x[:used])
		c.Set(bytes)
		storeBytes(c, p[0], bytes, 0, n)
	}
	inBlocks(c, g.N, 16, block, func() { c.Inc(p[0], 16).Inc(p[1], 64) })
}

// Shift makes of the bias of N columns what a zero point that is computed leaves of it: Σ (x - z)·w + b is Σ
// x·w + (b - z·Σ w). With Scaled it multiplies the columns' scales by one that is computed. A product of bytes
// is then the same as with constants. All vectors are whole.
//
// Arguments: out, bias, sums of weights, z; if Scaled, scales out, scales, factor.
type Shift struct {
	N      int
	Signed bool // of z
	Scaled bool
}

// Name implements [Kernel].
func (s Shift) Name() string { return fmt.Sprintf("shift_%d", s.N) }

// Args implements [Kernel].
func (s Shift) Args() int {
	if s.Scaled {
		return 7
	}
	return 4
}

// Emit implements [Kernel].
func (s Shift) Emit(c *wasm.Code) {
	ptrs := []wasm.Local{c.Param(0), c.Param(1), c.Param(2)}
	load := wasm.I32Load8U
	if s.Signed {
		load = wasm.I32Load8S
	}
	zero, factor := c.Local(wasm.V128), wasm.Local(0)
	c.Get(c.Param(3)).Load(load, 0).Op(wasm.I32x4Splat).Set(zero)
	if s.Scaled {
		ptrs = append(ptrs, c.Param(4), c.Param(5))
		factor = c.Local(wasm.V128)
		c.Get(c.Param(6)).Load(wasm.V128Load32Splat, 0).Set(factor)
	}
	p := moving(c, ptrs...)
	times(c, (s.N+lanes-1)/lanes, func() {
		c.Get(p[0], p[1]).Load(wasm.V128Load, 0)
		c.Get(p[2]).Load(wasm.V128Load, 0).Get(zero).Op(wasm.I32x4Mul, wasm.I32x4Sub).Store(wasm.V128Store, 0)
		if s.Scaled {
			c.Get(p[3], p[4]).Load(wasm.V128Load, 0).Get(factor).Op(wasm.F32x4Mul).Store(wasm.V128Store, 0)
		}
		for _, q := range p {
			c.Inc(q, vec)
		}
	})
}
