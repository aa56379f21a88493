package tflite

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// FormatError says where the file breaks. It matches onnx.ErrMalformed.
type FormatError struct {
	Offset int // byte in the file
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed TensorFlow Lite model: %s at byte %d", e.Reason, e.Offset)
}

func (e *FormatError) Unwrap() error { return onnx.ErrMalformed }

// file is the FlatBuffers encoding of a model. Every offset is checked where it is followed. The first
// error sticks: what is read after it is zero or absent.
type file struct {
	b    []byte
	left int // bytes of tables and lists that may still be read
	err  error
}

// reuse is how often a file may refer to the same bytes on average: writers share equal lists and
// buffers, a hostile file would let a million tensors share one.
const reuse = 4

func (f *file) fail(at int, format string, args ...any) {
	if f.err == nil {
		f.err = &FormatError{Offset: at, Reason: fmt.Sprintf(format, args...)}
	}
}

// has reports whether n bytes stand at at.
func (f *file) has(at, n int) bool {
	if f.err == nil && at >= 0 && n >= 0 && n <= len(f.b) && at <= len(f.b)-n {
		return true
	}
	f.fail(at, "%d bytes are beyond the end", n)
	return false
}

// pay takes n bytes from what may be read.
func (f *file) pay(at, n int) bool {
	if f.left -= n; f.left < 0 {
		f.fail(at, "it refers to the same bytes too often")
	}
	return f.err == nil
}

func (f *file) u16(at int) int {
	if !f.has(at, 2) {
		return 0
	}
	return int(binary.LittleEndian.Uint16(f.b[at:]))
}

func (f *file) u32(at int) int {
	if !f.has(at, 4) {
		return 0
	}
	return int(binary.LittleEndian.Uint32(f.b[at:]))
}

func (f *file) i32(at int) int { return int(int32(f.u32(at))) }

// table is a cursor on one table; the zero table has no field.
type table struct {
	f                *file
	at, fields, size int // fields is where the offsets of its fields stand, in size bytes with its head
}

// table follows the reference at ref.
func (f *file) table(ref int) table {
	t := table{f: f, at: ref + f.u32(ref)}
	t.fields = t.at - f.i32(t.at)
	t.size = f.u16(t.fields)
	if !f.has(t.fields, t.size) || !f.pay(t.at, 8) {
		return table{f: f}
	}
	return t
}

// field is where the field in a slot stands, which takes n bytes; 0 if it is absent.
func (t table) field(slot, n int) int {
	o := 4 + 2*slot
	if o+2 > t.size {
		return 0
	}
	at := t.f.u16(t.fields + o)
	if at == 0 || !t.f.has(t.at+at, n) {
		return 0
	}
	return t.at + at
}

func (t table) int(slot, absent int) int {
	if at := t.field(slot, 4); at != 0 {
		return t.f.i32(at)
	}
	return absent
}

// byte reads what takes one byte: an enumeration or a boolean, both with 0 as default.
func (t table) byte(slot int) int {
	if at := t.field(slot, 1); at != 0 {
		return int(t.f.b[at])
	}
	return 0
}

func (t table) bool(slot int) bool { return t.byte(slot) != 0 }

func (t table) float(slot int) float32 {
	if at := t.field(slot, 4); at != 0 {
		return math.Float32frombits(uint32(t.f.u32(at)))
	}
	return 0
}

func (t table) u64(slot int) uint64 {
	if at := t.field(slot, 8); at != 0 {
		return binary.LittleEndian.Uint64(t.f.b[at:])
	}
	return 0
}

func (t table) table(slot int) table {
	if at := t.field(slot, 4); at != 0 {
		return t.f.table(at)
	}
	return table{f: t.f}
}

// list is where the n elements of a list begin, which take size bytes each.
func (t table) list(slot, size int) (at, n int) {
	ref := t.field(slot, 4)
	if ref == 0 {
		return 0, 0
	}
	at = ref + t.f.u32(ref)
	n = t.f.u32(at)
	if n > len(t.f.b)/size || !t.f.has(at+4, n*size) {
		t.f.fail(at, "a list of %d elements is beyond the end", n)
		return 0, 0
	}
	return at + 4, n
}

func (t table) bytes(slot int) []byte {
	at, n := t.list(slot, 1)
	return t.f.b[at : at+n : at+n]
}

func (t table) tables(slot int) []table {
	at, n := t.list(slot, 4)
	if !t.f.pay(at, 4*n) {
		return nil
	}
	var out []table
	for i := 0; i < n && t.f.err == nil; i++ {
		out = append(out, t.f.table(at+4*i))
	}
	return out
}

func (t table) ints(slot int) []int64 {
	at, n := t.list(slot, 4)
	if n == 0 || !t.f.pay(at, 4*n) {
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(t.f.i32(at + 4*i))
	}
	return out
}

func (t table) longs(slot int) []int64 {
	at, n := t.list(slot, 8)
	if n == 0 || !t.f.pay(at, 8*n) {
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(t.f.b[at+8*i:]))
	}
	return out
}

func (t table) floats(slot int) []float32 {
	at, n := t.list(slot, 4)
	if n == 0 || !t.f.pay(at, 4*n) {
		return nil
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(uint32(t.f.u32(at + 4*i)))
	}
	return out
}
