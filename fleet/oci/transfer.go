package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// shelf is where artifacts lie: a registry's repository or a layout.
type shelf interface {
	content.Fetcher
	content.Resolver
}

// writable is a shelf that artifacts are put on.
type writable interface {
	content.Storage
	content.Tagger
}

// Push makes the module an artifact and names it by the reference's tag. Pushing the same module twice makes the same
// digest: the configuration's time of creation is that of the module's annotations, or 1970.
func Push(ctx context.Context, ref Ref, module []byte, o Options) (Artifact, error) {
	if ref.Digest != "" {
		return Artifact{}, fmt.Errorf("%w: %s: a push needs a tag; the digest follows from what is pushed", ErrRef, ref)
	}
	if n := int64(len(module)); n > o.max() {
		return Artifact{}, fmt.Errorf("%w: %d bytes, at most %d are carried", ErrNotModule, n, o.max())
	}
	if err := checkModule(module); err != nil {
		return Artifact{}, err
	}
	a, err := build(module, o)
	if err != nil {
		return Artifact{}, err
	}
	s, err := openToWrite(ctx, ref, o)
	if err != nil {
		return Artifact{}, explain(ref, err)
	}
	ctx, w := watch(ctx)
	defer w.stop()
	done := Artifact{Ref: ref.String(), Digest: a.manifest.Digest.String(), Module: a.layer.Digest.Encoded(), Size: a.layer.Size, Annotations: a.annotations}
	if done.Present, err = put(ctx, s, a.layer, &meter{w: w, r: bytes.NewReader(module), total: a.layer.Size, tell: o.Progress}); err != nil {
		return Artifact{}, w.explain(ref, err)
	}
	if _, err = put(ctx, s, a.config, bytes.NewReader(a.configBytes)); err != nil {
		return Artifact{}, w.explain(ref, err)
	}
	if err := name(ctx, s, a, ref.Tag); err != nil {
		return Artifact{}, w.explain(ref, err)
	}
	return done, nil
}

// Pull reads the module that the reference names. What is returned has the digest and size that the artifact says.
func Pull(ctx context.Context, ref Ref, o Options) ([]byte, Artifact, error) {
	s, err := openToRead(ctx, ref, o)
	if err != nil {
		return nil, Artifact{}, explain(ref, err)
	}
	ctx, w := watch(ctx)
	defer w.stop()
	module, a, err := pull(ctx, w, s, ref, o)
	if err != nil {
		return nil, Artifact{}, w.explain(ref, err)
	}
	return module, a, nil
}

func pull(ctx context.Context, w *watchdog, s shelf, ref Ref, o Options) ([]byte, Artifact, error) {
	at, err := s.Resolve(ctx, ref.reference())
	if err != nil {
		return nil, Artifact{}, err
	}
	at, m, err := findManifest(ctx, s, at)
	if err != nil {
		return nil, Artifact{}, err
	}
	layer, err := findLayer(at, m)
	if err != nil {
		return nil, Artifact{}, err
	}
	if layer.Size > o.max() {
		return nil, Artifact{}, fmt.Errorf("%w: its layer has %d bytes, at most %d are carried", ErrNotModule, layer.Size, o.max())
	}
	if err := checkConfig(ctx, s, m.Config, layer); err != nil {
		return nil, Artifact{}, err
	}
	module, err := fetch(ctx, s, layer, w, o.Progress)
	if err != nil {
		return nil, Artifact{}, err
	}
	if err := checkModule(module); err != nil {
		return nil, Artifact{}, err
	}
	return module, Artifact{
		Ref: ref.String(), Digest: at.Digest.String(), Module: layer.Digest.Encoded(), Size: layer.Size, Annotations: m.Annotations,
	}, nil
}

// parts are the documents of an artifact.
type parts struct {
	layer, config, manifest    v1.Descriptor
	configBytes, manifestBytes []byte
	annotations                map[string]string
}

func build(module []byte, o Options) (parts, error) {
	a := parts{layer: content.NewDescriptorFromBytes(LayerMediaType, module), annotations: map[string]string{}}
	file := "module.wasm"
	if payload, ok, err := wasm.CustomSection(module, abi.ManifestSection); err == nil && ok {
		if m, err := abi.ParseManifest(payload); err == nil {
			file = m.Name + ".wasm"
			a.annotations[v1.AnnotationTitle] = m.Name
			if m.Version != "" {
				a.annotations[v1.AnnotationVersion] = m.Version
			}
		}
	}
	maps.Copy(a.annotations, o.Annotations)
	a.layer.Annotations = map[string]string{v1.AnnotationTitle: file} // the name of the file that oras pull writes
	created := time.Unix(0, 0).UTC()
	if s := a.annotations[v1.AnnotationCreated]; s != "" {
		var err error
		if created, err = time.Parse(time.RFC3339, s); err != nil {
			return parts{}, fmt.Errorf("annotation %s: %w", v1.AnnotationCreated, err)
		}
	}
	var err error
	a.configBytes, err = json.Marshal(config{Created: created, Architecture: architecture, OS: moduleOS, LayerDigests: []string{a.layer.Digest.String()}})
	if err != nil {
		return parts{}, err
	}
	a.config = content.NewDescriptorFromBytes(ConfigMediaType, a.configBytes)
	a.manifestBytes, err = json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: a.config, Layers: []v1.Descriptor{a.layer}, Annotations: a.annotations,
	})
	if err != nil {
		return parts{}, err
	}
	a.manifest = content.NewDescriptorFromBytes(v1.MediaTypeImageManifest, a.manifestBytes)
	return a, nil
}

// put writes a blob where it is missing, and reports whether it was there.
func put(ctx context.Context, s writable, d v1.Descriptor, r io.Reader) (present bool, err error) {
	if present, err = s.Exists(ctx, d); err != nil || present {
		return present, err
	}
	if err = s.Push(ctx, d, r); errors.Is(err, errdef.ErrAlreadyExists) {
		return true, nil // somebody pushed the same meanwhile
	}
	return false, err
}

func name(ctx context.Context, s writable, a parts, tag string) error {
	if r, ok := s.(*remote.Repository); ok {
		return r.PushReference(ctx, a.manifest, bytes.NewReader(a.manifestBytes), tag)
	}
	if _, err := put(ctx, s, a.manifest, bytes.NewReader(a.manifestBytes)); err != nil {
		return err
	}
	return s.Tag(ctx, a.manifest, tag)
}

func openToRead(ctx context.Context, ref Ref, o Options) (shelf, error) {
	if ref.Layout == "" {
		return openRegistry(ref, o)
	}
	if err := ref.exists(); err != nil {
		return nil, err
	}
	return oci.NewFromFS(ctx, os.DirFS(ref.Layout))
}

func openToWrite(ctx context.Context, ref Ref, o Options) (writable, error) {
	if ref.Layout == "" {
		return openRegistry(ref, o)
	}
	if err := ref.exists(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return oci.NewWithContext(ctx, ref.Layout)
}

func openRegistry(ref Ref, o Options) (*remote.Repository, error) {
	if o.PlainHTTP && !ref.local() {
		return nil, fmt.Errorf("%w, and %s is elsewhere", ErrPlainHTTP, ref.Registry)
	}
	repository, err := remote.NewRepository(ref.Registry + "/" + ref.Repository)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRef, err)
	}
	var store credentials.Store
	if o.DockerConfig != "" {
		store, err = credentials.NewStore(o.DockerConfig, credentials.StoreOptions{})
	} else {
		store, err = credentials.NewStoreFromDocker(credentials.StoreOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("credentials of Docker: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = maxStall
	c := &auth.Client{
		Client:     &http.Client{Transport: retry.NewTransport(transport)},
		Cache:      auth.NewCache(),
		Credential: credentials.Credential(store),
	}
	c.SetUserAgent("isomer")
	if ref.local() {
		// A registry elsewhere may not send our password to a port of this machine; one on this machine has its
		// token service here too.
		c.BlockedRealmPrefixes = []netip.Prefix{}
	}
	repository.Client = c
	repository.PlainHTTP = o.PlainHTTP
	return repository, nil
}

// explain adds the reference and the kind of an error.
func explain(ref Ref, err error) error {
	kind := error(nil)
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch e.StatusCode {
		case http.StatusNotFound:
			kind = ErrNotFound
		case http.StatusUnauthorized, http.StatusForbidden:
			kind = ErrDenied
		}
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		kind = ErrNotFound
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		kind = ErrDenied
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, io.ErrUnexpectedEOF):
		kind = ErrDamaged
	}
	if kind != nil && !errors.Is(err, kind) && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%s: %w: %w", ref, kind, err)
	}
	return fmt.Errorf("%s: %w", ref, err)
}

// fetch reads a blob whole, of which no more than arrives is ever allocated, and checks its size and digest.
func fetch(ctx context.Context, s content.Fetcher, d v1.Descriptor, w *watchdog, tell func(done, total int64)) ([]byte, error) {
	// Validate first: Algorithm panics where there is no colon.
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%w: digest %.100q: %w", ErrDamaged, d.Digest, err)
	}
	if d.Digest.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("%w: digest %s: SHA-256 alone is read", ErrDamaged, d.Digest)
	}
	if d.Size < 0 {
		return nil, fmt.Errorf("%w: %s has %d bytes, it says", ErrDamaged, d.Digest, d.Size)
	}
	r, err := s.Fetch(ctx, d)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, fmt.Errorf("%w: a part is missing: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(&meter{w: w, r: r, total: d.Size, tell: tell}, d.Size+1)); err != nil {
		return nil, err
	}
	if n := int64(b.Len()); n != d.Size {
		return nil, fmt.Errorf("%w: %s has %d bytes or more, %d are announced", ErrDamaged, d.Digest, n, d.Size)
	}
	if sum := sha256.Sum256(b.Bytes()); hex.EncodeToString(sum[:]) != d.Digest.Encoded() {
		return nil, fmt.Errorf("%w: what arrived has the digest sha256:%x, and not %s", ErrDamaged, sum, d.Digest)
	}
	return b.Bytes(), nil
}
