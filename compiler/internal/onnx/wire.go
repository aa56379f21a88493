package onnx

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds the nesting of messages, as protobuf's own readers do. A subgraph costs three levels
// (graph, node, attribute), so 100 leaves room for 32 nested loops and ifs.
const maxDepth = 100

// FormatError says where the protobuf encoding breaks. It matches ErrMalformed.
type FormatError struct {
	Path   string // such as graph.node[3].attribute[0]; empty at the top
	Offset int    // byte in the file
	Reason string
}

func (e *FormatError) Error() string {
	s := fmt.Sprintf("%v: %s at byte %d", ErrMalformed, e.Reason, e.Offset)
	if e.Path != "" {
		s += " in " + e.Path
	}
	return s
}

func (e *FormatError) Unwrap() error { return ErrMalformed }

// input is what all messages of one file share. The first error sticks and ends every loop.
type input struct {
	b        []byte
	err      error
	external []*Tensor
}

// message is a cursor over one protobuf message inside the input.
type message struct {
	in       *input
	pos, end int
	parent   *message
	field    string // name of the field of the parent that holds this message
	index    int    // position in a repeated field, or -1
	depth    int

	num protowire.Number // current field, set by next
	typ protowire.Type
	at  int // offset of the current field's tag
}

func newMessage(in *input) *message { return &message{in: in, end: len(in.b), index: -1} }

func (m *message) path() string {
	var parts []string
	for ; m.parent != nil; m = m.parent {
		p := m.field
		if m.index >= 0 {
			p = fmt.Sprintf("%s[%d]", m.field, m.index)
		}
		parts = append([]string{p}, parts...)
	}
	return strings.Join(parts, ".")
}

func (m *message) fail(at int, format string, args ...any) {
	if m.in.err == nil {
		m.in.err = &FormatError{Path: m.path(), Offset: at, Reason: fmt.Sprintf(format, args...)}
	}
}

func (m *message) rest() []byte { return m.in.b[m.pos:m.end] }

// advance moves over n bytes; a negative n is protowire's error code for the value at the cursor.
func (m *message) advance(n int) bool {
	if n < 0 {
		err := protowire.ParseError(n)
		reason := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
		if reason == "unexpected EOF" {
			reason = "truncated"
		}
		m.fail(m.pos, "%s", reason)
		return false
	}
	m.pos += n
	return true
}

// next moves to the next field and reports whether there is one.
func (m *message) next() bool {
	if m.in.err != nil || m.pos >= m.end {
		return false
	}
	m.at = m.pos
	num, typ, n := protowire.ConsumeTag(m.rest())
	if !m.advance(n) {
		return false
	}
	m.num, m.typ = num, typ
	return true
}

func (m *message) skip() {
	m.advance(protowire.ConsumeFieldValue(m.num, m.typ, m.rest()))
}

func (m *message) want(typ protowire.Type) bool {
	if m.typ == typ {
		return true
	}
	m.fail(m.at, "field %d has wire type %d, want %d", m.num, m.typ, typ)
	return false
}

func (m *message) varint() int64 {
	if !m.want(protowire.VarintType) {
		return 0
	}
	v, n := protowire.ConsumeVarint(m.rest())
	m.advance(n)
	return int64(v)
}

// enum reads an int32 field; the format lets a negative number take ten bytes, so only the range is checked.
func (m *message) enum() int32 {
	v := m.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		m.fail(m.at, "field %d is out of range: %d", m.num, v)
		return 0
	}
	return int32(v)
}

func (m *message) float() float32 {
	if !m.want(protowire.Fixed32Type) {
		return 0
	}
	v, n := protowire.ConsumeFixed32(m.rest())
	m.advance(n)
	return math.Float32frombits(v)
}

// bytes returns a slice of the input, never nil unless the input is broken.
func (m *message) bytes() []byte {
	if !m.want(protowire.BytesType) {
		return nil
	}
	n, head := protowire.ConsumeVarint(m.rest())
	if !m.advance(head) {
		return nil
	}
	if left := m.end - m.pos; n > uint64(left) {
		m.fail(m.pos, "truncated (field %d needs %d bytes, %d left)", m.num, n, left)
		return nil
	}
	b := m.in.b[m.pos : m.pos+int(n) : m.pos+int(n)]
	m.pos += int(n)
	return b
}

func (m *message) string() string { return string(m.bytes()) }

// message opens the current field as a message; index is -1 for a field that is not repeated.
func (m *message) message(field string, index int) *message {
	sub := &message{in: m.in, pos: m.pos, parent: m, field: field, index: index, depth: m.depth + 1, num: m.num, typ: m.typ, at: m.at}
	// Opened through sub, so that an error in the length already names the field.
	sub.end = m.end
	b := sub.bytes()
	m.pos, sub.pos, sub.end = sub.pos, sub.pos-len(b), sub.pos
	if sub.depth > maxDepth {
		m.fail(m.at, "more than %d nested messages", maxDepth)
	}
	return sub
}

// packed calls one for each element of a repeated number, which the file holds one by one (as wire type
// single) or packed into one length-delimited field.
func (m *message) packed(single protowire.Type, one func(b []byte) int) {
	if m.typ != protowire.BytesType {
		if m.want(single) {
			m.advance(one(m.rest()))
		}
		return
	}
	b := m.bytes()
	start := m.pos - len(b)
	for off := 0; off < len(b) && m.in.err == nil; {
		n := one(b[off:])
		if n < 0 {
			end := m.pos
			m.pos = start + off
			m.advance(n)
			m.pos = end
			return
		}
		off += n
	}
}

// count is the number of elements in the current field if they are packed with a fixed size, and 1 otherwise,
// so that a list of weights is allocated once.
func (m *message) count(size int) int {
	if m.typ != protowire.BytesType {
		return 1
	}
	n, head := protowire.ConsumeVarint(m.rest())
	if head < 0 || n > uint64(m.end-m.pos-head) {
		return 0
	}
	return int(n) / size
}

func (m *message) int64s(to []int64) []int64 {
	m.packed(protowire.VarintType, func(b []byte) int {
		v, n := protowire.ConsumeVarint(b)
		if n >= 0 {
			to = append(to, int64(v))
		}
		return n
	})
	return to
}

func (m *message) uint64s(to []uint64) []uint64 {
	m.packed(protowire.VarintType, func(b []byte) int {
		v, n := protowire.ConsumeVarint(b)
		if n >= 0 {
			to = append(to, v)
		}
		return n
	})
	return to
}

func (m *message) int32s(to []int32) []int32 {
	m.packed(protowire.VarintType, func(b []byte) int {
		v, n := protowire.ConsumeVarint(b)
		if n >= 0 {
			to = append(to, int32(v)) // protobuf: an int32 is the low 32 bits of the varint
		}
		return n
	})
	return to
}
