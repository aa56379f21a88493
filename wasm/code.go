package wasm

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Code builds the body of one function. Methods append an instruction and return the Code, so that
// calls chain:
//
//	c := wasm.NewCode(wasm.I32)
//	c.Get(c.Param(0)).Load(wasm.V128Load, 16).F32(2).Op(wasm.F32x4Splat, wasm.F32x4Mul)
//
// They panic on programmer errors that need no types to see: an operator with immediates given to Op,
// a label of a closed block, an unknown local. Operand types are checked by Module.Check, and by the
// engine that loads the module.
type Code struct {
	params    []ValType
	locals    []LocalGroup
	numLocals uint32 // with parameters
	names     []Name
	buf       []byte
	open      []uint32 // serial of each open block, outermost first
	serial    uint32
	dataCount bool
}

// Local is a parameter or local variable of a Code.
type Local uint32

// Label is the target of a branch: the end of a block, or the top of a loop. It remembers its nesting
// level, so it stays right however deep the branch stands.
type Label struct {
	code   *Code
	level  int
	serial uint32
}

// NewCode starts the body of a function with these parameters.
func NewCode(params ...ValType) *Code {
	return &Code{params: params, numLocals: uint32(len(params))}
}

// Param gives the parameter i, from 0.
func (c *Code) Param(i int) Local {
	if i < 0 || i >= len(c.params) {
		panic(fmt.Sprintf("wasm: parameter %d of %d", i, len(c.params)))
	}
	return Local(i)
}

// Local adds a local variable, which starts as zero. Neighbours of one type share a group, so
// declaring them together keeps the module small.
func (c *Code) Local(t ValType) Local {
	if n := len(c.locals); n > 0 && c.locals[n-1].Type == t {
		c.locals[n-1].Count++
	} else {
		c.locals = append(c.locals, LocalGroup{1, t})
	}
	c.numLocals++
	return Local(c.numLocals - 1)
}

// Locals adds n local variables of one type.
func (c *Code) Locals(t ValType, n int) []Local {
	ls := make([]Local, n)
	for i := range ls {
		ls[i] = c.Local(t)
	}
	return ls
}

// Name names a local for the name section.
func (c *Code) Name(l Local, name string) *Code {
	c.check(l)
	c.names = setName(c.names, uint32(l), name)
	return c
}

// Len is the size of the instructions so far in bytes.
func (c *Code) Len() int { return len(c.buf) }

// finish gives copies of the locals and the closed body.
func (c *Code) finish() ([]LocalGroup, []byte) {
	if len(c.open) > 0 {
		panic(fmt.Sprintf("wasm: %d blocks are open", len(c.open)))
	}
	body := make([]byte, len(c.buf)+1)
	copy(body, c.buf)
	body[len(c.buf)] = byte(End)
	return slices.Clone(c.locals), body
}

func (c *Code) check(l Local) {
	if uint32(l) >= c.numLocals {
		panic(fmt.Sprintf("wasm: local %d of %d", l, c.numLocals))
	}
}

func (c *Code) op(op Op) { c.buf = appendOp(c.buf, op) }

func (c *Code) index(op Op, i uint32) *Code {
	c.buf = appendU32(appendOp(c.buf, op), i)
	return c
}

// Op appends instructions without immediates.
func (c *Code) Op(ops ...Op) *Code {
	for _, op := range ops {
		if info := op.info(); info == nil || info.imm != immNone || op == Else || op == End {
			panic(fmt.Sprintf("wasm: %v needs its own method", op))
		}
		c.op(op)
	}
	return c
}

// Raw appends bytes as they are, for instructions that have no method. Blocks opened by it count for no label.
func (c *Code) Raw(b ...byte) *Code {
	c.buf = append(c.buf, b...)
	return c
}

// Get pushes locals, the first one first.
func (c *Code) Get(ls ...Local) *Code {
	for _, l := range ls {
		c.check(l)
		c.index(LocalGet, uint32(l))
	}
	return c
}

// Set pops into locals, the first one first: Set(b, a) undoes Get(a, b).
func (c *Code) Set(ls ...Local) *Code {
	for _, l := range ls {
		c.check(l)
		c.index(LocalSet, uint32(l))
	}
	return c
}

// Tee copies the top of the stack to a local.
func (c *Code) Tee(l Local) *Code {
	c.check(l)
	return c.index(LocalTee, uint32(l))
}

// Inc adds n to an i32 local.
func (c *Code) Inc(l Local, n int32) *Code {
	return c.Get(l).I32(n).Op(I32Add).Set(l)
}

// GlobalGet pushes a global.
func (c *Code) GlobalGet(i uint32) *Code { return c.index(GlobalGet, i) }

// GlobalSet pops into a global.
func (c *Code) GlobalSet(i uint32) *Code { return c.index(GlobalSet, i) }

// Call calls the function with this index.
func (c *Code) Call(i uint32) *Code { return c.index(Call, i) }

// CallIndirect pops an element index and calls that function of the table, which must have the type
// with index typ.
func (c *Code) CallIndirect(typ, table uint32) *Code {
	c.index(CallIndirect, typ)
	c.buf = appendU32(c.buf, table)
	return c
}

// I32 pushes a constant.
func (c *Code) I32(v int32) *Code {
	c.buf = appendS64(append(c.buf, byte(I32Const)), int64(v))
	return c
}

// I64 pushes a constant.
func (c *Code) I64(v int64) *Code {
	c.buf = appendS64(append(c.buf, byte(I64Const)), v)
	return c
}

// F32 pushes a constant.
func (c *Code) F32(v float32) *Code {
	c.buf = binary.LittleEndian.AppendUint32(append(c.buf, byte(F32Const)), math.Float32bits(v))
	return c
}

// F64 pushes a constant.
func (c *Code) F64(v float64) *Code {
	c.buf = binary.LittleEndian.AppendUint64(append(c.buf, byte(F64Const)), math.Float64bits(v))
	return c
}

// V128 pushes a constant, lowest byte first.
func (c *Code) V128(v [16]byte) *Code {
	c.op(V128Const)
	c.buf = append(c.buf, v[:]...)
	return c
}

// F32x4 pushes a vector constant, lane 0 first.
func (c *Code) F32x4(l0, l1, l2, l3 float32) *Code {
	c.op(V128Const)
	for _, l := range [4]float32{l0, l1, l2, l3} {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(l))
	}
	return c
}

// I32x4 pushes a vector constant, lane 0 first.
func (c *Code) I32x4(l0, l1, l2, l3 int32) *Code {
	c.op(V128Const)
	for _, l := range [4]int32{l0, l1, l2, l3} {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, uint32(l))
	}
	return c
}

// Load pops an address and loads from it plus offset, with the natural alignment as hint. All loads
// go through here, also extending, splatting and zeroing ones. Addresses need not be aligned.
func (c *Code) Load(op Op, offset uint32) *Code { return c.memory("Load", op, offset, true) }

// Store pops a value, then an address, and stores the value at the address plus offset.
func (c *Code) Store(op Op, offset uint32) *Code { return c.memory("Store", op, offset, false) }

func (c *Code) memory(method string, op Op, offset uint32, load bool) *Code {
	info := op.info()
	if info == nil || info.imm != immMem || op >= prefixAtomic || (info.sig[len(info.sig)-1] != ':') != load {
		panic(fmt.Sprintf("wasm: %s of %v", method, op))
	}
	return c.memArg(op, uint32(info.align), offset)
}

// Access is Load, Store or an atomic instruction with an alignment of its own, as exponent of two. A
// hint below the natural one says that the address may be unaligned.
func (c *Code) Access(op Op, align, offset uint32) *Code {
	if info := op.info(); info == nil || info.imm != immMem || align > uint32(info.align) {
		panic(fmt.Sprintf("wasm: access by %v aligned to 2^%d", op, align))
	}
	return c.memArg(op, align, offset)
}

func (c *Code) memArg(op Op, align, offset uint32) *Code {
	c.op(op)
	c.buf = appendU32(appendU32(c.buf, align), offset)
	return c
}

// LoadLane pops a vector, then an address, and loads one lane of the vector.
func (c *Code) LoadLane(op Op, offset uint32, lane byte) *Code {
	if op < V128Load8Lane || op > V128Load64Lane {
		panic(fmt.Sprintf("wasm: LoadLane of %v", op))
	}
	return c.memLane(op, offset, lane)
}

// StoreLane pops a vector, then an address, and stores one lane of the vector.
func (c *Code) StoreLane(op Op, offset uint32, lane byte) *Code {
	if op < V128Store8Lane || op > V128Store64Lane {
		panic(fmt.Sprintf("wasm: StoreLane of %v", op))
	}
	return c.memLane(op, offset, lane)
}

func (c *Code) memLane(op Op, offset uint32, lane byte) *Code {
	if lane >= op.lanes() {
		panic(fmt.Sprintf("wasm: lane %d of %v", lane, op))
	}
	c.memArg(op, op.Align(), offset)
	c.buf = append(c.buf, lane)
	return c
}

// Lane extracts or replaces a lane.
func (c *Code) Lane(op Op, lane byte) *Code {
	if lane >= op.lanes() || op.info().imm != immLane {
		panic(fmt.Sprintf("wasm: lane %d of %v", lane, op))
	}
	c.op(op)
	c.buf = append(c.buf, lane)
	return c
}

// Shuffle pops b, then a, and picks 16 bytes: lanes 0 to 15 are of a, 16 to 31 of b.
func (c *Code) Shuffle(lanes [16]byte) *Code {
	for _, l := range lanes {
		if l >= 32 {
			panic(fmt.Sprintf("wasm: shuffle lane %d", l))
		}
	}
	c.op(I8x16Shuffle)
	c.buf = append(c.buf, lanes[:]...)
	return c
}

// MemoryFill pops length, byte and address.
func (c *Code) MemoryFill() *Code { return c.index(MemoryFill, 0) }

// MemoryCopy pops length, source and destination; they may overlap.
func (c *Code) MemoryCopy() *Code {
	c.index(MemoryCopy, 0)
	c.buf = append(c.buf, 0)
	return c
}

// MemoryInit pops length, offset in the segment and destination.
func (c *Code) MemoryInit(segment uint32) *Code {
	c.dataCount = true
	c.index(MemoryInit, segment)
	c.buf = append(c.buf, 0)
	return c
}

// DataDrop frees a passive segment.
func (c *Code) DataDrop(segment uint32) *Code {
	c.dataCount = true
	return c.index(DataDrop, segment)
}

// MemorySize pushes the size in pages.
func (c *Code) MemorySize() *Code { return c.index(MemorySize, 0) }

// MemoryGrow pops a number of pages and pushes the old size, or -1.
func (c *Code) MemoryGrow() *Code { return c.index(MemoryGrow, 0) }

// Unreachable traps.
func (c *Code) Unreachable() *Code { return c.Op(Unreachable) }

// Drop pops a value.
func (c *Code) Drop() *Code { return c.Op(Drop) }

// Select pops a condition, b and a, and pushes a if the condition is not 0, else b.
func (c *Code) Select() *Code { return c.Op(Select) }

// Return leaves the function with the values on the stack.
func (c *Code) Return() *Code { return c.Op(Return) }
