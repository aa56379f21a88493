package isomer_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

func openBytes(t testing.TB, bin []byte, opts ...isomer.Option) *isomer.Module {
	t.Helper()
	m, err := isomer.New(context.Background(), bin, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// BenchmarkRaw is 100 B there and back through the bytes convention: the bridge's own cost, since
// the guest only returns what it got. Goal: 200 ns and no allocation beyond the answer.
func BenchmarkRaw(b *testing.B) {
	in, ctx := bytes.Repeat([]byte("x"), 100), context.Background()
	m := openBytes(b, enginetest.Guest{}.Build())
	b.Run("Call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Call(ctx, "echo", in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CallInto", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		var err error
		for b.Loop() {
			if out, err = m.CallInto(ctx, out, "echo", in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CallInto/parallel", func(b *testing.B) {
		m := openBytes(b, enginetest.Guest{}.Build(), isomer.WithInstances(4))
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			var out []byte
			var err error
			for pb.Next() {
				if out, err = m.CallInto(ctx, out, "echo", in); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("CallInto/post", func(b *testing.B) {
		m := openBytes(b, enginetest.Guest{Post: true}.Build())
		var out []byte
		var err error
		for b.Loop() {
			if out, err = m.CallInto(ctx, out, "echo", in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CallInto/deadline", func(b *testing.B) {
		m := openBytes(b, enginetest.Guest{}.Build(), isomer.WithDeadline(1e9))
		var out []byte
		var err error
		for b.Loop() {
			if out, err = m.CallInto(ctx, out, "echo", in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RunInto", func(b *testing.B) {
		m := openBytes(b, tensorGuest().Build())
		ins, outs := []isomer.Tensor{isomer.TensorOf([]float32{1, 2, 3, 4})}, []isomer.Tensor{{Data: make([]byte, 16)}}
		b.ReportAllocs()
		for b.Loop() {
			if err := m.RunInto(ctx, outs, ins); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CallScalar", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.CallScalar(ctx, "mul", isomer.F64(6), isomer.F64(7)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type reading struct {
	Meter string  `json:"meter"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	OK    bool    `json:"ok"`
}

// BenchmarkJSON is a small struct both ways, typed. Goal: 3 µs.
func BenchmarkJSON(b *testing.B) {
	m, ctx := openBytes(b, enginetest.Guest{}.Build()), context.Background()
	in := reading{Meter: "gas-7", Value: 1234.5, Unit: "m3", OK: true}
	b.ReportAllocs()
	for b.Loop() {
		out, err := isomer.CallJSON[reading](ctx, m, "echo", in)
		if err != nil || out != in {
			b.Fatalf("%+v, %v", out, err)
		}
	}
}

// BenchmarkImage is a picture of 150 kB in and a short answer out; the guest reads every byte
// ("average") or none ("first": the bridge's own cost, one memory copy).
func BenchmarkImage(b *testing.B) {
	img, ctx := isomer.Image{Width: 224, Height: 224, RGB: make([]byte, 224*224*3)}, context.Background()
	bench := func(name string, m *isomer.Module, fn string) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(img.RGB)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.CallImage(ctx, fn, img); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bench("average", openBytes(b, enginetest.Guest{}.Build()), "average")
	bench("wasmtube", openBytes(b, enginetest.WasmtubeGuest()), "first")
	b.Run("copy", func(b *testing.B) {
		dst := make([]byte, len(img.RGB))
		b.SetBytes(int64(len(dst)))
		for b.Loop() {
			copy(dst, img.RGB)
		}
	})
}

// BenchmarkSwap is from the bytes of a small module to its service, golden case included.
func BenchmarkSwap(b *testing.B) {
	bins := [][]byte{goldenGuest("1.0.0").Build(), goldenGuest("2.0.0").Build()}
	m, ctx := openBytes(b, bins[0]), context.Background()
	n := 0
	for b.Loop() {
		n++
		if err := m.Swap(ctx, bins[n%2]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.Stats().LastSwap.Publish.Nanoseconds()), "publish-ns")
}

// BenchmarkOpen is a cold start: engine, compilation, instance, first call; with machine code on
// disk in the second case.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "m.wasm")
	if err := os.WriteFile(path, enginetest.Guest{}.Build(), 0o600); err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, opts ...isomer.Option) {
		for b.Loop() {
			m, err := isomer.Open(context.Background(), path, opts...)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := m.Call(context.Background(), "echo", nil); err != nil {
				b.Fatal(err)
			}
			_ = m.Close()
		}
	}
	b.Run("cold", func(b *testing.B) { run(b) })
	b.Run("cache", func(b *testing.B) { run(b, isomer.WithCacheDir(b.TempDir())) })
}

func tensorGuest() enginetest.Guest {
	return enginetest.Guest{Manifest: &abi.Manifest{
		Name: "twice", Version: "1.0.0",
		Functions: []abi.Function{{Name: "run", Convention: abi.Tensors}, {Name: "echo", Convention: abi.Bytes}},
		Inputs:    []abi.TensorSpec{{Name: "x", Global: "input_0", DType: abi.F32, Shape: []int{1, 4}}},
		Outputs:   []abi.TensorSpec{{Name: "y", Global: "output_0", DType: abi.F32, Shape: []int{1, 4}}},
	}}
}

func goldenGuest(version string) enginetest.Guest {
	return enginetest.Guest{Version: version, Manifest: &abi.Manifest{
		Name: "golden", Version: version,
		Golden: []abi.Golden{{Function: "version", Output: []byte(version)}},
	}}
}
