// How a keeper brings another release into service, and takes it back.

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// fetch verifies that the developer signed the release, and brings its file.
func (k *keeper) fetch(ctx context.Context, want *fleet.DesiredModule) error {
	k.set(fleet.Fetching, "")
	digest, size, err := k.a.target(ctx, want.Release)
	switch {
	case errors.Is(err, trust.ErrUnknownRelease):
		return final{err}
	case err != nil:
		return err
	case digest != want.Digest || size != want.Size:
		return final{fmt.Errorf("%w: %s is signed with %d bytes and the digest %.12s, and desired with %d and %.12s",
			trust.ErrTampered, want.Release, size, digest, want.Size, want.Digest)}
	}
	if k.a.blobs.Has(digest) {
		if err := k.a.blobs.Verify(digest); err == nil {
			return nil
		}
		if err := k.a.blobs.Remove(digest); err != nil {
			return err
		}
	}
	src := k.a.source()
	if src == nil {
		return errors.New("not connected")
	}
	err = src.Module(ctx, k.a.blobs, digest, size, nil)
	if err != nil && !errors.Is(err, blob.ErrDamaged) {
		k.a.collect() // the disk may be full of what nobody needs
	}
	if err == nil {
		k.a.event("fetched", k.name, want.Release, "")
	}
	if errors.Is(err, blob.ErrDamaged) {
		k.a.Refused("module", want.Release.String()+": "+err.Error())
	}
	return err
}

// gate runs the golden cases in a trial of its own, under the limits under which it will serve. The compiled code stays in the
// cache, so that the swap need not wait for it.
func (k *keeper) gate(ctx context.Context, want *fleet.DesiredModule) error {
	bin, err := os.ReadFile(k.a.blobs.Path(want.Digest))
	if err != nil {
		return err
	}
	if k.rec.Tried.Digest == want.Digest && k.rec.Tried.Ends >= maxUnproven {
		return final{fmt.Errorf("the agent ended %d times while it tried the release", k.rec.Tried.Ends)}
	}
	k.onTrial(&k.tries, want.Digest)
	k.tries.enter()
	defer func() { k.tries.leave(); k.tries.done() }()
	opts := append(k.a.options(k.name), isomer.WithWatch(false))
	for _, b := range want.Bindings {
		opts = append(opts, isomer.WithFunctions(b.Call))
	}
	m, err := isomer.New(ctx, bin, opts...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, isomer.ErrRefused) {
		return final{err}
	}
	if err != nil {
		return err
	}
	return m.Close()
}

// change switches the links and waits until the bridge serves.
func (k *keeper) change(ctx context.Context, want *fleet.DesiredModule) error {
	if err := disk.MkdirAll(k.a.cfg.Disk, k.dir(), 0o755); err != nil {
		return err
	}
	old := k.rec.Current
	if now := linked(k.current()); now == want.Digest { // it was damaged, and fetched again
		old = k.rec.Previous
	} else if now != "" {
		if err := k.link(k.previous(), now); err != nil {
			return err
		}
	}
	before := *k.rec
	k.edit(func(r *record) {
		*r = record{Desired: *want, Current: served{want.Release, want.Digest, k.a.now().UTC(), want.Bindings}, Previous: old, Bad: r.Bad}
	})
	// The record first: where the power is cut in between, the link tells that the change did not happen.
	if err := k.a.remember(); err != nil {
		k.edit(func(r *record) { *r = before })
		return err
	}
	k.mu.Lock()
	k.trial, k.since = trialCounts{}, time.Now()
	k.mu.Unlock()
	k.onTrial(&k.serves, want.Digest)
	if err := k.switchTo(want.Digest); err != nil {
		k.edit(func(r *record) { before.Bad = r.Bad; *r = before })
		return errors.Join(err, k.a.remember())
	}
	k.obs.reset(want.Digest, old.Digest)
	if err := k.serve(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return k.back(ctx, fleet.Refused, err.Error())
	}
	k.bind() // after its release serves: a function may be new
	k.set(fleet.Running, "")
	k.a.event("swapped", k.name, want.Release, "")
	k.a.collect()
	return nil
}

// switchTo makes the link lead to a module. Where it does though its folder cannot be synced, it counts: the bridge serves
// it already.
func (k *keeper) switchTo(digest string) error {
	err := k.link(k.current(), digest)
	if err == nil || linked(k.current()) != digest {
		return err
	}
	k.a.problem("disk", err)
	return nil
}

// back returns to the release before. It remembers that the present one is bad, unless the state is Failed.
func (k *keeper) back(ctx context.Context, s fleet.ModuleState, why string) error {
	now := k.rec.Current
	deployment := k.rec.Desired.Deployment
	prev := k.before(now.Digest)
	mark := func() error {
		if s == fleet.Failed {
			k.set(s, "%s", why)
			return k.a.remember()
		}
		return k.markBad(now.Digest, deployment, s, why)
	}
	k.a.event("reverted", k.name, now.Release, why)
	if prev == "" {
		return mark() // it goes on where it serves
	}
	before := k.rec.Previous
	if before.Digest != prev {
		before = served{Digest: prev, Release: k.signed(prev)}
	}
	before.Since = k.a.now().UTC()
	if err := k.switchTo(prev); err != nil {
		return err
	}
	k.serves.done()
	k.edit(func(r *record) { r.Current, r.Previous, r.Unproven, r.Ends = before, now, -1, 0 })
	if err := mark(); err != nil {
		k.a.log.Warn("module "+k.name, "error", err)
	}
	if err := k.serve(ctx); err != nil {
		return err
	}
	k.bind()
	k.set(s, "%s", why)
	return nil
}

// judge counts the first calls of a release.
func (k *keeper) judge(failed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trial.calls >= trialCalls {
		return
	}
	k.trial.calls++
	if failed {
		k.trial.failed++
	}
	if k.trial.calls < trialCalls || k.trial.failed <= trialCalls/2 || k.rec.Previous.Digest == "" || k.rec.Unproven < 0 {
		return
	}
	before := k.obs.stats(k.rec.Previous.Digest)
	if before.Calls > 0 && before.Failed*10 > before.Calls {
		return // it was no better before
	}
	k.revert = fmt.Sprintf("%d of its first %d calls failed", k.trial.failed, trialCalls)
	k.poke()
}

// proven ends the time in which crashes are put down to the release, where it has passed, and reports whether it
// did just now.
func (k *keeper) proven() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mod == nil || k.rec.Unproven < 0 || time.Since(k.since) < provenAfter {
		return false
	}
	k.rec.Unproven, k.rec.Ends = -1, 0
	k.serves.done()
	return true
}
