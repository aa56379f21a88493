package kernel

import (
	"fmt"
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/wasm"
)

// IntDepthwise convolves each channel of a channels-last picture of bytes with its own KH×KW window,
// what [Depthwise] is for floats. Two rows of the window go together: their bytes for eight channels are
// interleaved once for all pixels and columns that they touch, and i32x4.dot_i16x8_s takes them with
// their weights.
//
// Arguments: input (its first padded byte), weights (see [IntDepthwise.Pack]), output, bias (i32), scales
// (f32) and, if the result is Float, sums (f32), C rounded up to 8.
type IntDepthwise struct {
	C, OH, OW      int
	KH, KW, SH, SW int
	DH, DW         int
	AY, AX         int // bytes between rows and pixels of the input
	CY, CX         int // bytes between rows and pixels of the output
	Signed         bool
	Requant        Requant
	Tile           int // pixels of a step
}

// eight is the number of channels of a step.
const eight = 8

// Pack arranges weights [KH·KW][C] in blocks of eight channels: for each pair of rows and each column
// 16 weights, those of the two rows side by side.
func (d IntDepthwise) Pack(w []int64) []int16 {
	var packed []int16
	at := func(ky, kx, ch int) int16 {
		if ky >= d.KH || ch >= d.C {
			return 0
		}
		return int16(w[(ky*d.KW+kx)*d.C+ch])
	}
	for block := 0; block < d.C; block += eight {
		for ky := 0; ky < d.KH; ky += 2 {
			for kx := range d.KW {
				for ch := range eight {
					packed = append(packed, at(ky, kx, block+ch), at(ky+1, kx, block+ch))
				}
			}
		}
	}
	return packed
}

// Name implements [Kernel].
func (d IntDepthwise) Name() string {
	s := fmt.Sprintf("intdepthwise_%dx%dx%d_%dx%d", d.OH, d.OW, d.C, d.KH, d.KW)
	if d.SH*d.SW > 1 {
		s += fmt.Sprintf("_s%dx%d", d.SH, d.SW)
	}
	return s + d.Requant.Act.name()
}

// Args implements [Kernel].
func (d IntDepthwise) Args() int { return d.Requant.args(5) }

type intdepthwise struct {
	IntDepthwise
	c           *wasm.Code
	wp, bp, sp  wasm.Local
	sums        wasm.Local
	acc         [][]wasm.Local
	w           []wasm.Local
	v           []wasm.Local
	sink        *sink
	multipliers []wasm.Local
}

// Emit implements [Kernel].
func (d IntDepthwise) Emit(c *wasm.Code) {
	e := &intdepthwise{IntDepthwise: d, c: c}
	for range min(d.Tile, d.OW) {
		e.acc = append(e.acc, c.Locals(wasm.V128, 2))
	}
	e.w, e.v, e.multipliers = c.Locals(wasm.V128, 2*d.KW), c.Locals(wasm.V128, 2), c.Locals(wasm.V128, 2)
	e.sink = d.Requant.sink(c)
	in, out := c.Param(0), c.Param(2)
	times(c, d.OH, func() {
		channel := moving(c, c.Param(1), c.Param(3), c.Param(4), in, out)
		e.wp, e.bp, e.sp = channel[0], channel[1], channel[2]
		if d.Requant.Float {
			e.sums = moving(c, c.Param(5))[0]
		}
		times(c, d.C/eight, func() {
			e.row(channel[3:], eight)
			c.Inc(e.wp, int32((d.KH+1)/2*d.KW*2*vec)).Inc(e.bp, 2*vec).Inc(e.sp, 2*vec).Inc(channel[3], eight)
			c.Inc(channel[4], int32(eight*d.Requant.size()))
			if d.Requant.Float {
				c.Inc(e.sums, 2*vec)
			}
		})
		if r := d.C % eight; r > 0 {
			e.row(channel[3:], r)
		}
		c.Inc(in, int32(d.SH*d.AY)).Inc(out, int32(d.CY))
	})
}

// row computes one row of eight channels, of which n are real.
func (e *intdepthwise) row(ptrs []wasm.Local, n int) {
	c := e.c
	p := moving(c, ptrs...)
	for i, m := range e.multipliers {
		c.Get(e.sp).Load(wasm.V128Load, uint32(i*vec)).Set(m)
	}
	tile := min(e.Tile, e.OW)
	times(c, e.OW/tile, func() {
		e.pixels(p, tile, n)
		c.Inc(p[0], int32(tile*e.SW*e.AX)).Inc(p[1], int32(tile*e.CX))
	})
	if r := e.OW % tile; r > 0 {
		e.pixels(p, r, n)
	}
}

// pixels computes t pixels side by side.
func (e *intdepthwise) pixels(p []wasm.Local, t, n int) {
	c := e.c
	for half := range 2 {
		c.Get(e.bp).Load(wasm.V128Load, uint32(half*vec))
		for i := range t {
			c.Tee(e.acc[i][half])
		}
		c.Drop()
	}
	touched := map[int][]tap{}
	for i := range t {
		for kx := range e.KW {
			col := i*e.SW + kx*e.DW
			touched[col] = append(touched[col], tap{i, kx})
		}
	}
	cols := slices.Sorted(maps.Keys(touched))
	slices.Reverse(cols)
	for ky := (e.KH - 1) / 2 * 2; ky >= 0; ky -= 2 {
		for i := 2*e.KW - 1; i >= 0; i-- {
			c.Get(e.wp).Load(wasm.V128Load, uint32((ky*e.KW+i)*vec)).Set(e.w[i])
		}
		for _, col := range cols {
			e.column(p[0], ky, col)
			for _, tap := range touched[col] {
				for half := range 2 {
					acc := e.acc[tap.pixel][half]
					c.Get(acc, e.v[half], e.w[2*tap.kx+half]).Op(wasm.I32x4DotI16x8S, wasm.I32x4Add).Set(acc)
				}
			}
		}
	}
	for i := range t {
		e.sink.put(p[1], i*e.CX, e.acc[i], e.multipliers, e.sums, n)
	}
}

// interleave takes the bytes of a vector's halves by turns.
var interleave = [16]byte{0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15}

// column loads eight channels of rows ky and ky+1 of an input column, side by side as i16.
func (e *intdepthwise) column(p wasm.Local, ky, col int) {
	c := e.c
	at := func(ky int) uint32 { return uint32(ky*e.DH*e.AY + col*e.AX) }
	if ky+1 < e.KH {
		c.Get(p)
		c.Get(p).Load(wasm.V128Load64Zero, at(ky))
		c.LoadLane(wasm.V128Load64Lane, at(ky+1), 1)
	} else {
		c.Get(p).Load(wasm.V128Load64Zero, at(ky))
	}
	c.V128(interleave).Op(wasm.I8x16Swizzle).Tee(e.v[1])
	if e.Signed {
		c.Op(wasm.I16x8ExtendLowI8x16S).Set(e.v[0])
		c.Get(e.v[1]).Op(wasm.I16x8ExtendHighI8x16S).Set(e.v[1])
		return
	}
	c.Op(wasm.I16x8ExtendLowI8x16U).Set(e.v[0])
	c.Get(e.v[1]).Op(wasm.I16x8ExtendHighI8x16U).Set(e.v[1])
}
