package isomer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/wasm"
)

// attack is one thing that a hostile module does when it is called, and what that may cost: one error.
type attack struct {
	fn    string
	limit engine.Limit // "" : a *TrapError
	calls int          // unless ISOMER_HOSTILE says how many: together 10 s on a busy machine
}

// attacks are the functions of hostileGuest.
var attacks = []attack{
	{"unreachable", "", 200},
	{"record_outside", "", 200},
	{"output_outside", "", 200},
	{"output_too_long", "", 200},
	{"divide", "", 200},
	{"no_such_element", "", 200},
	{"grow_table", "", 20},
	{"grow_memory", "", 200},
	{"spin", engine.Deadline, 30},
	{"spin_in_calls", engine.Deadline, 30},
	{"fan_out", engine.Deadline, 30},
	{"fill", engine.Deadline, 30},
	{"copy", engine.Deadline, 30},
	{"fill_table", engine.Deadline, 30},
	{"storm", engine.Deadline, 30},
	{"recurse", engine.StackSz, 3}, // 60 ms each: wazero's stack grows to 50 MB
	{"recurse_in_loop", engine.StackSz, 3},
}

// hostileGuest exports a function (bytes) for each of attacks, and "echo".
func hostileGuest() []byte {
	i32 := wasm.I32
	m := &wasm.Module{}
	clock := m.ImportFunc("isomer:host/clock", "monotonic", wasm.FuncType{Results: []wasm.ValType{wasm.I64}})
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	m.Tables = append(m.Tables, wasm.TableType{Elem: wasm.FuncRef, Limits: wasm.Limits{Min: 1000}})
	bytesType := wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}}
	m.Export(abi.ExportRealloc, wasm.KindFunc, m.AddFunc("", wasm.FuncType{Params: []wasm.ValType{i32, i32, i32, i32}, Results: []wasm.ValType{i32}},
		wasm.NewCode(i32, i32, i32, i32).I32(4096)))
	add := func(name string, body func(c *wasm.Code, self uint32)) {
		self := m.DeclareFunc(name, bytesType)
		c := wasm.NewCode(i32, i32)
		body(c, self)
		m.DefineFunc(self, c)
		m.Export(name, wasm.KindFunc, self)
	}
	answer := func(tag, ptr, n int32) func(*wasm.Code, uint32) {
		return func(c *wasm.Code, _ uint32) {
			c.I32(16).I32(tag).Store(wasm.I32Store, 0).I32(16).I32(ptr).Store(wasm.I32Store, 4).I32(16).I32(n).Store(wasm.I32Store, 8).I32(16)
		}
	}
	endless := func(turn func(c *wasm.Code)) func(*wasm.Code, uint32) {
		return func(c *wasm.Code, _ uint32) {
			c.Loop(func(top wasm.Label) { turn(c); c.Br(top) }).Unreachable()
		}
	}
	add("echo", answer(0, 4096, 2))
	add("unreachable", func(c *wasm.Code, _ uint32) { c.Unreachable() })
	add("record_outside", func(c *wasm.Code, _ uint32) { c.I32(-4) })
	add("output_outside", answer(0, -16, 8))
	add("output_too_long", answer(0, 4096, math.MaxInt32))
	add("divide", func(c *wasm.Code, _ uint32) { c.Get(c.Param(0)).I32(0).Op(wasm.I32DivS) })
	add("no_such_element", func(c *wasm.Code, _ uint32) {
		c.Get(c.Param(0), c.Param(1)).I32(999).CallIndirect(bytesIndex(m, bytesType), 0)
	})
	add("grow_memory", func(c *wasm.Code, _ uint32) {
		c.Loop(func(top wasm.Label) { c.I32(64).MemoryGrow().I32(-1).Op(wasm.I32Ne).BrIf(top) }).Unreachable()
	})
	add("spin", endless(func(*wasm.Code) {}))
	add("storm", endless(func(c *wasm.Code) { c.Call(clock).Drop() }))
	nop := m.AddFunc("", wasm.FuncType{}, wasm.NewCode())
	add("spin_in_calls", endless(func(c *wasm.Code) { c.Call(nop) }))
	add("fan_out", func(c *wasm.Code, self uint32) { // 2^60 calls without a loop, 60 deep
		c.Get(c.Param(1)).I32(60).Op(wasm.I32GeS).If(func() { c.I32(0).Return() })
		for range 2 {
			c.Get(c.Param(0), c.Param(1)).I32(1).Op(wasm.I32Add).Call(self).Drop()
		}
		c.I32(0)
	})
	add("fill", endless(func(c *wasm.Code) { c.I32(0).I32(1).MemorySize().I32(16).Op(wasm.I32Shl).MemoryFill() }))
	add("copy", endless(func(c *wasm.Code) {
		c.I32(0).I32(1).MemorySize().I32(16).Op(wasm.I32Shl).I32(1).Op(wasm.I32Sub).MemoryCopy()
	}))
	add("recurse", func(c *wasm.Code, self uint32) {
		c.Get(c.Param(0), c.Param(1)).Call(self).I32(1).Op(wasm.I32Add)
	})
	add("recurse_in_loop", func(c *wasm.Code, self uint32) {
		c.Loop(func(top wasm.Label) { c.Get(c.Param(0), c.Param(1)).Call(self).BrIf(top) }).I32(1)
	})
	// The next two by their bytes, for which wasm.Code has no words.
	raw := func(name string, body []byte) {
		at := m.DeclareFunc(name, bytesType)
		m.Funcs[len(m.Funcs)-1].Body = body
		m.Export(name, wasm.KindFunc, at)
	}
	// loop: table.grow(null, 65536), until it says -1; then a trap
	raw("grow_table", []byte{0x03, 0x40, 0xd0, 0x70, 0x41, 0x80, 0x80, 0x04, 0xfc, 0x0f, 0x00, 0x41, 0x7f, 0x47, 0x0d, 0x00, 0x0b, 0x00, 0x0b})
	// loop: table.fill(0, null, 1000)
	raw("fill_table", []byte{0x03, 0x40, 0x41, 0x00, 0xd0, 0x70, 0x41, 0xe8, 0x07, 0xfc, 0x11, 0x00, 0x0c, 0x00, 0x0b, 0x00, 0x0b})
	return m.Encode()
}

func bytesIndex(m *wasm.Module, t wasm.FuncType) uint32 { return m.AddType(t) }

// wantCost checks that err is what a may cost, and says who it was.
func wantCost(t *testing.T, a attack, err error) {
	t.Helper()
	var trap *isomer.TrapError
	var limit *isomer.LimitError
	switch {
	case a.limit == "" && errors.As(err, &trap):
		if trap.Function != a.fn || trap.Module == "" || trap.Cause == nil {
			t.Errorf("%s: incomplete error %#v", a.fn, trap)
		}
	case a.limit != "" && errors.As(err, &limit):
		if limit.Limit != a.limit || limit.Function != a.fn || limit.Module == "" || limit.Cause == nil {
			t.Errorf("%s: err = %#v, want the %s limit", a.fn, limit, a.limit)
		}
	default:
		t.Errorf("%s: err = %v", a.fn, err)
	}
}

// hostileEngines are the engine under test and, where that is the default, the interpreter.
func hostileEngines(t *testing.T) map[string][]isomer.Option {
	engines := map[string][]isomer.Option{"engine": nil}
	if onEngine == nil {
		e, err := wazero.New(wazero.WithInterpreter())
		must(t, err)
		t.Cleanup(func() { must(t, e.Close()) })
		engines["interpreter"] = []isomer.Option{isomer.WithEngine(e)}
	}
	return engines
}

// healthy calls echo of m until stop, and counts. The pauses leave a processor to the attacks.
func healthy(t *testing.T, m *isomer.Module, stop <-chan struct{}) (calls func() int) {
	n, in, out := 0, []byte("0123456789"), []byte(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var err error
			if out, err = m.CallInto(context.Background(), out, "echo", in); err != nil || string(out) != string(in) {
				t.Errorf("a healthy module: %q, %v", out, err)
				return
			}
			n++
			time.Sleep(50 * time.Microsecond)
		}
	})
	return func() int { wg.Wait(); return n }
}

// hostileCalls is how often each attack is made: ISOMER_HOSTILE=10000 for the figures of docs/benchmarks.md.
func hostileCalls(t *testing.T, a attack, engine string) int {
	if s := os.Getenv("ISOMER_HOSTILE"); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	if testing.Short() || engine == "interpreter" {
		return min(a.calls/10+1, 20)
	}
	return a.calls
}

// TestHostile calls what a hostile module has again and again beside a healthy module in the same process.
// -run TestHostile/engine/spin makes one attack.
func TestHostile(t *testing.T) {
	for name, opts := range hostileEngines(t) {
		t.Run(name, func(t *testing.T) {
			well := openBytes(t, enginetest.Guest{}.Build(), opts...)
			stop := make(chan struct{})
			calls := healthy(t, well, stop)
			bin := hostileGuest()
			for _, a := range attacks {
				t.Run(a.fn, func(t *testing.T) { assault(t, a, hostileCalls(t, a, name), bin, opts) })
			}
			close(stop)
			n := calls()
			if n == 0 {
				t.Error("the healthy module was not called")
			}
			t.Logf("meanwhile the healthy module answered %d calls", n)
		})
	}
}

// assault makes an attack n times.
func assault(t *testing.T, a attack, n int, bin []byte, opts []isomer.Option) {
	deadline := time.Minute
	if a.limit == engine.Deadline {
		deadline = 2 * time.Millisecond
	}
	m := openBytes(t, bin, slices.Concat(opts, []isomer.Option{isomer.AllowClock(), isomer.WithDeadline(deadline),
		isomer.WithMemoryLimit(4 << 20), isomer.WithInstances(2)})...)
	began := time.Now()
	for range n {
		_, err := m.Call(t.Context(), a.fn, []byte("x"))
		if wantCost(t, a, err); t.Failed() {
			return
		}
	}
	t.Logf("%d calls, each an error and no more, in %v", n, time.Since(began).Round(time.Millisecond))
	if out, err := m.Call(t.Context(), "echo", []byte("x")); err != nil || len(out) != 2 {
		t.Errorf("after %s: %q, %v", a.fn, out, err)
	}
	if s := m.Stats(); s.Failed != uint64(n) {
		t.Errorf("%s: %d calls failed, want %d", a.fn, s.Failed, n)
	}
}

// TestHostileOnTheWayIn covers what runs around calls: each costs an error and no more.
func TestHostileOnTheWayIn(t *testing.T) {
	for name, opts := range hostileEngines(t) {
		t.Run(name, func(t *testing.T) {
			opts := slices.Concat(opts, []isomer.Option{isomer.WithGateLimit(50 * time.Millisecond), isomer.WithDeadline(20 * time.Millisecond)})
			for _, where := range []string{"start", abi.ExportInitialize} {
				_, err := isomer.New(t.Context(), enginetest.Guest{Hang: where}.Build(), slices.Concat(onEngine, opts)...)
				if !errors.Is(err, isomer.ErrRefused) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", where, err)
				}
			}
			m := openBytes(t, enginetest.Guest{Post: true, Hang: abi.PostReturn("echo")}.Build(), opts...)
			_, err := m.Call(t.Context(), "echo", []byte("x"))
			wantCost(t, attack{fn: "echo", limit: engine.Deadline}, err)
			if _, err := m.Call(t.Context(), "count", nil); err != nil {
				t.Errorf("after an endless clean-up: %v", err)
			}

			events := newRecorder()
			m = openBytes(t, enginetest.Guest{Version: "1", Stateful: true, Hang: abi.ExportSave}.Build(), slices.Concat(opts, []isomer.Option{events.option()})...)
			must(t, m.Swap(t.Context(), enginetest.Guest{Version: "2", Stateful: true}.Build()))
			events.wait(t, isomer.StateLost)
			if got := version(t, m); got != "2" {
				t.Errorf("version %s serves", got)
			}

			m = openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), opts...)
			err = m.Swap(t.Context(), enginetest.Guest{Version: "2", Stateful: true, Hang: abi.ExportRestore}.Build())
			if !errors.Is(err, isomer.ErrRefused) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("an endless %s: %v", abi.ExportRestore, err)
			}
			if got := version(t, m); got != "1" {
				t.Errorf("version %s serves", got)
			}
		})
	}
}

// TestHostileRealloc gives back memory that is not there.
func TestHostileRealloc(t *testing.T) {
	m := openBytes(t, lyingRealloc())
	for range 100 {
		_, err := m.Call(t.Context(), "echo", []byte("0123456789"))
		wantCost(t, attack{fn: "echo"}, err)
		if err != nil && !strings.Contains(err.Error(), abi.ExportRealloc) {
			t.Errorf("%v does not name %s", err, abi.ExportRealloc)
		}
	}
}

func lyingRealloc() []byte {
	i32 := wasm.I32
	m := &wasm.Module{}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 1))
	m.Export(abi.ExportRealloc, wasm.KindFunc, m.AddFunc("", wasm.FuncType{Params: []wasm.ValType{i32, i32, i32, i32}, Results: []wasm.ValType{i32}},
		wasm.NewCode(i32, i32, i32, i32).I32(-2)))
	m.Export("echo", wasm.KindFunc, m.AddFunc("", wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}}, wasm.NewCode(i32, i32).I32(16)))
	return m.Encode()
}

// TestCancelStopsTheGuest ends a running call with its context, whatever the deadline.
func TestCancelStopsTheGuest(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithDeadline(24*time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := m.Call(ctx, "loop", nil); done <- err }()
	for m.Stats().Idle > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		wantCost(t, attack{fn: "loop", limit: engine.Canceled}, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not context.Canceled", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the call goes on")
	}
}

// BenchmarkNeighbour is a healthy module's latency alone, and beside one that spins, traps and grows
// without pause. The goal is that the second is the first but for the processor that is shared.
func BenchmarkNeighbour(b *testing.B) {
	run := func(name string, attack string) {
		b.Run(name, func(b *testing.B) {
			well, in, out := openBytes(b, enginetest.Guest{}.Build()), make([]byte, 100), []byte(nil)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			if attack != "" {
				ill := openBytes(b, hostileGuest(), isomer.AllowClock(), isomer.WithDeadline(2*time.Millisecond), isomer.WithMemoryLimit(4<<20))
				wg.Go(func() {
					for ctx.Err() == nil {
						_, _ = ill.Call(ctx, attack, nil)
					}
				})
			}
			took := make([]time.Duration, 0, 1<<16)
			for b.Loop() {
				begin := time.Now()
				var err error
				if out, err = well.CallInto(ctx, out, "echo", in); err != nil {
					b.Fatal(err)
				}
				if len(took) < cap(took) {
					took = append(took, time.Since(begin))
				}
			}
			cancel()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
	run("alone", "")
	for _, a := range []string{"spin", "unreachable", "grow_memory", "fill"} {
		run(fmt.Sprintf("beside %s", a), a)
	}
}
