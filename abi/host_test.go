package abi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// arena is a guest's memory whose allocator moves it each time, as a memory that grows may.
type arena struct {
	mem  []byte
	next uint32
	fail error
}

func newArena(size int) *arena { return &arena{mem: make([]byte, size), next: 64} }

func (a *arena) guest() Guest {
	return Guest{
		Memory: func() []byte { return a.mem },
		Alloc: func(align, n uint32) (uint32, error) {
			if a.fail != nil {
				return 0, a.fail
			}
			ptr := (a.next + align - 1) &^ (align - 1)
			a.next = ptr + n
			old := a.mem
			a.mem = slices.Clone(old)
			for i := range old {
				old[i] = 0xdb // whoever still holds the old view writes and reads nonsense
			}
			return ptr, nil
		},
	}
}

func (a *arena) u32(at uint32) uint32 { return binary.LittleEndian.Uint32(a.mem[at:]) }

func (a *arena) text(at uint32) string {
	ptr, n := a.u32(at), a.u32(at+4)
	return string(a.mem[ptr : ptr+n])
}

func TestLeave(t *testing.T) {
	a := newArena(4096)
	g := a.guest()
	if err := g.LeaveList(8, []byte("bytes")); err != nil || a.text(8) != "bytes" {
		t.Errorf("list: %v", err)
	}
	if err := g.LeaveError(8, "no such meter"); err != nil || a.mem[8] != TagErr || a.text(12) != "no such meter" {
		t.Errorf("error: %v", err)
	}
	if err := g.LeaveDone(8); err != nil || a.mem[8] != TagOK {
		t.Errorf("done: %v", err)
	}
	if err := g.LeaveOption(8, []byte("v"), true); err != nil || a.mem[8] != TagOK || a.mem[12] != 1 || a.text(16) != "v" {
		t.Errorf("some: %v", err)
	}
	if err := g.LeaveOption(8, nil, true); err != nil || a.mem[12] != 1 || a.u32(16) != 1 || a.u32(20) != 0 {
		t.Errorf("an empty value is not none, at an address that is not null: %v", err)
	}
	if err := g.LeaveOption(8, nil, false); err != nil || a.mem[8] != TagOK || a.mem[12] != 0 {
		t.Errorf("none: %v", err)
	}
	if err := g.LeaveStrings(8, []string{"a", "", "ccc"}); err != nil || a.u32(16) != 3 {
		t.Fatalf("strings: %v", err)
	}
	at := a.u32(12)
	if a.text(at) != "a" || a.u32(at+12) != 0 || a.text(at+16) != "ccc" {
		t.Error("strings are not what they were")
	}
	if err := g.LeaveStrings(8, nil); err != nil || a.u32(12) != 4 || a.u32(16) != 0 {
		t.Errorf("no strings: %v", err)
	}
	if err := g.LeaveResponse(8, 404, [][2]string{{"Content-Type", "text/plain"}, {"X", "y"}}, []byte("body")); err != nil {
		t.Fatal(err)
	}
	at = a.u32(16)
	if a.u32(12) != 404 || a.u32(20) != 2 || a.text(at) != "Content-Type" || a.text(at+8) != "text/plain" || a.text(at+24) != "y" || a.text(24) != "body" {
		t.Errorf("response: % x", a.mem[8:32])
	}
}

func TestLeaveRefuses(t *testing.T) {
	broken := errors.New("the guest died")
	for name, tt := range map[string]struct {
		ret   uint32
		alloc func(align, n uint32) (uint32, error)
		want  error
	}{
		"record outside":    {ret: 4092, want: ErrViolation},
		"record unaligned":  {ret: 9, want: ErrViolation},
		"record wraps":      {ret: 0xffff_fffc, want: ErrViolation},
		"memory outside":    {ret: 8, alloc: func(_, _ uint32) (uint32, error) { return 4096, nil }, want: ErrViolation},
		"memory wraps":      {ret: 8, alloc: func(_, _ uint32) (uint32, error) { return 0xffff_fffc, nil }, want: ErrViolation},
		"memory unaligned":  {ret: 8, alloc: func(align, _ uint32) (uint32, error) { return 64 + align/2, nil }, want: ErrViolation},
		"the guest trapped": {ret: 8, alloc: func(_, _ uint32) (uint32, error) { return 0, broken }, want: broken},
	} {
		a := newArena(4096)
		g := a.guest()
		if tt.alloc != nil {
			g.Alloc = tt.alloc
		}
		calls := map[string]func() error{
			"strings": func() error { return g.LeaveStrings(tt.ret, []string{"a", "b"}) },
			"fetch":   func() error { return g.LeaveResponse(tt.ret, 200, [][2]string{{"a", "b"}}, []byte("body")) },
		}
		if name != "memory unaligned" { // bytes have no alignment
			calls["list"] = func() error { return g.LeaveList(tt.ret, []byte("b")) }
			calls["error"] = func() error { return g.LeaveError(tt.ret, "no") }
			calls["option"] = func() error { return g.LeaveOption(tt.ret, []byte("b"), true) }
		}
		for what, f := range calls {
			if err := f(); !errors.Is(err, tt.want) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

func TestTake(t *testing.T) {
	a := newArena(256)
	g := a.guest()
	copy(a.mem[100:], "keyvalue")
	if s, err := g.Text(100, 3, 10, "key"); err != nil || s != "key" {
		t.Errorf("%q, %v", s, err)
	}
	if s, err := g.Text(100, 8, 3, "key"); err != nil || s != "key" {
		t.Errorf("cut: %q, %v", s, err)
	}
	var be *BoundsError
	if _, err := g.Text(250, 7, 10, "key"); !errors.As(err, &be) || be.What != "key" {
		t.Errorf("outside: %v", err)
	}
	for i, w := range []uint32{100, 3, 103, 5, 100, 1, 0, 0} {
		binary.LittleEndian.PutUint32(a.mem[16+4*i:], w)
	}
	if p, err := g.Pairs(16, 2, 10, 100, "headers"); err != nil || !slices.Equal(p, [][2]string{{"key", "value"}, {"k", ""}}) {
		t.Errorf("%q, %v", p, err)
	}
	var much *TooMuchError
	if _, err := g.Pairs(16, 2, 1, 100, "headers"); !errors.As(err, &much) {
		t.Errorf("too many: %v", err)
	}
	if _, err := g.Pairs(16, 0xffff_ffff, 128, 100, "headers"); !errors.As(err, &much) {
		t.Errorf("far too many: %v", err)
	}
	if _, err := g.Pairs(16, 2, 10, 8, "headers"); !errors.As(err, &much) {
		t.Errorf("too long: %v", err)
	}
	if _, err := g.Pairs(18, 1, 10, 8, "headers"); !errors.Is(err, ErrViolation) {
		t.Errorf("unaligned: %v", err)
	}
	if _, err := g.Pairs(248, 1, 10, 8, "headers"); !errors.As(err, &be) {
		t.Errorf("list outside: %v", err)
	}
	binary.LittleEndian.PutUint32(a.mem[16:], 255)
	if _, err := g.Pairs(16, 1, 10, 100, "headers"); !errors.As(err, &be) || be.What != "headers[0]" {
		t.Errorf("text outside: %v", err)
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"ok", 10, "ok"}, {"", 0, ""}, {"0123456789", 10, "0123456789"}, {"0123456789a", 10, "0123456…"},
		{"a\xffb", 10, "a\uFFFDb"}, {"äöü", 5, "ä…"}, {"\xff\xff\xff", 3, "\uFFFD"}, {"a\xffb\xffc", 6, "a…"},
	} {
		if got := Clean(tt.in, tt.limit); got != tt.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

// FuzzHostCall has a guest ask with any addresses, in a memory of any content, with an allocator that
// gives any address: an error or a correct answer, nothing else.
func FuzzHostCall(f *testing.F) {
	mem := make([]byte, 128)
	for i, w := range []uint32{64, 3, 67, 5} {
		binary.LittleEndian.PutUint32(mem[16+4*i:], w)
	}
	copy(mem[64:], "keyvalue")
	f.Add(mem, uint32(16), uint32(1), uint32(32), uint32(80), "message")
	f.Add(mem, uint32(16), uint32(0xffff_ffff), uint32(9), uint32(0xffff_fff0), "\xff")
	f.Add([]byte{}, uint32(0), uint32(0), uint32(0), uint32(0), "")
	f.Fuzz(func(t *testing.T, mem []byte, ptr, n, ret, heap uint32, text string) {
		size := len(mem)
		g := Guest{Memory: func() []byte { return mem }, Alloc: func(_, _ uint32) (uint32, error) { return heap, nil }}
		pairs, err := g.Pairs(ptr, n, MaxHeaders, MaxHeaderText, "headers")
		total := 0
		for _, p := range pairs {
			total += len(p[0]) + len(p[1])
		}
		if err == nil && (uint32(len(pairs)) != n || total > MaxHeaderText) {
			t.Fatalf("%d pairs with %d bytes of %d", len(pairs), total, n)
		}
		if s, err := g.Text(ptr, n, MaxKey, "key"); err == nil && len(s) > MaxKey {
			t.Fatalf("%d bytes", len(s))
		}
		if got := Clean(text, 16); len(got) > 16 || !utf8.ValidString(got) {
			t.Fatalf("Clean(%q) = %q", text, got)
		}
		before := bytes.Clone(mem)
		if err := g.LeaveError(ret, text); err != nil && !errors.Is(err, ErrViolation) {
			t.Fatal(err)
		} else if err == nil {
			if payload, isErr, err := DecodeResult(mem, ret); heap >= ret+ResultSize && (err != nil || !isErr || string(payload) != Clean(text, MaxErrorText)) {
				t.Fatalf("%q, %v, %v", payload, isErr, err)
			}
		}
		copy(mem, before)
		for _, err := range []error{
			g.LeaveOption(ret, []byte(text), true), g.LeaveStrings(ret, strings.Split(text, ".")),
			g.LeaveResponse(ret, 200, pairs, []byte(text)), g.LeaveList(ret, []byte(text)), g.LeaveDone(ret),
		} {
			if err != nil && !errors.Is(err, ErrViolation) {
				t.Fatal(err)
			}
		}
		if len(mem) != size {
			t.Fatal("the memory has another size")
		}
	})
}
