package wasm

import (
	"fmt"
	"slices"
)

// Check checks the types of instructions in function bodies and constant expressions, as engines do
// when they compile. Use it where a module is made: its errors name the function, the offset in the
// body and the instruction, which engines leave out. Modules to run need no Check, the engine's counts.
func (m *Module) Check() error {
	s := newSpaces(m)
	for i := range m.Globals {
		g := &m.Globals[i]
		if err := s.constant(g.Init, g.Type); err != nil {
			return fmt.Errorf("global %d: %w", i, err)
		}
	}
	for i := range m.Elems {
		if err := s.elem(&m.Elems[i]); err != nil {
			return fmt.Errorf("element segment %d: %w", i, err)
		}
	}
	for i := range m.Data {
		d := &m.Data[i]
		if d.Flags&SegPassive != 0 {
			continue
		}
		if err := s.constant(d.Offset, I32); err != nil {
			return fmt.Errorf("data segment %d: %w", i, err)
		}
	}
	imported := len(s.funcs) - len(m.Funcs)
	for i := range m.Funcs {
		if err := s.function(&m.Funcs[i]); err != nil {
			index := uint32(imported + i)
			return fmt.Errorf("function %d %q: %w", index, m.Names.FuncName(index), err)
		}
	}
	return nil
}

// spaces are the index spaces of a module, imports first.
type spaces struct {
	m        *Module
	funcs    []uint32
	tables   []ValType
	memories int
	globals  []GlobalType
}

func newSpaces(m *Module) *spaces {
	s := &spaces{m: m, memories: len(m.Memories)}
	for i := range m.Imports {
		switch im := &m.Imports[i]; im.Kind {
		case KindFunc:
			s.funcs = append(s.funcs, im.Type)
		case KindTable:
			s.tables = append(s.tables, im.Table.Elem)
		case KindMemory:
			s.memories++
		case KindGlobal:
			s.globals = append(s.globals, im.Global)
		}
	}
	for i := range m.Funcs {
		s.funcs = append(s.funcs, m.Funcs[i].Type)
	}
	for _, t := range m.Tables {
		s.tables = append(s.tables, t.Elem)
	}
	for i := range m.Globals {
		s.globals = append(s.globals, m.Globals[i].GlobalType)
	}
	return s
}

func (s *spaces) elem(e *Elem) error {
	if e.Flags&SegPassive == 0 {
		if err := s.constant(e.Offset, I32); err != nil {
			return err
		}
		if uint64(e.Table) >= uint64(len(s.tables)) || s.tables[e.Table] != e.Type {
			return fmt.Errorf("elements of type %v do not fit table %d", e.Type, e.Table)
		}
	}
	for _, x := range e.Exprs {
		if err := s.constant(x, e.Type); err != nil {
			return err
		}
	}
	return nil
}

func (s *spaces) constant(x ConstExpr, t ValType) error {
	c := checker{spaces: s}
	return c.run(x, FuncType{Results: []ValType{t}})
}

// maxLocals is what engines allow in one function.
const maxLocals = 50_000

func (s *spaces) function(f *Func) error {
	if uint64(f.Type) >= uint64(len(s.m.Types)) {
		return fmt.Errorf("type %d of %d", f.Type, len(s.m.Types))
	}
	t := s.m.Types[f.Type]
	c := checker{spaces: s, locals: slices.Clone(t.Params)}
	for _, g := range f.Locals {
		if uint64(len(c.locals))+uint64(g.Count) > maxLocals {
			return fmt.Errorf("more than %d locals", maxLocals)
		}
		c.locals = append(c.locals, slices.Repeat([]ValType{g.Type}, int(g.Count))...)
	}
	return c.run(f.Body, t)
}

// anyType stands on the stack where code that is never reached would have left a value.
const anyType ValType = 0

// checker follows the types on the stack through one expression.
type checker struct {
	*spaces
	locals []ValType
	stack  []ValType
	frames []frame
	err    error
}

// frame is an open block.
type frame struct {
	op       Op
	typ      FuncType
	height   int  // of the stack where it starts
	stranded bool // what follows is never reached
}

// labelTypes are the types that a branch to the frame takes along.
func (f *frame) labelTypes() []ValType {
	if f.op == Loop {
		return f.typ.Params
	}
	return f.typ.Results
}

func (c *checker) run(body []byte, t FuncType) error {
	c.frames = append(c.frames, frame{op: Block, typ: FuncType{Results: t.Results}})
	d, in := newInstrReader(reader{b: body, section: SectionCode.String()}), Instr{}
	for d.next(&in) {
		if c.instr(&in); c.err != nil {
			return fmt.Errorf("offset 0x%x: %v %w", in.Offset, in.Op, c.err)
		}
	}
	return d.error()
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) top() *frame { return &c.frames[len(c.frames)-1] }

// maxStack bounds what a few bytes can push, by calling functions with very many results.
const maxStack = 1 << 16

func (c *checker) push(ts ...ValType) {
	if len(c.stack)+len(ts) > maxStack {
		c.fail("needs more than %d values on the stack", maxStack)
		return
	}
	c.stack = append(c.stack, ts...)
}

// pop takes a value of type want, any type if want is anyType.
func (c *checker) pop(want ValType) ValType {
	f := c.top()
	if len(c.stack) == f.height {
		if !f.stranded {
			c.fail("wants %v, the stack is empty", wanted(want))
		}
		return want
	}
	got := c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
	if got != want && got != anyType && want != anyType {
		c.fail("wants %v, has %v", want, got)
	}
	if got == anyType {
		return want
	}
	return got
}

func wanted(t ValType) string {
	if t == anyType {
		return "a value"
	}
	return t.String()
}

func (c *checker) popAll(ts []ValType) {
	for _, t := range slices.Backward(ts) {
		c.pop(t)
	}
}

// strand says that what follows is never reached.
func (c *checker) strand() {
	f := c.top()
	c.stack, f.stranded = c.stack[:f.height], true
}

func (c *checker) label(depth uint32) []ValType {
	return c.frames[len(c.frames)-1-int(depth)].labelTypes()
}

// below checks an index into one of the spaces.
func (c *checker) below(what string, i uint32, n int) bool {
	if uint64(i) >= uint64(n) {
		c.fail("of %s %d of %d", what, i, n)
		return false
	}
	return true
}

func (c *checker) blockType(b BlockType) FuncType {
	if i, ok := b.TypeIndex(); ok {
		if !c.below("type", i, len(c.m.Types)) {
			return FuncType{}
		}
		return c.m.Types[i]
	}
	if t, ok := b.Result(); ok {
		return FuncType{Results: []ValType{t}}
	}
	return FuncType{}
}

// enter opens a block.
func (c *checker) enter(op Op, t FuncType) {
	c.popAll(t.Params)
	c.frames = append(c.frames, frame{op: op, typ: t, height: len(c.stack)})
	c.push(t.Params...)
}

// leave closes the innermost block or arm and gives it.
func (c *checker) leave() frame {
	f := *c.top()
	c.popAll(f.typ.Results)
	if n := len(c.stack) - f.height; n > 0 {
		c.fail("leaves %d values too many: %s", n, typeList(c.stack[f.height:]))
	}
	c.stack = c.stack[:min(f.height, len(c.stack))]
	c.frames = c.frames[:len(c.frames)-1]
	return f
}
