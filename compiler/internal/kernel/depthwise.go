package kernel

import (
	"fmt"
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/wasm"
)

// Depthwise convolves each channel of a channels-last picture with its own KH×KW window. Vectors run
// over channels and a step computes Tile pixels of a row, so that an input vector is loaded once for
// all pixels that it touches.
//
// Arguments: input (its first padded element), weights ([C/4][KH·KW][4], channels rounded up with
// zeros), output, bias (C rounded up to 4), residual if Residual.
type Depthwise struct {
	C, OH, OW      int
	KH, KW, SH, SW int
	DH, DW         int
	AY, AX         int // bytes between rows and pixels of the input
	CY, CX         int // bytes between rows and pixels of the output
	Residual       bool
	RY, RX         int // bytes between rows and pixels of the residual
	Act            Act
	Tile           int
}

// Name implements [Kernel].
func (d Depthwise) Name() string {
	s := fmt.Sprintf("depthwise_%dx%dx%d_%dx%d", d.OH, d.OW, d.C, d.KH, d.KW)
	if d.SH*d.SW > 1 {
		s += fmt.Sprintf("_s%dx%d", d.SH, d.SW)
	}
	if d.Residual {
		s += "_add"
	}
	return s + d.Act.name()
}

// Args implements [Kernel].
func (d Depthwise) Args() int {
	if d.Residual {
		return 5
	}
	return 4
}

// Emit implements [Kernel]. Rows are outermost: the KH input rows that one output row needs stay in
// cache while all channels pass over them.
func (d Depthwise) Emit(c *wasm.Code) {
	e := &depthwise{Depthwise: d, c: c, fn: fn{c: c}}
	ptrs := []wasm.Local{c.Param(0), c.Param(2)}
	steps := []int32{int32(d.SH * d.AY), int32(d.CY)}
	if d.Residual {
		ptrs, steps = append(ptrs, c.Param(4)), append(steps, int32(d.RY))
	}
	e.acc = c.Locals(wasm.V128, min(d.Tile, d.OW))
	e.w, e.v = c.Locals(wasm.V128, d.KW), c.Local(wasm.V128)
	times(c, d.OH, func() {
		channel := moving(c, append([]wasm.Local{c.Param(1), c.Param(3)}, ptrs...)...)
		e.wp, e.bp = channel[0], channel[1]
		times(c, d.C/lanes, func() {
			e.row(channel[2:], lanes)
			c.Inc(e.wp, int32(d.KH*d.KW*vec))
			for _, p := range channel[1:] {
				c.Inc(p, vec)
			}
		})
		if r := d.C % lanes; r > 0 {
			e.row(channel[2:], r)
		}
		for i, p := range ptrs {
			c.Inc(p, steps[i])
		}
	})
}

type depthwise struct {
	Depthwise
	c      *wasm.Code
	fn     fn
	wp, bp wasm.Local
	acc, w []wasm.Local
	v      wasm.Local
}

// row computes one row of one vector of channels, of which n are real.
func (e *depthwise) row(ptrs []wasm.Local, n int) {
	c := e.c
	p := moving(c, ptrs...)
	tile := min(e.Tile, e.OW)
	times(c, e.OW/tile, func() {
		e.pixels(p, tile, n)
		c.Inc(p[0], int32(tile*e.SW*e.AX)).Inc(p[1], int32(tile*e.CX))
		if e.Residual {
			c.Inc(p[2], int32(tile*e.RX))
		}
	})
	if r := e.OW % tile; r > 0 {
		e.pixels(p, r, n)
	}
}

// pixels computes t pixels side by side.
func (e *depthwise) pixels(p []wasm.Local, t, n int) {
	c := e.c
	c.Get(e.bp).Load(wasm.V128Load, 0)
	for i := range t {
		c.Tee(e.acc[i])
	}
	c.Drop()
	c.Block(func(end wasm.Label) {
		order := pins{c: c, at: p[0], exit: end}
		for ky := e.KH - 1; ky >= 0; ky-- {
			if ky < e.KH-1 {
				order.pin()
			}
			e.windowRow(p[0], ky, t)
		}
	})
	for i := range t {
		if e.Residual {
			c.Get(e.acc[i], p[2]).Load(wasm.V128Load, uint32(i*e.RX)).Op(wasm.F32x4Add).Set(e.acc[i])
		}
		e.fn.apply(e.Act, e.acc[i])
		store(c, p[1], e.acc[i], i*e.CX, n)
	}
}

// windowRow adds the products of row ky of the windows of t pixels.
func (e *depthwise) windowRow(in wasm.Local, ky, t int) {
	c := e.c
	for kx := e.KW - 1; kx >= 0; kx-- {
		c.Get(e.wp).Load(wasm.V128Load, uint32((ky*e.KW+kx)*vec)).Set(e.w[kx])
	}
	e.columns(t, func(col int, taps []tap) {
		c.Get(in).Load(wasm.V128Load, uint32(ky*e.DH*e.AY+col*e.AX)).Set(e.v)
		for _, tap := range taps {
			acc := e.acc[tap.pixel]
			c.Get(acc, e.v, e.w[tap.kx]).Op(wasm.F32x4Mul, wasm.F32x4Add).Set(acc)
		}
	})
}

// tap says that an output pixel takes an input column through kernel column kx.
type tap struct{ pixel, kx int }

// columns runs body for each input column that t output pixels touch, the last one first, with what
// it counts for: a column is loaded once.
func (e *depthwise) columns(t int, body func(col int, taps []tap)) {
	touched := map[int][]tap{}
	for i := range t {
		for kx := range e.KW {
			col := i*e.SW + kx*e.DW
			touched[col] = append(touched[col], tap{i, kx})
		}
	}
	cols := slices.Sorted(maps.Keys(touched))
	slices.Reverse(cols)
	for _, col := range cols {
		body(col, touched[col])
	}
}
