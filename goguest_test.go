package isomer_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer"
)

// TestGoGuest runs a real guest in Go: a WASI reactor with _initialize, a garbage collector and its
// own allocator.
func TestGoGuest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", path, "./engine/enginetest/testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var stdout bytes.Buffer
	events := newRecorder()
	m, err := isomer.Open(t.Context(), path, slices.Concat(onEngine, []isomer.Option{isomer.WithOutput(&stdout), events.option()})...)
	must(t, err)
	defer m.Close()
	type size struct{ W, H float64 }
	type area struct{ Area float64 }
	for n := range 300 { // enough for its collector to run
		got, err := isomer.CallJSON[area](t.Context(), m, "area", size{2, float64(n)})
		if err != nil || got.Area != 2*float64(n) {
			t.Fatalf("area = %+v, %v", got, err)
		}
	}
	if !bytes.HasPrefix(stdout.Bytes(), []byte("area of 2 0\n")) {
		t.Errorf("stdout = %.40q", &stdout)
	}
	var app *isomer.AppError
	if _, err := m.Call(t.Context(), "area", []byte("{")); !errors.As(err, &app) {
		t.Errorf("bad JSON: %v", err)
	}
	var trap *isomer.TrapError
	if _, err := m.Call(t.Context(), "explode", []byte("x")); !errors.As(err, &trap) {
		t.Errorf("a panic in the guest: %v", err)
	}
	if out, err := m.CallScalar(t.Context(), "add", isomer.I64(40), isomer.I64(2)); err != nil || out[0].Int() != 42 {
		t.Errorf("add = %v, %v", out, err)
	}
}
