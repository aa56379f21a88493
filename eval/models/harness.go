package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// openWasmtime is set in builds with the tag "wasmtime".
var openWasmtime func() (engine.Engine, error)

// harness knows what can be measured on this machine.
type harness struct {
	settings
	log       io.Writer
	dir       string // scratch
	node      bool
	versions  map[string]string // of contestants and tools
	generated bool
	leftOut   []string
}

func newHarness(s settings, log io.Writer) (*harness, error) {
	dir, err := os.MkdirTemp("", "models")
	if err != nil {
		return nil, err
	}
	h := &harness{settings: s, log: log, dir: dir, versions: map[string]string{}}
	if h.models == "" {
		h.models = filepath.Join(dir, "onnx")
	}
	h.inspect()
	return h, nil
}

func (h *harness) close() { _ = os.RemoveAll(h.dir) }

// skip notes what cannot be measured here; once for each reason.
func (h *harness) skip(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(h.leftOut, text) {
		h.leftOut = append(h.leftOut, text)
		fmt.Fprintln(h.log, "left out:", text)
	}
}

// inspect finds the contestants.
func (h *harness) inspect() {
	info, _ := debug.ReadBuildInfo() // without it versions are missing
	for _, m := range info.Deps {
		switch {
		case m.Path == "github.com/tetratelabs/wazero":
			h.versions["wazero"] = m.Version
		case strings.HasPrefix(m.Path, "github.com/bytecodealliance/wasmtime-go/"):
			h.versions["wasmtime-go"] = m.Version
		}
	}
	if openWasmtime == nil {
		h.skip("wasmtime: build with -tags wasmtime (needs a C compiler)")
	}
	b, err := exec.Command("node", "--version").Output()
	if err != nil {
		h.skip("V8, onnxruntime-web, onnxruntime-node: %v", err)
		return
	}
	h.node = true
	h.versions["node"] = strings.TrimSpace(string(b))
	found, err := peersFound(h.peers)
	if err != nil {
		h.skip("onnxruntime-web, onnxruntime-node: %v", err)
	}
	for _, name := range []string{"onnxruntime-web", "onnxruntime-node"} {
		if found[name] == "" {
			h.skip("%s: run npm install --ignore-scripts --no-package-lock in %s", name, h.peers)
			continue
		}
		h.versions[name] = found[name]
	}
}

// contestants of one subject, ours first. Peers that are not there are missing.
func (h *harness) contestants() []*entry {
	entries := []*entry{
		{Name: "wazero", contestant: &embedded{open: func() (engine.Engine, error) { return wazero.New() }}},
	}
	if openWasmtime != nil {
		entries = append(entries, &entry{Name: "wasmtime", contestant: &embedded{open: openWasmtime}})
	}
	if h.node {
		entries = append(entries, &entry{Name: "V8", contestant: &process{dir: h.peers, kind: "isomer"}})
	}
	for _, peer := range []string{web, native} {
		if h.versions[peer] != "" {
			entries = append(entries, &entry{Name: peer, contestant: &process{dir: h.peers, kind: peer}})
		}
	}
	return slices.DeleteFunc(entries, func(e *entry) bool { return h.who != nil && !h.who.MatchString(e.Name) })
}

// The peers, by the names of their packages.
const (
	web    = "onnxruntime-web"
	native = "onnxruntime-node"
)

// network is what is raced: models in one group run in turns.
type network struct {
	group     string
	files     []string // relative to the folder of data, or of generated models
	generated bool
	photo     bool // the input is a photo, and classes are compared
}

func (h *harness) networks() []network {
	return []network{
		{group: "mobilenetv2", files: []string{"mobilenetv2/mobilenetv2.onnx", "mobilenetv2/mobilenetv2_qdq.onnx"}, photo: true},
		{group: "resnet50", files: []string{"resnet50.onnx"}, generated: true},
		{group: "efficientnet-lite0", files: []string{"efficientnet-lite0.onnx"}, generated: true},
		{group: "yolo", files: []string{"yolo-320.onnx"}, generated: true},
		{group: "transformer", files: []string{"transformer.onnx"}, generated: true},
		{group: "transformer-pieces", files: []string{"transformer-pieces.onnx"}, generated: true},
	}
}

// path is the absolute path of a model's file, or "" where it cannot be had.
func (h *harness) path(ctx context.Context, file string, generated bool) (string, error) {
	dir := h.data
	if generated {
		dir = h.models
		if err := h.generate(ctx); err != nil {
			h.skip("generated networks: %v", err)
			return "", nil
		}
	}
	path, err := filepath.Abs(filepath.Join(dir, file))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		h.skip("%s: set ISOMER_DATA to the folder of models and photos", file)
		return "", nil
	}
	return path, nil
}

// generate makes the models, unless the folder has them.
func (h *harness) generate(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(h.models, "resnet50.onnx")); h.generated || err == nil {
		return nil
	}
	b, err := exec.CommandContext(ctx, h.python, filepath.Join(h.peers, "..", "generate.py"), h.models).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		return fmt.Errorf("%s: %w: %s", h.python, err, lines[len(lines)-1])
	}
	h.generated = true
	return nil
}

// build compiles a model and makes its input.
func (h *harness) build(path string, opt compiler.Options, photo bool) (*subject, *compiler.Module, error) {
	m, err := compiler.CompileFile(path, opt)
	if err != nil {
		return nil, nil, err
	}
	s := &subject{onnx: path, manifest: m.Manifest}
	f, err := os.CreateTemp(h.dir, "*.wasm")
	if err != nil {
		return nil, nil, err
	}
	s.wasm = f.Name()
	_, err = f.Write(m.Bytes)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, nil, err
	}
	for _, t := range m.Manifest.Inputs {
		b, err := seeded(t)
		if err != nil {
			return nil, nil, err
		}
		s.inputs = append(s.inputs, b)
	}
	if photo {
		photos, err := h.photos()
		if err != nil {
			return nil, nil, err
		}
		s.inputs[0] = photos[0].input
	}
	return s, m, nil
}

// seeded is an input: normal numbers, tokens below 8192, or a mask that hides nothing.
func seeded(t abi.TensorSpec) ([]byte, error) {
	size, err := t.ByteSize()
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(4, 4))
	b := make([]byte, 0, size)
	for len(b) < size {
		switch {
		case t.DType == abi.F32:
			b = appendFloat(b, float32(rng.NormFloat64()))
		case t.DType == abi.I64 && strings.Contains(t.Name, "mask"):
			b = append(b, 1, 0, 0, 0, 0, 0, 0, 0)
		case t.DType == abi.I64:
			n := rng.IntN(8192)
			b = append(b, byte(n), byte(n>>8), 0, 0, 0, 0, 0, 0)
		default:
			return nil, fmt.Errorf("input %q: no values for dtype %s", t.Name, t.DType)
		}
	}
	return b, nil
}

// quiet lets nothing of the harness's own run while a contestant does.
func quiet() { runtime.GC() }

func join(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+" "+m[k])
	}
	return strings.Join(parts, ", ")
}
