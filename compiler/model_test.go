package compiler

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// data is the folder of models and photos, or the test is skipped in a way that shows.
func data(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: set ISOMER_DATA to the folder of models and photos", name)
	}
	return path
}

// guest is an instance of a compiled model.
type guest struct {
	t   testing.TB
	mod api.Module
	run api.Function
}

func instantiate(t testing.TB, bin []byte) *guest {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	t.Cleanup(func() { r.Close(ctx) })
	mod, err := r.Instantiate(ctx, bin)
	if err != nil {
		t.Fatalf("the module does not load: %v", err)
	}
	return &guest{t, mod, mod.ExportedFunction("run")}
}

func (g *guest) address(global string) uint32 { return uint32(g.mod.ExportedGlobal(global).Get()) }

func (g *guest) write(at uint32, x *ir.Tensor) {
	if b := elements(x); !g.mod.Memory().Write(at, b) {
		g.t.Fatalf("%d bytes at %d are outside memory", len(b), at)
	}
}

func (g *guest) read(at uint32, t ir.Type) *ir.Tensor {
	b, ok := g.mod.Memory().Read(at, uint32(t.DType.Size()*t.Shape.Elems()))
	if !ok {
		g.t.Fatalf("%v at %d is outside memory", t, at)
	}
	return tensorIn(b, t)
}

func (g *guest) infer(inputs []*ir.Tensor, outputs []*ir.Value) []*ir.Tensor {
	g.t.Helper()
	for i, x := range inputs {
		g.write(g.address(abi.InputGlobal(i)), x)
	}
	if err := g.run.CallWithStack(context.Background(), nil); err != nil {
		g.t.Fatal(err)
	}
	var out []*ir.Tensor
	for i, v := range outputs {
		out = append(out, g.read(g.address(abi.OutputGlobal(i)), v.Type))
	}
	return out
}

// same fails unless got is of want's type, floats are within tol·max(1, |want|) and integers are equal.
func same(t testing.TB, what string, got, want *ir.Tensor, tol float64) {
	t.Helper()
	if !got.Type.Equal(want.Type) {
		t.Fatalf("%s: %v, want %v", what, got.Type, want.Type)
	}
	for i, w := range want.I {
		if got.I[i] != w {
			t.Fatalf("%s: value %d of %d is %d, want %d", what, i, len(want.I), got.I[i], w)
		}
	}
	agree(t, what, got.F, want.F, tol)
}

// agree fails unless got is want within tol·max(1, |want|).
func agree(t testing.TB, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		w, d := float64(want[i]), math.Abs(float64(got[i])-float64(want[i]))
		same := math.IsNaN(w) && math.IsNaN(float64(got[i])) || got[i] == want[i]
		if !same && !(d <= tol*max(1, math.Abs(w))) {
			t.Fatalf("%s: value %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

// reference loads m and evaluates it on seeded input; want is nil if that has an index outside its axis.
func reference(t *testing.T, m *onnx.Model, opt Options) (g *ir.Graph, in, want []*ir.Tensor) {
	t.Helper()
	ref, err := load.Model(m, load.Options{Dims: opt.Dims})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range ref.Graph.In {
		x := ir.NewTensor(v.Type)
		ir.Fill(x, uint64(i)+1)
		in = append(in, x)
	}
	if want, err = ref.Graph.Eval(in...); err != nil && !errors.Is(err, ir.ErrIndex) {
		t.Fatal(err)
	}
	return ref.Graph, in, want
}

// checkModel compiles a model and compares it with the reference evaluation on seeded input. It stays in
// its arena.
func checkModel(t *testing.T, m *onnx.Model, opt Options, tol float64) {
	t.Helper()
	ref, in, want := reference(t, m, opt)
	mod, err := compile(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	g := instantiate(t, mod.Bytes)
	for range 2 { // a second run finds what the first one left in the arena
		got := g.infer(in, ref.Out)
		for i := range want {
			same(t, ref.Out[i].Name, got[i], want[i], tol)
		}
	}
	if mod.Stats.MACs < 1e6 { // TestArenaOfMobileNet has the large one
		checkArena(t, mod, in, ref.Out)
	}
}

func TestMobileNetMatchesReference(t *testing.T) {
	m, err := onnx.ReadFile(data(t, "mobilenetv2/mobilenetv2.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	checkModel(t, m, Options{}, 1e-3)
}

func BenchmarkMobileNet(b *testing.B) {
	path := data(b, "mobilenetv2/mobilenetv2.onnx")
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			if _, err := CompileFile(path, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) { // cold: an engine, machine code, an instance
		mod, err := CompileFile(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		ctx, best := context.Background(), time.Hour
		for b.Loop() {
			began := time.Now()
			r := wazero.NewRuntime(ctx)
			if _, err := r.Instantiate(ctx, mod.Bytes); err != nil {
				b.Fatal(err)
			}
			best = min(best, time.Since(began))
			r.Close(ctx)
		}
		b.ReportMetric(float64(best)/1e6, "best-ms/op")
	})
	b.Run("run", func(b *testing.B) {
		mod, err := CompileFile(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		g := instantiate(b, mod.Bytes)
		best := time.Hour
		for b.Loop() {
			began := time.Now()
			if err := g.run.CallWithStack(context.Background(), nil); err != nil {
				b.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		b.ReportMetric(float64(best)/1e6, "best-ms/op") // other work on the machine only ever adds
	})
	b.Run("classify", func(b *testing.B) {
		mod, err := CompileFile(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		g, rgb := instantiate(b, mod.Bytes), make([]byte, 512*343*3)
		best := time.Hour
		for b.Loop() {
			began := time.Now()
			g.classify(512, 343, rgb)
			best = min(best, time.Since(began))
		}
		b.ReportMetric(float64(best)/1e6, "best-ms/op")
	})
}
