package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrFormat is what every error of this package about its input wraps.
var ErrFormat = errors.New("malformed wasm")

// FormatError says what is wrong with a binary and where.
type FormatError struct {
	Section string // "type", "code", …; "" for the frame around the sections
	Offset  int    // from the start of the input
	Reason  string
}

func (e *FormatError) Error() string {
	if e.Section == "" {
		return fmt.Sprintf("wasm: offset 0x%x: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("wasm: %s section, offset 0x%x: %s", e.Section, e.Offset, e.Reason)
}

// Unwrap gives ErrFormat.
func (e *FormatError) Unwrap() error { return ErrFormat }

// reader reads a section. The first failure stays; every read after it gives zero, so that callers
// check once, at the end of a loop body.
type reader struct {
	b       []byte
	pos     int
	base    int // offset of b in the input
	section string
	err     *FormatError
}

func (r *reader) failAt(pos int, format string, args ...any) {
	if r.err == nil {
		r.err = &FormatError{r.section, r.base + pos, fmt.Sprintf(format, args...)}
	}
}

func (r *reader) fail(format string, args ...any) { r.failAt(r.pos, format, args...) }

func (r *reader) ok() bool { return r.err == nil }

// error gives r.err as an error that is nil if there is none.
func (r *reader) error() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) byte(what string) byte {
	if r.err != nil {
		return 0
	}
	if r.pos >= len(r.b) {
		r.fail("ends inside %s", what)
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// take gives the next n bytes without a copy. The capacity is cut, so that appending to them cannot
// write into the input.
func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.left() {
		r.fail("%s of %d bytes, %d are left", what, n, r.left())
		return nil
	}
	r.pos += n
	return r.b[r.pos-n : r.pos : r.pos]
}

func (r *reader) u32(what string) uint32 {
	if r.err == nil && r.pos < len(r.b) && r.b[r.pos] < 0x80 {
		r.pos++
		return uint32(r.b[r.pos-1])
	}
	return uint32(r.leb(what, 32, false))
}

// signed reads a signed LEB128 of 32, 33 or 64 bits.
func (r *reader) signed(what string, bits int) int64 { return int64(r.leb(what, bits, true)) }

// leb refuses more bytes than the width needs, and unused bits of the last byte that are no extension of the value.
func (r *reader) leb(what string, bits int, signed bool) uint64 {
	start, v := r.pos, uint64(0)
	for shift := 0; ; shift += 7 {
		c := r.byte(what)
		if r.err != nil {
			return 0
		}
		v |= uint64(c&0x7F) << shift
		if rest := bits - shift; rest <= 7 {
			if c&0x80 != 0 {
				r.failAt(start, "%s is an integer longer than %d bytes", what, (bits+6)/7)
				return 0
			}
			over := int8(c<<1) >> 1 // sign bit of the byte extended
			if signed {
				over >>= rest - 1
			} else {
				over = int8(uint8(c) >> rest)
			}
			if over != 0 && !(signed && over == -1) {
				r.failAt(start, "%s is out of range for %d bits", what, bits)
				return 0
			}
		}
		if c&0x80 == 0 {
			if shift += 7; signed && c&0x40 != 0 && shift < 64 {
				v |= math.MaxUint64 << shift
			}
			return v
		}
	}
}

// count reads the length of a vector whose elements take at least minSize bytes each, so that what is
// allocated for it is bounded by the input.
func (r *reader) count(what string, minSize int) int {
	start := r.pos
	n := r.u32(what)
	if r.err == nil && int64(n) > int64(r.left()/minSize) {
		r.failAt(start, "%d %s in %d bytes", n, what, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) name(what string) string {
	n := r.u32(what)
	start := r.pos
	b := r.take(int(n), what)
	if !utf8.Valid(b) {
		r.failAt(start, "%s is not UTF-8", what)
		return ""
	}
	return string(b)
}

func (r *reader) valType(what string) ValType {
	start := r.pos
	t := ValType(r.byte(what))
	if r.err == nil && !t.Valid() {
		r.failAt(start, "%s 0x%02x is not a value type", what, byte(t))
	}
	return t
}

func (r *reader) refType(what string) ValType {
	start := r.pos
	t := ValType(r.byte(what))
	if r.err == nil && !t.IsRef() {
		r.failAt(start, "%s 0x%02x is not a reference type", what, byte(t))
	}
	return t
}

func (r *reader) fixed32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) fixed64(what string) uint64 {
	if b := r.take(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// end fails if something is left.
func (r *reader) end(what string) {
	if r.err == nil && r.left() > 0 {
		r.fail("%d bytes behind %s", r.left(), what)
	}
}
