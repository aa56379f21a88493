package emit

import (
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// allocator writes cabi_realloc over a heap that only grows and is emptied when a call ends: a module
// takes one argument at a time, so nothing outlives the call that it was allocated for.
func (w *writer) allocator(base int32) {
	m := w.module
	start, heap := w.heapGlobals()
	m.Globals[start].Init, m.Globals[heap].Init = wasm.ConstI32(base), wasm.ConstI32(base)

	c := wasm.NewCode(i32s(4)...)
	old, oldLen, align, size := c.Param(0), c.Param(1), c.Param(2), c.Param(3)
	at := c.Local(wasm.I32)
	c.Get(size).Op(wasm.I32Eqz).If(func() { c.Get(align).Return() })
	// at = (heap + align-1) & -align
	c.GlobalGet(heap).Get(align).Op(wasm.I32Add).I32(1).Op(wasm.I32Sub).I32(0).Get(align).Op(wasm.I32Sub, wasm.I32And).Set(at)
	w.grow(c, at, size)
	c.Get(at, size).Op(wasm.I32Add).GlobalSet(heap)
	c.Get(old).If(func() {
		c.Get(at, old).Get(oldLen, size, oldLen, size).Op(wasm.I32LtU).Select().MemoryCopy()
	})
	c.Get(at)
	f := m.AddFunc(abi.ExportRealloc, wasm.FuncType{Params: i32s(4), Results: i32s(1)}, c)
	m.Export(abi.ExportRealloc, wasm.KindFunc, f)
}

// heapGlobals are the address where the heap begins, known once the constants are complete, and the
// next free one.
func (w *writer) heapGlobals() (base, next uint32) {
	if !w.hasHeap {
		w.hasHeap = true
		w.heap = w.module.AddGlobal(wasm.I32, false, wasm.ConstI32(0))
		w.module.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	}
	return w.heap, w.heap + 1
}

// grow makes memory reach one vector beyond at+size, or traps.
func (w *writer) grow(c *wasm.Code, at, size wasm.Local) {
	end := c.Local(wasm.I64)
	c.Get(at).Op(wasm.I64ExtendI32U).Get(size).Op(wasm.I64ExtendI32U, wasm.I64Add).I64(32).Op(wasm.I64Add).Set(end)
	have := func() { c.MemorySize().Op(wasm.I64ExtendI32U).I64(16).Op(wasm.I64Shl) }
	c.Get(end)
	have()
	c.Op(wasm.I64GtU).If(func() {
		c.Get(end)
		have()
		c.Op(wasm.I64Sub).I64(abi.PageSize-1).Op(wasm.I64Add).I64(16).Op(wasm.I64ShrU, wasm.I32WrapI64)
		c.MemoryGrow().I32(-1).Op(wasm.I32Eq).If(func() { c.Unreachable() })
	})
}
