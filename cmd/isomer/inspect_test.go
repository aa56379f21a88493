package main

import (
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// bare is a module without a manifest, with a function of each kind of type.
func bare(realloc bool) []byte {
	m := &wasm.Module{}
	fn := func(name string, results []wasm.ValType, params ...wasm.ValType) {
		code := wasm.NewCode(params...).Unreachable()
		m.Export(name, wasm.KindFunc, m.AddFunc(name, wasm.FuncType{Params: params, Results: results}, code))
	}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 1))
	one := []wasm.ValType{wasm.I32}
	if realloc {
		fn(abi.ExportRealloc, one, wasm.I32, wasm.I32, wasm.I32, wasm.I32)
	}
	fn("two", one, wasm.I32, wasm.I32)
	fn("four", one, wasm.I32, wasm.I32, wasm.I32, wasm.I32)
	fn("none", nil)
	fn("mixed", []wasm.ValType{wasm.F64}, wasm.I32, wasm.I64)
	fn("wide", one, wasm.I32, wasm.I64)
	fn("vector", nil, wasm.V128)
	fn("__internal", one, wasm.I32, wasm.I32)
	fn(abi.PostReturn("two"), nil, wasm.I32)
	return m.Encode()
}

// TestInspectByType holds what inspect prints to what the bridge does with a module without a manifest.
func TestInspectByType(t *testing.T) {
	for _, realloc := range []bool{false, true} {
		bin := bare(realloc)
		in, err := inspect("bare.wasm", bin)
		if err != nil {
			t.Fatal(err)
		}
		m, err := isomer.New(t.Context(), bin)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want := map[string]abi.Convention{}
		for _, f := range m.Functions() {
			want[f.Name] = f.Convention
		}
		if len(want) != 5 {
			t.Errorf("the bridge calls %v", want)
		}
		for _, f := range in.Functions {
			if f.Convention != want[f.Name] {
				t.Errorf("realloc %v: %s is %q, the bridge has %q", realloc, f.Name, f.Convention, want[f.Name])
			}
		}
	}
}

func TestImportLine(t *testing.T) {
	const wasi = "func wasi_snapshot_preview1."
	cases := []struct {
		want    string
		imports []string
	}{
		{"none", nil},
		{"1 function of wasi_snapshot_preview1", []string{wasi + "proc_exit (i32) -> ()"}},
		{"2 functions of wasi_snapshot_preview1, func env.f () -> ()", []string{wasi + "a () -> ()", "func env.f () -> ()", wasi + "b () -> ()"}},
	}
	for _, c := range cases {
		if got := importLine(c.imports); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
