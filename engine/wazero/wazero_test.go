package wazero_test

import (
	"context"
	"errors"
	"path/filepath"
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
