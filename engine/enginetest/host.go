package enginetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// HostModule is the module name of what HostGuest imports.
const HostModule = "test:host/api"

var (
	typeMix = wasm.FuncType{
		Params:  []wasm.ValType{i32, wasm.I64, wasm.F32, wasm.F64},
		Results: []wasm.ValType{wasm.F64, wasm.F32, wasm.I64, i32},
	}
	typeNumber = wasm.FuncType{Params: []wasm.ValType{i32}, Results: []wasm.ValType{i32}}
)

// HostGuest imports mix (i32, i64, f32, f64) -> (f64, f32, i64, i32) and number (i32) -> (i32) from
// HostModule, and exports each under its name. Its cabi_realloc returns what number says of the size;
// storm calls number without end. With start its start section calls number(7).
func HostGuest(start bool) []byte {
	m := &wasm.Module{}
	mix := m.ImportFunc(HostModule, "mix", typeMix)
	number := m.ImportFunc(HostModule, "number", typeNumber)
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	c := wasm.NewCode(typeMix.Params...)
	c.Get(c.Param(0), c.Param(1), c.Param(2), c.Param(3)).Call(mix)
	m.Export("mix", wasm.KindFunc, m.AddFunc("mix", typeMix, c))
	c = wasm.NewCode(i32)
	m.Export("number", wasm.KindFunc, m.AddFunc("number", typeNumber, c.Get(c.Param(0)).Call(number)))
	c = wasm.NewCode(i32, i32, i32, i32)
	m.Export(abi.ExportRealloc, wasm.KindFunc, m.AddFunc(abi.ExportRealloc, typeAlloc, c.Get(c.Param(3)).Call(number)))
	c = wasm.NewCode(i32)
	c.Loop(func(top wasm.Label) { c.I32(1).Call(number).Drop().Br(top) }).Unreachable()
	m.Export("storm", wasm.KindFunc, m.AddFunc("storm", typeNumber, c))
	c = wasm.NewCode(i32)
	m.Export("crash", wasm.KindFunc, m.AddFunc("crash", typeNumber, c.Unreachable()))
	if start {
		i := m.AddFunc("boot", typeNone, wasm.NewCode().I32(7).Call(number).Drop())
		m.Start = &i
	}
	return m.Encode()
}

// number is a host function (i32) -> (i32).
func number(call func(ctx context.Context, in engine.Instance, n uint32) (uint32, error)) []engine.HostFunc {
	one := []engine.ValType{engine.I32}
	return []engine.HostFunc{
		{
			Module: HostModule, Name: "mix",
			Signature: engine.Signature{
				Params:  []engine.ValType{engine.I32, engine.I64, engine.F32, engine.F64},
				Results: []engine.ValType{engine.F64, engine.F32, engine.I64, engine.I32},
			},
			Call: func(_ context.Context, _ engine.Instance, s []uint64) error {
				s[0], s[1], s[2], s[3] = s[3], s[2], s[1], s[0]
				return nil
			},
		},
		{
			Module: HostModule, Name: "number", Signature: engine.Signature{Params: one, Results: one},
			Call: func(ctx context.Context, in engine.Instance, s []uint64) error {
				v, err := call(ctx, in, uint32(s[0]))
				s[0] = uint64(v)
				return err
			},
		},
	}
}

func lent(t *testing.T, e engine.Engine, call func(ctx context.Context, in engine.Instance, n uint32) (uint32, error)) engine.Instance {
	t.Helper()
	i, err := compile(t, e, HostGuest(false), engine.CompileConfig{}).Instantiate(t.Context(), engine.InstanceConfig{Host: number(call)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// ask calls a function (i32) -> (i32).
func ask(ctx context.Context, in engine.Instance, fn string, n uint32) (uint32, error) {
	stack := []uint64{uint64(n)}
	err := in.Func(fn).Call(ctx, stack)
	return uint32(stack[0]), err
}

// alloc calls cabi_realloc(0, 0, 1, n).
func alloc(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
	stack := []uint64{0, 0, 1, uint64(n)}
	err := in.Func(abi.ExportRealloc).Call(ctx, stack)
	return uint32(stack[0]), err
}

func testHost(t *testing.T, e engine.Engine) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "mine")
	i := lent(t, e, func(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
		if ctx.Value(key{}) != "mine" {
			t.Error("the context is not that of the call")
		}
		mem := in.Memory().Bytes()
		binary.LittleEndian.PutUint32(mem[n:], binary.LittleEndian.Uint32(mem[n:])+1)
		return n + 1, nil
	})
	stack := []uint64{0xffff_fffe, 1 << 63, uint64(math.Float32bits(-1.5)), math.Float64bits(2.5)}
	if err := i.Func("mix").Call(ctx, stack); err != nil {
		t.Fatal(err)
	}
	stack[1], stack[3] = uint64(uint32(stack[1])), uint64(uint32(stack[3])) // the lower halves count
	if want := []uint64{math.Float64bits(2.5), uint64(math.Float32bits(-1.5)), 1 << 63, 0xffff_fffe}; !slices.Equal(stack, want) {
		t.Errorf("mix: %x, want %x", stack, want)
	}
	for n := range 3 {
		if v, err := ask(ctx, i, "number", 64); err != nil || v != 65 {
			t.Fatalf("number: %d, %v", v, err)
		}
		if got := binary.LittleEndian.Uint32(i.Memory().Bytes()[64:]); got != uint32(n+1) {
			t.Errorf("the host left %d in memory, want %d", got, n+1)
		}
	}
}

func testHostError(t *testing.T, e engine.Engine) {
	refusal := errors.New("no such sensor")
	for name, call := range map[string]func(context.Context, engine.Instance, uint32) (uint32, error){
		"error": func(context.Context, engine.Instance, uint32) (uint32, error) { return 0, refusal },
		"panic": func(context.Context, engine.Instance, uint32) (uint32, error) { panic("a mistake of the host") },
		"inner call swallowed": func(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
			_, _ = ask(ctx, in, "crash", n)
			return 0, nil
		},
	} {
		_, err := ask(t.Context(), lent(t, e, call), "number", 1)
		var trap *engine.TrapError
		if !errors.As(err, &trap) || trap.Func != "number" && name != "inner call swallowed" || strings.Contains(trap.Reason, "\n") {
			t.Fatalf("%s: err = %#v", name, err)
		}
		var host *engine.HostError
		if name != "inner call swallowed" && (!errors.As(err, &host) || host.Import != HostModule+".number") {
			t.Errorf("%s: %v does not name the import", name, err)
		}
		if name == "error" && !errors.Is(err, refusal) {
			t.Errorf("%v does not wrap %v", err, refusal)
		}
		if trap.Stack != "" && !strings.Contains(trap.Stack, "number") { // wasmtime has none here
			t.Errorf("%s: stack %q", name, trap.Stack)
		}
	}
}

// testHostNesting lets a host function call cabi_realloc, which calls a host function.
func testHostNesting(t *testing.T, e engine.Engine) {
	i := lent(t, e, func(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
		if n == 100 {
			return n, nil // from cabi_realloc
		}
		return alloc(ctx, in, 100)
	})
	for range 3 {
		if v, err := ask(t.Context(), i, "number", 1); err != nil || v != 100 {
			t.Fatalf("number: %d, %v", v, err)
		}
	}
	deepest, depth := 0, 0
	i = lent(t, e, func(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
		depth++
		deepest = max(deepest, depth)
		defer func() { depth-- }()
		return alloc(ctx, in, n)
	})
	_, err := ask(t.Context(), i, "number", 1)
	wantLimit(t, err, engine.StackSz)
	if deepest != engine.MaxNesting {
		t.Errorf("%d calls deep, want %d", deepest, engine.MaxNesting)
	}
}

func testHostMissing(t *testing.T, e engine.Engine) {
	c := compile(t, e, HostGuest(false), engine.CompileConfig{})
	all := number(nil)
	_, err := c.Instantiate(t.Context(), engine.InstanceConfig{Host: all[:1]})
	var link *engine.LinkError
	if !errors.As(err, &link) || len(link.Missing) != 1 || link.Missing[0].Name != "number" || len(link.Mismatched) != 0 {
		t.Errorf("err = %v", err)
	}
	wrong := slices.Clone(all)
	wrong[1].Results = []engine.ValType{engine.I64}
	_, err = c.Instantiate(t.Context(), engine.InstanceConfig{Host: wrong})
	if !errors.As(err, &link) || len(link.Missing) != 0 || len(link.Mismatched) != 1 || !strings.Contains(err.Error(), HostModule+".number") || !strings.Contains(err.Error(), "(i32) -> (i64)") {
		t.Errorf("err = %v", err)
	}
}

// testHostApart lends the instances of one code different functions, and uses them at once.
func testHostApart(t *testing.T, e engine.Engine) {
	c := compile(t, e, HostGuest(false), engine.CompileConfig{})
	var wg sync.WaitGroup
	for k := range uint32(4) {
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{Host: number(func(_ context.Context, _ engine.Instance, n uint32) (uint32, error) {
			return n*10 + k, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = i.Close() })
		wg.Go(func() {
			for n := range uint32(500) {
				if v, err := ask(context.Background(), i, "number", n); err != nil || v != n*10+k {
					t.Errorf("instance %d: number(%d) = %d, %v", k, n, v, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// testHostStart lets the start section call the host, which sees memory and functions already.
func testHostStart(t *testing.T, e engine.Engine) {
	c := compile(t, e, HostGuest(true), engine.CompileConfig{})
	got, refusal := uint32(0), errors.New("not now")
	host := number(func(ctx context.Context, in engine.Instance, n uint32) (uint32, error) {
		if n == 100 {
			return 0, nil
		}
		if got = n; len(in.Memory().Bytes()) != abi.PageSize {
			return 0, fmt.Errorf("memory of %d bytes", len(in.Memory().Bytes()))
		}
		return alloc(ctx, in, 100)
	})
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{Host: host})
	if err != nil || got != 7 {
		t.Fatalf("start: number(%d), %v", got, err)
	}
	_ = i.Close()
	_, err = c.Instantiate(t.Context(), engine.InstanceConfig{Host: number(func(context.Context, engine.Instance, uint32) (uint32, error) {
		return 0, refusal
	})})
	var se *engine.StartError
	if !errors.As(err, &se) || se.Func != "start section" || !errors.Is(err, refusal) {
		t.Errorf("err = %v", err)
	}
}
