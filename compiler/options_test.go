package compiler

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/pass"
	"github.com/isomer-iot/isomer/wasm"
)

func TestOptionsAreChecked(t *testing.T) {
	photo := newNet(1, 3, 4, 4).op("GlobalAveragePool x > p").op("Flatten p > y")
	plain := newNet(1, 16).op("Softmax x > y")
	for name, c := range map[string]struct {
		net  net
		opt  Options
		want string
	}{
		"labels":                  {photo, Options{Labels: []string{"a", "b"}}, "2 labels for 3 classes"},
		"labels without pictures": {plain, Options{Labels: make([]string, 16)}, "need a model that classifies pictures; its input is [1,16]"},
		"mean without pictures":   {plain, Options{Mean: []float64{0}}, "need a model that classifies pictures"},
		"fit without pictures":    {plain, Options{Fit: abi.FitCover}, "need a model that classifies pictures"},
		"two means":               {photo, Options{Mean: []float64{0, 1}}, "mean takes 1 or 3 values, got 2"},
		"no std":                  {photo, Options{Std: []float64{}}, "std takes 1 or 3 values, got 0"},
		"std 0":                   {photo, Options{Std: []float64{1, 0, 1}}, "std must not be 0"},
		"std NaN":                 {photo, Options{Std: []float64{math.NaN()}}, "std must be finite"},
		"infinite mean":           {photo, Options{Mean: []float64{math.Inf(1)}}, "mean must be finite"},
		"scale NaN":               {photo, Options{Scale: math.NaN()}, "scale must be finite"},
		"fit":                     {photo, Options{Fit: "squeeze"}, `fit "squeeze" is none of cover, contain, stretch`},
		"top":                     {photo, Options{Top: -1}, "top must not be negative, got -1"},
		"weights":                 {photo, Options{Weights: "int4"}, `weights "int4" are none of f32, int8`},
		"pass":                    {photo, Options{StopAfter: "all"}, `no pass "all"`},
		"dimension":               {photo, Options{Dims: map[string]int{"batsch": 2}}, `no dimension "batsch"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compile(c.net.Model, c.opt)
			if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}

func TestZeroOptionsCompile(t *testing.T) {
	mod, err := compile(newNet(1, 3, 4, 4).op("GlobalAveragePool x > p").op("Flatten p > y").Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := mod.Manifest
	if m.Name != "g" || m.Version != "" || m.Labels != nil || len(m.Golden) != 0 || !mod.Stats.Assumed {
		t.Errorf("manifest %+v, assumed %v", m, mod.Stats.Assumed)
	}
	if im := m.Image; im == nil || !slices.Equal(im.Mean, ImageNetMean) || !slices.Equal(im.Std, ImageNetStd) || im.Fit != abi.FitCover || im.Scale != 1./255 {
		t.Errorf("image %+v", im)
	}
	if len(m.Permissions) != 0 || !slices.Contains(m.Features, "simd128") {
		t.Errorf("permissions %v, features %v", m.Permissions, m.Features)
	}
	for _, name := range []string{"run", "classify", "predict"} {
		if _, ok := m.Function(name); !ok {
			t.Errorf("no function %s in %v", name, m.Functions)
		}
	}
	grey, err := compile(newNet(1, 1, 4, 4).op("Flatten x > y").Model, Options{Top: 99, Mean: []float64{0.5}})
	if err != nil {
		t.Fatal(err)
	}
	if im := grey.Manifest.Image; !slices.Equal(im.Mean, []float64{0.5, 0.5, 0.5}) || !slices.Equal(im.Std, []float64{1, 1, 1}) || grey.Stats.Assumed {
		t.Errorf("grey: %+v", im)
	}
}

func TestModuleNames(t *testing.T) {
	for name, want := range map[string]string{"": "model", "digits v1": "digits-v1", "..hidden": "hidden", "日本": "model", strings.Repeat("n", 300): strings.Repeat("n", 128)} {
		if got := moduleName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func digits(t testing.TB, version string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "examples", "meter", "models", "digits-v"+version+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSameModelSameBytes(t *testing.T) {
	var first *Module
	for range 3 {
		mod, err := Compile(digits(t, "1"), Options{Name: "digits", Version: "1.0.0", Labels: strings.Split("0123456789", "")})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = mod
		}
		if !bytes.Equal(mod.Bytes, first.Bytes) {
			t.Fatal("the same model and options gave other bytes")
		}
	}
	payload, ok, err := wasm.CustomSection(first.Bytes, abi.ManifestSection)
	if err != nil || !ok {
		t.Fatalf("no manifest: %v", err)
	}
	manifest, err := abi.ParseManifest(payload)
	if err != nil || manifest.Name != "digits" || manifest.Version != "1.0.0" || len(manifest.Labels) != 10 {
		t.Errorf("manifest %+v, %v", manifest, err)
	}
}

// TestDigitsMatchONNXRuntime compares all logits of the demo's models with ONNX Runtime's, also where the
// passes stop early.
func TestDigitsMatchONNXRuntime(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "examples", "meter", "testdata", "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Scale     float64
		Mean, Std []float64
		Cases     []struct {
			Name          string
			Width, Height int
			RGB           []byte
			Logits        map[string][]float32
		}
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected.Cases) == 0 {
		t.Fatal("no cases")
	}
	stops := []string{""}
	for _, p := range pass.List {
		stops = append(stops, p.Name)
	}
	for _, version := range []string{"1", "2"} {
		for _, stop := range stops {
			if stop != "" && version == "2" {
				continue
			}
			mod, err := Compile(digits(t, version), Options{Scale: expected.Scale, Mean: expected.Mean, Std: expected.Std, StopAfter: stop})
			if err != nil {
				t.Fatal(err)
			}
			g := instantiate(t, mod.Bytes)
			for _, c := range expected.Cases {
				if stop != "" && c.Name != expected.Cases[0].Name {
					continue
				}
				g.classify(c.Width, c.Height, c.RGB)
				// Logits span about ±15.
				agree(t, "version "+version+" "+stop+" "+c.Name, g.read(g.address("output_0"), ir.Of(ir.F32, 10)).F, c.Logits["v"+version], 1e-4)
			}
		}
	}
}
