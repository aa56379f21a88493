package main

import (
	"fmt"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// Addresses in the fixture's memory. The heap grows from its address, one page after the rest.
const (
	resultAt  = 16
	textAt    = 64
	inputAt   = 1024
	outputAt  = 1040
	heapStart = abi.PageSize
)

// kit is a module with one function of each convention that the scripts call:
//
//	echo, refuse, version, trap   bytes
//	pixels                        image: gives the RGB bytes back
//	add, half                     scalar
//	run                           tensors: input [4] doubled
//
// version tells two kits apart: the function answers {"version":N}.
func kit(version int) []byte {
	m := &wasm.Module{}
	i32s := func(n int) []wasm.ValType {
		t := make([]wasm.ValType, n)
		for i := range t {
			t[i] = wasm.I32
		}
		return t
	}
	fn := func(name string, params []wasm.ValType, results []wasm.ValType, body func(c *wasm.Code)) {
		code := wasm.NewCode(params...)
		body(code)
		m.Export(name, wasm.KindFunc, m.AddFunc(name, wasm.FuncType{Params: params, Results: results}, code))
	}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(2, 64))
	m.Export(abi.InputGlobal(0), wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(inputAt)))
	m.Export(abi.OutputGlobal(0), wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(outputAt)))

	heap := m.AddGlobal(wasm.I32, true, wasm.ConstI32(heapStart))
	fn(abi.ExportRealloc, i32s(4), i32s(1), func(c *wasm.Code) { c.GlobalGet(heap) })

	text := fmt.Sprintf(`{"version":%d}`, version)
	const refusal = "the meter is dark"
	m.AddData(textAt, []byte(text+refusal))
	// result leaves {tag, ptr, len} at resultAt and returns its address.
	result := func(c *wasm.Code, tag int32, ptr, n func()) {
		c.I32(resultAt).I32(tag).Store(wasm.I32Store, 0)
		c.I32(resultAt)
		ptr()
		c.Store(wasm.I32Store, 4).I32(resultAt)
		n()
		c.Store(wasm.I32Store, 8).I32(resultAt)
	}
	param := func(c *wasm.Code, i int) func() { return func() { c.Get(c.Param(i)) } }
	constant := func(c *wasm.Code, v int) func() { return func() { c.I32(int32(v)) } }
	fn("echo", i32s(2), i32s(1), func(c *wasm.Code) { result(c, abi.TagOK, param(c, 0), param(c, 1)) })
	fn("refuse", i32s(2), i32s(1), func(c *wasm.Code) {
		result(c, abi.TagErr, constant(c, textAt+len(text)), constant(c, len(refusal)))
	})
	fn("version", i32s(2), i32s(1), func(c *wasm.Code) {
		result(c, abi.TagOK, constant(c, textAt), constant(c, len(text)))
	})
	fn("trap", i32s(2), i32s(1), func(c *wasm.Code) { c.Unreachable() })
	fn("pixels", i32s(4), i32s(1), func(c *wasm.Code) { result(c, abi.TagOK, param(c, 2), param(c, 3)) })
	fn("add", i32s(2), i32s(1), func(c *wasm.Code) { c.Get(c.Param(0), c.Param(1)).Op(wasm.I32Add) })
	f64 := []wasm.ValType{wasm.F64}
	fn("half", f64, f64, func(c *wasm.Code) { c.Get(c.Param(0)).F64(0.5).Op(wasm.F64Mul) })
	fn(abi.ExportRun, nil, nil, func(c *wasm.Code) {
		c.I32(outputAt).I32(inputAt).Load(wasm.V128Load, 0).I32(inputAt).Load(wasm.V128Load, 0)
		c.Op(wasm.F32x4Add).Store(wasm.V128Store, 0)
	})

	tensor := func(name, global string) []abi.TensorSpec {
		return []abi.TensorSpec{{Name: name, Global: global, DType: abi.F32, Shape: []int{1, 4}}}
	}
	manifest, err := abi.Manifest{
		Name: "kit", Version: fmt.Sprintf("%d.0.0", version),
		Functions: []abi.Function{
			{Name: "echo", Convention: abi.Bytes, Input: abi.JSON, Output: abi.JSON, Doc: "gives its input back"},
			{Name: "refuse", Convention: abi.Bytes, Input: abi.JSON, Output: abi.JSON},
			{Name: "version", Convention: abi.Bytes, Input: abi.JSON, Output: abi.JSON},
			{Name: "trap", Convention: abi.Bytes, Input: abi.JSON, Output: abi.JSON},
			{Name: "pixels", Convention: abi.Image, Output: abi.Raw},
			{Name: "add", Convention: abi.Scalar},
			{Name: "half", Convention: abi.Scalar},
			{Name: abi.ExportRun, Convention: abi.Tensors},
		},
		Inputs: tensor("x", abi.InputGlobal(0)), Outputs: tensor("y", abi.OutputGlobal(0)),
		Image:    &abi.ImageSpec{Width: 4, Height: 2},
		Labels:   []string{"zero", "one"},
		Features: []string{wasm.FeatureSIMD},
	}.Encode()
	if err != nil {
		panic(err)
	}
	m.AddCustom(abi.ManifestSection, manifest)
	return m.Encode()
}

func TestInspectKit(t *testing.T) {
	in, err := inspect("kit.wasm", kit(1))
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Problems) > 0 || in.Manifest == nil || in.Manifest.Name != "kit" {
		t.Errorf("problems %q, manifest %v", in.Problems, in.Manifest)
	}
	total := 8 // magic and version
	for _, s := range in.Sections {
		total += s.Bytes
	}
	if total != in.Bytes {
		t.Errorf("sections add up to %d of %d bytes", total, in.Bytes)
	}
}

// station is a module that asks its host, without looking at its answers: note logs "dusk" and keeps it under "last",
// last gives what is kept, send publishes "dusk" to "sky.light".
func station(permissions ...string) []byte {
	m := &wasm.Module{}
	i32 := wasm.I32
	of := func(n int) wasm.FuncType {
		t := wasm.FuncType{}
		for range n {
			t.Params = append(t.Params, i32)
		}
		return t
	}
	log := m.ImportFunc("isomer:host/log", "log", of(3))
	set := m.ImportFunc("isomer:host/kv", "set", of(5))
	get := m.ImportFunc("isomer:host/kv", "get", of(3))
	publish := m.ImportFunc("isomer:host/publish", "publish", of(5))
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(2, 0))
	const dusk, last, subject = textAt, textAt + 8, textAt + 16
	m.AddData(dusk, []byte(`"dusk"  lastxxxxsky.light`))
	fn := func(name string, t wasm.FuncType, body func(c *wasm.Code)) {
		t.Results = []wasm.ValType{i32}
		c := wasm.NewCode(t.Params...)
		body(c)
		m.Export(name, wasm.KindFunc, m.AddFunc(name, t, c))
	}
	fn(abi.ExportRealloc, of(4), func(c *wasm.Code) { c.I32(heapStart) })
	answer := func(c *wasm.Code, ptr, n func()) {
		c.I32(resultAt).I32(abi.TagOK).Store(wasm.I32Store, 0).I32(resultAt)
		ptr()
		c.Store(wasm.I32Store, 4).I32(resultAt)
		n()
		c.Store(wasm.I32Store, 8).I32(resultAt)
	}
	word := func(c *wasm.Code, at int32) func() { return func() { c.I32(at).Load(wasm.I32Load, 0) } }
	done := func(c *wasm.Code) { answer(c, func() { c.I32(dusk) }, func() { c.I32(6) }) }
	fn("note", of(2), func(c *wasm.Code) {
		c.I32(1).I32(dusk).I32(6).Call(log)
		c.I32(last).I32(4).I32(dusk).I32(6).I32(inputAt).Call(set)
		done(c)
	})
	fn("last", of(2), func(c *wasm.Code) {
		c.I32(last).I32(4).I32(inputAt).Call(get)
		answer(c, word(c, inputAt+8), word(c, inputAt+12))
	})
	fn("send", of(2), func(c *wasm.Code) {
		c.I32(subject).I32(9).I32(dusk).I32(6).I32(inputAt).Call(publish)
		done(c)
	})
	manifest, err := abi.Manifest{
		Name: "station", Version: "1.0.0", Permissions: permissions,
		Functions: []abi.Function{
			{Name: "note", Convention: abi.Bytes, Output: abi.JSON}, {Name: "last", Convention: abi.Bytes, Output: abi.JSON}, {Name: "send", Convention: abi.Bytes, Output: abi.JSON},
		},
	}.Encode()
	if err != nil {
		panic(err)
	}
	m.AddCustom(abi.ManifestSection, manifest)
	return m.Encode()
}
