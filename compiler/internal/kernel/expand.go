package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Expand makes f32 of panels of int8 weights, times a scale for each column of each panel, which is the
// upper half of an f32. The f32
// values may overlap the int8 ones from below, as long as these end where those end.
//
// Arguments: out, in, scales, the number of panels, the number of rows of each.
type Expand struct {
	Cols int  // a multiple of 4
	Skew bool // four columns, and 16 values of a row are their diagonals
}

// Name implements [Kernel].
func (e Expand) Name() string {
	if e.Skew {
		return "expand_skewed"
	}
	return fmt.Sprintf("expand_%d", e.Cols)
}

// Args implements [Kernel].
func (e Expand) Args() int { return 5 }

// Emit implements [Kernel].
func (e Expand) Emit(c *wasm.Code) {
	out, in, scales, panels, rows := c.Param(0), c.Param(1), c.Param(2), c.Param(3), c.Param(4)
	row := c.Local(wasm.I32)
	s := c.Locals(wasm.V128, e.Cols/lanes)
	c.Loop(func(panel wasm.Label) {
		for i := range s {
			switch {
			case e.Skew && i > 0:
				c.Get(s[i-1]).V128(turnedBack).Op(wasm.I8x16Swizzle).Set(s[i])
			default:
				c.Get(scales).Load(wasm.V128Load16x4U, uint32(i*vec/2)).I32(16).Op(wasm.I32x4Shl).Set(s[i])
			}
		}
		if e.Skew {
			c.Inc(scales, vec/2)
		} else {
			c.Inc(scales, int32(2*e.Cols))
		}
		c.Get(rows).Set(row)
		c.Loop(func(next wasm.Label) {
			for i := range s {
				// The store reaches at most the four bytes that were just read.
				c.Get(out).Get(in).Load(wasm.V128Load32Zero, uint32(i*lanes))
				c.Op(wasm.I16x8ExtendLowI8x16S, wasm.I32x4ExtendLowI16x8S, wasm.F32x4ConvertI32x4S)
				c.Get(s[i]).Op(wasm.F32x4Mul).Store(wasm.V128Store, uint32(i*vec))
			}
			c.Inc(out, int32(4*e.Cols)).Inc(in, int32(e.Cols))
			c.Get(row).I32(1).Op(wasm.I32Sub).Tee(row).BrIf(next)
		})
		c.Get(panels).I32(1).Op(wasm.I32Sub).Tee(panels).BrIf(panel)
	})
}

// turnedBack moves each lane one down, and the first to the end.
var turnedBack = [16]byte{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3}

// Widen makes i16 of unsigned bytes that lie above a least value, which may overlap as with [Expand].
//
// Arguments: out, in, the number of times eight values, the least value.
type Widen struct{}

// Name implements [Kernel].
func (Widen) Name() string { return "widen" }

// Args implements [Kernel].
func (Widen) Args() int { return 4 }

// Emit implements [Kernel].
func (Widen) Emit(c *wasm.Code) {
	out, in, n, least := c.Param(0), c.Param(1), c.Param(2), c.Local(wasm.V128)
	c.Get(c.Param(3)).Op(wasm.I16x8Splat).Set(least)
	c.Loop(func(next wasm.Label) {
		c.Get(out).Get(in).Load(wasm.V128Load8x8U, 0).Get(least).Op(wasm.I16x8Add).Store(wasm.V128Store, 0)
		c.Inc(out, vec).Inc(in, vec/2)
		c.Get(n).I32(1).Op(wasm.I32Sub).Tee(n).BrIf(next)
	})
}
