package isomer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// How much damage is done: 3,000 files in the normal test, as many as ISOMER_DAMAGED says otherwise (100,000
// for docs/benchmarks.md). ISOMER_DAMAGED_MODULES is a directory of more modules to damage, *.wasm.
const (
	hostileEnv        = "ISOMER_DAMAGED"
	hostileModulesEnv = "ISOMER_DAMAGED_MODULES"
	hostileDefault    = 3000
)

func hostileCount(t *testing.T) int {
	if text := os.Getenv(hostileEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", hostileEnv, err)
		}
		return n
	}
	if testing.Short() {
		return hostileDefault / 10
	}
	return hostileDefault
}

// realModules are whole modules of each kind.
func realModules(t *testing.T) [][]byte {
	tensors := abi.Manifest{
		Name: "twice", Version: "1.0.0", Functions: []abi.Function{{Name: "run", Convention: abi.Tensors}, {Name: "version", Convention: abi.Bytes}},
		Inputs:  []abi.TensorSpec{{Name: "x", Global: "input_0", DType: abi.F32, Shape: []int{1, 4}}},
		Outputs: []abi.TensorSpec{{Name: "y", Global: "output_0", DType: abi.F32, Shape: []int{1, 4}}},
	}
	golden := abi.Manifest{Name: "golden", Version: "1.0.0", Golden: []abi.Golden{{Function: "version", Output: []byte("g")}}}
	bins := [][]byte{
		enginetest.Guest{Version: "a version of some length, so that flips in data are seen"}.Build(),
		enginetest.Guest{Version: "stateful", Stateful: true, Post: true}.Build(),
		enginetest.Guest{Version: "tensors", Manifest: &tensors}.Build(),
		enginetest.Guest{Version: "g", Manifest: &golden}.Build(),
		enginetest.WASIGuest(),
	}
	if dir := os.Getenv(hostileModulesEnv); dir != "" {
		paths, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no modules in %s: %v", dir, err)
		}
		for _, p := range paths {
			bin, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			bins = append(bins, bin)
		}
	}
	return bins
}

// damage truncates, flips bits, or both.
func damage(r *rand.Rand, bin []byte) []byte {
	bad := slices.Clone(bin)
	how := r.IntN(4)
	if how == 0 || how == 1 {
		bad = bad[:r.IntN(len(bad))]
	}
	if how != 0 && len(bad) > 0 {
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
	}
	return bad
}

// hostileLimits stop what damage made endless or greedy. A module that a busy machine stops is refused,
// which is allowed.
func hostileLimits() []Option {
	return []Option{WithDeadline(300 * time.Millisecond), WithGateLimit(time.Second), WithMemoryLimit(16 << 20), WithMaxOutput(1 << 20)}
}

// oracle runs a module in the interpreter, on its own, to say what it computes.
type oracle struct {
	t    *testing.T
	opts []Option
}

// agree asks both modules the same and reports what differs. What one of them could not finish within a
// limit is not compared: the interpreter is slower and its stack another.
func (o oracle) agree(m *Module, bin []byte) error {
	ctx := context.Background()
	ref, err := New(ctx, bin, o.opts...)
	if err != nil {
		return nil // its limits are others: it may take too long to start
	}
	defer ref.Close()
	for _, f := range m.Functions() {
		switch f.Name {
		case "loop", "recurse", "exhaust": // endless on purpose
			continue
		case "clock", "random": // they go on with each call, and the good module is asked often
			continue
		}
		if f.Name == "count" && m.info().stateful {
			continue // it goes on from the state that it was given, by a damaged isomer_save if that came before
		}
		got, err1 := ask(ctx, m, f)
		want, err2 := ask(ctx, ref, f)
		var limit *LimitError
		if errors.As(err1, &limit) || errors.As(err2, &limit) {
			return nil // the instance is another one now
		}
		// After a trap both have a fresh instance.
		if (err1 == nil) != (err2 == nil) || lost(err1) != lost(err2) || !alike(m, f, got, want) {
			return fmt.Errorf("%s: got %.40q, %v; want %.40q, %v", f.Name, got, err1, want, err2)
		}
	}
	return nil
}

// alike compares outputs; the payload of NaN is the engine's affair.
func alike(m *Module, f abi.Function, got, want []byte) bool {
	if f.Convention == abi.Tensors && len(got) == len(want) && len(got) > 0 {
		return compareTensors(m.info().manifest.Outputs, got, want, 0) == nil
	}
	return bytes.Equal(got, want)
}

func ask(ctx context.Context, m *Module, f abi.Function) ([]byte, error) {
	switch f.Convention {
	case abi.Image, abi.WasmtubeImage:
		return m.CallImage(ctx, f.Name, Image{Width: 2, Height: 1, RGB: []byte{0, 50, 100, 100, 150, 200}})
	case abi.Tensors:
		total := 0
		for _, s := range m.info().manifest.Inputs {
			n, _ := s.ByteSize()
			total += n
		}
		return m.Call(ctx, f.Name, bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, total/4))
	case abi.Scalar:
		r := m.info().lookup(f.Name)
		args := make([]Value, len(r.sig.Params))
		for k, t := range r.sig.Params {
			args[k], _ = valueOf(t, strconv.Itoa(k+2))
		}
		out, err := m.CallScalar(ctx, f.Name, args...)
		for k, v := range out {
			if v.Float() != v.Float() {
				out[k].bits = 0 // as in alike
			}
		}
		return fmt.Append(nil, out), err
	}
	return m.Call(ctx, f.Name, []byte("0123456789"))
}

// TestHostileFiles gives random truncations and bit flips of real modules to the watcher: each is refused,
// or serves and computes what those bytes compute; the good module is never lost. The watcher's look is
// called without waiting for events; TestHostileFilesWatched has these.
func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "isomer"); err == nil { // memory: no disk is worn
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		dir = shm
	}
	compiled, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	defer compiled.Close()
	interp, err := wazero.New(wazero.WithInterpreter())
	if err != nil {
		t.Fatal(err)
	}
	defer interp.Close()
	check := oracle{t, append(hostileLimits(), WithEngine(interp))}

	goods := realModules(t)
	path := filepath.Join(dir, "m.wasm")
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := goods[0]
	put(good)
	refused := map[Step]int{}
	m, err := Open(t.Context(), path, append(hostileLimits(), WithEngine(compiled), WithWatch(false), WithEvents(func(e Event) {
		if e.Kind == Refused {
			refused[e.Step]++
		}
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w := newWatcher(path)
	w.m = m
	defer w.close()
	look := func() {
		t.Helper()
		for begin := time.Now(); w.look() > 0; { // a lease may not be to be had
			if time.Since(begin) > time.Minute {
				t.Fatal("the file is never taken")
			}
			time.Sleep(time.Millisecond)
		}
	}
	serves := func(bin []byte, what string) {
		t.Helper()
		if got := m.Digest(); got != digestOf(bin) {
			t.Fatalf("%s: %.12s serves, want %.12s", what, got, digestOf(bin))
		}
	}

	r := rand.New(rand.NewPCG(2023, 11))
	n, served, same, again := hostileCount(t), 0, 0, 0
	last := "" // digest that was refused last, which is not tried again
	for k := range n {
		if k%(n/len(goods)+1) == 0 { // in turn
			good = goods[k/(n/len(goods)+1)]
			put(good)
			look()
			serves(good, "a whole module")
			last = ""
		}
		bad := damage(r, good)
		if bytes.Equal(bad, good) {
			same++
			continue
		}
		put(bad)
		look()
		if m.Stats().LastRefusal != nil {
			serves(good, "after a refusal")
			if d := digestOf(bad); d == last {
				again++
			} else {
				last = d
			}
			if k%16 == 0 {
				if err := check.agree(m, good); err != nil {
					t.Fatalf("file %d: the good module is not what it was: %v", k, err)
				}
			}
			continue
		}
		serves(bad, "without a refusal")
		if err := check.agree(m, bad); err != nil {
			t.Errorf("file %d: %v", k, err)
		}
		served++
		put(good)
		look()
		serves(good, "the good module again")
		last = ""
	}
	total := 0
	for _, step := range slices.Sorted(maps.Keys(refused)) {
		t.Logf("refused, %-12s %6d", step, refused[step])
		total += refused[step]
	}
	t.Logf("served correctly      %6d", served)
	t.Logf("files                 %6d of %d modules, %d unchanged by their damage, %d the same as the one before", n, len(goods), same, again)
	if total+served+same+again != n || served == 0 || total == 0 {
		t.Errorf("%d refused and %d served of %d", total, served, n)
	}
}

// TestHostileFilesWatched does the same with the events of the system, and callers.
func TestHostileFilesWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.wasm")
	good := realModules(t)[0]
	put := func(b []byte, rename bool) {
		t.Helper()
		to := path
		if rename {
			to += ".new"
		}
		err := os.WriteFile(to, b, 0o600)
		if err == nil && rename {
			err = os.Rename(to, path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(good, true)
	events := make(chan Event, 100_000)
	m, err := Open(t.Context(), path, append(hostileLimits(), WithEvents(func(e Event) { events <- e }))...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	// wait returns what became of bin.
	wait := func(bin []byte) EventKind {
		t.Helper()
		digest, over := digestOf(bin), time.After(time.Minute)
		for {
			select {
			case e := <-events:
				if e.Digest == digest && (e.Kind == Refused || e.Kind == Swapped) {
					return e.Kind
				}
			case <-over:
				t.Fatal("a file was not noticed")
			}
		}
	}
	r := rand.New(rand.NewPCG(7, 7))
	tried := map[string]bool{digestOf(good): true}
	for k := range max(20, hostileCount(t)/100) {
		bad := damage(r, good)
		if d := digestOf(bad); tried[d] {
			continue
		} else {
			tried[d] = true
		}
		put(bad, k%2 == 0)
		if wait(bad) == Swapped {
			put(good, k%2 == 0)
			if wait(good) != Swapped {
				t.Fatal("the good module is refused")
			}
			continue
		}
		if out, err := m.Call(t.Context(), "version", nil); err != nil || !bytes.Contains(good, out) {
			t.Fatalf("file %d: %q, %v", k, out, err)
		}
	}
}
