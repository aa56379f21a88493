package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// fourBytes pushes what four bytes stand for, (x - zero)·scale: the high or the low ones of the vector that a
// load of eight bytes left in v.
func fourBytes(c *wasm.Code, v wasm.Local, high, signed bool, zero int, scale float32) {
	c.Get(v)
	switch {
	case high && signed:
		c.Op(wasm.I32x4ExtendHighI16x8S)
	case high:
		c.Op(wasm.I32x4ExtendHighI16x8U)
	case signed:
		c.Op(wasm.I32x4ExtendLowI16x8S)
	default:
		c.Op(wasm.I32x4ExtendLowI16x8U)
	}
	c.Op(wasm.F32x4ConvertI32x4S)
	splat(c, float32(zero))
	c.Op(wasm.F32x4Sub)
	splat(c, scale)
	c.Op(wasm.F32x4Mul)
}

// inBlocks computes n elements, size of them at a time and then the rest, and calls next after each full block.
func inBlocks(c *wasm.Code, n, size int, block func(n int), next func()) {
	times(c, n/size, func() {
		block(size)
		next()
	})
	if r := n % size; r > 0 {
		block(r)
	}
}

func load8x8(signed bool) wasm.Op {
	if signed {
		return wasm.V128Load8x8S
	}
	return wasm.V128Load8x8U
}

// Quantize makes bytes of N dense floats: divided by Scale, rounded, shifted and bounded as Requant says.
//
// Arguments: out, in.
type Quantize struct {
	N       int
	Scale   float32
	Requant Requant
}

// Name implements [Kernel].
func (q Quantize) Name() string { return fmt.Sprintf("quantize_%d", q.N) }

// Args implements [Kernel].
func (q Quantize) Args() int { return 2 }

// Emit implements [Kernel].
func (q Quantize) Emit(c *wasm.Code) {
	p, x, bytes := moving(c, c.Param(0), c.Param(1)), c.Locals(wasm.V128, 4), c.Local(wasm.V128)
	block := func(n int) {
		used := (n + lanes - 1) / lanes
		for i := range used {
			// The bound comes first: of NaN and a bound pmax then takes the bound.
			splat(c, float32(q.Requant.Lo-q.Requant.Zero))
			c.Get(p[1]).Load(wasm.V128Load, uint32(i*vec))
			splat(c, q.Scale)
			c.Op(wasm.F32x4Div, wasm.F32x4Pmax)
			q.Requant.round(c)
			c.Set(x[i])
		}
		q.Requant.narrow(c, x[:used])
		c.Set(bytes)
		storeBytes(c, p[0], bytes, 0, n)
	}
	inBlocks(c, q.N, 16, block, func() { c.Inc(p[0], 16).Inc(p[1], 64) })
}

// Dequantize makes floats of N dense bytes: (x - Zero)·Scale.
//
// Arguments: out, in.
type Dequantize struct {
	N      int
	Scale  float32
	Zero   int
	Signed bool
}

// Name implements [Kernel].
func (d Dequantize) Name() string { return fmt.Sprintf("dequantize_%d", d.N) }

// Args implements [Kernel].
func (d Dequantize) Args() int { return 2 }

// Emit implements [Kernel].
func (d Dequantize) Emit(c *wasm.Code) {
	p, v, y := moving(c, c.Param(0), c.Param(1)), c.Local(wasm.V128), c.Local(wasm.V128)
	block := func(n int) {
		c.Get(p[1]).Load(load8x8(d.Signed), 0).Set(v)
		for i := 0; i < n; i += lanes {
			fourBytes(c, v, i > 0, d.Signed, d.Zero, d.Scale)
			c.Set(y)
			store(c, p[0], y, 4*i, min(n-i, lanes))
		}
	}
	inBlocks(c, d.N, 8, block, func() { c.Inc(p[0], 32).Inc(p[1], 8) })
}

// IntBinary computes bytes from two dense operands of N bytes, in floats: Fn((a - ZeroA)·ScaleA, (b -
// ZeroB)·ScaleB), rounded, shifted and bounded as Requant says.
//
// Arguments: out, a, b.
type IntBinary struct {
	Fn               string // add, mul
	N                int
	ScaleA, ScaleB   float32
	ZeroA, ZeroB     int
	SignedA, SignedB bool
	Requant          Requant
}

// Name implements [Kernel].
func (b IntBinary) Name() string { return fmt.Sprintf("int%s_%d", b.Fn, b.N) }

// Args implements [Kernel].
func (b IntBinary) Args() int { return 3 }

// Emit implements [Kernel].
func (b IntBinary) Emit(c *wasm.Code) {
	p := moving(c, c.Param(0), c.Param(1), c.Param(2))
	va, vb, x, bytes := c.Local(wasm.V128), c.Local(wasm.V128), c.Locals(wasm.V128, 4), c.Local(wasm.V128)
	block := func(n int) {
		used := (n + lanes - 1) / lanes
		for i := range used {
			if i%2 == 0 {
				c.Get(p[1]).Load(load8x8(b.SignedA), uint32(4*i)).Set(va)
				c.Get(p[2]).Load(load8x8(b.SignedB), uint32(4*i)).Set(vb)
			}
			fourBytes(c, va, i%2 == 1, b.SignedA, b.ZeroA, b.ScaleA)
			fourBytes(c, vb, i%2 == 1, b.SignedB, b.ZeroB, b.ScaleB)
			c.Op(mapFns[b.Fn])
			b.Requant.round(c)
			c.Set(x[i])
		}
		b.Requant.narrow(c, x[:used])
		c.Set(bytes)
		storeBytes(c, p[0], bytes, 0, n)
	}
	inBlocks(c, b.N, 16, block, func() { c.Inc(p[0], 16).Inc(p[1], 16).Inc(p[2], 16) })
}

// PadBytes copies Rows rows of Row bytes and puts bytes of Value around them: Top and Bottom rows, and
// Left and Right bytes of each row. With Computed the value is in memory.
//
// Arguments: out, in; if Computed, the value.
type PadBytes struct {
	Rows, Row                int
	Top, Bottom, Left, Right int
	Value                    byte
	Computed                 bool
}

// Name implements [Kernel].
func (b PadBytes) Name() string { return fmt.Sprintf("padbytes_%dx%d", b.Rows, b.Row) }

// Args implements [Kernel].
func (b PadBytes) Args() int {
	if b.Computed {
		return 3
	}
	return 2
}

// Emit implements [Kernel].
func (b PadBytes) Emit(c *wasm.Code) {
	out, in := c.Param(0), c.Param(1)
	wide := b.Left + b.Row + b.Right
	fill := func(n int) {
		if n <= 0 {
			return
		}
		c.Get(out)
		if b.Computed {
			c.Get(c.Param(2)).Load(wasm.I32Load8U, 0)
		} else {
			c.I32(int32(b.Value))
		}
		c.I32(int32(n)).MemoryFill()
		c.Inc(out, int32(n))
	}
	fill(b.Top*wide + b.Left)
	row := func() {
		c.Get(out, in).I32(int32(b.Row)).MemoryCopy()
		c.Inc(out, int32(b.Row)).Inc(in, int32(b.Row))
	}
	times(c, b.Rows-1, func() {
		row()
		fill(b.Right + b.Left)
	})
	row()
	fill(b.Right + b.Bottom*wide)
}
