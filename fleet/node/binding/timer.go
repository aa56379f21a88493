package binding

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// timer feeds a binding by the clock.
type timer struct {
	r    *Runner
	b    *bound
	end  context.CancelFunc
	done chan struct{}
	busy atomic.Bool
}

func newTimer(r *Runner, b *bound, own fleet.Binding) *timer {
	ctx, cancel := context.WithCancel(r.ctx)
	t := &timer{r: r, b: b, end: cancel, done: make(chan struct{})}
	var daily []fleet.Daily
	for _, s := range own.At {
		if d, err := fleet.ParseDaily(s); err == nil { // Check did
			daily = append(daily, d)
		}
	}
	go func() {
		defer close(t.done)
		if len(daily) > 0 {
			t.daily(ctx, daily)
		} else {
			t.every(ctx, time.Duration(own.Every))
		}
	}()
	return t
}

func (t *timer) every(ctx context.Context, d time.Duration) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.fire(t.r.cfg.Now())
		case <-ctx.Done():
			return
		}
	}
}

const (
	// lookAtClock is how often a daily timer looks at the clock: it may be set, as on devices without a battery.
	lookAtClock = 10 * time.Second
	// late is how late a daily timer still fires: a clock that jumps from 1970 to the present passes many times at once.
	late = time.Minute
)

func (t *timer) daily(ctx context.Context, at []fleet.Daily) {
	next := first(at, t.r.cfg.Now())
	for {
		now := t.r.cfg.Now()
		switch passed := now.Sub(next); {
		case passed >= 0:
			if passed < late {
				t.fire(next)
			}
			next = first(at, now)
		case passed < -8*24*time.Hour: // the clock was set back
			next = first(at, now)
		}
		select {
		case <-time.After(min(max(next.Sub(t.r.cfg.Now()), 0), lookAtClock)):
		case <-ctx.Done():
			return
		}
	}
}

func first(at []fleet.Daily, now time.Time) time.Time {
	next := at[0].Next(now)
	for _, d := range at[1:] {
		if n := d.Next(now); n.Before(next) {
			next = n
		}
	}
	return next
}

// fire gives the input to the function, unless it is still at the last one.
func (t *timer) fire(at time.Time) {
	t.b.received.Add(1)
	if !t.busy.CompareAndSwap(false, true) {
		t.b.dropped.Add(1)
		return
	}
	input := t.b.def.Load().Input
	it := &item{
		order: "timer", from: at.UTC().Format(time.RFC3339Nano), encoding: "application/json", body: input, size: len(input),
		ended: func(Answer, error) { t.busy.Store(false) },
	}
	if len(input) == 0 {
		it.encoding = ""
	}
	if err := t.b.queue.push(t.r.ctx, it, false); err != nil {
		t.b.dropped.Add(1)
		t.busy.Store(false)
	}
}

func (t *timer) stop() {
	t.end()
	<-t.done
}
