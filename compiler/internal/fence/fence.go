// Package fence rewrites a compiled module so that each of its loads and stores is checked against the
// memory that it may touch, byte by byte. Use Rewrite in tests of the compiler; never on a module that
// ships: each access calls a function, so it runs some ten times slower. Internal to the compiler; it
// promises no compatibility.
package fence

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/wasm"
)

// Range is a part of memory, To excluded. An int of 32 bits would not hold End.
type Range struct{ From, To int64 }

// End is the To of a range that ends with the memory.
const End = 1 << 32

// Rule is what may be read and written.
type Rule struct{ Load, Store []Range }

// Rewrite changes m, which must import nothing, in place. An access that rule does not allow traps. For
// the functions in funcs, by index, and for what they call, another rule holds while they run. Accesses
// are not joined: each must lie inside one range.
func Rewrite(m *wasm.Module, rule Rule, funcs map[uint32]Rule) error {
	if len(m.Imports) > 0 {
		return fmt.Errorf("the module imports %s.%s; compiled models import nothing", m.Imports[0].Module, m.Imports[0].Name)
	}
	w := &writer{m: m, rules: []Rule{rule}, current: uint32(len(m.Globals))}
	m.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	for _, name := range breach {
		m.Export(name, wasm.KindGlobal, m.AddGlobal(wasm.I64, true, wasm.ConstI64(0)))
	}
	n := uint32(len(m.Funcs))
	w.load = m.DeclareFunc("fence_load", access)
	w.store = m.DeclareFunc("fence_store", access)
	for i := range m.Funcs[:n] {
		if err := w.function(&m.Funcs[i]); err != nil {
			return fmt.Errorf("function %d: %w", i, err)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(funcs)) {
		if i >= n {
			return fmt.Errorf("a rule for function %d of %d", i, n)
		}
		w.rules = append(w.rules, funcs[i])
		w.enclose(i, len(w.rules)-1)
	}
	m.DefineFunc(w.load, w.check(0, func(r Rule) []Range { return r.Load }))
	m.DefineFunc(w.store, w.check(1, func(r Rule) []Range { return r.Store }))
	return nil
}

// breach are the exported globals that describe the access that trapped: its first byte, the number of
// bytes, and 1 if it is a store.
var breach = [3]string{"fence_address", "fence_bytes", "fence_stores"}

// Breach says what the instance tried that it may not, "" if nothing. global reads an exported global.
func Breach(global func(name string) uint64) string {
	if global(breach[1]) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %d bytes at %d", []string{"load", "store"}[global(breach[2])], global(breach[1]), global(breach[0]))
}

// access is the type of both checks: address, offset and length give the address back.
var access = wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.I32}}

// writer puts the checks into m.
type writer struct {
	m           *wasm.Module
	rules       []Rule
	current     uint32 // global: the rule that holds
	load, store uint32 // functions
}

// check writes the function that traps unless the rule that holds allows the access.
func (w *writer) check(stores int64, ranges func(Rule) []Range) *wasm.Code {
	c := wasm.NewCode(access.Params...)
	from, to := c.Local(wasm.I64), c.Local(wasm.I64)
	address := c.Param(0)
	c.Get(address).Op(wasm.I64ExtendI32U).Get(c.Param(1)).Op(wasm.I64ExtendI32U, wasm.I64Add).Tee(from)
	c.Get(c.Param(2)).Op(wasm.I64ExtendI32U, wasm.I64Add).Set(to)
	// No byte at all is none that is not allowed.
	c.Get(c.Param(2)).Op(wasm.I32Eqz).If(func() { c.Get(address).Return() })
	var among func(lo, hi int)
	among = func(lo, hi int) {
		if hi-lo > 1 {
			mid := (lo + hi) / 2
			c.GlobalGet(w.current).I32(int32(mid)).Op(wasm.I32LtU).IfElse(func() { among(lo, mid) }, func() { among(mid, hi) })
			return
		}
		for _, r := range join(ranges(w.rules[lo])) {
			c.Get(from).I64(r.From).Op(wasm.I64GeU).Get(to).I64(r.To).Op(wasm.I64LeU, wasm.I32And)
			c.If(func() { c.Get(address).Return() })
		}
	}
	among(0, len(w.rules))
	c.Get(from).GlobalSet(w.current + 1)
	c.Get(to, from).Op(wasm.I64Sub).GlobalSet(w.current + 2)
	c.I64(stores).GlobalSet(w.current + 3)
	c.Unreachable()
	return c
}

// join merges ranges that meet.
func join(list []Range) []Range {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	var out []Range
	for _, r := range list {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// enclose makes function i hold a rule: its body becomes a function of its own, which it calls.
func (w *writer) enclose(i uint32, rule int) {
	f := w.m.Funcs[i]
	inner := uint32(len(w.m.Funcs))
	w.m.Funcs = append(w.m.Funcs, f)
	c := wasm.NewCode(w.m.Types[f.Type].Params...)
	before := c.Local(wasm.I32)
	c.GlobalGet(w.current).Set(before).I32(int32(rule)).GlobalSet(w.current)
	for p := range w.m.Types[f.Type].Params {
		c.Get(c.Param(p))
	}
	c.Call(inner)
	c.Get(before).GlobalSet(w.current)
	w.m.DefineFunc(i, c)
}

// function puts a check before each access to memory.
func (w *writer) function(f *wasm.Func) error {
	s := scratch{next: uint32(len(w.m.Types[f.Type].Params)), of: map[wasm.ValType]uint32{}}
	for _, g := range f.Locals {
		s.next += g.Count
	}
	var out []byte
	copied := 0
	for in, err := range wasm.Instructions(f.Body) {
		if err != nil {
			return err
		}
		if in.Memory != 0 || in.Op.Feature() == wasm.FeatureThreads {
			return fmt.Errorf("%v: not fenced", in.Op)
		}
		check := w.before(&in, &s)
		if check != nil {
			out = append(append(out, f.Body[copied:in.Offset]...), check...)
			copied = in.Offset
		}
	}
	f.Body = append(out, f.Body[copied:]...)
	f.Locals = slices.Concat(f.Locals, s.groups)
	return nil
}

// before is the code that checks the operands of in, nil if it touches no memory.
func (w *writer) before(in *wasm.Instr, s *scratch) []byte {
	var b []byte
	index := func(op wasm.Op, i uint32) { b = binary.AppendUvarint(append(b, byte(op)), uint64(i)) }
	i32 := func(v uint32) { b = appendSigned(append(b, byte(wasm.I32Const)), int64(int32(v))) }
	switch in.Op {
	case wasm.MemoryFill, wasm.MemoryCopy, wasm.MemoryInit: // to, byte or from, length
		n, x := s.local(wasm.I32), s.second()
		index(wasm.LocalSet, n)
		index(wasm.LocalSet, x)
		i32(0)
		index(wasm.LocalGet, n)
		index(wasm.Call, w.store)
		index(wasm.LocalGet, x)
		if in.Op == wasm.MemoryCopy {
			i32(0)
			index(wasm.LocalGet, n)
			index(wasm.Call, w.load)
		}
		index(wasm.LocalGet, n)
		return b
	}
	width, operand, store := touches(in.Op)
	if width == 0 {
		return nil
	}
	check := w.load
	if store {
		check = w.store
	}
	if operand != 0 {
		index(wasm.LocalSet, s.local(operand))
	}
	i32(in.MemOffset)
	i32(width)
	index(wasm.Call, check)
	if operand != 0 {
		index(wasm.LocalGet, s.local(operand))
	}
	return b
}

// touches gives the bytes that a load or store accesses, 0 for other instructions, and the type of the
// operand above the address, if there is one.
func touches(op wasm.Op) (width uint32, operand wasm.ValType, store bool) {
	width = 1 << op.Align() // the natural alignment is the width
	switch {
	case op >= wasm.I32Load && op <= wasm.I64Load32U,
		op >= wasm.V128Load && op <= wasm.V128Load64Splat,
		op == wasm.V128Load32Zero || op == wasm.V128Load64Zero:
		return width, 0, false
	case op >= wasm.V128Load8Lane && op <= wasm.V128Load64Lane:
		return width, wasm.V128, false
	case op == wasm.V128Store || op >= wasm.V128Store8Lane && op <= wasm.V128Store64Lane:
		return width, wasm.V128, true
	case op == wasm.F32Store:
		return width, wasm.F32, true
	case op == wasm.F64Store:
		return width, wasm.F64, true
	case op == wasm.I64Store || op >= wasm.I64Store8 && op <= wasm.I64Store32:
		return width, wasm.I64, true
	case op == wasm.I32Store || op == wasm.I32Store8 || op == wasm.I32Store16:
		return width, wasm.I32, true
	}
	return 0, 0, false
}

// second keys the second i32 of a scratch; no value type is 0.
const second wasm.ValType = 0

// scratch are the locals that operands wait in.
type scratch struct {
	next   uint32
	of     map[wasm.ValType]uint32
	groups []wasm.LocalGroup
}

func (s *scratch) local(t wasm.ValType) uint32 { return s.keyed(t, t) }

func (s *scratch) second() uint32 { return s.keyed(second, wasm.I32) }

func (s *scratch) keyed(key, t wasm.ValType) uint32 {
	l, ok := s.of[key]
	if !ok {
		l = s.next
		s.next++
		s.of[key] = l
		s.groups = append(s.groups, wasm.LocalGroup{Count: 1, Type: t})
	}
	return l
}

// appendSigned writes a signed LEB128 number.
func appendSigned(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}
