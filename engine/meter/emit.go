package meter

import (
	"encoding/binary"
	"slices"

	"github.com/isomer-iot/isomer/wasm"
)

// head follows the first instruction of a loop, which stands in w.out already.
//
//	loop $pay                 loop
//	  if left < 0: pay
//	  loop                      left -= cost
//	    left -= cost            if left < 0: pay
//	    if left < 0: br $pay
//	    …                       …
//	  end
//	end                       end
//
// What is left is a local variable in a small loop, the global one in others.
func (w *writer) head(loop []byte, split bool, credit, cost uint32) {
	if cost >= large {
		if split {
			w.lookOut(cost) // the turn pays again: a batch may be less than its cost
			w.out = append(w.out, loop...)
		}
		w.take(cost)
		if !split {
			w.lookOut(0)
			return
		}
		w.negative()
		w.index(wasm.BrIf, 1)
		return
	}
	if split {
		w.index(wasm.LocalGet, credit)
		w.pay(credit)
		w.out = append(w.out, loop...)
	}
	w.index(wasm.LocalGet, credit)
	w.i32(int64(cost))
	w.op(wasm.I32Sub)
	w.index(wasm.LocalTee, credit)
	if !split {
		w.pay(credit)
		return
	}
	w.i32(0)
	w.op(wasm.I32LtS)
	w.index(wasm.BrIf, 1)
}

// pay buys credit if what is on the stack is negative. A chunk is more than a small loop's debt and next
// turn together.
func (w *writer) pay(credit uint32) {
	w.i32(0)
	w.op(wasm.I32LtS, wasm.If)
	w.out = append(w.out, empty)
	w.i32(Chunk)
	w.index(wasm.Call, w.settle)
	w.index(wasm.LocalGet, credit)
	w.i32(Chunk)
	w.op(wasm.I32Add)
	w.index(wasm.LocalSet, credit)
	w.op(wasm.End)
}

// take subtracts a constant cost.
func (w *writer) take(cost uint32) {
	w.index(wasm.GlobalGet, w.globals)
	w.op(wasm.I64Const)
	w.out = appendSigned(w.out, int64(cost))
	w.op(wasm.I64Sub)
	w.index(wasm.GlobalSet, w.globals)
}

// negative leaves whether the batch is used up.
func (w *writer) negative() {
	w.index(wasm.GlobalGet, w.globals)
	w.op(wasm.I64Const)
	w.out = append(w.out, 0)
	w.op(wasm.I64LtS)
}

// lookOut asks for the next batch when the last one is used up, and adds to it.
func (w *writer) lookOut(more uint32) {
	w.negative()
	w.op(wasm.If)
	w.out = append(w.out, empty)
	w.index(wasm.Call, w.refill)
	if more > 0 {
		w.op(wasm.I64Const)
		w.out = appendSigned(w.out, int64(more))
		w.op(wasm.I64Add)
	}
	w.index(wasm.GlobalSet, w.globals)
	w.op(wasm.End)
}

// own adds what the payments use.
func (w *writer) own() {
	m, i32 := w.m, wasm.I32
	m.Globals = append(m.Globals, wasm.Global{GlobalType: wasm.GlobalType{Type: wasm.I64, Mutable: true}, Init: wasm.ConstI64(0)})

	// settle (amount i32)
	w.out = w.out[:0]
	w.index(wasm.GlobalGet, w.globals)
	w.index(wasm.LocalGet, 0)
	w.op(wasm.I64ExtendI32U, wasm.I64Sub)
	w.index(wasm.GlobalSet, w.globals)
	w.lookOut(0)
	w.op(wasm.End)
	w.add(wasm.FuncType{Params: []wasm.ValType{i32}})

	// range (n i32, scale i32) -> n
	w.out = w.out[:0]
	w.index(wasm.GlobalGet, w.globals)
	w.index(wasm.LocalGet, 0)
	w.op(wasm.I64ExtendI32U)
	w.index(wasm.LocalGet, 1)
	w.op(wasm.I64ExtendI32U, wasm.I64Mul, wasm.I64Const)
	w.out = append(w.out, 4)
	w.op(wasm.I64ShrU, wasm.I64Sub)
	w.index(wasm.GlobalSet, w.globals)
	w.lookOut(0)
	w.index(wasm.LocalGet, 0)
	w.op(wasm.End)
	w.add(wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}})
}

func (w *writer) add(t wasm.FuncType) {
	w.m.Funcs = append(w.m.Funcs, wasm.Func{Type: w.m.AddType(t), Body: slices.Clone(w.out)})
}

// imports adds the import behind the others.
func (w *writer) imports() {
	t := w.m.AddType(wasm.FuncType{Results: []wasm.ValType{wasm.I64}})
	w.m.Imports = append(w.m.Imports, wasm.Import{Module: Module, Name: Refill, Kind: wasm.KindFunc, Type: t})
}

// renumber follows the functions to their new indices everywhere but in bodies.
func (w *writer) renumber() {
	m := w.m
	for i := range m.Exports {
		if e := &m.Exports[i]; e.Kind == wasm.KindFunc {
			e.Index = w.moved(e.Index)
		}
	}
	if m.Start != nil {
		at := w.moved(*m.Start)
		m.Start = &at
	}
	for i := range m.Globals {
		m.Globals[i].Init = w.constant(m.Globals[i].Init)
	}
	for i := range m.Elems {
		e := &m.Elems[i]
		for k := range e.Funcs {
			e.Funcs[k] = w.moved(e.Funcs[k])
		}
		for k := range e.Exprs {
			e.Exprs[k] = w.constant(e.Exprs[k])
		}
	}
	m.Customs = nil
	if n := m.Names; n != nil {
		m.Names = &wasm.Names{Module: n.Module, Funcs: slices.Clone(n.Funcs)}
		for i := range m.Names.Funcs {
			m.Names.Funcs[i].Index = w.moved(m.Names.Funcs[i].Index)
		}
		own := w.funcs // names of functions that are not there would stand before
		m.Names.Funcs = slices.DeleteFunc(m.Names.Funcs, func(n wasm.Name) bool { return n.Index > own })
	}
}

// constant is a constant expression with its functions moved.
func (w *writer) constant(x wasm.ConstExpr) wasm.ConstExpr {
	w.out = w.out[:0]
	copied, found := 0, false
	var last wasm.Instr
	for in := range wasm.Instructions(x) {
		if last.Op == wasm.RefFunc {
			copied = in.Offset
		}
		if in.Op == wasm.RefFunc {
			w.out = append(w.out, x[copied:in.Offset]...)
			w.index(in.Op, w.moved(in.Index))
			found = true
		}
		last = in
	}
	if !found {
		return x
	}
	return append(slices.Clone(w.out), x[copied:]...)
}

// empty is the type of a block that takes and leaves nothing.
const empty = 0x40

// op writes instructions of one byte.
func (w *writer) op(ops ...wasm.Op) {
	for _, op := range ops {
		w.out = append(w.out, byte(op))
	}
}

func (w *writer) index(op wasm.Op, index uint32) {
	w.out = binary.AppendUvarint(append(w.out, byte(op)), uint64(index))
}

func (w *writer) i32(v int64) { w.out = appendSigned(append(w.out, byte(wasm.I32Const)), v) }

// appendSigned writes a signed LEB128 number.
func appendSigned(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}
