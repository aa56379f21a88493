package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// TestGoldenCasesOnEachEngine builds with a check: the gate of every engine here passes the golden cases of a
// picture and of tensors, and refuses one whose answer is another one.
func TestGoldenCasesOnEachEngine(t *testing.T) {
	engines := map[string]func() (engine.Engine, error){
		engineWazero: func() (engine.Engine, error) { return wazero.New() },
		engineInterp: func() (engine.Engine, error) { return wazero.New(wazero.WithInterpreter()) },
	}
	if engines[engineWasmtime] = newWasmtime; newWasmtime == nil {
		t.Log("without wasmtime: it needs the build tag")
		delete(engines, engineWasmtime)
	}
	m, err := compileChecked(t)
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			e, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			cases := 0
			count := isomer.WithEvents(func(ev isomer.Event) {
				if ev.Kind == isomer.Gated {
					cases = ev.Cases
				}
			})
			mod, err := isomer.New(t.Context(), m.bin, isomer.WithEngine(e), count)
			if err != nil {
				t.Fatal(err)
			}
			mod.Close()
			if cases != 2 {
				t.Errorf("%d cases at the gate, want 2", cases)
			}
			wrong := m.manifest
			wrong.Golden = append([]abi.Golden{}, wrong.Golden...)
			wrong.Golden[0].Output = append([]byte{' '}, wrong.Golden[0].Output...)
			bin, err := withManifest(m.bin, wrong)
			if err != nil {
				t.Fatal(err)
			}
			_, err = isomer.New(t.Context(), bin, isomer.WithEngine(e))
			if g, ok := errors.AsType[*isomer.GoldenError](err); !ok || g.Index != 0 {
				t.Errorf("another answer is %v", err)
			}
		})
	}
}

type goldenModule struct {
	bin      []byte
	manifest abi.Manifest
}

func compileChecked(t *testing.T) (goldenModule, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "m.wasm")
	c := buildCommand(streams{out: t.Output(), err: t.Output()})
	c.SetArgs([]string{filepath.Join("..", "..", "examples", "meter", "models", "digits-v1.onnx"), "-o", out, "--check", "--random", "2"})
	c.SetContext(context.Background())
	if err := c.Execute(); err != nil {
		return goldenModule{}, err
	}
	mod, err := isomer.Open(t.Context(), out, isomer.WithWatch(false))
	if err != nil {
		return goldenModule{}, err
	}
	defer mod.Close()
	manifest, _ := mod.Manifest()
	bin, err := readInput(t.Context(), streams{}, out)
	return goldenModule{bin, manifest}, err
}

func TestCompareTensor(t *testing.T) {
	floats := func(v ...float32) []byte {
		var b []byte
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
		return b
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f32, i8 := abi.TensorSpec{DType: abi.F32}, abi.TensorSpec{DType: abi.I8}
	plain, rms := tolerance{value: 1e-3}, tolerance{value: 0.4, rms: true, steps: 2}
	for _, c := range []struct {
		spec      abi.TensorSpec
		got, want []byte
		tol       tolerance
		same      bool
	}{
		{f32, floats(1, 2000.9, nan, inf), floats(1, 2000, nan, inf), plain, true},
		{f32, floats(0.002), floats(0), plain, false},
		{f32, floats(nan), floats(0), plain, false},
		{f32, floats(inf), floats(-inf), plain, false},
		{f32, floats(1.3, -2, 3), floats(1, -2, 3), rms, true},
		{f32, floats(3, -2, 1), floats(1, -2, 3), rms, false},
		{f32, floats(nan), floats(1), rms, false},
		{i8, []byte{255, 5}, []byte{1, 5}, rms, true},
		{i8, []byte{0}, []byte{1}, plain, false},
	} {
		if d := compareTensor(c.spec, c.got, c.want, c.tol); (d.Over <= 1) != c.same {
			t.Errorf("%v for %v: %+v", c.got, c.want, d)
		}
	}
}

func TestQuantisedOperatorsAreKnown(t *testing.T) {
	for op, want := range map[string]bool{
		"QuantizeLinear": true, "DequantizeLinear": true, "DynamicQuantizeLinear": true, "QLinearConv": true, "MatMulInteger": true, "ConvInteger": true,
		"com.microsoft.QGemm": true, "com.microsoft.DynamicQuantizeMatMul": true, "com.microsoft.MatMulIntegerToFloat": true,
		"Conv": false, "MatMul": false, "Unique": false,
	} {
		if got := quantised(compiler.OperatorCount{Op: op}); got != want {
			t.Errorf("%s: %v, want %v", op, got, want)
		}
	}
}
