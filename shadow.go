package isomer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// Shadow is a trial of a new module on live calls, beside the module that serves: each call is made
// again on the new one, and the answers are compared. The zero value works.
type Shadow struct {
	// Calls is how many live calls are compared before the new module is published. 0: 100.
	Calls int
	// For bounds the wait for these calls. 0: one minute. When it ends with fewer, the new module is
	// published if no more answers differed than allowed, unless Strict.
	For time.Duration
	// Compare says why the answers to one call do not agree, nil where they do. nil: Exact.
	Compare func(ShadowCall) error
	// MaxDifferences is how many calls may differ. 0: none.
	MaxDifferences int
	// Strict refuses the new module if For ends before Calls were compared.
	Strict bool
}

// ShadowCall is one live call with both answers. Calls that trap or meet a limit in the serving module
// are not compared: there is no answer to compare with. What it holds is the shadow's own.
type ShadowCall struct {
	Function      string
	Convention    abi.Convention
	Input         []byte // of tensors: all of them, one after the other
	Width, Height int    // of an image
	Args          []Value

	// Answers: bytes for every call but CallScalar, which has values. Errors are *AppError in LiveErr,
	// any of a call in CandidateErr.
	Live, Candidate             []byte
	LiveValues, CandidateValues []Value
	LiveErr, CandidateErr       error

	f       *function        // of the serving module
	outputs []abi.TensorSpec // of the serving module
	from    *followed
	scalar  bool  // made by CallScalar
	size    int64 // of input and answer
}

// Bounds of calls that wait to be compared. What does not fit is dropped: callers never wait.
const (
	shadowQueue = 64
	shadowBytes = 8 << 20 // of input and answers, unless one call alone has more
	shadowFirst = 5       // differences that are told
	everySlot   = -1

	defaultCalls = 100
	defaultFor   = time.Minute
)

// ShadowError says how a shadow ended that refused its module.
type ShadowError struct {
	Wanted, Compared, Differed int
	Dropped                    int     // live calls that came faster than they could be compared
	First                      []error // the first differences
}

func (e *ShadowError) Error() string {
	if len(e.First) == 0 {
		return fmt.Sprintf("%d live calls compared in time, wanted %d", e.Compared, e.Wanted)
	}
	return fmt.Sprintf("%d of %d live calls differ: %v", e.Differed, e.Compared, errors.Join(e.First...))
}

// Unwrap gives the first differences.
func (e *ShadowError) Unwrap() []error { return e.First }

// WithShadow compares live calls on a new module before it is published. Default: off; then calls pay one
// atomic load for it. On: a call pays for a copy of its input and answer, and never waits. The new
// module's calls run one after the other in an instance of its own, which needs a processor and memory
// for as long as the shadow lasts.
//
// Where state is carried (isomer_save and isomer_restore on both sides) the new module begins with a copy
// of one instance's state and follows the calls of that instance in their order; after a gap it takes a
// new copy. Callers wait for that instance while isomer_save runs. Other modules begin fresh and get every
// call that fits: what remembers earlier calls without isomer_save differs in its shadow, and needs a Compare
// that knows.
//
// Open and New compare nothing, since nothing serves yet; nor does Rollback.
func WithShadow(s Shadow) Option {
	return func(o *options) error {
		switch {
		case s.Calls < 0:
			return fmt.Errorf("%w: shadow of %d calls, want 0 (%d) or more", ErrOption, s.Calls, defaultCalls)
		case s.For < 0:
			return fmt.Errorf("%w: shadow for %v, want 0 (%v) or more", ErrOption, s.For, defaultFor)
		case s.MaxDifferences < 0:
			return fmt.Errorf("%w: %d differences in a shadow, want 0 or more", ErrOption, s.MaxDifferences)
		}
		if s.Calls == 0 {
			s.Calls = defaultCalls
		}
		if s.For == 0 {
			s.For = defaultFor
		}
		if s.Compare == nil {
			s.Compare = Exact
		}
		o.shadow = &s
		return nil
	}
}

// shadow takes live calls of one generation and makes them again.
type shadow struct {
	m       *Module
	rule    *Shadow
	live    *generation // whose calls are taken
	next    *release    // the new module, where its calls can be stopped
	carried bool        // state goes from live to next
	ctx     context.Context
	end     context.CancelCauseFunc

	calls   chan *ShadowCall
	bytes   atomic.Int64
	dropped atomic.Int64
	follows atomic.Pointer[followed] // nil: no calls are taken
	gap     chan struct{}            // one token after a gap

	inst  *instance // of next; nil: to be made
	count ShadowError
}

// followed is a stretch of calls without a gap.
type followed struct {
	slot   int // everySlot: their order does not matter
	broken atomic.Bool
}

// take copies what a call begins with; nil where it is not compared. It runs in the caller's goroutine.
func (s *shadow) take(c *call, in []byte, width, height int) *ShadowCall {
	f := s.follows.Load()
	if f == nil || s.live != c.g || f.slot != everySlot && f.slot != c.s.index || f.broken.Load() {
		return nil
	}
	size := int64(len(in))
	if len(s.calls) == cap(s.calls) || !s.room(size) {
		s.drop(f)
		return nil
	}
	return &ShadowCall{
		Function: c.f.Name, Convention: c.f.Convention, Input: slices.Clone(in), Width: width, Height: height,
		f: c.f, outputs: s.live.release.manifest.Outputs, from: f, size: size,
	}
}

// room takes n bytes of the queue's, which one call alone always gets.
func (s *shadow) room(n int64) bool {
	if have := s.bytes.Add(n); have > shadowBytes && have > n {
		s.bytes.Add(-n)
		return false
	}
	return true
}

// drop leaves a call out, which is a gap where the order matters.
func (s *shadow) drop(f *followed) {
	s.dropped.Add(1)
	s.breakOff(f)
}

func (s *shadow) breakOff(f *followed) {
	if f.slot == everySlot || f.broken.Swap(true) {
		return
	}
	select {
	case s.gap <- struct{}{}:
	default:
	}
}

// answered adds what the serving module said, and queues the call. The caller still holds the
// instance, so that calls of one instance come in their order.
func (s *shadow) answered(c *call, sc *ShadowCall, out []byte, values []Value, err error) {
	if err != nil {
		err = c.classify(err)
		var no *AppError
		if !errors.As(err, &no) {
			s.bytes.Add(-sc.size)
			if !errors.Is(err, ErrArgument) { // the guest ran, and what it did is not known
				s.breakOff(sc.from)
			}
			return
		}
		sc.LiveErr = no
	}
	size := int64(len(out))
	s.bytes.Add(-sc.size) // taken again with the answer's
	if sc.size += size; !s.room(sc.size) {
		s.drop(sc.from)
		return
	}
	if err == nil {
		sc.Live, sc.LiveValues = slices.Clone(out), values
	}
	select {
	case s.calls <- sc:
	default:
		s.bytes.Add(-sc.size)
		s.drop(sc.from)
	}
}

// shadowing compares live calls on r until the rule is met. ctx is that of the swap.
func (m *Module) shadowing(ctx context.Context, r *release, old *generation, t *SwapTimes) error {
	begin := time.Now()
	s := &shadow{
		m: m, rule: m.opts.shadow, live: old, next: r, carried: old.release.stateful && r.stateful,
		calls: make(chan *ShadowCall, shadowQueue), gap: make(chan struct{}, 1),
	}
	s.count.Wanted = s.rule.Calls
	s.ctx, s.end = context.WithCancelCause(ctx)
	defer s.end(nil)
	m.shadow.Store(s)
	if m.wanting.Load() > 0 { // came before the store
		s.end(ErrSuperseded)
	}
	err := s.run()
	m.shadow.Store(nil)
	s.close()
	t.Shadow = time.Since(begin)
	s.count.Dropped = int(s.dropped.Load())
	var unable *unableError
	ended := Event{Kind: ShadowEnded, Took: t.Shadow, Cases: s.count.Compared, Differed: s.count.Differed, Dropped: s.count.Dropped, Err: err}
	m.emit(r, ended)
	if errors.As(err, &unable) && !s.rule.Strict {
		return nil
	}
	return err
}

// unableError is why live calls cannot be compared, which is not the new module's fault.
type unableError struct{ cause error }

func (e *unableError) Error() string { return "live calls cannot be compared: " + e.cause.Error() }
func (e *unableError) Unwrap() error { return e.cause }

// run compares until a decision.
func (s *shadow) run() error {
	err := s.follow()
	s.m.emit(s.next, Event{Kind: ShadowStarted, Cases: s.rule.Calls}) // from here on each call counts
	if err != nil {
		return err
	}
	over := time.NewTimer(s.rule.For)
	defer over.Stop()
	for {
		// Without this a busy queue could hide the other two.
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-over.C:
			return s.tooFew()
		default:
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-over.C:
			return s.tooFew()
		case sc := <-s.calls:
			s.bytes.Add(-sc.size)
			if sc.from != s.follows.Load() {
				continue // of before a gap
			}
			if err := s.again(sc); err != nil {
				return err
			}
			if s.count.Differed > s.rule.MaxDifferences {
				return s.verdict()
			}
			if s.count.Compared >= s.rule.Calls {
				return nil
			}
		case <-s.gap:
		}
		if f := s.follows.Load(); f.broken.Load() && len(s.calls) == 0 {
			if err := s.follow(); err != nil {
				return err
			}
		} else if f.broken.Load() {
			s.rearm()
		}
	}
}

// rearm keeps a gap in mind until the calls before it are compared.
func (s *shadow) rearm() {
	select {
	case s.gap <- struct{}{}:
	default:
	}
}

func (s *shadow) verdict() error {
	e := s.count
	e.Dropped = int(s.dropped.Load())
	return &e
}

// tooFew decides when time is over.
func (s *shadow) tooFew() error {
	if s.rule.Strict {
		return s.verdict()
	}
	return nil
}

// follow begins a stretch of calls: with a copy of an instance's state where state is carried.
func (s *shadow) follow() error {
	if !s.carried {
		s.follows.Store(&followed{slot: everySlot})
		return nil
	}
	s.follows.Store(nil)
	s.close() // it has the state of before the gap
	ctx, cancel := context.WithTimeout(s.ctx, carryPatience)
	defer cancel()
	from, err := s.live.pool.take(ctx)
	if err != nil {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		return &unableError{fmt.Errorf("waiting for calls of %s: %w", s.live.release.title(), err)}
	}
	var state []byte
	if from.inst != nil { // otherwise the next one begins fresh, and so does this
		state, err = s.m.save(ctx, s.live.release, from.inst)
	}
	if err == nil {
		s.follows.Store(&followed{slot: from.index})
	}
	s.live.pool.put(from)
	if err != nil {
		return &unableError{fmt.Errorf("%s of %s: %w", abi.ExportSave, s.live.release.title(), err)}
	}
	if state == nil {
		return nil
	}
	if err := s.start(); err != nil {
		return err
	}
	limit, stop := context.WithTimeout(s.ctx, s.limit())
	defer stop()
	if err := s.m.restore(limit, s.next, s.inst, state); err != nil {
		return fmt.Errorf("%s of %s with %d bytes: %w", abi.ExportRestore, s.next.title(), len(state), err)
	}
	return nil
}

// start makes the instance in which the new module follows.
func (s *shadow) start() error {
	if s.inst != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, startPatience)
	defer cancel()
	inst, err := s.m.instanceFor(ctx, s.next, following)
	if err != nil {
		return err
	}
	s.inst = inst
	return nil
}

func (s *shadow) close() {
	if s.inst != nil {
		_ = s.inst.sandbox.Close()
		s.inst = nil
	}
}

// limit bounds one call of the new module.
func (s *shadow) limit() time.Duration {
	if d := s.m.opts.deadline; d > 0 {
		return d
	}
	return defaultGateLimit
}

// again makes a live call on the new module and compares. An error is no difference: it ends the shadow.
func (s *shadow) again(sc *ShadowCall) error {
	if err := s.start(); err != nil {
		return err
	}
	sc.Candidate, sc.CandidateValues, sc.CandidateErr = s.call(sc)
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx) // that the call was stopped says nothing
	}
	if lost(sc.CandidateErr) {
		s.close()
		s.breakOff(sc.from)
	}
	s.count.Compared++
	if err := s.rule.Compare(*sc); err != nil {
		s.count.Differed++
		if len(s.count.First) < shadowFirst {
			s.count.First = append(s.count.First, fmt.Errorf("%s(%s): %w", sc.Function, sc.input(), err))
		}
	}
	return nil
}

func (s *shadow) call(sc *ShadowCall) ([]byte, []Value, error) {
	f := s.next.lookup(sc.Function)
	if f == nil {
		return nil, nil, s.next.noFunction(sc.Function)
	}
	c := call{m: s.m, g: &generation{release: s.next}, s: &slot{inst: s.inst}, f: f}
	ctx, cancel := context.WithTimeout(s.ctx, s.limit())
	defer cancel()
	c.ctx = ctx
	if sc.scalar {
		out, err := s.inst.scalar(c.ctx, f, sc.Args)
		if err != nil {
			return nil, nil, c.classify(err)
		}
		return nil, out, nil
	}
	takesImage := f.Convention == abi.Image || f.Convention == abi.WasmtubeImage
	if wasImage := sc.Width > 0; wasImage != takesImage {
		return nil, nil, fmt.Errorf("%w: the convention of %s is now %s", ErrArgument, sc.Function, f.Convention)
	}
	out, err := c.dispatch(nil, sc.Input, sc.Width, sc.Height)
	if err != nil {
		return nil, nil, c.classify(err)
	}
	return out, nil, nil
}

// input is the input as an error tells it.
func (c *ShadowCall) input() string {
	switch {
	case c.scalar:
		return fmt.Sprint(c.Args)
	case c.Width > 0:
		return fmt.Sprintf("%d×%d pixels", c.Width, c.Height)
	}
	return excerpt(c.Input)
}

// lockSwapping takes m.swapping for someone who wants another module than the one in a shadow, which
// ends for that.
func (m *Module) lockSwapping(cause error) {
	m.wanting.Add(1)
	if s := m.shadow.Load(); s != nil {
		s.end(cause)
	}
	m.swapping.Lock()
	m.wanting.Add(-1)
}
