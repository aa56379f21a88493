package isomer

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/isomer-iot/isomer/engine/enginetest"
)

// TestReadWithoutLeases covers the systems and file systems that cannot say who writes a file.
func TestReadWithoutLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	whole := enginetest.Guest{}.Build()
	w := newWatcher(path)
	defer w.close()
	w.who = func(*os.File) writing { return unknown }
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// read is asked as often as look would ask.
	read := func() (looks int) {
		t.Helper()
		for range 10_000 {
			bin, again, err := w.read()
			if err != nil {
				t.Fatal(err)
			}
			if bin != nil {
				return looks
			}
			looks++
			time.Sleep(again)
		}
		t.Fatal("never complete")
		return 0
	}
	put(whole)
	if n := read(); n < 1 {
		t.Error("a file that was seen once is taken for complete")
	}
	put(whole[:len(whole)-1])
	if n := read(); n < 2 {
		t.Errorf("an incomplete file is taken after %d looks", n)
	}
	put(whole)
	if n := read(); n < 1 {
		t.Error("a change is not noticed")
	}
}

// TestPollingWithoutEvents covers the end of inotify's instances or watches.
func TestPollingWithoutEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(path, enginetest.Guest{Version: "1"}.Build(), 0o600); err != nil {
		t.Fatal(err)
	}
	events := make(chan Event, 100)
	m, err := Open(t.Context(), path, WithWatch(false), WithEvents(func(e Event) { events <- e }))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := newWatcher(path)
	_ = w.fs.Close()
	w.fs = nil
	w.open = func() (*fsnotify.Watcher, error) { return nil, os.ErrPermission }
	m.watch = w
	w.start(m)
	wait := func(kind EventKind) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e.Kind == kind {
					return
				}
			case <-time.After(time.Minute):
				t.Fatalf("no event %q", kind)
			}
		}
	}
	wait(Polling)
	if err := os.WriteFile(path, enginetest.Guest{Version: "2"}.Build(), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(Swapped)
}
