package isomer

import (
	"context"
	"sync"
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
	end    context.CancelFunc // l.stop, made once: a method value is an allocation

	mu     sync.Mutex
	ends   time.Time          // zero: nobody looked
	timed  context.Context    // nil: nobody asked for Done
	cancel context.CancelFunc // of timed
}

func newLimited(limit time.Duration) *limited {
	l := &limited{limit: limit}
	l.end = l.stop
	return l
}

// begin makes l the context of the next call.
func (l *limited) begin(parent context.Context) { l.parent, l.ends = parent, time.Time{} }

// stop ends what begin began.
func (l *limited) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
		l.timed, l.cancel = nil, nil
	}
}

func (l *limited) Value(key any) any { return l.parent.Value(key) }

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
	if err := l.parent.Err(); err != nil {
		return err
	}
	if !time.Now().Before(l.look()) {
		return context.DeadlineExceeded
	}
	return nil
}

func (l *limited) Done() <-chan struct{} {
	at := l.look()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil {
		l.timed, l.cancel = context.WithDeadline(l.parent, at)
	}
	return l.timed.Done()
}

// guestContext is what the guest runs under, until the function that it returns is called. s has one
// to use again for a module that imports nothing; with imports a context may be kept by a host function
// beyond its call, so each call has its own (one allocation). s may be nil.
func (m *Module) guestContext(ctx context.Context, r *release, s *slot) (context.Context, context.CancelFunc) {
	switch {
	case m.opts.deadline == 0:
		return ctx, nothing
	case s == nil || !r.pure:
		l := newLimited(m.opts.deadline)
		l.begin(ctx)
		return l, l.end
	case s.limit == nil:
		s.limit = newLimited(m.opts.deadline)
	}
	s.limit.begin(ctx)
	return s.limit, s.limit.end
}
