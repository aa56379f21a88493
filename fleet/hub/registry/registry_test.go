package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// The registry of another hub of the fleet believes no upload and no metadata that nobody signed, and has what the
// first one was given.
func TestWhatARegistryTakesAndHas(t *testing.T) {
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
	one, other := guest("1"), guest("2")
	h.Publish("meter@1.0.0", one)

	if err := r.PutModule(h.Ctx, hubtest.Digest(one), bytes.NewReader(other)); !errors.Is(err, api.ErrRefused) {
		t.Errorf("a module under another's digest: %v, want api.ErrRefused", err)
	}
	if _, ok, err := h.Hub.Store().Modules.Has(h.Ctx, hubtest.Digest(other)); ok || err != nil {
		t.Errorf("a refused module is kept (%v)", err)
	}
	if _, err := r.Module(h.Ctx, hubtest.Digest(other)); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a module that nobody uploaded: %v, want state.ErrNotFound", err)
	}
	if _, err := r.File(h.Ctx, "none"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("metadata that is not there: %v, want state.ErrNotFound", err)
	}
	before, err := r.Trust(h.Ctx)
	if err != nil || len(before) == 0 {
		t.Fatalf("%d files of metadata (%v)", len(before), err)
	}
	for name, b := range before {
		if got, err := r.File(h.Ctx, fleet.TrustKey(name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("file %s is another one (%v)", name, err)
		}
	}
	if _, err := r.PutTrust(h.Ctx, map[string][]byte{"targets.json": []byte("{}")}, "eve"); !errors.Is(err, api.ErrRefused) {
		t.Errorf("metadata without a signature: %v, want api.ErrRefused", err)
	}

	// Many ask at once for what this hub has not on its disk yet; the first goes away, which fails nobody else.
	left, leave := context.WithCancel(h.Ctx)
	leave()
	if f, err := r.Module(left, hubtest.Digest(one)); err == nil {
		f.Close()
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			f, err := r.Module(h.Ctx, hubtest.Digest(one))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, one) {
				t.Errorf("%d bytes that are not the module's %d (%v)", len(b), len(one), err)
			}
		})
	}
	wg.Wait()
}

// An upload that ended before the store had it left a file on one hub's disk: whoever asks is told to upload it again.
func TestAnUploadThatWasCutOffIsRepeated(t *testing.T) {
	t.Parallel()
	h := hubtest.New(t)
	bin := guest("1")
	cache, err := blob.Open(filepath.Join(h.Dir, "hub", "modules"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Put(hubtest.Digest(bin), bytes.NewReader(bin), fleet.MaxModule); err != nil {
		t.Fatal(err)
	}
	if have, err := h.Admin.HasModule(h.Ctx, hubtest.Digest(bin)); have || err != nil {
		t.Errorf("the hub says that it has it (%v)", err)
	}
	h.Publish("meter@1.0.0", bin)
	if have, err := h.Admin.HasModule(h.Ctx, hubtest.Digest(bin)); !have || err != nil {
		t.Errorf("the hub says that it has it not (%v)", err)
	}
}
