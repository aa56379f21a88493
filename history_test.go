package isomer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
)

// restart opens path as the next process would.
func restart(t *testing.T, path, dir string) (*isomer.Module, *recorder) {
	t.Helper()
	events := newRecorder()
	m, err := isomer.Open(t.Context(), path, isomer.WithHistory(dir), events.option())
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	return m, events
}

func TestRollbackAfterRestart(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "m.wasm"), filepath.Join(t.TempDir(), "history")
	write(t, path, guest("1"))
	m, events := restart(t, path, dir)
	if err := m.Rollback(t.Context()); !errors.Is(err, isomer.ErrNoPrevious) {
		t.Errorf("with nothing before: %v", err)
	}
	replace(t, path, guest("2"))
	waitVersion(t, m, events, "2")
	must(t, m.Close())

	m, _ = restart(t, path, dir)
	if got := version(t, m); got != "2" {
		t.Fatalf("version %s after a restart", got)
	}
	must(t, m.Rollback(t.Context()))
	if got := version(t, m); got != "1" {
		t.Fatalf("version %s after the rollback", got)
	}
	must(t, m.Close())

	// The file still has what was rolled back. It stays away until the file changes.
	m, events = restart(t, path, dir)
	if got := version(t, m); got != "1" {
		t.Fatalf("version %s: a restart undid the rollback", got)
	}
	must(t, m.Rollback(t.Context()))
	if got := version(t, m); got != "2" {
		t.Errorf("version %s: the second rollback undoes the first", got)
	}
	replace(t, path, guest("3"))
	waitVersion(t, m, events, "3")
	must(t, m.Close())
	if names := modulesIn(t, dir); len(names) != 2 {
		t.Errorf("kept: %v, want two modules", names)
	}
}

func modulesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), ".wasm"):
			names = append(names, e.Name())
		case e.Name() != "index.json":
			t.Errorf("left behind: %s", e.Name())
		}
	}
	return names
}

// The file changed while no process ran.
func TestHistorySeesChangesWhileDown(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "m.wasm"), t.TempDir()
	write(t, path, guest("1"))
	m, _ := restart(t, path, dir)
	must(t, m.Close())
	replace(t, path, guest("2"))
	m, _ = restart(t, path, dir)
	must(t, m.Rollback(t.Context()))
	if got := version(t, m); got != "1" {
		t.Errorf("version %s", got)
	}
}

func TestOpenGoesOnWithWhatServedLast(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"damaged":   func(path string) error { return os.Truncate(path, 100) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"missing":   os.Remove,
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "m.wasm"), t.TempDir()
			write(t, path, guest("1"))
			m, _ := restart(t, path, dir)
			must(t, m.Close())
			must(t, spoil(path))
			if _, err := isomer.Open(t.Context(), path); err == nil {
				t.Fatal("opened without a history")
			}
			m, events := restart(t, path, dir)
			if got := version(t, m); got != "1" {
				t.Fatalf("version %s", got)
			}
			if e := events.wait(t, isomer.Refused); e.Path != path || e.Err == nil {
				t.Errorf("event %+v", e)
			}
			if m.Stats().LastRefusal == nil {
				t.Error("the refusal is not in the stats")
			}
			must(t, os.RemoveAll(path))
			replace(t, path, guest("2"))
			for version(t, m) != "2" {
				events.wait(t, isomer.Swapped)
			}
		})
	}
}

func TestDamagedHistory(t *testing.T) {
	begin := func(t *testing.T) (path, dir string) {
		path, dir = filepath.Join(t.TempDir(), "m.wasm"), t.TempDir()
		write(t, path, guest("1"))
		m, events := restart(t, path, dir)
		replace(t, path, guest("2"))
		waitVersion(t, m, events, "2")
		must(t, m.Close())
		return path, dir
	}
	each := func(t *testing.T, dir string, f func(path string)) {
		for _, name := range modulesIn(t, dir) {
			f(filepath.Join(dir, name))
		}
	}
	flip := func(path string) {
		b, err := os.ReadFile(path)
		must(t, err)
		b[len(b)-1] ^= 1
		write(t, path, b)
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		text  string
	}{
		"flipped":   {func(t *testing.T, dir string) { each(t, dir, flip) }, "damaged"},
		"truncated": {func(t *testing.T, dir string) { each(t, dir, func(p string) { must(t, os.Truncate(p, 8)) }) }, "damaged"},
		"missing":   {func(t *testing.T, dir string) { each(t, dir, func(p string) { must(t, os.Remove(p)) }) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := begin(t)
			test.spoil(t, dir)
			m, _ := restart(t, path, dir)
			err := m.Rollback(t.Context())
			if !errors.Is(err, isomer.ErrNoPrevious) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %v", err)
			}
			if got := version(t, m); got != "2" {
				t.Errorf("version %s serves", got)
			}
		})
	}
	for name, index := range map[string]string{
		"no JSON": "{", "no digest": `{"current":"../../etc/passwd"}`, "long": strings.Repeat(" ", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := begin(t)
			write(t, filepath.Join(dir, "index.json"), []byte(index))
			m, events := restart(t, path, dir)
			if e := events.wait(t, isomer.HistoryFailed); e.Err == nil {
				t.Errorf("event %+v", e)
			}
			if err := m.Rollback(t.Context()); !errors.Is(err, isomer.ErrNoPrevious) || version(t, m) != "2" {
				t.Errorf("version %s, %v", version(t, m), err)
			}
			must(t, m.Close())
			m, _ = restart(t, path, dir) // repaired by the module that served
			if got := version(t, m); got != "2" {
				t.Errorf("version %s", got)
			}
		})
	}
}

// A directory that cannot be made is told, and keeps nothing from serving.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := restart(t, path, filepath.Join(path, "history"))
	events.wait(t, isomer.HistoryFailed)
	replace(t, path, guest("2"))
	waitVersion(t, m, events, "2")
	events.wait(t, isomer.HistoryFailed)
	must(t, m.Rollback(t.Context())) // within the process it works all the same
	if got := version(t, m); got != "1" {
		t.Errorf("version %s", got)
	}
}
