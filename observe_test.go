package isomer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

type contextKey struct{}

// witness notes what it is told.
type witness struct {
	name   string
	mu     sync.Mutex
	said   *[]string
	calls  []isomer.CallInfo
	events []isomer.EventKind
}

func (w *witness) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said != nil {
		*w.said = append(*w.said, w.name+" "+s)
	}
}

func (w *witness) CallBegan(ctx context.Context, c isomer.CallInfo) context.Context {
	w.note(fmt.Sprint("begins, outer ", ctx.Value(contextKey{})))
	return context.WithValue(ctx, contextKey{}, w.name)
}

func (w *witness) CallEnded(ctx context.Context, c isomer.CallInfo) {
	w.note(fmt.Sprint("ends, own ", ctx.Value(contextKey{})))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
}

func (w *witness) ModuleEvent(m *isomer.Module, e isomer.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.Kind)
}

func TestObserverSeesEachCall(t *testing.T) {
	ctx := context.Background()
	w := &witness{}
	m := openBytes(t, enginetest.Guest{Manifest: &abi.Manifest{Name: "kit", Version: "1.0.0"}}.Build(), isomer.WithObserver(w))
	_, _ = m.Call(ctx, "echo", []byte("hello"))
	_, _ = m.CallImage(ctx, "average", isomer.Image{Width: 1, Height: 2, RGB: make([]byte, 6)})
	_, _ = m.CallScalar(ctx, "mul", isomer.F64(6), isomer.F64(7))
	_, _ = isomer.CallJSON[int](ctx, m, "echo", 12)
	_, _ = m.Call(ctx, "fail", nil)
	_, _ = m.Call(ctx, "trap", nil)
	_, _ = m.Call(ctx, "recurse", nil)
	_, _ = m.Call(ctx, "average", nil)
	_, _ = m.Call(ctx, "nothing", []byte("x"))
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = m.Call(gone, "echo", nil)

	want := []struct {
		fn         string
		convention abi.Convention
		in, out    int
		outcome    isomer.Outcome
	}{
		{"echo", abi.Bytes, 5, 5, isomer.OutcomeOK},
		{"average", abi.Image, 6, 1, isomer.OutcomeOK},
		{"mul", abi.Scalar, 16, 8, isomer.OutcomeOK},
		{"echo", abi.Bytes, 2, 2, isomer.OutcomeOK},
		{"fail", abi.Bytes, 0, 0, isomer.OutcomeApp},
		{"trap", abi.Bytes, 0, 0, isomer.OutcomeTrap},
		{"recurse", abi.Bytes, 0, 0, isomer.OutcomeLimit},
		{"average", abi.Image, 0, 0, isomer.OutcomeArgument},
		{"nothing", "", 1, 0, isomer.OutcomeNoFunction},
		{"echo", abi.Bytes, 0, 0, isomer.OutcomeCanceled},
	}
	if len(w.calls) != len(want) {
		t.Fatalf("%d calls seen, want %d", len(w.calls), len(want))
	}
	for k, c := range w.calls {
		x := want[k]
		if c.Function != x.fn || c.Convention != x.convention || c.Input != x.in || c.Output != x.out || isomer.OutcomeOf(c.Err) != x.outcome {
			t.Errorf("call %d: %+v, want %+v", k, c, x)
		}
		if c.Module != "kit" || c.Version != "1.0.0" || c.Digest != m.Digest() || c.Generation != 1 || c.Took <= 0 || c.Waited > c.Took {
			t.Errorf("call %d: %+v", k, c)
		}
	}
}

func TestObserverSeesTensors(t *testing.T) {
	w := &witness{}
	m := openBytes(t, tensorGuest().Build(), isomer.WithObserver(w))
	if _, err := m.Run(context.Background(), isomer.TensorOf([]float32{1, 2, 3, 4})); err != nil {
		t.Fatal(err)
	}
	if len(w.calls) != 1 || w.calls[0].Input != 16 || w.calls[0].Output != 16 || w.calls[0].Convention != abi.Tensors {
		t.Errorf("%+v", w.calls)
	}
}

// Each observer ends with the context that it made, the last to begin first, as spans nest.
func TestObserversNest(t *testing.T) {
	var said []string
	a, b, c := &witness{name: "a", said: &said}, &witness{name: "b", said: &said}, &witness{name: "c", said: &said}
	m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithObserver(a), isomer.WithObserver(b), isomer.WithObserver(c))
	if _, err := m.Call(context.Background(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a begins, outer <nil>", "b begins, outer a", "c begins, outer b",
		"c ends, own c", "b ends, own b", "a ends, own a",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}

func TestObserverSeesSwaps(t *testing.T) {
	ctx := context.Background()
	w := &witness{}
	m := openBytes(t, enginetest.Guest{Version: "1"}.Build(), isomer.WithObserver(w))
	if err := m.Swap(ctx, enginetest.Guest{Version: "2"}.Build()); err != nil {
		t.Fatal(err)
	}
	if err := m.Swap(ctx, []byte("no module")); err == nil {
		t.Fatal("not refused")
	}
	if err := m.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	_, _ = m.Call(ctx, "echo", nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range []isomer.EventKind{isomer.Loaded, isomer.Swapped, isomer.Refused, isomer.RolledBack} {
		if !slices.Contains(w.events, kind) {
			t.Errorf("no event %q in %q", kind, w.events)
		}
	}
	if len(w.calls) != 1 || w.calls[0].Generation != 3 {
		t.Errorf("%+v", w.calls)
	}
}

func TestObserverAfterClose(t *testing.T) {
	w := &witness{}
	m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithObserver(w))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Call(context.Background(), "echo", nil); !errors.Is(err, isomer.ErrClosed) {
		t.Fatal(err)
	}
	if len(w.calls) != 1 || w.calls[0].Module != "" || isomer.OutcomeOf(w.calls[0].Err) != isomer.OutcomeClosed {
		t.Errorf("%+v", w.calls)
	}
	if _, err := isomer.New(context.Background(), enginetest.Guest{}.Build(), isomer.WithObserver(nil)); !errors.Is(err, isomer.ErrOption) {
		t.Error(err)
	}
}

// frugal reports whether a call is to allocate nothing beyond its answer. wazero's interpreter, the default on
// other processors, allocates for each call of a guest's function, and wasmtime for each call that can be stopped.
func frugal() bool {
	return (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") && len(onEngine) == 0
}

// An observer's words cost nothing where there is none: one comparison, no allocation.
func TestNoObserverNoAllocation(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	in, ctx := make([]byte, 100), context.Background()
	out, err := m.CallInto(ctx, nil, "echo", in)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { out, _ = m.CallInto(ctx, out, "echo", in) }); n != 0 && frugal() {
		t.Errorf("%v allocations a call", n)
	}
}

func TestStatsMemory(t *testing.T) {
	m := openBytes(t, enginetest.Guest{MinPages: 3}.Build(), isomer.WithInstances(2), isomer.WithMemoryLimit(8*abi.PageSize))
	if got := m.Stats().MemoryBytes; got != 2*3*abi.PageSize {
		t.Errorf("%d bytes, want two instances of 3 pages", got)
	}
	// A call that made its instance's memory grow, and left it alive.
	w := openBytes(t, enginetest.WasmtubeGuest())
	before := w.Stats().MemoryBytes
	if _, err := w.CallImage(context.Background(), "first", isomer.Image{Width: 1000, Height: 100, RGB: make([]byte, 300_000)}); err != nil {
		t.Fatal(err)
	}
	if after := w.Stats().MemoryBytes; after <= before {
		t.Errorf("%d bytes before a call that grows memory, %d after", before, after)
	}
}
