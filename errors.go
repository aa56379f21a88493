package isomer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/engine"
)

// Errors that errors.Is finds. Those that come alone begin with the package; the others are always within
// an error that says where: name@version and function, or file and step.
var (
	// ErrOption is an option that cannot be applied.
	ErrOption = errors.New("isomer: bad option")
	// ErrClosed is a call after Close.
	ErrClosed = errors.New("isomer: module is closed")
	// ErrBusy is a call for which no instance is free and the queue is full.
	ErrBusy = errors.New("all instances are busy and the queue is full")
	// ErrNoFunction is a function that the module does not have; the error is a *NoFunctionError.
	ErrNoFunction = errors.New("no such function")
	// ErrArgument is input that does not fit the function: size, shape, type or convention.
	ErrArgument = errors.New("bad argument")
	// ErrResult is a result that the function's encoding cannot hold, such as NaN in JSON. Neither the
	// argument nor the module is at fault: the instance serves on.
	ErrResult = errors.New("result cannot be encoded")
	// ErrRefused is a module that was not published; the error is a *RefusedError.
	ErrRefused = errors.New("module refused")
	// ErrPermission is a module that wants what it was not granted; the error is a *PermissionError within a
	// *RefusedError.
	ErrPermission = errors.New("permission is missing")
	// ErrSuperseded is the cause of a refusal: while the module was in its shadow, a newer one came, or a
	// Rollback.
	ErrSuperseded = errors.New("a newer module or a rollback came before the shadow ended")
	// ErrStoreFull is a Set beyond the limit of what a module may keep in a Store.
	ErrStoreFull = errors.New("no room is left for this module")
	// ErrNoPrevious is a Rollback with nothing to return to.
	ErrNoPrevious = errors.New("isomer: no previous module")
)

// AppError is the guest's own "no": the function returned an error. The instance serves on.
type AppError struct {
	Function string
	Module   string // name@version
	Message  string // the guest's words
}

func (e *AppError) Error() string { return fmt.Sprintf("%s: %s: %s", e.Module, e.Function, e.Message) }

// TrapError is a call that killed its instance, or an answer that breaks the contract. The instance
// was replaced.
type TrapError struct {
	Function string
	Module   string // name@version
	Cause    error  // *engine.TrapError, or an error of package abi
	// Stderr is the end of what the call wrote to standard error, at most 2 KiB: a panic's words.
	Stderr string
}

func (e *TrapError) Error() string {
	var t *engine.TrapError
	text := fmt.Sprintf("%s: %s: %v", e.Module, e.Function, e.Cause)
	if errors.As(e.Cause, &t) {
		text = fmt.Sprintf("%s: %s: trap: %s", e.Module, e.Function, t.Reason)
	}
	if e.Stderr != "" {
		text += "; standard error: " + e.Stderr
	}
	return text
}

// Unwrap gives the cause.
func (e *TrapError) Unwrap() error { return e.Cause }

// LimitError is a call that met a limit of the host.
type LimitError struct {
	Function string
	Module   string // name@version
	Limit    engine.Limit
	Cause    error // *engine.LimitError
	// After is the limit of WithDeadline where the call met that; 0: another limit, or the caller's own.
	After time.Duration
}

func (e *LimitError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("%s: %s: %s limit: stopped after %v", e.Module, e.Function, e.Limit, e.After)
	}
	var l *engine.LimitError
	if errors.As(e.Cause, &l) && l.Detail != "" {
		return fmt.Sprintf("%s: %s: %s limit: %s", e.Module, e.Function, e.Limit, l.Detail)
	}
	return fmt.Sprintf("%s: %s: %s limit", e.Module, e.Function, e.Limit)
}

// Unwrap gives the cause, so that errors.Is(err, context.DeadlineExceeded) works.
func (e *LimitError) Unwrap() error { return e.Cause }

// NoFunctionError names the functions that exist instead.
type NoFunctionError struct {
	Function string
	Module   string // name@version
	Have     []string
}

func (e *NoFunctionError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("%s: no function %q; it has none that can be called", e.Module, e.Function)
	}
	return fmt.Sprintf("%s: no function %q; it has %s", e.Module, e.Function, strings.Join(e.Have, ", "))
}

// Unwrap makes errors.Is(err, ErrNoFunction) true.
func (e *NoFunctionError) Unwrap() error { return ErrNoFunction }

// Step is a part of a module's way into service.
type Step string

// The steps, in order. Golden cases and starts are tried in an instance of their own; if that one cannot
// be made, the step is StepInstantiate.
const (
	StepRead        Step = "read"
	StepManifest    Step = "manifest"
	StepCompile     Step = "compile"
	StepPermissions Step = "permissions"
	StepGate        Step = "gate"
	StepShadow      Step = "shadow"
	StepInstantiate Step = "instantiate"
	StepCarry       Step = "carry state"
)

// stepOf is the step of an error of compile.
func stepOf(err error) Step {
	if errors.Is(err, ErrPermission) {
		return StepPermissions
	}
	return StepCompile
}

// RefusedError is a module that did not get into service, and why. Whatever served before serves on.
type RefusedError struct {
	Path   string // empty: not from a file
	Digest string // empty: it could not be read
	Step   Step   // where it failed
	Cause  error
}

func (e *RefusedError) Error() string {
	what := e.Path
	if what == "" {
		what = "module"
	}
	if e.Digest != "" {
		what += fmt.Sprintf(" (sha256 %.12s)", e.Digest)
	}
	return fmt.Sprintf("isomer: %s refused: %s: %v", what, e.Step, e.Cause)
}

// Unwrap makes errors.Is find ErrRefused and the cause.
func (e *RefusedError) Unwrap() []error { return []error{ErrRefused, e.Cause} }

// errOutput is an output beyond the limit.
func errOutput(n, limit int) error {
	return &engine.LimitError{Limit: engine.OutputSz, Detail: fmt.Sprintf("%d bytes, allowed are %d", n, limit)}
}

// lost reports whether err leaves the instance unusable.
func lost(err error) bool {
	switch e := err.(type) {
	case *TrapError:
		return true
	case *LimitError:
		switch e.Limit {
		case engine.OutputSz, engine.MemorySz:
			return false // refused by the host, the guest is as it was
		}
		return true
	}
	return false
}
