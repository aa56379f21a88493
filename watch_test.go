package isomer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file beside path and renames it over, as a careful updater does.
func replace(t testing.TB, path string, b []byte) {
	t.Helper()
	write(t, path+".new", b)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func guest(version string) []byte { return enginetest.Guest{Version: version}.Build() }

func openFile(t *testing.T, path string) (*isomer.Module, *recorder) {
	t.Helper()
	events := newRecorder()
	m, err := isomer.Open(t.Context(), path, events.option())
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, events
}

// waitVersion waits for swaps until version serves.
func waitVersion(t *testing.T, m *isomer.Module, events *recorder, want string) {
	t.Helper()
	for version(t, m) != want {
		if e := events.wait(t, isomer.Swapped, isomer.Refused); e.Kind == isomer.Refused {
			t.Fatalf("waiting for version %s: %v", want, e.Err)
		}
	}
}

func TestWatchUnderCallers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	stop := callers(m, 4)
	for _, v := range []string{"2", "3", "4"} {
		replace(t, path, guest(v))
		waitVersion(t, m, events, v)
	}
	replace(t, path, []byte("\x00asm\x01\x00\x00\x00 damaged"))
	if e := events.wait(t, isomer.Refused); e.Path != path || e.Err == nil {
		t.Errorf("event = %+v", e)
	}
	if got := version(t, m); got != "4" {
		t.Errorf("version %s serves after a damaged file", got)
	}
	replace(t, path, guest("5"))
	waitVersion(t, m, events, "5")
	calls, failed, _, err := stop()
	if failed != 0 {
		t.Errorf("%d of %d calls failed, last: %v", failed, calls, err)
	}
	if s := m.Stats(); s.Swaps != 4 || s.Refused != 1 || s.Failed != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestWatchOverwriteInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	for _, v := range []string{"2", "a longer version", "3"} {
		write(t, path, guest(v))
		waitVersion(t, m, events, v)
	}
}

func TestWatchSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		must(t, os.Mkdir(filepath.Join(dir, "v"+v), 0o700))
		write(t, filepath.Join(dir, "v"+v, "m.wasm"), guest(v))
	}
	// m.wasm → data/m.wasm, data → v1: the way that Kubernetes mounts a config map.
	must(t, os.Symlink("v1", filepath.Join(dir, "data")))
	must(t, os.Symlink("data/m.wasm", filepath.Join(dir, "m.wasm")))
	m, events := openFile(t, filepath.Join(dir, "m.wasm"))
	if got := version(t, m); got != "1" {
		t.Fatalf("version %s", got)
	}
	must(t, os.Symlink("v2", filepath.Join(dir, "tmp")))
	must(t, os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "data")))
	waitVersion(t, m, events, "2")
	replace(t, filepath.Join(dir, "v2", "m.wasm"), guest("3")) // the new target is watched too
	waitVersion(t, m, events, "3")
	must(t, os.Symlink("v1/m.wasm", filepath.Join(dir, "tmp")))
	must(t, os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "m.wasm")))
	waitVersion(t, m, events, "1")
}

func TestWatchRemovedAndMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "modules")
	must(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	must(t, os.Remove(path))
	events.wait(t, isomer.FileRemoved)
	if got := version(t, m); got != "1" {
		t.Errorf("version %s serves without a file", got)
	}
	write(t, path, guest("2"))
	waitVersion(t, m, events, "2")

	must(t, os.RemoveAll(dir))
	events.wait(t, isomer.Polling) // there is nothing left to watch
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, guest("3"))
	waitVersion(t, m, events, "3")
	write(t, path, guest("4")) // watched again
	waitVersion(t, m, events, "4")
}

func TestWatchBurstEndsAtTheLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("0"))
	m, events := openFile(t, path)
	bins := map[bool][]byte{true: guest("even"), false: guest("odd")}
	for n := range 100 {
		if n%3 == 0 {
			write(t, path, bins[n%2 == 0])
		} else {
			replace(t, path, bins[n%2 == 0])
		}
	}
	replace(t, path, guest("last"))
	waitVersion(t, m, events, "last")
	if s := m.Stats(); s.Refused != 0 {
		t.Errorf("a file in the middle of being written was read: %+v", s.LastRefusal)
	}
}

// A module that lacks only its last section is a valid module. It must not be loaded while its
// writer has not closed it.
func TestWatchPartialFileIsNeverLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)

	whole := enginetest.Guest{Version: "2", Manifest: &abi.Manifest{Name: "whole", Version: "2.0.0"}}.Build()
	sections, err := wasm.Sections(whole)
	must(t, err)
	cut := len(whole) - sections[len(sections)-1].Size
	for len(whole) > cut && wholeModule(whole[:cut]) != nil {
		cut-- // Size may not count the header
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	defer f.Close()
	_, err = f.Write(whole[:cut])
	must(t, err)
	if wholeModule(whole[:cut]) != nil {
		t.Fatal("the part is no module; the test proves nothing")
	}
	events.wait(t, isomer.FileWaiting) // seen, and not taken
	if got := version(t, m); got != "1" {
		t.Fatalf("a partial file was loaded: version %s", got)
	}
	_, err = f.Write(whole[cut:])
	must(t, err)
	must(t, f.Close())
	waitVersion(t, m, events, "2")
	if m.Name() != "whole" || m.Stats().Swaps != 1 || m.Stats().Refused != 0 {
		t.Errorf("name %s, stats %+v", m.Name(), m.Stats())
	}
}

func wholeModule(bin []byte) error {
	_, err := wasm.Decode(bin)
	return err
}

func TestWatchTruncatedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	whole := guest("2")
	for _, n := range []int{0, 4, 8 /* a valid module of nothing */, len(whole) / 3, len(whole) - 1} {
		write(t, path, whole[:n])
		e := events.wait(t, isomer.Refused, isomer.Swapped)
		if e.Kind != isomer.Refused || version(t, m) != "1" {
			t.Fatalf("%d bytes of %d: %s, %v", n, len(whole), e.Kind, e.Err)
		}
	}
	write(t, path, whole)
	waitVersion(t, m, events, "2")
}

func TestRolledBackFileStaysAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	replace(t, path, guest("2"))
	waitVersion(t, m, events, "2")
	must(t, m.Rollback(t.Context()))
	replace(t, path, guest("2")) // the same bytes again
	replace(t, filepath.Join(filepath.Dir(path), "other"), guest("9"))
	replace(t, path, guest("2"))
	time.Sleep(200 * time.Millisecond) // nothing is to happen, so there is no event to wait for
	if got := version(t, m); got != "1" {
		t.Errorf("version %s came back", got)
	}
	replace(t, path, guest("3"))
	waitVersion(t, m, events, "3")
}

func TestWithoutWatching(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, err := isomer.Open(t.Context(), path, isomer.WithWatch(false))
	must(t, err)
	defer m.Close()
	replace(t, path, guest("2"))
	bin, err := os.ReadFile(path)
	must(t, err)
	must(t, m.Swap(context.Background(), bin))
	if got := version(t, m); got != "2" || m.Name() != "m" {
		t.Errorf("version %s, name %s", got, m.Name())
	}
}

func TestEventsTellTheStory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, goldenGuest("1.0.0").Build())
	m, events := openFile(t, path)
	replace(t, path, goldenGuest("2.0.0").Build())
	want := []isomer.EventKind{isomer.Compiled, isomer.Gated, isomer.Loaded, isomer.Detected, isomer.Compiled, isomer.Gated, isomer.Swapped, isomer.Drained}
	for k, kind := range want {
		select {
		case e := <-events.events:
			for e.Kind == isomer.FileWaiting {
				// Told when a look fell into the write, which a busy machine makes likely.
				select {
				case e = <-events.events:
				case <-time.After(patience):
					t.Fatalf("no event %q", kind)
				}
			}
			if k >= 6 {
				// Drained may come before Swapped is told: it is another goroutine's.
				if e.Kind != isomer.Swapped && e.Kind != isomer.Drained {
					t.Errorf("event %d is %q", k, e.Kind)
				}
			} else if e.Kind != kind {
				t.Errorf("event %d is %q, want %q", k, e.Kind, kind)
			}
			if _, err := json.Marshal(e.Times); err != nil || e.Time.IsZero() || e.Module != "golden" {
				t.Errorf("event %+v, %v", e, err)
			}
		case <-time.After(patience):
			t.Fatalf("no event %q", kind)
		}
	}
	if m.Version() != "2.0.0" || m.Stats().LastSwap.Gate == 0 {
		t.Errorf("version %s, %+v", m.Version(), m.Stats().LastSwap)
	}
}

// Nothing happens in the directory itself when one further up is renamed and made again.
func TestWatchDirectoryFurtherUpRenamed(t *testing.T) {
	app := filepath.Join(t.TempDir(), "app")
	path := filepath.Join(app, "models", "m.wasm")
	install := func(version string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		write(t, path, guest(version))
	}
	install("1")
	m, events := openFile(t, path)
	must(t, os.Rename(app, app+".old"))
	install("2")
	waitVersion(t, m, events, "2")
	replace(t, path, guest("3")) // the new directory is watched
	waitVersion(t, m, events, "3")
}

func TestRefusalEndsWhenTheFileIsRestored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o700))
	e := events.wait(t, isomer.Refused)
	if r := m.Stats().LastRefusal; e.Step != isomer.StepRead || r == nil || r.Digest != "" {
		t.Errorf("a directory in place of the file: %+v, %+v", e, r)
	}
	must(t, os.Remove(path))
	replace(t, path, []byte("damaged"))
	events.wait(t, isomer.Refused)
	replace(t, path, guest("1"))
	begin := time.Now()
	for m.Stats().LastRefusal != nil {
		if time.Since(begin) > patience {
			t.Fatalf("what serves is in the file again, and still refused: %v", m.Stats().LastRefusal)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.wasm")
	write(t, big, nil)
	must(t, os.Truncate(big, 100<<20)) // sparse: it costs nothing
	for _, path := range []string{dir, os.DevNull, big} {
		_, err := isomer.Open(t.Context(), path, isomer.WithMemoryLimit(1<<20))
		if err == nil {
			t.Errorf("%s was opened", path)
		}
		if limit, ok := errors.AsType[*engine.LimitError](err); ok != (path == big) || ok && limit.Limit != engine.MemorySz {
			t.Errorf("%s: error %v is of the memory limit: %v", path, err, ok)
		}
	}
}

// A writer that takes its time is waited for, and its parts are never read as a module.
func TestWatchSlowWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	whole := guest("2")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	defer f.Close()
	const parts = 20
	for k := range parts {
		_, err := f.Write(whole[k*len(whole)/parts : (k+1)*len(whole)/parts])
		must(t, err)
		time.Sleep(100 * time.Millisecond) // what makes it slow: longer than the watcher settles
		if got := version(t, m); got != "1" {
			t.Fatalf("version %s after part %d", got, k)
		}
	}
	must(t, f.Close())
	waitVersion(t, m, events, "2")
	if s := m.Stats(); s.Refused != 0 || s.Swaps != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A config map of Kubernetes: m.wasm → ..data/m.wasm, ..data → a directory with a date, which is removed
// after ..data was switched.
func TestWatchDataDirectorySwitch(t *testing.T) {
	dir := t.TempDir()
	publish := func(n int) {
		t.Helper()
		stamp := fmt.Sprintf("..2026_01_02_03_04_05.%d", n)
		must(t, os.Mkdir(filepath.Join(dir, stamp), 0o700))
		write(t, filepath.Join(dir, stamp, "m.wasm"), guest(strconv.Itoa(n)))
		must(t, os.Symlink(stamp, filepath.Join(dir, "..data_tmp")))
		old, _ := os.Readlink(filepath.Join(dir, "..data"))
		must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		if old != "" {
			must(t, os.RemoveAll(filepath.Join(dir, old)))
		}
	}
	publish(1)
	must(t, os.Symlink("..data/m.wasm", filepath.Join(dir, "m.wasm")))
	m, events := openFile(t, filepath.Join(dir, "m.wasm"))
	for n := 2; n < 6; n++ {
		publish(n)
		waitVersion(t, m, events, strconv.Itoa(n))
	}
}

// A write through another name of the file has no event where the module is; looking from time to time
// finds it. A new hard link in the file's place is an event.
func TestWatchHardLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	path, other := filepath.Join(dir, "m.wasm"), filepath.Join(elsewhere, "m.wasm")
	write(t, other, guest("1"))
	must(t, os.Link(other, path))
	m, events := openFile(t, path)
	write(t, path, guest("first")) // the look that follows Open is over then
	waitVersion(t, m, events, "first")
	time.Sleep(200 * time.Millisecond) // and what the write led to
	write(t, other, guest("version 2"))
	waitVersion(t, m, events, "version 2")
	write(t, filepath.Join(elsewhere, "new"), guest("3"))
	must(t, os.Remove(path))
	must(t, os.Link(filepath.Join(elsewhere, "new"), path))
	waitVersion(t, m, events, "3")
}

func TestWatchDirectoryReplaced(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "models")
	path := filepath.Join(dir, "m.wasm")
	must(t, os.Mkdir(dir, 0o700))
	write(t, path, guest("1"))
	m, events := openFile(t, path)
	for _, v := range []string{"2", "3"} {
		next := filepath.Join(top, "next")
		must(t, os.Mkdir(next, 0o700))
		write(t, filepath.Join(next, "m.wasm"), guest(v))
		must(t, os.Rename(dir, filepath.Join(top, "old"+v)))
		must(t, os.Rename(next, dir))
		waitVersion(t, m, events, v)
	}
}

// 100 writes within a second, each another module, end at the last one.
func TestWatchHundredWritesInASecond(t *testing.T) {
	for name, put := range map[string]func(testing.TB, string, []byte){"rename": replace, "in place": write} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.wasm")
			write(t, path, guest("none"))
			m, events := openFile(t, path)
			begin := time.Now()
			for n := range 100 {
				put(t, path, guest(strconv.Itoa(n)))
				time.Sleep(time.Until(begin.Add(time.Duration(n+1) * 10 * time.Millisecond)))
			}
			waitVersion(t, m, events, "99")
			s := m.Stats()
			if s.Refused != 0 {
				t.Errorf("a file in the middle of being written was read: %+v", s.LastRefusal)
			}
			t.Logf("%d of 100 versions served", s.Swaps)
		})
	}
}
