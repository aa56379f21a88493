package isomer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// defaultGateLimit is long for golden cases of a large model on a small device (the talk gives 0.6 s for
// MobileNetV2 on a Raspberry Pi 4), and short for a person who waits.
const defaultGateLimit = 30 * time.Second

// trial bounds a new module until it serves: its start, its golden cases and the state that it is given.
type trial struct {
	r      *release
	caller context.Context // of who asked for the module
	ctx    context.Context // ends with the limit
	end    context.CancelFunc
	limit  time.Duration // 0: none
}

func nothing() {}

func (m *Module) newTrial(ctx context.Context, r *release) *trial {
	t := &trial{r: r, end: nothing, limit: m.opts.gateLimit}
	t.restart(ctx)
	return t
}

// restart gives what follows the whole limit again.
func (t *trial) restart(ctx context.Context) {
	t.end()
	t.caller, t.ctx = ctx, ctx
	if t.end = nothing; t.limit > 0 {
		t.ctx, t.end = context.WithTimeout(ctx, t.limit)
	}
}

// blame says which limit stopped the module, if one did. A caller who waits for less is no limit of ours.
func (t *trial) blame(err error) error {
	if t.limit > 0 && t.ctx.Err() != nil && t.caller.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not done after %v: %w", t.limit, err)
	}
	return err
}
