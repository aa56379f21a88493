package wasm_test

import (
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

// modelModule has the size of a compiled MobileNetV2: 14 MB of weights in 60 segments and 60 kernels.
func modelModule() *wasm.Module {
	m := scaleModule()
	m.Memories[0] = wasm.Limits{Min: 400, Max: 400, HasMax: true}
	for i := range 60 {
		m.AddData(int32(i*240_000), make([]byte, 240_000))
		c := wasm.NewCode(wasm.I32)
		kernel(c, 500)
		m.AddFunc("kernel", sig("i"), c)
	}
	return m
}

// kernel emits n times four instructions, as an unrolled inner loop does.
func kernel(c *wasm.Code, n int) {
	p, acc := c.Param(0), c.Local(wasm.V128)
	for i := range n {
		c.Get(acc, p).Load(wasm.V128Load32Splat, uint32(4*i)).Op(wasm.F32x4Add).Set(acc)
	}
}

func BenchmarkEncode(b *testing.B) {
	m := modelModule()
	b.SetBytes(int64(len(m.Encode())))
	b.ReportAllocs()
	for b.Loop() {
		m.Encode()
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, bin := range map[string][]byte{"model": modelModule().Encode(), "go": guest(b)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(bin)))
			b.ReportAllocs()
			for b.Loop() {
				mustDecode(b, bin)
			}
		})
	}
}

func BenchmarkFeatures(b *testing.B) {
	m, code := mustDecode(b, guest(b)), 0
	for i := range m.Funcs {
		code += len(m.Funcs[i].Body)
	}
	b.SetBytes(int64(code))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Features(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCustomSection(b *testing.B) {
	m := modelModule()
	m.AddCustom("isomer.manifest", make([]byte, 4000))
	bin := m.Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := wasm.CustomSection(bin, "isomer.manifest"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkCode counts a kernel of 2500 instructions as one operation.
func BenchmarkCode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		kernel(wasm.NewCode(wasm.I32), 500)
	}
}
