package feed_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/feed"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

// known is what a page knows after batches.
type known struct {
	nodes    map[string]feed.Node
	releases map[string]bool
	ready    bool
	batches  int
}

func (k *known) take(t *testing.T, b feed.Batch) {
	t.Helper()
	k.batches++
	k.ready = k.ready || b.Ready
	for _, n := range b.Nodes {
		k.nodes[n.Node] = n
	}
	for _, r := range b.Releases {
		k.releases[r.Ref.String()] = true
	}
	if b.Gone != nil {
		for _, n := range b.Gone.Nodes {
			delete(k.nodes, n)
		}
		for _, r := range b.Gone.Releases {
			delete(k.releases, r.String())
		}
	}
}

// until takes batches until something holds.
func (k *known) until(t *testing.T, r *hubtest.Rig, l *feed.Follower, what string, holds func() bool) {
	t.Helper()
	for !holds() {
		b, err := l.Next(r.Ctx)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		k.take(t, b)
	}
}

func nothing() *known { return &known{nodes: map[string]feed.Node{}, releases: map[string]bool{}} }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWhoLooksHearsOfChanges(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	store := r.Hub.Store()
	member := func(i int) fleet.Member {
		return fleet.Member{Node: fmt.Sprintf("dev%d", i), Layer: fleet.Device, Labels: fleet.Labels{"site": "a"}}
	}
	for i := range 700 {
		must(store.Members.Put(r.Ctx, member(i).Node, member(i)))
	}
	f := feed.New(store, time.Now)
	l, early := f.Follow(), nothing()
	early.until(t, r, l, "the first look", func() bool { return early.ready })
	if len(early.nodes) != 700 || early.batches < 2 {
		t.Errorf("it knows %d nodes after %d batches", len(early.nodes), early.batches)
	}

	report := fleet.Report{Node: "dev7", Layer: fleet.Device, Modules: []fleet.ModuleReport{{
		Name: "digits", State: fleet.Running, Release: fleet.Ref{Name: "digits", Version: "2"}, Stats: fleet.CallStats{Calls: 12, Failed: 1},
	}}}
	must(store.Nodes.Put(r.Ctx, "dev7", report))
	must(store.Nodes.Put(r.Ctx, "stranger", report)) // of a node that nobody enrolled: it is not shown
	ref := fleet.Ref{Name: "digits", Version: "2"}
	must(store.Releases.Put(r.Ctx, fleet.ReleaseKey(ref), fleet.Release{Ref: ref}))
	early.until(t, r, l, "a report and a release", func() bool { return early.nodes["dev7"].Heard > 0 && early.releases["digits@2"] })
	if m := early.nodes["dev7"].Modules; len(m) != 1 || m[0].Version != "2" || m[0].Calls != 12 || m[0].Failed != 1 {
		t.Errorf("dev7 has %+v", m)
	}

	second, late := f.Follow(), nothing()
	late.until(t, r, second, "the second look", func() bool { return late.ready })
	if len(late.nodes) != 700 || !late.releases["digits@2"] || late.nodes["stranger"].Node != "" {
		t.Errorf("the second look knows %d nodes and %v", len(late.nodes), late.releases)
	}
	l.Close()

	// Who is slow gets the newest alone.
	for i := range 200 {
		report.Modules[0].Stats.Calls = uint64(1000 + i)
		must(store.Nodes.Put(r.Ctx, "dev7", report))
	}
	if err := store.Members.Delete(r.Ctx, "dev8"); err != nil {
		t.Fatal(err)
	}
	if err := store.Releases.Delete(r.Ctx, fleet.ReleaseKey(ref)); err != nil {
		t.Fatal(err)
	}
	hubtest.Wait(t, "the watch", func() bool { return second.Waiting() == 3 })
	late.batches = 0
	late.until(t, r, second, "the end", func() bool { return late.nodes["dev8"].Node == "" && !late.releases["digits@2"] })
	if m := late.nodes["dev7"].Modules; late.batches != 1 || m[0].Calls != 1199 {
		t.Errorf("after %d batches dev7 has %+v", late.batches, m)
	}
	second.Close()
	third, again := f.Follow(), nothing()
	defer third.Close()
	again.until(t, r, third, "a look after all had gone", func() bool { return again.ready })
	if len(again.nodes) != 699 || again.releases["digits@2"] {
		t.Errorf("it knows %d nodes and %v", len(again.nodes), again.releases)
	}
}

// A hub that stops, or loses its cluster, ends the look with an error; nobody waits forever.
func TestALookEndsWithTheHub(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	f := feed.New(r.Hub.Store(), time.Now)
	l, k := f.Follow(), nothing()
	defer l.Close()
	k.until(t, r, l, "the first look", func() bool { return k.ready })
	r.Hub.Stop()
	var err error
	for err == nil { // what came before the end is heard first
		_, err = l.Next(r.Ctx)
	}
	if r.Ctx.Err() != nil {
		t.Errorf("error %v", err)
	}
}
