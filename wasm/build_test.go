package wasm_test

import (
	"context"
	"math"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// runtimeConfig switches on what the engine has of the proposals in the opcode table.
func runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().WithCoreFeatures(
		api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesThreads)
}

// load compiles and instantiates a binary; a module that the engine refuses fails the test.
func load(t testing.TB, bin []byte) api.Module {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	t.Cleanup(func() { rt.Close(ctx) })
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

func call(t testing.TB, mod api.Module, name string, args ...uint64) []uint64 {
	t.Helper()
	results, err := mod.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return results
}

// scaleModule exports scale(ptr, blocks i32, factor f32), which multiplies 4*blocks floats in place.
func scaleModule() *wasm.Module {
	m := &wasm.Module{}
	c := wasm.NewCode(wasm.I32, wasm.I32, wasm.F32)
	ptr, blocks := c.Param(0), c.Param(1)
	factor := c.Local(wasm.V128)
	c.Name(ptr, "ptr").Name(factor, "factor")
	c.Get(c.Param(2)).Op(wasm.F32x4Splat).Set(factor)
	c.Block(func(out wasm.Label) {
		c.Loop(func(top wasm.Label) {
			c.Get(blocks).Op(wasm.I32Eqz).BrIf(out)
			c.Get(ptr, ptr).Load(wasm.V128Load, 0).Get(factor).Op(wasm.F32x4Mul).Store(wasm.V128Store, 0)
			c.Inc(ptr, 16).Inc(blocks, -1).Br(top)
		})
	})
	t := wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32, wasm.F32}}
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 1))
	m.Export("scale", wasm.KindFunc, m.AddFunc("scale", t, c))
	m.AddData(64, []byte{0, 0, 0x80, 0x3F, 0, 0, 0, 0x40})
	m.Export("input_0", wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(64)))
	m.AddCustom("note", []byte("hello"))
	return m
}

func TestBuildSIMDLoop(t *testing.T) {
	mod := load(t, scaleModule().Encode())
	call(t, mod, "scale", 64, 2, uint64(math.Float32bits(3)))
	for i, want := range []float32{3, 6, 0} {
		if got, _ := mod.Memory().ReadFloat32Le(uint32(64 + 4*i)); got != want {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
}
