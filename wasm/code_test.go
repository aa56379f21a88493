package wasm_test

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/wasm"
)

func sig(params string, results ...wasm.ValType) wasm.FuncType {
	types := map[rune]wasm.ValType{'i': wasm.I32, 'I': wasm.I64, 'f': wasm.F32, 'F': wasm.F64, 'v': wasm.V128}
	t := wasm.FuncType{Results: results}
	for _, p := range params {
		t.Params = append(t.Params, types[p])
	}
	return t
}

// TestCodeRuns runs a function for each way to build control flow, constants and accesses.
func TestCodeRuns(t *testing.T) {
	const i32, i64 = wasm.I32, wasm.I64
	f32 := func(v float32) uint64 { return uint64(math.Float32bits(v)) }
	neg := func(v int32) uint64 { return uint64(uint32(v)) }
	for _, tc := range []struct {
		name  string
		sig   wasm.FuncType
		build func(c *wasm.Code)
		args  []uint64
		want  uint64
	}{
		{"i32.const", sig("", i32), func(c *wasm.Code) { c.I32(math.MinInt32) }, nil, neg(math.MinInt32)},
		{"i32.const -65", sig("", i32), func(c *wasm.Code) { c.I32(-65) }, nil, neg(-65)},
		{"i64.const", sig("", i64), func(c *wasm.Code) { c.I64(math.MaxInt64) }, nil, math.MaxInt64},
		{"f32.const", sig("", wasm.F32), func(c *wasm.Code) { c.F32(-1.5) }, nil, f32(-1.5)},
		{"f64.const", sig("", wasm.F64), func(c *wasm.Code) { c.F64(1e300) }, nil, math.Float64bits(1e300)},
		{"v128.const", sig("", i32), func(c *wasm.Code) {
			c.V128([16]byte{4: 1, 5: 2}).Lane(wasm.I32x4ExtractLane, 1)
		}, nil, 0x201},
		{"F32x4", sig("", wasm.F32), func(c *wasm.Code) {
			c.F32x4(1, 2, 3, 4).F32(7).Lane(wasm.F32x4ReplaceLane, 0).Lane(wasm.F32x4ExtractLane, 3)
		}, nil, f32(4)},
		{"shuffle", sig("", i32), func(c *wasm.Code) {
			c.I32x4(1, 2, 3, 4).I32x4(5, 6, 7, 8)
			c.Shuffle([16]byte{28, 29, 30, 31, 4, 5, 6, 7}).Lane(wasm.I32x4ExtractLane, 0)
		}, nil, 8},
		{"sum by loop", sig("i", i32), func(c *wasm.Code) {
			n, sum := c.Param(0), c.Local(i32)
			c.Block(func(out wasm.Label) {
				c.Loop(func(top wasm.Label) {
					c.Get(n).Op(wasm.I32Eqz).BrIf(out)
					c.Get(sum, n).Op(wasm.I32Add).Set(sum).Inc(n, -1).Br(top)
				})
			}).Get(sum)
		}, []uint64{10}, 55},
		{"range", sig("", i32), func(c *wasm.Code) {
			i, sum := c.Local(i32), c.Local(i32)
			c.Range(i, 2, 11, 3, func() { c.Get(sum, i).Op(wasm.I32Add).Set(sum) })
			c.Range(i, 5, 5, 1, func() { c.Unreachable() })
			c.Range(i, 3, 0, -1, func() { c.Inc(sum, 100) })
			c.Get(sum, i).Op(wasm.I32Add)
		}, nil, 2 + 5 + 8 + 300},
		{"branch out of nested blocks", sig("", i32), func(c *wasm.Code) {
			c.BlockOf(i32, func(out wasm.Label) {
				c.Block(func(wasm.Label) {
					c.Loop(func(wasm.Label) { c.I32(1).If(func() { c.I32(42).Br(out) }) })
				}).I32(7)
			})
		}, nil, 42},
		{"if else", sig("i", i32), func(c *wasm.Code) {
			c.Get(c.Param(0)).IfElseOf(i32, func() { c.I32(1) }, func() { c.I32(2) })
		}, []uint64{0}, 2},
		{"if else without result", sig("i", i32), func(c *wasm.Code) {
			l := c.Local(i32)
			c.Get(c.Param(0)).IfElse(func() { c.I32(1).Set(l) }, func() { c.I32(2).Set(l) }).Get(l)
		}, []uint64{5}, 1},
		{"loop with result", sig("", i32), func(c *wasm.Code) {
			l := c.Local(i32)
			c.LoopOf(i32, func(top wasm.Label) {
				c.Inc(l, 1).Get(l).I32(9).Op(wasm.I32LtS).BrIf(top).Get(l)
			})
		}, nil, 9},
		{"br_table", sig("i", i32), func(c *wasm.Code) {
			c.Block(func(otherwise wasm.Label) {
				c.Block(func(one wasm.Label) {
					c.Block(func(zero wasm.Label) {
						c.Get(c.Param(0)).BrTable(otherwise, zero, one)
					}).I32(10).Return()
				}).I32(11).Return()
			}).I32(12)
		}, []uint64{1}, 11},
		{"select, drop, nop", sig("i", i32), func(c *wasm.Code) {
			c.I32(1).I32(2).Get(c.Param(0)).Select().I32(9).Drop().Op(wasm.Nop)
		}, []uint64{0}, 2},
		{"memory", sig("", i32), func(c *wasm.Code) {
			c.I32(100).I32(0x55).I32(8).MemoryFill()
			c.I32(200).I32(100).I32(8).MemoryCopy()
			c.I32(0).I64(1).Store(wasm.I64Store8, 201)
			c.I32(1).Load(wasm.I32Load16U, 200)
		}, nil, 0x5501},
		{"access with own alignment", sig("", i32), func(c *wasm.Code) {
			c.I32(3).I32(-2).Access(wasm.I32Store, 0, 300).I32(3).Access(wasm.I32Load, 0, 300)
		}, nil, neg(-2)},
		{"lanes of memory", sig("", i32), func(c *wasm.Code) {
			v := c.Local(wasm.V128)
			c.I32(400).I32(0x01020304).Store(wasm.I32Store, 0)
			c.I32(400).I32x4(0, 0, 0, 0).LoadLane(wasm.V128Load8Lane, 1, 15).Set(v)
			c.I32(402).Get(v).StoreLane(wasm.V128Store32Lane, 2, 3)
			c.I32(404).Load(wasm.I32Load, 0)
		}, nil, 0x03000000},
		{"splat load", sig("", i32), func(c *wasm.Code) {
			c.I32(500).I32(6).Store(wasm.I32Store, 0).I32(500).Load(wasm.V128Load32Splat, 0)
			c.I32(500).Load(wasm.V128Load32Zero, 0).Op(wasm.I32x4Add).Tee(c.Local(wasm.V128)).Lane(wasm.I32x4ExtractLane, 0)
		}, nil, 12},
		{"memory size and grow", sig("", i32), func(c *wasm.Code) {
			c.MemorySize().I32(1).MemoryGrow().Op(wasm.I32Add).MemorySize().Op(wasm.I32Add)
		}, nil, 1 + 1 + 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &wasm.Module{}
			m.AddMemory(1, 0)
			c := wasm.NewCode(tc.sig.Params...)
			tc.build(c)
			m.Export("f", wasm.KindFunc, m.AddFunc("f", tc.sig, c))
			bin := m.Encode()
			if got := call(t, load(t, bin), "f", tc.args...); got[0] != tc.want {
				t.Errorf("got %#x, want %#x", got[0], tc.want)
			}
			if again := mustDecode(t, bin).Encode(); !bytes.Equal(again, bin) {
				t.Errorf("another binary from 0x%x on", firstDifference(again, bin))
			}
		})
	}
}

// TestModuleRuns builds a module whose functions call each other, directly and through a table, and use
// globals and a passive segment.
func TestModuleRuns(t *testing.T) {
	m := &wasm.Module{}
	unary := sig("i", wasm.I32)
	calls := m.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	odd := m.DeclareFunc("odd", unary)
	parity := func(other uint32, atZero int32) *wasm.Code {
		c := wasm.NewCode(wasm.I32)
		n := c.Param(0)
		c.GlobalGet(calls).I32(1).Op(wasm.I32Add).GlobalSet(calls)
		return c.Get(n).IfElseOf(wasm.I32, func() { c.Get(n).I32(1).Op(wasm.I32Sub).Call(other) }, func() { c.I32(atZero) })
	}
	even := m.AddFunc("even", unary, parity(odd, 1))
	m.DefineFunc(odd, parity(even, 0))
	table := m.AddTable(even, odd)
	m.AddMemory(1, 1)
	segment := m.AddPassiveData([]byte{7, 8, 9})

	c := wasm.NewCode(wasm.I32, wasm.I32)
	c.Get(c.Param(1), c.Param(0)).CallIndirect(m.AddType(unary), table)
	m.Export("parity", wasm.KindFunc, m.AddFunc("parity", sig("ii", wasm.I32), c))
	c = wasm.NewCode()
	c.I32(16).I32(1).I32(2).MemoryInit(segment).DataDrop(segment).I32(16).Load(wasm.I32Load16U, 0)
	m.Export("init", wasm.KindFunc, m.AddFunc("init", sig("", wasm.I32), c))
	m.Export("calls", wasm.KindGlobal, calls)

	mod := load(t, m.Encode())
	for n := range uint64(5) {
		if got := call(t, mod, "parity", 0, n)[0]; got != 1-n%2 {
			t.Errorf("even(%d) is %d", n, got)
		}
		if got := call(t, mod, "parity", 1, n)[0]; got != n%2 {
			t.Errorf("odd(%d) is %d", n, got)
		}
	}
	if got := mod.ExportedGlobal("calls").Get(); got != 30 {
		t.Errorf("%d calls, want 30", got)
	}
	if got := call(t, mod, "init")[0]; got != 0x0908 {
		t.Errorf("init gives %#x", got)
	}
}

// TestTrapNamesFunction: names given to AddFunc reach the engine's stack trace.
func TestTrapNamesFunction(t *testing.T) {
	m := &wasm.Module{}
	m.SetName("trapper")
	m.Export("f", wasm.KindFunc, m.AddFunc("conv_3x3", wasm.FuncType{}, wasm.NewCode().Unreachable()))
	_, err := load(t, m.Encode()).ExportedFunction("f").Call(context.Background())
	if err == nil || !strings.Contains(err.Error(), "conv_3x3") {
		t.Errorf("the trap says %v", err)
	}
}

func TestLocalsAreGrouped(t *testing.T) {
	m := &wasm.Module{}
	c := wasm.NewCode(wasm.F32)
	acc := c.Locals(wasm.V128, 8)
	i := c.Local(wasm.I32)
	if acc[0] != 1 || i != 9 {
		t.Errorf("locals %v and %v, want them to start at 1 and follow", acc, i)
	}
	m.AddFunc("", sig("f"), c)
	if want := []wasm.LocalGroup{{Count: 8, Type: wasm.V128}, {Count: 1, Type: wasm.I32}}; len(m.Funcs[0].Locals) != 2 ||
		m.Funcs[0].Locals[0] != want[0] || m.Funcs[0].Locals[1] != want[1] {
		t.Errorf("groups %v, want %v", m.Funcs[0].Locals, want)
	}
}

func TestBuilderPanics(t *testing.T) {
	var stale wasm.Label
	wasm.NewCode().Block(func(out wasm.Label) { stale = out })
	for name, build := range map[string]func(){
		"wasm: i32.load needs its own method":     func() { wasm.NewCode().Op(wasm.I32Load) },
		"wasm: end needs its own method":          func() { wasm.NewCode().Op(wasm.End) },
		"wasm: Load of v128.store":                func() { wasm.NewCode().Load(wasm.V128Store, 0) },
		"wasm: Store of i32.add":                  func() { wasm.NewCode().Store(wasm.I32Add, 0) },
		"wasm: LoadLane of v128.load":             func() { wasm.NewCode().LoadLane(wasm.V128Load, 0, 0) },
		"wasm: lane 4 of v128.store32_lane":       func() { wasm.NewCode().StoreLane(wasm.V128Store32Lane, 0, 4) },
		"wasm: lane 2 of f64x2.extract_lane":      func() { wasm.NewCode().Lane(wasm.F64x2ExtractLane, 2) },
		"wasm: lane 0 of i32.add":                 func() { wasm.NewCode().Lane(wasm.I32Add, 0) },
		"wasm: shuffle lane 32":                   func() { wasm.NewCode().Shuffle([16]byte{32}) },
		"wasm: local 1 of 1":                      func() { wasm.NewCode(wasm.I32).Get(1) },
		"wasm: parameter 1 of 1":                  func() { wasm.NewCode(wasm.I32).Param(1) },
		"wasm: branch to a label outside":         func() { wasm.NewCode().Block(func(wasm.Label) { wasm.NewCode().Br(stale) }) },
		"wasm: function 0 has parameters (), its": func() { new(wasm.Module).AddFunc("", wasm.FuncType{}, wasm.NewCode(wasm.I32)) },
		"wasm: import env.f after functions": func() {
			m := new(wasm.Module)
			m.AddFunc("", wasm.FuncType{}, wasm.NewCode())
			m.ImportFunc("env", "f", wasm.FuncType{})
		},
		"wasm: function 3 is not declared": func() { new(wasm.Module).DefineFunc(3, wasm.NewCode()) },
		"wasm: Range with step 0":          func() { c := wasm.NewCode(); c.Range(c.Local(wasm.I32), 0, 1, 0, func() {}) },
		"wasm: access by i32.load aligned": func() { wasm.NewCode().Access(wasm.I32Load, 3, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.HasPrefix(r.(string), name) {
					t.Errorf("panic %v", r)
				}
			}()
			build()
		})
	}
	c := wasm.NewCode()
	c.Block(func(wasm.Label) { c.Block(func(out wasm.Label) { stale = out }) })
	defer func() {
		if recover() == nil {
			t.Error("no panic for a label of an earlier block of the same level")
		}
	}()
	c.Block(func(wasm.Label) { c.Block(func(wasm.Label) { c.Br(stale) }) })
}
