package engine

import (
	"context"
	"fmt"
	"slices"
)

// HostFunc is a function that the host lends to a module. Parameters and results are of the four
// numeric types.
type HostFunc struct {
	Module, Name string // as the module imports it
	Signature
	// Call has the parameters in stack and leaves the results there, as Func.Call does. ctx is the one
	// of the Func.Call that runs, in the instance that calls: its Memory and Func work inside, such as
	// Func("cabi_realloc"), which may itself call a host function, MaxNesting deep. An error or a panic
	// ends the guest's call with a *TrapError that wraps it, and so does a call of in that failed,
	// whatever Call makes of it. in is not to be closed inside.
	Call func(ctx context.Context, in Instance, stack []uint64) error
}

// MaxNesting is how many calls of an instance may be under way at once, each but the first out of a
// host function of the one before: the first and a cabi_realloc are two.
const MaxNesting = 8

// Resolve finds what every function that the module imports is: the first of host that fits by name. The
// answer has one HostFunc for each import. The error is a *LinkError. An engine calls it through
// wasi.Link, which adds what WASI grants.
func (n Needs) Resolve(host []HostFunc) ([]HostFunc, error) {
	out := make([]HostFunc, len(n.Imports))
	var err LinkError
	for k, i := range n.Imports {
		at := slices.IndexFunc(host, func(h HostFunc) bool { return h.Module == i.Module && h.Name == i.Name })
		if i.Kind != "func" || at < 0 {
			err.Missing = append(err.Missing, i)
			continue
		}
		out[k] = host[at]
		if want := n.Signatures[k]; !want.equal(host[at].Signature) || !want.numeric() {
			err.Mismatched = append(err.Mismatched, fmt.Sprintf("%s.%s: the module imports %v, the host has %v", i.Module, i.Name, want, host[at].Signature))
		}
	}
	if len(err.Missing)+len(err.Mismatched) > 0 {
		return nil, &err
	}
	return out, nil
}

func (s Signature) equal(o Signature) bool {
	return slices.Equal(s.Params, o.Params) && slices.Equal(s.Results, o.Results)
}

// numeric reports whether all types cross the border.
func (s Signature) numeric() bool {
	foreign := func(t ValType) bool { return t < F64 || t > I32 }
	return !slices.ContainsFunc(s.Params, foreign) && !slices.ContainsFunc(s.Results, foreign)
}

// HostError is what ended a call from inside a host function: the Cause of a *TrapError.
type HostError struct {
	Import string // module and name
	Cause  error
}

func (e *HostError) Error() string { return fmt.Sprintf("host function %s: %v", e.Import, e.Cause) }

// Unwrap gives what the host function returned.
func (e *HostError) Unwrap() error { return e.Cause }

// Lend calls h for an engine. The error is a *HostError; a panic is one too.
func (h *HostFunc) Lend(ctx context.Context, in Instance, stack []uint64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &HostError{Import: h.Module + "." + h.Name, Cause: fmt.Errorf("panic: %v", r)}
		}
	}()
	if err := h.Call(ctx, in, stack); err != nil {
		return &HostError{Import: h.Module + "." + h.Name, Cause: err}
	}
	return nil
}

// Nested is the error of a call beyond MaxNesting.
func Nested(fn string) error {
	return &LimitError{Limit: StackSz, Func: fn, Detail: fmt.Sprintf("guest and host call each other more than %d deep", MaxNesting)}
}
