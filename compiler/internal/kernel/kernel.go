// Package kernel writes the inner loops of a compiled model as Wasm SIMD instructions. Use a kernel's
// parameters to say what it computes and its Emit to write it; never give it a tensor: it knows
// addresses, strides and counts, all in bytes or elements as stated, and nothing of graphs.
//
// A kernel is a comparable struct, so that layers with equal parameters share one function. Its
// function takes i32 addresses and returns nothing. Where the last vector of a row is not full, loads
// may touch up to 12 bytes beyond the row, which must lie within memory, and stores never do.
// Internal to the compiler; it promises no compatibility.
package kernel

import (
	"math"

	"github.com/isomer-iot/isomer/wasm"
)

// Kernel is one function of a compiled model.
type Kernel interface {
	// Name says what the function computes, for the name section and profiles.
	Name() string
	// Args is the number of i32 addresses that the function takes.
	Args() int
	// Emit writes the body.
	Emit(c *wasm.Code)
}

// New returns the code of k.
func New(k Kernel) (wasm.FuncType, *wasm.Code) {
	params := make([]wasm.ValType, k.Args())
	for i := range params {
		params[i] = wasm.I32
	}
	c := wasm.NewCode(params...)
	k.Emit(c)
	return wasm.FuncType{Params: params}, c
}

const (
	vec   = 16 // bytes of a vector
	lanes = 4  // f32 lanes of a vector
)

// times repeats body n times; a body that runs once needs no loop. It counts down, so that the count is
// the condition: wazero compiles a comparison for a branch to three instructions more.
func times(c *wasm.Code, n int, body func()) {
	switch {
	case n == 1:
		body()
	case n > 1:
		left := c.Local(wasm.I32)
		c.I32(int32(n)).Set(left)
		c.Loop(func(top wasm.Label) {
			body()
			c.Inc(left, -1).Get(left).BrIf(top)
		})
	}
}

// moving copies the addresses in ls to fresh locals for a loop that advances them.
func moving(c *wasm.Code, ls ...wasm.Local) []wasm.Local {
	out := make([]wasm.Local, len(ls))
	for i, l := range ls {
		out[i] = c.Local(wasm.I32)
		c.Get(l).Set(out[i])
	}
	return out
}

// pins writes branches that are never taken, to hold the order of what stands around them. Where code might
// leave, V8 and Cranelift must have the sums ready; otherwise they load everything first and keep it
// on the stack. A skewed product without reached 11.5 and 12.3 GMAC/s, with one for each four steps 19.2
// and 18.4. V8 then still loads the four vectors of B of a step together, which the processor (Zen 3)
// computes no faster than 18.5; with two for each four steps it is 20.2.
type pins struct {
	c    *wasm.Code
	at   wasm.Local // holds an address of the arena
	exit wasm.Label // where the sums are used
	n    int32
}

// pin writes one. Each asks for another address below the arena: V8 drops a question that it knows the
// answer to, 14.6 against 10.7 GMAC/s for a depth of 24.
func (p *pins) pin() {
	p.c.Get(p.at).I32(p.n % lowest).Op(wasm.I32Eq).BrIf(p.exit)
	p.n++
}

// lowest is at or below every address that a kernel gets.
const lowest = 64

// store writes the first n lanes of vector v to the address in at plus offset.
func store(c *wasm.Code, at, v wasm.Local, offset, n int) {
	o := uint32(offset)
	switch n {
	case 4:
		c.Get(at, v).Store(wasm.V128Store, o)
		return
	case 3:
		c.Get(at, v).StoreLane(wasm.V128Store32Lane, o+8, 2)
	}
	if n == 1 {
		c.Get(at, v).StoreLane(wasm.V128Store32Lane, o, 0)
	} else {
		c.Get(at, v).StoreLane(wasm.V128Store64Lane, o, 0)
	}
}

// splat pushes x in every lane.
func splat(c *wasm.Code, x float32) { c.F32x4(x, x, x, x) }

// splatInt pushes x in every i32 lane.
func splatInt(c *wasm.Code, x int32) { c.I32x4(x, x, x, x) }

var inf = float32(math.Inf(1))
