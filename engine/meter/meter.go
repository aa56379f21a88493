// Package meter rewrites a module so that its host regains control about once each millisecond,
// whatever the module does.
//
// Use meter in an engine that cannot stop a running guest by itself, or only at a price for each turn of
// each loop; never to count what a guest has done, for which the numbers are too coarse.
//
// The unit is one instruction, and all is taken from one global variable. A loop pays for each turn, small
// ones Chunk units in advance, and one whose turns can be counted beforehand is paid for like straight
// code; a function that calls others pays for itself on entry; an operation on a range of memory or a
// table pays for its length. When the variable is below 0 the module calls the
// import Refill, whose result is the next batch. So between two calls of Refill a guest does at most a
// batch of work and one bulk operation, and most calls of a function make none.
//
// Compatibility: v0, the API may change until 1.0.
package meter

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/isomer-iot/isomer/wasm"
)

// What a rewritten module imports in addition, as its last function: Refill () -> i64.
const (
	Module = "isomer:meter"
	Refill = "refill"
)

// Chunk is what a small loop pays at once. It bounds what a function that calls nothing can do unpaid,
// and makes the payment of a turn one subtraction in a register: taken from the global variable, each
// turn would wait for the store of the one before (5 cycles, as long as some loops).
const Chunk = 1024

// large is the cost from which a loop pays each turn from the global variable: the store is done when the
// next turn begins, and no register is taken from the loop. MobileNetV2, best of 250 runs: 5 % slower
// than unmetered; 13 % with a local variable in every loop, 15 % where that pays inside the loop.
const large = 32

// free is the size up to which a function that neither loops nor calls pays nothing: its caller's call
// counts for it.
const free = 32

// callCost and slowCost are what a call and an operation like a division count for.
const (
	callCost = 16
	slowCost = 8
)

// most bounds the cost of a straight run, so that sums stay inside their types.
const most = 1 << 28

// Shift is how a function's index in the module as rewritten is found.
type Shift struct {
	from uint32 // functions behind it moved by one
}

// Frames gives a stack trace, one frame a line, as the module before would have had it: functions
// without a name go by their index, such as ".$7(i32)".
func (s *Shift) Frames(stack string) string {
	lines := strings.Split(stack, "\n")
	for i, line := range lines {
		at := strings.Index(line, "$")
		if at < 0 {
			continue
		}
		end := at + 1
		for end < len(line) && line[end] >= '0' && line[end] <= '9' {
			end++
		}
		n, err := strconv.ParseUint(line[at+1:end], 10, 32)
		if err == nil && uint32(n) > s.from {
			lines[i] = line[:at+1] + strconv.FormatUint(n-1, 10) + line[end:]
		}
	}
	return strings.Join(lines, "\n")
}

// Rewrite changes m in place. Function bodies are written anew, everything else of m may be shared.
// m has to come from wasm.Decode; an error is an index or an instruction that no valid module has.
// Custom sections other than names are dropped: engines read no other.
func Rewrite(m *wasm.Module) (Shift, error) {
	w := newWriter(m)
	for i := range m.Imports {
		if m.Imports[i].Module == Module {
			return Shift{}, fmt.Errorf("import of %s.%s: that is the meter's", Module, m.Imports[i].Name)
		}
	}
	for i := range m.Funcs {
		if err := w.function(&m.Funcs[i]); err != nil {
			return Shift{}, fmt.Errorf("function %d: %w", int(w.refill)+i, err)
		}
	}
	w.imports()
	w.renumber()
	w.own()
	return Shift{from: w.refill}, nil
}

// writer rewrites one module.
type writer struct {
	m       *wasm.Module
	refill  uint32   // index of the new import; functions from there on move by one
	funcs   uint32   // number of functions before
	globals uint32   // number of globals before: the index of the new one
	settle  uint32   // index of the function that pays
	range_  uint32   // index of the function that pays for a bulk operation
	loops   []uint32 // cost of each loop of the function, in order of their heads
	open    []int32  // index in loops of each open block's loop, -1 outside
	static  []bool   // of each loop: what it stands in pays for all its turns
	counted []counted
	split   []bool // of each open block: it is a loop with another around it
	out     []byte
}

func newWriter(m *wasm.Module) *writer {
	w := &writer{m: m, globals: uint32(len(m.Globals))}
	for i := range m.Imports {
		switch m.Imports[i].Kind {
		case wasm.KindFunc:
			w.refill++
		case wasm.KindGlobal:
			w.globals++
		}
	}
	w.funcs = w.refill + uint32(len(m.Funcs))
	w.settle, w.range_ = w.funcs+1, w.funcs+2
	return w
}

// moved is the new index of a function.
func (w *writer) moved(f uint32) uint32 {
	if f >= w.refill {
		return f + 1
	}
	return f
}

// cost is what the function's parts cost.
type cost struct {
	straight uint32 // outside of loops
	calls    bool
	edits    bool // something but loops has to change
}

// measure adds up what w.loops and the straight part cost, and checks the indices that the new variables
// would make valid.
func (w *writer) measure(f *wasm.Func, locals uint64) (c cost, err error) {
	w.loops, w.static, w.counted, w.open = w.loops[:0], w.static[:0], w.counted[:0], append(w.open[:0], -1)
	var r recent
	for in, err := range wasm.Instructions(f.Body) {
		if err != nil {
			return c, err
		}
		if err := w.check(&in, locals); err != nil {
			return c, err
		}
		top := w.open[len(w.open)-1]
		switch in.Op {
		case wasm.Loop:
			top = int32(len(w.loops))
			w.loops, w.static = append(w.loops, 0), append(w.static, false)
			w.open = append(w.open, top)
			w.entered(&r, uint32(top))
		case wasm.Block, wasm.If:
			w.open = append(w.open, top)
		case wasm.End:
			w.open = w.open[:len(w.open)-1]
		case wasm.Call, wasm.ReturnCall, wasm.CallIndirect, wasm.ReturnCallIndirect:
			c.calls = true
		}
		into := &c.straight
		if top >= 0 {
			into = &w.loops[top]
		}
		price := price(in.Op)
		if scale := bulk(in.Op); scale > 0 && r[0].Op == wasm.I32Const {
			price = uint32(min(paid(uint32(r[0].Value), scale), most))
		} else if scale > 0 {
			c.edits = true
		}
		c.edits = c.edits || in.Op == wasm.Call || in.Op == wasm.ReturnCall || in.Op == wasm.RefFunc
		*into = min(*into+price, most)
		if in.Op == wasm.End {
			into = &c.straight
			if k := len(w.open) - 1; k >= 0 && w.open[k] >= 0 {
				into = &w.loops[w.open[k]]
			}
			w.left(&r, len(w.open), into)
		}
		w.follow(&in)
		r.add(&in)
	}
	return c, nil
}

// check refuses an index beyond what the module has, which after rewriting may be somebody's.
func (w *writer) check(in *wasm.Instr, locals uint64) error {
	limit := uint64(1) << 32
	switch in.Op {
	case wasm.Call, wasm.ReturnCall, wasm.RefFunc:
		limit = uint64(w.funcs)
	case wasm.GlobalGet, wasm.GlobalSet:
		limit = uint64(w.globals)
	case wasm.LocalGet, wasm.LocalSet, wasm.LocalTee:
		limit = locals
	}
	if uint64(in.Index) >= limit {
		return fmt.Errorf("offset %d: %v %d of %d", in.Offset, in.Op, in.Index, limit)
	}
	return nil
}

func price(op wasm.Op) uint32 {
	switch op {
	case wasm.Call, wasm.ReturnCall, wasm.CallIndirect, wasm.ReturnCallIndirect:
		return callCost
	case wasm.I32DivS, wasm.I32DivU, wasm.I32RemS, wasm.I32RemU, wasm.I64DivS, wasm.I64DivU, wasm.I64RemS, wasm.I64RemU,
		wasm.F32Div, wasm.F64Div, wasm.F32Sqrt, wasm.F64Sqrt:
		return slowCost
	}
	return 1
}

// bulk is the price of one element of a bulk operation in sixteenths, 0 for other instructions: 16 bytes
// of memory cost 1, an element of a table 1, a page that is added 4096.
func bulk(op wasm.Op) uint32 {
	switch op {
	case wasm.MemoryFill, wasm.MemoryCopy, wasm.MemoryInit:
		return 1
	case wasm.TableFill, wasm.TableCopy, wasm.TableInit, wasm.TableGrow:
		return 16
	case wasm.MemoryGrow:
		return 65536
	}
	return 0
}

func paid(n, scale uint32) uint64 { return uint64(n) * uint64(scale) >> 4 }

func (w *writer) function(f *wasm.Func) error {
	if uint64(f.Type) >= uint64(len(w.m.Types)) {
		return fmt.Errorf("type %d of %d", f.Type, len(w.m.Types))
	}
	locals := uint64(len(w.m.Types[f.Type].Params))
	for _, g := range f.Locals {
		locals += uint64(g.Count)
	}
	c, err := w.measure(f, locals)
	if err != nil {
		return err
	}
	pays := c.calls || c.straight > free
	turns, small := false, false
	for k, static := range w.static {
		turns = turns || !static
		small = small || !static && w.loops[k] < large
	}
	if !pays && !c.edits && !turns {
		return nil
	}
	if small {
		f.Locals = append(f.Locals[:len(f.Locals):len(f.Locals)], wasm.LocalGroup{Count: 1, Type: wasm.I32})
	}
	w.out = w.out[:0]
	if pays {
		w.take(c.straight)
		w.lookOut(0)
	}
	w.body(f, uint32(locals))
	f.Body = append(make([]byte, 0, len(w.out)), w.out...)
	return nil
}

// body copies the instructions with the payments in between. credit is the local that loops use up.
func (w *writer) body(f *wasm.Func, credit uint32) {
	w.split = append(w.split[:0], false)
	loop, copied := 0, 0
	replaced := false // the instruction before, which ends where this one begins
	var last wasm.Instr
	for in := range wasm.Instructions(f.Body) {
		if replaced {
			copied, replaced = in.Offset, false
		}
		upTo := func(offset int) {
			w.out = append(w.out, f.Body[copied:offset]...)
			copied = offset
		}
		if last.Op == wasm.Loop && w.static[loop] {
			loop++
		} else if last.Op == wasm.Loop {
			upTo(in.Offset)
			head := f.Body[last.Offset:in.Offset]
			w.head(head, w.split[len(w.split)-1], credit, w.loops[loop])
			loop++
		}
		switch in.Op {
		case wasm.Loop:
			w.split = append(w.split, !w.static[loop] && w.splits(in.Block))
		case wasm.Block, wasm.If:
			w.split = append(w.split, false)
		case wasm.End:
			if top := len(w.split) - 1; w.split[top] {
				upTo(in.Offset)
				w.op(wasm.End)
			}
			w.split = w.split[:len(w.split)-1]
		case wasm.Call, wasm.ReturnCall, wasm.RefFunc:
			upTo(in.Offset)
			w.index(in.Op, w.moved(in.Index))
			replaced = true
		case wasm.Br, wasm.BrIf:
			if to := w.depth(in.Index); to != in.Index {
				upTo(in.Offset)
				w.index(in.Op, to)
				replaced = true
			}
		case wasm.BrTable:
			upTo(in.Offset)
			w.index(in.Op, uint32(len(in.Labels)-1))
			for _, l := range in.Labels {
				w.out = binary.AppendUvarint(w.out, uint64(w.depth(l)))
			}
			replaced = true
		default:
			if scale := bulk(in.Op); scale > 0 && last.Op != wasm.I32Const {
				upTo(in.Offset)
				w.i32(int64(scale))
				w.index(wasm.Call, w.range_)
			}
		}
		last = in
	}
	w.out = append(w.out, f.Body[copied:]...)
}

// splits reports whether a loop is made two: one around it, where it pays. Where the call that pays is
// inside the loop itself, wazero's compiler keeps what lives across it in memory, at each turn
// (MobileNetV2: 15 % slower). A loop that takes operands cannot be entered again from its head.
func (w *writer) splits(b wasm.BlockType) bool {
	t, ok := b.TypeIndex()
	return !ok || uint64(t) < uint64(len(w.m.Types)) && len(w.m.Types[t].Params) == 0
}

// depth is the label with the loops that stand around loops counted.
func (w *writer) depth(label uint32) uint32 {
	to := label
	for k := range label {
		if at := len(w.split) - 1 - int(k); w.split[at] {
			to++
		}
	}
	return to
}
