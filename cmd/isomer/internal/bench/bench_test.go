package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/wasm"
)

func digits(t *testing.T) []byte {
	t.Helper()
	m, err := compiler.CompileFile(filepath.Join("..", "..", "..", "..", "examples", "meter", "models", "digits-v1.onnx"), compiler.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes
}

// check holds what is measured to the network.
func check(t *testing.T, n *Network, m *Measured, runs, turns int) {
	t.Helper()
	if len(m.Run) != runs || len(m.Layers) != len(n.Layers) {
		t.Fatalf("%d runs of %d, %d layers of %d", len(m.Run), runs, len(m.Layers), len(n.Layers))
	}
	if m.Run.Least() <= 0 || m.Run.Median() < m.Run.Least() {
		t.Errorf("median %v, least %v", m.Run.Median(), m.Run.Least())
	}
	for i, l := range m.Layers {
		if len(l) != runs || l.Least() < 0 {
			t.Errorf("layer %d: %v", i, l)
		}
	}
	if turns < runs {
		t.Errorf("was told of %d turns", turns)
	}
}

func TestInWazero(t *testing.T) {
	n, err := New(digits(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	turns := 0
	m, err := In(t.Context(), e, n, 3, func(int, int) { turns++ })
	if err != nil {
		t.Fatal(err)
	}
	check(t, n, m, 3, turns)
	if l := n.Layers[1]; l.MACs == 0 || len(l.Kernels) == 0 || len(l.Output) != 4 {
		t.Errorf("second layer %+v", l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := In(ctx, e, n, 3, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// The layers one by one compute what run computes.
func TestLayersAreTheRun(t *testing.T) {
	n, err := New(digits(t), 7)
	if err != nil {
		t.Fatal(err)
	}
	e, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	code, err := e.Compile(t.Context(), n.Bytes, engine.CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close()
	var memories [2][]byte
	for i := range memories {
		in, err := code.Instantiate(t.Context(), engine.InstanceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if err := n.feed(in); err != nil {
			t.Fatal(err)
		}
		names := []string{abi.ExportRun}
		if i == 1 {
			names = nil
			for k := range n.Layers {
				names = append(names, export(k))
			}
		}
		for _, name := range names {
			if err := in.Func(name).Call(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		memories[i] = bytes.Clone(in.Memory().Bytes())
	}
	if !bytes.Equal(memories[0], memories[1]) {
		t.Error("the layers one by one leave another memory than run")
	}
}

func TestInV8(t *testing.T) {
	n, err := New(digits(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(Node); err != nil {
		t.Skip("skipped: V8 needs Node.js, which is not installed")
	}
	turns := 0
	m, err := InV8(t.Context(), n, 3, func(int, int) { turns++ })
	if err != nil {
		t.Fatal(err)
	}
	check(t, n, m, 3, turns)
	n.Inputs = nil // a network may compute constants alone
	if _, err := InV8(t.Context(), n, 1, nil); err != nil {
		t.Errorf("a network without inputs: %v", err)
	}
}

func TestModulesThatCannotBeMeasured(t *testing.T) {
	bin := digits(t)
	if _, err := New((&wasm.Module{}).Encode(), 1); !errors.Is(err, ErrNoLayers) {
		t.Errorf("a module without layers: %v", err)
	}
	if _, err := New([]byte("no module"), 1); err == nil {
		t.Error("no module is measured")
	}
	for _, payload := range []string{"{", `[{"function": 99999}]`, `[{"function": 0}]`} { // a kernel takes parameters
		broken, err := wasm.SetCustomSection(bin, abi.LayersSection, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := New(broken, 1); err == nil {
			t.Errorf("%s gives %d layers", payload, len(n.Layers))
		}
	}
	large := []byte(`{"isomer": 1, "name": "large", "inputs": [{"name": "x", "dtype": "f32", "shape": [400000000], "global": "input_0"}]}`)
	broken, err := wasm.SetCustomSection(bin, abi.ManifestSection, large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(broken, 1); err == nil || !strings.Contains(err.Error(), "more than the module's memory") {
		t.Errorf("an input of 1.6 GB: %v", err)
	}
}

// One layer of a large network has more multiply-adds than an int of 32 bits holds.
func TestManyMultiplyAdds(t *testing.T) {
	payload, err := abi.EncodeLayers([]abi.Layer{{MACs: 5e9}})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := abi.DecodeLayers(payload); err != nil || l[0].MACs != 5e9 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestNodeThatFails(t *testing.T) {
	n, err := New(digits(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := InV8(t.Context(), n, 1, nil); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no node: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, Node), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := InV8(t.Context(), n, 1, nil); err == nil || !bytes.Contains([]byte(err.Error()), []byte("broken")) {
		t.Errorf("a node that fails: %v", err)
	}
}
