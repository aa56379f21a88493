package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// leaseKey is what hubs compete for.
const leaseKey = "leader"

// leader holds the lease of the cluster, or waits for it, and does the leader's work while it has it: one hub
// at a time moves rollouts and takes in reports. A hub that hangs loses the lease; what it then still writes meets
// compare-and-set and fails.
type leader struct {
	name  string // of this hub and this start: a hub that was started again does not take its old self for itself
	store *state.Store
	log   *slog.Logger
	work  []task
	leads atomic.Bool
}

// task is something that only the leader does, until ctx ends.
type task struct {
	what string
	run  func(context.Context) error
}

func newLeader(name string, s *state.Store, log *slog.Logger, work ...task) *leader {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &leader{name: name + "-" + hex.EncodeToString(b[:]), store: s, log: log, work: work}
}

// renew is how often the lease is renewed: it survives two renewals that fail.
const renew = state.LeaseAge / 3

// run leads whenever it can, until ctx ends.
func (l *leader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		revision, err := l.store.Lease.Create(ctx, leaseKey, state.Lease{Holder: l.name})
		if err == nil {
			l.lead(ctx, revision)
			continue
		}
		if !errors.Is(err, state.ErrConflict) && ctx.Err() == nil {
			l.log.Warn("lease", "error", err)
		}
		select {
		case <-time.After(renew / 2):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// lead does the leader's work until the lease is lost, and gives it back where ctx ended it.
func (l *leader) lead(ctx context.Context, revision uint64) {
	l.log.Info("this hub leads", "hub", l.name)
	l.leads.Store(true)
	defer l.leads.Store(false)
	working, stop := context.WithCancel(ctx)
	ended := make(chan struct{}, len(l.work))
	for _, t := range l.work {
		go func() {
			defer func() { ended <- struct{}{} }()
			for working.Err() == nil {
				err := t.run(working)
				if working.Err() != nil {
					return
				}
				l.log.Warn("begun again", "work", t.what, "error", err)
				select {
				case <-time.After(time.Second):
				case <-working.Done():
				}
			}
		}()
	}
	revision = l.hold(ctx, revision)
	stop()
	for range l.work {
		<-ended
	}
	if revision > 0 && ctx.Err() != nil {
		// Given back, so that the next hub need not wait for the lease to run out.
		back, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.store.Lease.DeleteAt(back, leaseKey, revision)
	}
	l.log.Info("this hub leads no more", "hub", l.name)
}

// hold renews the lease until ctx ends, and returns its revision then; 0: it was lost.
func (l *leader) hold(ctx context.Context, revision uint64) uint64 {
	until := time.Now().Add(state.LeaseAge)
	for {
		select {
		case <-time.After(renew):
		case <-ctx.Done():
			return revision
		}
		try, cancel := context.WithTimeout(ctx, renew)
		next, err := l.store.Lease.Update(try, leaseKey, state.Lease{Holder: l.name}, revision)
		cancel()
		switch {
		case err == nil:
			revision, until = next, time.Now().Add(state.LeaseAge)
		case ctx.Err() != nil:
			return revision
		case errors.Is(err, state.ErrConflict), time.Now().After(until.Add(-renew)):
			l.log.Warn("the lease is lost", "error", err)
			return 0
		}
	}
}
