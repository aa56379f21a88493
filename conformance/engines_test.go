package conformance

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/examples/meter"
)

// engineUnderTest is one engine that has to give the bytes that all others give.
type engineUnderTest struct {
	name string
	open func() (engine.Engine, error)
	slow bool // an interpreter: no large models
}

// engines are all that this build has; the tag wasmtime adds one.
var engines = []engineUnderTest{
	{name: "wazero", open: func() (engine.Engine, error) { return wazero.New() }},
	{name: "wazero-interpreter", open: func() (engine.Engine, error) { return wazero.New(wazero.WithInterpreter()) }, slow: true},
}

func load(t testing.TB, u engineUnderTest, bin []byte) *isomer.Module {
	t.Helper()
	e, err := u.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	m, err := isomer.New(context.Background(), bin, isomer.WithEngine(e))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestSameBytesOnEachEngine runs the meter's models on every engine: the answer and the bits of each
// logit are the same.
func TestSameBytesOnEachEngine(t *testing.T) {
	cases, err := meter.Cases()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 10 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, model := range meter.Models() {
		t.Run(model.Version, func(t *testing.T) {
			built, err := compiler.Compile(model.ONNX, compiler.Options{
				Name: model.Name, Version: model.Version, Labels: meter.Labels(),
				Mean: meter.Mean[:], Std: meter.Std[:], Scale: meter.Scale,
			})
			if err != nil {
				t.Fatal(err)
			}
			var first [][]byte
			for _, u := range engines {
				got := results(t, load(t, u, built.Bytes), cases)
				if first == nil {
					first = got
				}
				for n := range got {
					if !bytes.Equal(got[n], first[n]) {
						t.Errorf("%s, %s: %x, %s gives %x", u.name, cases[n/2].Name, got[n], engines[0].name, first[n])
					}
				}
			}
		})
	}
}

// results are, for each case, the JSON of the answer and the raw logits behind it.
func results(t *testing.T, m *isomer.Module, cases []meter.Case) [][]byte {
	t.Helper()
	var out [][]byte
	for _, c := range cases {
		answer, err := m.CallImage(t.Context(), "classify", c.Picture)
		if err != nil {
			t.Fatal(err)
		}
		pixels := make([]float32, 3*meter.Side*meter.Side)
		for k := range pixels {
			pixels[k] = float32(c.Picture.RGB[k%len(c.Picture.RGB)])/128 - 1
		}
		logits, err := m.Run(t.Context(), isomer.TensorOf(pixels, 1, 3, meter.Side, meter.Side))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, answer, slices.Clone(logits[0].Data))
	}
	return out
}

func mobileNet(t testing.TB) []byte {
	t.Helper()
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	path := filepath.Join(dir, "mobilenetv2", "mobilenetv2.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real model: %v (set ISOMER_DATA)", err)
	}
	built, err := compiler.CompileFile(path, compiler.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return built.Bytes
}

// TestMobileNetOnEachCompiler gives MobileNetV2 to the engines that make machine code.
func TestMobileNetOnEachCompiler(t *testing.T) {
	bin := mobileNet(t)
	pixels := make([]float32, 3*224*224)
	for k := range pixels {
		pixels[k] = float32(k*7919%4001)/1000 - 2
	}
	in := isomer.TensorOf(pixels, 1, 3, 224, 224)
	var first []byte
	for _, u := range engines {
		if u.slow {
			continue
		}
		out, err := load(t, u, bin).Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = slices.Clone(out[0].Data)
		}
		if !bytes.Equal(out[0].Data, first) {
			t.Errorf("%s gives other bytes than %s", u.name, engines[0].name)
		}
	}
}

// BenchmarkEngines compares the engines in one run: a call that does nothing but add, 100 bytes through
// the bridge, and MobileNetV2.
func BenchmarkEngines(b *testing.B) {
	for _, u := range engines {
		b.Run("add/"+u.name, func(b *testing.B) { benchAdd(b, u, engine.CompileConfig{}) })
		b.Run("add-interruptible/"+u.name, func(b *testing.B) { benchAdd(b, u, engine.CompileConfig{Interruptible: true}) })
		b.Run("echo100/"+u.name, func(b *testing.B) {
			m, in, out := load(b, u, enginetest.Guest{}.Build()), bytes.Repeat([]byte("x"), 100), []byte(nil)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if out, err = m.CallInto(context.Background(), out, "echo", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, u := range engines {
		if u.slow {
			continue
		}
		b.Run("mobilenet-compile/"+u.name, func(b *testing.B) {
			bin := mobileNet(b)
			for b.Loop() {
				compileOnce(b, u, bin)
			}
		})
		b.Run("mobilenet/"+u.name, func(b *testing.B) { benchRun(b, u, false) })
		b.Run("mobilenet-interruptible/"+u.name, func(b *testing.B) { benchRun(b, u, true) })
	}
}

func openInstance(b *testing.B, u engineUnderTest, bin []byte, cfg engine.CompileConfig) engine.Instance {
	b.Helper()
	e, err := u.open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	c, err := e.Compile(context.Background(), bin, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	i, err := c.Instantiate(context.Background(), engine.InstanceConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = i.Close() })
	return i
}

func benchAdd(b *testing.B, u engineUnderTest, cfg engine.CompileConfig) {
	f, stack := openInstance(b, u, enginetest.Guest{}.Build(), cfg).Func("sum64"), make([]uint64, 2)
	ctx := context.Background()
	if cfg.Interruptible {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	b.ReportAllocs()
	for b.Loop() {
		stack[0], stack[1] = 40, 2
		if err := f.Call(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRun(b *testing.B, u engineUnderTest, interruptible bool) {
	run := openInstance(b, u, mobileNet(b), engine.CompileConfig{Interruptible: interruptible}).Func(abi.ExportRun)
	best := time.Hour
	for b.Loop() {
		began := time.Now()
		if err := run.Call(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	b.ReportMetric(float64(best)/1e6, "best-ms/op") // other work on the machine only ever adds
}

func compileOnce(b *testing.B, u engineUnderTest, bin []byte) {
	b.Helper()
	e, err := u.open()
	if err != nil {
		b.Fatal(err)
	}
	c, err := e.Compile(context.Background(), bin, engine.CompileConfig{})
	if err != nil {
		b.Fatal(err)
	}
	_ = c.Close()
	_ = e.Close()
}
