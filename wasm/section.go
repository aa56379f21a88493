package wasm

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// SectionID is the number of a section in the binary format. They do not stand in the order of their
// numbers: the data count comes before the code.
type SectionID byte

const (
	SectionCustom SectionID = iota
	SectionType
	SectionImport
	SectionFunction
	SectionTable
	SectionMemory
	SectionGlobal
	SectionExport
	SectionStart
	SectionElement
	SectionCode
	SectionData
	SectionDataCount

	maxSection = SectionDataCount
)

// sectionOrder is the order in which sections stand.
var sectionOrder = [...]SectionID{
	SectionType, SectionImport, SectionFunction, SectionTable, SectionMemory, SectionGlobal,
	SectionExport, SectionStart, SectionElement, SectionDataCount, SectionCode, SectionData,
}

var sectionNames = [maxSection + 1]string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element",
	"code", "data", "data count",
}

func (id SectionID) String() string {
	if int(id) < len(sectionNames) {
		return sectionNames[id]
	}
	return fmt.Sprintf("section(%d)", byte(id))
}

// Section is one section of a binary.
type Section struct {
	ID     SectionID
	Name   string // of a custom section
	Offset int    // of the whole section in the binary
	Size   int    // of the whole section, with its number and its size

	// Payload refers to the binary. The name of a custom section is not part of it.
	Payload []byte

	sizeWidth uint8
}

// Title is the name of the section as people call it: "code", or `custom "name"`.
func (s Section) Title() string {
	if s.ID == SectionCustom {
		return fmt.Sprintf("custom %q", s.Name)
	}
	return s.ID.String()
}

// Sections lists the sections of a binary in their order, with their sizes. It checks that they fill
// the binary, stand in the right order and only once, and reads no payload.
func Sections(bin []byte) ([]Section, error) {
	var list []Section
	err := scan(bin, func(s Section) { list = append(list, s) })
	if err != nil {
		return nil, err
	}
	return list, nil
}

// rank is the place of a section in the order, from 1; 0 if there is no such section.
func (id SectionID) rank() int {
	for i, o := range sectionOrder {
		if o == id {
			return i + 1
		}
	}
	return 0
}

// scan calls f for each section.
func scan(bin []byte, f func(Section)) error {
	r := reader{b: bin}
	if len(bin) < headerSize || string(bin[:4]) != string(header[:4]) {
		r.fail("not a wasm binary: it does not start with the bytes 00 61 73 6d")
		return r.err
	}
	if string(bin[4:headerSize]) != string(header[4:]) {
		r.failAt(4, "version %x, want the core module version %x", bin[4:headerSize], header[4:])
		return r.err
	}
	r.pos = headerSize
	last := SectionCustom
	for r.left() > 0 {
		s := Section{Offset: r.pos, ID: SectionID(r.b[r.pos])}
		r.pos++
		if s.ID != SectionCustom {
			if s.ID.rank() == 0 {
				r.failAt(s.Offset, "unknown section number %d", byte(s.ID))
			} else if s.ID == last {
				r.failAt(s.Offset, "second %v section", s.ID)
			} else if s.ID.rank() < last.rank() {
				r.failAt(s.Offset, "%v section behind the %v section", s.ID, last)
			}
			last = s.ID
		}
		widthAt := r.pos
		size := r.u32("the size of a section")
		s.sizeWidth = uint8(r.pos - widthAt)
		at := r.pos
		s.Payload = r.take(int(size), fmt.Sprintf("%v section", s.ID))
		if r.err != nil {
			return r.err
		}
		if s.ID == SectionCustom {
			in := reader{b: s.Payload, base: at, section: "custom"}
			s.Name = in.name("the name of a custom section")
			if in.err != nil {
				return in.err
			}
			s.Payload = s.Payload[in.pos:]
		}
		s.Size = r.pos - s.Offset
		f(s)
	}
	return nil
}

// CustomSection gives the payload of the first custom section with this name. It reads the frame of
// the sections only, so it is quick on large binaries; the payload refers to bin.
func CustomSection(bin []byte, name string) (payload []byte, ok bool, err error) {
	err = scan(bin, func(s Section) {
		if s.ID == SectionCustom && s.Name == name && !ok {
			payload, ok = s.Payload, true
		}
	})
	if err != nil {
		return nil, false, err
	}
	return payload, ok, nil
}

// SetCustomSection gives a copy of bin whose custom section with this name has this payload. It
// replaces the first such section, removes further ones, and adds it at the end if there is none. All
// other bytes stay.
func SetCustomSection(bin []byte, name string, payload []byte) ([]byte, error) {
	if !utf8.ValidString(name) {
		return nil, fmt.Errorf("wasm: custom section name %q is not UTF-8", name)
	}
	size := uint64(sizeName(name)) + uint64(len(payload))
	if size > math.MaxUint32 {
		return nil, fmt.Errorf("wasm: custom section %q of %d bytes, at most %d", name, size, uint32(math.MaxUint32))
	}
	out := make([]byte, 0, len(bin)+6+int(size))
	put := func() {
		out = appendU32(append(out, byte(SectionCustom)), uint32(size))
		out = append(appendName(out, name), payload...)
	}
	kept, done := 0, false
	err := scan(bin, func(s Section) {
		if s.ID != SectionCustom || s.Name != name {
			return
		}
		out = append(out, bin[kept:s.Offset]...)
		kept = s.Offset + s.Size
		if !done {
			put()
			done = true
		}
	})
	if err != nil {
		return nil, err
	}
	out = append(out, bin[kept:]...)
	if !done {
		put()
	}
	return out, nil
}
