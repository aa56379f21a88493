//go:build wasmtime

package wasmtime

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
)

// plain is err as text, with what C holds of it freed.
func plain(err error) error {
	text := errors.New(err.Error())
	switch e := err.(type) {
	case *wasmtime.Trap:
		e.Close()
	case *wasmtime.Error:
		e.Close()
	}
	return text
}

// reasons name traps as engine/wazero does, so that a log reads the same on each layer.
var reasons = map[wasmtime.TrapCode]string{
	wasmtime.MemoryOutOfBounds:      "out of bounds memory access",
	wasmtime.TableOutOfBounds:       "invalid table access",
	wasmtime.IndirectCallToNull:     "invalid table access",
	wasmtime.BadSignature:           "indirect call type mismatch",
	wasmtime.IntegerOverflow:        "integer overflow",
	wasmtime.IntegerDivisionByZero:  "integer divide by zero",
	wasmtime.BadConversionToInteger: "invalid conversion to integer",
	wasmtime.UnreachableCodeReached: "unreachable",
}

// failure turns what ended a call into the seam's errors, and frees it.
func (i *instance) failure(fn string, err error) error {
	var stack string
	var code *wasmtime.TrapCode
	trap, isTrap := err.(*wasmtime.Trap)
	if isTrap {
		code, stack = trap.Code(), trace(trap.Frames())
		if i.code.shift != nil {
			stack = i.code.shift.Frames(stack)
		}
	}
	cause := plain(err)
	if code == nil && i.failed != nil {
		if limit, ok := i.failed.(*engine.LimitError); ok {
			of := *limit
			of.Func = fn
			return &of
		}
		return &engine.TrapError{Func: fn, Reason: engine.Reason(i.failed), Stack: stack, Cause: i.failed}
	}
	reason, _, _ := strings.Cut(cause.Error(), "\n")
	if code != nil {
		if *code == wasmtime.StackOverflow {
			return &engine.LimitError{Limit: engine.StackSz, Func: fn, Detail: "calls nest too deeply", Cause: cause}
		}
		if r, ok := reasons[*code]; ok {
			reason = r
		}
	}
	return &engine.TrapError{Func: fn, Reason: reason, Stack: stack, Cause: cause}
}

// maxFrames is what a log has room for; recursion has as many as the stack holds.
const maxFrames = 30

// trace writes the guest's stack, one frame a line, innermost first.
func trace(frames []*wasmtime.Frame) string {
	var b strings.Builder
	for n, f := range frames {
		if n == maxFrames {
			fmt.Fprintf(&b, "\n%d more", len(frames)-n)
			break
		}
		if n > 0 {
			b.WriteByte('\n')
		}
		if name := f.FuncName(); name != nil {
			fmt.Fprintf(&b, ".%s", *name)
		} else {
			fmt.Fprintf(&b, ".$%d", f.FuncIndex())
		}
	}
	return b.String()
}
