package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// keeper keeps one module as it is desired: it fetches, verifies, gates and switches, and takes back what turns
// out to be bad. Everything that runs stands under modules/<name>/current.wasm, a link to the module's file that the
// bridge watches; the link is switched only to what was verified and passed its gate.
type keeper struct {
	a    *Agent
	name string
	obs  *observer
	// serves is the mark of the release that serves, tries of the one at its gate.
	serves, tries mark

	wake chan struct{} // something to look at: a new desired state, a revert, time

	mu     sync.Mutex // guards what follows
	want   *fleet.DesiredModule
	about  string // the deployment that is being looked at; what comes of it says nothing about a newer one
	gone   bool   // no longer desired
	closed bool   // removed: a new keeper takes over where it is desired again
	state  fleet.ModuleState
	reason string
	rec    *record
	mod    *isomer.Module // nil: nothing serves
	revert string         // why the current release must go; empty: it need not
	trial  trialCounts    // of the current release's first calls
	since  time.Time      // when this process began to serve it
}

// trialCounts judge the first calls of a release on this node.
type trialCounts struct{ calls, failed int }

const (
	// trialCalls are the first calls of a new release that are judged: where most of them trap or meet a limit, though those
	// of the release before did not, it is taken back at once.
	trialCalls = 20
	// provenAfter is how long an agent must run with a release until later crashes are not put down to it.
	provenAfter = 10 * time.Minute
	proofEvery  = time.Minute // how often that is looked at

	retryFirst = time.Second
	retryMost  = time.Minute
	swapWait   = 2 * time.Minute // for the bridge to serve what it already compiled once
)

func newKeeper(a *Agent, name string, rec *record) *keeper {
	k := &keeper{a: a, name: name, rec: rec, wake: make(chan struct{}, 1)}
	k.obs = newObserver(&k.serves, k.judge)
	k.serves.path = filepath.Join(a.cfg.Dir, "trials", name+".serves")
	k.tries.path = filepath.Join(a.cfg.Dir, "trials", name+".tries")
	return k
}

func (k *keeper) dir() string      { return filepath.Join(k.a.cfg.Dir, "modules", k.name) }
func (k *keeper) current() string  { return filepath.Join(k.dir(), "current.wasm") }
func (k *keeper) previous() string { return filepath.Join(k.dir(), "previous.wasm") }

// link makes a link lead to a module.
func (k *keeper) link(path, digest string) error {
	return disk.Link(k.a.cfg.Disk, filepath.Join("..", "..", "blobs", digest), path)
}

// linked is the digest that a link leads to; empty where there is none.
func linked(path string) string {
	t, err := os.Readlink(path)
	if err != nil || fleet.CheckDigest(filepath.Base(t)) != nil {
		return ""
	}
	return filepath.Base(t)
}

// bind feeds the module by the bindings of the release that serves.
func (k *keeper) bind() { k.a.bindings.Set(k.name, k.rec.Current.Bindings) }

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// edit changes the record. The keeper's own goroutine alone does it, and reads without the lock; reports read with it.
func (k *keeper) edit(change func(*record)) {
	k.mu.Lock()
	change(k.rec)
	k.mu.Unlock()
}

// setWant takes a new desired state; nil: the module is no longer wanted.
func (k *keeper) setWant(want *fleet.DesiredModule) {
	k.mu.Lock()
	before := k.rec.Desired
	if k.want != nil {
		before = *k.want
	}
	// What was said of the one before must not be taken for an answer to this one.
	fresh := want != nil && (want.Deployment != before.Deployment || want.Release != before.Release || want.Digest != before.Digest)
	if fresh {
		k.state, k.reason = fleet.Fetching, ""
	}
	k.want, k.gone = want, want == nil
	k.mu.Unlock()
	if fresh {
		k.a.changed()
	}
	k.poke()
}

func (k *keeper) set(state fleet.ModuleState, format string, args ...any) {
	k.mu.Lock()
	if k.want != nil && k.about != "" && k.about != k.want.Deployment {
		k.mu.Unlock()
		return // asked for something else meanwhile, which is looked at next
	}
	reason := fmt.Sprintf(format, args...)
	changed := k.state != state || k.reason != reason
	k.state, k.reason = state, reason
	k.mu.Unlock()
	if changed {
		k.a.changed()
	}
}

// boot serves what the link leads to, before there is any network. Where the file is damaged, the release no longer signed, or
// the agent did not survive it, the one before serves.
func (k *keeper) boot(ctx context.Context) {
	now := linked(k.current())
	if now == "" {
		return
	}
	if k.rec.Current.Digest != now { // the record is newer than the link, or was lost
		k.edit(func(r *record) {
			if r.Previous.Digest == now {
				r.Current, r.Previous = r.Previous, served{}
			} else {
				r.Current = served{Digest: now, Release: k.signed(now)}
			}
			r.Unproven, r.Ends = 0, 0
		})
	}
	if why := k.loop(); why != "" && k.before(now) != "" {
		if err := k.back(ctx, fleet.Reverted, why); err != nil {
			k.set(fleet.Failed, "%s; the release before cannot serve either: %v", why, err)
		}
		return
	}
	if k.rec.Unproven >= 0 {
		k.onTrial(&k.serves, now)
	}
	err := k.serve(ctx)
	if err == nil {
		return
	}
	state := fleet.Reverted
	if errors.Is(err, blob.ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		state = fleet.Failed // the disk's fault and not the release's: it is fetched again
	}
	if again := k.back(ctx, state, err.Error()); again != nil {
		k.set(fleet.Failed, "%v; the release before cannot serve either: %v", err, again)
	}
}

// before is the release to return to from the one with the digest; empty: there is none. The link may lead to the present
// one, where an update was cut off after it was set.
func (k *keeper) before(digest string) string {
	for _, d := range []string{k.rec.Previous.Digest, linked(k.previous())} {
		if d != "" && d != digest && k.a.blobs.Verify(d) == nil {
			return d
		}
	}
	return ""
}

// signed is the release that the signed list calls by this digest.
func (k *keeper) signed(digest string) fleet.Ref {
	for _, t := range k.a.trust.List() {
		if t.Digest == digest && t.Ref.Name == k.name {
			return t.Ref
		}
	}
	return fleet.Ref{}
}

// serve opens what the link leads to, or does nothing where it is open.
func (k *keeper) serve(ctx context.Context) error {
	digest := linked(k.current())
	if err := k.a.blobs.Verify(digest); err != nil {
		return err
	}
	if err := k.allowed(digest); err != nil {
		return err
	}
	k.mu.Lock()
	open := k.mod
	k.mu.Unlock()
	k.serves.enter()
	defer k.serves.leave()
	if open != nil {
		return k.awaitSwap(ctx, open, digest)
	}
	m, err := isomer.Open(ctx, k.current(), append(k.a.options(k.name), isomer.WithObserver(k.obs), isomer.WithObserver(k.a.metrics), isomer.WithEvents(k.event))...)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.mod, k.since = m, time.Now()
	k.mu.Unlock()
	k.set(fleet.Running, "")
	k.bind()
	if err := k.a.offer(k); err != nil {
		k.a.log.Warn("calls from afar", "module", k.name, "error", err)
	}
	k.a.changed()
	return nil
}

// allowed says whether a module that is on the disk may run: a list that was verified has it, or had it when this node took
// it, since what ran goes on running until the hub says otherwise, also where the list itself was lost.
func (k *keeper) allowed(digest string) error {
	ref := k.rec.Current.Release
	if ref.IsZero() {
		ref = k.signed(digest)
	}
	err := k.a.trust.Listed(ref, digest)
	if err != nil && !errors.Is(err, trust.ErrTampered) && k.wasVerified(digest) {
		return nil
	}
	return err
}

// wasVerified reports whether this node remembers that it verified the digest as a release.
func (k *keeper) wasVerified(digest string) bool {
	return k.rec.Current.Digest == digest && !k.rec.Current.Release.IsZero() || k.rec.Previous.Digest == digest && !k.rec.Previous.Release.IsZero()
}

// event follows the bridge.
func (k *keeper) event(e isomer.Event) {
	if e.Err != nil {
		k.a.log.Warn("module "+k.name, "event", e.Kind, "digest", e.Digest, "error", e.Err)
	} else {
		k.a.log.Debug("module "+k.name, "event", e.Kind, "version", e.Version)
	}
	switch e.Kind {
	case isomer.Swapped, isomer.Refused, isomer.RolledBack:
		k.poke()
	}
}

// awaitSwap waits until the bridge serves the digest, which the link leads to by now.
func (k *keeper) awaitSwap(ctx context.Context, m *isomer.Module, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, swapWait)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if m.Digest() == digest {
			tick.Stop()
			return nil
		}
		if r := m.Stats().LastRefusal; r != nil && r.Digest == digest {
			tick.Stop()
			return r
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("the bridge does not serve %.12s: %w", digest, ctx.Err())
		}
	}
}

// run keeps the module until ctx ends.
func (k *keeper) run(ctx context.Context) {
	wait := retryFirst
	for {
		again, err := k.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			k.a.log.Warn("module "+k.name, "error", err, "again", wait)
			k.set(fleet.Failed, "%v", err)
			again = wait
			wait = min(2*wait, retryMost)
		default:
			wait = retryFirst
		}
		var later <-chan time.Time
		if again > 0 {
			later = time.After(again)
		}
		select {
		case <-k.wake:
		case <-later:
		case <-ctx.Done():
			return
		}
		if k.finished() {
			return
		}
	}
}

func (k *keeper) finished() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// look brings the module one step on. again is when to look without being woken; 0: not.
func (k *keeper) look(ctx context.Context) (again time.Duration, err error) {
	k.mu.Lock()
	want, gone, why := k.want, k.gone, k.revert
	k.revert, k.about = "", ""
	if why != "" {
		k.about = k.rec.Desired.Deployment
	} else if want != nil {
		k.about = want.Deployment
	}
	k.mu.Unlock()
	switch {
	case gone:
		return 0, k.remove()
	case why != "":
		ctx, span := k.span(ctx, "revert", &k.rec.Desired)
		err := k.back(ctx, fleet.Reverted, why)
		span.Set(slog.String("isomer.reason", why))
		span.End(err)
		if err != nil {
			k.mu.Lock()
			k.revert = why // again, until the disk takes it
			k.mu.Unlock()
		}
		k.poke() // what is wanted by now may be something else
		return 0, err
	case want == nil:
		return 0, nil
	}
	if b, ok := k.isBad(want); ok {
		k.set(b.State, "%s", b.Reason)
		return 0, nil
	}
	if k.rec.Current.Digest == want.Digest && k.has(want.Digest) {
		if k.rec.Current.Release != want.Release { // the same bytes under another name: did the developer call them so?
			if err := k.fetch(ctx, want); err != nil {
				return k.refuseIfFinal(want, err)
			}
		}
		if err := k.calls(want.Bindings); err != nil {
			return k.refuseIfFinal(want, err)
		}
		return 0, k.accept(want)
	}
	if want.Window != nil && !want.Window.Open(k.a.now()) && k.rec.Current.Digest != "" {
		k.set(fleet.Waiting, "for its maintenance window")
		return 30 * time.Second, nil
	}
	if err := k.update(ctx, want); err != nil {
		return k.refuseIfFinal(want, err)
	}
	return 0, nil
}

func (k *keeper) has(digest string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mod != nil && k.mod.Digest() == digest
}

func (k *keeper) isBad(want *fleet.DesiredModule) (bad, bool) {
	for _, b := range k.rec.Bad {
		if b.Digest == want.Digest && b.Deployment == want.Deployment {
			return b, true
		}
	}
	return bad{}, false
}

// accept records that what serves is what was asked for, perhaps by another deployment than before.
func (k *keeper) accept(want *fleet.DesiredModule) error {
	if reflect.DeepEqual(k.rec.Desired, *want) && k.rec.Current.Release == want.Release && reflect.DeepEqual(k.rec.Current.Bindings, want.Bindings) {
		k.set(fleet.Running, "")
		return nil // asked for again, as each minute: state.json is on flash
	}
	k.edit(func(r *record) { r.Desired, r.Current.Release, r.Current.Bindings = *want, want.Release, want.Bindings })
	k.bind()
	k.set(fleet.Running, "")
	return k.a.remember()
}

// final are errors that no repetition mends: the release is refused.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

func (k *keeper) refuseIfFinal(want *fleet.DesiredModule, err error) (time.Duration, error) {
	f, ok := errors.AsType[final](err)
	if !ok {
		return 0, err
	}
	k.a.event("refused", k.name, want.Release, f.Error())
	return 0, k.markBad(want.Digest, want.Deployment, fleet.Refused, f.Error())
}

func (k *keeper) markBad(digest, deployment string, s fleet.ModuleState, reason string) error {
	k.edit(func(r *record) {
		r.Bad = append(r.Bad, bad{digest, deployment, s, reason})
		if n := len(r.Bad) - maxBad; n > 0 {
			r.Bad = slices.Delete(r.Bad, 0, n)
		}
		r.Tried = tried{} // another deployment of it is tried again
	})
	k.set(s, "%s", reason)
	return k.a.remember()
}

// calls checks that the module that serves has what bindings call: others are looked at by its gate.
func (k *keeper) calls(list []fleet.Binding) error {
	m := k.a.Module(k.name)
	for _, b := range list {
		if m == nil {
			break
		}
		if _, ok := describe(m, b.Call); !ok {
			return final{fmt.Errorf("%w: binding %s: the module has no function %s", fleet.ErrInvalid, b.Name, b.Call)}
		}
	}
	return nil
}

// remove closes a module that is no longer wanted, and forgets it.
func (k *keeper) remove() error {
	k.mu.Lock()
	m := k.mod
	k.mod = nil
	k.mu.Unlock()
	k.a.bindings.Set(k.name, nil)
	k.a.withdraw(k.name)
	if m != nil {
		if err := m.Close(); err != nil {
			k.a.log.Warn("module "+k.name, "error", err)
		}
	}
	k.serves.done()
	if err := disk.RemoveAll(k.a.cfg.Disk, k.dir()); err != nil {
		return err
	}
	k.a.forget(k.name)
	k.mu.Lock()
	k.closed = true
	again := k.want != nil
	k.mu.Unlock()
	if again { // desired again meanwhile
		k.a.askFresh()
	}
	k.a.event("removed", k.name, k.rec.Current.Release, "no longer desired")
	k.a.collect()
	return nil
}

// report is the module for the hub.
func (k *keeper) report() fleet.ModuleReport {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := fleet.ModuleReport{
		Name: k.name, State: k.state, Reason: k.reason,
		Release: k.rec.Current.Release, Digest: k.rec.Current.Digest, Since: k.rec.Current.Since,
		Stats:    k.obs.stats(k.rec.Current.Digest),
		Previous: k.rec.Previous.Release, PreviousStats: k.obs.stats(k.rec.Previous.Digest),
	}
	if k.want != nil {
		r.Desired, r.Deployment = k.want.Release, k.want.Deployment
	} else {
		r.Desired, r.Deployment = k.rec.Desired.Release, k.rec.Desired.Deployment
	}
	if k.mod == nil {
		r.Release, r.Digest = fleet.Ref{}, ""
	}
	return r
}
