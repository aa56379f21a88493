package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Needs is what a module asks of its host before it can run.
type Needs struct {
	Imports  []Import
	MinPages uint32 // the first own or imported memory's initial size
}

var errScan = errors.New("engine: not a complete module")

// ScanNeeds reads the import and memory sections of bin without decoding the rest. It exists beside
// package wasm because engines report missing imports one at a time and kinds other than functions
// not at all. It accepts more than an engine does; compile first.
func ScanNeeds(bin []byte) (Needs, error) {
	var n Needs
	if len(bin) < 8 || string(bin[:8]) != "\x00asm\x01\x00\x00\x00" {
		return n, fmt.Errorf("%w: no magic and version", errScan)
	}
	s := scanner{b: bin[8:]}
	for len(s.b) > 0 && s.ok() {
		id := s.byte()
		sec := scanner{b: s.bytes()}
		switch id {
		case 2:
			for range sec.count() {
				imp := Import{Module: string(sec.bytes()), Name: string(sec.bytes())}
				switch sec.byte() {
				case 0:
					imp.Kind = "func"
					sec.u32()
				case 1:
					imp.Kind = "table"
					sec.byte()
					sec.limits()
				case 2:
					imp.Kind = "memory"
					n.MinPages = max(n.MinPages, sec.limits())
				case 3:
					imp.Kind = "global"
					sec.byte()
					sec.byte()
				case 4:
					imp.Kind = "tag"
					sec.byte()
					sec.u32()
				default:
					sec.bad = true
				}
				if !sec.ok() {
					break
				}
				n.Imports = append(n.Imports, imp)
			}
		case 5:
			for range sec.count() {
				n.MinPages = max(n.MinPages, sec.limits())
			}
		}
		s.bad = s.bad || sec.bad
	}
	if !s.ok() {
		return Needs{}, fmt.Errorf("%w: sections do not add up", errScan)
	}
	return n, nil
}

// scanner reads from the front of b and remembers the first failure.
type scanner struct {
	b   []byte
	bad bool
}

func (s *scanner) ok() bool { return !s.bad }

func (s *scanner) byte() byte {
	if s.bad || len(s.b) == 0 {
		s.bad = true
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return v
}

func (s *scanner) u64() uint64 {
	v, n := binary.Uvarint(s.b)
	if s.bad || n <= 0 {
		s.bad = true
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) u32() uint32 {
	v := s.u64()
	if v > 1<<32-1 {
		s.bad = true
		return 0
	}
	return uint32(v)
}

// count is a number of entries, of which each takes at least one byte.
func (s *scanner) count() int {
	n := s.u32()
	if uint64(n) > uint64(len(s.b)) {
		s.bad = true
		return 0
	}
	return int(n)
}

func (s *scanner) bytes() []byte {
	n := s.count()
	if s.bad {
		return nil
	}
	v := s.b[:n]
	s.b = s.b[n:]
	return v
}

// limits reads a minimum, and a maximum where there is one, and returns the minimum.
func (s *scanner) limits() uint32 {
	flags := s.byte()
	lo := s.u64()
	if flags&1 != 0 {
		s.u64()
	}
	return uint32(min(lo, 1<<32-1))
}
