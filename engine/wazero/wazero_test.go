package wazero_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wazero"
)

func TestContract(t *testing.T) {
	for name, opts := range map[string][]wazero.Option{
		"compiler":    nil,
		"interpreter": {wazero.WithInterpreter()},
		"cache":       {wazero.WithCacheDir(filepath.Join(t.TempDir(), "made", "by", "us"))},
	} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, opts...) })
		})
	}
}

func open(t testing.TB, opts ...wazero.Option) engine.Engine {
	t.Helper()
	e, err := wazero.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDamagedCacheIsPassedBy(t *testing.T) {
	dir, bin := t.TempDir(), enginetest.Guest{}.Build()
	load := func() {
		t.Helper()
		e := open(t, wazero.WithCacheDir(dir))
		defer e.Close()
		c, err := e.Compile(t.Context(), bin, engine.CompileConfig{})
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
	load()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing was cached: %v, %v", files, err)
	}
	load() // from the cache
	whole := map[string][]byte{}
	for _, f := range files {
		if whole[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { b[len(b)/2] ^= 0x55; return b },
		func(b []byte) []byte { return []byte("not machine code at all") },
	} {
		for _, f := range files {
			if err := os.WriteFile(f, damage(slices.Clone(whole[f])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		load()
	}
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]wazero.Option{"cache": wazero.WithCacheDir(""), "workers": wazero.WithCompileWorkers(0)} {
		if _, err := wazero.New(opt); !errors.Is(err, wazero.ErrOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a Code makes once for all its instances does not depend on the first caller's patience.
func TestCancelledFirstInstanceHarmsNoOther(t *testing.T) {
	e := open(t)
	defer e.Close()
	c, err := e.Compile(t.Context(), enginetest.WASIGuest(), engine.CompileConfig{Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := engine.InstanceConfig{WASI: &engine.WASI{}}
	if i, err := c.Instantiate(cancelled, cfg); err == nil {
		_ = i.Close()
	}
	i, err := c.Instantiate(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = i.Close()
}
