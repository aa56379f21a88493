// Package enginetest is the contract suite of the engine seam, and the small modules that it runs.
//
// Use Run in the tests of an engine to prove that it keeps the contract, and the guests wherever a
// test needs a module; never in a program.
//
// Compatibility: none, it follows package engine.
package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// Run checks everything that package engine promises against the engine that open makes. open is
// called once a test; the suite closes what it gets.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, e engine.Engine)
	}{
		{"RefusesWhatIsNoModule", testRefuses},
		{"RefusesCountsWithoutContent", testBombs},
		{"ListsFunctionsAndImports", testLists},
		{"CallsAndSharesMemory", testCalls},
		{"CallsWithoutAllocation", testAllocations},
		{"AbsentExports", testAbsent},
		{"Trap", testTrap},
		{"StackLimit", testStack},
		{"Deadline", testDeadline},
		{"Cancel", testCancel},
		{"MemoryCeiling", testMemoryCeiling},
		{"TableCeiling", testTableCeiling},
		{"LinkErrorListsAll", testLink},
		{"StartErrors", testStart},
		{"InstancesAreSeparate", testSeparate},
		{"InstancesInParallel", testParallel},
		{"SameBinaryTwice", testTwice},
		{"WASI", testWASI},
		{"WASIFiles", testWASIFiles},
		{"WASIGrants", testWASIGrants},
		{"WASICommand", testWASICommand},
		{"Host", testHost},
		{"HostError", testHostError},
		{"HostNesting", testHostNesting},
		{"HostMissing", testHostMissing},
		{"HostApart", testHostApart},
		{"HostStart", testHostStart},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close engine: %v", err)
				}
			})
			test.run(t, e)
		})
	}
}

// patience bounds a wait that only ends early: far beyond what a slow machine needs.
const patience = time.Minute

func compile(t testing.TB, e engine.Engine, bin []byte, cfg engine.CompileConfig) engine.Code {
	t.Helper()
	c, err := e.Compile(t.Context(), bin, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close code: %v", err)
		}
	})
	return c
}

func instantiate(t testing.TB, c engine.Code) engine.Instance {
	t.Helper()
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func start(t testing.TB, e engine.Engine, g Guest) engine.Instance {
	t.Helper()
	return instantiate(t, compile(t, e, g.Build(), engine.CompileConfig{}))
}

func testRefuses(t *testing.T, e engine.Engine) {
	bin := Guest{}.Build()
	damaged := slices.Clone(bin)
	damaged[len(damaged)/2] ^= 0xff
	for name, in := range map[string][]byte{
		"empty": nil, "text": []byte("hello, world"), "truncated": bin[:len(bin)/2], "magic alone": bin[:4],
		"type error": badlyTyped(), "damaged": damaged,
	} {
		c, err := e.Compile(t.Context(), in, engine.CompileConfig{})
		var ce *engine.CompileError
		if err == nil && name == "damaged" {
			_ = c.Close() // a flipped bit may leave a valid module
			continue
		}
		if !errors.As(err, &ce) {
			t.Errorf("%s: err = %v, want *CompileError", name, err)
		}
	}
}

// testBombs gives each section a count that its bytes do not hold: the error has to come before
// memory is allocated for it.
func testBombs(t *testing.T, e engine.Engine) {
	const header = "\x00asm\x01\x00\x00\x00"
	const most = "\xff\xff\xff\xff\x0f"
	bombs := map[string]string{
		"type": "\x01\x05" + most, "import": "\x02\x05" + most, "function": "\x03\x05" + most, "table": "\x04\x05" + most,
		"memory": "\x05\x05" + most, "global": "\x06\x05" + most, "export": "\x07\x05" + most, "element": "\x09\x05" + most,
		"code": "\x0a\x05" + most, "data": "\x0b\x05" + most, "data count": "\x0c\x05" + most,
		"parameters":  "\x01\x07\x01\x60" + most,
		"import name": "\x02\x06\x01" + most,
		"large table": "\x04\x08\x01\x70\x00" + most,
		"names":       "\x00\x0c\x04name\x01\x05" + most,
	}
	for name, section := range bombs {
		if c, err := e.Compile(t.Context(), []byte(header+section), engine.CompileConfig{}); err == nil {
			_ = c.Close()
			if name != "data count" { // a number that nothing is allocated for
				t.Errorf("%s: accepted", name)
			}
		}
	}
}

// testTableCeiling grows a table as far as it goes: 2³² entries would be 32 GiB of the host's memory.
func testTableCeiling(t *testing.T, e engine.Engine) {
	m := &wasm.Module{}
	m.Tables = append(m.Tables, wasm.TableType{Elem: wasm.FuncRef, Limits: wasm.Limits{Min: 1}})
	m.Export("grow", wasm.KindFunc, m.DeclareFunc("grow", wasm.FuncType{Params: []wasm.ValType{wasm.I32}, Results: []wasm.ValType{wasm.I32}}))
	m.Funcs[0].Body = []byte{0xd0, 0x70, 0x20, 0, 0xfc, 0x0f, 0, 0x0b} // table.grow(null, n)
	for _, cfg := range []engine.CompileConfig{{}, {Interruptible: true}} {
		grow := instantiate(t, compile(t, e, m.Encode(), cfg)).Func("grow")
		for _, step := range []struct{ n, want uint64 }{
			{math.MaxUint32, math.MaxUint32}, {engine.MaxTableEntries, math.MaxUint32}, {9, 1}, {engine.MaxTableEntries - 10, 10}, {1, math.MaxUint32},
		} {
			stack := []uint64{step.n}
			if err := grow.Call(t.Context(), stack); err != nil || stack[0] != step.want {
				t.Errorf("grow by %d: %d, %v, want %d", step.n, stack[0], err, step.want)
			}
		}
	}
}

func badlyTyped() []byte {
	m := &wasm.Module{}
	m.AddFunc("f", wasm.FuncType{Results: []wasm.ValType{wasm.I32}}, wasm.NewCode().F32(1))
	return m.Encode()
}

func testLists(t *testing.T, e engine.Engine) {
	c := compile(t, e, Guest{Imports: true}.Build(), engine.CompileConfig{})
	funcs := c.Funcs()
	if !slices.IsSortedFunc(funcs, func(a, b engine.FuncExport) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("not ordered: %v", funcs)
	}
	got := map[string]string{}
	for _, f := range funcs {
		got[f.Name] = f.Signature.String()
	}
	for name, want := range map[string]string{
		"echo": "(i32, i32) -> (i32)", "average": "(i32, i32, i32, i32) -> (i32)", "mul": "(f64, f64) -> (f64)", "run": "() -> ()",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	want := []engine.Import{{Module: "env", Name: "log", Kind: "func"}, {Module: "isomer", Name: "now", Kind: "func"}}
	if !slices.Equal(c.Imports(), want) {
		t.Errorf("imports = %v, want %v", c.Imports(), want)
	}
}

func testCalls(t *testing.T, e engine.Engine) {
	i := start(t, e, Guest{})
	stack := []uint64{math.Float64bits(6), math.Float64bits(7)}
	if err := i.Func("mul").Call(t.Context(), stack); err != nil || math.Float64frombits(stack[0]) != 42 {
		t.Errorf("mul = %v, %v", math.Float64frombits(stack[0]), err)
	}
	in, ok := i.Global(abi.InputGlobal(0))
	out, ok2 := i.Global(abi.OutputGlobal(0))
	if !ok || !ok2 || in != 1024 || out != 1040 {
		t.Fatalf("globals = %d %v, %d %v", in, ok, out, ok2)
	}
	binary.LittleEndian.PutUint32(i.Memory().Bytes()[in:], math.Float32bits(1.5))
	if err := i.Func("run").Call(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := math.Float32frombits(binary.LittleEndian.Uint32(i.Memory().Bytes()[out:])); got != 3 {
		t.Errorf("run: %v, want 3", got)
	}
	before, ok := i.Memory().Grow(3)
	if !ok || before != 2 || len(i.Memory().Bytes()) != 5*abi.PageSize {
		t.Errorf("grow: %d %v, now %d bytes", before, ok, len(i.Memory().Bytes()))
	}
}

func testAllocations(t *testing.T, e engine.Engine) {
	if strings.Contains(e.Name(), "interpreter") {
		t.Log("the interpreter allocates frames; the promise is for compiled code")
		return
	}
	i := start(t, e, Guest{})
	f, mem, ctx, stack := i.Func("sum64"), i.Memory(), t.Context(), make([]uint64, 2)
	n := testing.AllocsPerRun(100, func() {
		stack[0], stack[1] = 40, 2
		if err := f.Call(ctx, stack); err != nil || stack[0] != 42 || len(mem.Bytes()) == 0 {
			t.Fatalf("sum64 = %d, %v", stack[0], err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func testAbsent(t *testing.T, e engine.Engine) {
	i := start(t, e, Guest{})
	if f := i.Func("nobody"); f != nil {
		t.Errorf("Func = %v", f)
	}
	if _, ok := i.Global("nobody"); ok {
		t.Error("a global that is not there")
	}
	empty := instantiate(t, compile(t, e, (&wasm.Module{}).Encode(), engine.CompileConfig{}))
	if m := empty.Memory(); m != nil {
		t.Errorf("Memory = %v", m)
	}
	if err := errors.Join(empty.Close(), empty.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func testTrap(t *testing.T, e engine.Engine) {
	c := compile(t, e, Guest{}.Build(), engine.CompileConfig{})
	i := instantiate(t, c)
	err := i.Func("trap").Call(t.Context(), []uint64{0, 0})
	var trap *engine.TrapError
	if !errors.As(err, &trap) || trap.Func != "trap" || !strings.Contains(trap.Reason, "unreachable") || strings.Contains(trap.Reason, "\n") {
		t.Fatalf("err = %#v", err)
	}
	_ = i.Close()
	stack := []uint64{40, 2}
	if err := instantiate(t, c).Func("sum64").Call(t.Context(), stack); err != nil || stack[0] != 42 {
		t.Errorf("the next instance: %d, %v", stack[0], err)
	}
}

func wantLimit(t *testing.T, err error, want engine.Limit) {
	t.Helper()
	var limit *engine.LimitError
	if !errors.As(err, &limit) || limit.Limit != want {
		t.Errorf("err = %v, want the %s limit", err, want)
	}
}

func testStack(t *testing.T, e engine.Engine) {
	wantLimit(t, start(t, e, Guest{}).Func("recurse").Call(t.Context(), []uint64{0, 0}), engine.StackSz)
}

func testDeadline(t *testing.T, e engine.Engine) {
	i := instantiate(t, compile(t, e, Guest{}.Build(), engine.CompileConfig{Interruptible: true}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := i.Func("loop").Call(ctx, []uint64{0, 0})
	wantLimit(t, err, engine.Deadline)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not context.DeadlineExceeded", err)
	}
}

func testCancel(t *testing.T, e engine.Engine) {
	i := instantiate(t, compile(t, e, Guest{}.Build(), engine.CompileConfig{Interruptible: true}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	f := i.Func("loop")
	go func() { done <- f.Call(ctx, []uint64{0, 0}) }()
	cancel()
	select {
	case err := <-done:
		wantLimit(t, err, engine.Canceled)
	case <-time.After(patience):
		t.Fatal("the call goes on after its context was canceled")
	}
}

func testMemoryCeiling(t *testing.T, e engine.Engine) {
	bin := Guest{MinPages: 9}.Build()
	_, err := e.Compile(t.Context(), bin, engine.CompileConfig{MaxPages: 8})
	wantLimit(t, err, engine.MemorySz)
	i := instantiate(t, compile(t, e, bin, engine.CompileConfig{MaxPages: 20}))
	if _, ok := i.Memory().Grow(12); ok {
		t.Error("the host grew beyond the ceiling")
	}
	var trap *engine.TrapError
	if err := i.Func("exhaust").Call(t.Context(), []uint64{0, 0}); !errors.As(err, &trap) {
		t.Errorf("exhaust: %v, want a trap after memory.grow was refused", err)
	}
	if n := len(i.Memory().Bytes()); n > 20*abi.PageSize {
		t.Errorf("memory has %d bytes", n)
	}
}

func testLink(t *testing.T, e engine.Engine) {
	c := compile(t, e, Guest{Imports: true}.Build(), engine.CompileConfig{})
	_, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	var link *engine.LinkError
	if !errors.As(err, &link) || len(link.Missing) != 2 || !strings.Contains(err.Error(), "isomer.now") {
		t.Errorf("err = %v", err)
	}
}

func testStart(t *testing.T, e engine.Engine) {
	outside := &wasm.Module{}
	outside.AddMemory(1, 1)
	outside.AddData(abi.PageSize-1, []byte("too long"))
	for want, bin := range map[string][]byte{
		"start section":      Guest{Trap: "start"}.Build(),
		abi.ExportInitialize: Guest{Trap: abi.ExportInitialize}.Build(),
		"instantiation":      outside.Encode(),
	} {
		_, err := compile(t, e, bin, engine.CompileConfig{}).Instantiate(t.Context(), engine.InstanceConfig{})
		var se *engine.StartError
		if !errors.As(err, &se) || se.Func != want {
			t.Errorf("%s: err = %v", want, err)
		}
		var trap *engine.TrapError
		if want != "instantiation" && (!errors.As(err, &trap) || !strings.Contains(trap.Reason, "unreachable")) {
			t.Errorf("%s: %v has no trap", want, err)
		}
	}
}

func testSeparate(t *testing.T, e engine.Engine) {
	bin := Guest{}.Build()
	c := compile(t, e, bin, engine.CompileConfig{})
	clear(bin) // the caller's again
	a, b := instantiate(t, c), instantiate(t, c)
	a.Memory().Bytes()[countAt] = 7
	if got := b.Memory().Bytes()[countAt]; got != 0 {
		t.Errorf("an instance sees the other's memory: %d", got)
	}
}

func testParallel(t *testing.T, e engine.Engine) {
	c := compile(t, e, Guest{}.Build(), engine.CompileConfig{})
	var wg sync.WaitGroup
	for range 4 {
		i := instantiate(t, c)
		wg.Go(func() {
			f, stack := i.Func("sum64"), make([]uint64, 2)
			for n := range uint64(1000) {
				stack[0], stack[1] = n, n
				if err := f.Call(context.Background(), stack); err != nil || stack[0] != 2*n {
					t.Errorf("sum64(%d) = %d, %v", n, stack[0], err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testTwice(t *testing.T, e engine.Engine) {
	bin := Guest{}.Build()
	first, err := e.Compile(t.Context(), bin, engine.CompileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	second := instantiate(t, compile(t, e, bin, engine.CompileConfig{}))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	stack := []uint64{40, 2}
	if err := second.Func("sum64").Call(t.Context(), stack); err != nil || stack[0] != 42 {
		t.Errorf("after the other was closed: %d, %v", stack[0], err)
	}
}

func testWASI(t *testing.T, e engine.Engine) {
	c := compile(t, e, WASIGuest(), engine.CompileConfig{})
	_, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	var link *engine.LinkError
	if !errors.As(err, &link) || len(link.Missing) != 4 || !strings.Contains(err.Error(), "not granted") {
		t.Errorf("without a grant: %v", err)
	}
	const errnoBadFile = 8 // EBADF: there is no directory to ask for
	var seen [2][2]uint64
	for n := range seen {
		var stdout bytes.Buffer
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{WASI: &engine.WASI{Stdout: &stdout}})
		if err != nil {
			t.Fatal(err)
		}
		stack := make([]uint64, 1)
		if err := i.Func("hello").Call(t.Context(), stack); err != nil || stack[0] != errnoBadFile || stdout.String() != "hello" {
			t.Errorf("hello: errno %d, stdout %q, %v", stack[0], &stdout, err)
		}
		for k, name := range []string{"clock", "random"} {
			if err := i.Func(name).Call(t.Context(), stack); err != nil {
				t.Fatal(err)
			}
			seen[n][k] = stack[0]
		}
		_ = i.Close()
	}
	if seen[0] != seen[1] {
		t.Errorf("clock and random differ between instances: %v", seen)
	}
}
