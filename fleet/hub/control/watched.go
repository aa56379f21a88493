package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/rollout"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// watched mirrors the buckets that the controller decides by.
type watched struct {
	mu          sync.Mutex
	deployments map[string]fleet.Deployment
	rollouts    map[string]state.Entry[fleet.Rollout]
	releases    map[fleet.Ref]string // digests
	releaseKeys map[string]fleet.Ref
	members     map[string]fleet.Member
	nodes       map[string]state.Entry[fleet.Report]
	desired     map[string]state.Entry[fleet.Desired]

	ready  sync.WaitGroup
	broken chan error
}

func newWatched(ctx context.Context, s *state.Store, news func()) *watched {
	w := &watched{
		deployments: map[string]fleet.Deployment{}, rollouts: map[string]state.Entry[fleet.Rollout]{},
		releases: map[fleet.Ref]string{}, releaseKeys: map[string]fleet.Ref{}, members: map[string]fleet.Member{},
		nodes: map[string]state.Entry[fleet.Report]{}, desired: map[string]state.Entry[fleet.Desired]{},
		broken: make(chan error, 8),
	}
	follow(ctx, w, s.Deployments, news, func(e state.Entry[fleet.Deployment]) { put(w.deployments, e.Key, e.Value, e.Deleted) })
	follow(ctx, w, s.Rollouts, news, func(e state.Entry[fleet.Rollout]) {
		if old, ok := w.rollouts[e.Key]; !ok || old.Revision < e.Revision {
			put(w.rollouts, e.Key, e, e.Deleted)
		}
	})
	follow(ctx, w, s.Members, news, func(e state.Entry[fleet.Member]) { put(w.members, e.Key, e.Value, e.Deleted) })
	follow(ctx, w, s.Nodes, news, func(e state.Entry[fleet.Report]) { put(w.nodes, e.Key, e, e.Deleted) })
	// Its own writes come back here and are no news.
	follow(ctx, w, s.Desired, func() {}, func(e state.Entry[fleet.Desired]) {
		if e.Deleted {
			e.Value = fleet.Desired{} // the revision is needed to write the key anew
		}
		w.desired[e.Key] = e
	})
	follow(ctx, w, s.Releases, news, func(e state.Entry[fleet.Release]) {
		if e.Deleted {
			delete(w.releases, w.releaseKeys[e.Key])
			return
		}
		w.releaseKeys[e.Key] = e.Value.Ref
		w.releases[e.Value.Ref] = e.Value.Digest
	})
	return w
}

func put[T any](m map[string]T, key string, v T, deleted bool) {
	if deleted {
		delete(m, key)
		return
	}
	m[key] = v
}

// follow mirrors one bucket until ctx ends.
func follow[T any](ctx context.Context, w *watched, b *state.Bucket[T], news func(), take func(state.Entry[T])) {
	w.ready.Add(1)
	var once sync.Once
	ready := func() { once.Do(w.ready.Done) }
	go func() {
		err := b.Watch(ctx, func(e state.Entry[T]) {
			w.mu.Lock()
			take(e)
			w.mu.Unlock()
			news()
		}, ready)
		w.broken <- err
		ready()
	}()
}

// caughtUp waits until everything that was there is mirrored.
func (w *watched) caughtUp(ctx context.Context) error {
	done := make(chan struct{})
	go func() { w.ready.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.broken:
		return err
	default:
		return nil
	}
}

// view is the state of one look.
type view struct {
	deployments []fleet.Deployment // the oldest first
	rollouts    map[string]state.Entry[fleet.Rollout]
	releases    map[fleet.Ref]string
	members     map[string]fleet.Member
	nodes       map[string]state.Entry[fleet.Report]
	desired     map[string]state.Entry[fleet.Desired]
}

func (w *watched) snapshot() *view {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := &view{
		rollouts: maps.Clone(w.rollouts), releases: maps.Clone(w.releases), members: maps.Clone(w.members),
		nodes: maps.Clone(w.nodes), desired: maps.Clone(w.desired),
	}
	v.deployments = slices.SortedFunc(maps.Values(w.deployments), func(a, b fleet.Deployment) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// fleet is the view as package rollout wants it, with rollouts of its own.
func (v *view) fleet(since time.Time) rollout.Fleet {
	f := rollout.Fleet{Deployments: v.deployments, Rollouts: make(map[string]fleet.Rollout, len(v.rollouts)), Members: v.members, Since: since}
	for id, e := range v.rollouts {
		f.Rollouts[id] = e.Value
	}
	f.Report = func(node string) (fleet.Report, time.Time, bool) {
		e, ok := v.nodes[node]
		return e.Value, e.At, ok
	}
	f.Listed = func(r fleet.Ref) bool {
		_, ok := v.releases[r]
		return ok
	}
	return f
}
