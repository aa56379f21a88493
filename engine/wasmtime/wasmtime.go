//go:build wasmtime

// Package wasmtime is the optional engine: machine code by Cranelift, through cgo, in builds with the
// tag "wasmtime" and for amd64 and arm64 alone.
//
// Use wasmtime with isomer.WithEngine where long kernels count and a C library is welcome; never to call
// modules, and not where a static binary is wanted, for which engine/wazero exists.
//
// Compatibility: v0, the API may change until 1.0.
package wasmtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
)

const (
	// maxStack bounds the guest's stack, which lies on the thread's own: glibc gives a thread 8 MiB.
	maxStack = 1 << 20
)

// New makes an engine.
func New() (engine.Engine, error) {
	return &host{engine: wasmtime.NewEngineWithConfig(config())}, nil
}

// host is the engine. What it makes holds on to it, also after Close.
type host struct {
	mu     sync.Mutex
	engine *wasmtime.Engine // nil: closed
}

func (h *host) Name() string { return "wasmtime" }

func (h *host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine != nil {
		h.engine.Close()
	}
	h.engine = nil
	return nil
}

// config allows what engine/wazero allows: the second version of the specification. What goes beyond
// would run on one layer and not on the next, and relaxed SIMD would differ between processors.
func config() *wasmtime.Config {
	c := wasmtime.NewConfig()
	c.SetMaxWasmStack(maxStack)
	c.SetWasmThreads(false)
	c.SetWasmRelaxedSIMD(false)
	c.SetWasmMultiMemory(false)
	c.SetWasmMemory64(false)
	c.SetWasmTailCall(false)
	c.SetWasmFunctionReferences(false)
	c.SetWasmGC(false)
	c.SetWasmWideArithmetic(false)
	return c
}

func (h *host) Compile(_ context.Context, bin []byte, cfg engine.CompileConfig) (engine.Code, error) {
	mod, needs, err := engine.Admit(h.Name(), bin, &cfg)
	if err != nil {
		return nil, err
	}
	c := &code{cfg: cfg, needs: needs}
	if cfg.Interruptible {
		// wasmtime's own way, epochs, reads two words of memory at each turn of each loop and leaves loops
		// fewer registers: MobileNetV2 takes 23.1 ms with them, 21.4 metered, 20.6 with neither, and
		// their medians on a busy machine 31, 26 and 24 ms.
		shift, err := meter.Rewrite(mod)
		if err != nil {
			return nil, &engine.CompileError{Engine: h.Name(), Cause: err}
		}
		c.shift, bin = &shift, mod.Encode()
	}
	h.mu.Lock()
	c.engine = h.engine
	h.mu.Unlock()
	if c.engine == nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: errors.New("the engine is closed")}
	}
	if c.module, err = wasmtime.NewModule(c.engine, bin); err != nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: plain(err)}
	}
	c.readExports()
	if err := c.makeLinker(); err != nil {
		_ = c.Close()
		return nil, &engine.CompileError{Engine: h.Name(), Cause: err}
	}
	return c, nil
}

// readExports notes the functions and the memory that the module exports.
func (c *code) readExports() {
	for _, x := range c.module.Exports() {
		t := x.Type()
		if f := t.FuncType(); f != nil {
			c.funcs = append(c.funcs, engine.FuncExport{Name: x.Name(), Signature: engine.Signature{
				Params: valTypes(f.Params()), Results: valTypes(f.Results())}})
		} else if c.memory == nil && t.MemoryType() != nil {
			name := x.Name()
			c.memory = &name
		}
	}
	slices.SortFunc(c.funcs, func(a, b engine.FuncExport) int { return strings.Compare(a.Name, b.Name) })
}

// foreign stands for the types that do not cross the border.
const foreign engine.ValType = 0

func valTypes(ts []*wasmtime.ValType) []engine.ValType {
	out := make([]engine.ValType, len(ts))
	for i, t := range ts {
		switch t.Kind() {
		case wasmtime.KindI32:
			out[i] = engine.I32
		case wasmtime.KindI64:
			out[i] = engine.I64
		case wasmtime.KindF32:
			out[i] = engine.F32
		case wasmtime.KindF64:
			out[i] = engine.F64
		default:
			out[i] = foreign
		}
	}
	return out
}
