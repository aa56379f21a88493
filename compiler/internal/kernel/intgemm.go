package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Requant says how sums of products become bytes again: scaled, rounded with halves to even, shifted by
// Zero and kept within Lo and Hi. With Wide they stay i32 as they are.
type Requant struct {
	Zero, Lo, Hi int
	Unsigned     bool // of the bytes
	Wide         bool
}

// magic added to a float below 2²² rounds it, halves to even, into the low bits of its mantissa: one
// addition where f32x4.nearest and a conversion that saturates take a dozen instructions.
const (
	magic     = 12582912   // 1.5·2²³
	magicBits = 0x4B400000 // its bits
)

// apply turns the i32 sums in x into i32 within Lo and Hi, given their scales.
func (q Requant) apply(c *wasm.Code, x, scale wasm.Local) {
	c.Get(x).Op(wasm.F32x4ConvertI32x4S).Get(scale).Op(wasm.F32x4Mul)
	q.round(c)
	c.Set(x)
}

// round turns the floats on the stack into i32 within Lo and Hi.
func (q Requant) round(c *wasm.Code) {
	splat(c, float32(q.Lo-q.Zero))
	c.Op(wasm.F32x4Pmax)
	splat(c, float32(q.Hi-q.Zero))
	c.Op(wasm.F32x4Pmin)
	splat(c, magic)
	c.Op(wasm.F32x4Add)
	splatInt(c, int32(magicBits-q.Zero))
	c.Op(wasm.I32x4Sub)
}

// narrow pushes the bytes of the i32 vectors in xs, of which there are up to four.
func (q Requant) narrow(c *wasm.Code, xs []wasm.Local) {
	half := func(i int) {
		c.Get(xs[min(i, len(xs)-1)], xs[min(i+1, len(xs)-1)]).Op(wasm.I16x8NarrowI32x4S)
	}
	half(0)
	if len(xs) > 2 {
		half(2)
	} else {
		half(0)
	}
	if q.Unsigned {
		c.Op(wasm.I8x16NarrowI16x8U)
	} else {
		c.Op(wasm.I8x16NarrowI16x8S)
	}
}

// storeBytes writes the first n bytes of vector v to the address in at plus offset.
func storeBytes(c *wasm.Code, at, v wasm.Local, offset, n int) {
	if n >= 16 {
		c.Get(at, v).Store(wasm.V128Store, uint32(offset))
		return
	}
	lanes := []struct {
		bytes int
		op    wasm.Op
	}{{8, wasm.V128Store64Lane}, {4, wasm.V128Store32Lane}, {2, wasm.V128Store16Lane}, {1, wasm.V128Store8Lane}}
	done := 0
	for _, l := range lanes {
		if n-done >= l.bytes {
			c.Get(at, v).StoreLane(l.op, uint32(offset+done), byte(done/l.bytes))
			done += l.bytes
		}
	}
}

// IntGemm multiplies a matrix A of bytes by packed constants of i16 and adds a bias: what [Gemm] is for
// floats. Weights come in pairs: a vector of B holds, for four columns, those of two neighbouring values
// of a row of A, which i32x4.dot_i16x8_s multiplies and adds at once: 8 multiply-adds where a
// multiplication and an addition of floats are 4.
//
// Arguments: A, B, C, bias (i32), scales (f32), both rounded up to whole panels.
type IntGemm struct {
	Outer, Inner   int // rows of C: Outer × Inner
	AOuter, AInner int // bytes between them in A
	COuter, CInner int // bytes between them in C
	Seg0, Seg0Step int // outer segments of a row of A, bytes between them
	Seg1, Seg1Step int // inner segments
	Depth          int // contiguous values of a segment
	N              int // columns
	Signed         bool
	Requant        Requant
	Tile           IntTile
}

// IntTile is the block of C that is held in accumulators: MR rows by NV vectors of columns, with Unroll
// values of depth, a multiple of 8, in the loop body.
type IntTile struct{ MR, NV, Unroll int }

// PanelCols is the number of columns of one panel of packed constants.
func (t IntTile) PanelCols() int { return t.NV * lanes }

// Name implements [Kernel].
func (g IntGemm) Name() string {
	s := fmt.Sprintf("intgemm_%dx%dx%d", g.Outer*g.Inner, g.N, g.Seg0*g.Seg1*g.Depth)
	if g.Seg0*g.Seg1 > 1 {
		s += fmt.Sprintf("_%dx%d", g.Seg0, g.Seg1)
	}
	return s
}

// Args implements [Kernel].
func (g IntGemm) Args() int { return 5 }

// pairs is the number of pairs of a segment.
func (g IntGemm) pairs() int { return (g.Depth + 1) / 2 }

type intgemm struct {
	IntGemm
	c                         *wasm.Code
	a, b, out, bias, scale    wasm.Local
	ap, bp, cp                wasm.Local
	acc                       [][]wasm.Local
	bv, av                    []wasm.Local
	spread, bytes, multiplier wasm.Local
}

// Emit implements [Kernel].
func (g IntGemm) Emit(c *wasm.Code) {
	e := &intgemm{IntGemm: g, c: c, a: c.Param(0), b: c.Param(1), out: c.Param(2), bias: c.Param(3), scale: c.Param(4)}
	for range g.Tile.MR {
		e.acc = append(e.acc, c.Locals(wasm.V128, g.Tile.NV))
	}
	e.bv, e.av = c.Locals(wasm.V128, g.Tile.NV), c.Locals(wasm.V128, g.Tile.MR)
	e.spread, e.bytes, e.multiplier = c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128)
	e.bp = c.Local(wasm.I32)
	cols := g.Tile.PanelCols()
	full, tail := g.N/cols, g.N%cols
	times(c, full, func() {
		e.panel(g.Tile.NV, cols)
		c.Inc(e.b, int32(g.Seg0*g.Seg1*g.pairs()*g.Tile.NV*vec)).Inc(e.bias, int32(cols*4)).Inc(e.scale, int32(cols*4))
		c.Inc(e.out, int32(cols*g.width()))
	})
	if tail > 0 {
		e.panel((tail+lanes-1)/lanes, tail)
	}
}

// width is the number of bytes of one value of C.
func (g IntGemm) width() int {
	if g.Requant.Wide {
		return 4
	}
	return 1
}

// panel computes all rows of nv vectors of columns, of which cols count.
func (e *intgemm) panel(nv, cols int) {
	c := e.c
	row := moving(c, e.a, e.out)
	times(c, e.Outer, func() {
		at := moving(c, row...)
		e.ap, e.cp = at[0], at[1]
		times(c, e.Inner/e.Tile.MR, func() {
			e.tile(e.Tile.MR, nv, cols)
			c.Inc(e.ap, int32(e.Tile.MR*e.AInner)).Inc(e.cp, int32(e.Tile.MR*e.CInner))
		})
		if r := e.Inner % e.Tile.MR; r > 0 {
			e.tile(r, nv, cols)
		}
		if e.Outer > 1 {
			c.Inc(row[0], int32(e.AOuter)).Inc(row[1], int32(e.COuter))
		}
	})
}

func (e *intgemm) tile(mr, nv, cols int) {
	c := e.c
	for j := range nv {
		c.Get(e.bias).Load(wasm.V128Load, uint32(j*vec)).Tee(e.acc[0][j])
		for r := 1; r < mr; r++ {
			c.Tee(e.acc[r][j])
		}
		c.Drop()
	}
	c.Get(e.b).Set(e.bp)
	e.segments(mr, nv)
	if e.Requant.Wide {
		for r := range mr {
			for j := range nv {
				store(c, e.cp, e.acc[r][j], r*e.CInner+j*vec, min(lanes, cols-j*lanes))
			}
		}
		return
	}
	for j := range nv {
		c.Get(e.scale).Load(wasm.V128Load, uint32(j*vec)).Set(e.multiplier)
		for r := range mr {
			e.Requant.apply(c, e.acc[r][j], e.multiplier)
		}
	}
	for r := range mr {
		for j := 0; j < nv; j += 4 {
			e.Requant.narrow(c, e.acc[r][j:min(j+4, nv)])
			c.Set(e.bytes)
			storeBytes(c, e.cp, e.bytes, r*e.CInner+j*lanes, min(16, cols-j*lanes))
		}
	}
}

// segments accumulates over the whole depth.
func (e *intgemm) segments(mr, nv int) {
	c := e.c
	s0 := e.ap
	if e.Seg0*e.Seg1 > 1 {
		s0 = moving(c, e.ap)[0]
	}
	times(c, e.Seg0, func() {
		s1 := s0
		if e.Seg1 > 1 {
			s1 = moving(c, s0)[0]
		}
		times(c, e.Seg1, func() {
			e.depth(s1, mr, nv)
			if e.Seg1 > 1 {
				c.Inc(s1, int32(e.Seg1Step))
			}
		})
		if e.Seg0 > 1 {
			c.Inc(s0, int32(e.Seg0Step))
		}
	})
}

// depth accumulates over one segment that begins at address at and advances B past it.
func (e *intgemm) depth(at wasm.Local, mr, nv int) {
	c, u := e.c, e.Tile.Unroll
	body := func(p wasm.Local, n int) {
		e.steps(p, mr, nv, n)
		c.Inc(e.bp, int32((n+1)/2*e.Tile.NV*vec))
	}
	if e.Depth <= u {
		body(at, e.Depth)
		return
	}
	p := moving(c, at)[0]
	times(c, e.Depth/u, func() {
		body(p, u)
		c.Inc(p, int32(u))
	})
	if r := e.Depth % u; r > 0 {
		body(p, r)
	}
}

// steps adds the products of n neighbouring values of each row, eight at a time, those with the highest
// offsets first, as [Gemm] does. What is loaded beyond an odd n meets weights of 0.
func (e *intgemm) steps(p wasm.Local, mr, nv, n int) {
	c := e.c
	load := wasm.V128Load8x8U
	if e.Signed {
		load = wasm.V128Load8x8S
	}
	for q := (n - 1) / 8; q >= 0; q-- {
		for r := mr - 1; r >= 0; r-- {
			c.Get(p).Load(load, uint32(q*8+r*e.AInner)).Set(e.av[r])
		}
		for d := min(4, (n-q*8+1)/2) - 1; d >= 0; d-- {
			for j := nv - 1; j >= 0; j-- {
				c.Get(e.bp).Load(wasm.V128Load, uint32(((q*4+d)*e.Tile.NV+j)*vec)).Set(e.bv[j])
			}
			for r := mr - 1; r >= 0; r-- {
				c.Get(e.av[r]).V128(laneBytes(d)).Op(wasm.I8x16Swizzle).Set(e.spread)
				for j := nv - 1; j >= 0; j-- {
					acc := e.acc[r][j]
					c.Get(acc, e.spread, e.bv[j]).Op(wasm.I32x4DotI16x8S, wasm.I32x4Add).Set(acc)
				}
			}
		}
	}
}
