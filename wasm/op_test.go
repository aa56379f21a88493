package wasm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
	"github.com/tetratelabs/wazero"
)

// opFunction is a function with the operands of an instruction as parameters, pushed if push is set.
func opFunction(s wasm.OpShape, push bool) *wasm.Code {
	c := wasm.NewCode(s.Params...)
	for i := range s.Params {
		if push {
			c.Get(c.Param(i))
		}
	}
	return c.Raw(wasm.AppendOp(nil, s.Op)...).Raw(s.Immediates...)
}

// engineNames are names that the engine writes differently.
var engineNames = map[wasm.Op]string{
	wasm.F32ConvertI64U: "f32.convert_i64u",
	wasm.I8x16Shuffle:   "v128.shuffle",
	wasm.I8x16SubSatS:   "i8x16.sub_s",
	wasm.I8x16SubSatU:   "i8x16.sub_u",
	wasm.I64x2LtS:       "i64x2.lt",
	wasm.I64x2GtS:       "i64x2.gt",
	wasm.I64x2LeS:       "i64x2.le",
	wasm.I64x2GeS:       "i64x2.ge",
	wasm.Else:           "else instruction",
	wasm.Select:         "3rd select operand",
	wasm.SelectT:        "3rd select operand",
	wasm.GlobalSet:      "function[0]: i32 missing",
}

// silent are instructions whose engine errors have no name in them; other tests run them.
var silent = []wasm.Op{
	wasm.Unreachable, wasm.Nop, wasm.Block, wasm.Loop, wasm.End, wasm.Br, wasm.Return, wasm.Call, wasm.ReturnCall,
	wasm.GlobalGet, wasm.I32Const, wasm.I64Const, wasm.F32Const, wasm.F64Const, wasm.V128Const,
	wasm.ElemDrop, wasm.TableSize, wasm.AtomicFence, wasm.DataDrop,
}

// TestOpNames compares the opcode table with the engine's own: without operands, or without a memory,
// the engine refuses an instruction and says its name.
func TestOpNames(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	defer rt.Close(ctx)
	for _, s := range wasm.AllOps() {
		name, ok := engineNames[s.Op]
		if !ok {
			name = s.Op.String()
		}
		if s.Op.Feature() == wasm.FeatureRelaxedSIMD || slices.Contains(silent, s.Op) {
			continue
		}
		m := opModule()
		m.AddFunc("", wasm.FuncType{Params: s.Params, Results: s.Results}, opFunction(s, false))
		_, err := rt.CompileModule(ctx, m.Encode())
		m.Memories = nil
		_, withoutMemory := rt.CompileModule(ctx, m.Encode())
		if text := fmt.Sprintln(err, withoutMemory); !containsWord(text, name) {
			t.Errorf("%v: the engine says %s", s.Op, text)
		}
	}
}

// containsWord says whether name is in text and does not go on behind.
func containsWord(text, name string) bool {
	for {
		i := strings.Index(text, name)
		if i < 0 {
			return false
		}
		text = text[i+len(name):]
		if text == "" || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_.", rune(text[0])) {
			return true
		}
	}
}

// TestOpTypes compiles a function around each instruction whose operands are in the table.
func TestOpTypes(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	defer rt.Close(ctx)
	m, simd := opModule(), 0
	for _, s := range wasm.AllOps() {
		if !s.Typed || s.Op.Feature() == wasm.FeatureRelaxedSIMD {
			continue
		}
		if s.Op.Feature() == wasm.FeatureSIMD {
			simd++
		}
		m.AddFunc(s.Op.String(), wasm.FuncType{Params: s.Params, Results: s.Results}, opFunction(s, true))
	}
	if simd != 236 {
		t.Errorf("%d SIMD instructions, want 236", simd)
	}
	if _, err := rt.CompileModule(ctx, m.Encode()); err != nil {
		t.Fatal(err)
	}
}

func TestOpNamesAreUnique(t *testing.T) {
	seen := map[string]wasm.Op{}
	for _, s := range wasm.AllOps() {
		if other, ok := seen[s.Op.String()]; ok {
			t.Errorf("0x%x and 0x%x are both %v", uint32(other), uint32(s.Op), s.Op)
		}
		seen[s.Op.String()] = s.Op
		if !s.Op.Known() {
			t.Errorf("0x%x is not known", uint32(s.Op))
		}
	}
	for op, want := range map[wasm.Op]string{0x06: "op(0x06)", 0xFD<<16 | 0x9A: "op(0xfd 0x9a)"} {
		if op.Known() || op.String() != want {
			t.Errorf("op 0x%x is %v, known %v", uint32(op), op, op.Known())
		}
	}
}

// opModule has what instructions refer to by index 0: a memory, a table, segments, a global, a type.
func opModule() *wasm.Module {
	m := &wasm.Module{}
	m.AddType(wasm.FuncType{})
	m.Memories = append(m.Memories, wasm.Limits{Min: 1, Max: 1, HasMax: true, Shared: true})
	m.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	m.AddTable()
	m.AddPassiveData(nil)
	m.DataCount = true
	return m
}

// TestOpAlignment: the natural alignment is the largest that the engine takes.
func TestOpAlignment(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	defer rt.Close(ctx)
	accesses := 0
	for _, s := range wasm.AllOps() {
		if !s.Memory {
			continue
		}
		accesses++
		s.Immediates[0]++
		m := opModule()
		m.AddFunc("", wasm.FuncType{Params: s.Params, Results: s.Results}, opFunction(s, true))
		if _, err := rt.CompileModule(ctx, m.Encode()); err == nil || !strings.Contains(err.Error(), "align") {
			t.Errorf("%v aligned to 2^%d: %v", s.Op, s.Immediates[0], err)
		}
	}
	if want := 14 + 9 + 22 + 3 + 63; accesses != want {
		t.Errorf("%d instructions access memory, want %d", accesses, want)
	}
}

// TestOpLanes: one lane more than the builder allows is refused by the engine, too.
func TestOpLanes(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, runtimeConfig())
	defer rt.Close(ctx)
	for _, s := range wasm.AllOps() {
		if s.Lanes == 0 {
			continue
		}
		for extra := range byte(2) {
			s.Immediates[len(s.Immediates)-1] = s.Lanes - 1 + extra
			m := opModule()
			m.AddFunc("", wasm.FuncType{Params: s.Params, Results: s.Results}, opFunction(s, true))
			_, err := rt.CompileModule(ctx, m.Encode())
			if refused := err != nil && strings.Contains(err.Error(), "lane"); refused != (extra == 1) {
				t.Errorf("%v, lane %d: %v", s.Op, s.Lanes-1+extra, err)
			}
		}
	}
}
