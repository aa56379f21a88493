package meter_test

import (
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/meter"
	"github.com/isomer-iot/isomer/wasm"
)

// modules use what the rewriting has to follow: imports, a start section, elements, tail calls, blocks
// with several values, bulk operations, names.
func modules() map[string][]byte {
	i32 := wasm.I32
	m := &wasm.Module{}
	one := wasm.FuncType{Params: []wasm.ValType{i32}, Results: []wasm.ValType{i32}}
	outside := m.ImportFunc("env", "f", one)
	m.AddMemory(1, 2)
	c := wasm.NewCode(i32)
	leaf := m.AddFunc("leaf", one, c.Get(c.Param(0)))
	c = wasm.NewCode(i32)
	i := c.Local(i32)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Loop(func(inner wasm.Label) {
				c.Get(i).I32(10).Op(wasm.I32GeU).BrIf(out)
				c.Get(i).I32(1).Op(wasm.I32And).BrTable(out, inner, top)
			})
		})
	})
	c.I32(0).I32(0).Get(c.Param(0)).MemoryFill().Get(c.Param(0)).Call(outside).Call(leaf)
	m.Export("f", wasm.KindFunc, m.AddFunc("walk", one, c))
	m.AddTable(outside, leaf)
	boot := m.AddFunc("boot", wasm.FuncType{}, wasm.NewCode())
	m.Start = &boot
	tail := m.DeclareFunc("tail", one)
	m.Funcs[len(m.Funcs)-1].Body = []byte{0x20, 0, 0x12, byte(tail), 0x0b}
	// loop (param i32) (result i32): a loop that takes an operand
	typ := m.AddType(one)
	m.DeclareFunc("operand", one)
	m.Funcs[len(m.Funcs)-1].Body = []byte{0x20, 0, 0x03, byte(typ), 0x41, 1, 0x6b, 0x22, 0, 0x20, 0, 0x0d, 0, 0x0b, 0x0b}
	return map[string][]byte{
		"own": m.Encode(), "guest": enginetest.Guest{Stateful: true, Post: true, Trap: "start", Imports: true}.Build(),
		"host": enginetest.HostGuest(true), "wasi": enginetest.WASIGuest(), "wasmtube": enginetest.WasmtubeGuest(),
		"empty": (&wasm.Module{}).Encode(),
	}
}

// check rewrites a valid module and returns what came of it.
func check(t *testing.T, bin []byte) (before, after *wasm.Module) {
	t.Helper()
	before, err := wasm.Decode(bin)
	if err != nil || before.Check() != nil {
		return nil, nil
	}
	for i := range before.Imports {
		if before.Imports[i].Module == meter.Module {
			return nil, nil
		}
	}
	m, _ := wasm.Decode(bin)
	if _, err := meter.Rewrite(m); err != nil {
		t.Fatalf("a valid module: %v", err)
	}
	after, err = wasm.Decode(m.Encode())
	if err != nil {
		t.Fatalf("after: %v", err)
	}
	if err := after.Check(); err != nil && !strings.Contains(err.Error(), "locals") {
		t.Fatalf("after: %v", err)
	}
	return before, after
}

func TestRewriteKeepsModulesValid(t *testing.T) {
	for name, bin := range modules() {
		before, after := check(t, bin)
		if after == nil {
			t.Errorf("%s: the module of the test is not valid", name)
			continue
		}
		for _, e := range before.Exports {
			to, ok := after.Exported(e.Name)
			if !ok || to.Kind != e.Kind || e.Kind == wasm.KindFunc && before.Names.FuncName(e.Index) != after.Names.FuncName(to.Index) {
				t.Errorf("%s: export %q is %v, was %v", name, e.Name, to, e)
			}
		}
		if last := after.Imports[len(after.Imports)-1]; last.Module != meter.Module || last.Name != meter.Refill || len(after.Imports) != len(before.Imports)+1 {
			t.Errorf("%s: imports %v", name, after.Imports)
		}
	}
}

// An index that only the rewriting would make valid must not reach what the meter added.
func TestRewriteRefusesForeignIndices(t *testing.T) {
	for name, body := range map[string][]byte{
		"global": {0x42, 0, 0x24, 0, 0x0b}, "function": {0x10, 2, 0x0b}, "local": {0x20, 0, 0x1a, 0x03, 0x40, 0x0b, 0x0b},
	} {
		m := &wasm.Module{}
		m.DeclareFunc("", wasm.FuncType{})
		m.Funcs[0].Body = body
		if _, err := meter.Rewrite(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	m := &wasm.Module{}
	m.ImportFunc(meter.Module, meter.Refill, wasm.FuncType{})
	if _, err := meter.Rewrite(m); err == nil {
		t.Error("an import of the meter's: accepted")
	}
}

func FuzzRewrite(f *testing.F) {
	seeds := modules()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, bin := range seeds {
		f.Add(bin)
	}
	f.Fuzz(func(t *testing.T, bin []byte) { check(t, bin) })
}
