package compiler

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

type class struct {
	Index       int
	Label       string
	Logit       float64
	Probability float64
}

// classify calls the module's classify as a host of the canonical ABI does.
func (g *guest) classify(width, height int, rgb []byte) []class {
	g.t.Helper()
	ctx := context.Background()
	at, err := g.mod.ExportedFunction("cabi_realloc").Call(ctx, 0, 0, 1, uint64(len(rgb)))
	if err != nil {
		g.t.Fatal(err)
	}
	if !g.mod.Memory().Write(uint32(at[0]), rgb) {
		g.t.Fatal("the picture does not fit where cabi_realloc put it")
	}
	ret, err := g.mod.ExportedFunction("classify").Call(ctx, uint64(width), uint64(height), at[0], uint64(len(rgb)))
	if err != nil {
		g.t.Fatal(err)
	}
	rec, _ := g.mod.Memory().Read(uint32(ret[0]), 12)
	text, ok := g.mod.Memory().Read(binary.LittleEndian.Uint32(rec[4:]), binary.LittleEndian.Uint32(rec[8:]))
	if !ok || rec[0] != 0 {
		g.t.Fatalf("classify failed with tag %d: %s", rec[0], text)
	}
	var out struct{ Top []class }
	if err := json.Unmarshal(text, &out); err != nil {
		g.t.Fatalf("%v in %s", err, text)
	}
	return out.Top
}

// predict calls the module as hosts of the Wasmtube convention do, with the picture at address 42.
func (g *guest) predict(width, height int, rgb []byte) []byte {
	g.t.Helper()
	const index = 42
	if !g.mod.Memory().Write(index, rgb) {
		g.t.Fatal("the picture does not fit the memory")
	}
	n, err := g.mod.ExportedFunction("predict").Call(context.Background(), index, uint64(len(rgb)), uint64(width), uint64(height))
	if err != nil {
		g.t.Fatal(err)
	}
	out, ok := g.mod.Memory().Read(index, uint32(n[0]))
	if !ok {
		g.t.Fatalf("predict returns %d bytes", n[0])
	}
	return out
}

func pixels(t *testing.T, path string) (w, h int, rgb []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, gr, bl, _ := img.At(x, y).RGBA()
			rgb = append(rgb, byte(r>>8), byte(gr>>8), byte(bl>>8))
		}
	}
	return b.Dx(), b.Dy(), rgb
}

// checkReference compares the logits of a 224×224 picture with the reference evaluation of the graph.
func checkReference(t *testing.T, name string, g *ir.Graph, rgb []byte, got []float32) {
	t.Helper()
	x := ir.NewTensor(g.In[0].Type)
	for i, v := range rgb {
		x.F[i%3*len(rgb)/3+i/3] = float32((float64(v)/255 - ImageNetMean[i%3]) / ImageNetStd[i%3])
	}
	want, err := g.Eval(x)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, name+".rgb", got, want[0].F, 1e-3)
}

func TestMobileNetOnPhotos(t *testing.T) {
	dir := data(t, "mobilenetv2")
	labels, err := os.ReadFile(filepath.Join(dir, "labels.txt"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := CompileFile(filepath.Join(dir, "mobilenetv2.onnx"), Options{Labels: strings.Split(strings.TrimSpace(string(labels)), "\n")})
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.ReadFile(filepath.Join(dir, "mobilenetv2.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := load.Model(m, load.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, mod.Bytes)
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct{ Top5 []class }
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	for name, want := range expected {
		rgb, err := os.ReadFile(filepath.Join(dir, "images", name+".rgb"))
		if err != nil {
			t.Fatal(err)
		}
		got := g.classify(224, 224, rgb)
		logits := map[int]float64{}
		for i, v := range g.read(g.address("output_0"), ir.Of(ir.F32, 1000)).F {
			logits[i] = float64(v)
		}
		checkReference(t, name, ref.Graph, rgb, g.read(g.address("output_0"), ir.Of(ir.F32, 1000)).F)
		for i, w := range want.Top5 {
			if math.Abs(logits[w.Index]-w.Logit) > 1e-2 {
				t.Errorf("%s.rgb: logit of class %d is %v, want %v", name, w.Index, logits[w.Index], w.Logit)
			}
			if i == 0 && (got[0].Index != w.Index || got[0].Label != w.Label || math.Abs(got[0].Logit-w.Logit) > 1e-2) {
				t.Errorf("%s.rgb: first is %+v, want %+v", name, got[0], w)
			}
		}
		w, h, photo := pixels(t, filepath.Join(dir, "images", name+".jpg"))
		if top := g.classify(w, h, photo); top[0].Index != want.Top5[0].Index {
			t.Errorf("%s.jpg: first is %+v, want %+v", name, top[0], want.Top5[0])
		}
		var viaWasmtube struct{ Top []class }
		if err := json.Unmarshal(g.predict(224, 224, rgb), &viaWasmtube); err != nil || !slices.Equal(viaWasmtube.Top, got) {
			t.Errorf("%s.rgb: predict says %+v (%v), classify %+v", name, viaWasmtube.Top, err, got)
		}
	}
}
