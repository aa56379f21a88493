package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// patience bounds waits that end in milliseconds, on a machine that is busy with other things.
const patience = 30 * time.Second

func open(t *testing.T) (context.Context, *state.Store, *nats.Conn) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	nc, _ := brokertest.JetStream(t, t.TempDir())
	s, err := state.Open(ctx, nc, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, s, nc
}

func TestTheSecondWriterIsTold(t *testing.T) {
	ctx, s, _ := open(t)
	m := fleet.Member{Node: "dev1", Layer: fleet.Device}
	rev, err := s.Members.Create(ctx, "dev1", m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Members.Create(ctx, "dev1", m); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a second Create: %v", err)
	}
	if _, err := s.Members.Update(ctx, "dev1", m, rev); err != nil {
		t.Error(err)
	}
	if _, err := s.Members.Update(ctx, "dev1", m, rev); !errors.Is(err, state.ErrConflict) {
		t.Errorf("an Update of an old revision: %v", err)
	}
	if err := s.Members.DeleteAt(ctx, "dev1", rev); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a Delete of an old revision: %v", err)
	}
	if _, err := s.Members.Get(ctx, "dev2"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := s.Members.Get(ctx, "a key"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("what cannot be there: %v", err)
	}
}

func TestConcurrentChangesAreAllKept(t *testing.T) {
	ctx, s, _ := open(t)
	if _, err := s.Rollouts.Create(ctx, "d1", fleet.Rollout{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Rollouts.Change(ctx, "d1", func(r *fleet.Rollout) error { r.Updated++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if e, err := s.Rollouts.Get(ctx, "d1"); err != nil || e.Value.Updated != 40 {
		t.Errorf("%d changes of 40 are kept (%v)", e.Value.Updated, err)
	}
}

func TestADesiredStateReachesItsNode(t *testing.T) {
	ctx, s, nc := open(t)
	sub, err := nc.SubscribeSync(fleet.DesiredSubject("dev3"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]fleet.Desired{}
	for i := range 700 { // beyond what may be under way at once
		node := fmt.Sprintf("dev%d", i)
		all[node] = fleet.Desired{Node: node}
	}
	if err := s.Desired.PutAll(ctx, all); err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := fleet.DecodeDesired(msg.Data); err != nil || d.Node != "dev3" {
		t.Errorf("dev3 was sent %s (%v)", msg.Data, err)
	}
	if msg.Header.Get("Nats-Sequence") == "" {
		t.Error("the message does not say its revision")
	}
	list, err := s.Desired.List(ctx)
	if err != nil || len(list) != len(all) {
		t.Errorf("%d of %d are listed (%v)", len(list), len(all), err)
	}
}

func TestManyWritesMindWhatChangedMeanwhile(t *testing.T) {
	ctx, s, _ := open(t)
	one, err := s.Desired.Put(ctx, "one", fleet.Desired{Node: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Desired.Put(ctx, "two", fleet.Desired{Node: "two"}); err != nil {
		t.Fatal(err)
	}
	conflicts, err := s.Desired.UpdateAll(ctx, map[string]state.Write[fleet.Desired]{
		"one":   {Value: fleet.Desired{Node: "one", At: time.Unix(1, 0)}, Revision: one},
		"two":   {Value: fleet.Desired{Node: "two", At: time.Unix(1, 0)}, Revision: one},
		"three": {Value: fleet.Desired{Node: "three"}},
	})
	if err != nil || len(conflicts) != 1 || conflicts[0] != "two" {
		t.Errorf("conflicts %v, %v", conflicts, err)
	}
	if e, err := s.Desired.Get(ctx, "one"); err != nil || e.Value.At.IsZero() {
		t.Errorf("what had its revision was not written (%v)", err)
	}
	if e, err := s.Desired.Get(ctx, "two"); err != nil || !e.Value.At.IsZero() {
		t.Errorf("what had changed was overwritten (%v)", err)
	}
}

func TestWatchBeginsWithWhatIs(t *testing.T) {
	ctx, s, _ := open(t)
	put := func(node string) {
		if _, err := s.Nodes.Put(ctx, node, fleet.Report{Node: node}); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	watching, stop := context.WithCancel(ctx)
	seen := make(chan string, 8)
	done := make(chan error, 1)
	go func() {
		done <- s.Nodes.Watch(watching, func(e state.Entry[fleet.Report]) {
			seen <- fmt.Sprintf("%s %v", e.Key, e.Deleted)
		}, func() { seen <- "caught up" })
	}()
	want := func(text string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != text {
				t.Fatalf("seen %q, want %q", got, text)
			}
		case <-ctx.Done():
			t.Fatalf("%q does not come", text)
		}
	}
	want("a false")
	want("caught up")
	put("b")
	want("b false")
	if err := s.Nodes.Delete(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	want("b true")
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestAModuleIsStreamedBothWays(t *testing.T) {
	ctx, s, _ := open(t)
	want := bytes.Repeat([]byte("module "), 100_000)
	if err := s.Modules.Put(ctx, "digest", bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if size, ok, err := s.Modules.Has(ctx, "digest"); err != nil || !ok || size != int64(len(want)) {
		t.Errorf("has %v with %d bytes (%v)", ok, size, err)
	}
	r, err := s.Modules.Get(ctx, "digest")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes come back of %d (%v)", len(got), len(want), err)
	}
	if err := errors.Join(s.Modules.Delete(ctx, "digest"), s.Modules.Delete(ctx, "digest")); err != nil {
		t.Error(err)
	}
	if _, err := s.Modules.Get(ctx, "digest"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("what was deleted: %v", err)
	}
}

func TestTheAuditLogKeepsItsOrder(t *testing.T) {
	ctx, s, _ := open(t)
	for i := range 5 {
		if err := s.Audit(ctx, fleet.AuditEntry{Who: "ann", What: fmt.Sprint(i), Result: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Audited(ctx, time.Time{}, 3)
	if err != nil || len(got) != 3 || got[0].What != "2" || got[2].What != "4" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Audited(ctx, time.Now().Add(time.Hour), 3); err != nil || len(got) != 0 {
		t.Errorf("entries of the future: %v, %v", got, err)
	}
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	nc, srv := brokertest.JetStream(t, dir)
	s, err := state.Open(ctx, nc, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deployments.Create(ctx, "d1", fleet.Deployment{ID: "d1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddEdge(ctx, "gw1"); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	srv.Shutdown()
	srv.WaitForShutdown()

	nc, _ = brokertest.JetStream(t, dir)
	if s, err = state.Open(ctx, nc, state.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Deployments.Get(ctx, "d1"); err != nil {
		t.Error(err)
	}
	str, err := s.JetStream().Stream(ctx, fleet.TelemetryStream)
	if err != nil || len(str.CachedInfo().Config.Sources) != 1 {
		t.Errorf("the telemetry's sources are %v (%v)", str.CachedInfo().Config.Sources, err)
	}
	if err := s.AddEdge(ctx, "gw1"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveEdge(ctx, "gw1"); err != nil {
		t.Error(err)
	}
	if str, err := s.JetStream().Stream(ctx, fleet.TelemetryStream); err != nil || len(str.CachedInfo().Config.Sources) != 0 {
		t.Errorf("a removed edge is still there (%v)", err)
	}
}

// Streams have no compare-and-set: hubs that add edges at once would undo each other.
func TestHubsThatAddEdgesAtOnceLoseNone(t *testing.T) {
	ctx, s, nc := open(t)
	other, err := state.Open(ctx, nc, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var adding sync.WaitGroup
	const edges = 12
	for i := range edges {
		hub, name := []*state.Store{s, other}[i%2], fmt.Sprintf("gw%d", i)
		adding.Go(func() {
			_, err := hub.Members.Create(ctx, name, fleet.Member{Node: name, Layer: fleet.Edge, Key: "U"})
			if err == nil {
				err = hub.AddEdge(ctx, name)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if got := sources(ctx, t, s); len(got) != edges {
		t.Errorf("telemetry is drawn from %d of %d edges: %v", len(got), edges, got)
	}
	// One leaves while another hub hears that a third is linked again.
	if _, err := s.Members.Change(ctx, "gw0", func(m *fleet.Member) error { m.Revoked = true; return nil }); err != nil {
		t.Fatal(err)
	}
	adding.Go(func() {
		if err := other.Linked(ctx, "gw1"); err != nil {
			t.Error(err)
		}
	})
	adding.Go(func() {
		if err := s.RemoveEdge(ctx, "gw0"); err != nil {
			t.Error(err)
		}
	})
	adding.Wait()
	if got := sources(ctx, t, s); len(got) != edges-1 || slices.Contains(got, "gw0") {
		t.Errorf("telemetry is drawn from %v", got)
	}
}

func sources(ctx context.Context, t *testing.T, s *state.Store) (edges []string) {
	t.Helper()
	str, err := s.JetStream().Stream(ctx, fleet.TelemetryStream)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range str.CachedInfo().Config.Sources {
		switch {
		case src.Domain != "":
			edges = append(edges, src.Domain)
		case src.External != nil:
			edges = append(edges, strings.Split(src.External.APIPrefix, ".")[1])
		}
	}
	return edges
}
