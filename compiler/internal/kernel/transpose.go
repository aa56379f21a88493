package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Transpose copies a block of rows whose elements lie together into columns that do: out[i][j] =
// in[j][i], with In rows of I elements and Out rows of J. It turns pictures between channels first
// and channels last, in squares of 4×4 that pass through registers. Around it run the axes of Outer.
//
// Arguments: out, in.
type Transpose struct {
	Outer         Dims
	OutStep       Dims // bytes between neighbours on the axes of Outer
	InStep        Dims
	I, J          int
	OutRow, InRow int // bytes between rows
}

// Name implements [Kernel].
func (t Transpose) Name() string {
	return fmt.Sprintf("transpose_%dx%dx%d", product(t.Outer), t.J, t.I)
}

// Args implements [Kernel].
func (t Transpose) Args() int { return 2 }

// Emit implements [Kernel].
func (t Transpose) Emit(c *wasm.Code) {
	e := &transposer{Transpose: t, c: c, v: c.Locals(wasm.V128, lanes), w: c.Locals(wasm.V128, lanes)}
	e.axis(0, c.Param(0), c.Param(1))
}

type transposer struct {
	Transpose
	c    *wasm.Code
	v, w []wasm.Local
}

func (e *transposer) axis(n int, out, in wasm.Local) {
	if n == MaxDims {
		e.block(out, in)
		return
	}
	if e.Outer[n] == 1 {
		e.axis(n+1, out, in)
		return
	}
	p := moving(e.c, out, in)
	times(e.c, e.Outer[n], func() {
		e.axis(n+1, p[0], p[1])
		e.c.Inc(p[0], int32(e.OutStep[n])).Inc(p[1], int32(e.InStep[n]))
	})
}

// block copies all I×J elements, four input rows at a time.
func (e *transposer) block(out, in wasm.Local) {
	c := e.c
	p := moving(c, out, in)
	columns := func(n int) {
		q := moving(c, p...)
		times(c, e.I/lanes, func() {
			e.square(q[0], q[1], lanes, n)
			c.Inc(q[0], int32(lanes*e.OutRow)).Inc(q[1], vec)
		})
		if r := e.I % lanes; r > 0 {
			e.square(q[0], q[1], r, n)
		}
	}
	times(c, e.J/lanes, func() {
		columns(lanes)
		c.Inc(p[0], vec).Inc(p[1], int32(lanes*e.InRow))
	})
	if r := e.J % lanes; r > 0 {
		columns(r)
	}
}

// square transposes rows×cols elements: cols input rows become rows output rows.
func (e *transposer) square(out, in wasm.Local, rows, cols int) {
	c := e.c
	for j := cols - 1; j >= 0; j-- {
		c.Get(in).Load(wasm.V128Load, uint32(j*e.InRow)).Set(e.v[j])
	}
	// Pairs of rows are woven, then pairs of pairs.
	weave := func(a, b, to wasm.Local, lanesOf [4]byte) {
		var s [16]byte
		for i, l := range lanesOf {
			for k := range byte(4) {
				s[4*i+int(k)] = 4*l + k
			}
		}
		c.Get(a, b).Shuffle(s).Set(to)
	}
	v, w := e.v, e.w
	weave(v[0], v[1], w[0], [4]byte{0, 4, 1, 5})
	weave(v[2], v[3], w[1], [4]byte{0, 4, 1, 5})
	weave(v[0], v[1], w[2], [4]byte{2, 6, 3, 7})
	weave(v[2], v[3], w[3], [4]byte{2, 6, 3, 7})
	for r := range rows {
		half := []byte{0, 1, 4, 5}
		if r%2 == 1 {
			half = []byte{2, 3, 6, 7}
		}
		weave(w[r/2*2], w[r/2*2+1], v[r], [4]byte(half))
		store(c, out, v[r], r*e.OutRow, cols)
	}
}
