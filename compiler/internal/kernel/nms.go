package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// NonMaxSuppression selects boxes of each class of each picture, the best first, that share no more than
// IoU of their area with a better one. It writes rows of picture, class and box as i64, and fills what
// it does not need with -1.
//
// Arguments: out, boxes, scores, a byte of scratch for each box.
type NonMaxSuppression struct {
	Pictures, Classes, N, Most int
	IoU, Score                 float32
	Center                     bool
}

// Name implements [Kernel].
func (k NonMaxSuppression) Name() string {
	return fmt.Sprintf("nms_%dx%dx%d", k.Pictures, k.Classes, k.N)
}

// Args implements [Kernel].
func (k NonMaxSuppression) Args() int { return 4 }

type nms struct {
	NonMaxSuppression
	c                          *wasm.Code
	out, boxes, scores, gone   wasm.Local
	picture, class, best, i, p wasm.Local
	top, shared                wasm.Local
	a, b                       []wasm.Local // y0, x0, y1, x1
}

// Emit implements [Kernel].
func (k NonMaxSuppression) Emit(c *wasm.Code) {
	e := &nms{NonMaxSuppression: k, c: c, out: c.Param(0), boxes: c.Param(1), scores: c.Param(2), gone: c.Param(3)}
	e.picture, e.class, e.best, e.i, e.p = c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32)
	e.top, e.shared = c.Local(wasm.F32), c.Local(wasm.F32)
	e.a, e.b = c.Locals(wasm.F32, 4), c.Locals(wasm.F32, 4)
	c.Get(e.out).I32(0xff).I32(int32(k.Pictures * k.Classes * k.Most * 24)).MemoryFill()
	c.Range(e.picture, 0, int32(k.Pictures), 1, func() {
		c.Range(e.class, 0, int32(k.Classes), 1, func() {
			c.Get(e.gone).I32(0).I32(int32(k.N)).MemoryFill()
			c.Block(func(done wasm.Label) {
				times(c, k.Most, func() {
					e.pick()
					c.Get(e.best).I32(0).Op(wasm.I32LtS).BrIf(done)
					for i, l := range []wasm.Local{e.picture, e.class, e.best} {
						c.Get(e.out, l).Op(wasm.I64ExtendI32U).Store(wasm.I64Store, uint32(8*i))
					}
					c.Inc(e.out, 24)
					e.suppress()
				})
			})
			c.Inc(e.scores, int32(4*k.N))
		})
		c.Inc(e.boxes, int32(16*k.N))
	})
}

// pick sets best to the box with the highest score that is still there, the first among equals, or -1.
func (e *nms) pick() {
	c := e.c
	c.I32(-1).Set(e.best).F32(e.Score).Set(e.top)
	c.Range(e.i, 0, int32(e.N), 1, func() {
		c.Get(e.scores, e.i).I32(2).Op(wasm.I32Shl, wasm.I32Add).Load(wasm.F32Load, 0).Get(e.top).Op(wasm.F32Gt)
		c.Get(e.gone, e.i).Op(wasm.I32Add).Load(wasm.I32Load8U, 0).Op(wasm.I32Eqz, wasm.I32And)
		c.If(func() {
			c.Get(e.i).Set(e.best)
			c.Get(e.scores, e.i).I32(2).Op(wasm.I32Shl, wasm.I32Add).Load(wasm.F32Load, 0).Set(e.top)
		})
	})
}

// suppress marks best and every box that it covers.
func (e *nms) suppress() {
	c := e.c
	c.Get(e.gone, e.best).Op(wasm.I32Add).I32(1).Store(wasm.I32Store8, 0)
	e.corners(e.best, e.a)
	c.Range(e.i, 0, int32(e.N), 1, func() {
		e.corners(e.i, e.b)
		side := func(lo, hi int) {
			c.Get(e.a[hi], e.b[hi]).Op(wasm.F32Min).Get(e.a[lo], e.b[lo]).Op(wasm.F32Max, wasm.F32Sub).F32(0).Op(wasm.F32Max)
		}
		side(0, 2)
		side(1, 3)
		c.Op(wasm.F32Mul).Tee(e.shared)
		c.F32(e.IoU)
		for i, box := range [][]wasm.Local{e.a, e.b} {
			c.Get(box[2], box[0]).Op(wasm.F32Sub).Get(box[3], box[1]).Op(wasm.F32Sub, wasm.F32Mul)
			if i == 1 {
				c.Op(wasm.F32Add)
			}
		}
		c.Get(e.shared).Op(wasm.F32Sub, wasm.F32Mul, wasm.F32Gt)
		c.If(func() { c.Get(e.gone, e.i).Op(wasm.I32Add).I32(1).Store(wasm.I32Store8, 0) })
	})
}

// corners loads box i into y0, x0, y1, x1.
func (e *nms) corners(i wasm.Local, to []wasm.Local) {
	c := e.c
	c.Get(e.boxes, i).I32(4).Op(wasm.I32Shl, wasm.I32Add).Set(e.p)
	at := func(k int) { c.Get(e.p).Load(wasm.F32Load, uint32(4*k)) }
	for axis := range 2 {
		for end := range 2 {
			l := to[2*end+axis]
			if e.Center { // y is the second of the centre, and the fourth value its extent
				at(1 - axis)
				at(3 - axis)
				c.F32(0.5).Op(wasm.F32Mul, []wasm.Op{wasm.F32Sub, wasm.F32Add}[end])
			} else {
				at(axis)
				at(2 + axis)
				c.Op([]wasm.Op{wasm.F32Min, wasm.F32Max}[end])
			}
			c.Set(l)
		}
	}
}
