package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Lookup replaces each of N dense bytes by what stands there in a table of 256. Sixteen bytes go through
// sixteen swizzles, each with a part of the table and 0 for what lies outside of it: no byte becomes an
// address.
//
// Arguments: out, in, table.
type Lookup struct{ N int }

// Name implements [Kernel].
func (l Lookup) Name() string { return fmt.Sprintf("lookup_%d", l.N) }

// Args implements [Kernel].
func (l Lookup) Args() int { return 3 }

// Emit implements [Kernel].
func (l Lookup) Emit(c *wasm.Code) {
	const parts = 256 / vec
	p, table := moving(c, c.Param(0), c.Param(1)), c.Param(2)
	if l.N >= vec {
		part, at, acc := c.Locals(wasm.V128, parts), c.Local(wasm.V128), c.Local(wasm.V128)
		for i := parts - 1; i >= 0; i-- {
			c.Get(table).Load(wasm.V128Load, uint32(i*vec)).Set(part[i])
		}
		times(c, l.N/vec, func() {
			c.Get(p[1]).Load(wasm.V128Load, 0).Set(at)
			c.Get(part[0], at).Op(wasm.I8x16Swizzle).Set(acc)
			for _, t := range part[1:] {
				c.Get(at).I32x4(0x10101010, 0x10101010, 0x10101010, 0x10101010).Op(wasm.I8x16Sub).Set(at)
				c.Get(acc, t, at).Op(wasm.I8x16Swizzle, wasm.V128Or).Set(acc)
			}
			c.Get(p[0], acc).Store(wasm.V128Store, 0)
			c.Inc(p[0], vec).Inc(p[1], vec)
		})
	}
	times(c, l.N%vec, func() {
		c.Get(p[0], p[1]).Load(wasm.I32Load8U, 0).Get(table).Op(wasm.I32Add).Load(wasm.I32Load8U, 0).Store(wasm.I32Store8, 0)
		c.Inc(p[0], 1).Inc(p[1], 1)
	})
}
