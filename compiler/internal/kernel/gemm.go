package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Gemm multiplies a matrix A, whose rows lie in memory with strides, by a matrix B of constants in
// panels or of values in rows, and adds a bias: C = act(A·B + bias [+ R]). It serves pointwise and
// dense convolution and matrix products alike: for one output pixel the K of a convolution is
// Seg0 × Seg1 segments (kernel rows and columns) of Depth contiguous values.
//
// Arguments: A, B, C, bias (N values, rounded up to whole panels), R if Residual.
type Gemm struct {
	Outer, Inner   int // rows of C: Outer × Inner, such as image rows and pixels
	AOuter, AInner int // bytes between them in A
	COuter, CInner int // bytes between them in C
	Residual       bool
	ROuter, RInner int // bytes between them in R
	Seg0, Seg0Step int // outer segments of a row of A, bytes between them
	Seg1, Seg1Step int // inner segments
	Depth          int // contiguous values of a segment
	N              int // columns
	BRow, BPanel   int // bytes between rows of B within a panel, and between panels
	Act            Act
	Tile           Tile
}

// Tile is the block of C that is held in accumulators: MR rows by NV vectors of columns, with Unroll
// steps of depth in the loop body. With Skew NV is 1, and B is packed for [Skewed].
type Tile struct {
	MR, NV, Unroll int
	Skew           bool
}

// PanelCols is the number of columns of one panel of packed constants.
func (t Tile) PanelCols() int { return t.NV * lanes }

// Name implements [Kernel].
func (g Gemm) Name() string {
	s := fmt.Sprintf("gemm_%dx%dx%d", g.Outer*g.Inner, g.N, g.Seg0*g.Seg1*g.Depth)
	if g.Seg0*g.Seg1 > 1 {
		s += fmt.Sprintf("_%dx%d", g.Seg0, g.Seg1)
	}
	if g.Residual {
		s += "_add"
	}
	return s + g.Act.name()
}

// Args implements [Kernel].
func (g Gemm) Args() int {
	if g.Residual {
		return 5
	}
	return 4
}

// Emit implements [Kernel].
func (g Gemm) Emit(c *wasm.Code) {
	p := make([]wasm.Local, g.Args())
	for i := range p {
		p[i] = c.Param(i)
	}
	g.emit(c, p)
}

// emit writes the product within another kernel; args are its arguments, and change.
func (g Gemm) emit(c *wasm.Code, args []wasm.Local) {
	e := &gemm{Gemm: g, c: c, fn: fn{c: c}, a: args[0], b: args[1], out: args[2], bias: args[3]}
	if g.Residual {
		e.res = args[4]
	}
	cols := g.Tile.PanelCols()
	full, tail := g.N/cols, g.N%cols
	times(c, full, func() {
		e.panel(g.Tile.NV, lanes)
		if full > 1 || tail > 0 {
			c.Inc(e.b, int32(g.BPanel)).Inc(e.bias, int32(cols*4)).Inc(e.out, int32(cols*4))
			if g.Residual {
				c.Inc(e.res, int32(cols*4))
			}
		}
	})
	if tail > 0 {
		e.panel((tail+lanes-1)/lanes, (tail-1)%lanes+1)
	}
}

// gemm is the state of one body: addresses that stand at the first row of the current panel, and the
// locals of its tiles.
type gemm struct {
	Gemm
	c                    *wasm.Code
	fn                   fn
	a, b, out, bias, res wasm.Local
	ap, bp, cp, rp       wasm.Local // the current tile's
	acc                  [][]wasm.Local
	bv                   []wasm.Local
	av                   []wasm.Local // a vector of each row of A
	spread               wasm.Local   // one lane of it
	order                pins         // of a skewed tile's steps
	begun                bool         // whether a step stands before the next in this block
	first                bool         // whether the next step is the tile's first
	ready                bool
}

// panel computes all rows of nv vectors of columns, of which the last has last lanes.
func (e *gemm) panel(nv, last int) {
	c := e.c
	e.locals()
	ptrs := []wasm.Local{e.a, e.out}
	if e.Residual {
		ptrs = append(ptrs, e.res)
	}
	row := moving(c, ptrs...)
	times(c, e.Outer, func() {
		at := moving(c, row...)
		e.ap, e.cp = at[0], at[1]
		if e.Residual {
			e.rp = at[2]
		}
		times(c, e.Inner/e.Tile.MR, func() {
			e.tile(e.Tile.MR, nv, last)
			c.Inc(e.ap, int32(e.Tile.MR*e.AInner)).Inc(e.cp, int32(e.Tile.MR*e.CInner))
			if e.Residual {
				c.Inc(e.rp, int32(e.Tile.MR*e.RInner))
			}
		})
		if r := e.Inner % e.Tile.MR; r > 0 {
			e.tile(r, nv, last)
		}
		if e.Outer > 1 {
			c.Inc(row[0], int32(e.AOuter)).Inc(row[1], int32(e.COuter))
			if e.Residual {
				c.Inc(row[2], int32(e.ROuter))
			}
		}
	})
}

// locals declares the vectors once; every tile of the body uses them.
func (e *gemm) locals() {
	if e.ready {
		return
	}
	e.ready = true
	n := e.Tile.NV
	if e.Tile.Skew {
		n = lanes
	}
	for range e.Tile.MR {
		e.acc = append(e.acc, e.c.Locals(wasm.V128, n))
	}
	e.bv = e.c.Locals(wasm.V128, e.Tile.NV)
	e.av, e.spread = e.c.Locals(wasm.V128, e.Tile.MR), e.c.Local(wasm.V128)
	e.bp = e.c.Local(wasm.I32)
}

// tile computes mr rows by nv vectors at the current addresses.
func (e *gemm) tile(mr, nv, last int) {
	c := e.c
	for j := range nv {
		c.Get(e.bias).Load(wasm.V128Load, uint32(j*vec)).Tee(e.acc[0][j])
		for r := 1; r < mr; r++ {
			c.Tee(e.acc[r][j])
		}
		c.Drop()
	}
	c.Get(e.b).Set(e.bp)
	if e.Tile.Skew {
		e.skewed(mr)
	} else {
		e.segments(mr, nv)
	}
	for r := range mr {
		for j := range nv {
			acc := e.acc[r][j]
			if e.Residual {
				c.Get(acc, e.rp).Load(wasm.V128Load, uint32(r*e.RInner+j*vec)).Op(wasm.F32x4Add).Set(acc)
			}
			e.fn.apply(e.Act, acc)
			n := lanes
			if j == nv-1 {
				n = last
			}
			store(c, e.cp, acc, r*e.CInner+j*vec, n)
		}
	}
}

// flat is the depth up to which a tile has no loop, and no zeros to add its first products to. 392×64×96, GMAC/s in
// V8 and wazero: 20.0 and 15.7, with a loop 19.1 and 14.0; for a depth of 144 V8 falls from 19.3 to 17.1.
const flat = 96

func (e *gemm) isFlat() bool { return e.Seg0*e.Seg1*e.bRows(e.Depth) <= flat }

// segments accumulates over the whole depth.
func (e *gemm) segments(mr, nv int) {
	c := e.c
	if e.isFlat() {
		for s0 := e.Seg0 - 1; s0 >= 0; s0-- {
			for s1 := e.Seg1 - 1; s1 >= 0; s1-- {
				e.steps(e.ap, mr, nv, s0*e.Seg0Step+s1*e.Seg1Step, (s0*e.Seg1+s1)*e.bRows(e.Depth)*e.BRow, e.Depth)
			}
		}
		return
	}
	if e.Seg0*e.Seg1 == 1 {
		e.depth(e.ap, mr, nv)
		return
	}
	s0 := moving(c, e.ap)[0]
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

// depth accumulates over one segment that begins at address at and advances B past it. Within a body
// the highest offset comes first: wazero then checks bounds once and reuses the check below.
func (e *gemm) depth(at wasm.Local, mr, nv int) {
	c, u := e.c, e.Tile.Unroll
	body := func(p wasm.Local, n int) {
		e.begun = false
		e.steps(p, mr, nv, 0, 0, n)
		c.Inc(e.bp, int32(e.bRows(n)*e.BRow))
	}
	if e.Depth <= u {
		body(at, e.Depth)
		return
	}
	p := moving(c, at)[0]
	times(c, e.Depth/u, func() {
		body(p, u)
		c.Inc(p, int32(u*4))
	})
	if r := e.Depth % u; r > 0 {
		body(p, r)
	}
}

// steps adds the products of n neighbouring columns of A, from byte aOff of its rows on, and rows of B.
// The highest offsets come first, see depth.
func (e *gemm) steps(p wasm.Local, mr, nv, aOff, bOff, n int) {
	c := e.c
	if e.Tile.Skew {
		e.quads(p, mr, aOff, bOff, n)
		return
	}
	for d := n - 1; d >= n-n%lanes; d-- {
		e.column(mr, nv, bOff+d*e.BRow, 0, func(r int) {
			c.Get(p).Load(wasm.V128Load32Zero, uint32(aOff+d*4+r*e.AInner))
		})
	}
	for q := n/lanes - 1; q >= 0; q-- {
		for r := mr - 1; r >= 0; r-- {
			c.Get(p).Load(wasm.V128Load, uint32(aOff+q*vec+r*e.AInner)).Set(e.av[r])
		}
		for d := lanes - 1; d >= 0; d-- {
			e.column(mr, nv, bOff+(q*lanes+d)*e.BRow, d, func(r int) { c.Get(e.av[r]) })
		}
	}
}

// column adds the product of one column of A, in lane d of the vectors that push leaves, and one row
// of B. The lane is spread by a swizzle with a constant: wazero compiles f32x4.splat and
// v128.load32_splat to an insertion into a register whose old value it does not clear, so that each
// waits for the multiplication before it, 5.5 against 11.4 GMAC/s (BenchmarkGemmTiles); V8 and
// wasmtime are as fast either way.
func (e *gemm) column(mr, nv, bOff, d int, push func(row int)) {
	c := e.c
	for j := nv - 1; j >= 0; j-- {
		c.Get(e.bp).Load(wasm.V128Load, uint32(bOff+j*vec)).Set(e.bv[j])
	}
	for r := mr - 1; r >= 0; r-- {
		push(r)
		c.V128(laneBytes(d)).Op(wasm.I8x16Swizzle).Set(e.spread)
		for j := nv - 1; j >= 0; j-- {
			acc := e.acc[r][j]
			c.Get(acc, e.spread, e.bv[j]).Op(wasm.F32x4Mul, wasm.F32x4Add).Set(acc)
		}
	}
}

// laneBytes is the swizzle that copies f32 lane d to all four.
func laneBytes(d int) (b [16]byte) {
	for i := range b {
		b[i] = byte(d*4 + i%4)
	}
	return b
}
