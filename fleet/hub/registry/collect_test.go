package registry_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// Modules that no release has go, from the hub's disk and from the object store; those of releases stay, and so do
// uploads that may still be signed.
func TestModulesThatNoReleaseHasAreRemoved(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	online, err := trust.NewOnline()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := blob.Open(filepath.Join(t.TempDir(), "modules"))
	if err != nil {
		t.Fatal(err)
	}
	r := registry.New(h.Hub.Store(), cache, online, slog.New(slog.DiscardHandler))
	one, two, unsigned := guest("1"), guest("2"), guest("3")
	h.Publish("meter@1.0.0", one)
	h.Publish("meter@2.0.0", two)
	if err := h.Admin.PutModule(h.Ctx, hubtest.Digest(unsigned), int64(len(unsigned)), bytes.NewReader(unsigned)); err != nil {
		t.Fatal(err)
	}
	// here says whether a module is in the object store and in the cache, without fetching it there.
	here := func(bin []byte) (store, cached bool) {
		_, store, err := h.Hub.Store().Modules.Has(h.Ctx, hubtest.Digest(bin))
		if err != nil {
			t.Fatal(err)
		}
		return store, cache.Has(hubtest.Digest(bin))
	}
	warm := func(bin []byte) error {
		f, err := r.Module(h.Ctx, hubtest.Digest(bin))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	}
	sweep := func(grace time.Duration) {
		t.Helper()
		if err := errors.Join(r.SweepCache(h.Ctx, grace), r.SweepStore(h.Ctx, grace)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bin := range [][]byte{one, two, unsigned} {
		if err := warm(bin); err != nil {
			t.Fatal(err)
		}
	}
	sweep(time.Hour)
	if store, cached := here(unsigned); !store || !cached {
		t.Errorf("an upload of just now is removed: store %v, cache %v", store, cached)
	}
	sweep(0)
	if store, cached := here(unsigned); store || cached {
		t.Errorf("what no release has is still there: store %v, cache %v", store, cached)
	}
	h.Upload(h.Keys.Retire(hubtest.Ref(t, "meter@1.0.0")))
	sweep(0)
	if store, cached := here(one); store || cached {
		t.Errorf("what a retired release had is still there: store %v, cache %v", store, cached)
	}
	if store, cached := here(two); !store || !cached {
		t.Errorf("a release's module is removed: store %v, cache %v", store, cached)
	}
	if err := warm(one); !errors.Is(err, state.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed module: %v", err)
	}
	h.Publish("meter@1.0.1", one) // it may come again
	if store, _ := here(one); !store {
		t.Error("a module that came again is not there")
	}
}

func guest(version string) []byte { return enginetest.Guest{Version: version}.Build() }
