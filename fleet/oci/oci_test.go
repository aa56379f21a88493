package oci_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet/oci"
	"github.com/isomer-iot/isomer/wasm"
)

// module is a core module with a manifest and that many bytes of ballast.
func module(t testing.TB, name, version string, ballast int) []byte {
	t.Helper()
	manifest, err := abi.Manifest{Name: name, Version: version}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := wasm.SetCustomSection([]byte("\x00asm\x01\x00\x00\x00"), abi.ManifestSection, manifest)
	if err == nil {
		bin, err = wasm.SetCustomSection(bin, "ballast", bytes.Repeat([]byte("ballast "), ballast/8))
	}
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// registryFor starts a registry and returns its address.
func registryFor(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func ref(t testing.TB, format string, args ...any) oci.Ref {
	t.Helper()
	r, err := oci.ParseRef(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// options keep the credentials of whoever runs the test out of it.
func options(t testing.TB) oci.Options {
	return oci.Options{PlainHTTP: true, DockerConfig: filepath.Join(t.TempDir(), "config.json")}
}

// places are a registry and a layout: what holds for one holds for the other.
func places(t *testing.T, test func(t *testing.T, at string)) {
	t.Run("registry", func(t *testing.T) { test(t, "oci://"+registryFor(t, nil)+"/models/digits") })
	t.Run("layout", func(t *testing.T) { test(t, "oci-layout:"+filepath.Join(t.TempDir(), "layout")) })
}

func TestPushAndPull(t *testing.T) {
	places(t, func(t *testing.T, at string) {
		ctx, o, bin := t.Context(), options(t), module(t, "digits", "1.2.0", 3<<20)
		var last, total int64
		o.Progress = func(done, of int64) { last, total = done, of }
		pushed, err := oci.Push(ctx, ref(t, "%s:1.2.0", at), bin, o)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(bin)
		if pushed.Module != hex.EncodeToString(sum[:]) || pushed.Size != int64(len(bin)) || pushed.Present ||
			pushed.Annotations["org.opencontainers.image.title"] != "digits" || pushed.Annotations["org.opencontainers.image.version"] != "1.2.0" {
			t.Errorf("pushed %+v", pushed)
		}
		if last != total || total != int64(len(bin)) {
			t.Errorf("progress ended at %d of %d", last, total)
		}
		for _, r := range []oci.Ref{ref(t, "%s:1.2.0", at), ref(t, "%s@%s", at, pushed.Digest)} {
			got, pulled, err := oci.Pull(ctx, r, o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, bin) || pulled.Digest != pushed.Digest || pulled.Module != pushed.Module {
				t.Errorf("%s: %d bytes, %+v", r, len(got), pulled)
			}
		}
		// The same module is the same artifact, whenever it is pushed, and its bytes travel once.
		again, err := oci.Push(ctx, ref(t, "%s:again", at), bin, o)
		if err != nil || again.Digest != pushed.Digest || !again.Present {
			t.Errorf("pushed again: %+v, %v", again, err)
		}
		// A tag moves.
		other := module(t, "digits", "1.3.0", 8)
		if _, err := oci.Push(ctx, ref(t, "%s:again", at), other, o); err != nil {
			t.Fatal(err)
		}
		if got, _, err := oci.Pull(ctx, ref(t, "%s:again", at), o); err != nil || !bytes.Equal(got, other) {
			t.Errorf("a moved tag: %d bytes, %v", len(got), err)
		}
		if _, _, err := oci.Pull(ctx, ref(t, "%s:none", at), o); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("a tag that is not there: %v", err)
		}
		o.MaxBytes = 1000
		if _, _, err := oci.Pull(ctx, ref(t, "%s:1.2.0", at), o); !errors.Is(err, oci.ErrNotModule) || !strings.Contains(err.Error(), "at most 1000") {
			t.Errorf("beyond the bound: %v", err)
		}
	})
}

// What is pushed is what the specification says, field by field, as rust-oci-wasm (wkg, wasmtime's tools) requires it.
func TestTheFormIsThatOfTheSpecification(t *testing.T) {
	at, bin := filepath.Join(t.TempDir(), "layout"), module(t, "digits", "1.2.0", 8)
	pushed, err := oci.Push(t.Context(), ref(t, "oci-layout:%s:v1", at), bin, options(t))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		SchemaVersion int
		MediaType     string
		Config        struct{ MediaType, Digest string }
		Layers        []struct{ MediaType, Digest string }
	}
	read(t, at, pushed.Digest, &m)
	if m.SchemaVersion != 2 || m.MediaType != "application/vnd.oci.image.manifest.v1+json" || len(m.Layers) != 1 ||
		m.Config.MediaType != "application/vnd.wasm.config.v0+json" || m.Layers[0].MediaType != "application/wasm" {
		t.Errorf("manifest %+v", m)
	}
	var c map[string]any
	read(t, at, m.Config.Digest, &c)
	if len(c) != 4 || c["architecture"] != "wasm" || c["os"] != "wasip1" || c["created"] != "1970-01-01T00:00:00Z" ||
		fmt.Sprint(c["layerDigests"]) != "["+m.Layers[0].Digest+"]" {
		t.Errorf("configuration %v", c)
	}
	if b, err := os.ReadFile(filepath.Join(at, "oci-layout")); err != nil || !bytes.Contains(b, []byte(`"imageLayoutVersion":"1.0.0"`)) {
		t.Errorf("oci-layout: %s, %v", b, err)
	}
}

func read(t *testing.T, layout, digest string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// layout writes an OCI layout by hand, as other tools do.
type layout struct {
	t   *testing.T
	dir string
}

func newLayout(t *testing.T) layout {
	l := layout{t, t.TempDir()}
	l.write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l layout) write(name string, b []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// blob writes bytes and returns their descriptor as JSON.
func (l layout) blob(mediaType string, b []byte, more ...string) string {
	sum := sha256.Sum256(b)
	l.write(fmt.Sprintf("blobs/sha256/%x", sum), b)
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%x","size":%d%s}`, mediaType, sum, len(b), strings.Join(more, ""))
}

func (l layout) manifest(config string, layers ...string) string {
	return l.blob("application/vnd.oci.image.manifest.v1+json",
		fmt.Appendf(nil, `{"schemaVersion":2,"config":%s,"layers":[%s]}`, config, strings.Join(layers, ",")),
		`,"annotations":{"org.opencontainers.image.ref.name":"v1"}`)
}

func (l layout) index(manifests ...string) {
	l.write("index.json", fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[%s]}`, strings.Join(manifests, ",")))
}

func (l layout) pull() ([]byte, error) {
	bin, _, err := oci.Pull(l.t.Context(), ref(l.t, "oci-layout:%s:v1", l.dir), oci.Options{MaxBytes: 1 << 20})
	return bin, err
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

const (
	wasmConfig = "application/vnd.wasm.config.v0+json"
	wasmLayer  = "application/wasm"
	tarLayer   = "application/vnd.oci.image.layer.v1.tar+gzip"
	someConfig = "application/vnd.oci.image.config.v1+json"
)

// What wkg, oras and containerd's tools write is read.
func TestWhatOtherToolsWrite(t *testing.T) {
	bin := module(t, "digits", "", 8)
	// As rust-oci-wasm 0.4 serialises it: null for what is not known, nanoseconds.
	wkg := fmt.Appendf(nil, `{"created":"2025-03-01T10:11:12.123456789Z","author":null,"architecture":"wasm","os":"wasip1","layerDigests":[%q],"component":null}`, digestOf(bin))
	tests := []struct {
		name string
		make func(l layout)
	}{
		{"wkg", func(l layout) { l.index(l.manifest(l.blob(wasmConfig, wkg), l.blob(wasmLayer, bin))) }},
		{"oras push without a configuration", func(l layout) {
			l.index(l.manifest(l.blob("application/vnd.oci.empty.v1+json", []byte("{}")), l.blob(wasmLayer, bin)))
		}},
		{"an index with a platform", func(l layout) {
			image := l.blob("application/vnd.oci.image.manifest.v1+json", fmt.Appendf(nil, `{"schemaVersion":2,"config":%s,"layers":[%s]}`,
				l.blob(wasmConfig, wkg), l.blob(wasmLayer, bin)), `,"platform":{"os":"wasip1","architecture":"wasm"}`)
			native := l.blob("application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2}`), `,"platform":{"os":"linux","architecture":"amd64"}`)
			l.index(l.blob("application/vnd.oci.image.index.v1+json", fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[%s,%s]}`, native, image),
				`,"annotations":{"org.opencontainers.image.ref.name":"v1"}`))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLayout(t)
			tt.make(l)
			if got, err := l.pull(); err != nil || !bytes.Equal(got, bin) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestWhatIsNoModuleIsRefused(t *testing.T) {
	bin := module(t, "digits", "", 8)
	configFor := func(digests string) []byte {
		return []byte(`{"architecture":"wasm","os":"wasip1","layerDigests":` + digests + `}`)
	}
	about := configFor(`["` + digestOf(bin) + `"]`)
	tests := []struct {
		name string
		make func(l layout)
		kind error
		want string
	}{
		{"an image", func(l layout) {
			l.index(l.manifest(l.blob(someConfig, []byte("{}")), l.blob(tarLayer, []byte("a")), l.blob(tarLayer, []byte("b"))))
		}, oci.ErrNotModule, `an artifact of type "application/vnd.oci.image.config.v1+json" with 2 layers`},
		{"an image for other machines", func(l layout) {
			image := l.blob("application/vnd.oci.image.manifest.v1+json", []byte(`{}`), `,"platform":{"os":"linux","architecture":"arm64"}`)
			l.index(l.blob("application/vnd.oci.image.index.v1+json", fmt.Appendf(nil, `{"manifests":[%s]}`, image), `,"annotations":{"org.opencontainers.image.ref.name":"v1"}`))
		}, oci.ErrNotModule, "an index with images for linux/arm64"},
		{"a chart", func(l layout) {
			l.index(l.manifest(l.blob("application/vnd.cncf.helm.config.v1+json", []byte("{}")), l.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("x"))))
		}, oci.ErrNotModule, `one layer of type "application/vnd.cncf.helm.chart.content.v1.tar+gzip"`},
		{"no layer", func(l layout) { l.index(l.manifest(l.blob(wasmConfig, about))) }, oci.ErrNotModule, "with no layer"},
		{"two modules", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), l.blob(wasmLayer, bin), l.blob(wasmLayer, bin[:8])))
		}, oci.ErrNotModule, "an artifact of 2 modules"},
		{"a picture called a module", func(l layout) {
			b := []byte("\x89PNG....")
			l.index(l.manifest(l.blob(wasmConfig, configFor(`["`+digestOf(b)+`"]`)), l.blob(wasmLayer, b)))
		}, oci.ErrNotModule, `it begins with "\x89PNG`},
		{"a component", func(l layout) {
			b := []byte("\x00asm\x0d\x00\x01\x00")
			l.index(l.manifest(l.blob(wasmConfig, configFor(`["`+digestOf(b)+`"]`)), l.blob(wasmLayer, b)))
		}, oci.ErrNotModule, "a component of the Component Model"},
		{"a module that ends early", func(l layout) {
			b := bin[:20]
			l.index(l.manifest(l.blob(wasmConfig, configFor(`["`+digestOf(b)+`"]`)), l.blob(wasmLayer, b)))
		}, oci.ErrNotModule, ""},
		{"a configuration about another layer", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, configFor(`["sha256:00"]`)), l.blob(wasmLayer, bin)))
		}, oci.ErrDamaged, "its configuration is about sha256:00"},
		{"a configuration for another machine", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, []byte(`{"architecture":"amd64"}`)), l.blob(wasmLayer, bin)))
		}, oci.ErrNotModule, `architecture "amd64"`},
		{"a configuration that is no JSON", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, []byte(`{`)), l.blob(wasmLayer, bin)))
		}, oci.ErrDamaged, "its configuration"},
		{"a module beyond the bound", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":9000000000000}`, wasmLayer, digestOf(bin))))
		}, oci.ErrNotModule, "9000000000000 bytes"},
		{"a size below none", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":-5}`, wasmLayer, digestOf(bin))))
		}, oci.ErrDamaged, ""},
		{"changed bytes", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), l.blob(wasmLayer, bin)))
			bad := bytes.Clone(bin)
			bad[len(bad)-1] ^= 1
			l.write("blobs/sha256/"+strings.TrimPrefix(digestOf(bin), "sha256:"), bad)
		}, oci.ErrDamaged, "and not " + digestOf(bin)},
		{"missing bytes", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), l.blob(wasmLayer, bin)))
			l.write("blobs/sha256/"+strings.TrimPrefix(digestOf(bin), "sha256:"), bin[:9])
		}, oci.ErrDamaged, ""},
		{"a layer without a digest", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), `{"mediaType":"application/wasm","size":5}`))
		}, oci.ErrDamaged, ""},
		{"a configuration without a digest", func(l layout) {
			l.index(l.manifest(`{"mediaType":"`+wasmConfig+`","size":5}`, l.blob(wasmLayer, bin)))
		}, oci.ErrDamaged, ""},
		{"an index whose manifest has no digest", func(l layout) {
			l.index(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":5,"annotations":{"org.opencontainers.image.ref.name":"v1"}}`)
		}, nil, ""},
		{"a digest that is a path", func(l layout) {
			l.index(l.manifest(l.blob(wasmConfig, about), `{"mediaType":"application/wasm","digest":"sha256:../../../etc/passwd","size":5}`))
		}, oci.ErrDamaged, ""},
		{"a folder that is no layout", func(l layout) { os.Remove(filepath.Join(l.dir, "oci-layout")) }, oci.ErrNotFound, ""},
		{"an index that is no JSON", func(l layout) { l.write("index.json", []byte("[")) }, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLayout(t)
			tt.make(l)
			got, err := l.pull()
			if err == nil || got != nil || tt.kind != nil && !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d bytes, %v; want %v with %q", len(got), err, tt.kind, tt.want)
			}
		})
	}
}

func TestPushRefusesWhatIsNoModule(t *testing.T) {
	places(t, func(t *testing.T, at string) {
		if _, err := oci.Push(t.Context(), ref(t, "%s:v1", at), []byte("#!/bin/sh\n"), options(t)); !errors.Is(err, oci.ErrNotModule) {
			t.Errorf("a script: %v", err)
		}
		digest := digestOf(nil)
		if _, err := oci.Push(t.Context(), ref(t, "%s@%s", at, digest), module(t, "a", "", 8), options(t)); !errors.Is(err, oci.ErrRef) {
			t.Errorf("to a digest: %v", err)
		}
	})
}

// A registry that hands out other bytes than it was given is found out.
func TestARegistryIsNotBelieved(t *testing.T) {
	bin := module(t, "digits", "", 100)
	var lie atomic.Pointer[string]
	at := registryFor(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if what := lie.Load(); what != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, *what) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				w.Write(bytes.Repeat([]byte("x"), len(bin)))
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	r, o := ref(t, "oci://%s/digits:v1", at), options(t)
	pushed, err := oci.Push(t.Context(), r, bin, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"/blobs/sha256:" + pushed.Module, "/manifests/"} {
		lie.Store(&what)
		if got, _, err := oci.Pull(t.Context(), r, o); err == nil || got != nil {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
}

// Credentials come from Docker's configuration, and a registry that wants some says so.
func TestCredentials(t *testing.T) {
	const user, password = "dev", "s3cret"
	at := registryFor(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); u != user || p != password {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}`, http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	r, o, bin := ref(t, "oci://%s/digits:v1", at), options(t), module(t, "digits", "", 8)
	login := func(password string) {
		auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		if err := os.WriteFile(o.DockerConfig, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, at, auth), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := oci.Push(t.Context(), r, bin, o); !errors.Is(err, oci.ErrDenied) {
		t.Errorf("without credentials: %v", err)
	}
	login("wrong")
	if _, err := oci.Push(t.Context(), r, bin, o); !errors.Is(err, oci.ErrDenied) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
	login(password)
	if _, err := oci.Push(t.Context(), r, bin, o); err != nil {
		t.Fatal(err)
	}
	if got, _, err := oci.Pull(t.Context(), r, o); err != nil || !bytes.Equal(got, bin) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Plain HTTP leaves this machine never, and HTTPS is not given up for it.
func TestPlainHTTP(t *testing.T) {
	if _, _, err := oci.Pull(t.Context(), ref(t, "oci://registry.example.com/digits:v1"), options(t)); !errors.Is(err, oci.ErrPlainHTTP) {
		t.Errorf("elsewhere: %v", err)
	}
	o := options(t)
	o.PlainHTTP = false
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := oci.Pull(ctx, ref(t, "oci://%s/digits:v1", registryFor(t, nil)), o); err == nil {
		t.Error("HTTPS spoke to a listener without it")
	}
	if _, _, err := oci.Pull(ctx, ref(t, "oci://%s/digits:v1", registryFor(t, nil)), options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

func TestParseRef(t *testing.T) {
	digest := digestOf(nil)
	good := []oci.Ref{
		{Registry: "ghcr.io", Repository: "acme/digits", Tag: "1.2.0"},
		{Registry: "localhost:5000", Repository: "digits", Tag: "v1"},
		{Registry: "[::1]:5000", Repository: "digits", Digest: digest},
		{Layout: "out/layout", Tag: "v1"},
		{Layout: `C:\layout`, Tag: "v1"},
		{Layout: "./a:b", Digest: digest},
	}
	for _, r := range good {
		if got, err := oci.ParseRef(r.String()); err != nil || got != r {
			t.Errorf("%s: %+v, %v", r, got, err)
		}
	}
	for _, s := range []string{
		"", "digits.wasm", "oci://", "oci://ghcr.io", "oci://ghcr.io/digits", "oci://ghcr.io/Digits:v1", "oci://ghcr.io/d:v 1",
		"oci://ghcr.io/d@sha256:12", "oci://ghcr.io/../d:v1", "oci://u:p@ghcr.io/d:v1", "oci-layout:", "oci-layout::v1", "oci-layout:dir", `oci-layout:C:\dir`,
		"oci-layout:dir:v 1", "https://ghcr.io/d:v1", "oci://ghcr.io/d@sha512:" + strings.Repeat("0", 128),
	} {
		if got, err := oci.ParseRef(s); !errors.Is(err, oci.ErrRef) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"oci://ghcr.io/acme/digits:1.2.0", "oci-layout:dir:v1", "oci-layout:a@" + digestOf(nil)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := oci.ParseRef(s)
		if err != nil {
			return
		}
		if again, err := oci.ParseRef(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", s, r, again, err)
		}
	})
}

// FuzzPull reads manifests, indexes and layouts that anybody may have written.
func FuzzPull(f *testing.F) {
	bin := []byte("\x00asm\x01\x00\x00\x00")
	const manifest, index, layoutIndex = 0, 1, 2
	f.Add(fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":8}]}`,
		"application/vnd.oci.empty.v1+json", digestOf([]byte("{}")), wasmLayer, digestOf(bin)), byte(manifest))
	f.Add([]byte(`{"manifests":[{"platform":{"architecture":"wasm"},"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:0","size":1}]}`), byte(index))
	f.Add(fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":2,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`,
		digestOf([]byte("{}"))), byte(layoutIndex))
	f.Fuzz(func(t *testing.T, b []byte, what byte) {
		l := newLayout(t)
		l.blob(wasmLayer, bin)
		l.blob("", []byte("{}"))
		named := `,"annotations":{"org.opencontainers.image.ref.name":"v1"}`
		switch what % 3 {
		case manifest:
			l.index(l.blob("application/vnd.oci.image.manifest.v1+json", b, named))
		case index:
			l.index(l.blob("application/vnd.oci.image.index.v1+json", b, named))
		default:
			l.write("index.json", b)
		}
		if got, err := l.pull(); err == nil && !bytes.Equal(got, bin) {
			t.Errorf("read %q", got)
		}
	})
}
