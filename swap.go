package isomer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// generation is a release in service: its instances, from publication until the last call ends.
type generation struct {
	release *release
	number  uint64
	pool    *pool
}

// carryPatience bounds the wait for calls of the old generation whose state is to be carried.
const carryPatience = 30 * time.Second

// Swap puts the module bin into service in place of the present one, in the way that Open does when
// the file changes. The file is not touched. An error leaves the present one serving and is a
// *RefusedError; the same bytes as now do nothing.
//
// With WithShadow it returns when live calls have been compared. Another Swap, a newer file or a Rollback
// meanwhile ends that with ErrSuperseded, Close with ErrClosed.
func (m *Module) Swap(ctx context.Context, bin []byte) error {
	m.lockSwapping(ErrSuperseded)
	defer m.swapping.Unlock()
	if g := m.current.Load(); g == nil {
		return ErrClosed
	} else if digestOf(bin) == g.release.digest {
		return nil
	}
	return m.replace(ctx, bin)
}

// Rollback puts the module that served before back into service. It is kept compiled, so this takes
// as long as making its instances; after a restart it comes from WithHistory and is compiled first.
// ErrNoPrevious says that there is none, and why where one should be. The module rolled away from is not
// taken from its file again until the file's content changes. A second Rollback undoes the first.
func (m *Module) Rollback(ctx context.Context) error {
	m.lockSwapping(ErrSuperseded)
	defer m.swapping.Unlock()
	old := m.current.Load()
	if old == nil {
		return ErrClosed
	}
	start := time.Now()
	r, err := m.before(ctx)
	if err != nil {
		return err
	}
	var t SwapTimes
	next, err := m.generation(ctx, r, &t)
	if err != nil {
		r.unref()
		return m.refuse(r, StepInstantiate, err)
	}
	held, carryErr := m.carry(ctx, old, next, nil, &t)
	if carryErr != nil {
		// State that the older module does not take must not keep it from serving, but the
		// instances that refused it are not to be trusted.
		next.discard()
		if next, err = m.generation(ctx, r, &t); err != nil {
			giveBack(old, held)
			r.unref()
			return m.refuse(r, StepInstantiate, err)
		}
	}
	m.publish(old, next, held, start, &t)
	m.status.reject(old.release.digest)
	m.emit(r, Event{Kind: RolledBack, Err: carryErr, Times: t})
	if m.history != nil {
		m.remember(m.history.rolledBack(r.digest, old.release.digest))
	}
	return nil
}

// replace takes bin through all steps into service. The caller holds m.swapping.
func (m *Module) replace(ctx context.Context, bin []byte) error {
	old := m.current.Load()
	start := time.Now()
	var t SwapTimes
	r := &release{digest: digestOf(bin)}
	if err := r.describe(bin, m.path); err != nil {
		return m.refuse(r, StepManifest, err)
	}
	begin := time.Now()
	if err := m.compile(ctx, r, bin); err != nil {
		return m.refuse(r, stepOf(err), err)
	}
	t.Compile = time.Since(begin)
	m.emit(r, Event{Kind: Compiled, Took: t.Compile})

	try := m.newTrial(ctx, r)
	defer func() { try.end() }()
	if step, err := m.gate(try, &t); err != nil {
		r.unref()
		return m.refuse(r, step, err)
	}
	if m.opts.shadow != nil && old != nil {
		if err := m.shadowing(ctx, try.r, old, &t); err != nil {
			r.unref()
			return m.refuse(r, StepShadow, err)
		}
		try.restart(ctx)
	}
	next, err := m.generation(try.ctx, r, &t)
	if err != nil {
		r.unref()
		return m.refuse(r, StepInstantiate, try.blame(err))
	}
	var held []*slot
	if old != nil {
		if held, err = m.carry(ctx, old, next, try, &t); err != nil {
			giveBack(old, held)
			next.discard()
			r.unref()
			return m.refuse(r, StepCarry, err)
		}
	}
	m.publish(old, next, held, start, &t)
	kind := Swapped
	if old == nil {
		kind = Loaded
	}
	m.emit(r, Event{Kind: kind, Times: t, Took: t.Total})
	if m.history != nil {
		m.remember(m.history.served(bin, r.digest))
	}
	return nil
}

// generation makes the instances of r.
func (m *Module) generation(ctx context.Context, r *release, t *SwapTimes) (*generation, error) {
	begin := time.Now()
	g := &generation{release: r, pool: newPool(m.opts.instances, m.opts.queue)}
	for k := range g.pool.slots {
		inst, err := m.newInstance(ctx, r)
		if err != nil {
			g.discard()
			return nil, err
		}
		g.pool.slots[k].inst = inst
		g.pool.slots[k].measure()
	}
	t.Instantiate = time.Since(begin)
	return g, nil
}

// discard closes the instances of a generation that never served.
func (g *generation) discard() {
	for k := range g.pool.slots {
		if inst := g.pool.slots[k].inst; inst != nil {
			_ = inst.sandbox.Close()
		}
	}
}

// publish makes next serve, sends waiting callers to it and lets old drain. held are slots of old
// that the caller holds; start is when the way into service began.
func (m *Module) publish(old, next *generation, held []*slot, start time.Time, t *SwapTimes) {
	begin := time.Now()
	m.number++
	next.number = m.number
	m.current.Store(next)
	t.Publish = time.Since(begin)
	t.Total = time.Since(start)
	m.status.served(*t, old != nil)
	if old == nil {
		return
	}
	old.release.refs.Add(1) // as m.previous
	if m.previous != nil {
		m.previous.unref()
	}
	m.previous = old.release
	m.retire(old, held)
}

// retire sends waiting callers on, and closes what old has once its calls ended. Slots that the
// caller holds are closed as they are: their state was carried, so no call may use them again.
func (m *Module) retire(old *generation, held []*slot) {
	close(old.pool.retired)
	begin := time.Now()
	m.draining.Go(func() {
		for k := range old.pool.slots {
			var s *slot
			if k < len(held) {
				s = held[k]
			} else {
				s, _ = old.pool.take(context.Background())
			}
			if s.inst != nil {
				_ = s.inst.sandbox.Close()
				s.inst = nil
			}
		}
		m.emit(old.release, Event{Kind: Drained, Generation: old.number, Took: time.Since(begin)})
		old.release.unref()
	})
}

// refuse records and reports a module that does not get into service.
func (m *Module) refuse(r *release, step Step, cause error) error {
	err := &RefusedError{Path: m.path, Digest: r.digest, Step: step, Cause: cause}
	m.status.refuse(err)
	m.emit(r, Event{Kind: Refused, Step: step, Err: err})
	return err
}

// giveBack returns slots after a swap that did not happen.
func giveBack(g *generation, held []*slot) {
	for _, s := range held {
		g.pool.put(s)
	}
}

// carry moves state from the instances of old to those of next where both know how. It waits for
// old's calls and returns old's slots, held, so that no call changes state that was already saved.
//
// An error is next's: it does not take the state. State that old cannot give, because it is broken
// or a call hangs in it, is lost with an event; refusing next would make that last for ever. So is
// state that next has no function for, which may be what its author wants.
//
// try is what bounds next; nil: next served before.
func (m *Module) carry(ctx context.Context, old, next *generation, try *trial, t *SwapTimes) (held []*slot, err error) {
	if !old.release.stateful {
		return nil, nil
	}
	if !next.release.stateful {
		m.emit(next.release, Event{Kind: StateLost, Err: fmt.Errorf("%s does not export both %s and %s", next.release.title(), abi.ExportSave, abi.ExportRestore)})
		return nil, nil
	}
	begin := time.Now()
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, carryPatience)
	defer cancel()
	var lost error
	total := 0
	for range old.pool.slots {
		s, err := old.pool.take(ctx)
		if caller.Err() != nil && err != nil {
			return held, err // who asked for the swap gave up
		}
		if err != nil {
			lost = errors.Join(lost, fmt.Errorf("waiting for calls of %s: %w", old.release.title(), err))
			break
		}
		held = append(held, s)
	}
	to := ctx
	if try != nil {
		try.restart(caller) // the wait was not the module's
		to = try.ctx
	}
	for _, s := range held {
		if s.inst == nil {
			continue // died, and its state with it
		}
		state, err := m.save(ctx, old.release, s.inst)
		if err != nil {
			lost = errors.Join(lost, fmt.Errorf("%s of %s: %w", abi.ExportSave, old.release.title(), err))
			continue
		}
		err = m.restore(to, next.release, next.pool.slots[s.index].inst, state)
		if err != nil {
			if try != nil {
				err = try.blame(err)
			}
			return held, fmt.Errorf("%s of %s with %d bytes: %w", abi.ExportRestore, next.release.title(), len(state), err)
		}
		total += len(state)
	}
	t.Carry = time.Since(begin)
	e := Event{Kind: StateCarried, Took: t.Carry, Bytes: total}
	if lost != nil {
		e.Kind, e.Err = StateLost, lost
	}
	m.emit(next.release, e)
	return held, nil
}

// save calls isomer_save and copies what it returns.
func (m *Module) save(ctx context.Context, r *release, i *instance) ([]byte, error) {
	if i.mem == nil {
		return nil, errNoMemory
	}
	ctx = m.guestContext(ctx, r, nil)
	defer m.endGuest(ctx)
	if err := i.sandbox.Func(abi.ExportSave).Call(ctx, i.stack); err != nil {
		return nil, err
	}
	ret := i.stack[0]
	list, err := abi.DecodeList(i.mem.Bytes(), uint32(ret))
	if err != nil {
		return nil, err
	}
	if len(list) > m.opts.maxOutput {
		return nil, errOutput(len(list), m.opts.maxOutput)
	}
	state := append([]byte(nil), list...)
	if post := i.sandbox.Func(abi.PostReturn(abi.ExportSave)); post != nil {
		i.stack[0] = ret
		if err := post.Call(ctx, i.stack); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// restore calls isomer_restore.
func (m *Module) restore(ctx context.Context, r *release, i *instance, state []byte) error {
	if i.mem == nil {
		return errNoMemory
	}
	if i.realloc == nil && len(state) > 0 {
		return errors.New("the module exports no " + abi.ExportRealloc)
	}
	ctx = m.guestContext(ctx, r, nil)
	defer m.endGuest(ctx)
	ptr, err := i.lower(ctx, state)
	if err != nil {
		return err
	}
	i.stack[0], i.stack[1] = uint64(ptr), uint64(len(state))
	return i.sandbox.Func(abi.ExportRestore).Call(ctx, i.stack)
}
