package wasm_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

const guestSource = `package main

import (
	"fmt"
	"math"
	"os"
)

//go:wasmexport scale
func scale(x float64) int32 { return int32(math.Floor(x) * 3) }

func main() { fmt.Fprintln(os.Stdout, "guest", len(os.Args)) }
`

// goGuest compiles a small Go program to WebAssembly, once for all tests. It needs Go alone.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"main.go": guestSource, "go.mod": "module guest\n\ngo 1.26.0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", "guest.wasm", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(filepath.Join(dir, "guest.wasm"))
})

func guest(t testing.TB) []byte {
	t.Helper()
	bin, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func mustDecode(t testing.TB, bin []byte) *wasm.Module {
	t.Helper()
	m, err := wasm.Decode(bin)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// firstDifference is where two binaries part.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestRoundTrip(t *testing.T) {
	for name, bin := range map[string][]byte{
		"go guest": guest(t),
		"built":    scaleModule().Encode(),
		"rich":     richModule().Encode(),
		"empty":    (&wasm.Module{}).Encode(),
	} {
		t.Run(name, func(t *testing.T) {
			m := mustDecode(t, bin)
			if again := m.Encode(); !bytes.Equal(again, bin) {
				t.Fatalf("%d bytes became %d, different from 0x%x on", len(bin), len(again), firstDifference(bin, again))
			}
			instructions := 0
			for i := range m.Funcs {
				for _, err := range wasm.Instructions(m.Funcs[i].Body) {
					if err != nil {
						t.Fatalf("function %d: %v", i, err)
					}
					instructions++
				}
			}
			t.Logf("%d bytes, %d functions, %d instructions", len(bin), len(m.Funcs), instructions)
		})
	}
}

// richModule has an entry in every section and every form of segment.
func richModule() *wasm.Module {
	m := &wasm.Module{}
	nothing := wasm.FuncType{}
	m.SetName("rich")
	m.AddType(wasm.FuncType{Params: []wasm.ValType{wasm.I64, wasm.V128}, Results: []wasm.ValType{wasm.F32, wasm.F64}})
	m.ImportFunc("env", "tick", nothing)
	m.Imports = append(m.Imports,
		wasm.Import{Module: "env", Name: "table", Kind: wasm.KindTable, Table: wasm.TableType{Elem: wasm.ExternRef, Limits: wasm.Limits{Min: 1}}},
		wasm.Import{Module: "env", Name: "base", Kind: wasm.KindGlobal, Global: wasm.GlobalType{Type: wasm.I32}})
	start := m.AddFunc("start", nothing, wasm.NewCode().Call(0))
	m.Start = &start
	m.AddMemory(1, 2)
	m.AddTable(start)
	m.AddGlobal(wasm.V128, true, wasm.ConstV128([16]byte{15: 1}))
	m.AddGlobal(wasm.I64, false, wasm.ConstI64(-1))
	m.AddGlobal(wasm.F32, false, wasm.ConstF32(1.5))
	m.AddGlobal(wasm.F64, false, wasm.ConstF64(-2))
	m.Elems = append(m.Elems,
		wasm.Elem{Flags: wasm.SegPassive, Type: wasm.FuncRef, Funcs: []uint32{0, 1}},
		wasm.Elem{Flags: wasm.SegPassive | wasm.SegExplicit, Type: wasm.FuncRef, Funcs: []uint32{1}},
		wasm.Elem{Flags: wasm.SegExprs | wasm.SegPassive, Type: wasm.FuncRef,
			Exprs: []wasm.ConstExpr{{byte(wasm.RefFunc), 1, byte(wasm.End)}, {byte(wasm.RefNull), byte(wasm.FuncRef), byte(wasm.End)}}})
	passive := m.AddPassiveData([]byte("passive"))
	m.Data = append(m.Data, wasm.Data{Offset: wasm.ConstExpr{byte(wasm.GlobalGet), 0, byte(wasm.End)}, Bytes: []byte("at a global")})
	c := wasm.NewCode(wasm.I32)
	c.Get(c.Param(0)).I32(0).I32(7).MemoryInit(passive).DataDrop(passive)
	f := m.AddFunc("init", wasm.FuncType{Params: []wasm.ValType{wasm.I32}}, c)
	m.Export("init", wasm.KindFunc, f)
	m.Export("table", wasm.KindTable, 1)
	m.AddCustom("first", []byte{1, 2, 3})
	m.Customs[0].After = wasm.SectionCustom
	m.AddCustom("middle", nil)
	m.Customs[1].After = wasm.SectionExport
	m.AddCustom("last", []byte("bytes"))
	return m
}

func TestDecodeBuilt(t *testing.T) {
	m := mustDecode(t, scaleModule().Encode())
	x, ok := m.Exported("input_0")
	if !ok || x.Kind != wasm.KindGlobal {
		t.Fatalf("input_0 is %v, %v", x, ok)
	}
	if v, ok := m.Globals[x.Index].Init.I32(); !ok || v != 64 {
		t.Errorf("input_0 is at %d, %v", v, ok)
	}
	if ft, ok := m.FuncType(0); !ok || ft.String() != "(i32 i32 f32) -> ()" {
		t.Errorf("function 0 has type %v, %v", ft, ok)
	}
	if name := m.Names.FuncName(0); name != "scale" {
		t.Errorf("function 0 is named %q", name)
	}
	want := []wasm.LocalNames{{Func: 0, Names: []wasm.Name{{Index: 0, Name: "ptr"}, {Index: 3, Name: "factor"}}}}
	if !reflect.DeepEqual(m.Names.Locals, want) {
		t.Errorf("locals are named %v", m.Names.Locals)
	}
	if p, ok := m.Custom("note"); !ok || string(p) != "hello" {
		t.Errorf("custom section is %q, %v", p, ok)
	}
	features, err := m.Features()
	if err != nil || !slices.Equal(features, []string{"simd128"}) {
		t.Errorf("features %v, %v", features, err)
	}
}
