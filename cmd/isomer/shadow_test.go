package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
)

// A new module answers live calls before it serves; one that answers differently is refused. The module
// that served last is gone on with when the file is damaged at the next start.
func TestRunShadowAndHistory(t *testing.T) {
	dir := t.TempDir()
	path, history := filepath.Join(dir, "kit.wasm"), filepath.Join(dir, "history")
	replace(t, path, kit(1))
	ctx, stop := context.WithCancel(t.Context())
	s := begin(t, ctx, "run", path, "--watch", "--json", "--shadow", "3", "--history", history)
	s.wait(isomer.Loaded)
	replace(t, path, kit(2))
	s.wait(isomer.ShadowStarted)
	for range 3 {
		s.ask("echo 1")
	}
	if e := s.wait(isomer.ShadowEnded); e.Cases != 3 || e.Differed != 0 {
		t.Errorf("%+v", e)
	}
	if e := s.wait(isomer.Swapped); e.Version != "2.0.0" || e.TimesMS["shadow"] <= 0 {
		t.Errorf("%+v", e)
	}
	replace(t, path, kit(3))
	s.wait(isomer.ShadowStarted)
	if r := s.ask("version"); string(r.Output) != `{"version":2}` {
		t.Errorf("%s", r.Output)
	}
	if e := s.wait(isomer.Refused); e.Step != isomer.StepShadow || !strings.Contains(e.Error, "version") {
		t.Errorf("%+v", e)
	}
	stop()
	s.end()

	replace(t, path, kit(3)[:100])
	ctx, stop = context.WithCancel(t.Context())
	s = begin(t, ctx, "run", path, "--json", "--history", history)
	s.wait(isomer.Refused)
	if r := s.ask("version"); string(r.Output) != `{"version":2}` {
		t.Errorf("%s", r.Output)
	}
	stop()
	s.end()
}

func TestShadowEventsForPeople(t *testing.T) {
	for want, e := range map[string]isomer.Event{
		", 1 live call to compare":                         {Kind: isomer.ShadowStarted, Cases: 1},
		", 10 live calls compared, 2 differed, 3 left out": {Kind: isomer.ShadowEnded, Cases: 10, Differed: 2, Dropped: 3},
		", 2 golden cases":                                 {Kind: isomer.Gated, Cases: 2},
		"":                                                 {Kind: isomer.Swapped},
	} {
		if got := casesOf(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
