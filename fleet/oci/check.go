package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/isomer-iot/isomer/wasm"
)

// Media types of what else lies in registries, to say what was found.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	maxManifest    = 4 << 20 // as registries have it
	maxLayersShown = 5
)

// findManifest follows an index to its one manifest for wasm, if it is one, and reads that.
func findManifest(ctx context.Context, s shelf, at v1.Descriptor) (v1.Descriptor, v1.Manifest, error) {
	for range 2 { // an index in an index is nothing that tools write for modules
		var m v1.Manifest
		if at.Size > maxManifest {
			return at, m, fmt.Errorf("%w: a manifest of %d bytes", ErrNotModule, at.Size)
		}
		switch at.MediaType {
		case v1.MediaTypeImageManifest, dockerManifest:
			b, err := fetch(ctx, s, at, nil, nil)
			if err != nil {
				return at, m, err
			}
			if err := json.Unmarshal(b, &m); err != nil {
				return at, m, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
			}
			return at, m, nil
		case v1.MediaTypeImageIndex, dockerIndex:
			b, err := fetch(ctx, s, at, nil, nil)
			if err != nil {
				return at, m, err
			}
			if at, err = choose(b); err != nil {
				return at, m, err
			}
		default:
			return at, m, fmt.Errorf("%w: the reference leads to %s", ErrNotModule, typed(at.MediaType))
		}
	}
	return at, v1.Manifest{}, fmt.Errorf("%w: an index of indexes", ErrNotModule)
}

// choose is the manifest of an index that is for wasm.
func choose(b []byte) (v1.Descriptor, error) {
	var index v1.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: its index: %w", ErrDamaged, err)
	}
	var fit []v1.Descriptor
	var platforms []string
	for _, d := range index.Manifests {
		if d.Platform == nil {
			continue
		}
		platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture)
		if d.Platform.Architecture == architecture {
			fit = append(fit, d)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return v1.Descriptor{}, fmt.Errorf("%w: an index with %d manifests for wasm: name one by its digest, such as %s", ErrNotModule, len(fit), fit[0].Digest)
	}
	return v1.Descriptor{}, fmt.Errorf("%w: an index with images for %s", ErrNotModule, list(platforms))
}

// findLayer is the module among a manifest's layers, of which there must be one alone.
func findLayer(at v1.Descriptor, m v1.Manifest) (v1.Descriptor, error) {
	if len(m.Layers) == 1 && m.Layers[0].MediaType == LayerMediaType {
		return m.Layers[0], nil
	}
	var types []string
	modules := 0
	for _, l := range m.Layers {
		types = append(types, typed(l.MediaType))
		if l.MediaType == LayerMediaType {
			modules++
		}
	}
	kind := m.ArtifactType
	if kind == "" {
		kind = m.Config.MediaType
	}
	if modules == len(m.Layers) && modules > 1 {
		return v1.Descriptor{}, fmt.Errorf("%w: an artifact of %d modules, and one alone is read", ErrNotModule, modules)
	}
	return v1.Descriptor{}, fmt.Errorf("%w: an artifact of type %s with %s; a module is one layer of type %s",
		ErrNotModule, typed(kind), layers(types), LayerMediaType)
}

// checkConfig reads the configuration where it is a module's: what it says about the layer must be true. Others, as
// "oras push" has none, say nothing about modules.
func checkConfig(ctx context.Context, s shelf, d, layer v1.Descriptor) error {
	if d.MediaType != ConfigMediaType {
		return nil
	}
	if d.Size > maxConfig {
		return fmt.Errorf("%w: a configuration of %d bytes, at most %d are read", ErrDamaged, d.Size, maxConfig)
	}
	b, err := fetch(ctx, s, d, nil, nil)
	if err != nil {
		return err
	}
	// created is not read: what it is good for has no bearing on the module.
	var c struct {
		Architecture string   `json:"architecture"`
		OS           string   `json:"os"`
		LayerDigests []string `json:"layerDigests"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("%w: its configuration: %w", ErrDamaged, err)
	}
	if c.Architecture != architecture {
		return fmt.Errorf("%w: its configuration says architecture %q", ErrNotModule, c.Architecture)
	}
	if len(c.LayerDigests) != 1 || c.LayerDigests[0] != layer.Digest.String() {
		return fmt.Errorf("%w: its configuration is about %s, and its layer is %s", ErrDamaged, list(c.LayerDigests), layer.Digest)
	}
	return nil
}

// checkModule refuses what is no core module, by its first bytes and the frame of its sections.
func checkModule(b []byte) error {
	const magic = "\x00asm"
	switch {
	case !bytes.HasPrefix(b, []byte(magic)):
		return fmt.Errorf("%w: it begins with %q", ErrNotModule, b[:min(len(b), 8)])
	case len(b) >= 8 && b[6] == 1: // the layer field of the Component Model's preamble
		return fmt.Errorf("%w but a component of the Component Model, which Isomer does not run", ErrNotModule)
	}
	if _, err := wasm.Sections(b); err != nil {
		return fmt.Errorf("%w: %w", ErrNotModule, err)
	}
	return nil
}

func typed(mediaType string) string {
	if mediaType == "" {
		return "unknown type"
	}
	return fmt.Sprintf("%.100q", mediaType)
}

func layers(types []string) string {
	if len(types) == 0 {
		return "no layer"
	}
	if len(types) == 1 {
		return "one layer of type " + types[0]
	}
	return fmt.Sprintf("%d layers of types %s", len(types), list(types))
}

func list(what []string) string {
	if len(what) == 0 {
		return "nothing"
	}
	more := ""
	if n := len(what) - maxLayersShown; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
		what = what[:maxLayersShown]
	}
	return fmt.Sprintf("%.600s", strings.Join(what, ", ")) + more
}
