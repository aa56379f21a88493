package isomer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

func version(t testing.TB, m *isomer.Module) string {
	t.Helper()
	out, err := m.Call(context.Background(), "version", nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// callers calls m from n goroutines until stop is called, which returns how many calls were made,
// how many failed and which versions answered.
func callers(m *isomer.Module, n int) (stop func() (calls, failed uint64, versions map[string]bool, last error)) {
	var calls, failed atomic.Uint64
	var last atomic.Value
	var versions sync.Map
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				calls.Add(1)
				out, err := m.Call(context.Background(), "version", []byte("some input"))
				if err != nil {
					failed.Add(1)
					last.Store(err)
				}
				versions.Store(string(out), true)
			}
		})
	}
	return func() (uint64, uint64, map[string]bool, error) {
		close(done)
		wg.Wait()
		seen := map[string]bool{}
		versions.Range(func(k, _ any) bool { seen[k.(string)] = true; return true })
		err, _ := last.Load().(error)
		return calls.Load(), failed.Load(), seen, err
	}
}

func TestSwapUnderCallers(t *testing.T) {
	for _, instances := range []isomer.Option{isomer.WithInstances(1), isomer.WithInstances(3)} {
		events := newRecorder()
		bins := [][]byte{goldenGuest("1.0.0").Build(), goldenGuest("2.0.0").Build()}
		m := openBytes(t, bins[0], instances, events.option())
		stop := callers(m, 4)
		const swaps = 50
		for n := 1; n <= swaps; n++ {
			if err := m.Swap(t.Context(), bins[n%2]); err != nil {
				t.Fatal(err)
			}
			if got, want := version(t, m), []string{"1.0.0", "2.0.0"}[n%2]; got != want {
				t.Fatalf("after swap %d: version %s, want %s", n, got, want)
			}
		}
		calls, failed, seen, err := stop()
		if failed != 0 || len(seen) != 2 {
			t.Errorf("%d of %d calls failed, versions %v, last error %v", failed, calls, seen, err)
		}
		for range swaps {
			events.wait(t, isomer.Drained)
		}
		s := m.Stats()
		if s.Swaps != swaps || s.Generation != swaps+1 || s.Failed != 0 || s.Refused != 0 || s.LastSwap.Total == 0 || s.LastSwap.Compile == 0 {
			t.Errorf("stats = %+v", s)
		}
	}
}

func TestSameBytesDoNothing(t *testing.T) {
	bin := enginetest.Guest{Version: "1"}.Build()
	m := openBytes(t, bin)
	if err := m.Swap(t.Context(), bin); err != nil || m.Stats().Generation != 1 {
		t.Errorf("%v, %+v", err, m.Stats())
	}
}

func TestRefusals(t *testing.T) {
	good := enginetest.Guest{Version: "1"}
	golden := func(g abi.Golden) []byte {
		return enginetest.Guest{Version: "2", Manifest: &abi.Manifest{Name: "bad", Golden: []abi.Golden{g}}}.Build()
	}
	lies := func(change func(*abi.Manifest)) []byte {
		man := *tensorGuest().Manifest
		change(&man)
		return enginetest.Guest{Version: "2", Manifest: &man}.Build()
	}
	damaged := good.Build()
	damaged = append(damaged[:len(damaged)/2], 0xff, 0xff)
	for name, test := range map[string]struct {
		bin  []byte
		step isomer.Step
		text string
	}{
		"empty":            {nil, isomer.StepManifest, ""},
		"not a module":     {[]byte("GIF89a…"), isomer.StepManifest, ""},
		"damaged":          {damaged, isomer.StepManifest, ""},
		"traps at start":   {enginetest.Guest{Trap: "start"}.Build(), isomer.StepInstantiate, "start section trapped: unreachable"},
		"traps in init":    {enginetest.Guest{Trap: "_initialize"}.Build(), isomer.StepInstantiate, "_initialize trapped: unreachable"},
		"imports":          {enginetest.Guest{Imports: true}.Build(), isomer.StepInstantiate, "env.log, func isomer.now"},
		"wrong output":     {golden(abi.Golden{Function: "version", Output: []byte("3")}), isomer.StepGate, `got "2", want "3"`},
		"golden traps":     {golden(abi.Golden{Function: "trap", Output: []byte("3")}), isomer.StepGate, "unreachable"},
		"golden of no one": {golden(abi.Golden{Function: "nobody"}), isomer.StepGate, "nobody"},
		"not exported": {lies(func(m *abi.Manifest) {
			m.Functions = append(m.Functions, abi.Function{Name: "nobody", Convention: abi.Bytes})
		}),
			isomer.StepCompile, `"nobody" of the manifest is not exported`},
		"other type": {lies(func(m *abi.Manifest) {
			m.Functions = append(m.Functions, abi.Function{Name: "mul", Convention: abi.Bytes})
		}),
			isomer.StepCompile, "mul has type (f64, f64) -> (f64)"},
		"no such global": {lies(func(m *abi.Manifest) {
			m.Inputs = append(m.Inputs, abi.TensorSpec{Name: "y", Global: "input_7", DType: abi.F32})
		}),
			isomer.StepInstantiate, `"input_7" is not exported`},
		"tensor outside": {lies(func(m *abi.Manifest) {
			m.Outputs = []abi.TensorSpec{{Name: "y", Global: "output_0", DType: abi.F64, Shape: []int{100_000}}}
		}),
			isomer.StepInstantiate, "outside the memory"},
		"memory": {lies(func(m *abi.Manifest) { m.Memory = &abi.MemorySpec{MaxPages: 1} }), isomer.StepCompile, "2 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			events := newRecorder()
			m := openBytes(t, good.Build(), events.option())
			err := m.Swap(t.Context(), test.bin)
			var refused *isomer.RefusedError
			if !errors.As(err, &refused) || !errors.Is(err, isomer.ErrRefused) || refused.Step != test.step || !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %v", err)
			}
			var failed *isomer.GoldenError
			if found := errors.As(err, &failed); found != (test.step == isomer.StepGate) || found && (failed.Function == "" || failed.Cause == nil) {
				t.Errorf("golden case: %+v", failed)
			}
			if e := events.wait(t, isomer.Refused); e.Step != test.step || !errors.Is(e.Err, isomer.ErrRefused) || len(e.Digest) != 64 || e.Module == "" || e.Version == "" {
				t.Errorf("event = %+v", e)
			}
			if got := version(t, m); got != "1" {
				t.Errorf("version %s serves", got)
			}
			if s := m.Stats(); s.Refused != 1 || s.LastRefusal == nil || s.Generation != 1 {
				t.Errorf("stats = %+v", s)
			}
			if _, err := isomer.New(t.Context(), test.bin); !errors.Is(err, isomer.ErrRefused) {
				t.Errorf("New: %v", err)
			}
		})
	}
}

func TestGoldenTolerance(t *testing.T) {
	manifest := *tensorGuest().Manifest
	in := isomer.TensorOf([]float32{1, 2, 3, 4}).Data
	manifest.Golden = []abi.Golden{{Function: "run", Input: in, Output: isomer.TensorOf([]float32{2, 4, 6.0005, 8}).Data, Tolerance: 1e-3}}
	openBytes(t, enginetest.Guest{Manifest: &manifest}.Build())
	manifest.Golden[0].Tolerance = 1e-5
	if _, err := isomer.New(t.Context(), enginetest.Guest{Manifest: &manifest}.Build()); err == nil || !strings.Contains(err.Error(), "element 2") {
		t.Errorf("beyond the tolerance: %v", err)
	}

	json := abi.Manifest{Name: "json", Functions: []abi.Function{{Name: "echo", Convention: abi.Bytes, Input: abi.JSON, Output: abi.JSON}, {Name: "mul", Convention: abi.Scalar}}}
	try := func(in, out string, tolerance float64) error {
		json.Golden = []abi.Golden{{Function: "echo", Input: []byte(in), Output: []byte(out), Tolerance: tolerance}}
		m, err := isomer.New(t.Context(), enginetest.Guest{Manifest: &json}.Build())
		if err == nil {
			_ = m.Close()
		}
		return err
	}
	for _, c := range []struct {
		in, out string
		tol     float64
		ok      bool
	}{
		{`{"a":[1.0001,2],"b":"x"}`, `{"b":"x","a":[1,2]}`, 1e-3, true},
		{`{"a":[1.0001,2],"b":"x"}`, `{"b":"x","a":[1,2]}`, 0, false},
		{`{"a":1000.5}`, `{"a":1000}`, 1e-3, true},
		{`{"a":1002}`, `{"a":1000}`, 1e-3, false},
		{`{"a":1,"b":2}`, `{"a":1}`, 1, false},
		{`{"b":1}`, `{"a":1}`, 1, false},
		{`[true,null]`, `[true,null]`, 1, true},
		{`[true]`, `[1]`, 1, false},
		{`"x"`, `"y"`, 1, false},
	} {
		if err := try(c.in, c.out, c.tol); (err == nil) != c.ok {
			t.Errorf("%s against %s, tolerance %g: %v", c.in, c.out, c.tol, err)
		}
	}
	json.Golden = []abi.Golden{{Function: "mul", Input: []byte("[6,7]"), Output: []byte("[42.00001]"), Tolerance: 1e-4}}
	openBytes(t, enginetest.Guest{Manifest: &json}.Build())
}

func TestGateLeavesNoTrace(t *testing.T) {
	one := []byte{1, 0, 0, 0}
	m := openBytes(t, enginetest.Guest{Manifest: &abi.Manifest{Name: "count", Golden: []abi.Golden{{Function: "count", Output: one}}}}.Build())
	if out, err := m.Call(t.Context(), "count", nil); err != nil || string(out) != string(one) {
		t.Errorf("the first call counts %v, %v", out, err)
	}
}

func TestStateIsCarried(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), events.option())
	count := func() uint32 {
		t.Helper()
		out, err := m.Call(context.Background(), "count", nil)
		if err != nil {
			t.Fatal(err)
		}
		return binary.LittleEndian.Uint32(out)
	}
	count()
	count()
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "2", Stateful: true}.Build()); err != nil {
		t.Fatal(err)
	}
	if e := events.wait(t, isomer.StateCarried); e.Bytes != 4 {
		t.Errorf("event = %+v", e)
	}
	if n := count(); n != 3 {
		t.Errorf("count = %d after the swap, want 3", n)
	}
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "3"}.Build()); err != nil {
		t.Fatal(err)
	}
	if e := events.wait(t, isomer.StateLost); e.Err == nil || !strings.Contains(e.Err.Error(), abi.ExportRestore) {
		t.Errorf("event = %+v", e)
	}
	if n := count(); n != 1 {
		t.Errorf("count = %d in a module that restores nothing, want 1", n)
	}
}

// What an operator reads of a swap: how many cases passed, how much state came along, and what was wrong.
func TestLogger(t *testing.T) {
	build := func(version string, stateful bool) []byte {
		return enginetest.Guest{Version: version, Stateful: stateful, Manifest: &abi.Manifest{
			Name: "rules", Version: version, Functions: []abi.Function{{Name: "version", Convention: abi.Bytes}},
			Golden: []abi.Golden{{Function: "version", Output: []byte(version)}},
		}}.Build()
	}
	var log strings.Builder
	m := openBytes(t, build("1", true), isomer.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for _, bin := range [][]byte{build("2", true), build("3", false), nil} {
		_ = m.Swap(t.Context(), bin)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`level=INFO msg=gated .* version=1 .* cases=1`, `level=INFO msg=loaded .* version=1 generation=1 `,
		`level=INFO msg="state carried" .* version=2 .* bytes=4`, `level=INFO msg=swapped .* version=2 generation=2 `,
		`level=WARN msg="state lost" .* version=3 .* error=.*isomer_restore`, `level=INFO msg=drained .* version=2 generation=2 `,
		`level=WARN msg=refused .* generation=3 .* step=manifest error=`,
	} {
		if !regexp.MustCompile(line).MatchString(log.String()) {
			t.Errorf("no line %s in\n%s", line, log.String())
		}
	}
}

// Every call counts exactly once, although the instances are replaced under the callers.
func TestNoCallIsLostFromCarriedState(t *testing.T) {
	bins := [][]byte{enginetest.Guest{Version: "1", Stateful: true}.Build(), enginetest.Guest{Version: "2", Stateful: true}.Build()}
	m := openBytes(t, bins[0])
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if _, err := m.Call(context.Background(), "count", nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 20 {
		if err := m.Swap(t.Context(), bins[(n+1)%2]); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	out, err := m.Call(t.Context(), "count", nil)
	if err != nil || binary.LittleEndian.Uint32(out) != 2001 {
		t.Errorf("count = %v, %v; want 2001", out, err)
	}
}

func TestStateThatCannotBeCarried(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), events.option())
	err := m.Swap(t.Context(), enginetest.Guest{Version: "2", Stateful: true, Trap: abi.ExportRestore}.Build())
	var refused *isomer.RefusedError
	if !errors.As(err, &refused) || refused.Step != isomer.StepCarry || version(t, m) != "1" {
		t.Errorf("the new module does not take the state: %v", err)
	}
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "3", Stateful: true, Trap: abi.ExportSave}.Build()); err != nil {
		t.Fatal(err)
	}
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "4", Stateful: true}.Build()); err != nil || version(t, m) != "4" {
		t.Errorf("the old module cannot give its state: %v", err)
	}
	if e := events.wait(t, isomer.StateLost); e.Err == nil || !strings.Contains(e.Err.Error(), abi.ExportSave) {
		t.Errorf("event = %+v", e)
	}
}

func TestRollbackWithoutItsState(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true, Trap: abi.ExportRestore}.Build(), events.option())
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "2", Stateful: true}.Build()); err != nil {
		t.Fatal(err)
	}
	must(t, m.Rollback(t.Context()))
	if e := events.wait(t, isomer.RolledBack); e.Err == nil || version(t, m) != "1" {
		t.Errorf("event = %+v, version %s", e, version(t, m))
	}
}

// TestHostileModules gives seeded damage of a good module to Swap: each is refused or serves, and
// the good one always comes back.
func TestHostileModules(t *testing.T) {
	good := enginetest.Guest{Version: "good", Post: true}.Build()
	m := openBytes(t, good, isomer.WithDeadline(time.Second), isomer.WithMemoryLimit(16<<20))
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		bad := slices.Clone(good)
		if r.IntN(2) == 0 {
			bad = bad[:r.IntN(len(bad))]
		}
		for range r.IntN(3) {
			if len(bad) > 0 {
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			}
		}
		if err := m.Swap(t.Context(), bad); err == nil {
			_, _ = m.Call(t.Context(), "echo", []byte("in"))
			_, _ = m.Call(t.Context(), "count", nil)
			must(t, m.Swap(t.Context(), good))
		} else if !errors.Is(err, isomer.ErrRefused) {
			t.Fatal(err)
		}
		if got := version(t, m); got != "good" {
			t.Fatalf("version %q serves", got)
		}
	}
}

func TestRollback(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{Version: "1"}.Build(), events.option())
	if err := m.Rollback(t.Context()); !errors.Is(err, isomer.ErrNoPrevious) {
		t.Errorf("with nothing before: %v", err)
	}
	if err := m.Swap(t.Context(), enginetest.Guest{Version: "2"}.Build()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "2", "1"} {
		stop := callers(m, 2)
		if err := m.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := version(t, m); got != want {
			t.Errorf("version %s, want %s", got, want)
		}
		if calls, failed, _, err := stop(); failed != 0 {
			t.Errorf("%d of %d calls failed: %v", failed, calls, err)
		}
		events.wait(t, isomer.RolledBack)
	}
}

func TestWASIModuleWritesToOutput(t *testing.T) {
	var out strings.Builder
	m := openBytes(t, enginetest.WASIGuest(), isomer.WithOutput(&out))
	if _, err := m.CallScalar(t.Context(), "hello"); err != nil || out.String() != "hello" {
		t.Errorf("stdout %q, %v", out.String(), err)
	}
}

func TestOpenRefusesAndNames(t *testing.T) {
	dir := t.TempDir()
	if _, err := isomer.Open(t.Context(), dir+"/none.wasm"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := isomer.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
	path := dir + "/bad.wasm"
	write(t, path, enginetest.Guest{MinPages: 50_000}.Build())
	_, err := isomer.Open(t.Context(), path)
	var limit *engine.LimitError
	if !errors.As(err, &limit) || !strings.Contains(err.Error(), path) {
		t.Errorf("too large: %v", err)
	}
}

func TestSwapRefusesAModuleWithoutTheFunctionsThatAreCalled(t *testing.T) {
	m := openBytes(t, guest("1"), isomer.WithFunctions("echo"), isomer.WithFunctions("loop"))
	mod := &wasm.Module{}
	mod.Export("other", wasm.KindFunc, mod.AddFunc("other", wasm.FuncType{}, wasm.NewCode()))
	other := mod.Encode()
	err := m.Swap(t.Context(), other)
	var no *isomer.NoFunctionError
	if !errors.Is(err, isomer.ErrRefused) || !errors.As(err, &no) || !strings.Contains(err.Error(), `"echo"`) || !strings.Contains(err.Error(), `"loop"`) {
		t.Errorf("swap: %v", err)
	}
	if out, err := m.Call(t.Context(), "echo", []byte("ok")); err != nil || string(out) != "ok" {
		t.Errorf("what served: %q, %v", out, err)
	}
	if _, err := isomer.New(t.Context(), other, isomer.WithFunctions("echo")); !errors.As(err, &no) {
		t.Errorf("open: %v", err)
	}
	if _, err := isomer.New(t.Context(), other, isomer.WithFunctions("")); !errors.Is(err, isomer.ErrOption) {
		t.Errorf("no name: %v", err)
	}
}
