package onnx

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dataDir is the folder of real models, or "" when this machine has none.
func dataDir(t testing.TB) string {
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../../../shared/data"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no real models: %v (set ISOMER_DATA)", err)
		return ""
	}
	return dir
}

func TestRealModels(t *testing.T) {
	dir := dataDir(t)
	if dir == "" {
		t.Skip("no real models on this machine")
	}
	models, tensors := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".onnx"):
			models++
			m, err := ReadFile(path)
			if err != nil {
				t.Error(err)
				return nil
			}
			checkModel(t, path, m)
		case strings.HasSuffix(path, ".pb"):
			tensors++
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			x, err := ParseTensor(b)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			checkTensor(t, path, x)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d models, %d tensors", models, tensors)
	if models < 100 || tensors < 200 {
		t.Errorf("%d models and %d tensors in %s, the set has more", models, tensors, dir)
	}
}

func checkModel(t *testing.T, path string, m *Model) {
	t.Helper()
	if m.Opsets[""] == 0 || len(m.Graph.Nodes) == 0 || len(m.Graph.Outputs) == 0 {
		t.Errorf("%s: opsets %v, %d nodes, %d outputs", path, m.Opsets, len(m.Graph.Nodes), len(m.Graph.Outputs))
	}
	for _, x := range m.Graph.Initializers {
		checkTensor(t, path, x)
	}
	for _, n := range m.Graph.Nodes {
		for _, a := range n.Attrs {
			if a.T != nil {
				checkTensor(t, path, a.T)
			}
		}
	}
	for _, v := range append(m.Graph.Inputs, m.Graph.Outputs...) {
		if v.Name == "" || v.Kind != "tensor" || v.DType == Undefined {
			t.Errorf("%s: interface %+v", path, *v)
		}
	}
}

func checkTensor(t *testing.T, path string, x *Tensor) {
	t.Helper()
	var err error
	switch x.DType {
	case F32, F64, F16, BF16:
		_, err = x.Float32s()
	case String:
		_, err = x.StringElems()
	default:
		_, err = x.Int64s()
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func TestMobileNet(t *testing.T) {
	dir := dataDir(t)
	if dir == "" {
		t.Skip("no real models on this machine")
	}
	m, err := ReadFile(filepath.Join(dir, "mobilenetv2/mobilenetv2.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Opsets[""] != 17 {
		t.Errorf("opset %d, want 17", m.Opsets[""])
	}
	in := m.Graph.Inputs[0]
	if len(in.Shape) != 4 || in.Shape[0].Param == "" || in.Shape[1] != (Dim{Value: 3, Known: true}) {
		t.Errorf("input %+v", *in)
	}
	weights := 0
	for _, x := range m.Graph.Initializers {
		n, err := x.Len()
		if err != nil {
			t.Fatal(err)
		}
		weights += n
	}
	if weights < 3_400_000 || weights > 3_700_000 { // the paper's 3.4 million, and the batch norms
		t.Errorf("%d weights", weights)
	}
}

// realSeeds returns the small real models, for the fuzzer to start from.
func realSeeds(f *testing.F) [][]byte {
	dir := dataDir(f)
	if dir == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(dir, "onnx/*/test_*/model.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4096 {
			seeds = append(seeds, b)
		}
	}
	return seeds
}

func BenchmarkParse(b *testing.B) {
	dir := dataDir(b)
	if dir == "" {
		b.Skip("no real models on this machine")
	}
	file, err := os.ReadFile(filepath.Join(dir, "mobilenetv2/mobilenetv2.onnx"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(file); err != nil {
			b.Fatal(err)
		}
	}
}
