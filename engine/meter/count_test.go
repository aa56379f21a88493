package meter_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/wasm"
)

// down takes one from a local and goes to the head of the loop unless it is 0, and ends the loop.
func down(local byte) []byte {
	return []byte{0x20, local, 0x41, 0x7f, 0x6a, 0x21, local, 0x20, local, 0x0d, 0, 0x0b}
}

// turns is a loop of n turns (below 64) that counts down a local.
func turns(n, local byte, body ...byte) []byte {
	return slices.Concat([]byte{0x41, n, 0x21, local, 0x03, 0x40}, body, down(local))
}

// function is a module whose only function f () -> i32 has 16 variables and returns the first.
func function(body []byte) *wasm.Module {
	m := &wasm.Module{}
	m.Export("f", wasm.KindFunc, m.DeclareFunc("f", wasm.FuncType{Results: []wasm.ValType{wasm.I32}}))
	m.Funcs[0].Locals = []wasm.LocalGroup{{Count: 16, Type: wasm.I32}}
	m.Funcs[0].Body = slices.Concat(body, []byte{0x20, 0, 0x0b})
	return m
}

var bump = []byte{0x20, 0, 0x41, 1, 0x6a, 0x21, 0} // the first variable is one more

func decoded(t *testing.T, m *wasm.Module) *wasm.Module {
	t.Helper()
	out, err := wasm.Decode(m.Encode())
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCountedLoopsPayBefore finds loops unchanged whose turns can be counted, and those that only look alike
// with a payment at their head.
func TestCountedLoopsPayBefore(t *testing.T) {
	tee := slices.Concat([]byte{0x41, 9, 0x21, 1, 0x03, 0x40}, bump, []byte{0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b})
	for name, body := range map[string][]byte{
		"alone": turns(9, 1, bump...), "nested": turns(9, 1, turns(9, 2, bump...)...), "tee": tee,
		"leaves": slices.Concat([]byte{0x02, 0x40}, turns(9, 1, 0x41, 0, 0x0d, 1), []byte{0x0b}),
	} {
		m := decoded(t, function(body))
		if _, err := meter.Rewrite(m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(m.Funcs[0].Body, body) || len(m.Funcs[0].Body) == len(body)+3 {
			t.Errorf("%s: the loop is changed, or not paid for: %x", name, m.Funcs[0].Body)
		}
		decoded(t, m)
	}
	for name, body := range endless() {
		m := decoded(t, function(body))
		if _, err := meter.Rewrite(m); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(m.Funcs[0].Body, body) {
			t.Errorf("%s: the loop pays nothing", name)
		}
	}
}

// endless are loops that look as if their turns could be counted.
func endless() map[string][]byte {
	deep := bump
	for k := byte(15); k > 0; k-- {
		deep = turns(63, k, deep...)
	}
	same := turns(9, 1, turns(9, 1)...)
	return map[string][]byte{
		"set": turns(9, 1, 0x41, 5, 0x21, 1), "tee": turns(9, 1, 0x41, 5, 0x22, 1, 0x1a), "br": turns(9, 1, 0x0c, 0),
		"br_if": turns(9, 1, 0x41, 1, 0x0d, 0), "br_table": turns(9, 1, 0x41, 0, 0x0e, 0, 0), "from a block": turns(9, 1, 0x02, 0x40, 0x0c, 1, 0x0b),
		"set in a block": turns(9, 1, 0x02, 0x40, 0x41, 5, 0x21, 1, 0x0b), "from 0": turns(0, 1), "from -1": turns(0x7f, 1),
		"loop around": slices.Concat([]byte{0x03, 0x40}, turns(9, 1, 0x0c, 1), []byte{0x0b}), "too many": deep, "one variable": same,
		"other variable": slices.Concat([]byte{0x41, 9, 0x21, 1, 0x03, 0x40, 0x20, 2, 0x41, 0x7f, 0x6a, 0x21, 1, 0x20, 1, 0x0d, 0, 0x0b}),
		"other test":     slices.Concat([]byte{0x41, 9, 0x21, 1, 0x03, 0x40, 0x20, 1, 0x41, 0x7f, 0x6a, 0x21, 1, 0x41, 1, 0x0d, 0, 0x0b}),
		"set before":     slices.Concat([]byte{0x41, 9, 0x21, 1, 0x41, 0x7f, 0x21, 1, 0x03, 0x40}, down(1)),
	}
}

// TestEndlessLoopsAreStopped runs them on both engines that use the meter.
func TestEndlessLoopsAreStopped(t *testing.T) {
	for _, opts := range [][]wazero.Option{nil, {wazero.WithInterpreter()}} {
		e, err := wazero.New(opts...)
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range endless() {
			call := func(ctx context.Context) error {
				return call(t, e, function(body).Encode(), ctx, true, make([]uint64, 1))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			var limit *engine.LimitError
			if err := call(ctx); !errors.As(err, &limit) || limit.Limit != engine.Deadline {
				t.Errorf("%s: %s: %v", e.Name(), name, err)
			}
			cancel()
		}
		_ = e.Close()
	}
}

func call(t *testing.T, e engine.Engine, bin []byte, ctx context.Context, metered bool, stack []uint64) error {
	t.Helper()
	c, err := e.Compile(t.Context(), bin, engine.CompileConfig{Interruptible: metered})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i, err := c.Instantiate(t.Context(), engine.InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	return i.Func("f").Call(ctx, stack)
}

// TestMeteredLoopsDoTheSame compares what functions of loops return with and without the meter.
func TestMeteredLoopsDoTheSame(t *testing.T) {
	e, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	around := func(n, local byte, body ...byte) []byte { // the same loop, with a head that cannot be counted
		return slices.Concat([]byte{0x41, n, 0x21, local, 0x01, 0x03, 0x40}, body, down(local))
	}
	for name, body := range map[string][]byte{
		"counted": turns(63, 1, bump...), "nested": turns(63, 1, turns(63, 2, bump...)...), "three": turns(63, 1, turns(63, 2, turns(63, 3, bump...)...)...),
		"paid": around(63, 1, bump...), "mixed": around(63, 1, turns(63, 2, bump...)...), "mixed within": turns(63, 1, around(63, 2, bump...)...),
		"large": around(63, 1, bytes.Repeat(bump, 20)...), "left": turns(63, 1, slices.Concat(bump, []byte{0x20, 1, 0x41, 40, 0x46, 0x0d, 1})...),
	} {
		body = slices.Concat([]byte{0x02, 0x40}, body, []byte{0x0b})
		var got [2]uint64
		for k := range got {
			stack := make([]uint64, 1)
			if err := call(t, e, function(body).Encode(), t.Context(), k == 1, stack); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got[k] = stack[0]
		}
		if got[0] != got[1] || got[0] == 0 {
			t.Errorf("%s: %d, metered %d", name, got[0], got[1])
		}
	}
}

// TestTurnBeyondABatchGoesOn has a loop of which one turn costs more than the host gives at once: the payment
// must not be asked for again and again without a turn.
func TestTurnBeyondABatchGoesOn(t *testing.T) {
	e, err := wazero.New(wazero.WithInterpreter())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fill := []byte{0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0xf8, 0, 0xfc, 0x0b, 0} // 1.9 MiB, price 122,880; a batch is 65,536
	for name, body := range map[string][]byte{
		"counted": turns(3, 1, slices.Concat(fill, bump)...),
		"paid":    slices.Concat([]byte{0x41, 3, 0x21, 1, 0x01, 0x03, 0x40}, fill, bump, down(1)),
	} {
		m := function(body)
		m.AddMemory(32, 32)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		stack := make([]uint64, 1)
		if err := call(t, e, m.Encode(), ctx, true, stack); err != nil || stack[0] != 3 {
			t.Errorf("%s: %d turns, %v", name, stack[0], err)
		}
		cancel()
	}
}

// TestFrames gives functions without a name the index that they had.
func TestFrames(t *testing.T) {
	m := &wasm.Module{}
	m.ImportFunc("env", "f", wasm.FuncType{})
	m.DefineFunc(m.DeclareFunc("", wasm.FuncType{}), wasm.NewCode())
	shift, err := meter.Rewrite(decoded(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shift.Frames("m.$0()\nm.$2(i32)\nm.name()\nm.$\n"), "m.$0()\nm.$1(i32)\nm.name()\nm.$\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
