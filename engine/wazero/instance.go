package wazero

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wasi"
)

// instance is a sandbox. Its fields belong to the goroutine that calls.
type instance struct {
	code  *code
	mod   api.Module // nil until the start section runs
	mem   *memory
	host  []engine.HostFunc // by import
	wasi  *wasi.System      // nil: not granted, or not asked for
	funcs map[string]*function

	ctx      context.Context // of the call under way
	depth    int             // calls under way
	lent     uint            // calls of host functions so far
	failed   error           // what ended a call from outside: no outer call goes on after it
	crossing crossing
}

// bind takes over what wazero made, or is about to have made when the start section calls the host.
func (i *instance) bind(mod api.Module) {
	if i.mod = mod; len(i.code.compiled.ExportedMemories()) > 0 {
		i.mem = &memory{m: mod.Memory()}
	}
}

func (i *instance) Func(name string) engine.Func {
	if f := i.funcs[name]; f != nil {
		return f
	}
	if i.mod == nil {
		return nil
	}
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return nil
	}
	out := &function{i: i, f: f, name: name}
	i.funcs[name] = out
	return out
}

func (i *instance) Memory() engine.Memory {
	if i.mem == nil {
		return nil // a nil *memory in the interface would not be nil
	}
	return i.mem
}

func (i *instance) Global(name string) (uint64, bool) {
	if i.mod == nil {
		return 0, false
	}
	g := i.mod.ExportedGlobal(name)
	if g == nil {
		return 0, false
	}
	return g.Get(), true
}

func (i *instance) Close() error {
	if i.mem != nil {
		i.mem.closed = true
	}
	return errors.Join(i.mod.Close(context.Background()), i.wasi.Close())
}

type function struct {
	i    *instance
	f    api.Function
	name string
}

func (f *function) Call(ctx context.Context, stack []uint64) error {
	i := f.i
	if i.depth > 0 {
		return f.nested(ctx, stack)
	}
	i.ctx, i.depth = ctx, 1
	err := f.f.CallWithStack(&i.crossing, stack)
	i.ctx, i.depth = nil, 0
	if err != nil {
		return i.failure(f.name, err)
	}
	return nil
}

// nested is a call out of a host function. A wazero function is not to be entered twice, so each level
// has its own (10 kB of stack, which the collector takes back).
func (f *function) nested(ctx context.Context, stack []uint64) error {
	i := f.i
	if i.failed != nil {
		return i.failed
	}
	if i.depth >= engine.MaxNesting {
		i.failed = engine.Nested(f.name)
		return i.failed
	}
	outer := i.ctx
	i.ctx = ctx
	i.depth++
	err := i.mod.ExportedFunction(f.name).CallWithStack(&i.crossing, stack)
	i.depth--
	i.ctx = outer
	if err != nil {
		i.failed = i.failure(f.name, err)
		return i.failed
	}
	return nil
}

type memory struct {
	m      api.Memory
	closed bool // its addresses are given back
}

func (m *memory) Bytes() []byte {
	if m.closed {
		return nil
	}
	b, _ := m.m.Read(0, m.m.Size())
	return b
}

func (m *memory) Grow(pages uint32) (uint32, bool) {
	if m.closed {
		return 0, false
	}
	return m.m.Grow(pages)
}

// failure turns what wazero reports into the seam's errors. wazero marks a trap by text alone:
// "wasm error: REASON\nwasm stack trace:\n\tframe…".
func (i *instance) failure(fn string, err error) error {
	if !errors.Is(err, errOutside) {
		err = callError(fn, err)
		if trap, ok := err.(*engine.TrapError); ok && i.code.shift != nil {
			trap.Stack = i.code.shift.Frames(trap.Stack)
		}
		return err
	}
	if limit, ok := i.failed.(*engine.LimitError); ok {
		of := *limit
		of.Func = fn
		return &of
	}
	_, stack, _ := strings.Cut(err.Error(), "wasm stack trace:\n")
	stack = frames(stack)
	if i.code.shift != nil {
		stack = i.code.shift.Frames(stack)
	}
	return &engine.TrapError{Func: fn, Reason: engine.Reason(i.failed), Stack: stack, Cause: i.failed}
}

func callError(fn string, err error) error {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return &engine.TrapError{Func: fn, Reason: fmt.Sprintf("the module exited with code %d", exit.ExitCode()), Cause: err}
	}
	text := err.Error()
	// A start section's trap is wrapped by wazero in front, host panics behind.
	if i := strings.Index(text, "wasm error: "); i >= 0 {
		text = text[i+len("wasm error: "):]
	}
	reason, rest, _ := strings.Cut(text, "\n")
	if reason == "stack overflow" || strings.HasPrefix(text, "stack overflow") {
		return &engine.LimitError{Limit: engine.StackSz, Func: fn, Detail: "calls nest too deeply", Cause: err}
	}
	_, stack, _ := strings.Cut(rest, "wasm stack trace:\n")
	return &engine.TrapError{Func: fn, Reason: reason, Stack: frames(stack), Cause: err}
}

// frames is a guest's stack, one frame a line.
func frames(stack string) string {
	if i := strings.Index(stack, "\n\n"); i >= 0 {
		stack = stack[:i] // the Go runtime's own trace after a panic in a host function
	}
	lines := strings.Split(strings.TrimSpace(stack), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
