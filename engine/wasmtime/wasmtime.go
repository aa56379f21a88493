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
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
)

const (
	// maxStack bounds the guest's stack, which lies on the thread's own: glibc gives a thread 8 MiB.
	maxStack = 1 << 20
)

// New makes an engine.
func New() (engine.Engine, error) { return &host{}, nil }

// host is the engine. Whether code can be interrupted is a property of a whole wasmtime engine, so
// there is one of each kind, made when first asked for.
type host struct {
	mu            sync.Mutex
	plain, epochs *wasmtime.Engine
	closed        bool
	instances     int // whose interrupts need the engine, also after Close
}

func (h *host) Name() string { return "wasmtime" }

func (h *host) Close() error {
	h.count(0, true)
	return nil
}

// count adds instances, and frees the engines when they are closed and nobody needs them any more.
func (h *host) count(instances int, closing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.instances += instances
	h.closed = h.closed || closing
	if !h.closed || h.instances > 0 {
		return
	}
	for _, e := range []*wasmtime.Engine{h.plain, h.epochs} {
		if e != nil {
			e.Close() // closing twice is no error
		}
	}
}

func (h *host) engine(interruptible bool) (*wasmtime.Engine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("wasmtime: the engine is closed")
	}
	e := &h.plain
	if interruptible {
		e = &h.epochs
	}
	if *e == nil {
		*e = wasmtime.NewEngineWithConfig(config(interruptible))
	}
	return *e, nil
}

// config allows what engine/wazero allows: the second version of the specification. What goes beyond
// would run on one layer and not on the next, and relaxed SIMD would differ between processors.
func config(interruptible bool) *wasmtime.Config {
	c := wasmtime.NewConfig()
	c.SetEpochInterruption(interruptible)
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
	_, needs, err := engine.Admit(h.Name(), bin, &cfg)
	if err != nil {
		return nil, err
	}
	e, err := h.engine(cfg.Interruptible)
	if err != nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: err}
	}
	m, err := wasmtime.NewModule(e, bin)
	if err != nil {
		return nil, &engine.CompileError{Engine: h.Name(), Cause: plain(err)}
	}
	c := &code{host: h, engine: e, module: m, cfg: cfg, needs: needs}
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
