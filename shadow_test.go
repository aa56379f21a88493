package isomer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/wasm"
)

// swapBeside swaps in the background.
func swapBeside(ctx context.Context, m *isomer.Module, bin []byte) <-chan error {
	done := make(chan error, 1)
	go func() { done <- m.Swap(ctx, bin) }()
	return done
}

func wait(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("the shadow never ended")
		return nil
	}
}

// calling repeats f until the shadow has ended, since calls beyond its queue are dropped.
func calling(t *testing.T, done <-chan error, f func() error) error {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < patience; {
		select {
		case err := <-done:
			return err
		default:
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("the shadow never ended")
	return nil
}

func echo(m *isomer.Module) func() error {
	return func() error { _, err := m.Call(context.Background(), "echo", []byte("live input")); return err }
}

func TestShadowAgrees(t *testing.T) {
	img := isomer.Image{Width: 2, Height: 1, RGB: []byte{0, 50, 100, 100, 150, 200}}
	for name, call := range map[string]func(m *isomer.Module) error{
		"bytes": func(m *isomer.Module) error { return echo(m)() },
		"error": func(m *isomer.Module) error {
			if _, err := m.Call(context.Background(), "fail", nil); !errors.As(err, new(*isomer.AppError)) {
				return err
			}
			return nil
		},
		"image": func(m *isomer.Module) error { _, err := m.CallImage(context.Background(), "average", img); return err },
		"scalar": func(m *isomer.Module) error {
			_, err := m.CallScalar(context.Background(), "mul", isomer.F64(6), isomer.F64(math.NaN()))
			return err
		},
		"scalar, JSON": func(m *isomer.Module) error {
			_, err := m.Call(context.Background(), "mul", []byte("[6,7]"))
			return err
		},
		"tensors": func(m *isomer.Module) error {
			_, err := m.Run(context.Background(), isomer.TensorOf([]float32{1, 2, 3, 4}))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := newRecorder()
			first, second := tensorGuest(), tensorGuest()
			first.Version, second.Version = "1", "2"
			first.Manifest.Functions = append(first.Manifest.Functions, abi.Function{Name: "fail", Convention: abi.Bytes}, abi.Function{Name: "version", Convention: abi.Bytes},
				abi.Function{Name: "average", Convention: abi.Image}, abi.Function{Name: "mul", Convention: abi.Scalar})
			second.Manifest = first.Manifest
			m := openBytes(t, first.Build(), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 10, Strict: true, For: patience}))
			done := swapBeside(t.Context(), m, second.Build())
			events.wait(t, isomer.ShadowStarted)
			if err := calling(t, done, func() error { return call(m) }); err != nil {
				t.Fatal(err)
			}
			if e := events.wait(t, isomer.ShadowEnded); e.Cases != 10 || e.Differed != 0 || e.Err != nil {
				t.Errorf("event %+v", e)
			}
			if got := version(t, m); got != "2" || m.Stats().LastSwap.Shadow == 0 {
				t.Errorf("version %s, %+v", got, m.Stats().LastSwap)
			}
		})
	}
}

func TestShadowRefusesWhatDiffers(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, guest("1"), events.option(), isomer.WithShadow(isomer.Shadow{MaxDifferences: 2}))
	done := swapBeside(t.Context(), m, guest("2"))
	events.wait(t, isomer.ShadowStarted)
	err := calling(t, done, func() error {
		out, err := m.Call(context.Background(), "version", []byte("what"))
		if string(out) != "1" {
			t.Errorf("version %q answers a caller", out)
		}
		return err
	})
	var refused *isomer.RefusedError
	var shadow *isomer.ShadowError
	if !errors.As(err, &refused) || refused.Step != isomer.StepShadow || !errors.As(err, &shadow) {
		t.Fatalf("err = %v", err)
	}
	if shadow.Differed != 3 || shadow.Compared != 3 || len(shadow.First) != 3 || !strings.Contains(err.Error(), `version("what"): output differs: got "2", want "1"`) {
		t.Errorf("%+v: %v", shadow, err)
	}
	if e := events.wait(t, isomer.ShadowEnded); e.Differed != 3 || e.Err == nil {
		t.Errorf("event %+v", e)
	}
	if got := version(t, m); got != "1" {
		t.Errorf("version %s serves", got)
	}
}

// The candidate traps, says no, has the function no longer, or never answers: each is a difference.
func TestShadowCandidateFails(t *testing.T) {
	for name, test := range map[string]struct{ live, next, text string }{
		"trap":       {"echo", "trap", "trap"},
		"says no":    {"echo", "fail", enginetest.GuestError},
		"no longer":  {"echo", "", `no function "echo"`},
		"never ends": {"echo", "loop", "deadline"},
		"answers":    {"fail", "echo", "want the error"},
	} {
		t.Run(name, func(t *testing.T) {
			events := newRecorder()
			m := openBytes(t, guest("1"), events.option(), isomer.WithDeadline(200*time.Millisecond), isomer.WithShadow(isomer.Shadow{}))
			done := swapBeside(t.Context(), m, renamed(t, guest("2"), test.live, test.next))
			events.wait(t, isomer.ShadowStarted)
			err := calling(t, done, func() error {
				_, err := m.Call(context.Background(), test.live, []byte("x"))
				if errors.As(err, new(*isomer.AppError)) {
					return nil
				}
				return err
			})
			if !errors.As(err, new(*isomer.ShadowError)) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("err = %v", err)
			}
			if got := version(t, m); got != "1" || m.Stats().Failed != 0 {
				t.Errorf("version %s serves, %+v", got, m.Stats())
			}
		})
	}
}

// renamed gives the export next the name of live; empty: live is gone.
func renamed(t *testing.T, bin []byte, live, next string) []byte {
	t.Helper()
	for _, r := range [][2]string{{live, live[:len(live)-1] + "_"}, {next, live}} {
		if r[0] == "" {
			continue
		}
		from, to := append([]byte{byte(len(r[0]))}, r[0]...), append([]byte{byte(len(r[1]))}, r[1]...)
		if len(from) != len(to) || bytes.Count(bin, append(from, 0)) != 1 {
			t.Fatalf("no single export %s", r[0])
		}
		bin = bytes.Replace(bin, append(from, 0), append(to, 0), 1)
	}
	return bin
}

func TestShadowTolerance(t *testing.T) {
	numbers := func(v float32) []byte {
		g := tensorGuest()
		g.Version = "1"
		bin := g.Build()
		want, got := binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(2)), binary.LittleEndian.AppendUint32([]byte{0x43}, math.Float32bits(v))
		out := strings.Replace(string(bin), string(want), string(got), 1)
		if v != 2 && out == string(bin) {
			t.Fatal("the factor of run is not where the test thinks")
		}
		return []byte(out)
	}
	for _, c := range []struct {
		rule func(isomer.ShadowCall) error
		v    float32
		ok   bool
	}{
		{isomer.Exact, 2.00001, false},
		{isomer.Tolerance(1e-3), 2.00001, true},
		{isomer.Tolerance(1e-3), 2.1, false},
		{func(c isomer.ShadowCall) error {
			if len(c.Input) != 16 || len(c.Live) != 16 || len(c.Candidate) != 16 || c.Convention != abi.Tensors {
				t.Errorf("%+v", c)
			}
			return nil
		}, 2.1, true},
	} {
		events := newRecorder()
		m := openBytes(t, numbers(2), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 5, Compare: c.rule}))
		done := swapBeside(t.Context(), m, numbers(c.v))
		events.wait(t, isomer.ShadowStarted)
		err := calling(t, done, func() error {
			_, err := m.Run(context.Background(), isomer.TensorOf([]float32{1, 2, 3, 4}))
			return err
		})
		if (err == nil) != c.ok {
			t.Errorf("%g: %v", c.v, err)
		}
	}
}

func TestShadowWithoutTraffic(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m := openBytes(t, guest("1"), isomer.WithShadow(isomer.Shadow{For: 50 * time.Millisecond, Strict: strict}))
		err := m.Swap(t.Context(), guest("2"))
		if strict && (!errors.As(err, new(*isomer.ShadowError)) || version(t, m) != "1") {
			t.Errorf("strict: %v", err)
		}
		if !strict && (err != nil || version(t, m) != "2") {
			t.Errorf("not strict: %v", err)
		}
	}
}

func TestShadowEnds(t *testing.T) {
	long := isomer.WithShadow(isomer.Shadow{For: 24 * time.Hour})
	begin := func(t *testing.T, ctx context.Context) (*isomer.Module, *recorder, <-chan error) {
		events := newRecorder()
		m := openBytes(t, guest("0"), events.option(), isomer.WithShadow(isomer.Shadow{For: 24 * time.Hour, Calls: 1}))
		done := swapBeside(ctx, m, guest("0 again, so that there is a previous one"))
		events.wait(t, isomer.ShadowStarted)
		must(t, calling(t, done, echo(m)))
		done = swapBeside(ctx, m, guest("2"))
		events.wait(t, isomer.ShadowStarted)
		return m, events, done
	}
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, done := begin(t, ctx)
		cancel()
		if err := wait(t, done); !errors.Is(err, context.Canceled) || !errors.Is(err, isomer.ErrRefused) {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("Close", func(t *testing.T) {
		m, _, done := begin(t, t.Context())
		must(t, m.Close())
		if err := wait(t, done); !errors.Is(err, isomer.ErrClosed) {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("Swap", func(t *testing.T) {
		m, events, done := begin(t, t.Context())
		next := swapBeside(t.Context(), m, guest("3"))
		if err := wait(t, done); !errors.Is(err, isomer.ErrSuperseded) {
			t.Errorf("err = %v", err)
		}
		events.wait(t, isomer.ShadowStarted)
		must(t, calling(t, next, echo(m)))
		if got := version(t, m); got != "3" {
			t.Errorf("version %s", got)
		}
	})
	t.Run("Rollback", func(t *testing.T) {
		m, _, done := begin(t, t.Context())
		must(t, m.Rollback(t.Context()))
		if err := wait(t, done); !errors.Is(err, isomer.ErrSuperseded) {
			t.Errorf("err = %v", err)
		}
		if got := version(t, m); got != "0" {
			t.Errorf("version %s", got)
		}
	})
	t.Run("newer file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "m.wasm")
		write(t, path, guest("1"))
		events := newRecorder()
		m, err := isomer.Open(t.Context(), path, events.option(), long)
		must(t, err)
		replace(t, path, guest("2"))
		events.wait(t, isomer.ShadowStarted)
		replace(t, path, guest("2")) // the same again ends nothing
		replace(t, path, guest("3"))
		if e := events.wait(t, isomer.Refused); !errors.Is(e.Err, isomer.ErrSuperseded) {
			t.Errorf("event %+v", e)
		}
		events.wait(t, isomer.ShadowStarted)
		replace(t, path, guest("1")) // what serves: nothing is left to try
		if e := events.wait(t, isomer.Refused); !errors.Is(e.Err, isomer.ErrSuperseded) {
			t.Errorf("event %+v", e)
		}
		replace(t, path, guest("3")) // tried again, though it was refused before
		events.wait(t, isomer.ShadowStarted)
		must(t, m.Close())
		if e := events.wait(t, isomer.Refused); !errors.Is(e.Err, isomer.ErrClosed) {
			t.Errorf("event %+v", e)
		}
	})
}

// Each answer of a stateful module depends on all calls before, so that only a shadow that has the state
// and then every call agrees. Bursts are larger than the queue: gaps must be noticed.
func TestShadowOfState(t *testing.T) {
	for _, instances := range []int{1, 3} {
		events := newRecorder()
		m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), events.option(), isomer.WithInstances(instances),
			isomer.WithShadow(isomer.Shadow{Calls: 300, Strict: true, For: patience}))
		count := func() error { _, err := m.Call(context.Background(), "count", nil); return err }
		for range 5 {
			must(t, count())
		}
		done := swapBeside(t.Context(), m, enginetest.Guest{Version: "2", Stateful: true}.Build())
		var others sync.WaitGroup
		stop := make(chan struct{})
		for range 3 {
			others.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := count(); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		err := calling(t, done, count)
		close(stop)
		others.Wait()
		if err != nil {
			t.Errorf("%d instances: %v", instances, err)
		}
		if e := events.wait(t, isomer.ShadowEnded); e.Differed != 0 || e.Cases != 300 {
			t.Errorf("event %+v", e)
		}
	}
	// A live call that traps takes its state with it: what follows is compared with a fresh one.
	events := newRecorder()
	m := openBytes(t, enginetest.Guest{Version: "1", Stateful: true}.Build(), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 50, Strict: true, For: patience}))
	done := swapBeside(t.Context(), m, enginetest.Guest{Version: "2", Stateful: true}.Build())
	events.wait(t, isomer.ShadowStarted)
	n := 0
	if err := calling(t, done, func() error {
		if n++; n%20 == 0 {
			_, _ = m.Call(context.Background(), "trap", nil)
		}
		_, err := m.Call(context.Background(), "count", nil)
		return err
	}); err != nil {
		t.Error(err)
	}
	// A module that remembers and cannot save is seen to differ.
	m = openBytes(t, guest("1"), isomer.WithShadow(isomer.Shadow{}))
	_, err := m.Call(t.Context(), "count", nil)
	must(t, err)
	done = swapBeside(t.Context(), m, guest("2"))
	if err := calling(t, done, func() error { _, err := m.Call(context.Background(), "count", nil); return err }); !errors.As(err, new(*isomer.ShadowError)) {
		t.Errorf("err = %v", err)
	}
}

// A candidate that does not keep up costs callers nothing: what does not fit is dropped and counted.
func TestShadowNeverMakesCallersWait(t *testing.T) {
	events := newRecorder()
	release := make(chan struct{})
	m := openBytes(t, guest("1"), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 10, For: patience, Compare: func(isomer.ShadowCall) error {
		<-release
		return nil
	}}))
	done := swapBeside(t.Context(), m, guest("2"))
	events.wait(t, isomer.ShadowStarted)
	for range 1000 { // far more than the queue holds, while nothing is compared
		must(t, echo(m)())
	}
	close(release)
	must(t, calling(t, done, echo(m)))
	if e := events.wait(t, isomer.ShadowEnded); e.Dropped == 0 {
		t.Errorf("event %+v", e)
	}
	// Large inputs are bounded by their bytes.
	big := make([]byte, 3<<20)
	held := make(chan struct{})
	m = openBytes(t, guest("1"), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 3, For: patience, Compare: func(c isomer.ShadowCall) error {
		<-held
		if len(c.Input) != len(big) {
			t.Errorf("input of %d bytes", len(c.Input))
		}
		return isomer.Exact(c)
	}}))
	call := func() error { _, err := m.Call(context.Background(), "echo", big); return err }
	done = swapBeside(t.Context(), m, guest("2"))
	events.wait(t, isomer.ShadowStarted)
	for range 10 {
		must(t, call())
	}
	close(held)
	must(t, calling(t, done, call))
	if e := events.wait(t, isomer.ShadowEnded); e.Dropped < 5 {
		t.Errorf("event %+v", e)
	}
}

// The answer may take the place of the input.
func TestShadowSeesTheInputAsItWas(t *testing.T) {
	events := newRecorder()
	m := openBytes(t, guest("1"), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 3, Compare: func(c isomer.ShadowCall) error {
		if string(c.Input) != "in" || string(c.Live) != "1" {
			t.Errorf("%q → %q", c.Input, c.Live)
		}
		return nil
	}}))
	done := swapBeside(t.Context(), m, guest("2"))
	events.wait(t, isomer.ShadowStarted)
	must(t, calling(t, done, func() error {
		buf := []byte("in")
		_, err := m.CallInto(context.Background(), buf, "version", buf)
		return err
	}))
}

func TestShadowOptions(t *testing.T) {
	for _, s := range []isomer.Shadow{{Calls: -1}, {For: -1}, {MaxDifferences: -1}} {
		if _, err := isomer.New(t.Context(), guest("1"), isomer.WithShadow(s)); !errors.Is(err, isomer.ErrOption) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := isomer.New(t.Context(), guest("1"), isomer.WithHistory("")); !errors.Is(err, isomer.ErrOption) {
		t.Errorf("history: %v", err)
	}
}

// What the candidate writes is not seen: the serving module wrote it already.
func TestShadowIsSilent(t *testing.T) {
	var out bytes.Buffer
	events := newRecorder()
	m := openBytes(t, enginetest.WASIGuest(), isomer.WithOutput(&out), events.option(), isomer.WithShadow(isomer.Shadow{Calls: 3}))
	next, err := wasm.SetCustomSection(enginetest.WASIGuest(), "another", nil)
	must(t, err)
	done := swapBeside(t.Context(), m, next)
	events.wait(t, isomer.ShadowStarted)
	n := 0
	must(t, calling(t, done, func() error { n++; _, err := m.CallScalar(context.Background(), "hello"); return err }))
	if got := strings.Count(out.String(), "hello"); got != n {
		t.Errorf("%d lines for %d calls", got, n)
	}
}
