package wazero_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// callCached opens a module on an engine that keeps machine code in dir, as a new process would, and calls it.
func callCached(t *testing.T, dir string) {
	t.Helper()
	e := open(t, wazero.WithCacheDir(dir))
	defer e.Close()
	c, err := e.Compile(t.Context(), enginetest.Guest{}.Build(), engine.CompileConfig{Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	stack := []uint64{40, 2}
	if err := i.Func("sum64").Call(t.Context(), stack); err != nil || stack[0] != 42 {
		t.Fatalf("sum64 = %d, %v", stack[0], err)
	}
}

// cached reads the files below dir: machine code and its sum.
func cached(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestDamagedCacheIsReplaced damages each file that the cache has. A damaged table of functions would send
// calls anywhere, and a damaged count ask for 32 GiB, had wazero read them.
func TestDamagedCacheIsReplaced(t *testing.T) {
	dir := t.TempDir()
	callCached(t, dir)
	whole := cached(t, dir)
	if len(whole) != 2 {
		t.Fatalf("%d files, want machine code and its sum", len(whole))
	}
	callCached(t, dir) // from the cache
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 0x55; return b }
	}
	number := func(k int) func([]byte) []byte { // behind magic number and version
		return func(b []byte) []byte { b[min(7+int(b[6])+k, len(b)-1)] ^= 0x55; return b }
	}
	for name, damage := range map[string]func(b []byte) []byte{
		"half":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":    func([]byte) []byte { return nil },
		"text":     func([]byte) []byte { return []byte("not machine code at all") },
		"longer":   func(b []byte) []byte { return append(b, 0) },
		"middle":   flip(func(n int) int { return n / 2 }),
		"count":    number(3),
		"function": number(4 + 1),
		"last":     flip(func(n int) int { return n - 1 }),
	} {
		for f := range whole {
			if err := os.WriteFile(f, damage(slices.Clone(whole[f])), 0o600); err != nil {
				t.Fatal(err)
			}
			callCached(t, dir)
			now := cached(t, dir)
			if len(now) != 2 {
				t.Fatalf("%s in %s: %d files afterwards", name, filepath.Base(f), len(now))
			}
			for f := range whole {
				if !bytes.Equal(now[f], whole[f]) {
					t.Errorf("%s in %s: not replaced by what was there before", name, filepath.Base(f))
				}
			}
		}
	}
}

// A sum without its file, and the file of another module in the place of this one's.
func TestForeignCacheIsReplaced(t *testing.T) {
	dir := t.TempDir()
	callCached(t, dir)
	for f := range cached(t, dir) {
		if !strings.HasSuffix(f, ".sha256") {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	callCached(t, dir)
	if n := len(cached(t, dir)); n != 2 {
		t.Errorf("%d files", n)
	}
}

// TestCacheInTheWay has a file where the directory of the module should be: as good as a disk that cannot
// be written, also for root.
func TestCacheInTheWay(t *testing.T) {
	dir := t.TempDir()
	callCached(t, dir)
	shelves, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(shelves) != 1 {
		t.Fatalf("%v, %v", shelves, err)
	}
	if err := os.RemoveAll(shelves[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shelves[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	callCached(t, dir)
}

// cacheProcess is the environment variable by which this binary is the process of a test, with the directory.
const cacheProcess = "ISOMER_TEST_CACHE"

// TestCacheProcess is what the processes of the next test do.
func TestCacheProcess(t *testing.T) {
	dir := os.Getenv(cacheProcess)
	if dir == "" {
		t.Skip("runs as a process of TestCacheBetweenProcesses")
	}
	for range 20 {
		callCached(t, dir)
	}
}

// TestCacheBetweenProcesses has several processes use one directory while somebody damages it.
func TestCacheBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestCacheProcess$")
			cmd.Env = append(os.Environ(), cacheProcess+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for damaged := 0; ; damaged++ {
		select {
		case <-done:
			callCached(t, dir)
			if n := len(cached(t, dir)); n != 2 {
				t.Errorf("%d files at the end", n)
			}
			t.Logf("%d times removed under 4 processes", damaged)
			return
		default:
			files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*.sha256"))
			for _, f := range files {
				_ = os.Remove(f)
			}
		}
	}
}
