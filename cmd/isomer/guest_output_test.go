package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// TestGuestOutputIsBounded has two calls write beyond the bound: each is cut, and each may write again.
func TestGuestOutputIsBounded(t *testing.T) {
	var b strings.Builder
	g := &guestOutput{w: &b}
	line := []byte(strings.Repeat("x", 1<<10-1) + "\n")
	for range 2 {
		ctx := g.CallBegan(t.Context(), isomer.CallInfo{})
		for range 3 << 10 {
			if n, err := g.Write(line); n != len(line) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		g.CallEnded(ctx, isomer.CallInfo{})
	}
	if n := strings.Count(b.String(), "the rest is dropped\n"); n != 2 {
		t.Errorf("%d calls were cut, want 2", n)
	}
	if n := strings.Count(b.String(), "x"); n != 2<<10*(1<<10-1) {
		t.Errorf("%d bytes came through, want %d", n, 2<<10*(1<<10-1))
	}
}

// TestGuestOutputOfModule uses the bound up before a call of a module: the call has its own.
func TestGuestOutputOfModule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.wasm")
	replace(t, path, enginetest.WASIGuest())
	var b strings.Builder
	g := &guestOutput{w: &b, used: maxTalk, cut: true}
	m, err := isomer.Open(t.Context(), path, append(g.options(), isomer.WithWatch(false))...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.CallScalar(t.Context(), "hello"); err != nil || b.String() != "hello" {
		t.Errorf("%q, %v", b.String(), err)
	}
}
