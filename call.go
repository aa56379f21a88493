package isomer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// count counts the calls of one slot, over all generations.
type count struct {
	calls, apps, traps, limits atomic.Uint64
	_                          [4]uint64 // a cache line each
}

// Call calls fn with the bytes in and returns the bytes that it answers. It serves the conventions
// bytes, wasmtube, tensors (all input tensors one after the other, and so the answer), scalar (a
// JSON array of numbers each way) and command (standard input and output). A function that takes an image
// needs CallImage.
//
// The end of ctx ends the call: the wait for an instance at once, the guest within about a millisecond, with
// a *LimitError. With WithDeadline(0) it is not looked at while the guest runs.
func (m *Module) Call(ctx context.Context, fn string, in []byte) ([]byte, error) {
	return m.CallInto(ctx, nil, fn, in)
}

// CallInto is Call with the answer in dst's memory where it fits, so that a caller that keeps dst
// allocates nothing: dst, err = m.CallInto(ctx, dst, "read", in).
func (m *Module) CallInto(ctx context.Context, dst []byte, fn string, in []byte) ([]byte, error) {
	c, err := m.begin(ctx, fn, len(in))
	if err != nil {
		return nil, err
	}
	switch c.f.Convention {
	case abi.Image, abi.WasmtubeImage:
		err = fmt.Errorf("%w: %s takes an image (CallImage)", ErrArgument, fn)
	default:
		dst, err = c.dispatch(dst, in, 0, 0)
	}
	if err = c.end(err, len(dst)); err != nil {
		return nil, err
	}
	return dst, nil
}

// call is one call that holds an instance.
type call struct {
	m    *Module
	g    *generation
	s    *slot
	f    *function
	ctx  context.Context // what the guest runs under
	seen *observation    // nil: no one looks
}

// admit finds fn in the generation that serves and takes an instance of it. release must follow.
func (m *Module) admit(ctx context.Context, fn string) (call, error) {
	if err := ctx.Err(); err != nil {
		return call{}, fmt.Errorf("isomer: %s: %w", fn, err)
	}
	for {
		g := m.current.Load()
		if g == nil {
			return call{}, ErrClosed
		}
		f := g.release.lookup(fn)
		if f == nil {
			return call{}, g.release.noFunction(fn)
		}
		s, err := g.pool.acquire(ctx)
		if err == errRetired {
			continue // the next generation serves
		}
		if err != nil {
			return call{}, fmt.Errorf("isomer: %s: waiting for an instance: %w", fn, err)
		}
		c := call{m: m, g: g, s: s, f: f}
		if s.inst == nil {
			if err := c.heal(ctx); err != nil {
				return call{}, err
			}
		}
		s.inst.said.forget()
		c.ctx = m.guestContext(ctx, g.release, s)
		return c, nil
	}
}

// heal makes the instance that could not be made when the last one was lost.
func (c *call) heal(ctx context.Context) error {
	inst, err := c.m.newInstance(ctx, c.g.release)
	if err != nil {
		c.g.pool.put(c.s)
		return c.classify(fmt.Errorf("no instance: %w", err)) // a limit where ctx ended, or memory
	}
	c.s.inst = inst
	return nil
}

// dispatch calls by the function's convention. A shadow that is on sees input and answer.
func (c *call) dispatch(dst, in []byte, width, height int) ([]byte, error) {
	s := c.m.shadow.Load()
	if s == nil {
		return c.convention(dst, in, width, height)
	}
	sc := s.take(c, in, width, height) // before the answer may take the input's place
	out, err := c.convention(dst, in, width, height)
	if sc != nil {
		s.answered(c, sc, out, nil, err)
	}
	return out, err
}

func (c *call) convention(dst, in []byte, width, height int) ([]byte, error) {
	i, limit := c.s.inst, c.m.opts.maxOutput
	if i.mem == nil && c.f.Convention != abi.Scalar {
		return nil, fmt.Errorf("%w: %w (CallScalar)", ErrArgument, errNoMemory)
	}
	switch c.f.Convention {
	case abi.Bytes, abi.Image:
		return i.bytes(c.ctx, c.f, dst, in, width, height, limit)
	case abi.Wasmtube, abi.WasmtubeImage:
		return i.wasmtube(c.ctx, c.f, dst, in, width, height, limit)
	case abi.Tensors:
		return i.tensorBytes(c.ctx, c.f, dst, in, limit)
	case abi.Command:
		return c.command(dst, in, limit)
	}
	args, err := valuesFromJSON(c.f.sig, in)
	if err != nil {
		return nil, err
	}
	out, err := i.scalar(c.ctx, c.f, args)
	if err != nil {
		return nil, err
	}
	return appendValues(dst[:0], out)
}

// release gives the instance back, or has it replaced, and returns the error for the caller.
func (c *call) release(err error) error {
	c.m.endGuest(c.ctx)
	n := &c.m.counts[c.s.index]
	n.calls.Add(1)
	if c.f.Convention == abi.Command {
		c.discard()
	}
	if err == nil {
		c.g.pool.put(c.s)
		return nil
	}
	err = c.classify(err)
	switch err.(type) {
	case *AppError:
		n.apps.Add(1)
	case *TrapError:
		n.traps.Add(1)
	case *LimitError:
		n.limits.Add(1)
	}
	if lost(err) && c.s.inst != nil {
		go c.m.replaceInstance(c.g, c.s, err)
		return err
	}
	c.g.pool.put(c.s)
	return err
}

// classify makes one of the three kinds of error; what the caller did wrong stays as it is.
func (c *call) classify(err error) error {
	fn, mod := c.f.Name, c.g.release.title()
	var app guestError
	var trap *engine.TrapError
	var limit *engine.LimitError
	switch {
	case errors.As(err, &app):
		return &AppError{Function: fn, Module: mod, Message: string(app)}
	case errors.As(err, &limit):
		e := &LimitError{Function: fn, Module: mod, Limit: limit.Limit, Cause: limit}
		if l, ok := c.ctx.(*limited); ok && limit.Limit == engine.Deadline && !l.parentEnded() {
			e.After = c.m.opts.deadline
		}
		return e
	case errors.As(err, &trap), errors.Is(err, abi.ErrViolation):
		return c.trapped(err)
	case errors.Is(err, ErrArgument), errors.Is(err, ErrResult):
		return fmt.Errorf("%s: %s: %w", mod, fn, err)
	}
	return c.trapped(err)
}

func (c *call) trapped(err error) error {
	e := &TrapError{Function: c.f.Name, Module: c.g.release.title(), Cause: err}
	if c.s.inst != nil {
		e.Stderr = c.s.inst.said.String()
	}
	return e
}

// replaceInstance closes a lost instance and makes the next one, so that the slot serves again.
func (m *Module) replaceInstance(g *generation, s *slot, cause error) {
	if s.inst != nil {
		_ = s.inst.sandbox.Close()
		s.inst = nil
	}
	var err error
	select {
	case <-g.pool.retired: // no one will ask for it
	default:
		s.inst, err = m.newInstance(context.Background(), g.release)
	}
	e := Event{Kind: InstanceReplaced, Err: cause}
	if err != nil {
		e = Event{Kind: InstanceLost, Err: errors.Join(cause, err)}
	}
	g.pool.put(s)
	m.emit(g.release, e)
}
