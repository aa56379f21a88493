package isomer_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

func dirStore(t testing.TB, dir string, opts ...isomer.StoreOption) isomer.Store {
	t.Helper()
	s, err := isomer.NewDirStore(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onStores runs f on a store of each kind.
func onStores(t *testing.T, f func(t *testing.T, open func(opts ...isomer.StoreOption) isomer.Store)) {
	t.Run("memory", func(t *testing.T) {
		f(t, func(opts ...isomer.StoreOption) isomer.Store { return memStore(t, opts...) })
	})
	t.Run("directory", func(t *testing.T) {
		f(t, func(opts ...isomer.StoreOption) isomer.Store { return dirStore(t, t.TempDir(), opts...) })
	})
}

// hostileKeys are names that a file system could take for something else.
var hostileKeys = []string{
	"..", "../../etc/passwd", "/etc/passwd", `..\..\x`, ".", "a/b", "a/../b", "a\x00b", "\x00", "\n", "con", "nul", "CON", "aux.txt", "a:b", "a.", "a ", " a",
	"A", "a", "Total", "total", "TOTAL", "%2e", "%", "%41", "k-", "h-", "new-1", "ä", "a\u0308", "\u202e", "-rf", "~", "*", "?", "$HOME", "\xff\xfe",
	strings.Repeat("k", abi.MaxKey), strings.Repeat("K", abi.MaxKey), strings.Repeat("/", abi.MaxKey), strings.Repeat("k", abi.MaxKey-1) + "l",
}

func TestStoreHostileNames(t *testing.T) {
	onStores(t, func(t *testing.T, open func(...isomer.StoreOption) isomer.Store) {
		s, ctx := open(), t.Context()
		for i, k := range hostileKeys {
			if err := s.Set(ctx, "m", k, fmt.Appendf(nil, "value %d", i)); err != nil {
				t.Fatalf("%q: %v", k, err)
			}
			if err := s.Set(ctx, k, "key", fmt.Appendf(nil, "of module %d", i)); err != nil {
				t.Fatalf("module %q: %v", k, err)
			}
		}
		for i, k := range hostileKeys {
			if v, ok, err := s.Get(ctx, "m", k); err != nil || !ok || string(v) != fmt.Sprintf("value %d", i) {
				t.Errorf("%q: %q, %v, %v", k, v, ok, err)
			}
			if v, ok, err := s.Get(ctx, k, "key"); err != nil || !ok || string(v) != fmt.Sprintf("of module %d", i) {
				t.Errorf("module %q: %q, %v, %v", k, v, ok, err)
			}
		}
		want := slices.Sorted(slices.Values(hostileKeys))
		if got, err := s.Keys(ctx, "m", ""); err != nil || !slices.Equal(got, want) {
			t.Errorf("keys %q, %v", got, err)
		}
		for _, k := range hostileKeys {
			if err := s.Delete(ctx, "m", k); err != nil {
				t.Errorf("%q: %v", k, err)
			}
		}
		if got, err := s.Keys(ctx, "m", ""); err != nil || len(got) != 0 {
			t.Errorf("left: %q, %v", got, err)
		}
	})
}

func TestStoreLimit(t *testing.T) {
	onStores(t, func(t *testing.T, open func(...isomer.StoreOption) isomer.Store) {
		s, ctx := open(isomer.WithStoreLimit(16<<10)), t.Context()
		big := bytes.Repeat([]byte("v"), 10_000)
		if err := s.Set(ctx, "m", "big", big); err != nil { // 12 KiB
			t.Fatal(err)
		}
		if err := s.Set(ctx, "m", "small", nil); err != nil { // 4 KiB
			t.Fatal(err)
		}
		if err := s.Set(ctx, "m", "more", nil); !errors.Is(err, isomer.ErrStoreFull) {
			t.Errorf("beyond the limit: %v", err)
		}
		if err := s.Set(ctx, "m", "small", big); !errors.Is(err, isomer.ErrStoreFull) {
			t.Errorf("a longer value beyond the limit: %v", err)
		}
		if v, ok, _ := s.Get(ctx, "m", "small"); !ok || len(v) != 0 {
			t.Errorf("the old value is %q, %v", v, ok)
		}
		if err := s.Set(ctx, "m", "big", big[1:]); err != nil {
			t.Errorf("as long as before: %v", err)
		}
		if err := s.Set(ctx, "other", "big", big); err != nil {
			t.Errorf("another module: %v", err)
		}
		if err := s.Delete(ctx, "m", "big"); err != nil {
			t.Fatal(err)
		}
		for k := range 3 {
			if err := s.Set(ctx, "m", fmt.Sprint(k), nil); err != nil {
				t.Errorf("room that was given back: %v", err)
			}
		}
	})
	for _, n := range []int64{0, -1, 4095} {
		if _, err := isomer.NewMemStore(isomer.WithStoreLimit(n)); !errors.Is(err, isomer.ErrOption) {
			t.Errorf("limit %d: %v", n, err)
		}
	}
	if _, err := isomer.NewDirStore(""); !errors.Is(err, isomer.ErrOption) {
		t.Errorf("no directory: %v", err)
	}
}

func TestDirStoreOutlivesProcess(t *testing.T) {
	dir, ctx := filepath.Join(t.TempDir(), "made", "by", "us"), t.Context()
	long := strings.Repeat("K", abi.MaxKey)
	s := dirStore(t, dir, isomer.WithStoreLimit(16<<10))
	for _, k := range []string{"total", long} {
		if err := s.Set(ctx, "meter", k, []byte(k[:1])); err != nil {
			t.Fatal(err)
		}
	}
	// What a power failure leaves, and what others put there.
	folder := filepath.Join(dir, "k-meter")
	for name, content := range map[string]string{
		"new-123": "half wri", "new-456": "of a process that still writes", "README": "by hand", "k-%4": "x", "k-%GG": "x", "k-A": "x", "h-" + strings.Repeat("0", 64): "", "h-short": "\xff\xff",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(folder, "new-123"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	s = dirStore(t, dir, isomer.WithStoreLimit(16<<10))
	if got, err := s.Keys(ctx, "meter", ""); err != nil || !slices.Equal(got, []string{long, "total"}) {
		t.Errorf("keys %.20q, %v", got, err)
	}
	if v, ok, err := s.Get(ctx, "meter", long); err != nil || !ok || string(v) != "K" {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
	for k, want := range []bool{true, true, false} { // two of four blocks are used
		if err := s.Set(ctx, "meter", fmt.Sprint(k), nil); (err == nil) != want {
			t.Errorf("set %d: %v", k, err)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "new-456")); err != nil {
		t.Errorf("a file that is being written is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "new-123")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half written file is still there: %v", err)
	}
	// A file that is not what it says.
	files, err := filepath.Glob(filepath.Join(folder, "h-*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(f, []byte{200, 0, 'x'}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Get(ctx, "meter", long); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("damaged: %v", err)
	}
	if err := os.Truncate(filepath.Join(folder, "k-total"), 64<<20); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(ctx, "meter", "total"); err == nil {
		t.Error("a file longer than any value is a value")
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, "meter", "total", nil); err == nil || strings.Contains(err.Error(), dir) {
		t.Errorf("the folder is gone: %v, which tells where it was", err)
	}
}

func TestStoreAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, open func(...isomer.StoreOption) isomer.Store) {
		s, ctx := open(), t.Context()
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				for n := range 20 {
					v := bytes.Repeat([]byte{byte(k)}, 1000+n)
					if err := s.Set(ctx, "m", "shared", v); err != nil {
						t.Error(err)
					}
					got, ok, err := s.Get(ctx, "m", "shared")
					if err != nil || !ok || len(bytes.TrimLeft(got, string(got[0]))) != 0 {
						t.Errorf("a value of several writers: %v, %v", ok, err)
					}
					if _, err := s.Keys(ctx, "m", ""); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func FuzzDirStoreKey(f *testing.F) {
	for _, k := range hostileKeys {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, k string) {
		if k == "" || len(k) > abi.MaxKey {
			return
		}
		dir := t.TempDir()
		s, ctx := dirStore(t, filepath.Join(dir, "store")), t.Context()
		if err := s.Set(ctx, k, k, []byte(k)); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Get(ctx, k, k); err != nil || !ok || string(v) != k {
			t.Fatalf("%q, %v, %v", v, ok, err)
		}
		if keys, err := s.Keys(ctx, k, k); err != nil || !slices.Equal(keys, []string{k}) {
			t.Fatalf("%q, %v", keys, err)
		}
		if beside, err := os.ReadDir(dir); err != nil || len(beside) != 1 {
			t.Fatalf("%v, %v", beside, err)
		}
	})
}
