package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Manifest describes a module: what it is called, what it can be asked, what it needs, and cases
// that prove that it works. It is stored as JSON in the custom section ManifestSection. The comment
// beside a field gives its default; docs/abi.md describes each with an example.
type Manifest struct {
	// Isomer is the format version. Encode writes FormatVersion where it is 0.
	Isomer int `json:"isomer"`
	// Name is the module's name: letters, digits, '.', '_', '-', at most 128; required.
	Name string `json:"name"`
	// Version is the module's version, such as "1.4.0"; empty: the host shows the digest instead.
	Version string `json:"version,omitempty"`
	// Functions are those meant to be called; empty: the host derives them from the exports.
	Functions []Function `json:"functions,omitempty"`
	// Inputs and Outputs are the tensors of the tensors convention.
	Inputs  []TensorSpec `json:"inputs,omitempty"`
	Outputs []TensorSpec `json:"outputs,omitempty"`
	// Image says how the module prepares a picture before it computes; nil: it takes none.
	Image *ImageSpec `json:"image,omitempty"`
	// Labels are the names of the classes: Labels[n] is class n.
	Labels []string `json:"labels,omitempty"`
	// Features are the WebAssembly features needed beyond the first version, such as "simd128".
	Features []string `json:"features,omitempty"`
	// Permissions are what the module asks of its host, such as "log" or "http:api.example.com"
	// (ParsePermission); empty: nothing. A host that does not grant all of them refuses the module, and a
	// module gets nothing that is not among them.
	Permissions []string `json:"permissions,omitempty"`
	// Memory bounds the module's memory; nil: the host's own limit alone.
	Memory *MemorySpec `json:"memory,omitempty"`
	// Golden are calls with known answers, run by the host before the module serves.
	Golden []Golden `json:"golden,omitempty"`
}

// Function describes one callable export.
type Function struct {
	Name       string     `json:"name"`
	Convention Convention `json:"convention"`
	// Input and Output are the encodings; empty: what the convention implies (see Encodings).
	Input  Encoding `json:"input,omitempty"`
	Output Encoding `json:"output,omitempty"`
	Doc    string   `json:"doc,omitempty"`
}

// Encodings are the function's encodings with the defaults of its convention filled in: image
// conventions take an image and give JSON, wasmtube is JSON both ways, bytes and tensors are raw,
// scalar functions are shown as JSON arrays of numbers.
func (f Function) Encodings() (in, out Encoding) {
	in, out = Raw, Raw
	switch f.Convention {
	case Image, WasmtubeImage:
		in, out = ImageRGB, JSON
	case Wasmtube, Scalar:
		in, out = JSON, JSON
	}
	if f.Input != "" {
		in = f.Input
	}
	if f.Output != "" {
		out = f.Output
	}
	return in, out
}

// ImageSpec is the preparation that happens inside the module: resize to Width×Height by Fit, then
// per channel x' = (x*Scale - Mean) / Std.
type ImageSpec struct {
	Width  int       `json:"width"`
	Height int       `json:"height"`
	Fit    Fit       `json:"fit,omitempty"`   // default FitCover
	Mean   []float64 `json:"mean,omitempty"`  // 3 values in R, G, B order, default 0
	Std    []float64 `json:"std,omitempty"`   // 3 values, none 0, default 1
	Scale  float64   `json:"scale,omitempty"` // default 1
}

// Fit says what to do with a picture of another aspect ratio.
type Fit string

// The fits: fill the target and crop the middle; keep all of it with borders; distort it.
const (
	FitCover   Fit = "cover"
	FitContain Fit = "contain"
	FitStretch Fit = "stretch"
)

// MemorySpec bounds the module's memory in pages of 64 KiB. 0 means unknown.
type MemorySpec struct {
	MinPages uint32 `json:"minPages,omitempty"`
	MaxPages uint32 `json:"maxPages,omitempty"`
}

// Golden is a call with a known answer. Input and Output are the bytes that cross the border: for
// tensors the concatenation of all inputs or outputs in manifest order, for scalar functions a JSON
// array of numbers.
type Golden struct {
	Function string `json:"function"`
	Input    []byte `json:"input"`
	// Width and Height belong to Input where it is an image.
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
	Output []byte `json:"output"`
	// Tolerance allows |got-want| ≤ Tolerance·max(1, |want|) for each number of a JSON output or
	// float tensor; 0: the bytes are equal.
	Tolerance float64 `json:"tolerance,omitempty"`
}

// ErrManifest is what every error about a manifest unwraps to.
var ErrManifest = errors.New("bad manifest")

// ManifestError lists everything that is wrong with a manifest.
type ManifestError struct {
	Problems []string // each names the field, such as `functions[1].convention: …`
}

func (e *ManifestError) Error() string {
	return ErrManifest.Error() + ": " + strings.Join(e.Problems, "; ")
}

// Unwrap makes errors.Is(err, ErrManifest) true.
func (e *ManifestError) Unwrap() error { return ErrManifest }

// ParseManifest reads and validates the payload of the manifest section. Fields that this version
// does not know are ignored, so that a newer tool's module still runs.
func ParseManifest(payload []byte) (Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(payload))
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, &ManifestError{Problems: []string{fmt.Sprintf("at byte %d: %v", dec.InputOffset(), err)}}
	}
	if rest := bytes.TrimSpace(payload[dec.InputOffset():]); len(rest) > 0 {
		return Manifest{}, &ManifestError{Problems: []string{fmt.Sprintf("%d bytes after the JSON object", len(rest))}}
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Encode validates m and returns the payload of the manifest section. The same manifest gives the
// same bytes.
func (m Manifest) Encode() ([]byte, error) {
	if m.Isomer == 0 {
		m.Isomer = FormatVersion
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	out, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return out, nil
}

// Function is the description of the function called name.
func (m Manifest) Function(name string) (Function, bool) {
	for _, f := range m.Functions {
		if f.Name == name {
			return f, true
		}
	}
	return Function{}, false
}
