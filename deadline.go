package isomer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// defaultDeadline is beyond what a call of a device takes (the talk: 0.6 s for MobileNetV2 on a Raspberry
// Pi 4), and what a caller waits at most for a module that hangs.
const defaultDeadline = 30 * time.Second

// limited is a context that ends a while after somebody first looks at it. A metered engine looks after
// about a millisecond, so a short call neither reads the clock (≈ 40 ns) nor starts a timer (≈ 1 µs).
type limited struct {
	parent context.Context
	limit  time.Duration

	mu     sync.Mutex
	ends   time.Time                       // zero: nobody looked
	timed  atomic.Pointer[context.Context] // nil: nobody asked for Done in this call
	cancel context.CancelFunc              // of timed, until the call is over
}

func newLimited(limit time.Duration) *limited {
	return &limited{limit: limit}
}

// begin makes l the context of the next call.
func (l *limited) begin(parent context.Context) {
	l.parent, l.ends = parent, time.Time{}
	if l.timed.Load() != nil { // mostly not; a store costs 10 ns more
		l.timed.Store(nil)
	}
}

// stop ends what begin began. A timer that somebody asks for meanwhile or later ends by itself, with the
// deadline; the lock would cost each call 15 ns.
func (l *limited) stop() {
	if l.timed.Load() == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
		l.cancel = nil
	}
}

// Value goes through timed where that exists: package context finds it there as what Done belongs to, and ends
// what is derived from l with its error. It would otherwise wait for Done in a goroutine and then ask Err,
// which may be that of the next call; without an error it panics.
func (l *limited) Value(key any) any {
	if t := l.timed.Load(); t != nil {
		return (*t).Value(key)
	}
	return l.parent.Value(key)
}

func (l *limited) Deadline() (time.Time, bool) {
	at := l.look()
	if d, ok := l.parent.Deadline(); ok && d.Before(at) {
		at = d
	}
	return at, true
}

// look says when l ends, and has the time run from now on if nobody looked before.
func (l *limited) look() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends.IsZero() {
		l.ends = time.Now().Add(l.limit)
	}
	return l.ends
}

func (l *limited) Err() error {
	if t := l.timed.Load(); t != nil && (*t).Err() != nil {
		return (*t).Err() // also after the call, as Done says
	}
	if err := l.parent.Err(); err != nil {
		return err
	}
	if !time.Now().Before(l.look()) {
		return context.DeadlineExceeded
	}
	return nil
}

// parentEnded reports whether the end was the caller's, not the limit.
func (l *limited) parentEnded() bool { return l.parent.Err() != nil }

func (l *limited) Done() <-chan struct{} {
	at := l.look()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.timed.Load()
	if t == nil {
		var timed context.Context
		timed, l.cancel = context.WithDeadline(l.parent, at)
		t = &timed
		l.timed.Store(t)
	}
	return (*t).Done()
}

// guestContext is what the guest runs under, until endGuest. s has one
// to use again for a module that imports nothing; with imports a context may be kept by a host function
// beyond its call, so each call has its own (one allocation). s may be nil.
func (m *Module) guestContext(ctx context.Context, r *release, s *slot) context.Context {
	switch {
	case m.opts.deadline == 0:
		return ctx
	case s == nil || !r.pure:
		l := newLimited(m.opts.deadline)
		l.begin(ctx)
		return l
	case s.limit == nil:
		s.limit = newLimited(m.opts.deadline)
	}
	s.limit.begin(ctx)
	return s.limit
}

// endGuest ends what guestContext gave.
func (m *Module) endGuest(ctx context.Context) {
	if m.opts.deadline == 0 {
		return // the caller's own context, which may be that of a call from whose host function it comes
	}
	if l, ok := ctx.(*limited); ok {
		l.stop()
	}
}
