package wasm_test

import (
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// A function that adds n vectors of four floats at ptr, read back as a module.
func Example() {
	m := &wasm.Module{}
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 1))

	c := wasm.NewCode(wasm.I32, wasm.I32)
	ptr, n, sum := c.Param(0), c.Param(1), c.Local(wasm.V128)
	c.Loop(func(top wasm.Label) {
		c.Get(sum, ptr).Load(wasm.V128Load, 0).Op(wasm.F32x4Add).Set(sum)
		c.Inc(ptr, 16)
		c.Get(n).I32(1).Op(wasm.I32Sub).Tee(n).BrIf(top)
	}).Get(sum).Lane(wasm.F32x4ExtractLane, 0)

	t := wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.F32}}
	m.Export("sum", wasm.KindFunc, m.AddFunc("sum", t, c))
	if err := m.Check(); err != nil {
		fmt.Println(err)
	}

	read, err := wasm.Decode(m.Encode())
	if err != nil {
		fmt.Println(err)
	}
	x, _ := read.Exported("sum")
	signature, _ := read.FuncType(x.Index)
	features, _ := read.Features()
	fmt.Println(x.Name, signature, features)
	for in, err := range wasm.Instructions(read.Funcs[0].Body) {
		if err == nil && in.Op.Feature() != "" {
			fmt.Println(in.Op)
		}
	}
	// Output:
	// sum (i32 i32) -> f32 [simd128]
	// v128.load
	// f32x4.add
	// f32x4.extract_lane
}
