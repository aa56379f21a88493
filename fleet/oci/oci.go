// Package oci carries modules through OCI registries and OCI layouts on disk: use it to give a module to people and tools
// that work with registries, or to take one from them; never to update a fleet, whose nodes run what their developers
// signed (package fleet/trust), and a registry signs nothing.
//
// What is written and read is the CNCF's Wasm OCI artifact
// (https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/), which wkg, wasmCloud and containerd use: a manifest
// with a configuration of type application/vnd.wasm.config.v0+json and one layer of type application/wasm, the module.
//
// v0: anything may change until 1.0.
package oci

import (
	"errors"
	"time"
)

// Media types of the artifact.
const (
	ConfigMediaType = "application/vnd.wasm.config.v0+json"
	LayerMediaType  = "application/wasm"
)

// Bounds of what is read.
const (
	MaxModule = 1 << 30 // Options.MaxBytes where it is 0
	maxConfig = 1 << 20 // those of components list their imports and exports
	maxStall  = time.Minute
)

// Errors that callers tell apart; what is returned wraps them and says more.
var (
	ErrRef       = errors.New("not a reference to an artifact")
	ErrNotModule = errors.New("not a WebAssembly module")
	ErrNotFound  = errors.New("no such artifact")
	ErrDenied    = errors.New("the registry refuses")
	ErrDamaged   = errors.New("damaged artifact")
	ErrPlainHTTP = errors.New("plain HTTP is for registries on this machine")
)

// Options say how to reach a registry. The zero value works.
type Options struct {
	// PlainHTTP speaks HTTP instead of HTTPS; refused unless the registry is on this machine (localhost, 127.0.0.0/8, ::1),
	// since everybody on the way could read the password and hand out another module.
	PlainHTTP bool
	// DockerConfig is the file with credentials and credential helpers; "": that of Docker ($DOCKER_CONFIG, ~/.docker).
	DockerConfig string
	// MaxBytes bounds the module; 0: MaxModule.
	MaxBytes int64
	// Progress is told how many bytes of the module have gone, from the goroutine that moves them; nil: nobody.
	Progress func(done, total int64)
	// Annotations are the manifest's, added to the name and version of the module's own manifest; a push only.
	Annotations map[string]string
}

func (o Options) max() int64 {
	if o.MaxBytes > 0 {
		return o.MaxBytes
	}
	return MaxModule
}

// Artifact is what was pushed or pulled.
type Artifact struct {
	Ref         string            `json:"ref"`
	Digest      string            `json:"digest"` // of the manifest: what a reference by digest names
	Module      string            `json:"module"` // SHA-256 of the module, as hex, as releases have it
	Size        int64             `json:"size"`   // of the module
	Annotations map[string]string `json:"annotations,omitempty"`
	Present     bool              `json:"present,omitempty"` // a push that sent no module: the registry had it
}

// config is the artifact's configuration. wkg writes null for what is optional and unknown.
type config struct {
	Created      time.Time `json:"created"`
	Author       string    `json:"author,omitempty"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	LayerDigests []string  `json:"layerDigests"`
}

const (
	architecture = "wasm"
	moduleOS     = "wasip1" // also of modules without WASI, says the specification
)
