package wasm

import "slices"

// instr applies one instruction to the stack.
func (c *checker) instr(in *Instr) {
	info := in.Op.info()
	switch info.imm {
	case immMem, immMemLane:
		c.below("memory", in.Memory, c.memories)
	}
	if info.sig != "" {
		c.operands(in)
		c.signature(info.sig)
		return
	}
	switch in.Op {
	case Unreachable:
		c.strand()
	case Block, Loop, If, Else, End:
		c.block(in)
	case Br, BrIf, BrTable, Return:
		c.branch(in)
	case Call, CallIndirect, ReturnCall, ReturnCallIndirect:
		c.call(in)
	case Drop:
		c.pop(anyType)
	case Select, SelectT:
		c.choose(in)
	case LocalGet, LocalSet, LocalTee, GlobalGet, GlobalSet:
		c.variable(in)
	case TableGet, TableSet, TableGrow, TableFill:
		c.table(in)
	case RefNull:
		c.push(in.Types[0])
	case RefIsNull:
		if t := c.pop(anyType); t != anyType && !t.IsRef() {
			c.fail("wants a reference, has %v", t)
		}
		c.push(I32)
	case RefFunc:
		c.below("function", in.Index, len(c.funcs))
		c.push(FuncRef)
	default:
		c.fail("is not known to Check")
	}
}

// signature pops and pushes what the opcode table says.
func (c *checker) signature(sig string) {
	colon := 0
	for sig[colon] != ':' {
		colon++
	}
	for i := colon - 1; i >= 0; i-- {
		c.pop(sigType(sig[i]))
	}
	for i := colon + 1; i < len(sig); i++ {
		c.push(sigType(sig[i]))
	}
}

func sigType(letter byte) ValType {
	switch letter {
	case 'i':
		return I32
	case 'I':
		return I64
	case 'f':
		return F32
	case 'F':
		return F64
	}
	return V128
}

// operands checks the indices of instructions that have a fixed signature.
func (c *checker) operands(in *Instr) {
	data, elems := len(c.m.Data), len(c.m.Elems)
	switch in.Op {
	case MemorySize, MemoryGrow, MemoryFill:
		c.below("memory", in.Index, c.memories)
	case MemoryCopy:
		c.below("memory", in.Index, c.memories)
		c.below("memory", in.Index2, c.memories)
	case MemoryInit:
		c.below("data segment", in.Index, data)
		c.below("memory", in.Index2, c.memories)
	case DataDrop:
		c.below("data segment", in.Index, data)
	case ElemDrop:
		c.below("element segment", in.Index, elems)
	case TableSize:
		c.below("table", in.Index, len(c.tables))
	case TableInit:
		if c.below("element segment", in.Index, elems) && c.below("table", in.Index2, len(c.tables)) &&
			c.m.Elems[in.Index].Type != c.tables[in.Index2] {
			c.fail("of %v into a table of %v", c.m.Elems[in.Index].Type, c.tables[in.Index2])
		}
	case TableCopy:
		if c.below("table", in.Index, len(c.tables)) && c.below("table", in.Index2, len(c.tables)) &&
			c.tables[in.Index] != c.tables[in.Index2] {
			c.fail("of %v into a table of %v", c.tables[in.Index2], c.tables[in.Index])
		}
	}
	if (in.Op == MemoryInit || in.Op == DataDrop) && !c.m.DataCount {
		c.fail("needs DataCount")
	}
}

func (c *checker) block(in *Instr) {
	switch in.Op {
	case If:
		c.pop(I32)
		c.enter(If, c.blockType(in.Block))
	case Else:
		f := c.leave()
		c.frames = append(c.frames, frame{op: Else, typ: f.typ, height: f.height})
		c.push(f.typ.Params...)
	case End:
		f := c.leave()
		if f.op == If && !slices.Equal(f.typ.Params, f.typ.Results) {
			c.fail("of an if without else that has type %v", f.typ)
		}
		c.push(f.typ.Results...)
	default:
		c.enter(in.Op, c.blockType(in.Block))
	}
}

func (c *checker) branch(in *Instr) {
	switch in.Op {
	case BrIf:
		c.pop(I32)
		ts := c.label(in.Index)
		c.popAll(ts)
		c.push(ts...)
		return
	case Br:
		c.popAll(c.label(in.Index))
	case Return:
		c.popAll(c.frames[0].typ.Results)
	case BrTable:
		c.pop(I32)
		last := c.label(in.Labels[len(in.Labels)-1])
		for _, l := range in.Labels {
			ts := c.label(l)
			if len(ts) != len(last) {
				c.fail("has labels of %d and of %d values", len(ts), len(last))
				return
			}
			stack := slices.Clone(c.stack)
			c.popAll(ts)
			c.stack = stack
		}
	}
	c.strand()
}

func (c *checker) call(in *Instr) {
	index := in.Index
	switch in.Op {
	case Call, ReturnCall:
		if !c.below("function", in.Index, len(c.funcs)) {
			return
		}
		index = c.funcs[in.Index]
	default:
		if c.below("table", in.Index2, len(c.tables)) && c.tables[in.Index2] != FuncRef {
			c.fail("through a table of %v", c.tables[in.Index2])
		}
		c.pop(I32)
	}
	if !c.below("type", index, len(c.m.Types)) {
		return
	}
	t := c.m.Types[index]
	c.popAll(t.Params)
	if in.Op == Call || in.Op == CallIndirect {
		c.push(t.Results...)
		return
	}
	if results := c.frames[0].typ.Results; !slices.Equal(t.Results, results) {
		c.fail("of a function with results %s from one with %s", typeList(t.Results), typeList(results))
	}
	c.strand()
}

func (c *checker) choose(in *Instr) {
	c.pop(I32)
	if in.Op == SelectT {
		if len(in.Types) != 1 {
			c.fail("of %d types", len(in.Types))
			return
		}
		c.popAll([]ValType{in.Types[0], in.Types[0]})
		c.push(in.Types[0])
		return
	}
	t := c.pop(c.pop(anyType))
	if t.IsRef() {
		c.fail("of %v needs select_t", t)
	}
	c.push(t)
}

func (c *checker) variable(in *Instr) {
	var t ValType
	switch in.Op {
	case GlobalGet, GlobalSet:
		if !c.below("global", in.Index, len(c.globals)) {
			return
		}
		g := c.globals[in.Index]
		if t = g.Type; in.Op == GlobalSet && !g.Mutable {
			c.fail("of global %d, which is immutable", in.Index)
		}
	default:
		if !c.below("local", in.Index, len(c.locals)) {
			return
		}
		t = c.locals[in.Index]
	}
	if in.Op == LocalSet || in.Op == LocalTee || in.Op == GlobalSet {
		c.pop(t)
	}
	if in.Op == LocalGet || in.Op == LocalTee || in.Op == GlobalGet {
		c.push(t)
	}
}

func (c *checker) table(in *Instr) {
	if !c.below("table", in.Index, len(c.tables)) {
		return
	}
	t := c.tables[in.Index]
	switch in.Op {
	case TableGet:
		c.pop(I32)
		c.push(t)
	case TableSet:
		c.pop(t)
		c.pop(I32)
	case TableGrow:
		c.pop(I32)
		c.pop(t)
		c.push(I32)
	case TableFill:
		c.pop(I32)
		c.pop(t)
		c.pop(I32)
	}
}
