package wazero_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// greedy exports "eat", which grows its memory by 4 MiB at a time up to the ceiling, writes into all of it, and traps where it
// is told to. As a start section it traps always.
func greedy(start bool) []byte {
	m := &wasm.Module{}
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 0))
	c := wasm.NewCode(wasm.I32)
	c.Loop(func(top wasm.Label) { c.I32(64).MemoryGrow().I32(-1).Op(wasm.I32Ne).BrIf(top) })
	c.I32(0).I32(1).MemorySize().I32(16).Op(wasm.I32Shl).MemoryFill()
	c.Get(c.Param(0)).If(func() { c.Unreachable() })
	eat := m.AddFunc("", wasm.FuncType{Params: []wasm.ValType{wasm.I32}}, c)
	m.Export("eat", wasm.KindFunc, eat)
	if start {
		f := m.AddFunc("", wasm.FuncType{}, wasm.NewCode().I32(1).Call(eat))
		m.Start = &f
	}
	return m.Encode()
}

func residentMiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kb int
	for line := range strings.Lines(string(b)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// A guest may have its ceiling and no more, and what it had is the machine's again when it is closed. As slices of Go's
// heap 256 MiB took 1.1 GB, of which an idle process gave nothing back for minutes.
func TestMemoryIsGivenBack(t *testing.T) {
	e := open(t)
	defer e.Close()
	c, err := e.Compile(t.Context(), greedy(false), engine.CompileConfig{MaxPages: 4096, Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := residentMiB(t)
	for trap := range uint64(3) {
		i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Func("eat").Call(t.Context(), []uint64{trap}); (err != nil) != (trap > 0) {
			t.Fatalf("trap %d: %v", trap, err)
		}
		if got := residentMiB(t) - before; got < 200 || got > 256+64 {
			t.Errorf("a guest with 256 MiB costs %d MiB", got)
		}
		mem := i.Memory()
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if got := residentMiB(t) - before; got > 64 {
			t.Errorf("%d MiB are left of a guest that is closed", got)
		}
		if _, ok := mem.Grow(1); ok || mem.Bytes() != nil {
			t.Error("memory of a closed instance is still there")
		}
	}
}

func TestMemoryOfAFailedStartIsGivenBack(t *testing.T) {
	e := open(t)
	defer e.Close()
	c, err := e.Compile(t.Context(), greedy(true), engine.CompileConfig{MaxPages: 4096, Interruptible: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := residentMiB(t)
	for range 3 {
		if i, err := c.Instantiate(t.Context(), engine.InstanceConfig{}); err == nil {
			_ = i.Close()
			t.Fatal("a start that traps is no error")
		}
	}
	if got := residentMiB(t) - before; got > 64 {
		t.Errorf("%d MiB are left of starts that failed", got)
	}
}
