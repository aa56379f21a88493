package state

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
)

// Modules are the files of modules by digest. It streams: no module is in memory whole.
type Modules struct {
	objects  jetstream.ObjectStore
	js       jetstream.JetStream
	replicas int
}

func openModules(ctx context.Context, js jetstream.JetStream, o Options) (*Modules, error) {
	objects, err := js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: fleet.ModulesBucket, Storage: jetstream.FileStorage, Replicas: max(1, o.Replicas),
	})
	if err != nil {
		return nil, fmt.Errorf("hub state: object store %s: %w", fleet.ModulesBucket, err)
	}
	return &Modules{objects, js, o.Replicas}, nil
}

// Put keeps the module that r gives. The caller has checked that its SHA-256 is digest.
func (m *Modules) Put(ctx context.Context, digest string, r io.Reader) error {
	if _, err := m.objects.Put(ctx, jetstream.ObjectMeta{Name: digest}, r); err != nil {
		return fmt.Errorf("module %.12s: cannot be kept: %w", digest, err)
	}
	return nil
}

// Has reports whether the module is kept, and its size in bytes.
func (m *Modules) Has(ctx context.Context, digest string) (size int64, ok bool, err error) {
	info, err := m.objects.GetInfo(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) && m.replicas > 1 {
		info, err = m.ofLeader(ctx, digest)
	}
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("module %.12s: %w", digest, err)
	}
	return int64(info.Size), true, nil
}

// ofLeader is GetInfo at the server that leads the stream.
func (m *Modules) ofLeader(ctx context.Context, digest string) (*jetstream.ObjectInfo, error) {
	subject := "$O." + fleet.ModulesBucket + ".M." + base64.URLEncoding.EncodeToString([]byte(digest))
	got, err := lastOfLeader(ctx, m.js, "OBJ_"+fleet.ModulesBucket, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, jetstream.ErrObjectNotFound
	}
	if err != nil {
		return nil, err
	}
	info := &jetstream.ObjectInfo{}
	if err := json.Unmarshal(got.Data, info); err != nil {
		return nil, err
	}
	if info.Deleted {
		return nil, jetstream.ErrObjectNotFound
	}
	return info, nil
}

// Get streams the module; ErrNotFound where it is not kept. The stream ends with an error where what was
// stored is damaged. The caller closes it.
func (m *Modules) Get(ctx context.Context, digest string) (io.ReadCloser, error) {
	r, err := m.objects.Get(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("module %.12s: %w", digest, err)
	}
	return r, nil
}

// Delete removes the module. That there is none is no error.
func (m *Modules) Delete(ctx context.Context, digest string) error {
	if err := m.objects.Delete(ctx, digest); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("module %.12s: %w", digest, err)
	}
	return nil
}

// ModuleInfo is a module that is kept.
type ModuleInfo struct {
	Digest string
	Size   int64
	At     time.Time // of the upload
}

// List returns the modules that are kept.
func (m *Modules) List(ctx context.Context) ([]ModuleInfo, error) {
	all, err := m.objects.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	out := make([]ModuleInfo, 0, len(all))
	for _, o := range all {
		if fleet.CheckDigest(o.Name) == nil {
			out = append(out, ModuleInfo{o.Name, int64(o.Size), o.ModTime})
		}
	}
	return out, nil
}
