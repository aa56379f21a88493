package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Pool takes the maximum or the mean of KH×KW windows over a channels-last picture of H×W pixels.
// Taps outside the picture do not take part; a mean counts those inside the padding if CountPad.
// The output row is the accumulator, so that any number of channels takes one pass for each tap.
//
// Arguments: out, in (its first real element).
type Pool struct {
	Fn                     string // max, avg
	C, H, W, OH, OW        int
	KH, KW, SH, SW, DH, DW int
	PadTop, PadLeft        int
	PadBottom, PadRight    int
	CountPad               bool
	AY, AX                 int // bytes between rows and pixels of the input
	CY, CX                 int // bytes between rows and pixels of the output
}

// Name implements [Kernel].
func (p Pool) Name() string {
	return fmt.Sprintf("%spool_%dx%dx%d_%dx%d", p.Fn, p.OH, p.OW, p.C, p.KH, p.KW)
}

// Args implements [Kernel].
func (p Pool) Args() int { return 2 }

// Emit implements [Kernel].
func (p Pool) Emit(c *wasm.Code) {
	e := &pooler{Pool: p, c: c, x: c.Local(wasm.V128), count: c.Local(wasm.F32)}
	e.oy, e.ox, e.iy, e.ix = c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
	rows := c.Param(0)
	c.Range(e.oy, 0, int32(p.OH), 1, func() {
		e.at = moving(c, rows)[0]
		c.Range(e.ox, 0, int32(p.OW), 1, func() {
			e.pixel()
			c.Inc(e.at, int32(p.CX))
		})
		c.Inc(rows, int32(p.CY))
	})
}

type pooler struct {
	Pool
	c                  *wasm.Code
	x                  wasm.Local
	count              wasm.Local
	oy, ox, iy, ix, at wasm.Local
}

func (e *pooler) pixel() {
	c := e.c
	start, op := float32(0), wasm.F32x4Add
	if e.Fn == "max" {
		start, op = -inf, wasm.F32x4Max
	}
	e.channels(func(q wasm.Local, n int) {
		splat(c, start)
		c.Set(e.x)
		store(c, q, e.x, 0, n)
	})
	c.F32(0).Set(e.count)
	ky, kx := c.Local(wasm.I32), c.Local(wasm.I32)
	c.Range(ky, 0, int32(e.KH), 1, func() {
		coordinate(c, e.oy, ky, e.SH, e.DH, e.PadTop, e.iy)
		c.Range(kx, 0, int32(e.KW), 1, func() {
			coordinate(c, e.ox, kx, e.SW, e.DW, e.PadLeft, e.ix)
			// Unsigned comparison: a coordinate before the picture is a large one.
			c.Get(e.iy).I32(int32(e.H)).Op(wasm.I32LtU).Get(e.ix).I32(int32(e.W)).Op(wasm.I32LtU, wasm.I32And)
			c.If(func() {
				e.tap(op)
				if !e.CountPad {
					c.Get(e.count).F32(1).Op(wasm.F32Add).Set(e.count)
				}
			})
			if e.CountPad {
				c.Get(e.iy).I32(int32(e.H+e.PadBottom)).Op(wasm.I32LtS).Get(e.ix).I32(int32(e.W+e.PadRight)).Op(wasm.I32LtS, wasm.I32And)
				c.If(func() { c.Get(e.count).F32(1).Op(wasm.F32Add).Set(e.count) })
			}
		})
	})
	if e.Fn != "avg" {
		return
	}
	e.channels(func(q wasm.Local, n int) {
		c.Get(q).Load(wasm.V128Load, 0).Get(e.count).Op(wasm.F32x4Splat, wasm.F32x4Div).Set(e.x)
		store(c, q, e.x, 0, n)
	})
}

// coordinate writes o·stride + k·dilation - pad to at.
func coordinate(c *wasm.Code, o, k wasm.Local, stride, dilation, pad int, at wasm.Local) {
	c.Get(o).I32(int32(stride)).Op(wasm.I32Mul).Get(k).I32(int32(dilation)).Op(wasm.I32Mul, wasm.I32Add)
	c.I32(int32(pad)).Op(wasm.I32Sub).Set(at)
}

// channels runs body over the vectors of the current output pixel.
func (e *pooler) channels(body func(q wasm.Local, n int)) {
	c := e.c
	q := moving(c, e.at)[0]
	times(c, e.C/lanes, func() {
		body(q, lanes)
		c.Inc(q, vec)
	})
	if r := e.C % lanes; r > 0 {
		body(q, r)
	}
}

// tap folds the input pixel at (iy, ix) into the output pixel.
func (e *pooler) tap(op wasm.Op) {
	c := e.c
	p := c.Local(wasm.I32)
	c.Get(c.Param(1), e.iy).I32(int32(e.AY)).Op(wasm.I32Mul, wasm.I32Add)
	c.Get(e.ix).I32(int32(e.AX)).Op(wasm.I32Mul, wasm.I32Add).Set(p)
	e.channels(func(q wasm.Local, n int) {
		c.Get(q).Load(wasm.V128Load, 0).Get(p).Load(wasm.V128Load, 0).Op(op).Set(e.x)
		store(c, q, e.x, 0, n)
		c.Inc(p, vec)
	})
}
