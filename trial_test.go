package isomer_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// endless are modules of which something that runs before the first call never returns.
func endless() map[string][]byte {
	golden := abi.Manifest{Name: "endless", Golden: []abi.Golden{{Function: "loop"}}}
	return map[string][]byte{
		"start":               enginetest.Guest{Hang: "start"}.Build(),
		abi.ExportInitialize:  enginetest.Guest{Hang: abi.ExportInitialize}.Build(),
		"golden":              enginetest.Guest{Manifest: &golden}.Build(),
		abi.ExportRestore:     enginetest.Guest{Stateful: true, Hang: abi.ExportRestore}.Build(),
		"start of a stateful": enginetest.Guest{Stateful: true, Hang: "start"}.Build(),
	}
}

func TestEndlessModuleIsRefused(t *testing.T) {
	for _, deadline := range []time.Duration{0, time.Hour, 100 * time.Millisecond} {
		opts := []isomer.Option{isomer.WithGateLimit(300 * time.Millisecond)}
		if deadline > 0 {
			opts = append(opts, isomer.WithDeadline(deadline))
		}
		m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), opts...)
		for name, bin := range endless() {
			err := m.Swap(t.Context(), bin)
			if !errors.Is(err, isomer.ErrRefused) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			runtime.GC() // would wait for guest code that still runs
			if got := version(t, m); got != "1" {
				t.Errorf("%s: version %s serves", name, got)
			}
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := isomer.New(ctx, enginetest.Guest{Hang: "start"}.Build())
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "not done after") {
		t.Errorf("New: %v, want the caller's deadline and not the gate's", err)
	}
}

// Close must not wait for the trial of a module that the file brought.
func TestCloseStopsTheTrial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	events := newRecorder()
	m, err := isomer.Open(t.Context(), path, events.option(), isomer.WithGateLimit(24*time.Hour))
	must(t, err)
	replace(t, path, enginetest.Guest{Hang: "start"}.Build())
	events.wait(t, isomer.Compiled) // the first module
	events.wait(t, isomer.Compiled) // the endless one, whose trial follows
	must(t, m.Close())
}
