package abi

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// HostPrefix is what the import modules of host functions begin with; the interface follows, which has the
// name of its permission: "isomer:host/kv". docs/abi.md section 8 has every function.
const HostPrefix = "isomer:host/"

// HostPermission is the permission that an import from module needs; false where it is none of a host
// function.
func HostPermission(module string) (Permission, bool) {
	kind, ok := strings.CutPrefix(module, HostPrefix)
	if _, known := kinds[PermissionKind(kind)]; !ok || !known || kind == string(PermRead) {
		return Permission{}, false
	}
	return Permission{Kind: PermissionKind(kind)}, true
}

// Limits of what crosses in a host function. Beyond them the function answers with an error, unless it is
// said otherwise.
const (
	MaxLogLine    = 64 << 10 // longer ones are cut
	MaxRandom     = 1 << 20  // in one call; beyond: trap
	MaxKey        = 512      // bytes of a key, at least 1
	MaxValue      = 1 << 20
	MaxPayload    = 1 << 20 // what brokers take by default
	MaxURL        = 8 << 10
	MaxHeaders    = 128      // of a request
	MaxHeaderText = 64 << 10 // names and values together
	MaxErrorText  = 1 << 10  // of a host function's error; longer ones are cut
)

// Sizes of the records that host functions leave at the address that is their last parameter.
const (
	OptionResultSize = 16 // result<option<list<u8>>, string>: tag u8 @0; ok: option tag u8 @4, ptr @8, len @12; err: ptr @4, len @8
	FetchResultSize  = 24 // result<response, string>: tag u8 @0; ok: status u16 @4, headers ptr @8, len @12, body ptr @16, len @20; err: ptr @4, len @8
	pairSize         = 16 // tuple<string, string>: ptr @0, len @4, ptr @8, len @12
)

// Guest is a module as a host function that it calls sees it.
type Guest struct {
	// Memory is the module's memory, fetched anew each time: Alloc may let it grow.
	Memory func() []byte
	// Alloc is cabi_realloc(0, 0, align, n).
	Alloc func(align, n uint32) (uint32, error)
}

// Text is a copy of the string at ptr, which may be any bytes: callers decide what to do about those that
// are not UTF-8. More than limit is cut, so that a call costs no more than what is used.
func (g Guest) Text(ptr, n uint32, limit int, what string) (string, error) {
	b, err := Span(g.Memory(), ptr, n, what)
	if err != nil {
		return "", err
	}
	return string(b[:min(len(b), limit)]), nil
}

// Record checks that a host function may leave size bytes at ret. It comes before the function does
// anything: what has an effect must not fail afterwards.
func (g Guest) Record(ret, size uint32) error {
	_, err := record(g.Memory(), ret, size, "result record")
	return err
}

// TooMuchError is a list longer than its limit, which the guest is told.
type TooMuchError struct {
	What        string
	Have, Limit uint64
}

func (e *TooMuchError) Error() string {
	return fmt.Sprintf("%s: %d, at most %d are allowed", e.What, e.Have, e.Limit)
}

// Pairs reads list<tuple<string, string>>. Of count pairs and bytes of text there are at most maxPairs
// and maxText, otherwise the error is an *TooMuchError: parts may overlap, so that a small memory holds a list of
// any size.
func (g Guest) Pairs(ptr, count uint32, maxPairs, maxText int, what string) ([][2]string, error) {
	if uint64(count) > uint64(maxPairs) {
		return nil, &TooMuchError{What: what, Have: uint64(count), Limit: uint64(maxPairs)}
	}
	if count == 0 {
		return nil, nil
	}
	mem := g.Memory()
	list, err := record(mem, ptr, count*pairSize, what)
	if err != nil {
		return nil, err
	}
	out := make([][2]string, count)
	text := uint64(0)
	for i := range out {
		for k := range out[i] {
			at := list[i*pairSize+k*8:]
			b, err := Span(mem, binary.LittleEndian.Uint32(at), binary.LittleEndian.Uint32(at[4:]), fmt.Sprintf("%s[%d]", what, i))
			if err != nil {
				return nil, err
			}
			if text += uint64(len(b)); text > uint64(maxText) {
				return nil, &TooMuchError{What: "bytes of " + what, Have: text, Limit: uint64(maxText)}
			}
			out[i][k] = string(b)
		}
	}
	return out, nil
}

// span allocates n bytes in the guest. An empty one needs no memory; its address is the alignment, since
// languages whose pointers are never null read it.
func (g Guest) span(align, n uint32, what string) (uint32, error) {
	if n == 0 {
		return align, nil
	}
	ptr, err := g.Alloc(align, n)
	if err != nil {
		return 0, err
	}
	if ptr%align != 0 {
		return 0, fmt.Errorf("%w: %s gave 0x%x for %s, not aligned to %d bytes", ErrViolation, ExportRealloc, ptr, what, align)
	}
	if _, err := Span(g.Memory(), ptr, n, "memory from "+ExportRealloc+" for "+what); err != nil {
		return 0, err
	}
	return ptr, nil
}

// list allocates room for b and copies it there.
func (g Guest) list(b []byte, what string) (ptr, n uint32, err error) {
	if uint64(len(b)) > 1<<32-1 {
		return 0, 0, &TooMuchError{What: "bytes of " + what, Have: uint64(len(b)), Limit: 1<<32 - 1}
	}
	ptr, err = g.span(1, uint32(len(b)), what)
	if err != nil || len(b) == 0 {
		return ptr, 0, err
	}
	dst, err := Span(g.Memory(), ptr, uint32(len(b)), what) // again: the memory may be another
	copy(dst, b)
	return ptr, uint32(len(b)), err
}

// strings allocates an array of width strings an element, and the strings one by one: the guest frees
// each of them.
func (g Guest) strings(all []string, width int, what string) (ptr, n uint32, err error) {
	if uint64(len(all)) > (1<<32-1)/8 {
		return 0, 0, &TooMuchError{What: what, Have: uint64(len(all)), Limit: (1<<32 - 1) / 8}
	}
	size := uint32(len(all)) * 8
	ptr, err = g.span(4, size, what)
	if err != nil {
		return 0, 0, err
	}
	for i, s := range all {
		at, n, err := g.list([]byte(s), what)
		if err != nil {
			return 0, 0, err
		}
		dst, err := Span(g.Memory(), ptr, size, what)
		if err != nil {
			return 0, 0, err
		}
		binary.LittleEndian.PutUint32(dst[i*8:], at)
		binary.LittleEndian.PutUint32(dst[i*8+4:], n)
	}
	return ptr, uint32(len(all) / width), nil
}

// leave writes the words of a record behind its tag.
func (g Guest) leave(ret uint32, tag byte, words ...uint32) error {
	rec, err := record(g.Memory(), ret, 4+4*uint32(len(words)), "result record")
	if err != nil {
		return err
	}
	rec[0] = tag
	for i, w := range words {
		binary.LittleEndian.PutUint32(rec[4+4*i:], w)
	}
	return nil
}

// LeaveList leaves list<u8> at ret.
func (g Guest) LeaveList(ret uint32, b []byte) error {
	ptr, n, err := g.list(b, "list")
	if err != nil {
		return err
	}
	rec, err := record(g.Memory(), ret, ListSize, "list record")
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(rec, ptr)
	binary.LittleEndian.PutUint32(rec[4:], n)
	return nil
}

// LeaveError leaves the err of any of the results at ret. The message is made valid UTF-8, and cut at
// MaxErrorText.
func (g Guest) LeaveError(ret uint32, message string) error {
	message = Clean(message, MaxErrorText)
	ptr, n, err := g.list([]byte(message), "error message")
	if err != nil {
		return err
	}
	return g.leave(ret, TagErr, ptr, n)
}

// LeaveDone leaves the ok of result<_, string>.
func (g Guest) LeaveDone(ret uint32) error { return g.leave(ret, TagOK, 0, 0) }

// LeaveOption leaves the ok of result<option<list<u8>>, string>.
func (g Guest) LeaveOption(ret uint32, b []byte, some bool) error {
	if !some {
		return g.leave(ret, TagOK, 0, 0, 0)
	}
	ptr, n, err := g.list(b, "value")
	if err != nil {
		return err
	}
	return g.leave(ret, TagOK, 1, ptr, n)
}

// LeaveStrings leaves the ok of result<list<string>, string>.
func (g Guest) LeaveStrings(ret uint32, list []string) error {
	ptr, n, err := g.strings(list, 1, "list of strings")
	if err != nil {
		return err
	}
	return g.leave(ret, TagOK, ptr, n)
}

// LeaveResponse leaves the ok of result<response, string>.
func (g Guest) LeaveResponse(ret uint32, status uint16, headers [][2]string, body []byte) error {
	flat := make([]string, 0, 2*len(headers))
	for _, h := range headers {
		flat = append(flat, h[0], h[1])
	}
	hptr, hn, err := g.strings(flat, 2, "headers")
	if err != nil {
		return err
	}
	bptr, bn, err := g.list(body, "body")
	if err != nil {
		return err
	}
	return g.leave(ret, TagOK, uint32(status), hptr, hn, bptr, bn)
}

// Clean makes s valid UTF-8, with U+FFFD for what is not, and at most limit bytes long, of which the last
// are "…" where it was cut.
func Clean(s string, limit int) string {
	const mark = "…"
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !cut && len(s) <= limit {
		return s
	}
	end := max(0, min(len(s), limit-len(mark)))
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
