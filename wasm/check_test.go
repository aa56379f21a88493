package wasm_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

func TestCheckAccepts(t *testing.T) {
	for name, m := range map[string]*wasm.Module{
		"go guest": mustDecode(t, guest(t)),
		"built":    scaleModule(),
		"rich":     richModule(),
		"every op": everyOp(),
	} {
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// everyOp has a function around each instruction whose operands the opcode table gives.
func everyOp() *wasm.Module {
	m := opModule()
	m.Elems = append(m.Elems, wasm.Elem{Flags: wasm.SegPassive, Type: wasm.FuncRef})
	for _, s := range wasm.AllOps() {
		if s.Typed {
			m.AddFunc(s.Op.String(), wasm.FuncType{Params: s.Params, Results: s.Results}, opFunction(s, true))
		}
	}
	return m
}

// TestCheckNamesPlace: the error leads to the instruction.
func TestCheckNamesPlace(t *testing.T) {
	for _, tc := range []struct {
		want  string
		build func(m *wasm.Module, c *wasm.Code)
	}{
		{`offset 0x3: f32x4.mul wants v128, has i32`, func(_ *wasm.Module, c *wasm.Code) { c.Get(c.Param(0)).Op(wasm.Nop, wasm.F32x4Mul) }},
		{`offset 0x5: f32.add wants f32, the stack is empty`, func(_ *wasm.Module, c *wasm.Code) { c.F32(0).Op(wasm.F32Add) }},
		{`offset 0x2: end leaves 1 values too many: (i32)`, func(_ *wasm.Module, c *wasm.Code) { c.I32(0) }},
		{`offset 0x0: drop wants a value, the stack is empty`, func(_ *wasm.Module, c *wasm.Code) { c.Drop() }},
		{`offset 0x0: call of function 9 of 1`, func(_ *wasm.Module, c *wasm.Code) { c.Call(9) }},
		{`offset 0x2: i32.load of memory 0 of 0`, func(_ *wasm.Module, c *wasm.Code) { c.I32(0).Load(wasm.I32Load, 0).Drop() }},
		{`offset 0x2: global.set of global 0, which is immutable`, func(m *wasm.Module, c *wasm.Code) {
			c.I32(0).GlobalSet(m.AddGlobal(wasm.I32, false, wasm.ConstI32(0)))
		}},
		{`offset 0x4: data.drop needs DataCount`, func(m *wasm.Module, c *wasm.Code) {
			m.AddPassiveData(nil)
			c.Op(wasm.Nop, wasm.Nop, wasm.Nop, wasm.Nop).Raw(wasm.AppendOp(nil, wasm.DataDrop)...).Raw(0)
		}},
		{`offset 0x4: end wants i32, the stack is empty`, func(_ *wasm.Module, c *wasm.Code) {
			c.BlockOf(wasm.I32, func(wasm.Label) { c.Op(wasm.Nop, wasm.Nop) }).Drop()
		}},
		{`unknown instruction op(0x06)`, func(_ *wasm.Module, c *wasm.Code) { c.Raw(6) }},
	} {
		m, c := &wasm.Module{}, wasm.NewCode(wasm.I32)
		tc.build(m, c)
		m.AddFunc("gemm_6x8", sig("i"), c)
		if err := m.Check(); err == nil || !strings.HasPrefix(err.Error(), `function 0 "gemm_6x8": `) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

func TestCheckConstants(t *testing.T) {
	get := wasm.ConstExpr{byte(wasm.GlobalGet), 7, end}
	for want, m := range map[string]*wasm.Module{
		"global 0: offset 0x5: end wants i32, has f32": {Globals: []wasm.Global{
			{GlobalType: wasm.GlobalType{Type: wasm.I32}, Init: wasm.ConstF32(1)}}},
		"data segment 0: offset 0x0: global.get of global 7 of 0": {Data: []wasm.Data{{Offset: get}}},
		"element segment 0: elements of type externref do not fit table 0": {
			Tables: []wasm.TableType{{Elem: wasm.FuncRef}},
			Elems:  []wasm.Elem{{Offset: wasm.ConstI32(0), Type: wasm.ExternRef, Flags: wasm.SegExprs | wasm.SegExplicit}}},
		`function 0 "": type 3 of 0`:              {Funcs: []wasm.Func{{Type: 3}}},
		`function 0 "": more than 50000 locals`:   {Types: []wasm.FuncType{{}}, Funcs: []wasm.Func{{Locals: []wasm.LocalGroup{{Count: 1 << 31, Type: wasm.I32}}}}},
		"data segment 0: wasm: code section, off": {Data: []wasm.Data{{}}},
	} {
		if err := m.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// checkModule surrounds a body with something of each kind, so that indices find it.
func checkModule(body []byte) *wasm.Module {
	m := &wasm.Module{}
	m.ImportFunc("env", "f", sig("i", wasm.I64))
	m.AddType(sig("", wasm.I32, wasm.F32))
	m.AddType(sig("Iv", wasm.V128))
	m.AddMemory(1, 1)
	m.AddTable(0)
	m.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	m.AddGlobal(wasm.V128, false, wasm.ConstV128([16]byte{}))
	m.AddPassiveData(nil)
	m.DataCount = true
	f := m.DeclareFunc("f", sig("iIfFv", wasm.I32))
	m.Export("f", wasm.KindFunc, f)
	m.Funcs[0].Body = body
	m.Funcs[0].Locals = []wasm.LocalGroup{{Count: 1, Type: wasm.FuncRef}, {Count: 1, Type: wasm.I32}}
	return m
}

// FuzzCheck: Check and the engine agree on which bodies are valid.
func FuzzCheck(f *testing.F) {
	seeds := 0
	add := func(body []byte) {
		f.Add(body)
		seeds++
	}
	for _, s := range wasm.AllOps() {
		var body []byte
		for _, p := range s.Params {
			local := slices.Index([]wasm.ValType{wasm.I32, wasm.I64, wasm.F32, wasm.F64, wasm.V128}, p)
			body = append(body, byte(wasm.LocalGet), byte(local))
		}
		body = append(append(wasm.AppendOp(body, s.Op), s.Immediates...), bytesOf(wasm.Drop, len(s.Results))...)
		add(append(body, byte(wasm.I32Const), 1, end))
		add(append(body, byte(wasm.Unreachable), end))
	}
	for _, body := range [][]byte{
		{byte(wasm.Unreachable), byte(wasm.Select), end},
		{byte(wasm.Unreachable), byte(wasm.RefIsNull), end},
		{byte(wasm.I32Const), 0, byte(wasm.Block), 0, byte(wasm.Br), 1, end, byte(wasm.Drop), end},
		{byte(wasm.I32Const), 0, byte(wasm.If), 0x7F, byte(wasm.I32Const), 1, byte(wasm.Else), byte(wasm.Unreachable), end, end},
		{byte(wasm.I32Const), 0, byte(wasm.If), 0x7F, byte(wasm.I32Const), 1, end, end},
		{byte(wasm.LocalGet), 5, byte(wasm.RefIsNull), end},
		{byte(wasm.LocalGet), 5, byte(wasm.LocalGet), 5, byte(wasm.LocalGet), 0, byte(wasm.SelectT), 1, 0x70, byte(wasm.RefIsNull), end},
		{byte(wasm.LocalGet), 0, byte(wasm.LocalGet), 0, byte(wasm.BrTable), 2, 0, 0, 0, end},
		{byte(wasm.Block), 1, byte(wasm.I32Const), 0, byte(wasm.F32Const), 0, 0, 0, 0, byte(wasm.LocalGet), 0, byte(wasm.BrIf), 0, end, byte(wasm.Drop), end},
		{byte(wasm.LocalGet), 1, byte(wasm.LocalGet), 4, byte(wasm.Loop), 2, byte(wasm.Br), 0, end, byte(wasm.Unreachable), end},
		{byte(wasm.LocalGet), 0, byte(wasm.LocalGet), 0, byte(wasm.CallIndirect), 0, 0, byte(wasm.I32WrapI64), end},
		{byte(wasm.LocalGet), 0, byte(wasm.Call), 0, byte(wasm.I32WrapI64), byte(wasm.Return), end},
		{byte(wasm.LocalGet), 5, byte(wasm.LocalGet), 0, 0xFC, 15, 0, end},
	} {
		add(body)
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	f.Cleanup(func() { rt.Close(ctx) })
	f.Fuzz(func(t *testing.T, body []byte) {
		m := checkModule(body)
		if features, err := m.Features(); err != nil || slices.ContainsFunc(features, func(name string) bool {
			return name == wasm.FeatureRelaxedSIMD || name == wasm.FeatureThreads || name == wasm.FeatureTailCall || name == wasm.FeatureMultiMemory
		}) {
			return // not switched on, or not known to the engine
		}
		for in := range wasm.Instructions(body) {
			if !bytes.HasPrefix(body[in.Offset:], wasm.AppendOp(nil, in.Op)) {
				return // a padded opcode, which is allowed and which the engine does not read
			}
			if in.Op == wasm.SelectT {
				return // the engine does not compare references with the type in the instruction
			}
		}
		compiled, engine := rt.CompileModule(ctx, m.Encode())
		if engine == nil {
			compiled.Close(ctx)
		}
		if engine != nil && strings.Contains(engine.Error(), "reserved byte") {
			return // a padded memory index
		}
		if err := m.Check(); (err == nil) != (engine == nil) {
			t.Errorf("%x: check says %v, the engine %v", body, err, engine)
		}
	})
}

func bytesOf(op wasm.Op, n int) []byte { return slices.Repeat([]byte{byte(op)}, n) }
