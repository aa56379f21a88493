package compiler

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestInt8Weights holds what Options.Weights promises: the module's size, and the first class of every
// photo.
func TestInt8Weights(t *testing.T) {
	dir := data(t, "mobilenetv2")
	model := filepath.Join(dir, "mobilenetv2.onnx")
	full, err := CompileFile(model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	small, err := CompileFile(model, Options{Weights: WeightsInt8})
	if err != nil {
		t.Fatal(err)
	}
	if most := 3_800_000; len(small.Bytes) > most {
		t.Errorf("the module has %d bytes, want at most %d", len(small.Bytes), most)
	}
	if small.Manifest.Memory.MinPages > full.Manifest.Memory.MinPages+4 { // the scales
		t.Errorf("memory is %d pages, with f32 %d", small.Manifest.Memory.MinPages, full.Manifest.Memory.MinPages)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var photos map[string]struct{ Top5 []class }
	if err := json.Unmarshal(raw, &photos); err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, small.Bytes)
	for name, want := range photos {
		rgb, err := os.ReadFile(filepath.Join(dir, "images", name+".rgb"))
		if err != nil {
			t.Fatal(err)
		}
		top := g.classify(224, 224, rgb)
		if top[0].Index != want.Top5[0].Index {
			t.Errorf("%s: first is %+v, want %+v", name, top[0], want.Top5[0])
		}
		t.Logf("%s: %d bytes, logit %.3f, with f32 %.3f", name, len(small.Bytes), top[0].Logit, want.Top5[0].Logit)
	}
}
