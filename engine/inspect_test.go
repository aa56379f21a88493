package engine

import (
	"reflect"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

func importing() *wasm.Module {
	m := &wasm.Module{}
	m.ImportFunc("env", "log", wasm.FuncType{Params: []wasm.ValType{wasm.I32}})
	m.ImportFunc("env", "now", wasm.FuncType{Results: []wasm.ValType{wasm.I64}})
	m.AddMemory(3, 0)
	m.AddCustom("note", []byte("hello"))
	return m
}

func TestInspect(t *testing.T) {
	got, err := Inspect(importing().Encode())
	if err != nil {
		t.Fatal(err)
	}
	want := Needs{Imports: []Import{{"env", "log", "func"}, {"env", "now", "func"}}, MinPages: 3, Signatures: []Signature{
		{Params: []ValType{I32}, Results: []ValType{}}, {Params: []ValType{}, Results: []ValType{I64}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	big := importing()
	big.Tables = append(big.Tables, wasm.TableType{Elem: wasm.FuncRef, Limits: wasm.Limits{Min: 1 << 31}})
	if _, err := Inspect(big.Encode()); err == nil {
		t.Error("a table of 2³¹ entries is allowed")
	}
}

func FuzzInspect(f *testing.F) {
	bin := importing().Encode()
	f.Add(bin)
	f.Add(bin[:len(bin)-9])
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x05\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, bin []byte) {
		n, err := Inspect(bin)
		if err == nil && len(n.Imports) > len(bin) {
			t.Fatalf("%d imports out of %d bytes", len(n.Imports), len(bin))
		}
	})
}
