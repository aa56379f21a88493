package compiler

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The quantised MobileNetV2 names the class of every photo that native ONNX Runtime names first with the
// float one, from the packed picture and from the photo itself, and computes its products with integers.
func TestQuantisedMobileNetOnPhotos(t *testing.T) {
	dir := data(t, "mobilenetv2")
	mod, err := CompileFile(filepath.Join(dir, "mobilenetv2_qdq.onnx"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range mod.Stats.Layers {
		if l.Op == "conv" || l.Op == "matmul" {
			t.Errorf("layer %s computes with floats", l.Name)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var photos map[string]struct{ Top5 []class }
	if err := json.Unmarshal(raw, &photos); err != nil {
		t.Fatal(err)
	}
	if len(photos) == 0 {
		t.Fatal("expected.json names no photo")
	}
	g := instantiate(t, mod.Bytes)
	for name, want := range photos {
		rgb, err := os.ReadFile(filepath.Join(dir, "images", name+".rgb"))
		if err != nil {
			t.Fatal(err)
		}
		if top := g.classify(224, 224, rgb); top[0].Index != want.Top5[0].Index {
			t.Errorf("%s.rgb: first is %+v, want %+v", name, top[0], want.Top5[0])
		}
		w, h, photo := pixels(t, filepath.Join(dir, "images", name+".jpg"))
		if top := g.classify(w, h, photo); top[0].Index != want.Top5[0].Index {
			t.Errorf("%s.jpg: first is %+v, want %+v", name, top[0], want.Top5[0])
		}
	}
}
