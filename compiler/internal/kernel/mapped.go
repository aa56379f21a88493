package kernel

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// MaxDims is the most axes that a [Map] or a [Reduce] loops over, once neighbours that lie together
// are merged.
const MaxDims = 6

// Dims are extents or byte strides, outermost first, unused leading places 1 or 0.
type Dims [MaxDims]int

// Map computes out[i] = Act(Fn(a[i], b[i])) over up to MaxDims axes, each operand with its own
// strides; a stride of 0 repeats it. With neither it copies, which makes it the kernel of transposes,
// slices, pads and concatenations too.
//
// Arguments: out, a, and b if Fn is set.
type Map struct {
	Extent Dims
	Out    Dims // byte strides
	A, B   Dims // byte strides
	Fn     string
	Act    Act
}

var mapFns = map[string]wasm.Op{
	"add": wasm.F32x4Add, "sub": wasm.F32x4Sub, "mul": wasm.F32x4Mul, "div": wasm.F32x4Div,
	"min": wasm.F32x4Min, "max": wasm.F32x4Max,
}

// Name implements [Kernel].
func (m Map) Name() string {
	s := "copy"
	if m.Fn != "" {
		s = m.Fn
	} else if m.Act.Fn != "" {
		s = "map"
	}
	n := 1
	for _, d := range m.Extent {
		n *= d
	}
	return fmt.Sprintf("%s_%d%s", s, n, m.Act.name())
}

// Args implements [Kernel].
func (m Map) Args() int {
	if m.Fn != "" {
		return 3
	}
	return 2
}

// Emit implements [Kernel].
func (m Map) Emit(c *wasm.Code) {
	e := mapper{Map: m, c: c, fn: fn{c: c}, x: c.Local(wasm.V128)}
	ptrs := []wasm.Local{c.Param(0), c.Param(1)}
	if m.Fn != "" {
		ptrs = append(ptrs, c.Param(2))
	}
	e.axis(0, ptrs)
}

type mapper struct {
	Map
	c  *wasm.Code
	fn fn
	x  wasm.Local
}

func (e *mapper) strides(axis int) []int { return []int{e.Out[axis], e.A[axis], e.B[axis]} }

func (e *mapper) axis(i int, ptrs []wasm.Local) {
	if i == MaxDims-1 {
		e.inner(ptrs)
		return
	}
	if e.Extent[i] == 1 {
		e.axis(i+1, ptrs)
		return
	}
	p := moving(e.c, ptrs...)
	times(e.c, e.Extent[i], func() {
		e.axis(i+1, p)
		for k, l := range p {
			e.c.Inc(l, int32(e.strides(i)[k]))
		}
	})
}

// inner computes the last axis: by vectors if the output is dense and each operand dense or repeated,
// else element by element.
func (e *mapper) inner(ptrs []wasm.Local) {
	c, n, st := e.c, e.Extent[MaxDims-1], e.strides(MaxDims - 1)[:len(ptrs)]
	wide := st[0] == 4
	for _, s := range st[1:] {
		wide = wide && (s == 4 || s == 0)
	}
	p := moving(c, ptrs...)
	if !wide {
		times(c, n, func() {
			e.element(p, 1, false)
			for k, l := range p {
				c.Inc(l, int32(st[k]))
			}
		})
		return
	}
	times(c, n/lanes, func() {
		e.element(p, lanes, true)
		for k, l := range p {
			c.Inc(l, int32(lanes*st[k]))
		}
	})
	if r := n % lanes; r > 0 {
		e.element(p, r, true)
	}
}

// element computes n lanes at the addresses in p.
func (e *mapper) element(p []wasm.Local, n int, wide bool) {
	c, st := e.c, e.strides(MaxDims-1)
	for k := 1; k < len(p); k++ {
		if wide && st[k] == 4 {
			c.Get(p[k]).Load(wasm.V128Load, 0)
		} else {
			c.Get(p[k]).Load(wasm.V128Load32Splat, 0)
		}
	}
	if e.Fn != "" {
		c.Op(mapFns[e.Fn])
	}
	c.Set(e.x)
	e.fn.apply(e.Act, e.x)
	store(c, p[0], e.x, 0, n)
}

// Fill writes one value to every element of a strided block, such as the padding around a picture.
//
// Argument: out.
type Fill struct {
	Extent Dims
	Out    Dims // byte strides
	Value  float32
}

// Name implements [Kernel].
func (f Fill) Name() string {
	n := 1
	for _, d := range f.Extent {
		n *= d
	}
	return fmt.Sprintf("fill_%d", n)
}

// Args implements [Kernel].
func (f Fill) Args() int { return 1 }

// Emit implements [Kernel].
func (f Fill) Emit(c *wasm.Code) {
	x := c.Local(wasm.V128)
	splat(c, f.Value)
	c.Set(x)
	var axis func(i int, p wasm.Local)
	axis = func(i int, p wasm.Local) {
		q := moving(c, p)[0]
		if i < MaxDims-1 {
			times(c, f.Extent[i], func() {
				axis(i+1, q)
				c.Inc(q, int32(f.Out[i]))
			})
			return
		}
		n, step := f.Extent[i], f.Out[i]
		if step != 4 {
			times(c, n, func() {
				store(c, q, x, 0, 1)
				c.Inc(q, int32(step))
			})
			return
		}
		times(c, n/lanes, func() {
			store(c, q, x, 0, lanes)
			c.Inc(q, vec)
		})
		if r := n % lanes; r > 0 {
			store(c, q, x, 0, r)
		}
	}
	axis(0, c.Param(0))
}
