package wazero

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isomer-iot/isomer/engine"
)

type instance struct {
	mod api.Module
	mem *memory
}

func (i *instance) Func(name string) engine.Func {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return nil
	}
	return &function{f: f, name: name}
}

func (i *instance) Memory() engine.Memory {
	if i.mem == nil {
		return nil // a nil *memory in the interface would not be nil
	}
	return i.mem
}

func (i *instance) Global(name string) (uint64, bool) {
	g := i.mod.ExportedGlobal(name)
	if g == nil {
		return 0, false
	}
	return g.Get(), true
}

func (i *instance) Close() error { return i.mod.Close(context.Background()) }

type function struct {
	f    api.Function
	name string
}

func (f *function) Call(ctx context.Context, stack []uint64) error {
	if err := f.f.CallWithStack(ctx, stack); err != nil {
		return callError(f.name, ctx, err)
	}
	return nil
}

type memory struct{ m api.Memory }

func (m *memory) Bytes() []byte {
	b, _ := m.m.Read(0, m.m.Size())
	return b
}

func (m *memory) Grow(pages uint32) (uint32, bool) { return m.m.Grow(pages) }

// callError turns what wazero reports into the seam's errors. wazero marks a trap by text alone:
// "wasm error: REASON\nwasm stack trace:\n\tframe…".
func callError(fn string, ctx context.Context, err error) error {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case sys.ExitCodeDeadlineExceeded:
			return &engine.LimitError{Limit: engine.Deadline, Func: fn, Detail: "the call was stopped", Cause: context.DeadlineExceeded}
		case sys.ExitCodeContextCanceled:
			return &engine.LimitError{Limit: engine.Canceled, Func: fn, Detail: "the call was stopped", Cause: context.Canceled}
		}
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
	if i := strings.Index(stack, "\n\n"); i >= 0 {
		stack = stack[:i] // the Go runtime's own trace after a panic in a host function
	}
	frames := strings.Split(strings.TrimSpace(stack), "\n")
	for i := range frames {
		frames[i] = strings.TrimSpace(frames[i])
	}
	return &engine.TrapError{Func: fn, Reason: reason, Stack: strings.Join(frames, "\n"), Cause: err}
}
