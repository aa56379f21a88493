package isomer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"math"
	"slices"
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

// patience bounds a wait that ends early unless something is wrong.
const patience = time.Minute

func TestCallBytes(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	for _, size := range []int{0, 1, 100, 70_000, 3 << 20} {
		in := bytes.Repeat([]byte{7}, size)
		if out, err := m.Call(t.Context(), "echo", in); err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes: got %d, %v", size, len(out), err)
		}
	}
	buf := make([]byte, 0, 64)
	out, err := m.CallInto(t.Context(), buf, "echo", []byte("into"))
	if err != nil || string(out) != "into" || &out[0] != &buf[:1][0] {
		t.Errorf("CallInto: %q, %v, or not in place", out, err)
	}
	if s := m.Stats(); s.Calls != 6 || s.Failed != 0 || s.Generation != 1 {
		t.Errorf("stats = %+v", s)
	}
}

func TestPostIsCalled(t *testing.T) {
	m := openBytes(t, enginetest.Guest{Post: true}.Build())
	for range 2 {
		if _, err := m.Call(t.Context(), "echo", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := m.Call(t.Context(), "count", nil); err != nil || binary.LittleEndian.Uint32(out) != 2001 {
		t.Errorf("count = %v, %v; want 2001", out, err)
	}
}

func TestApplicationErrorLeavesInstance(t *testing.T) {
	m := openBytes(t, enginetest.Guest{Version: "x"}.Build())
	count := func() uint32 {
		out, err := m.Call(t.Context(), "count", nil)
		if err != nil {
			t.Fatal(err)
		}
		return binary.LittleEndian.Uint32(out)
	}
	count()
	_, err := m.Call(t.Context(), "fail", nil)
	var app *isomer.AppError
	if !errors.As(err, &app) || app.Message != enginetest.GuestError || app.Function != "fail" || !strings.Contains(app.Module, m.Version()) {
		t.Fatalf("err = %#v", err)
	}
	if n := count(); n != 2 {
		t.Errorf("count = %d, want 2: the instance was replaced", n)
	}
	if s := m.Stats(); s.AppErrors != 1 || s.Failed != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestTrapCostsOneCallAndOneInstance(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{}.Build(), events.option())
	for fn, want := range map[string]string{
		"trap":    "unreachable",
		"outside": "output at 0xfffffff0, 8 bytes, is outside the memory of 131072 bytes",
		"lost":    "result record at 0xfffffff0, 12 bytes, is outside the memory of 131072 bytes",
	} {
		if _, err := m.Call(t.Context(), "count", nil); err != nil {
			t.Fatal(err)
		}
		_, err := m.Call(t.Context(), fn, []byte("in"))
		var trap *isomer.TrapError
		if !errors.As(err, &trap) || trap.Function != fn || trap.Module == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v", fn, err)
		}
		if e := events.wait(t, isomer.InstanceReplaced); !errors.As(e.Err, &trap) {
			t.Errorf("%s: event has %v", fn, e.Err)
		}
		out, err := m.Call(t.Context(), "count", nil)
		if err != nil || binary.LittleEndian.Uint32(out) != 1 {
			t.Errorf("%s: the next call sees count %v, %v; want 1 of a new instance", fn, out, err)
		}
	}
	if s := m.Stats(); s.Traps != 3 || s.Failed != 3 {
		t.Errorf("stats = %+v", s)
	}
}

func TestLimits(t *testing.T) {
	limits := []isomer.Option{isomer.WithMaxOutput(1000), isomer.WithMemoryLimit(2 << 20)}
	m := openBytes(t, enginetest.Guest{}.Build(), append(limits, isomer.WithDeadline(50*time.Millisecond))...)
	wantLimit := func(fn string, in []byte, want engine.Limit) {
		t.Helper()
		_, err := m.Call(context.Background(), fn, in)
		var limit *isomer.LimitError
		if !errors.As(err, &limit) || limit.Limit != want || limit.Function != fn {
			t.Errorf("%s: err = %v, want the %s limit", fn, err, want)
		}
		if want == engine.Deadline && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not context.DeadlineExceeded", err)
		}
		if out, err := m.Call(t.Context(), "echo", []byte("ok")); err != nil || string(out) != "ok" {
			t.Errorf("after %s: %q, %v", fn, out, err)
		}
	}
	wantLimit("loop", nil, engine.Deadline)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var own, callers *isomer.LimitError
	if _, err := m.Call(t.Context(), "loop", nil); !errors.As(err, &own) || own.After != 50*time.Millisecond || !strings.Contains(own.Error(), "after 50ms") {
		t.Errorf("the limit of WithDeadline: %v", err)
	}
	// Where the machine is so busy that the call does not begin in time, there is no limit that it met.
	if _, err := m.Call(ctx, "loop", nil); errors.As(err, &callers) && callers.After != 0 {
		t.Errorf("the caller's own limit: %v", err)
	}
	m = openBytes(t, enginetest.Guest{}.Build(), limits...) // a stack takes its time to fill
	wantLimit("recurse", nil, engine.StackSz)
	wantLimit("echo", make([]byte, 1001), engine.OutputSz)
	var trap *isomer.TrapError
	if _, err := m.Call(t.Context(), "exhaust", nil); !errors.As(err, &trap) {
		t.Errorf("exhaust: %v", err)
	}
	if _, err := m.Call(t.Context(), "echo", make([]byte, 3<<20)); !errors.As(err, &trap) {
		t.Errorf("more input than memory: %v", err)
	}
	_, err := isomer.New(t.Context(), enginetest.Guest{MinPages: 100}.Build(), isomer.WithMemoryLimit(64<<16))
	if !errors.Is(err, isomer.ErrRefused) || !strings.Contains(err.Error(), "100 pages") {
		t.Errorf("a module larger than the limit: %v", err)
	}
}

func TestBadArguments(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	var no *isomer.NoFunctionError
	_, err := m.Call(t.Context(), "nobody", nil)
	if !errors.As(err, &no) || !errors.Is(err, isomer.ErrNoFunction) || !slices.Contains(no.Have, "echo") || slices.Contains(no.Have, abi.ExportRealloc) {
		t.Errorf("missing function: %v", err)
	}
	for name, f := range map[string]func() error{
		"image of 0×0": func() error { _, err := m.CallImage(t.Context(), "average", isomer.Image{}); return err },
		"wrong byte count": func() error {
			_, err := m.CallImage(t.Context(), "average", isomer.Image{Width: 2, Height: 2, RGB: make([]byte, 11)})
			return err
		},
		"negative width": func() error {
			_, err := m.CallImage(t.Context(), "average", isomer.Image{Width: -1, Height: -3, RGB: make([]byte, 9)})
			return err
		},
		"image to bytes": func() error {
			_, err := m.CallImage(t.Context(), "echo", isomer.Image{Width: 1, Height: 1, RGB: make([]byte, 3)})
			return err
		},
		"bytes to image":    func() error { _, err := m.Call(t.Context(), "average", nil); return err },
		"too few scalars":   func() error { _, err := m.CallScalar(t.Context(), "mul", isomer.F64(1)); return err },
		"scalar of i32":     func() error { _, err := m.CallScalar(t.Context(), "mul", isomer.F64(1), isomer.I32(1)); return err },
		"scalars not JSON":  func() error { _, err := m.Call(t.Context(), "mul", []byte("6, 7")); return err },
		"scalars too many":  func() error { _, err := m.Call(t.Context(), "mul", []byte("[6, 7, 8]")); return err },
		"not JSON going in": func() error { _, err := isomer.CallJSON[int](t.Context(), m, "echo", math.NaN()); return err },
		"no tensors":        func() error { _, err := m.Run(t.Context()); return err },
	} {
		if err := f(); !errors.Is(err, isomer.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := isomer.CallJSON[int](t.Context(), m, "echo", "text"); err == nil || !strings.Contains(err.Error(), `text`) {
		t.Errorf("an answer of another type: %v", err)
	}
	if _, err := m.CallImage(t.Context(), "average", isomer.Image{}); err == nil || !strings.HasPrefix(err.Error(), "isomer: average: bad argument: image of 0×0") {
		t.Errorf("an argument refused before the call: %v", err)
	}
	if out, err := m.Call(t.Context(), "echo", []byte("fine")); err != nil || string(out) != "fine" {
		t.Errorf("afterwards: %q, %v", out, err)
	}
	if s := m.Stats(); s.Failed != 0 {
		t.Errorf("the caller's mistakes count as failures of the module: %+v", s)
	}
}

func TestScalars(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	out, err := m.CallScalar(t.Context(), "mul", isomer.F64(6), isomer.F64(-7))
	if err != nil || len(out) != 1 || out[0].Float() != -42 {
		t.Errorf("mul = %v, %v", out, err)
	}
	out, err = m.CallScalar(t.Context(), "sum64", isomer.I64(math.MinInt64), isomer.I64(-1))
	if err != nil || out[0].Int() != math.MaxInt64 {
		t.Errorf("sum64 = %v, %v", out, err)
	}
	if out, err := m.Call(t.Context(), "sum64", []byte(" [40, 2] ")); err != nil || string(out) != "[42]" {
		t.Errorf("sum64 as JSON = %q, %v", out, err)
	}
	_, err = m.Call(t.Context(), "mul", []byte("[1e308, 1e308]"))
	if !errors.Is(err, isomer.ErrResult) || errors.Is(err, isomer.ErrArgument) || strings.Contains(err.Error(), "isomer:") {
		t.Errorf("a result that JSON cannot hold: %v", err)
	}
	if s := m.Stats(); s.Failed != 0 {
		t.Errorf("it counts as a failure: %+v", s)
	}
	if got, err := isomer.CallJSON[[]float64](t.Context(), m, "mul", []float64{1.5, 2}); err != nil || !slices.Equal(got, []float64{3}) {
		t.Errorf("mul as JSON = %v, %v", got, err)
	}
}

func TestCallJSON(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	want := reading{Meter: "<gas&7>", Value: 1.25, OK: true}
	if got, err := isomer.CallJSON[reading](t.Context(), m, "echo", want); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestImage(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build())
	out, err := m.CallImage(t.Context(), "average", isomer.Image{Width: 2, Height: 1, RGB: []byte{10, 20, 30, 40, 50, 60}})
	if err != nil || !bytes.Equal(out, []byte{35}) {
		t.Errorf("average = %v, %v", out, err)
	}
}

func TestImageOf(t *testing.T) {
	rect := image.Rect(3, 5, 6, 7) // pictures need not begin at 0, 0
	rgba, general := image.NewRGBA(rect), image.NewNRGBA(rect)
	for k := range 6 {
		c := color.RGBA{uint8(k), uint8(10 + k), uint8(20 + k), 255}
		rgba.Set(3+k%3, 5+k/3, c)
		general.Set(3+k%3, 5+k/3, c)
	}
	want := []byte{0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24, 5, 15, 25}
	for _, src := range []image.Image{rgba, general} {
		if got := isomer.ImageOf(src); got.Width != 3 || got.Height != 2 || !bytes.Equal(got.RGB, want) {
			t.Errorf("%T: %+v", src, got)
		}
	}
	ycc := image.NewYCbCr(rect, image.YCbCrSubsampleRatio420)
	for k := range ycc.Y {
		ycc.Y[k] = 100
	}
	for k := range ycc.Cb {
		ycc.Cb[k], ycc.Cr[k] = 128, 128
	}
	if got := isomer.ImageOf(ycc); !bytes.Equal(got.RGB, bytes.Repeat([]byte{100}, 18)) {
		t.Errorf("YCbCr: %v", got.RGB)
	}
}

func TestTensors(t *testing.T) {
	m := openBytes(t, tensorGuest().Build())
	in := isomer.TensorOf([]float32{1, -2, 3.5, 0}, 1, 4)
	out, err := m.Run(t.Context(), in)
	if err != nil || len(out) != 1 || !slices.Equal(out[0].Float32s(), []float32{2, -4, 7, 0}) || !slices.Equal(out[0].Shape, []int{1, 4}) {
		t.Fatalf("Run = %+v, %v", out, err)
	}
	into := []isomer.Tensor{{Data: make([]byte, 16)}}
	ins := []isomer.Tensor{in}
	if err := m.RunInto(t.Context(), into, ins); err != nil || !bytes.Equal(into[0].Data, out[0].Data) {
		t.Errorf("RunInto = %+v, %v", into, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := m.RunInto(context.Background(), into, ins); err != nil {
			t.Fatal(err)
		}
	}); n != 0 && frugal() {
		t.Errorf("RunInto allocates %v times", n)
	}
	if raw, err := m.Call(t.Context(), "run", in.Data); err != nil || !bytes.Equal(raw, out[0].Data) {
		t.Errorf("Call(run) = %v, %v", raw, err)
	}
	for name, ins := range map[string][]isomer.Tensor{
		"none": nil, "two": {in, in}, "shape": {isomer.TensorOf(make([]float32, 4), 4)}, "size": {{Data: make([]byte, 15)}},
		"dtype": {{DType: abi.I32, Data: make([]byte, 16)}},
	} {
		if _, err := m.Run(t.Context(), ins...); !errors.Is(err, isomer.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.RunInto(t.Context(), nil, ins); !errors.Is(err, isomer.ErrArgument) {
		t.Errorf("no outputs: %v", err)
	}
}

func TestWasmtube(t *testing.T) {
	m := openBytes(t, enginetest.WasmtubeGuest())
	for _, in := range []string{"", "meter 7", strings.Repeat("abc", 100_000), "short again"} {
		if out, err := m.Call(t.Context(), "upper", []byte(in)); err != nil || string(out) != strings.ToUpper(in) {
			t.Errorf("%d bytes: %.20q, %v", len(in), out, err)
		}
	}
	out, err := m.CallImage(t.Context(), "first", isomer.Image{Width: 1, Height: 2, RGB: []byte("rgbRGB")})
	if err != nil || string(out) != "rgb" {
		t.Errorf("first = %q, %v", out, err)
	}
	for _, fn := range []string{"long", "negative"} {
		var trap *isomer.TrapError
		if _, err := m.Call(t.Context(), fn, nil); !errors.As(err, &trap) || !strings.Contains(err.Error(), "outside the memory") {
			t.Errorf("%s: %v", fn, err)
		}
	}
}

func TestWithoutMemory(t *testing.T) {
	mod := &wasm.Module{}
	c := wasm.NewCode(wasm.I32, wasm.I32)
	mod.Export("add", wasm.KindFunc, mod.AddFunc("add", wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.I32}},
		c.Get(c.Param(0), c.Param(1)).Op(wasm.I32Add)))
	m := openBytes(t, mod.Encode())
	if out, err := m.CallScalar(t.Context(), "add", isomer.I32(-40), isomer.I32(-2)); err != nil || out[0].Int() != -42 {
		t.Errorf("add = %v, %v", out, err)
	}
	if _, err := m.Call(t.Context(), "add", nil); !errors.Is(err, isomer.ErrArgument) {
		t.Errorf("Call: %v", err)
	}
}

func TestFunctionsFromSignatures(t *testing.T) {
	got := map[string]abi.Convention{}
	for _, f := range openBytes(t, enginetest.Guest{Stateful: true, Post: true}.Build()).Functions() {
		got[f.Name] = f.Convention
	}
	for name, want := range map[string]abi.Convention{
		"echo": abi.Bytes, "average": abi.Image, "mul": abi.Scalar, "run": abi.Scalar,
		abi.ExportRealloc: "", abi.ExportSave: "", abi.ExportRestore: "", "cabi_post_echo": "",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

func TestInstancesServeInParallelAndCallersWait(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithInstances(3))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if out, err := m.Call(context.Background(), "echo", []byte("x")); err != nil || string(out) != "x" {
					t.Errorf("%q, %v", out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := m.Stats(); s.Calls != 4000 || s.Idle != 3 || s.Waiting != 0 {
		t.Errorf("stats = %+v", s)
	}
}

func TestWaitingHonoursContextAndQueue(t *testing.T) {
	m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithQueue(1), isomer.WithDeadline(time.Hour))
	hold, release := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { _, err := m.Call(hold, "loop", nil); ended <- err }()
	waitFor(t, "the instance to be taken", func() bool { return m.Stats().Idle == 0 })

	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { _, err := m.Call(ctx, "echo", nil); waited <- err }()
	waitFor(t, "a caller in the queue", func() bool { return m.Stats().Waiting == 1 })
	if _, err := m.Call(t.Context(), "echo", nil); !errors.Is(err, isomer.ErrBusy) {
		t.Errorf("beyond the queue: %v", err)
	}
	cancel()
	if err := receive(t, waited); !errors.Is(err, context.Canceled) {
		t.Errorf("the waiting call: %v", err)
	}
	if _, err := m.Call(ctx, "echo", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended before: %v", err)
	}
	release()
	var limit *isomer.LimitError
	if err := receive(t, ended); !errors.As(err, &limit) || limit.Limit != engine.Canceled {
		t.Errorf("the call that was canceled while it ran: %v", err)
	}
	if out, err := m.Call(t.Context(), "echo", []byte("x")); err != nil || string(out) != "x" {
		t.Errorf("afterwards: %q, %v", out, err)
	}
}

func TestClosed(t *testing.T) {
	m, err := isomer.New(t.Context(), enginetest.Guest{}.Build())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = m.Call(t.Context(), "echo", nil)
	err2 := m.Swap(t.Context(), enginetest.Guest{}.Build())
	err3 := m.Rollback(t.Context())
	for _, err := range []error{err, err2, err3} {
		if !errors.Is(err, isomer.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	e, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, opts := range map[string][]isomer.Option{
		"engine": {isomer.WithEngine(nil)}, "instances": {isomer.WithInstances(0)}, "many": {isomer.WithInstances(65)},
		"queue": {isomer.WithQueue(-1)}, "memory": {isomer.WithMemoryLimit(1)}, "deadline": {isomer.WithDeadline(-1)},
		"output": {isomer.WithMaxOutput(0)}, "cache": {isomer.WithCacheDir("")}, "events": {isomer.WithEvents(nil)},
		"logger": {isomer.WithLogger(nil)}, "stdout": {isomer.WithOutput(nil)},
		"both": {isomer.WithEngine(e), isomer.WithCacheDir(t.TempDir())},
	} {
		if _, err := isomer.New(t.Context(), enginetest.Guest{}.Build(), opts...); !errors.Is(err, isomer.ErrOption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSharedEngine(t *testing.T) {
	e, err := wazero.New(wazero.WithInterpreter())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 2 {
		m := openBytes(t, enginetest.Guest{}.Build(), isomer.WithEngine(e))
		if out, err := m.Call(t.Context(), "echo", []byte("x")); err != nil || string(out) != "x" {
			t.Errorf("%q, %v", out, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// waitFor polls a condition that nothing announces.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// wasmtubeReadme is a module as one writes it for Wasmtube alone: a memory of one page that never grows, no
// allocator, no manifest, its own data behind the room for input that begins at 42. "wrap" puts the JSON that
// it gets into an object, "corner" tells a picture's size and first byte.
func wasmtubeReadme() []byte {
	const textAt, head, tail = 60_000, `{"got":`, `}`
	i32 := wasm.I32
	m := &wasm.Module{}
	m.Export("memory", wasm.KindMemory, m.AddMemory(1, 1))
	m.AddData(textAt, []byte(head+tail))
	c := wasm.NewCode(i32, i32)
	index, length, k := c.Param(0), c.Param(1), c.Local(i32)
	c.Get(length).Set(k)
	c.Block(func(out wasm.Label) { // from the end, since input and output overlap
		c.Loop(func(top wasm.Label) {
			c.Get(k).Op(wasm.I32Eqz).BrIf(out).Inc(k, -1)
			c.Get(index, k).Op(wasm.I32Add).Get(index, k).Op(wasm.I32Add).Load(wasm.I32Load8U, 0).Store(wasm.I32Store8, uint32(len(head)))
			c.Br(top)
		})
	})
	for k := range head {
		c.Get(index).I32(textAt).Load(wasm.I32Load8U, uint32(k)).Store(wasm.I32Store8, uint32(k))
	}
	c.Get(index, length).Op(wasm.I32Add).I32('}').Store(wasm.I32Store8, uint32(len(head)))
	c.Get(length).I32(int32(len(head) + len(tail))).Op(wasm.I32Add)
	m.Export("wrap", wasm.KindFunc, m.AddFunc("wrap", wasm.FuncType{Params: []wasm.ValType{i32, i32}, Results: []wasm.ValType{i32}}, c))
	c = wasm.NewCode(i32, i32, i32, i32)
	c.Get(c.Param(0), c.Param(2)).Store(wasm.I32Store8, 1).Get(c.Param(0), c.Param(3)).Store(wasm.I32Store8, 2).I32(3)
	m.Export("corner", wasm.KindFunc, m.AddFunc("corner", wasm.FuncType{Params: []wasm.ValType{i32, i32, i32, i32}, Results: []wasm.ValType{i32}}, c))
	return m.Encode()
}

func TestWasmtubeInAFixedMemory(t *testing.T) {
	m := openBytes(t, wasmtubeReadme())
	type wrapped struct{ Got []int }
	for _, in := range [][]int{{1, 2, 3}, {}, make([]int, 10_000)} {
		got, err := isomer.CallJSON[wrapped](t.Context(), m, "wrap", in)
		if err != nil || len(got.Got) != len(in) {
			t.Errorf("%d numbers: %d, %v", len(in), len(got.Got), err)
		}
	}
	out, err := m.CallImage(t.Context(), "corner", isomer.Image{Width: 2, Height: 1, RGB: []byte("rgbRGB")})
	if err != nil || string(out) != "r\x02\x01" {
		t.Errorf("corner = %q, %v", out, err)
	}
	var limit *isomer.LimitError
	if _, err := m.Call(t.Context(), "wrap", make([]byte, 70_000)); !errors.As(err, &limit) || limit.Limit != engine.MemorySz {
		t.Errorf("an input that does not fit: %v", err)
	}
	if out, err := m.Call(t.Context(), "wrap", []byte("7")); err != nil || string(out) != `{"got":7}` {
		t.Errorf("%q, %v", out, err)
	}
}
