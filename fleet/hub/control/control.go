// Package control carries out rollouts: it watches what the hub knows, asks package rollout what follows, and
// writes rollouts and desired states. Use it in the hub that leads; two at once do no harm, since every write is
// compare-and-set and both would write the same.
//
// There is no order of writes that must not be interrupted: a rollout is written before the desired states that
// follow from it, and whatever was not written is found missing at the next look.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/rollout"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trace"
)

const (
	// look is how often the controller looks when nothing happens: soaks and patience end by time.
	look = time.Second
	// settle is how long it waits for more news after some, so that a thousand reports are one look.
	settle = 20 * time.Millisecond
	// retell is how long after its end a rollout's transitions are looked for in the audit log.
	retell = 24 * time.Hour
	// progress is how often a rollout's counts alone are written.
	progress = time.Second
)

// Controller moves rollouts.
type Controller struct {
	store *state.Store
	log   *slog.Logger
	now   func() time.Time
	news  chan struct{}
	since time.Time // when Run began to listen
	trace trace.Tracer

	// wrote is called behind each write; its error ends Run, as the death of the hub would. Tests set it.
	wrote func(what string) error
}

// New makes a controller; Run starts it.
func New(s *state.Store, log *slog.Logger) *Controller {
	return &Controller{store: s, log: log, now: time.Now, news: make(chan struct{}, 1), trace: trace.None{}, wrote: func(string) error { return nil }}
}

// WithClock makes the controller live by another clock, for tests.
func (c *Controller) WithClock(now func() time.Time) *Controller {
	c.now = now
	return c
}

// WithTrace makes the controller record what it does as spans; nil: it does not.
func (c *Controller) WithTrace(t trace.Tracer) *Controller {
	c.trace = trace.Or(t)
	return c
}

// Wake makes the controller look at once.
func (c *Controller) Wake() {
	select {
	case c.news <- struct{}{}:
	default: // it will look anyway
	}
}

// Command is what a person does to a rollout: pause, resume, abort or rollback.
func (c *Controller) Command(ctx context.Context, id, word, who, why string) (fleet.Rollout, error) {
	var before fleet.Rollout
	after, err := c.store.Rollouts.Change(ctx, id, func(r *fleet.Rollout) error {
		next, err := rollout.Command(*r, word, who, why, c.now().UTC())
		if err == nil {
			before, *r = *r, next
		}
		return err
	})
	if err != nil {
		return after, err
	}
	if d, err := c.store.Deployments.Get(ctx, id); err == nil {
		c.span(ctx, d.Value, before, after)
	}
	return after, nil
}

// Run works until ctx ends or the state cannot be watched any more; it always returns an error.
func (c *Controller) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := newWatched(ctx, c.store, c.Wake)
	if err := w.caughtUp(ctx); err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	c.since = c.now().UTC()
	if err := c.recall(ctx, w.snapshot()); err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	for {
		if err := c.pass(ctx, w); err != nil {
			return fmt.Errorf("controller: %w", err)
		}
		select {
		case <-time.After(look):
		case <-c.news:
			select {
			case <-time.After(settle):
			case <-ctx.Done():
			}
		case err := <-w.broken:
			return fmt.Errorf("controller: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass is one look: missing rollouts are made, moving ones moved, and desired states brought to what follows.
func (c *Controller) pass(ctx context.Context, w *watched) error {
	v := w.snapshot()
	if err := c.begin(ctx, v); err != nil {
		return err
	}
	if err := c.move(ctx, v); err != nil {
		return err
	}
	return c.desire(ctx, v)
}

// begin makes the rollouts of deployments that have none.
func (c *Controller) begin(ctx context.Context, v *view) error {
	for _, d := range v.deployments {
		if _, ok := v.rollouts[d.ID]; ok {
			continue
		}
		r := v.fleet(c.since).Begin(d, c.now().UTC())
		rev, err := c.store.Rollouts.Create(ctx, d.ID, r)
		if errors.Is(err, state.ErrConflict) {
			continue // the watch brings it
		}
		if err != nil {
			return err
		}
		v.rollouts[d.ID] = state.Entry[fleet.Rollout]{Key: d.ID, Value: r, Revision: rev, At: c.now()}
		if err := c.wrote("rollout"); err != nil {
			return err
		}
	}
	return nil
}

// move steps the rollouts that have not ended.
func (c *Controller) move(ctx context.Context, v *view) error {
	now := c.now().UTC()
	all := v.fleet(c.since)
	for _, d := range v.deployments {
		e, ok := v.rollouts[d.ID]
		if !ok || e.Value.Phase.Ended() {
			continue
		}
		next := all.Next(d, now)
		if reflect.DeepEqual(next, e.Value) || onlyCounts(e.Value, next) && now.Sub(e.At) < progress {
			continue
		}
		rev, err := c.store.Rollouts.Update(ctx, d.ID, next, e.Revision)
		if errors.Is(err, state.ErrConflict) {
			continue // somebody commanded it meanwhile: the watch brings that, and the next look heeds it
		}
		if err != nil {
			return err
		}
		v.rollouts[d.ID] = state.Entry[fleet.Rollout]{Key: d.ID, Value: next, Revision: rev, At: now}
		all.Rollouts[d.ID] = next
		c.span(ctx, d, e.Value, next)
		if err := c.wrote("rollout"); err != nil {
			return err
		}
		if err := c.tell(ctx, e.Value, next); err != nil {
			return err
		}
	}
	return nil
}

// span records the phase that a write ended, in the trace of its deployment, and at its end the whole rollout. Whoever wrote does it,
// so that it is there once; or not at all, where the hub died just then.
func (c *Controller) span(ctx context.Context, d fleet.Deployment, before, after fleet.Rollout) {
	n := len(after.History)
	if n == 0 || after.Since.Equal(before.Since) && after.Phase == before.Phase {
		return
	}
	t := after.History[n-1]
	var failed error
	if t.To == fleet.RolledBack {
		failed = errors.New(t.Reason)
	}
	ctx = trace.With(trace.Without(ctx), d.Trace) // a person's command has a trace of its own
	about := []slog.Attr{
		slog.String("isomer.deployment", d.ID), slog.String("isomer.release", d.Release.String()), slog.String("isomer.rollout.to", string(t.To)),
		slog.String("isomer.rollout.reason", t.Reason), slog.Int("isomer.rollout.nodes", after.Chosen), slog.Int("isomer.rollout.updated", after.Updated),
	}
	c.trace.Past(ctx, "rollout "+string(before.Phase), before.Since, t.At, failed, append(about[:len(about):len(about)], slog.Int("isomer.rollout.wave", before.Wave+1))...)
	if after.Phase.Ended() {
		c.trace.Past(ctx, "rollout", d.At, t.At, failed, about...)
	}
}

// onlyCounts reports whether two states differ in nothing but how many nodes are how far.
func onlyCounts(a, b fleet.Rollout) bool {
	b.Chosen, b.Updated, b.Refused, b.Missing = a.Chosen, a.Updated, a.Refused, a.Missing
	return reflect.DeepEqual(a, b)
}

// tell puts transitions that the controller made into the audit log.
func (c *Controller) tell(ctx context.Context, before, after fleet.Rollout) error {
	var last time.Time
	if n := len(before.History); n > 0 {
		last = before.History[n-1].At
	}
	for i, t := range after.History {
		if t.By != "" || !t.At.After(last) && i < len(before.History) {
			continue
		}
		c.log.Info("rollout", "id", after.Deployment, "release", after.Release, "from", t.From, "to", t.To, "reason", t.Reason)
		if err := c.audit(ctx, after, t); err != nil {
			return err
		}
	}
	return nil
}

// recall writes what a controller that died between a transition and its entry has left out.
func (c *Controller) recall(ctx context.Context, v *view) error {
	for _, e := range v.rollouts {
		if e.Value.Phase.Ended() && c.now().Sub(e.Value.Since) > retell {
			continue
		}
		for _, t := range e.Value.History {
			if t.By != "" {
				continue
			}
			if err := c.audit(ctx, e.Value, t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Controller) audit(ctx context.Context, r fleet.Rollout, t fleet.Transition) error {
	key := fmt.Sprintf("%s-%x-%x", r.Deployment, t.At.UnixNano(), t.To)
	written, err := c.store.AuditOnce(ctx, key, fleet.AuditEntry{
		At: t.At, Who: "controller", What: "rollout " + string(t.To), On: r.Release.String() + " " + r.Deployment, Result: "done", Reason: t.Reason,
	})
	if err != nil || !written {
		return err
	}
	return c.wrote("audit")
}

// desire writes the desired states that differ from what follows from the rollouts.
func (c *Controller) desire(ctx context.Context, v *view) error {
	plans := v.fleet(c.since).Desired()
	writes := map[string]state.Write[fleet.Desired]{}
	now := c.now().UTC()
	for name, m := range v.members {
		have, ok := v.desired[name]
		if m.Revoked {
			if ok && !have.Deleted {
				if err := c.store.Desired.Delete(ctx, name); err != nil {
					return err
				}
				if err := c.wrote("desired"); err != nil {
					return err
				}
			}
			continue
		}
		want := plans.Desired(m)
		if ok && !have.Deleted && reflect.DeepEqual(have.Value.Modules, want.Modules) {
			continue
		}
		want.At = now
		writes[name] = state.Write[fleet.Desired]{Value: want, Revision: have.Revision}
	}
	if len(writes) == 0 {
		return nil
	}
	conflicts, err := c.store.Desired.UpdateAll(ctx, writes)
	if len(conflicts) > 0 {
		c.log.Warn("desired states were written by another hub", "nodes", len(conflicts))
		c.Wake()
	}
	if err != nil {
		return err
	}
	return c.wrote("desired")
}
