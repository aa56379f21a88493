package wasm

const headerSize = 8

var header = [headerSize]byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// Encode gives the binary. It does not check the module; Decode of the result does.
//
// The buffer grows once to the size of data and code, so that segments of many megabytes are copied
// once.
func (m *Module) Encode() []byte {
	e := encoder{m: m}
	size := headerSize + 4096
	for i := range m.Data {
		size += 16 + len(m.Data[i].Bytes) + len(m.Data[i].Offset)
	}
	for i := range m.Funcs {
		size += 16 + 6*len(m.Funcs[i].Locals) + len(m.Funcs[i].Body)
	}
	for i := range m.Customs {
		size += 16 + len(m.Customs[i].Name) + len(m.Customs[i].Payload)
	}
	e.placeNames()
	size += len(e.namePayload)
	e.out = append(make([]byte, 0, size), header[:]...)

	e.customs(SectionCustom)
	for _, id := range sectionOrder {
		switch id {
		case SectionCode:
			e.codeSection()
		case SectionData:
			e.dataSection()
		default:
			e.buf = e.buf[:0]
			if e.small(id) || (m.sizeWidth[id] != 0 && id != SectionStart && id != SectionDataCount) {
				e.head(id, len(e.buf), m.sizeWidth[id])
				e.out = append(e.out, e.buf...)
			}
		}
		e.customs(id)
	}
	return e.out
}

type encoder struct {
	m           *Module
	out         []byte
	buf         []byte // payload of a small section, before its size is known
	namesAt     int    // index in Customs of the name section to rewrite, -1 if there is none
	namesNew    bool   // there is none and Names asks for one
	namePayload []byte // what the name section says now
}

func (e *encoder) head(id SectionID, size int, width uint8) {
	e.out = appendU32Wide(append(e.out, byte(id)), uint32(size), int(width))
}

// placeNames finds out whether the name section is written anew, and where.
func (e *encoder) placeNames() {
	e.namesAt = -1
	if e.m.Names == nil {
		return
	}
	for i := range e.m.Customs {
		if e.m.Customs[i].Name != nameSection {
			continue
		}
		if old := parseNames(e.m.Customs[i].Payload); old == nil || !old.equal(e.m.Names) {
			e.namesAt, e.namePayload = i, e.m.Names.encode()
		}
		return
	}
	e.namePayload = e.m.Names.encode()
	e.namesNew = len(e.namePayload) > 0
}

// customs writes the custom sections behind section id.
func (e *encoder) customs(id SectionID) {
	if id == SectionData && e.namesNew {
		e.custom(nameSection, e.namePayload, 0)
	}
	for i := range e.m.Customs {
		switch c := &e.m.Customs[i]; {
		case c.After != id:
		case i == e.namesAt:
			e.custom(nameSection, e.namePayload, 0)
		default:
			e.custom(c.Name, c.Payload, c.sizeWidth)
		}
	}
}

func (e *encoder) custom(name string, payload []byte, width uint8) {
	e.head(SectionCustom, sizeName(name)+len(payload), width)
	e.out = append(appendName(e.out, name), payload...)
}

// small fills buf with the payload of a section and reports whether there is anything to write.
func (e *encoder) small(id SectionID) bool {
	m, b := e.m, e.buf
	n := 0
	switch id {
	case SectionType:
		n = len(m.Types)
		b = appendU32(b, uint32(n))
		for i := range m.Types {
			b = appendTypes(appendTypes(append(b, typeFunc), m.Types[i].Params), m.Types[i].Results)
		}
	case SectionImport:
		n = len(m.Imports)
		b = appendU32(b, uint32(n))
		for i := range m.Imports {
			b = appendImport(b, &m.Imports[i])
		}
	case SectionFunction:
		n = len(m.Funcs)
		b = appendU32(b, uint32(n))
		for i := range m.Funcs {
			b = appendU32(b, m.Funcs[i].Type)
		}
	case SectionTable:
		n = len(m.Tables)
		b = appendU32(b, uint32(n))
		for _, t := range m.Tables {
			b = appendLimits(append(b, byte(t.Elem)), t.Limits)
		}
	case SectionMemory:
		n = len(m.Memories)
		b = appendU32(b, uint32(n))
		for _, l := range m.Memories {
			b = appendLimits(b, l)
		}
	case SectionGlobal:
		n = len(m.Globals)
		b = appendU32(b, uint32(n))
		for i := range m.Globals {
			b = append(appendGlobalType(b, m.Globals[i].GlobalType), m.Globals[i].Init...)
		}
	case SectionExport:
		n = len(m.Exports)
		b = appendU32(b, uint32(n))
		for _, x := range m.Exports {
			b = appendU32(append(appendName(b, x.Name), byte(x.Kind)), x.Index)
		}
	case SectionStart:
		if m.Start != nil {
			n = 1
			b = appendU32(b, *m.Start)
		}
	case SectionElement:
		n = len(m.Elems)
		b = appendU32(b, uint32(n))
		for i := range m.Elems {
			b = appendElem(b, &m.Elems[i])
		}
	case SectionDataCount:
		if m.DataCount {
			n = 1
			b = appendU32(b, uint32(len(m.Data)))
		}
	}
	e.buf = b
	return n > 0
}

const typeFunc = 0x60

func appendTypes(b []byte, ts []ValType) []byte {
	b = appendU32(b, uint32(len(ts)))
	for _, t := range ts {
		b = append(b, byte(t))
	}
	return b
}

func appendImport(b []byte, im *Import) []byte {
	b = append(appendName(appendName(b, im.Module), im.Name), byte(im.Kind))
	switch im.Kind {
	case KindFunc:
		b = appendU32(b, im.Type)
	case KindTable:
		b = appendLimits(append(b, byte(im.Table.Elem)), im.Table.Limits)
	case KindMemory:
		b = appendLimits(b, im.Memory)
	case KindGlobal:
		b = appendGlobalType(b, im.Global)
	}
	return b
}

// Flags of limits.
const (
	limitMax    = 1
	limitShared = 2
)

func appendLimits(b []byte, l Limits) []byte {
	flags := byte(0)
	if l.HasMax {
		flags |= limitMax
	}
	if l.Shared {
		flags |= limitShared
	}
	b = appendU32(append(b, flags), l.Min)
	if l.HasMax {
		b = appendU32(b, l.Max)
	}
	return b
}

func appendGlobalType(b []byte, t GlobalType) []byte {
	mutable := byte(0)
	if t.Mutable {
		mutable = 1
	}
	return append(b, byte(t.Type), mutable)
}

const elemKindFunc = 0 // the only element kind

func appendElem(b []byte, s *Elem) []byte {
	b = appendU32(b, s.Flags)
	if s.Flags&SegPassive == 0 {
		if s.Flags&SegExplicit != 0 {
			b = appendU32(b, s.Table)
		}
		b = append(b, s.Offset...)
	}
	exprs := s.Flags&SegExprs != 0
	if s.Flags&(SegPassive|SegExplicit) != 0 {
		if exprs {
			b = append(b, byte(s.Type))
		} else {
			b = append(b, elemKindFunc)
		}
	}
	if exprs {
		b = appendU32(b, uint32(len(s.Exprs)))
		for _, x := range s.Exprs {
			b = append(b, x...)
		}
		return b
	}
	b = appendU32(b, uint32(len(s.Funcs)))
	for _, f := range s.Funcs {
		b = appendU32(b, f)
	}
	return b
}

func (f *Func) size() int {
	n := sizeU32(uint32(len(f.Locals))) + len(f.Body)
	for _, g := range f.Locals {
		n += sizeU32(g.Count) + 1
	}
	return n
}

func (e *encoder) codeSection() {
	funcs := e.m.Funcs
	if len(funcs) == 0 && e.m.sizeWidth[SectionCode] == 0 {
		return
	}
	total := sizeU32(uint32(len(funcs)))
	for i := range funcs {
		n := funcs[i].size()
		total += sizeU32(uint32(n)) + n
	}
	e.head(SectionCode, total, e.m.sizeWidth[SectionCode])
	b := appendU32(e.out, uint32(len(funcs)))
	for i := range funcs {
		f := &funcs[i]
		b = appendU32(appendU32(b, uint32(f.size())), uint32(len(f.Locals)))
		for _, g := range f.Locals {
			b = append(appendU32(b, g.Count), byte(g.Type))
		}
		b = append(b, f.Body...)
	}
	e.out = b
}

// headSize is the size of what stands before the bytes of a segment.
func (d *Data) headSize() int {
	n := sizeU32(d.Flags) + sizeU32(uint32(len(d.Bytes)))
	if d.Flags&SegPassive == 0 {
		n += len(d.Offset)
		if d.Flags&SegExplicit != 0 {
			n += sizeU32(d.Memory)
		}
	}
	return n
}

func (e *encoder) dataSection() {
	data := e.m.Data
	if len(data) == 0 && e.m.sizeWidth[SectionData] == 0 {
		return
	}
	total := sizeU32(uint32(len(data)))
	for i := range data {
		total += data[i].headSize() + len(data[i].Bytes)
	}
	e.head(SectionData, total, e.m.sizeWidth[SectionData])
	b := appendU32(e.out, uint32(len(data)))
	for i := range data {
		d := &data[i]
		b = appendU32(b, d.Flags)
		if d.Flags&SegPassive == 0 {
			if d.Flags&SegExplicit != 0 {
				b = appendU32(b, d.Memory)
			}
			b = append(b, d.Offset...)
		}
		b = append(appendU32(b, uint32(len(d.Bytes))), d.Bytes...)
	}
	e.out = b
}
