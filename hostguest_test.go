package isomer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/wasm"
)

// hostImports are the host functions with the count of their i32 parameters, as docs/abi.md has them. That the
// modules link on every engine proves that the bridge has the same.
var hostImports = map[string]struct {
	params int
	i64    bool
}{
	"log.log": {3, false}, "clock.now": {0, true}, "clock.monotonic": {0, true}, "random.bytes": {2, false},
	"kv.get": {3, false}, "kv.set": {5, false}, "kv.delete": {3, false}, "kv.keys": {3, false},
	"http.fetch": {9, false}, "publish.publish": {5, false},
}

// Addresses in a hostGuest: where results lie, and where the heap begins, with the input as its first block.
const (
	hostRet  = 1024
	hostHeap = abi.PageSize
)

// hostGuest is a module that hands its callers the host functions: for each import a function of the same
// name whose input is the parameters, and whose answer is the whole memory afterwards.
type hostGuest struct {
	imports  []string
	manifest *abi.Manifest
	unknown  bool   // imports two functions that nobody provides
	evil     string // what cabi_realloc does inside a host function: "trap", "outside", "again"
	silent   bool   // answers nothing instead of its memory
}

func (g hostGuest) build() []byte {
	m := &wasm.Module{}
	i32, i64 := wasm.I32, wasm.I64
	index := map[string]uint32{}
	for _, name := range g.imports {
		h := hostImports[name]
		t := wasm.FuncType{Params: slices.Repeat([]wasm.ValType{i32}, h.params)}
		if h.i64 {
			t.Results = []wasm.ValType{i64}
		}
		iface, fn, _ := strings.Cut(name, ".")
		index[name] = m.ImportFunc("isomer:host/"+iface, fn, t)
	}
	if g.unknown {
		m.ImportFunc("isomer:host/kv", "format", wasm.FuncType{})
		m.ImportFunc("env", "abort", wasm.FuncType{})
	}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(2, 0))
	heap := m.AddGlobal(i32, true, wasm.ConstI32(hostHeap))
	inside := m.AddGlobal(i32, true, wasm.ConstI32(0))

	c := wasm.NewCode(i32, i32, i32, i32)
	at, want := c.Local(i32), c.Local(i32)
	c.GlobalGet(inside).If(func() {
		switch g.evil {
		case "trap":
			c.Unreachable()
		case "outside":
			c.I32(-16).Return()
		case "again":
			c.I32(1).I32(hostRet).Call(index["random.bytes"])
		}
	})
	c.GlobalGet(heap).Get(c.Param(2)).Op(wasm.I32Add).I32(1).Op(wasm.I32Sub).I32(0).Get(c.Param(2)).Op(wasm.I32Sub, wasm.I32And).Set(at)
	c.Get(at, c.Param(3)).Op(wasm.I32Add).GlobalSet(heap)
	c.GlobalGet(heap).I32(abi.PageSize - 1).Op(wasm.I32Add).I32(16).Op(wasm.I32ShrU).MemorySize().Op(wasm.I32Sub).Tee(want).I32(0).Op(wasm.I32GtS).If(func() {
		c.Get(want).MemoryGrow().I32(-1).Op(wasm.I32Eq).If(func() { c.Unreachable() })
	})
	c.Get(at)
	alloc := m.AddFunc("alloc", wasm.FuncType{Params: []wasm.ValType{i32, i32, i32, i32}, Results: []wasm.ValType{i32}}, c)
	m.Export(abi.ExportRealloc, wasm.KindFunc, alloc)
	for _, name := range g.imports {
		h := hostImports[name]
		c := wasm.NewCode(i32, i32)
		if h.i64 {
			c.I32(hostRet)
		}
		c.I32(1).GlobalSet(inside)
		for k := range h.params {
			c.Get(c.Param(0)).Load(wasm.I32Load, uint32(4*k))
		}
		c.Call(index[name])
		if h.i64 {
			c.Store(wasm.I64Store, 0)
		}
		c.I32(0).GlobalSet(inside)
		// {ok, 0, the heap's end}, and the heap begins anew
		c.I32(16).I32(0).Store(wasm.I32Store, 0).I32(16).I32(0).Store(wasm.I32Store, 4)
		if g.silent {
			c.I32(16).I32(0).Store(wasm.I32Store, 8)
		} else {
			c.I32(16).GlobalGet(heap).Store(wasm.I32Store, 8)
		}
		c.I32(hostHeap).GlobalSet(heap).I32(16)
		m.Export(name, wasm.KindFunc, m.AddFunc(name, wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}}, c))
	}
	if g.manifest != nil {
		payload, err := g.manifest.Encode()
		if err != nil {
			panic(err) // a mistake in the test that made it
		}
		m.AddCustom(abi.ManifestSection, payload)
	}
	return m.Encode()
}

// named is a manifest of the name with the permissions.
func named(name, version string, permissions ...string) *abi.Manifest {
	return &abi.Manifest{Name: name, Version: version, Permissions: permissions}
}

// pairs is a parameter of type list<tuple<string, string>>.
type pairs [][2]string

// reply is a hostGuest's memory after a host function.
type reply struct{ mem []byte }

// hostInput is the parameters in words, each a uint32, and behind them what they point at: text and pairs are
// two words, address and length.
func hostInput(params ...any) []byte {
	words := 0
	for _, p := range params {
		words++
		if _, ok := p.(uint32); !ok {
			words++
		}
	}
	var head, tail []byte
	u32 := func(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
	put := func(s string) (at uint32) {
		at = uint32(hostHeap + 4*words + len(tail))
		tail = append(tail, s...)
		for len(tail)%4 != 0 {
			tail = append(tail, 0)
		}
		return at
	}
	for _, p := range params {
		switch p := p.(type) {
		case uint32:
			head = u32(head, p)
		case string:
			head = u32(u32(head, put(p)), uint32(len(p)))
		case pairs:
			var list []byte
			for _, kv := range p {
				for _, s := range kv {
					list = u32(u32(list, put(s)), uint32(len(s)))
				}
			}
			head = u32(u32(head, put(string(list))), uint32(len(p)))
		default:
			panic("no such parameter")
		}
	}
	return append(head, tail...)
}

// lend calls a host function through the guest.
func lend(m *isomer.Module, fn string, params ...any) (reply, error) {
	out, err := m.Call(context.Background(), fn, hostInput(params...))
	return reply{out}, err
}

// mustLend is lend where no error is due.
func mustLend(t testing.TB, m *isomer.Module, fn string, params ...any) reply {
	t.Helper()
	r, err := lend(m, fn, params...)
	if err != nil {
		t.Fatalf("%s: %v", fn, err)
	}
	return r
}

func (r reply) u32(at uint32) uint32 { return binary.LittleEndian.Uint32(r.mem[at:]) }
func (r reply) u64(at uint32) uint64 { return binary.LittleEndian.Uint64(r.mem[at:]) }

// text is the string or list whose address and length are at the place.
func (r reply) text(at uint32) string {
	ptr, n := r.u32(at), r.u32(at+4)
	if n == 0 {
		return ""
	}
	return string(r.mem[ptr : ptr+n])
}

// err is the error of any of the results, nil for ok.
func (r reply) err() error {
	if r.mem[hostRet] == abi.TagOK {
		return nil
	}
	return errors.New(r.text(hostRet + 4))
}

func (r reply) strings() []string {
	var out []string
	at, n := r.u32(hostRet+4), r.u32(hostRet+8)
	for k := range n {
		out = append(out, r.text(at+8*k))
	}
	return out
}

// wantRefusal checks that the guest got an error that says so.
func wantRefusal(t testing.TB, what string, r reply, want string) {
	t.Helper()
	if err := r.err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want an error with %q", what, err, want)
	}
}

// onEngines runs f on the engine of the tests and on the interpreter.
func onEngines(t *testing.T, f func(t *testing.T, engine ...isomer.Option)) {
	t.Run("default", func(t *testing.T) { f(t) })
	t.Run("interpreter", func(t *testing.T) {
		e, err := wazero.New(wazero.WithInterpreter())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		f(t, isomer.WithEngine(e))
	})
}
