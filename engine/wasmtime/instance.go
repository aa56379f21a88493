//go:build wasmtime

package wasmtime

// #include <stdlib.h>
// #include "call.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wasi"
)

var errClosed = errors.New("wasmtime: the instance is closed")

// instance is a store of its own with one instance in it.
type instance struct {
	code  *code
	store *wasmtime.Store
	inst  *wasmtime.Instance
	wasi  *wasi.System // nil: not granted, or not asked for
	c     *C.isomer_instance
	funcs map[string]*function
	mem   *memory
	view  []byte // memory as it lies now

	host   []engine.HostFunc // by import
	ctx    context.Context   // of the call under way
	depth  int               // calls under way
	failed error             // what ended a call from outside: no outer call goes on after it
	caller *wasmtime.Caller  // of the host function that the start section calls: there is no inst yet
	lent   int               // calls of host functions

	// users counts the calls under way; the bits above say that the instance is closed, and freed.
	// Whoever leaves last frees, so a Close in the middle of a call takes nothing from under it.
	users atomic.Int64
}

const (
	closed = 1 << 62
	freed  = closed | 1<<61
)

func newInstance(c *code) *instance {
	i := &instance{code: c, funcs: map[string]*function{}}
	i.store = wasmtime.NewStoreWithData(c.engine, i)
	i.store.Limiter(int64(c.cfg.MaxPages)*pageSize, engine.MaxTableEntries, 1, -1, 1)
	i.c = (*C.isomer_instance)(C.calloc(1, C.sizeof_isomer_instance))
	i.c.context = (*C.wasmtime_context_t)(unsafe.Pointer(i.store.Context()))
	return i
}

const pageSize = 1 << 16

func (i *instance) enter() bool {
	if i.users.Add(1)&closed == 0 {
		return true
	}
	i.leave()
	return false
}

func (i *instance) leave() {
	if i.users.Add(-1) == closed {
		i.free()
	}
}

// Close frees everything, at the end of the call that is under way where there is one.
func (i *instance) Close() error {
	if i.users.Or(closed) == 0 {
		i.free()
	}
	return nil
}

func (i *instance) free() {
	if !i.users.CompareAndSwap(closed, freed) {
		return // a late caller looked in and is about to leave, which frees
	}
	i.store.Close()
	_ = i.wasi.Close()
	for _, f := range i.funcs {
		C.free(unsafe.Pointer(f.values))
	}
	C.free(unsafe.Pointer(i.c))
}

// guard runs guest code such that the end of ctx stops it.
func (i *instance) guard(ctx context.Context, run func() error) error {
	i.ctx, i.depth = ctx, 1
	defer func() { i.ctx, i.depth = nil, 0 }()
	return run()
}

func (i *instance) bindMemory(m *wasmtime.Memory) {
	i.c.memory, i.c.has_memory = rawMemory(m), true
	C.isomer_view(i.c)
	i.look()
	i.mem = &memory{i: i, m: m}
}

// look takes over where memory lies.
func (i *instance) look() { i.view = unsafe.Slice((*byte)(i.c.base), int(i.c.size)) }

func (i *instance) Func(name string) engine.Func {
	if f := i.funcs[name]; f != nil {
		return f
	}
	sig, ok := i.code.export(name)
	if !ok || !i.enter() {
		return nil
	}
	defer i.leave()
	fn := i.lookup(name)
	if fn == nil {
		return nil
	}
	f := &function{i: i, name: name, sig: sig, fn: rawFunc(fn)}
	for _, t := range append(append([]engine.ValType(nil), sig.Params...), sig.Results...) {
		if t == foreign {
			f.foreign = true
		}
	}
	f.words = max(len(sig.Params), len(sig.Results))
	f.values = (*C.isomer_value)(C.calloc(C.size_t(max(f.words, 1)), C.sizeof_isomer_value))
	f.stack = unsafe.Slice(f.values, f.words)
	i.funcs[name] = f
	return f
}

func (i *instance) lookup(name string) *wasmtime.Func {
	switch {
	case i.inst != nil:
		return i.inst.GetFunc(i.store, name)
	case i.caller != nil:
		if x := i.caller.GetExport(name); x != nil {
			defer x.Close()
			return x.Func()
		}
	}
	return nil
}

func (i *instance) Memory() engine.Memory {
	if i.mem == nil {
		return nil // a nil *memory in the interface would not be nil
	}
	return i.mem
}

func (i *instance) Global(name string) (uint64, bool) {
	if i.inst == nil || !i.enter() {
		return 0, false
	}
	defer i.leave()
	x := i.inst.GetExport(i.store, name)
	if x == nil {
		return 0, false
	}
	defer x.Close()
	g := x.Global()
	if g == nil {
		return 0, false
	}
	switch v := g.Get(i.store).Get().(type) {
	case int32:
		return uint64(uint32(v)), true
	case int64:
		return uint64(v), true
	case float32:
		return uint64(math.Float32bits(v)), true
	case float64:
		return math.Float64bits(v), true
	}
	return 0, false
}

type function struct {
	i       *instance
	name    string
	sig     engine.Signature
	fn      C.wasmtime_func_t
	foreign bool            // has a type that does not cross the border
	words   int             // of the longer of parameters and results
	values  *C.isomer_value // freed with the instance
	stack   []C.isomer_value
}

func (f *function) Call(ctx context.Context, stack []uint64) error {
	i := f.i
	if f.foreign {
		return fmt.Errorf("wasmtime: %s: a vector or a reference cannot be passed", f.name)
	}
	if !i.enter() {
		return errClosed
	}
	defer i.leave()
	for k := range f.sig.Params {
		f.stack[k].bits = C.uint64_t(stack[k])
	}
	ok, err := f.run(ctx)
	if err != nil {
		return err
	}
	if i.mem != nil {
		i.look()
	}
	if !ok {
		return f.failed()
	}
	for k, t := range f.sig.Results {
		v := uint64(f.stack[k].bits)
		if t == engine.I32 || t == engine.F32 {
			v = uint64(uint32(v)) // the upper half is the parameter's that lay there
		}
		stack[k] = v
	}
	return nil
}

// run enters the guest. A call out of a host function has the limits of the outer one.
func (f *function) run(ctx context.Context) (ok bool, err error) {
	i, outer := f.i, f.i.ctx
	switch {
	case i.depth > 0 && i.failed != nil:
		return false, i.failed
	case i.depth >= engine.MaxNesting:
		i.failed = engine.Nested(f.name)
		return false, i.failed
	}
	i.ctx = ctx
	i.depth++
	ok = f.call()
	i.depth--
	i.ctx = outer
	return ok, nil
}

func (f *function) call() bool {
	return bool(C.isomer_call(f.i.c, &f.fn, f.values, C.size_t(f.words)))
}

func (f *function) failed() error {
	c := f.i.c
	var err error
	if c.trap != nil {
		err = takeTrap(c.trap)
	} else {
		err = takeError(c.error)
	}
	c.trap, c.error = nil, nil
	err = f.i.failure(f.name, err)
	if f.i.depth > 0 {
		f.i.failed = err
	}
	return err
}

type memory struct {
	i *instance
	m *wasmtime.Memory
}

func (m *memory) Bytes() []byte {
	if m.i.users.Load()&closed != 0 {
		return nil
	}
	return m.i.view
}

func (m *memory) Grow(pages uint32) (uint32, bool) {
	if !m.i.enter() {
		return 0, false
	}
	defer m.i.leave()
	before, err := m.m.Grow(m.i.store, uint64(pages))
	if err != nil {
		_ = plain(err)
		return 0, false
	}
	C.isomer_view(m.i.c)
	m.i.look()
	return uint32(before), true
}
