package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Recurrent walks a recurrent layer over the steps of a sequence: in each, the product of the state
// with the recurrent weights for all gates at once, then the gates, vectors of hidden units at a time.
// The loop over the steps runs in the module: its code does not grow with the sequence.
//
// Arguments: the number of steps, x at the first step, weights as B of [Gemm], those of the candidate
// for a gru without Linear, bias of the product, y at the first step, h, gates (scratch for all gates of
// one step), c for an lstm, peepholes.
type Recurrent struct {
	Cell          string // rnn, gru, lstm; the order of gates is that of ir.Recurrent
	Batch, Hidden int
	XStep, YStep  int // bytes from one step to the next, negative backwards
	F, G, H       Act
	Clip          float32
	Linear        bool
	Coupled       bool
	Peephole      bool
	Tile          Tile
	BRow, BPanel  int // of the weights
	CRow, CPanel  int // of the candidate's weights
}

// Name implements [Kernel].
func (r Recurrent) Name() string { return fmt.Sprintf("%s_%dx%d", r.Cell, r.Batch, r.Hidden) }

// Args implements [Kernel].
func (r Recurrent) Args() int {
	n := 7
	if r.Cell == "lstm" || r.split() {
		n++
	}
	if r.Peephole {
		n++
	}
	return n
}

func (r Recurrent) gateCount() int { return map[string]int{"rnn": 1, "gru": 3, "lstm": 4}[r.Cell] }

// split reports whether the candidate's product waits for the reset gate.
func (r Recurrent) split() bool { return r.Cell == "gru" && !r.Linear }

// recurrent is the state of one body. The pointers in at stand at the current vector of units.
type recurrent struct {
	Recurrent
	c                    *wasm.Code
	fn                   fn
	x, w, w2, bias, y, h wasm.Local
	gates, kept, cell, p wasm.Local
	at                   recurrentAt
	u, v, t              wasm.Local
}

type recurrentAt struct{ x, y, h, gates, kept, cell, p wasm.Local }

// Emit implements [Kernel].
func (r Recurrent) Emit(c *wasm.Code) {
	next := 0
	arg := func() wasm.Local { next++; return c.Param(next - 1) }
	steps := arg()
	e := &recurrent{Recurrent: r, c: c, fn: fn{c: c}, x: arg(), w: arg()}
	if r.split() {
		e.w2 = arg()
	}
	e.bias, e.y, e.h, e.gates = arg(), arg(), arg(), arg()
	if r.Cell == "lstm" {
		e.cell = arg()
	}
	if r.Peephole {
		e.p = arg()
	}
	e.u, e.v, e.t = c.Local(wasm.V128), c.Local(wasm.V128), c.Local(wasm.V128)
	e.kept = c.Local(wasm.I32)
	c.Get(e.gates).I32(int32(2 * r.Hidden * r.Batch * 4)).Op(wasm.I32Add).Set(e.kept)
	c.Get(steps).If(func() {
		c.Loop(func(top wasm.Label) {
			e.step()
			c.Inc(e.x, int32(r.XStep)).Inc(e.y, int32(r.YStep))
			c.Get(steps).I32(1).Op(wasm.I32Sub).Tee(steps).BrIf(top)
		})
	})
}

// step computes one step of all sequences of the batch.
func (e *recurrent) step() {
	row := 4 * e.Hidden
	switch {
	case e.Cell == "rnn":
		e.product(e.h, e.w, 1, e.BRow, e.BPanel, 0, 0)
		e.units(row, e.rnn)
	case e.Cell == "lstm":
		e.product(e.h, e.w, 4, e.BRow, e.BPanel, 0, 0)
		e.units(4*row, e.lstm)
	case e.Linear:
		e.product(e.h, e.w, 3, e.BRow, e.BPanel, 0, -1)
		e.units(3*row, e.gruLinear)
	default:
		e.product(e.h, e.w, 2, e.BRow, e.BPanel, 0, 0)
		e.units(2*row, e.gruReset)
		// The candidate takes the place of the reset gate, which has done its work.
		e.product(e.kept, e.w2, 1, e.CRow, e.CPanel, row, 2*row)
		e.units(2*row, e.gruBlend)
	}
}

// product writes a·w to n gates of each row, from byte at of the row on, and adds those of x from byte
// from on; from -1: nothing.
func (e *recurrent) product(a, w wasm.Local, n, bRow, bPanel, at, from int) {
	c, row := e.c, 4*e.Hidden
	width := row * map[bool]int{false: e.gateCount(), true: 2}[e.split()]
	g := Gemm{
		Outer: 1, Inner: e.Batch, AInner: row, CInner: width, Seg0: 1, Seg1: 1, Depth: e.Hidden,
		N: n * e.Hidden, BRow: bRow, BPanel: bPanel, Tile: e.Tile, Residual: from >= 0, RInner: row * e.gateCount(),
	}
	p := moving(c, a, w, e.gates, e.bias)
	c.Inc(p[2], int32(at))
	if g.Residual {
		p = append(p, moving(c, e.x)...)
		c.Inc(p[4], int32(from))
	}
	g.emit(c, p)
}

// units runs body for each vector of each row of hidden units, of which it stores n lanes.
func (e *recurrent) units(gateRow int, body func(n int)) {
	c, row := e.c, 4*e.Hidden
	rows := moving(c, e.x, e.y, e.h, e.gates, e.kept)
	steps := []int{row * e.gateCount(), row, row, gateRow, row}
	if e.Cell == "lstm" {
		rows, steps = append(rows, moving(c, e.cell)...), append(steps, row)
	}
	times(c, e.Batch, func() {
		from := rows
		if e.Peephole {
			from = append(rows[:len(rows):len(rows)], e.p)
		}
		p := moving(c, from...)
		e.at = recurrentAt{x: p[0], y: p[1], h: p[2], gates: p[3], kept: p[4]}
		if e.Cell == "lstm" {
			e.at.cell = p[5]
		}
		if e.Peephole {
			e.at.p = p[6]
		}
		times(c, e.Hidden/lanes, func() {
			body(lanes)
			for _, l := range p {
				c.Inc(l, vec)
			}
		})
		if n := e.Hidden % lanes; n > 0 {
			body(n)
		}
		for i, l := range rows {
			c.Inc(l, int32(steps[i]))
		}
	})
}

// load pushes gate i of the block at p.
func (e *recurrent) load(p wasm.Local, i int) *wasm.Code {
	return e.c.Get(p).Load(wasm.V128Load, uint32(i*4*e.Hidden))
}

// gate clips and activates x.
func (e *recurrent) gate(a Act, x wasm.Local) {
	if e.Clip > 0 {
		clip(&e.fn, x, [2]float32{-e.Clip, e.Clip})
	}
	e.fn.apply(a, x)
}

func (e *recurrent) output(x wasm.Local, n int) {
	store(e.c, e.at.h, x, 0, n)
	store(e.c, e.at.y, x, 0, n)
}

func (e *recurrent) rnn(n int) {
	e.load(e.at.gates, 0).Set(e.v)
	e.gate(e.F, e.v)
	e.output(e.v, n)
}

// lstm: c = f·c + i·g, h = o·act(c).
func (e *recurrent) lstm(n int) {
	c, at := e.c, e.at
	peep := func(gate int) {
		if e.Peephole {
			e.load(at.p, gate)
			c.Get(e.t).Op(wasm.F32x4Mul, wasm.F32x4Add)
		}
	}
	c.Get(at.cell).Load(wasm.V128Load, 0).Set(e.t)
	e.load(at.gates, 0)
	peep(0)
	c.Set(e.u)
	e.gate(e.F, e.u)
	e.load(at.gates, 3).Set(e.v)
	e.gate(e.G, e.v)
	c.Get(e.u, e.v).Op(wasm.F32x4Mul).Set(e.v)
	if e.Coupled {
		splat(c, 1)
		c.Get(e.u).Op(wasm.F32x4Sub).Set(e.u)
	} else {
		e.load(at.gates, 2)
		peep(2)
		c.Set(e.u)
		e.gate(e.F, e.u)
	}
	c.Get(e.t, e.u).Op(wasm.F32x4Mul).Get(e.v).Op(wasm.F32x4Add).Set(e.t)
	store(c, at.cell, e.t, 0, n)
	e.load(at.gates, 1)
	peep(1)
	c.Set(e.u)
	e.gate(e.F, e.u)
	e.fn.apply(e.H, e.t)
	c.Get(e.u, e.t).Op(wasm.F32x4Mul).Set(e.u)
	e.output(e.u, n)
}

// gruLinear: the gates hold the product with the state alone, so that the reset gate scales the
// candidate's part of it.
func (e *recurrent) gruLinear(n int) {
	at := e.at
	e.load(at.gates, 1)
	e.load(at.x, 1).Op(wasm.F32x4Add).Set(e.v)
	e.gate(e.F, e.v)
	e.load(at.gates, 2).Get(e.v).Op(wasm.F32x4Mul)
	e.load(at.x, 2).Op(wasm.F32x4Add).Set(e.v)
	e.gate(e.G, e.v)
	e.load(at.gates, 0)
	e.load(at.x, 0).Op(wasm.F32x4Add).Set(e.u)
	e.blend(n)
}

func (e *recurrent) gruReset(n int) {
	e.load(e.at.gates, 1).Set(e.v)
	e.gate(e.F, e.v)
	e.c.Get(e.v, e.at.h).Load(wasm.V128Load, 0).Op(wasm.F32x4Mul).Set(e.v)
	store(e.c, e.at.kept, e.v, 0, n)
}

func (e *recurrent) gruBlend(n int) {
	e.load(e.at.gates, 1).Set(e.v)
	e.gate(e.G, e.v)
	e.load(e.at.gates, 0).Set(e.u)
	e.blend(n)
}

// blend activates the update gate in u and writes (1-u)·v + u·h, for the candidate in v.
func (e *recurrent) blend(n int) {
	c := e.c
	e.gate(e.F, e.u)
	splat(c, 1)
	c.Get(e.u).Op(wasm.F32x4Sub).Get(e.v).Op(wasm.F32x4Mul)
	c.Get(e.u, e.at.h).Load(wasm.V128Load, 0).Op(wasm.F32x4Mul, wasm.F32x4Add).Set(e.v)
	e.output(e.v, n)
}
