package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// TreeNode is the number of bytes of a node in the table of [Trees]: value f32, code i32, step i32. A
// test that holds leads to the next node, one that does not to the one that is step bytes further.
// Code is the byte offset of the feature in its row; with mixed tests that is multiplied by 16, and the
// low bits are the outcomes for which the test holds. A leaf has ^(4·target) as code, its weight as
// value and the number of weights that follow each other as step.
const TreeNode = 12

// Trees walks decision trees for each row of features.
//
// Arguments: out (rows of targets), x, nodes, roots (byte offsets into nodes), base (a value for each
// target).
type Trees struct {
	Rows, Features, Targets, Roots int

	Aggregate string // sum, avg, min, max
	Outcomes  int    // those of every test; 0: each has its own
	Single    bool   // each leaf has one weight
}

// The outcomes of a comparison, as bits.
const (
	treeLess = 1 << iota
	treeEqual
	treeGreater
	treeNaN
)

// Name implements [Kernel].
func (t Trees) Name() string { return fmt.Sprintf("trees_%dx%d", t.Roots, t.Targets) }

// Args implements [Kernel].
func (t Trees) Args() int { return 5 }

type trees struct {
	Trees
	c                  *wasm.Code
	out, x             wasm.Local
	n, code, at, count wasm.Local
	v, w, acc          wasm.Local
}

// Emit implements [Kernel].
func (t Trees) Emit(c *wasm.Code) {
	e := &trees{Trees: t, c: c, out: c.Param(0), x: c.Param(1)}
	nodes, roots, base := c.Param(2), c.Param(3), c.Param(4)
	e.n, e.code, e.at, e.count = c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
	e.v, e.w, e.acc = c.Local(wasm.F32), c.Local(wasm.F32), c.Local(wasm.F32)
	times(c, t.Rows, func() {
		start := map[string]float32{"min": inf, "max": -inf}[t.Aggregate]
		if t.Targets == 1 {
			c.F32(start).Set(e.acc)
		} else {
			e.targets(func(at wasm.Local) { c.Get(at).F32(start).Store(wasm.F32Store, 0) })
		}
		root := moving(c, roots)[0]
		times(c, t.Roots, func() {
			c.Get(nodes, root).Load(wasm.I32Load, 0).Op(wasm.I32Add).Set(e.n)
			e.walk()
			e.leaf()
			c.Inc(root, 4)
		})
		b := moving(c, base)[0]
		if t.Targets == 1 {
			c.Get(e.out)
			e.finish(b, func() { c.Get(e.acc) })
			c.Store(wasm.F32Store, 0)
		} else {
			e.targets(func(at wasm.Local) {
				c.Get(at)
				e.finish(b, func() { c.Get(at).Load(wasm.F32Load, 0) })
				c.Store(wasm.F32Store, 0).Inc(b, 4)
			})
		}
		c.Inc(e.out, int32(4*t.Targets)).Inc(e.x, int32(4*t.Features))
	})
}

// targets runs body for the address of each score of the row.
func (e *trees) targets(body func(at wasm.Local)) {
	p := moving(e.c, e.out)[0]
	times(e.c, e.Targets, func() {
		body(p)
		e.c.Inc(p, 4)
	})
}

// walk goes down from node n until code is that of a leaf.
func (e *trees) walk() {
	c := e.c
	c.Block(func(leaf wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(e.n).Load(wasm.I32Load, 4).Tee(e.code).I32(0).Op(wasm.I32LtS).BrIf(leaf)
			// Which way is a matter of chance for the processor: a select, no branch.
			c.Get(e.n).I32(TreeNode).Get(e.n).Load(wasm.I32Load, 8)
			e.holds()
			c.Select().Op(wasm.I32Add).Set(e.n).Br(top)
		})
	})
}

// holds pushes whether the test of node n holds.
func (e *trees) holds() {
	c := e.c
	if e.Outcomes == 0 {
		c.Get(e.x, e.code).I32(4).Op(wasm.I32ShrU, wasm.I32Add).Load(wasm.F32Load, 0).Set(e.v)
		c.Get(e.n).Load(wasm.F32Load, 0).Set(e.w)
		c.Get(e.v, e.w).Op(wasm.F32Lt)
		c.Get(e.v, e.w).Op(wasm.F32Eq).I32(1).Op(wasm.I32Shl, wasm.I32Or)
		c.Get(e.v, e.w).Op(wasm.F32Gt).I32(2).Op(wasm.I32Shl, wasm.I32Or)
		c.Tee(e.count).Get(e.count).Op(wasm.I32Eqz).I32(3).Op(wasm.I32Shl, wasm.I32Or)
		c.Get(e.code).Op(wasm.I32And)
		return
	}
	c.Get(e.x, e.code).Op(wasm.I32Add).Load(wasm.F32Load, 0)
	c.Get(e.n).Load(wasm.F32Load, 0)
	compare := map[int]wasm.Op{
		treeLess: wasm.F32Lt, treeLess | treeEqual: wasm.F32Le, treeEqual: wasm.F32Eq, treeGreater: wasm.F32Gt,
		treeGreater | treeEqual: wasm.F32Ge, treeLess | treeGreater | treeNaN: wasm.F32Ne,
	}
	if op, ok := compare[e.Outcomes]; ok {
		c.Op(op)
		return
	}
	c.Op(compare[^e.Outcomes&(treeNaN<<1-1)], wasm.I32Eqz)
}

// UniformTest reports whether a kernel can have outcomes as those of all its tests.
func UniformTest(outcomes int) bool {
	switch outcomes {
	case treeLess, treeLess | treeEqual, treeGreater, treeGreater | treeEqual, treeEqual, treeLess | treeGreater | treeNaN,
		treeNaN | treeLess, treeNaN | treeLess | treeEqual, treeNaN | treeGreater, treeNaN | treeGreater | treeEqual:
		return true
	}
	return false
}

// leaf joins the weights of leaf n to the scores.
func (e *trees) leaf() {
	c := e.c
	fold := map[string]wasm.Op{"min": wasm.F32Min, "max": wasm.F32Max, "sum": wasm.F32Add, "avg": wasm.F32Add}[e.Aggregate]
	weight := func() {
		if e.Targets == 1 {
			c.Get(e.acc, e.n).Load(wasm.F32Load, 0).Op(fold).Set(e.acc)
			return
		}
		c.Get(e.out).I32(-1).Get(e.n).Load(wasm.I32Load, 4).Op(wasm.I32Xor, wasm.I32Add).Tee(e.at)
		c.Get(e.at).Load(wasm.F32Load, 0).Get(e.n).Load(wasm.F32Load, 0).Op(fold).Store(wasm.F32Store, 0)
	}
	if e.Single {
		weight()
		return
	}
	c.Get(e.n).Load(wasm.I32Load, 8).Tee(e.count).If(func() {
		c.Loop(func(top wasm.Label) {
			weight()
			c.Inc(e.n, TreeNode)
			c.Get(e.count).I32(1).Op(wasm.I32Sub).Tee(e.count).BrIf(top)
		})
	})
}

// finish pushes the score that push leaves, as it goes out: divided, 0 where no leaf spoke, with base.
func (e *trees) finish(base wasm.Local, push func()) {
	c := e.c
	switch e.Aggregate {
	case "avg":
		push()
		c.F32(float32(e.Roots)).Op(wasm.F32Div)
	case "min", "max":
		start := map[string]float32{"min": inf, "max": -inf}[e.Aggregate]
		push()
		c.F32(0)
		push()
		c.F32(start).Op(wasm.F32Ne).Select()
	default:
		push()
	}
	c.Get(base).Load(wasm.F32Load, 0).Op(wasm.F32Add)
}

// Classify writes an i64 for each row of scores: the place of the first of the highest, or with one
// score whether it is above a bound; looked up in a table of i64 if there is one.
//
// Arguments: out, x, table if Table.
type Classify struct {
	Rows, N int
	Above   float32
	Table   bool
}

// Name implements [Kernel].
func (k Classify) Name() string { return fmt.Sprintf("classify_%dx%d", k.Rows, k.N) }

// Args implements [Kernel].
func (k Classify) Args() int {
	if k.Table {
		return 3
	}
	return 2
}

// Emit implements [Kernel].
func (k Classify) Emit(c *wasm.Code) {
	out, x, best, i := c.Param(0), c.Param(1), c.Local(wasm.I32), c.Local(wasm.I32)
	top, v := c.Local(wasm.F32), c.Local(wasm.F32)
	times(c, k.Rows, func() {
		if k.N == 1 {
			c.Get(x).Load(wasm.F32Load, 0).F32(k.Above).Op(wasm.F32Gt).Set(best)
		} else {
			c.I32(0).Set(best).Get(x).Load(wasm.F32Load, 0).Set(top)
			p := moving(c, x)[0]
			c.Range(i, 1, int32(k.N), 1, func() {
				c.Inc(p, 4).Get(p).Load(wasm.F32Load, 0).Tee(v).Get(top).Op(wasm.F32Gt)
				c.If(func() { c.Get(v).Set(top).Get(i).Set(best) })
			})
		}
		c.Get(out)
		if k.Table {
			c.Get(c.Param(2)).Get(best).I32(3).Op(wasm.I32Shl, wasm.I32Add).Load(wasm.I64Load, 0)
		} else {
			c.Get(best).Op(wasm.I64ExtendI32U)
		}
		c.Store(wasm.I64Store, 0)
		c.Inc(out, 8).Inc(x, int32(4*k.N))
	})
}
