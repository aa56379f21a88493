//go:build wasmtime

package wasmtime_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wasmtime"
	"github.com/isomer-iot/isomer/wasm"
)

func TestContract(t *testing.T) { enginetest.Run(t, open) }

func open(t *testing.T) engine.Engine {
	t.Helper()
	e, err := wasmtime.New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// start gives one instance, all of it closed with the test.
func start(t *testing.T, bin []byte, cfg engine.CompileConfig, grant engine.InstanceConfig) engine.Instance {
	t.Helper()
	e := open(t)
	t.Cleanup(func() { _ = e.Close() })
	c, err := e.Compile(t.Context(), bin, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	i, err := c.Instantiate(t.Context(), grant)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// The end of one call must not end the others of its engine.
func TestInterruptHitsOneInstance(t *testing.T) {
	e := open(t)
	defer e.Close()
	c, err := e.Compile(t.Context(), enginetest.Guest{}.Build(), engine.CompileConfig{Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() {
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
		if err == nil {
			err = i.Func("loop").Call(ctx, []uint64{0, 0})
			_ = i.Close()
		}
		ended <- err
	})
	for range 20 {
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		err = i.Func("loop").Call(short, []uint64{0, 0})
		stop()
		var limit *engine.LimitError
		if !errors.As(err, &limit) || limit.Limit != engine.Deadline {
			t.Fatalf("err = %v", err)
		}
		_ = i.Close()
	}
	select {
	case err := <-ended:
		t.Errorf("the other call ended too: %v", err)
	default:
	}
	cancel()
	wg.Wait()
}

// Close may come at any time; the call that is under way keeps what it stands on.
func TestCloseDuringCalls(t *testing.T) {
	e := open(t)
	defer e.Close()
	c, err := e.Compile(t.Context(), enginetest.Guest{}.Build(), engine.CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 200 {
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		f, begun := i.Func("sum64"), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			stack := make([]uint64, 2)
			for n := range 1000 {
				stack[0], stack[1] = 40, 2
				if err := f.Call(context.Background(), stack); err != nil {
					if !strings.Contains(err.Error(), "closed") {
						t.Errorf("call %d: %v", n, err)
					}
					return
				}
				if n == 0 {
					close(begun)
				}
			}
		})
		<-begun
		_ = i.Close()
		_ = i.Close()
		wg.Wait()
		if err := f.Call(t.Context(), make([]uint64, 2)); err == nil {
			t.Fatal("a call after Close")
		}
		if b := i.Memory().Bytes(); b != nil {
			t.Fatal("memory after Close")
		}
		if _, ok := i.Memory().Grow(1); ok {
			t.Fatal("growth after Close")
		}
		if _, ok := i.Global(abi.InputGlobal(0)); ok {
			t.Fatal("a global after Close")
		}
		if f := i.Func("mul"); f != nil {
			t.Fatal("a function after Close")
		}
	}
}

// Bytes has to follow memory that the guest grows during a call, also where the growth moves it.
func TestMemoryAfterGuestGrows(t *testing.T) {
	i := start(t, enginetest.Guest{}.Build(), engine.CompileConfig{}, engine.InstanceConfig{})
	const n = 40 << 20
	stack := []uint64{0, 0, 1, n}
	if err := i.Func(abi.ExportRealloc).Call(t.Context(), stack); err != nil {
		t.Fatal(err)
	}
	b := i.Memory().Bytes()
	if len(b) < int(stack[0])+n {
		t.Fatalf("%d bytes", len(b))
	}
	copy(b[stack[0]:], bytes.Repeat([]byte("x"), n))
	stack[1] = n
	if err := i.Func("echo").Call(t.Context(), stack); err != nil {
		t.Fatal(err)
	}
}

// The upper half of an i32 is not what the parameter before it left there.
func TestNarrowResults(t *testing.T) {
	m := &wasm.Module{}
	c := wasm.NewCode(wasm.I64)
	m.Export("low", wasm.KindFunc, m.AddFunc("low", wasm.FuncType{Params: []wasm.ValType{wasm.I64}, Results: []wasm.ValType{wasm.I32}},
		c.Get(c.Param(0)).Op(wasm.I32WrapI64)))
	stack := []uint64{0xffff_ffff_0000_0007}
	if err := start(t, m.Encode(), engine.CompileConfig{}, engine.InstanceConfig{}).Func("low").Call(t.Context(), stack); err != nil || stack[0] != 7 {
		t.Errorf("%#x, %v", stack[0], err)
	}
}

// Vectors and references do not cross the border: bits would be taken for a pointer.
func TestForeignTypesAreRefused(t *testing.T) {
	m := &wasm.Module{}
	for name, typ := range map[string]wasm.ValType{"vector": wasm.V128, "func": wasm.FuncRef, "extern": wasm.ExternRef} {
		c := wasm.NewCode(typ)
		m.Export(name, wasm.KindFunc, m.AddFunc(name, wasm.FuncType{Params: []wasm.ValType{typ}}, c))
	}
	i := start(t, m.Encode(), engine.CompileConfig{}, engine.InstanceConfig{})
	for _, name := range []string{"vector", "func", "extern"} {
		if err := i.Func(name).Call(t.Context(), []uint64{1 << 40, 0}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An engine that is closed too early goes when its last instance does.
func TestEngineClosedBeforeItsInstance(t *testing.T) {
	e := open(t)
	c, err := e.Compile(t.Context(), enginetest.Guest{}.Build(), engine.CompileConfig{Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	_ = e.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var limit *engine.LimitError
	if err := i.Func("loop").Call(ctx, []uint64{0, 0}); !errors.As(err, &limit) {
		t.Errorf("err = %v", err)
	}
	_ = i.Close()
	if _, err := e.Compile(t.Context(), enginetest.Guest{}.Build(), engine.CompileConfig{}); err == nil {
		t.Error("a closed engine compiles")
	}
}
