package isomer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// GoldenError is a golden case that failed. All that failed are joined in the Cause of a *RefusedError with
// StepGate; where the last one lost its instance, those behind it were not tried.
type GoldenError struct {
	Index    int // in the manifest's list
	Function string
	Cause    error // what differs, or the error of the call
}

func (e *GoldenError) Error() string {
	return fmt.Sprintf("golden[%d] %s: %v", e.Index, e.Function, e.Cause)
}

// Unwrap gives the cause.
func (e *GoldenError) Unwrap() error { return e.Cause }

// gate runs the golden cases in an instance of their own, which is thrown away: what they leave
// behind in memory must not be what the first real call meets. It reports every case that fails.
// A failure has its step: an instance that cannot be made is no case that failed.
func (m *Module) gate(try *trial, t *SwapTimes) (Step, error) {
	ctx, r := try.ctx, try.r
	begin := time.Now()
	if len(r.manifest.Golden) == 0 {
		return "", nil
	}
	inst, err := m.instanceFor(ctx, r, rehearsing)
	if err != nil {
		return StepInstantiate, try.blame(err)
	}
	defer func() { _ = inst.sandbox.Close() }()
	var failed []error
	for k, g := range r.manifest.Golden {
		err := m.golden(ctx, r, inst, g)
		if err == nil {
			continue
		}
		failed = append(failed, &GoldenError{Index: k, Function: g.Function, Cause: try.blame(err)})
		if lost(err) {
			break // the instance died; the cases behind it cannot be tried
		}
	}
	t.Gate += time.Since(begin)
	if len(failed) > 0 {
		return StepGate, errors.Join(failed...)
	}
	m.emit(r, Event{Kind: Gated, Took: t.Gate, Cases: len(r.manifest.Golden)})
	return "", nil
}

func (m *Module) golden(ctx context.Context, r *release, inst *instance, g abi.Golden) error {
	f := r.lookup(g.Function)
	if f == nil {
		return r.noFunction(g.Function)
	}
	c := call{m: m, g: &generation{release: r}, s: &slot{inst: inst}, f: f}
	c.ctx = m.guestContext(ctx, r, nil)
	defer m.endGuest(c.ctx)
	got, err := c.dispatch(nil, g.Input, g.Width, g.Height)
	if err != nil {
		return c.classify(err)
	}
	return compare(f, r.manifest.Outputs, got, g.Output, g.Tolerance)
}
