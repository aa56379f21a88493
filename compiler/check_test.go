package compiler

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// TestReference holds that the public reference takes and gives what the module's memory holds, stops with its
// context, and refuses wrong inputs.
func TestReference(t *testing.T) {
	path := filepath.Join("..", "examples", "meter", "models", "digits-v1.onnx")
	r, err := ReferenceFile(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := CompileFile(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := r.Random(7)
	last := 0
	want, err := r.Eval(t.Context(), in, func(done, of int) { last = of - done })
	if err != nil || last != 1 {
		t.Fatalf("%d nodes left, %v", last, err)
	}
	g := instantiate(t, mod.Bytes)
	got := g.infer([]*ir.Tensor{tensorIn(in[0], r.graph.In[0].Type)}, r.graph.Out)
	same(t, "output", got[0], tensorIn(want[0], r.graph.Out[0].Type), 1e-4)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Eval(ctx, in, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled evaluation ends with %v", err)
	}
	for _, bad := range [][][]byte{nil, {in[0][:4]}, {in[0], in[0]}} {
		if _, err := r.Eval(t.Context(), bad, nil); !errors.Is(err, ErrInput) {
			t.Errorf("%d tensors: %v", len(bad), err)
		}
	}
	if _, err := r.Prepare(2, 2, make([]byte, 11)); !errors.Is(err, ErrInput) {
		t.Errorf("11 bytes as 2×2: %v", err)
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add([]byte{8, 2, 16, 1, 74, 8, 0, 0, 128, 63, 0, 0, 0, 64}) // f32[2] in raw data
	f.Add([]byte{8, 3, 16, 7, 58, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseValue(b)
		if err == nil && len(v.Data) > 8*len(b)+64 {
			t.Fatalf("%d bytes from %d", len(v.Data), len(b))
		}
	})
}
