package wasm_test

import (
	"math"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

func decodeBody(t *testing.T, body []byte) []wasm.Instr {
	t.Helper()
	var list []wasm.Instr
	for in, err := range wasm.Instructions(body) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, in)
	}
	return list
}

// TestInstructions decodes every kind of immediate.
func TestInstructions(t *testing.T) {
	c := wasm.NewCode(wasm.I32)
	c.I32(-3).I64(math.MinInt64).F32(1).F64(-1).V128([16]byte{15: 9})
	c.Load(wasm.V128Load32Splat, 1<<31).LoadLane(wasm.V128Load16Lane, 300, 7).Access(wasm.I64Store, 1, 4)
	c.Shuffle([16]byte{31, 1}).Lane(wasm.F64x2ReplaceLane, 1)
	c.BlockOf(wasm.F32, func(out wasm.Label) {
		c.Loop(func(top wasm.Label) { c.BrTable(out, top, out).BrIf(top) })
	})
	c.CallIndirect(5, 2).MemoryCopy().MemoryInit(300).Tee(c.Param(0))
	c.Raw(byte(wasm.SelectT), 1, byte(wasm.F64), byte(wasm.RefNull), byte(wasm.ExternRef), 0xFE, 3, 0)
	c.Raw(byte(wasm.I32Load), 0x42, 1, 8) // of memory 1
	c.Raw(byte(wasm.If), 0x80, 0x01, byte(wasm.Else), end)
	m := &wasm.Module{}
	m.AddFunc("", sig("i"), c)

	got := decodeBody(t, m.Funcs[0].Body)
	want := []wasm.Instr{
		{Op: wasm.I32Const, Value: math.MaxUint64 - 2},
		{Op: wasm.I64Const, Value: 1 << 63},
		{Op: wasm.F32Const, Value: uint64(math.Float32bits(1))},
		{Op: wasm.F64Const, Value: math.Float64bits(-1)},
		{Op: wasm.V128Const, V128: [16]byte{15: 9}},
		{Op: wasm.V128Load32Splat, Align: 2, MemOffset: 1 << 31},
		{Op: wasm.V128Load16Lane, Align: 1, MemOffset: 300, Lane: 7},
		{Op: wasm.I64Store, Align: 1, MemOffset: 4},
		{Op: wasm.I8x16Shuffle, V128: [16]byte{31, 1}},
		{Op: wasm.F64x2ReplaceLane, Lane: 1},
		{Op: wasm.Block, Block: -3},
		{Op: wasm.Loop, Block: wasm.BlockEmpty},
		{Op: wasm.BrTable, Labels: []uint32{0, 1, 1}},
		{Op: wasm.BrIf},
		{Op: wasm.End},
		{Op: wasm.End},
		{Op: wasm.CallIndirect, Index: 5, Index2: 2},
		{Op: wasm.MemoryCopy},
		{Op: wasm.MemoryInit, Index: 300},
		{Op: wasm.LocalTee},
		{Op: wasm.SelectT, Types: []wasm.ValType{wasm.F64}},
		{Op: wasm.RefNull, Types: []wasm.ValType{wasm.ExternRef}},
		{Op: wasm.AtomicFence},
		{Op: wasm.I32Load, Align: 2, Memory: 1, MemOffset: 8},
		{Op: wasm.If, Block: 128},
		{Op: wasm.Else},
		{Op: wasm.End},
		{Op: wasm.End},
	}
	last := -1
	for i := range min(len(got), len(want)) {
		if got[i].Offset <= last {
			t.Errorf("%v stands at %d, behind %d", got[i].Op, got[i].Offset, last)
		}
		last = got[i].Offset
		if !sameInstr(got[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d instructions, want %d", len(got), len(want))
	}
	if result, ok := want[10].Block.Result(); !ok || result != wasm.F32 {
		t.Errorf("block of %v, %v", result, ok)
	}
	if index, ok := want[24].Block.TypeIndex(); !ok || index != 128 {
		t.Errorf("if of type %d, %v", index, ok)
	}
}

// sameInstr compares what is exported, but for the offset.
func sameInstr(a, b wasm.Instr) bool {
	return a.Op == b.Op && a.Index == b.Index && a.Index2 == b.Index2 && a.Align == b.Align &&
		a.MemOffset == b.MemOffset && a.Memory == b.Memory && a.Lane == b.Lane && a.Value == b.Value &&
		a.V128 == b.V128 && a.Block == b.Block && slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Types, b.Types)
}

func TestInstructionsStops(t *testing.T) {
	for in := range wasm.Instructions([]byte{byte(wasm.Nop), byte(wasm.Nop), end}) {
		if in.Offset > 0 {
			t.Fatal("goes on behind break")
		}
		break
	}
}

func TestFeatures(t *testing.T) {
	with := func(build func(m *wasm.Module, c *wasm.Code)) *wasm.Module {
		m, c := &wasm.Module{}, wasm.NewCode()
		build(m, c)
		m.AddFunc("f", wasm.FuncType{}, c)
		return m
	}
	raw := func(op wasm.Op, immediates ...byte) *wasm.Module {
		return with(func(_ *wasm.Module, c *wasm.Code) { c.Raw(wasm.AppendOp(nil, op)...).Raw(immediates...) })
	}
	for _, tc := range []struct {
		name string
		m    *wasm.Module
		want []string
	}{
		{"empty", &wasm.Module{}, nil},
		{"plain code", with(func(_ *wasm.Module, c *wasm.Code) { c.I32(1).MemoryGrow().Drop() }), nil},
		{"v128 local", with(func(_ *wasm.Module, c *wasm.Code) { c.Local(wasm.V128) }), []string{"simd128"}},
		{"simd", raw(wasm.F32x4Mul), []string{"simd128"}},
		{"relaxed simd", raw(wasm.F32x4RelaxedMadd), []string{"relaxed-simd"}},
		{"sign extension", raw(wasm.I32Extend8S), []string{"sign-ext"}},
		{"saturating truncation", raw(wasm.I64TruncSatF64U), []string{"nontrapping-fptoint"}},
		{"memory.copy", with(func(_ *wasm.Module, c *wasm.Code) { c.MemoryCopy() }), []string{"bulk-memory"}},
		{"table.grow", raw(wasm.TableGrow, 0), []string{"reference-types"}},
		{"tail call", raw(wasm.ReturnCall, 0), []string{"tail-call"}},
		{"atomics", raw(wasm.I32AtomicRmwAdd, 2, 0), []string{"threads"}},
		{"call_indirect of table 1", with(func(_ *wasm.Module, c *wasm.Code) { c.CallIndirect(0, 1) }), []string{"reference-types"}},
		{"results", with(func(m *wasm.Module, _ *wasm.Code) { m.AddType(sig("", wasm.I32, wasm.I32)) }), []string{"multi-value"}},
		{"typed block", raw(wasm.Block, 0, end), []string{"multi-value"}},
		{"second memory", with(func(m *wasm.Module, c *wasm.Code) { m.AddMemory(1, 1); m.AddMemory(1, 1) }), []string{"multi-memory"}},
		{"memory 0 written out", raw(wasm.I32Load, 0x42, 0, 0), []string{"multi-memory"}},
		{"passive data", with(func(m *wasm.Module, _ *wasm.Code) { m.AddPassiveData(nil) }), []string{"bulk-memory"}},
		{"mutable export", with(func(m *wasm.Module, _ *wasm.Code) {
			m.Export("g", wasm.KindGlobal, m.AddGlobal(wasm.I32, true, wasm.ConstI32(0)))
		}), []string{"mutable-globals"}},
		{"constant sum", with(func(m *wasm.Module, _ *wasm.Code) {
			m.AddGlobal(wasm.I32, false, wasm.ConstExpr{byte(wasm.I32Const), 1, byte(wasm.I32Const), 2, byte(wasm.I32Add), end})
		}), []string{"extended-const"}},
		{"vector constant", with(func(m *wasm.Module, _ *wasm.Code) { m.AddGlobal(wasm.V128, false, wasm.ConstV128([16]byte{})) }), []string{"simd128"}},
		{"rich", richModule(), []string{"bulk-memory", "multi-value", "reference-types", "simd128"}},
		{"go guest", mustDecode(t, guest(t)), []string{"bulk-memory", "nontrapping-fptoint", "sign-ext"}},
	} {
		if got, err := tc.m.Features(); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	if got, err := raw(0x06).Features(); err == nil || err.Error() != `function 0 "f": wasm: code section, offset 0x0: unknown instruction op(0x06)` {
		t.Errorf("unknown instruction: %v, %v", got, err)
	}
}
