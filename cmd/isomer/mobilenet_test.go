package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The main job on real input: MobileNetV2 is built by the command and names what is on each photo; on the
// RGB bytes, which leave no room for another way to resize, each of the five best logits is that of ONNX
// Runtime to 1e-2.
func TestMobileNet(t *testing.T) {
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	dir = filepath.Join(dir, "mobilenetv2")
	var expected map[string]struct {
		Top5 []class `json:"top5"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Skipf("no real model: %v (set ISOMER_DATA)", err)
	}
	if err := json.Unmarshal(b, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) < 7 {
		t.Fatalf("%d photos, the set has more", len(expected))
	}
	module := filepath.Join(t.TempDir(), "mobilenetv2.wasm")
	var out, talk bytes.Buffer
	code := execute(t.Context(), []string{"build", filepath.Join(dir, "mobilenetv2.onnx"), "-o", module,
		"--labels", filepath.Join(dir, "labels.txt"), "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"},
		streams{out: &out, err: &talk})
	if code != 0 {
		t.Fatalf("build: %s", talk.String())
	}
	s := begin(t, t.Context(), "run", module, "--json")
	for name, want := range expected {
		for _, ext := range []string{".jpg", ".rgb"} {
			r := s.ask(fmt.Sprintf("classify %s", filepath.Join(dir, "images", name+ext)))
			var got struct{ Top []class }
			if err := json.Unmarshal(r.Output, &got); err != nil || len(got.Top) != 5 {
				t.Errorf("%s%s: %s %s", name, ext, r.Output, r.Error)
				continue
			}
			if got.Top[0].Index != want.Top5[0].Index || got.Top[0].Label != want.Top5[0].Label {
				t.Errorf("%s%s: %+v, want %+v", name, ext, got.Top[0], want.Top5[0])
			}
			if ext == ".rgb" {
				checkTop(t, name, got.Top, want.Top5)
			}
		}
	}
	if err := s.in.Close(); err != nil {
		t.Fatal(err)
	}
	s.end()
}

type class struct {
	Index int     `json:"index"`
	Label string  `json:"label"`
	Logit float64 `json:"logit"`
}

func checkTop(t *testing.T, name string, got, want []class) {
	t.Helper()
	for i, w := range want {
		if g := got[i]; g.Index != w.Index || math.Abs(g.Logit-w.Logit) > 1e-2 {
			t.Errorf("%s: place %d: %+v, want %+v", name, i+1, g, w)
		}
	}
}
