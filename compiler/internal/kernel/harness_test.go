package kernel

import (
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/isomer-iot/isomer/wasm"
)

// machine is one instance that holds a kernel and memory to run it on.
type machine struct {
	t    testing.TB
	mem  api.Memory
	run  api.Function
	next uint32
	end  uint32
}

func newMachine(t testing.TB, k Kernel, bytes int) *machine {
	t.Helper()
	m := &wasm.Module{}
	pages := uint32(bytes/65536 + 2)
	m.AddMemory(pages, pages)
	typ, code := New(k)
	m.Export("k", wasm.KindFunc, m.AddFunc(k.Name(), typ, code))
	m.Export("memory", wasm.KindMemory, 0)
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	t.Cleanup(func() { r.Close(ctx) })
	inst, err := r.Instantiate(ctx, m.Encode())
	if err != nil {
		t.Fatalf("%s does not load: %v", k.Name(), err)
	}
	return &machine{t: t, mem: inst.Memory(), run: inst.ExportedFunction("k"), next: 64, end: pages * 65536}
}

// put copies data into memory at a vector boundary and returns its address.
func (m *machine) put(data []float32) uint32 {
	at := (m.next + 15) &^ 15
	b := make([]byte, len(data)*4)
	for i, v := range data {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	if !m.mem.Write(at, b) {
		m.t.Fatalf("%d bytes at %d do not fit %d", len(b), at, m.end)
	}
	m.next = at + uint32(len(b)) + 16
	return at
}

func (m *machine) call(args ...uint32) {
	stack := make([]uint64, max(len(args), 1))
	for i, a := range args {
		stack[i] = uint64(a)
	}
	if err := m.run.CallWithStack(context.Background(), stack); err != nil {
		m.t.Fatal(err)
	}
}
