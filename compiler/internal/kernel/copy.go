package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Copy moves elements of 1, 2, 4 or 8 bytes from strides to strides; [Map] and [Transpose] do it by
// vectors for those of 4. Runs that lie together on both sides go by memory.copy.
//
// Arguments: out, in.
type Copy struct {
	Size    int
	Extent  Dims
	Out, In Dims // byte strides
}

// Name implements [Kernel].
func (m Copy) Name() string { return fmt.Sprintf("copy%d_%d", 8*m.Size, product(m.Extent)) }

// Args implements [Kernel].
func (m Copy) Args() int { return 2 }

var copyOps = map[int][2]wasm.Op{
	1: {wasm.I32Load8U, wasm.I32Store8}, 2: {wasm.I32Load16U, wasm.I32Store16},
	4: {wasm.I32Load, wasm.I32Store}, 8: {wasm.I64Load, wasm.I64Store},
}

// Emit implements [Kernel].
func (m Copy) Emit(c *wasm.Code) {
	nest(c, 0, m.Extent, []Dims{m.Out, m.In}, []wasm.Local{c.Param(0), c.Param(1)}, func(p []wasm.Local) {
		const last = MaxDims - 1
		n := m.Extent[last]
		if m.Out[last] == m.Size && m.In[last] == m.Size && n > 1 {
			c.Get(p[0], p[1]).I32(int32(n * m.Size)).MemoryCopy()
			return
		}
		q := moving(c, p...)
		times(c, n, func() {
			c.Get(q[0], q[1]).Load(copyOps[m.Size][0], 0).Store(copyOps[m.Size][1], 0)
			c.Inc(q[0], int32(m.Out[last])).Inc(q[1], int32(m.In[last]))
		})
	})
}

// nest writes the loops over all axes but the last one, advancing ptrs by their strides, and body inside.
func nest(c *wasm.Code, axis int, extent Dims, strides []Dims, ptrs []wasm.Local, body func(p []wasm.Local)) {
	if axis == MaxDims-1 {
		body(ptrs)
		return
	}
	if extent[axis] == 1 {
		nest(c, axis+1, extent, strides, ptrs, body)
		return
	}
	p := moving(c, ptrs...)
	times(c, extent[axis], func() {
		nest(c, axis+1, extent, strides, p, body)
		for k, l := range p {
			if st := strides[k][axis]; st != 0 {
				c.Inc(l, int32(st))
			}
		}
	})
}

// everywhere is nest over all axes.
func everywhere(c *wasm.Code, extent Dims, strides []Dims, ptrs []wasm.Local, body func(p []wasm.Local)) {
	const last = MaxDims - 1
	nest(c, 0, extent, strides, ptrs, func(ptrs []wasm.Local) {
		p := moving(c, ptrs...)
		times(c, extent[last], func() {
			body(p)
			for k, l := range p {
				if st := strides[k][last]; st != 0 {
					c.Inc(l, int32(st))
				}
			}
		})
	})
}

// FillElems writes one value, given by its bits, to every element of a strided block; [Fill] does it by
// vectors for floats.
//
// Argument: out.
type FillElems struct {
	Size   int
	Extent Dims
	Out    Dims // byte strides
	Bits   int64
}

// Name implements [Kernel].
func (f FillElems) Name() string { return fmt.Sprintf("fill%d_%d", 8*f.Size, product(f.Extent)) }

// Args implements [Kernel].
func (f FillElems) Args() int { return 1 }

// Emit implements [Kernel].
func (f FillElems) Emit(c *wasm.Code) {
	everywhere(c, f.Extent, []Dims{f.Out}, []wasm.Local{c.Param(0)}, func(p []wasm.Local) {
		c.Get(p[0])
		if f.Size == 8 {
			c.I64(f.Bits)
		} else {
			c.I32(int32(f.Bits))
		}
		c.Store(copyOps[f.Size][1], 0)
	})
}

// ReduceInts folds integers as [Reduce] does floats.
//
// Arguments: out (dense over Keep), in.
type ReduceInts struct {
	Fn     string // sum, mean, prod, max, min
	T      Elem
	Keep   Dims
	KeepIn Dims // byte strides of the input
	Fold   Dims
	FoldIn Dims // byte strides of the input
}

// Name implements [Kernel].
func (r ReduceInts) Name() string {
	return fmt.Sprintf("%s_%v_%dx%d", r.Fn, r.T, product(r.Keep), product(r.Fold))
}

// Args implements [Kernel].
func (r ReduceInts) Args() int { return 2 }

// Emit implements [Kernel].
func (r ReduceInts) Emit(c *wasm.Code) {
	t := r.T
	acc, x := c.Local(t.val()), c.Local(t.val())
	e := &eacher{Each: Each{T: t}, c: c}
	out := c.Param(0)
	everywhere(c, r.Keep, []Dims{r.KeepIn}, []wasm.Local{c.Param(1)}, func(p []wasm.Local) {
		t.number(c, map[string]int64{"prod": 1}[r.Fn])
		if r.Fn == "max" || r.Fn == "min" { // begins with the first, which it meets again
			c.Drop()
			t.load(c, p[0])
		}
		c.Set(acc)
		everywhere(c, r.Fold, []Dims{r.FoldIn}, p, func(q []wasm.Local) {
			t.load(c, q[0])
			c.Set(x)
			switch r.Fn {
			case "max":
				eachFns["max"].emit(e, []wasm.Local{acc, x})
			case "min":
				eachFns["min"].emit(e, []wasm.Local{acc, x})
			case "prod":
				c.Get(acc, x).Op(t.mul())
			default:
				c.Get(acc, x).Op(t.add())
			}
			t.wrap(c)
			c.Set(acc)
		})
		c.Get(out)
		if r.Fn == "mean" {
			t.number(c, int64(product(r.Fold)))
			c.Set(x)
			e.divide([]wasm.Local{acc, x}, true)
		} else {
			c.Get(acc)
		}
		c.Store(elems[t].store, 0).Inc(out, int32(t.Size()))
	})
}

// Arg writes, as i64, the place of the greatest or the smallest of N elements, Step bytes apart, for each
// position of the axes Keep. NaN is greater and smaller than all else.
//
// Arguments: out (dense over Keep), in.
type Arg struct {
	Fn     string // max, min
	T      Elem
	Last   bool // of equals, the last one
	Keep   Dims
	KeepIn Dims // byte strides of the input
	N      int
	Step   int
}

// Name implements [Kernel].
func (a Arg) Name() string { return fmt.Sprintf("arg%s_%v_%dx%d", a.Fn, a.T, product(a.Keep), a.N) }

// Args implements [Kernel].
func (a Arg) Args() int { return 2 }

// Emit implements [Kernel].
func (a Arg) Emit(c *wasm.Code) {
	t := a.T
	best, x := c.Local(t.val()), c.Local(t.val())
	at, k := c.Local(wasm.I32), c.Local(wasm.I32)
	out := c.Param(0)
	everywhere(c, a.Keep, []Dims{a.KeepIn}, []wasm.Local{c.Param(1)}, func(p []wasm.Local) {
		q := moving(c, p...)[0]
		t.load(c, q)
		c.Set(best).I32(0).Set(at)
		c.Range(k, 1, int32(a.N), 1, func() {
			c.Inc(q, int32(a.Step))
			t.load(c, q)
			c.Set(x)
			beats(c, t, order{rising: a.Fn == "min", ties: a.Last}, x, best)
			c.If(func() { c.Get(x).Set(best).Get(k).Set(at) })
		})
		c.Get(out, at).Op(wasm.I64ExtendI32U).Store(wasm.I64Store, 0).Inc(out, 8)
	})
}

// order is that of falling or of rising values, with NaN first or last.
type order struct {
	rising, ties, nanLast bool // ties: an equal comes first as well
}

// beats pushes whether x comes before y.
func beats(c *wasm.Code, t Elem, o order, x, y wasm.Local) {
	if t != F32 {
		op, p, q := t.lt(), y, x
		if o.ties {
			op = t.le()
		}
		if o.rising {
			p, q = x, y
		}
		c.Get(p, q).Op(op)
		return
	}
	more, nan, number := wasm.F32Gt, x, y
	if o.rising {
		more = wasm.F32Lt
	}
	if o.nanLast {
		nan, number = y, x
	}
	c.Get(x, y).Op(more)
	if !o.ties {
		c.Get(nan, nan).Op(wasm.F32Ne).Get(number, number).Op(wasm.F32Eq, wasm.I32And, wasm.I32Or)
		return
	}
	c.Get(x, y).Op(wasm.F32Eq, wasm.I32Or).Get(nan, nan).Op(wasm.F32Ne, wasm.I32Or)
}
