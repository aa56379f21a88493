package fence

import (
	"context"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/isomer-iot/isomer/wasm"
)

// accesses are one instruction each, on the address in a, with how many bytes it touches and whether it
// writes.
var accesses = []struct {
	op    wasm.Op
	bytes int
	store bool
	emit  func(c *wasm.Code, a wasm.Local, op wasm.Op)
}{
	{wasm.I32Load, 4, false, load}, {wasm.I32Load8U, 1, false, load}, {wasm.I64Load32S, 4, false, load}, {wasm.F64Load, 8, false, load},
	{wasm.V128Load, 16, false, load}, {wasm.V128Load8x8S, 8, false, load}, {wasm.V128Load16Splat, 2, false, load}, {wasm.V128Load64Zero, 8, false, load},
	{wasm.V128Load32Lane, 4, false, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).F32x4(1, 2, 3, 4).LoadLane(op, 4, 1).Drop() }},
	{wasm.I32Store, 4, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).I32(1).Store(op, 4) }},
	{wasm.I32Store8, 1, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).I32(1).Store(op, 4) }},
	{wasm.I64Store16, 2, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).I64(1).Store(op, 4) }},
	{wasm.F32Store, 4, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).F32(1).Store(op, 4) }},
	{wasm.F64Store, 8, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).F64(1).Store(op, 4) }},
	{wasm.V128Store, 16, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).F32x4(1, 2, 3, 4).Store(op, 4) }},
	{wasm.V128Store64Lane, 8, true, func(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).F32x4(1, 2, 3, 4).StoreLane(op, 4, 1) }},
	{wasm.MemoryFill, 24, true, func(c *wasm.Code, a wasm.Local, _ wasm.Op) {
		c.Get(a).I32(4).Op(wasm.I32Add).I32(7).I32(24).MemoryFill()
	}},
	{wasm.MemoryCopy, 24, true, func(c *wasm.Code, a wasm.Local, _ wasm.Op) {
		c.Get(a).I32(4).Op(wasm.I32Add).I32(1024).I32(24).MemoryCopy()
	}},
	{wasm.MemoryCopy, 24, false, func(c *wasm.Code, a wasm.Local, _ wasm.Op) {
		c.I32(1024).Get(a).I32(4).Op(wasm.I32Add).I32(24).MemoryCopy()
	}},
}

func load(c *wasm.Code, a wasm.Local, op wasm.Op) { c.Get(a).Load(op, 4).Drop() }

// TestEachAccess: of each kind of access, the last byte inside the range passes and the first one outside
// does not, at both ends.
func TestEachAccess(t *testing.T) {
	const from, to = 256, 512
	for _, a := range accesses {
		t.Run(fmt.Sprintf("%v store %v", a.op, a.store), func(t *testing.T) {
			m := &wasm.Module{}
			m.AddMemory(1, 0)
			c := wasm.NewCode(wasm.I32)
			a.emit(c, c.Param(0), a.op)
			m.Export("f", wasm.KindFunc, m.AddFunc("f", wasm.FuncType{Params: []wasm.ValType{wasm.I32}}, c))
			free := Range{1024, 1200}
			rule := Rule{Load: []Range{{from, to}, free}, Store: []Range{free}}
			if a.store {
				rule = Rule{Load: []Range{free}, Store: []Range{{from, to}, free}}
			}
			if err := Rewrite(m, rule, nil); err != nil {
				t.Fatal(err)
			}
			for at, ok := range map[int64]bool{from - 4: true, from - 5: false, int64(to - 4 - a.bytes): true, int64(to - 3 - a.bytes): false, 0: false, 1<<32 - 100: false} {
				breach, err := call(t, m, uint64(at))
				want := ""
				if !ok {
					want = fmt.Sprintf("%s of %d bytes at %d", map[bool]string{false: "load", true: "store"}[a.store], a.bytes, at+4)
				}
				if (err == nil) != ok || breach != want {
					t.Errorf("at %d: %v, breach %q, want %q", at, err, breach, want)
				}
			}
		})
	}
}

// TestRuleOfFunction: a function's rule holds for what it calls, and ends with it.
func TestRuleOfFunction(t *testing.T) {
	i32 := []wasm.ValType{wasm.I32}
	m := &wasm.Module{}
	m.AddMemory(1, 0)
	c := wasm.NewCode(wasm.I32)
	c.Get(c.Param(0)).Load(wasm.I32Load, 0).Drop()
	load := m.AddFunc("load", wasm.FuncType{Params: i32}, c)
	c = wasm.NewCode(wasm.I32)
	c.Get(c.Param(0)).Call(load)
	layer := m.AddFunc("layer", wasm.FuncType{Params: i32}, c)
	c = wasm.NewCode(wasm.I32)
	c.I32(100).Call(layer).Get(c.Param(0)).Call(load)
	m.Export("f", wasm.KindFunc, m.AddFunc("f", wasm.FuncType{Params: i32}, c))
	if err := Rewrite(m, Rule{Load: []Range{{200, 300}}}, map[uint32]Rule{layer: {Load: []Range{{100, 104}}}}); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[uint64]string{200: "", 100: "load of 4 bytes at 100"} {
		if got, _ := call(t, m, at); got != want {
			t.Errorf("at %d: %q, want %q", at, got, want)
		}
	}
}

func call(t *testing.T, m *wasm.Module, at uint64) (string, error) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	mod, err := r.Instantiate(ctx, m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_, err = mod.ExportedFunction("f").Call(ctx, at)
	return Breach(func(name string) uint64 { return mod.ExportedGlobal(name).Get() }), err
}
