//go:build linux

package isomer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/engine/enginetest"
)

func TestFileSystemsWithoutEvents(t *testing.T) {
	for magic, want := range map[uint32]string{
		0x6969: "nfs", 0x517b: "smb", 0xfe534d42: "smb2", 0xff534d42: "cifs", 0x65735546: "fuse", 0x01021997: "9p",
		0x794c7630: "" /* overlay */, 0xef53: "" /* ext4 */, 0x01021994: "" /* tmpfs */, 0x58465342: "" /* xfs */, 0x9123683e: "", /* btrfs */
	} {
		if got := remoteName(magic); got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
	}
	if got := remote(t.TempDir()); got != "" {
		t.Logf("tests run on %s", got)
	}
	if got := remote("/nowhere/at/all"); got != "" {
		t.Errorf("what is not there is %q", got)
	}
}

// TestPollingBesideEvents has a file system that is said to be remote. The file is polled, and read only
// when it changed.
func TestPollingBesideEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	put := func(version string) {
		t.Helper()
		if err := os.WriteFile(path, enginetest.Guest{Version: version}.Build(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	events := make(chan Event, 1000)
	m, err := Open(t.Context(), path, WithWatch(false), WithEvents(func(e Event) { events <- e }))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := newWatcher(path)
	w.where = func(string) string { return "nfs" }
	_ = w.fs.Remove(filepath.Dir(path)) // nothing comes from elsewhere
	w.rewatch()
	_ = w.fs.Remove(filepath.Dir(path))
	reads := make(chan bool, 1000)
	w.who = func(f *os.File) writing { reads <- true; return writers(f) }
	m.watch = w
	w.start(m)
	wait := func(kind EventKind) Event {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e.Kind == kind {
					return e
				}
			case <-time.After(time.Minute):
				t.Fatalf("no event %q", kind)
			}
		}
	}
	if e := wait(Polling); !strings.Contains(e.Err.Error(), "nfs") {
		t.Errorf("event %+v", e)
	}
	put("2")
	wait(Swapped)
	// Once the file is older than coarse, polling looks at it without reading.
	quiet := 0
	for quiet < 2 {
		select {
		case <-reads:
			quiet = 0
		case <-time.After(2 * pollEvery):
			quiet++
		}
	}
	put("3")
	wait(Swapped)
}
