package wasm

import (
	"fmt"
	"math"
)

// maxPages is 4 GiB, the most that a 32-bit memory can have.
const maxPages = 65536

// Decode reads a binary. The module refers to bin, which may not change while it is used; writing to
// slices of the module is writing to bin.
//
// It checks what can be checked without looking at instructions: the frame and order of sections,
// every integer, vector and name, every index outside of bodies, limits, constant expressions (their
// instructions, not their types). Instructions checks bodies, and the engine checks types. Errors wrap
// ErrFormat and are of type *FormatError.
func Decode(bin []byte) (*Module, error) {
	d := decoder{m: &Module{}}
	err := scan(bin, d.section)
	switch {
	case d.err != nil:
		return nil, d.err // in front of what scan found
	case err != nil:
		return nil, err
	}
	if err := d.finish(len(bin)); err != nil {
		return nil, err
	}
	return d.m, nil
}

// decoder collects the sections of a module.
type decoder struct {
	m         *Module
	last      SectionID
	funcTypes []uint32 // of the function section, until the code section comes
	hasCode   bool
	named     bool // the first name section was read
	dataCount int
	open      []Op // scratch of constExpr
	err       error

	// Sizes of the index spaces so far, imports included.
	funcs, tables, memories, globals uint32
	mutable                          []bool // of each global
}

// section reads one section; it does nothing after an error.
func (d *decoder) section(s Section) {
	if d.err != nil {
		return
	}
	if s.ID == SectionCustom {
		d.m.Customs = append(d.m.Customs, Custom{s.Name, s.Payload, d.last, s.sizeWidth})
		if s.Name == nameSection && !d.named {
			d.m.Names, d.named = parseNames(s.Payload), true
		}
		return
	}
	d.last = s.ID
	d.m.sizeWidth[s.ID] = s.sizeWidth
	r := &reader{b: s.Payload, base: s.Offset + s.Size - len(s.Payload), section: s.ID.String()}
	switch s.ID {
	case SectionType:
		d.types(r)
	case SectionImport:
		d.imports(r)
	case SectionFunction:
		d.functions(r)
	case SectionTable:
		d.tableSection(r)
	case SectionMemory:
		d.memorySection(r)
	case SectionGlobal:
		d.globalSection(r)
	case SectionExport:
		d.exportSection(r)
	case SectionStart:
		d.start(r)
	case SectionElement:
		d.elements(r)
	case SectionDataCount:
		d.m.DataCount = true
		d.dataCount = int(r.u32("the number of data segments"))
	case SectionCode:
		d.code(r)
	case SectionData:
		d.data(r)
	}
	r.end("the last entry")
	d.err = r.error()
}

func (d *decoder) finish(size int) error {
	if len(d.funcTypes) > 0 && !d.hasCode {
		return &FormatError{SectionFunction.String(), size, fmt.Sprintf("%d functions without a code section", len(d.funcTypes))}
	}
	if d.m.DataCount && d.dataCount != len(d.m.Data) {
		return &FormatError{SectionDataCount.String(), size, fmt.Sprintf("%d data segments announced, %d found", d.dataCount, len(d.m.Data))}
	}
	return nil
}

func (d *decoder) types(r *reader) {
	n := r.count("types", 3)
	if n == 0 {
		return
	}
	d.m.Types = make([]FuncType, n)
	for i := range d.m.Types {
		start := r.pos
		if form := r.byte("a type"); r.ok() && form != typeFunc {
			r.failAt(start, "type %d has form 0x%02x, only function types (0x60) are known", i, form)
		}
		d.m.Types[i] = FuncType{r.types("the type of a parameter"), r.types("the type of a result")}
		if !r.ok() {
			return
		}
	}
}

// types reads a vector of value types, nil if it is empty.
func (r *reader) types(what string) []ValType {
	n := r.count("types", 1)
	if n == 0 {
		return nil
	}
	ts := make([]ValType, n)
	for i := range ts {
		if ts[i] = r.valType(what); !r.ok() {
			return nil
		}
	}
	return ts
}

// below reads an index and fails unless it is less than n.
func (r *reader) below(what string, n uint32) uint32 {
	start := r.pos
	i := r.u32(what)
	if r.ok() && i >= n {
		r.failAt(start, "%s %d of %d", what, i, n)
	}
	return i
}

func (d *decoder) imports(r *reader) {
	n := r.count("imports", 4)
	if n == 0 {
		return
	}
	d.m.Imports = make([]Import, n)
	for i := range d.m.Imports {
		im := &d.m.Imports[i]
		im.Module, im.Name = r.name("the module of an import"), r.name("the name of an import")
		start := r.pos
		switch im.Kind = Kind(r.byte("the kind of an import")); im.Kind {
		case KindFunc:
			im.Type = r.below("type", uint32(len(d.m.Types)))
			d.funcs++
		case KindTable:
			im.Table = r.tableType()
			d.tables++
		case KindMemory:
			im.Memory = r.memoryLimits()
			d.memories++
		case KindGlobal:
			im.Global = r.globalType()
			d.mutable = append(d.mutable, im.Global.Mutable)
			d.globals++
		default:
			r.failAt(start, "import %s.%s has kind %d", im.Module, im.Name, byte(im.Kind))
		}
		if !r.ok() {
			return
		}
	}
}

func (d *decoder) functions(r *reader) {
	d.funcTypes = make([]uint32, r.count("functions", 1))
	for i := range d.funcTypes {
		if d.funcTypes[i] = r.below("type", uint32(len(d.m.Types))); !r.ok() {
			return
		}
	}
	d.funcs += uint32(len(d.funcTypes))
}

func (r *reader) limits(what string, allowed byte) (l Limits) {
	start := r.pos
	flags := r.byte("the limits of a " + what)
	if r.ok() && flags&^allowed != 0 {
		r.failAt(start, "%s limits have flags 0x%02x, of which 0x%02x are unknown (64-bit and custom page sizes are not read)", what, flags, flags&^allowed)
	}
	l.HasMax, l.Shared = flags&limitMax != 0, flags&limitShared != 0
	l.Min = r.u32("the size of a " + what)
	if l.HasMax {
		l.Max = r.u32("the largest size of a " + what)
	}
	switch {
	case !r.ok():
	case l.HasMax && l.Max < l.Min:
		r.failAt(start, "%s of %d to %d", what, l.Min, l.Max)
	case l.Shared && !l.HasMax:
		r.failAt(start, "shared %s without a largest size", what)
	}
	return l
}

func (r *reader) memoryLimits() Limits {
	start := r.pos
	l := r.limits("memory", limitMax|limitShared)
	if l.Min > maxPages || (l.HasMax && l.Max > maxPages) {
		r.failAt(start, "memory of more than %d pages", maxPages)
	}
	return l
}

func (r *reader) tableType() TableType {
	return TableType{r.refType("the element type of a table"), r.limits("table", limitMax)}
}

func (r *reader) globalType() GlobalType {
	t := r.valType("the type of a global")
	start := r.pos
	mutable := r.byte("the mutability of a global")
	if r.ok() && mutable > 1 {
		r.failAt(start, "mutability %d of a global", mutable)
	}
	return GlobalType{t, mutable == 1}
}

func (d *decoder) tableSection(r *reader) {
	for range r.count("tables", 3) {
		d.m.Tables = append(d.m.Tables, r.tableType())
		if !r.ok() {
			return
		}
	}
	d.tables += uint32(len(d.m.Tables))
}

func (d *decoder) memorySection(r *reader) {
	for range r.count("memories", 2) {
		d.m.Memories = append(d.m.Memories, r.memoryLimits())
		if !r.ok() {
			return
		}
	}
	d.memories += uint32(len(d.m.Memories))
}

func (d *decoder) globalSection(r *reader) {
	n := r.count("globals", 4)
	if n == 0 {
		return
	}
	d.m.Globals = make([]Global, n)
	for i := range d.m.Globals {
		t := r.globalType()
		d.m.Globals[i] = Global{t, d.constExpr(r)}
		if !r.ok() {
			return
		}
		d.mutable = append(d.mutable, t.Mutable)
		d.globals++
	}
}

func (d *decoder) exportSection(r *reader) {
	n := r.count("exports", 3)
	if n == 0 {
		return
	}
	d.m.Exports = make([]Export, n)
	seen := make(map[string]bool, n)
	for i := range d.m.Exports {
		x := &d.m.Exports[i]
		start := r.pos
		x.Name = r.name("the name of an export")
		if r.ok() && seen[x.Name] {
			r.failAt(start, "second export named %q", x.Name)
		}
		seen[x.Name] = true
		kindAt := r.pos
		limit := uint32(0)
		switch x.Kind = Kind(r.byte("the kind of an export")); x.Kind {
		case KindFunc:
			limit = d.funcs
		case KindTable:
			limit = d.tables
		case KindMemory:
			limit = d.memories
		case KindGlobal:
			limit = d.globals
		default:
			r.failAt(kindAt, "export %q has kind %d", x.Name, byte(x.Kind))
		}
		indexAt := r.pos
		x.Index = r.u32("the index of an export")
		if r.ok() && x.Index >= limit {
			r.failAt(indexAt, "export %q is %v %d of %d", x.Name, x.Kind, x.Index, limit)
		}
		if !r.ok() {
			return
		}
	}
}

func (d *decoder) start(r *reader) {
	at := r.pos
	i := r.below("function", d.funcs)
	if !r.ok() {
		return
	}
	if t := d.funcType(i); len(t.Params)+len(t.Results) > 0 {
		r.failAt(at, "start function %d has type %v, want () -> ()", i, t)
	}
	d.m.Start = &i
}

// funcType gives the type of a function before the code section is read.
func (d *decoder) funcType(index uint32) FuncType {
	if imported := d.funcs - uint32(len(d.funcTypes)); index >= imported {
		return d.m.Types[d.funcTypes[index-imported]]
	}
	t, _ := d.m.FuncType(index)
	return t
}

func (d *decoder) elements(r *reader) {
	n := r.count("element segments", 3)
	if n == 0 {
		return
	}
	d.m.Elems = make([]Elem, n)
	for i := range d.m.Elems {
		d.elem(r, &d.m.Elems[i])
		if !r.ok() {
			return
		}
	}
}

func (d *decoder) elem(r *reader, s *Elem) {
	start := r.pos
	s.Flags = r.u32("the flags of an element segment")
	if r.ok() && s.Flags > SegPassive|SegExplicit|SegExprs {
		r.failAt(start, "element segment with flags 0x%x", s.Flags)
	}
	if s.Flags&SegPassive == 0 {
		at := r.pos
		if s.Flags&SegExplicit != 0 {
			s.Table = r.u32("the table of an element segment")
		}
		if r.ok() && s.Table >= d.tables {
			r.failAt(at, "element segment for table %d of %d", s.Table, d.tables)
		}
		s.Offset = d.constExpr(r)
	}
	s.Type = FuncRef
	exprs := s.Flags&SegExprs != 0
	if s.Flags&(SegPassive|SegExplicit) != 0 {
		if exprs {
			s.Type = r.refType("the type of elements")
		} else if at := r.pos; r.byte("the kind of elements") != elemKindFunc {
			r.failAt(at, "unknown element kind")
		}
	}
	if exprs {
		for range r.count("elements", 2) {
			if s.Exprs = append(s.Exprs, d.constExpr(r)); !r.ok() {
				return
			}
		}
		return
	}
	if n := r.count("elements", 1); n > 0 {
		s.Funcs = make([]uint32, n)
	}
	for i := range s.Funcs {
		if s.Funcs[i] = r.below("function", d.funcs); !r.ok() {
			return
		}
	}
}

func (d *decoder) code(r *reader) {
	d.hasCode = true
	start := r.pos
	n := r.count("function bodies", 3)
	if r.ok() && n != len(d.funcTypes) {
		r.failAt(start, "%d bodies for %d functions", n, len(d.funcTypes))
	}
	if !r.ok() || n == 0 {
		return
	}
	d.m.Funcs = make([]Func, n)
	for i := range d.m.Funcs {
		size := r.u32("the size of a body")
		at := r.pos
		b := reader{b: r.take(int(size), "a function body"), base: r.base + at, section: r.section}
		if !r.ok() {
			return
		}
		d.m.Funcs[i] = b.body(d.funcTypes[i])
		if b.err != nil {
			r.err = b.err
			return
		}
	}
}

func (r *reader) body(typ uint32) Func {
	f := Func{Type: typ}
	total := uint64(0)
	for range r.count("groups of locals", 2) {
		start := r.pos
		g := LocalGroup{r.u32("a number of locals"), r.valType("the type of locals")}
		if total += uint64(g.Count); total > math.MaxUint32 {
			r.failAt(start, "more than 2^32-1 locals")
		}
		if !r.ok() {
			return f
		}
		f.Locals = append(f.Locals, g)
	}
	f.Body = r.take(r.left(), "instructions")
	if n := len(f.Body); r.ok() && (n == 0 || f.Body[n-1] != byte(End)) {
		r.fail("function body does not end with end")
	}
	return f
}

func (d *decoder) data(r *reader) {
	n := r.count("data segments", 2)
	if n == 0 {
		return
	}
	d.m.Data = make([]Data, n)
	for i := range d.m.Data {
		s := &d.m.Data[i]
		start := r.pos
		s.Flags = r.u32("the flags of a data segment")
		if r.ok() && s.Flags > SegExplicit {
			r.failAt(start, "data segment with flags 0x%x", s.Flags)
		}
		if s.Flags&SegPassive == 0 {
			at := r.pos
			if s.Flags&SegExplicit != 0 {
				s.Memory = r.u32("the memory of a data segment")
			}
			if r.ok() && s.Memory >= d.memories {
				r.failAt(at, "data segment for memory %d of %d", s.Memory, d.memories)
			}
			s.Offset = d.constExpr(r)
		}
		size := r.u32("the size of a data segment")
		s.Bytes = r.take(int(size), "a data segment")
		if !r.ok() {
			return
		}
	}
}
