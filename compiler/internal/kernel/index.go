package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Indexed moves blocks of elements between a dense side and a table, at places in the table that indices
// in memory say: it gathers blocks from the table or scatters them into it. It loops over Extent; at each
// position K indices, Next bytes apart, name a place on K axes of the table, of extents Axes and byte
// strides Steps. A negative index counts from the end; one that is outside its axis traps.
//
// Arguments: dense side, table, indices. Dense, Table and Index are their byte strides over Extent.
type Indexed struct {
	Scatter             bool
	Fn                  string // what a scatter does to what is there: empty to replace, add, mul, min, max
	T                   Elem
	Wide                bool // indices are i64, else i32
	Extent              Dims
	Dense, Table, Index Dims
	K, Next             int
	Axes, Steps         Dims // of the K axes, from the first place on
	Block               int  // elements that lie together on both sides
}

// Name implements [Kernel].
func (x Indexed) Name() string {
	s := "gather"
	if x.Scatter {
		s = "scatter" + x.Fn
	}
	return fmt.Sprintf("%s_%v_%dx%d", s, x.T, product(x.Extent), x.Block)
}

// Args implements [Kernel].
func (x Indexed) Args() int { return 3 }

// Emit implements [Kernel].
func (x Indexed) Emit(c *wasm.Code) {
	at, k := c.Local(wasm.I32), c.Local(wasm.I64)
	ptrs := []wasm.Local{c.Param(0), c.Param(1), c.Param(2)}
	everywhere(c, x.Extent, []Dims{x.Dense, x.Table, x.Index}, ptrs, func(p []wasm.Local) {
		c.Get(p[1]).Set(at)
		for i := range x.K {
			c.Get(p[2])
			if x.Wide {
				c.Load(wasm.I64Load, uint32(i*x.Next))
			} else {
				c.Load(wasm.I64Load32S, uint32(i*x.Next))
			}
			c.Set(k)
			n := int64(x.Axes[i])
			c.Get(k).I64(n).Op(wasm.I64Add).Get(k, k).I64(0).Op(wasm.I64LtS).Select().Tee(k)
			c.I64(n).Op(wasm.I64GeU).If(func() { c.Unreachable() })
			c.Get(at, k).Op(wasm.I32WrapI64).I32(int32(x.Steps[i])).Op(wasm.I32Mul, wasm.I32Add).Set(at)
		}
		if x.Scatter {
			x.move(c, at, p[0])
		} else {
			x.move(c, p[0], at)
		}
	})
}

// move copies or folds one block.
func (x Indexed) move(c *wasm.Code, to, from wasm.Local) {
	size := x.T.Size()
	if x.Fn == "" && x.Block > 1 {
		c.Get(to, from).I32(int32(x.Block * size)).MemoryCopy()
		return
	}
	p := moving(c, to, from)
	e := &eacher{Each: Each{T: x.T}, c: c}
	a, b := c.Local(x.T.val()), c.Local(x.T.val())
	times(c, x.Block, func() {
		c.Get(p[0])
		if x.Fn == "" {
			x.T.load(c, p[1])
		} else {
			x.T.load(c, p[0])
			c.Set(a)
			x.T.load(c, p[1])
			c.Set(b)
			e.fold(x.Fn, a, b)
		}
		c.Store(elems[x.T].store, 0)
		c.Inc(p[0], int32(size)).Inc(p[1], int32(size))
	})
}

// fold pushes the sum, product or extreme of two elements; of floats NaN wins.
func (e *eacher) fold(fn string, a, b wasm.Local) {
	if op, ok := map[string]wasm.Op{"min": wasm.F32Min, "max": wasm.F32Max}[fn]; ok && e.T == F32 {
		e.c.Get(a, b).Op(op)
		return
	}
	eachFns[fn].emit(e, []wasm.Local{a, b})
}

// TopK writes the K greatest or smallest of N elements in order, and where they stood, as i64, for each
// position of Rows. The result is a list that each element is sorted into: quick for few of many.
//
// Arguments: values, places, in. Out, Places and In are the byte strides over Rows, the steps those along
// the axis.
type TopK struct {
	T                          Elem
	Smallest                   bool
	N, K                       int
	Rows                       Dims
	Out, Places, In            Dims
	OutStep, PlaceStep, InStep int
}

// Name implements [Kernel].
func (k TopK) Name() string { return fmt.Sprintf("top%d_%v_%dx%d", k.K, k.T, product(k.Rows), k.N) }

// Args implements [Kernel].
func (k TopK) Args() int { return 3 }

// Emit implements [Kernel].
func (k TopK) Emit(c *wasm.Code) {
	t := k.T
	x, y := c.Local(t.val()), c.Local(t.val())
	i, n := c.Local(wasm.I32), c.Local(wasm.I32)
	ptrs := []wasm.Local{c.Param(0), c.Param(1), c.Param(2)}
	everywhere(c, k.Rows, []Dims{k.Out, k.Places, k.In}, ptrs, func(p []wasm.Local) {
		src := moving(c, p[2])[0]
		v, w := c.Local(wasm.I32), c.Local(wasm.I32) // where the list ends
		c.Range(i, 0, int32(k.N), 1, func() {
			t.load(c, src)
			c.Set(x)
			c.Get(i).I32(int32(k.K)).Get(i).I32(int32(k.K)).Op(wasm.I32LtS).Select().Set(n)
			c.Get(p[0], n).I32(int32(k.OutStep)).Op(wasm.I32Mul, wasm.I32Add).Set(v)
			c.Get(p[1], n).I32(int32(k.PlaceStep)).Op(wasm.I32Mul, wasm.I32Add).Set(w)
			place := func() {
				c.Get(v, x).Store(elems[t].store, 0)
				c.Get(w, i).Op(wasm.I64ExtendI32U).Store(wasm.I64Store, 0)
			}
			// Elements that x comes before move one down; the last one of a full list falls off.
			c.Block(func(out wasm.Label) {
				c.Loop(func(top wasm.Label) {
					c.Get(n).Op(wasm.I32Eqz).BrIf(out)
					c.Get(v).I32(int32(k.OutStep)).Op(wasm.I32Sub).Set(v)
					t.load(c, v)
					c.Set(y)
					beats(c, t, order{rising: k.Smallest, nanLast: k.Smallest}, x, y)
					c.Op(wasm.I32Eqz).If(func() {
						c.Inc(v, int32(k.OutStep)).Br(out)
					})
					c.Get(w).I32(int32(k.PlaceStep)).Op(wasm.I32Sub).Set(w)
					c.Get(n).I32(int32(k.K)).Op(wasm.I32LtS).If(func() {
						c.Get(v, y).Store(elems[t].store, uint32(k.OutStep))
						c.Get(w).Get(w).Load(wasm.I64Load, 0).Store(wasm.I64Store, uint32(k.PlaceStep))
					})
					c.Get(n).I32(1).Op(wasm.I32Sub).Set(n).Br(top)
				})
			})
			c.Get(n).I32(int32(k.K)).Op(wasm.I32LtS).If(place)
			c.Inc(src, int32(k.InStep))
		})
	})
}

// Cumulate writes running sums or products of N elements for each position of Rows.
//
// Arguments: out, in. Out and In are the byte strides over Rows, the steps those along the axis, negative
// if it goes from the end; then the addresses are those of the last element.
type Cumulate struct {
	Fn              string // add, mul
	T               Elem
	Exclusive       bool // without the element itself
	N               int
	Rows            Dims
	Out, In         Dims
	OutStep, InStep int
}

// Name implements [Kernel].
func (k Cumulate) Name() string {
	return fmt.Sprintf("cumulate%s_%v_%dx%d", k.Fn, k.T, product(k.Rows), k.N)
}

// Args implements [Kernel].
func (k Cumulate) Args() int { return 2 }

// Emit implements [Kernel].
func (k Cumulate) Emit(c *wasm.Code) {
	t := k.T
	acc := c.Local(t.val())
	op := t.add()
	if k.Fn == "mul" {
		op = t.mul()
	}
	everywhere(c, k.Rows, []Dims{k.Out, k.In}, []wasm.Local{c.Param(0), c.Param(1)}, func(p []wasm.Local) {
		q := moving(c, p...)
		t.number(c, map[string]int64{"mul": 1}[k.Fn])
		c.Set(acc)
		times(c, k.N, func() {
			put := func() { c.Get(q[0], acc).Store(elems[t].store, 0) }
			if k.Exclusive {
				put()
			}
			c.Get(acc)
			t.load(c, q[1])
			c.Op(op).Set(acc)
			if !k.Exclusive {
				put()
			}
			c.Inc(q[0], int32(k.OutStep)).Inc(q[1], int32(k.InStep))
		})
	})
}
