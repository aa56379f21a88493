package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// TrapError is a call that the guest did not survive.
type TrapError struct {
	Func   string // the export that was called
	Reason string // one line, such as "unreachable"
	Stack  string // the guest's stack, one frame a line, innermost first; may be empty
	Cause  error  // the engine's own error
}

func (e *TrapError) Error() string { return fmt.Sprintf("%s trapped: %s", e.Func, e.Reason) }

// Unwrap gives the engine's own error.
func (e *TrapError) Unwrap() error { return e.Cause }

// Limit says which limit was met.
type Limit string

// The limits.
const (
	Deadline Limit = "deadline" // the call took longer than allowed
	Canceled Limit = "canceled" // the caller's context was canceled during the call
	MemorySz Limit = "memory"   // more memory than the ceiling
	StackSz  Limit = "stack"    // calls nested too deeply
	OutputSz Limit = "output"   // more output than allowed
)

// LimitError is a limit of the host that ended a call or refused a module.
type LimitError struct {
	Limit  Limit
	Func   string // the export that was called, or empty
	Detail string // numbers: what was wanted, what is allowed
	Cause  error  // context.DeadlineExceeded and the like, or nil
}

func (e *LimitError) Error() string {
	var b strings.Builder
	if e.Func != "" {
		b.WriteString(e.Func + ": ")
	}
	b.WriteString(string(e.Limit) + " limit")
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

// Unwrap gives the cause, so that errors.Is(err, context.DeadlineExceeded) works.
func (e *LimitError) Unwrap() error { return e.Cause }

// CompileError is a binary that the engine does not accept.
type CompileError struct {
	Engine string
	Cause  error
}

func (e *CompileError) Error() string { return fmt.Sprintf("compile (%s): %v", e.Engine, e.Cause) }

// Unwrap gives the engine's own error.
func (e *CompileError) Unwrap() error { return e.Cause }

// LinkError lists every import of a module that its host does not provide, or not with that type.
type LinkError struct {
	Missing    []Import
	Mismatched []string // an import each, with the type that it has and the one that the host has
	Hint       string   // what to grant, where that is known
}

func (e *LinkError) Error() string {
	var parts []string
	if len(e.Missing) > 0 {
		parts = append(parts, e.missing())
	}
	if len(e.Mismatched) > 0 {
		parts = append(parts, "wrong type of import "+strings.Join(e.Mismatched, "; "))
	}
	return strings.Join(parts, "; ")
}

func (e *LinkError) missing() string {
	names := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		names[i] = m.String()
	}
	msg := fmt.Sprintf("%d imports are not provided: %s", len(names), strings.Join(names, ", "))
	if len(names) == 1 {
		msg = "1 import is not provided: " + names[0]
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

// StartError is a module that does not survive its own start.
type StartError struct {
	Func  string // "start section" or "_initialize"
	Cause error
}

func (e *StartError) Error() string { return fmt.Sprintf("start: %v", e.Cause) }

// Unwrap gives the trap or limit.
func (e *StartError) Unwrap() error { return e.Cause }

// Stopped is the error of a call that ended because its context did, for cause; engines fill in the function.
func Stopped(cause error) *LimitError {
	e := &LimitError{Limit: Canceled, Detail: "the call was stopped", Cause: cause}
	if errors.Is(cause, context.DeadlineExceeded) {
		e.Limit = Deadline
	}
	return e
}
