package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Requant says how sums of products become bytes again: scaled, rounded with halves to even, shifted by
// Zero and kept within Lo and Hi. With Wide they stay i32 as they are. With Float they become f32: scaled, a
// sum added, and Act applied.
type Requant struct {
	Zero, Lo, Hi int
	Unsigned     bool // of the bytes
	Wide, Float  bool
	Act          Act
}

// size is the number of bytes of a result.
func (q Requant) size() int {
	if q.Wide || q.Float {
		return 4
	}
	return 1
}

// args is the number of addresses of a kernel that has n and ends with q: sums are one more.
func (q Requant) args(n int) int {
	if q.Float {
		return n + 1
	}
	return n
}

// sink is where a kernel leaves its sums.
type sink struct {
	Requant
	c     *wasm.Code
	fn    fn
	bytes wasm.Local
}

func (q Requant) sink(c *wasm.Code) *sink {
	return &sink{Requant: q, c: c, fn: fn{c: c}, bytes: c.Local(wasm.V128)}
}

// put stores n values, whose sums are in xs, to the address in at plus offset, given the vectors of their
// scales and the address of what Float adds.
func (s *sink) put(at wasm.Local, offset int, xs, scales []wasm.Local, sums wasm.Local, n int) {
	c := s.c
	for i, x := range xs {
		switch {
		case i*lanes >= n || s.Wide:
		case s.Float:
			c.Get(x).Op(wasm.F32x4ConvertI32x4S).Get(scales[i]).Op(wasm.F32x4Mul)
			c.Get(sums).Load(wasm.V128Load, uint32(i*vec)).Op(wasm.F32x4Add).Set(x)
			s.fn.apply(s.Act, x)
		default:
			s.apply(c, x, scales[i])
		}
	}
	if s.size() == 1 {
		s.narrow(c, xs)
		c.Set(s.bytes)
		storeBytes(c, at, s.bytes, offset, n)
		return
	}
	for i := 0; i*lanes < n; i++ {
		store(c, at, xs[i], offset+i*vec, min(lanes, n-i*lanes))
	}
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
// floats. It runs along the diagonals of B as skewed tiles do, see [Skewed], with pairs in the place of
// single values: a vector of B holds in lane l the weights that two neighbouring values of A, pair l of
// eight bytes, have for column (l+s) mod 4, and i32x4.dot_i16x8_s multiplies and adds both at once: 8
// multiply-adds where a multiplication and an addition of floats are 4.
//
// Arguments: A, B (see [IntGemm.Pack]), C, bias (i32), scales (f32) and, if the result is Float, sums (f32),
// rounded up to 4 columns.
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

// IntTile is the block of C that is held in accumulators: MR rows of four columns, with Unroll values of
// depth, a multiple of 8, in the loop body.
type IntTile struct{ MR, Unroll int }

// octet is the number of values of A that a vector of them has.
const octet = 8

// blocks is the number of vectors of a segment of n values.
func blocks(n int) int { return (n + octet - 1) / octet }

// panel is the number of bytes of B for four columns.
func (g IntGemm) panel() int { return g.Seg0 * g.Seg1 * blocks(g.Depth) * lanes * vec }

// Pack arranges weights of which element (r, j) is w[r·stride+j]: panels of 4 columns, in each the
// segments, filled with zeros to whole vectors, and for each vector the 4 diagonals.
func (g IntGemm) Pack(w []int64, stride int) []int16 {
	packed := make([]int16, (g.N+lanes-1)/lanes*g.panel()/2)
	for j := range g.N {
		panel := packed[j/lanes*g.panel()/2:]
		for r := range g.Seg0 * g.Seg1 * g.Depth {
			seg, d := r/g.Depth, r%g.Depth
			lane := d % octet / 2
			diagonal := (j - lane + lanes) % lanes
			panel[(((seg*blocks(g.Depth)+d/octet)*lanes+diagonal)*lanes+lane)*2+d%2] = int16(w[r*stride+j])
		}
	}
	return packed
}

// Name implements [Kernel].
func (g IntGemm) Name() string {
	s := fmt.Sprintf("intgemm_%dx%dx%d", g.Outer*g.Inner, g.N, g.Seg0*g.Seg1*g.Depth)
	if g.Seg0*g.Seg1 > 1 {
		s += fmt.Sprintf("_%dx%d", g.Seg0, g.Seg1)
	}
	return s + g.Requant.Act.name()
}

// Args implements [Kernel].
func (g IntGemm) Args() int { return g.Requant.args(5) }

type intgemm struct {
	IntGemm
	c                      *wasm.Code
	a, b, out, bias, scale wasm.Local
	sums                   wasm.Local
	ap, bp, cp             wasm.Local
	acc                    [][]wasm.Local
	av                     []wasm.Local
	bv, multiplier         wasm.Local
	sink                   *sink
	end                    wasm.Label
}

// Emit implements [Kernel].
func (g IntGemm) Emit(c *wasm.Code) {
	e := &intgemm{IntGemm: g, c: c, a: c.Param(0), b: c.Param(1), out: c.Param(2), bias: c.Param(3), scale: c.Param(4)}
	for range g.Tile.MR {
		e.acc = append(e.acc, c.Locals(wasm.V128, lanes))
	}
	e.av = c.Locals(wasm.V128, g.Tile.MR)
	e.bv, e.sink, e.multiplier = c.Local(wasm.V128), g.Requant.sink(c), c.Local(wasm.V128)
	e.bp = c.Local(wasm.I32)
	if g.Requant.Float {
		e.sums = c.Param(5)
	}
	times(c, g.N/lanes, func() {
		e.columns(lanes)
		c.Inc(e.b, int32(g.panel())).Inc(e.bias, vec).Inc(e.scale, vec).Inc(e.out, int32(lanes*g.Requant.size()))
		if g.Requant.Float {
			c.Inc(e.sums, vec)
		}
	})
	if tail := g.N % lanes; tail > 0 {
		e.columns(tail)
	}
}

// columns computes all rows of four columns, of which n count.
func (e *intgemm) columns(n int) {
	c := e.c
	if !e.Requant.Wide {
		c.Get(e.scale).Load(wasm.V128Load, 0).Set(e.multiplier)
	}
	row := moving(c, e.a, e.out)
	times(c, e.Outer, func() {
		at := moving(c, row...)
		e.ap, e.cp = at[0], at[1]
		times(c, e.Inner/e.Tile.MR, func() {
			e.tile(e.Tile.MR, n)
			c.Inc(e.ap, int32(e.Tile.MR*e.AInner)).Inc(e.cp, int32(e.Tile.MR*e.CInner))
		})
		if r := e.Inner % e.Tile.MR; r > 0 {
			e.tile(r, n)
		}
		if e.Outer > 1 {
			c.Inc(row[0], int32(e.AOuter)).Inc(row[1], int32(e.COuter))
		}
	})
}

func (e *intgemm) tile(mr, n int) {
	c := e.c
	for r := range mr {
		c.Get(e.bias).Load(wasm.V128Load, 0).Set(e.acc[r][0])
		for _, acc := range e.acc[r][1:] {
			splatInt(c, 0)
			c.Set(acc)
		}
	}
	c.Block(func(end wasm.Label) {
		e.end = end
		e.segments(mr)
	})
	for r := range mr {
		acc := e.acc[r][0]
		c.Get(e.acc[r][lanes-1])
		for s := lanes - 2; s >= 0; s-- {
			c.V128(turned).Op(wasm.I8x16Swizzle).Get(e.acc[r][s]).Op(wasm.I32x4Add)
		}
		c.Set(acc)
		e.sink.put(e.cp, r*e.CInner, e.acc[r][:1], []wasm.Local{e.multiplier}, e.sums, n)
	}
}

// segments accumulates over the whole depth.
func (e *intgemm) segments(mr int) {
	c, all := e.c, blocks(e.Depth)
	if e.Seg0*e.Seg1*all*octet <= flat { // as in [Gemm]: a loop would cost more than its body
		for s0 := e.Seg0 - 1; s0 >= 0; s0-- {
			for s1 := e.Seg1 - 1; s1 >= 0; s1-- {
				e.steps(e.ap, e.b, mr, s0*e.Seg0Step+s1*e.Seg1Step, (s0*e.Seg1+s1)*all*lanes*vec, all)
			}
		}
		return
	}
	c.Get(e.b).Set(e.bp)
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
			e.depth(s1, mr)
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
func (e *intgemm) depth(at wasm.Local, mr int) {
	c, u, n := e.c, e.Tile.Unroll/octet, blocks(e.Depth)
	body := func(p wasm.Local, n int) {
		e.steps(p, e.bp, mr, 0, 0, n)
		c.Inc(e.bp, int32(n*lanes*vec))
	}
	if n <= u {
		body(at, n)
		return
	}
	p := moving(c, at)[0]
	times(c, n/u, func() {
		body(p, u)
		c.Inc(p, int32(u*octet))
	})
	if r := n % u; r > 0 {
		body(p, r)
	}
}

// steps adds the products of n vectors of each row, those with the highest offsets first, as [Gemm]
// does. What is loaded beyond a segment meets weights of 0.
func (e *intgemm) steps(p, b wasm.Local, mr, aOff, bOff, n int) {
	c := e.c
	for q := n - 1; q >= 0; q-- {
		if q < n-1 { // never taken; see quads
			c.Get(p).Op(wasm.I32Eqz).BrIf(e.end)
		}
		for r := mr - 1; r >= 0; r-- {
			c.Get(p).Load(load8x8(e.Signed), uint32(aOff+q*octet+r*e.AInner)).Set(e.av[r])
		}
		for s := lanes - 1; s >= 0; s-- {
			c.Get(b).Load(wasm.V128Load, uint32(bOff+(q*lanes+s)*vec)).Set(e.bv)
			for r := mr - 1; r >= 0; r-- {
				acc := e.acc[r][s]
				c.Get(acc, e.av[r], e.bv).Op(wasm.I32x4DotI16x8S, wasm.I32x4Add).Set(acc)
			}
		}
	}
}
