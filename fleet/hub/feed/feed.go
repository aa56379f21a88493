// Package feed tells those who look at the fleet, such as the dashboard, what changes, as it does. Use it in the hub's
// API: a Feed for the hub, and Follow for each who looks.
//
// It watches the hub's state once however many look, and not while nobody does. Who is slow gets fewer and newer
// changes, never a queue: what waits for them is one entry for each thing that changed, at most the fleet.
package feed

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// Every is how often who looks hears of changes. An eye does not see more, and a page has time to draw.
const Every = 250 * time.Millisecond

// maxBatch bounds the nodes of one batch: of a fleet of 5,000 the first arrive while the rest are read.
const maxBatch = 500

// Batch is what changed. Its lists have whole things, in place of what was known of the same name before.
type Batch struct {
	At          time.Time          `json:"at"`              // by the hub's clock: what Heard of nodes is compared with
	Ready       bool               `json:"ready,omitempty"` // with this batch everything was told once
	Nodes       []Node             `json:"nodes,omitempty"`
	Releases    []fleet.Release    `json:"releases,omitempty"`
	Deployments []fleet.Deployment `json:"deployments,omitempty"`
	Rollouts    []fleet.Rollout    `json:"rollouts,omitempty"`
	// Gone are the keys of what there is no more, by kind.
	Gone *Gone `json:"gone,omitempty"`
}

// Gone names what was removed.
type Gone struct {
	Nodes       []string    `json:"nodes,omitempty"`
	Releases    []fleet.Ref `json:"releases,omitempty"`
	Deployments []string    `json:"deployments,omitempty"`
	Rollouts    []string    `json:"rollouts,omitempty"` // by deployment
}

// Node is what a page shows of a node in a list: some 300 bytes as JSON, where a whole NodeView has 1,000.
type Node struct {
	Node     string       `json:"node"`
	Layer    fleet.Layer  `json:"layer"`
	Labels   fleet.Labels `json:"labels,omitempty"`
	Revoked  bool         `json:"revoked,omitempty"`
	Heard    int64        `json:"heard,omitempty"` // ms since 1970 by the hub's clock; 0: never
	Via      string       `json:"via,omitempty"`
	Agent    string       `json:"agent,omitempty"`
	OS       string       `json:"os,omitempty"`
	Arch     string       `json:"arch,omitempty"`
	Modules  []Module     `json:"modules,omitempty"`
	Problems []string     `json:"problems,omitempty"`
}

// Module is a module on a node.
type Module struct {
	Name       string            `json:"name"`
	State      fleet.ModuleState `json:"state"`
	Desired    string            `json:"desired,omitempty"` // version
	Version    string            `json:"version,omitempty"` // that serves
	Digest     string            `json:"digest,omitempty"`
	Deployment string            `json:"deployment,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Calls      uint64            `json:"calls,omitempty"`
	Failed     uint64            `json:"failed,omitempty"`
	P50        float64           `json:"p50us,omitempty"`
	P95        float64           `json:"p95us,omitempty"`
}

// kind of thing that changes.
type kind uint8

const (
	nodes kind = iota
	releases
	deployments
	rollouts
)

type thing struct {
	kind kind
	key  string
}

// Feed is the hub's view of what who looks is told.
type Feed struct {
	store *state.Store
	now   func() time.Time

	mu      sync.Mutex
	looking map[*Follower]struct{}
	view    *view // nil while nobody looks
}

// New makes a feed of the store. now is the hub's clock.
func New(store *state.Store, now func() time.Time) *Feed {
	return &Feed{store: store, now: now, looking: map[*Follower]struct{}{}}
}

// Follower is one who looks.
type Follower struct {
	feed    *Feed
	view    *view
	pending map[thing]struct{} // under feed.mu
	told    map[thing]struct{} // so that only what was told goes; owned by Next
	ready   bool
	changed chan struct{}
}

// Follow begins to look; Close ends it.
func (f *Feed) Follow() *Follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.view == nil {
		f.view = startView(f)
	}
	l := &Follower{feed: f, view: f.view, pending: map[thing]struct{}{}, told: map[thing]struct{}{}, changed: make(chan struct{}, 1)}
	for t := range f.view.things() {
		l.pending[t] = struct{}{}
	}
	l.changed <- struct{}{}
	f.looking[l] = struct{}{}
	return l
}

// Close ends the look. The last one who looked ends the watching.
func (l *Follower) Close() {
	f := l.feed
	f.mu.Lock()
	delete(f.looking, l)
	last := !l.view.watched()
	if last && f.view == l.view {
		f.view = nil
	}
	f.mu.Unlock()
	if last {
		l.view.stop()
	}
}

// Next waits until something changed, and gives it. The error is that of ctx, or that the state cannot be watched any
// more: begin again.
func (l *Follower) Next(ctx context.Context) (Batch, error) {
	select {
	case <-l.changed:
	case <-l.view.ended:
		return Batch{}, l.view.err
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	}
	f := l.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	b := Batch{At: f.now().UTC()}
	for t := range l.pending {
		if t.kind == nodes && len(b.Nodes) == maxBatch {
			l.wake()
			break
		}
		delete(l.pending, t)
		l.add(&b, t)
	}
	if !l.ready && len(l.pending) == 0 && l.view.caughtUp() {
		l.ready, b.Ready = true, true
	}
	return b, nil
}

// Waiting is how many things changed that Next has not told.
func (l *Follower) Waiting() int {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	return len(l.pending)
}

// add tells of one thing, or that it is gone where the follower knows it.
func (l *Follower) add(b *Batch, t thing) {
	v, there := l.view, true
	switch t.kind {
	case nodes:
		if n, ok := v.node(t.key); ok {
			b.Nodes = append(b.Nodes, n)
		} else {
			there = false
		}
	case releases:
		there = put(&b.Releases, v.releases, t.key)
	case deployments:
		there = put(&b.Deployments, v.deployments, t.key)
	case rollouts:
		there = put(&b.Rollouts, v.rollouts, t.key)
	}
	if there {
		l.told[t] = struct{}{}
		return
	}
	if _, ok := l.told[t]; !ok {
		return
	}
	delete(l.told, t)
	if b.Gone == nil {
		b.Gone = &Gone{}
	}
	switch t.kind {
	case nodes:
		b.Gone.Nodes = append(b.Gone.Nodes, t.key)
	case releases:
		b.Gone.Releases = append(b.Gone.Releases, v.retired[t.key])
	case deployments:
		b.Gone.Deployments = append(b.Gone.Deployments, t.key)
	case rollouts:
		b.Gone.Rollouts = append(b.Gone.Rollouts, t.key)
	}
}

func put[T any](to *[]T, from map[string]T, key string) bool {
	v, ok := from[key]
	if ok {
		*to = append(*to, v)
	}
	return ok
}

func (l *Follower) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// view is the state as the watches told it.
type view struct {
	feed   *Feed
	cancel context.CancelFunc
	work   sync.WaitGroup
	ended  chan struct{} // closed when a watch ended
	err    error         // then

	// Under feed.mu.
	members     map[string]fleet.Member
	reports     map[string]state.Entry[fleet.Report]
	releases    map[string]fleet.Release
	retired     map[string]fleet.Ref // of releases that were removed
	deployments map[string]fleet.Deployment
	rollouts    map[string]fleet.Rollout
	behind      int // watches that have not told everything yet
}

// startView begins to watch; f.mu is held.
func startView(f *Feed) *view {
	ctx, cancel := context.WithCancel(context.Background())
	v := &view{
		feed: f, cancel: cancel, ended: make(chan struct{}), members: map[string]fleet.Member{}, reports: map[string]state.Entry[fleet.Report]{},
		releases: map[string]fleet.Release{}, retired: map[string]fleet.Ref{}, deployments: map[string]fleet.Deployment{}, rollouts: map[string]fleet.Rollout{},
	}
	watch(ctx, v, f.store.Members, nodes, func(e state.Entry[fleet.Member]) { set(v.members, e) })
	watch(ctx, v, f.store.Nodes, nodes, func(e state.Entry[fleet.Report]) {
		if e.Deleted {
			delete(v.reports, e.Key)
		} else {
			v.reports[e.Key] = e
		}
	})
	watch(ctx, v, f.store.Releases, releases, func(e state.Entry[fleet.Release]) {
		if old, ok := v.releases[e.Key]; ok && e.Deleted {
			v.retired[e.Key] = old.Ref
		}
		set(v.releases, e)
	})
	watch(ctx, v, f.store.Deployments, deployments, func(e state.Entry[fleet.Deployment]) { set(v.deployments, e) })
	watch(ctx, v, f.store.Rollouts, rollouts, func(e state.Entry[fleet.Rollout]) { set(v.rollouts, e) })
	return v
}

func set[T any](m map[string]T, e state.Entry[T]) {
	if e.Deleted {
		delete(m, e.Key)
	} else {
		m[e.Key] = e.Value
	}
}

// watch has every entry of the bucket taken, and who looks told of it a moment later.
func watch[T any](ctx context.Context, v *view, b *state.Bucket[T], k kind, take func(state.Entry[T])) {
	v.behind++ // feed.mu is held
	v.work.Go(func() {
		err := b.Watch(ctx, func(e state.Entry[T]) { v.changed(thing{k, e.Key}, func() { take(e) }) }, func() {
			v.feed.mu.Lock()
			defer v.feed.mu.Unlock()
			v.behind--
			v.wake()
		})
		v.fail(err)
	})
}

func (v *view) changed(t thing, take func()) {
	v.feed.mu.Lock()
	defer v.feed.mu.Unlock()
	take()
	for l := range v.feed.looking {
		if l.view == v {
			l.pending[t] = struct{}{}
			l.wake()
		}
	}
}

func (v *view) wake() {
	for l := range v.feed.looking {
		if l.view == v {
			l.wake()
		}
	}
}

// fail ends the view at its first error, so that who looks begins again with another.
func (v *view) fail(err error) {
	v.feed.mu.Lock()
	defer v.feed.mu.Unlock()
	if v.err != nil {
		return
	}
	v.err = errors.Join(err, errEnded)
	close(v.ended)
	if v.feed.view == v {
		v.feed.view = nil
	}
}

var errEnded = errors.New("the fleet's state is watched no longer; begin again")

func (v *view) stop() {
	v.cancel()
	v.work.Wait()
}

// watched reports whether anybody looks at it.
func (v *view) watched() bool {
	for l := range v.feed.looking {
		if l.view == v {
			return true
		}
	}
	return false
}

func (v *view) caughtUp() bool { return v.behind == 0 }

// things are all that there are.
func (v *view) things() map[thing]struct{} {
	all := map[thing]struct{}{}
	add := func(k kind, key string) { all[thing{k, key}] = struct{}{} }
	for key := range v.members {
		add(nodes, key)
	}
	for key := range v.releases {
		add(releases, key)
	}
	for key := range v.deployments {
		add(deployments, key)
	}
	for key := range v.rollouts {
		add(rollouts, key)
	}
	return all
}

// What of a node's own words goes to each page that looks: it may say more, in up to 256 kB a report. NodeView has it all.
const (
	mostName     = 100 // bytes
	mostText     = 1000
	mostProblems = 20
)

func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// node is what is known of a node that was enrolled.
func (v *view) node(name string) (Node, bool) {
	m, ok := v.members[name]
	if !ok {
		return Node{}, false
	}
	n := Node{Node: name, Layer: m.Layer, Labels: m.Labels, Revoked: m.Revoked}
	e, ok := v.reports[name]
	if !ok {
		return n, true
	}
	r := &e.Value
	n.Heard, n.Via, n.Agent, n.OS, n.Arch = e.At.UnixMilli(), r.Via, short(r.Agent, mostName), short(r.OS, mostName), short(r.Arch, mostName)
	for _, p := range r.Problems[:min(len(r.Problems), mostProblems)] {
		n.Problems = append(n.Problems, short(p, mostText))
	}
	for _, m := range r.Modules {
		n.Modules = append(n.Modules, Module{
			Name: m.Name, State: m.State, Desired: m.Desired.Version, Version: m.Release.Version, Digest: short(m.Digest, mostName),
			Deployment: short(m.Deployment, mostName), Reason: short(m.Reason, mostText), Calls: m.Stats.Calls, Failed: m.Stats.Failed, P50: m.Stats.P50, P95: m.Stats.P95,
		})
	}
	return n, true
}
