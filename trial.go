package isomer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// defaultGateLimit is long for golden cases of a large model on a small device (the
// talk gives 0.6 s for MobileNetV2 on a Raspberry Pi 4; stoppable code is 4 times slower), and short for a
// person who waits.
const defaultGateLimit = 30 * time.Second

// trial is a new module where what it does can be stopped. A guest's endless loop is worse than one
// call that does not return: machine code cannot be preempted, so that the next garbage collection
// waits for it, and every goroutine with it. Serving code cannot be stopped, since the checks in its
// loops cost too much (MobileNetV2: 98 ms instead of 24), so the module is compiled once more for the
// trial (single runs: 55 ms against 43 ms).
type trial struct {
	r     *release        // what runs: its own code, or that of the module where calls have a deadline
	ctx   context.Context // ends with the limit
	end   context.CancelFunc
	own   engine.Code // nil: the module's own
	limit time.Duration
}

// newTrial prepares the trial of r. Where nothing can be stopped, because no one asked for it, or
// needs to be, because nothing of the module runs before it serves, it tries r itself.
func (m *Module) newTrial(ctx context.Context, r *release, bin []byte, swap bool) (*trial, error) {
	t := &trial{r: r, ctx: ctx, end: nothing, limit: m.opts.gateLimit}
	if _, bounded := ctx.Deadline(); t.limit == 0 || !(swap || bounded || m.opts.deadline > 0) || !(r.runsEarly(bin) || swap && m.opts.shadow != nil) {
		return t, nil
	}
	if m.opts.deadline == 0 {
		code, err := m.engine.Compile(ctx, bin, engine.CompileConfig{MaxPages: m.maxPages(r), Interruptible: true})
		if err != nil {
			return nil, err
		}
		t.own = code
		t.r = &release{
			digest: r.digest, name: r.name, version: r.version, manifest: r.manifest, hasManifest: r.hasManifest,
			code: code, funcs: r.funcs, byName: r.byName, may: r.may, pure: r.pure, stateful: r.stateful, stoppable: true,
		}
	}
	t.ctx, t.end = context.WithTimeout(ctx, t.limit)
	return t, nil
}

// restart gives what follows a shadow the whole limit again.
func (t *trial) restart(ctx context.Context) {
	if _, bounded := t.ctx.Deadline(); bounded {
		t.end()
		t.ctx, t.end = context.WithTimeout(ctx, t.limit)
	}
}

// runsEarly reports whether anything of the module runs before its first call.
func (r *release) runsEarly(bin []byte) bool {
	if r.stateful || len(r.manifest.Golden) > 0 {
		return true
	}
	if slices.ContainsFunc(r.code.Funcs(), func(f engine.FuncExport) bool { return f.Name == abi.ExportInitialize }) {
		return true
	}
	sections, err := wasm.Sections(bin)
	return err != nil || slices.ContainsFunc(sections, func(s wasm.Section) bool { return s.ID == wasm.SectionStart })
}

func (t *trial) close() {
	t.end()
	if t.own != nil {
		_ = t.own.Close()
	}
}

// blame says which limit stopped the module, if one did.
func (t *trial) blame(err error) error {
	if t.ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not done after %v: %w", t.limit, err)
	}
	return err
}

// start makes an instance and throws it away: what served cannot be made if this does not return.
func (t *trial) start(m *Module) error {
	if t.own == nil {
		return nil // the serving instances are made from the same code, under the same limits
	}
	inst, err := m.instanceFor(t.ctx, t.r, rehearsing)
	if err != nil {
		return t.blame(err)
	}
	return inst.sandbox.Close()
}

// restore tries whether the module takes state at all, before the instances that will serve do.
func (t *trial) restore(m *Module, state []byte) error {
	if t.own == nil {
		return nil
	}
	inst, err := m.instanceFor(t.ctx, t.r, rehearsing)
	if err != nil {
		return t.blame(err)
	}
	defer func() { _ = inst.sandbox.Close() }()
	return t.blame(m.restore(t.ctx, t.r, inst, state))
}
