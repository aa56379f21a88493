// Package registry keeps a hub's releases: the files of modules, the signed list of them, and what their
// manifests say. Use it in a hub. It believes no upload: a module must have the digest that it is called by, the
// list the developer's signatures (package trust).
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/wasm"
)

// metadataKey is the one key of the bucket trust: all TUF files, packed, so that one compare-and-set replaces
// them and nobody reads a timestamp beside targets that it does not name.
const metadataKey = "metadata"

// Registry keeps releases. Its methods may be called from several goroutines.
type Registry struct {
	store  *state.Store
	cache  *blob.Store
	online *trust.Online
	log    *slog.Logger

	mu       sync.Mutex // guards what follows
	files    trust.Files
	revision uint64

	loads singleflight.Group // of modules into the cache, by digest
}

// New makes the registry. cache holds the files of modules for this hub; the object store has them for all.
func New(store *state.Store, cache *blob.Store, online *trust.Online, log *slog.Logger) *Registry {
	return &Registry{store: store, cache: cache, online: online, log: log}
}

var _ api.Registry = (*Registry)(nil)

// OnlineKeys are the public halves of the hub's keys.
func (r *Registry) OnlineKeys() trust.OnlineKeys { return r.online.Public() }

// PutModule keeps a module on the disk of this hub and in the object store.
func (r *Registry) PutModule(ctx context.Context, digest string, body io.Reader) error {
	if err := r.cache.Put(digest, body, fleet.MaxModule); err != nil {
		if errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrBusy) {
			return fmt.Errorf("%w: %w", api.ErrRefused, err)
		}
		return err
	}
	if _, ok, err := r.store.Modules.Has(ctx, digest); err != nil || ok {
		return err
	}
	f, err := r.cache.Open(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.store.Modules.Put(ctx, digest, f)
}

// Module opens a module; state.ErrNotFound where nobody uploaded it.
func (r *Registry) Module(ctx context.Context, digest string) (io.ReadSeekCloser, error) {
	for {
		f, err := r.cache.Open(digest)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if err := r.fill(ctx, digest); err != nil {
			return nil, err
		}
	}
}

// fill brings a module from the object store into the cache, once however many ask.
func (r *Registry) fill(ctx context.Context, digest string) error {
	got := r.loads.DoChan(digest, func() (any, error) {
		// Whoever asked first may go away; the others still wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		return nil, r.fetch(ctx, digest)
	})
	select {
	case l := <-got:
		return l.Err
	case <-ctx.Done():
		return fmt.Errorf("module %.12s: %w", digest, ctx.Err())
	}
}

func (r *Registry) fetch(ctx context.Context, digest string) error {
	body, err := r.store.Modules.Get(ctx, digest)
	if err != nil {
		return err
	}
	defer body.Close()
	return r.cache.Put(digest, body, fleet.MaxModule)
}

// Trust returns the metadata by file name; empty before the developer's first upload.
func (r *Registry) Trust(ctx context.Context) (map[string][]byte, error) {
	files, _, err := r.latest(ctx)
	return files, err
}

// File returns one file of the metadata by its key (fleet.TrustKey); state.ErrNotFound where there is none.
func (r *Registry) File(ctx context.Context, key string) ([]byte, error) {
	files, _, err := r.metadata(ctx)
	if err != nil {
		return nil, err
	}
	for name, b := range files {
		if fleet.TrustKey(name) == key {
			return b, nil
		}
	}
	return nil, fmt.Errorf("metadata %s: %w", key, state.ErrNotFound)
}

// metadata reads what is current, or was a moment ago.
func (r *Registry) metadata(ctx context.Context) (trust.Files, uint64, error) {
	return r.unpacked(r.store.Trust.Get(ctx, metadataKey))
}

// latest is metadata for what is decided by it.
func (r *Registry) latest(ctx context.Context) (trust.Files, uint64, error) {
	return r.unpacked(r.store.Trust.Latest(ctx, metadataKey))
}

// unpacked is done once for each revision.
func (r *Registry) unpacked(e state.Entry[[]byte], err error) (trust.Files, uint64, error) {
	if errors.Is(err, state.ErrNotFound) {
		return trust.Files{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Revision == r.revision {
		return r.files, e.Revision, nil
	}
	files, err := trust.Unpack(e.Value)
	if err != nil {
		return nil, 0, err
	}
	if e.Revision > r.revision { // not in the place of a newer one
		r.files, r.revision = files, e.Revision
	}
	return files, e.Revision, nil
}

// replace writes metadata in place of what had the revision; 0: of none.
func (r *Registry) replace(ctx context.Context, files trust.Files, revision uint64) error {
	b, err := files.Pack()
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = r.store.Trust.Create(ctx, metadataKey, b)
	} else {
		_, err = r.store.Trust.Update(ctx, metadataKey, b, revision)
	}
	return err
}

// PutTrust takes what developers signed. Each release that it lists anew must have been uploaded: a list that
// names a module which nobody can fetch would stop every rollout of it.
func (r *Registry) PutTrust(ctx context.Context, upload map[string][]byte, by string) ([]fleet.Release, error) {
	for {
		current, revision, err := r.latest(ctx)
		if err != nil {
			return nil, err
		}
		next, err := r.online.Accept(current, upload)
		if err != nil {
			if errors.Is(err, trust.ErrConflict) {
				return nil, fmt.Errorf("%w: %w", state.ErrConflict, err)
			}
			return nil, fmt.Errorf("%w: %w", api.ErrRefused, err)
		}
		info, err := next.Inspect()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", api.ErrRefused, err)
		}
		made, err := r.describe(ctx, info, by)
		if err != nil {
			return nil, err
		}
		if err := r.replace(ctx, next, revision); errors.Is(err, state.ErrConflict) {
			continue // somebody else was first: judge the upload by what is current now
		} else if err != nil {
			return nil, err
		}
		if err := r.ensure(ctx, made); err != nil {
			return nil, err
		}
		return made, r.Sync(ctx)
	}
}

// describe makes the records of releases that the list has anew, and checks that their modules are here.
func (r *Registry) describe(ctx context.Context, info trust.Info, by string) ([]fleet.Release, error) {
	var made []fleet.Release
	var missing []string
	for _, t := range info.Releases {
		if _, err := r.store.Releases.Get(ctx, fleet.ReleaseKey(t.Ref)); !errors.Is(err, state.ErrNotFound) {
			if err != nil {
				return nil, err
			}
			continue
		}
		size, ok, err := r.store.Modules.Has(ctx, t.Digest)
		if err != nil {
			return nil, err
		}
		if !ok || size != t.Size {
			missing = append(missing, fmt.Sprintf("release %s: its module of %d bytes (%.12s) was not uploaded", t.Ref, t.Size, t.Digest))
		}
		if len(missing) > 0 {
			continue
		}
		rel := fleet.Release{Ref: t.Ref, Digest: t.Digest, Size: t.Size, SignedBy: info.Targets.SignedBy, By: by, At: time.Now().UTC()}
		if err := r.readManifest(ctx, &rel); err != nil {
			r.log.Warn("manifest", "release", t.Ref, "error", err) // a module without one runs all the same
		}
		if _, err := r.store.Releases.Create(ctx, fleet.ReleaseKey(t.Ref), rel); err != nil && !errors.Is(err, state.ErrConflict) {
			return nil, err
		}
		made = append(made, rel)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s", api.ErrRefused, strings.Join(missing, "; "))
	}
	return made, nil
}

// maxManifest bounds the modules whose manifests are read for the record, which needs the module in memory.
const maxManifest = 256 << 20

func (r *Registry) readManifest(ctx context.Context, rel *fleet.Release) error {
	if rel.Size > maxManifest {
		return fmt.Errorf("the module is larger than %d bytes", maxManifest)
	}
	f, err := r.Module(ctx, rel.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	bin, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	mod, err := wasm.Decode(bin)
	if err != nil {
		return err
	}
	section, ok := mod.Custom(abi.ManifestSection)
	if !ok {
		return nil
	}
	m, err := abi.ParseManifest(section)
	if err != nil {
		return err
	}
	rel.Cases, m.Golden = len(m.Golden), nil
	rel.Manifest = &m
	return nil
}

// Sync removes the records of releases that the list no longer has. A hub does it at its start too, for one
// that died in between.
func (r *Registry) Sync(ctx context.Context) error {
	// First the records, then the list: a release that is published meanwhile has no record among these, or is in the list.
	have, err := r.store.Releases.List(ctx)
	if err != nil {
		return err
	}
	files, _, err := r.latest(ctx)
	if err != nil || len(files) == 0 {
		return err
	}
	info, err := files.Inspect()
	if err != nil {
		return err
	}
	for _, e := range have {
		listed := slices.ContainsFunc(info.Releases, func(t trust.Target) bool { return t.Ref == e.Value.Ref && t.Digest == e.Value.Digest })
		if !listed {
			// Who published it meanwhile wrote the record again.
			if err := r.store.Releases.DeleteAt(ctx, e.Key, e.Revision); err != nil && !errors.Is(err, state.ErrConflict) {
				return err
			}
		}
	}
	return nil
}

// Keep re-signs the timestamp until ctx ends. Every hub may run it: who loses the race has nothing to do.
func (r *Registry) Keep(ctx context.Context) {
	for wait := time.Duration(0); ; wait = trust.ResignEvery {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if err := r.resign(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("the timestamp of the signed list could not be renewed", "error", err)
		}
	}
}

func (r *Registry) resign(ctx context.Context) error {
	files, revision, err := r.latest(ctx)
	if err != nil || len(files) == 0 {
		return err
	}
	next, err := r.online.Resign(files)
	if err != nil {
		return err
	}
	if err := r.replace(ctx, next, revision); !errors.Is(err, state.ErrConflict) {
		return err
	}
	return nil
}

// LoadOnline reads the hub's keys for snapshot and timestamp from a file that its owner alone reads, or makes them.
func LoadOnline(file string) (*trust.Online, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		return trust.ParseOnline(b)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	o, err := trust.NewOnline()
	if err != nil {
		return nil, err
	}
	if b, err = o.Encode(); err != nil {
		return nil, err
	}
	return o, disk.Write(disk.OS{}, file, b, 0o600)
}
