package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

const patience = time.Minute

var errDied = errors.New("the hub died")

// fleetUnderTest is a hub's state with nodes that do what they are asked and say so.
type fleetUnderTest struct {
	t     *testing.T
	ctx   context.Context
	store *state.Store
	url   string
	mu    sync.Mutex
	bad   fleet.Ref // a release that nodes refuse
	asked map[string][]string
}

func newFleet(t *testing.T, nodes int) *fleetUnderTest {
	t.Helper()
	nc, s := brokertest.JetStream(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	f := &fleetUnderTest{t: t, ctx: ctx, url: s.ClientURL(), asked: map[string][]string{}}
	var err error
	if f.store, err = state.Open(ctx, nc, state.Options{}); err != nil {
		t.Fatal(err)
	}
	for k := range nodes {
		name := fmt.Sprintf("n%d", k)
		write(f, f.store.Members, name, fleet.Member{Node: name, Layer: fleet.Device, Key: "K"})
		f.report(name, nil)
	}
	go func() {
		_ = f.store.Desired.Watch(ctx, func(e state.Entry[fleet.Desired]) {
			if !e.Deleted {
				f.obey(e.Value)
			}
		}, func() {})
	}()
	return f
}

// write writes to one of the buckets.
func write[T any](f *fleetUnderTest, b *state.Bucket[T], key string, v T) {
	f.t.Helper()
	if _, err := b.Put(f.ctx, key, v); err != nil {
		f.t.Fatal(err)
	}
}

// obey is a node that has what it is asked for, or refuses it.
func (f *fleetUnderTest) obey(d fleet.Desired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	var mods []fleet.ModuleReport
	for _, m := range d.Modules {
		all = append(all, m.Release.String())
		r := fleet.ModuleReport{Name: m.Release.Name, State: fleet.Running, Desired: m.Release, Release: m.Release, Deployment: m.Deployment, Digest: m.Digest}
		if m.Release == f.bad {
			r.State, r.Reason = fleet.Refused, "golden case 0 differs"
		}
		mods = append(mods, r)
	}
	f.asked[d.Node] = append(f.asked[d.Node], strings.Join(all, " "))
	f.report(d.Node, mods)
}

func (f *fleetUnderTest) report(node string, mods []fleet.ModuleReport) {
	_, err := f.store.Nodes.Put(f.ctx, node, fleet.Report{Node: node, Layer: fleet.Device, At: time.Now(), Modules: mods})
	if err != nil && f.ctx.Err() == nil {
		f.t.Error(err)
	}
}

func (f *fleetUnderTest) deploy(id, version string, plan fleet.Plan) {
	f.t.Helper()
	ref := fleet.Ref{Name: "digits", Version: version}
	digest := strings.Repeat("a", 64)
	write(f, f.store.Releases, fleet.ReleaseKey(ref), fleet.Release{Ref: ref, Digest: digest, Size: 1})
	to, err := fleet.ParseSelector("all")
	if err != nil {
		f.t.Fatal(err)
	}
	write(f, f.store.Deployments, id, fleet.Deployment{ID: id, Release: ref, Digest: digest, Size: 1, To: to, Plan: plan, By: "ada", At: time.Now()})
}

// live runs controllers, each of which dies behind its nth write, until the rollout ends; it returns how many died.
func (f *fleetUnderTest) live(id string, n int) (deaths int) {
	f.t.Helper()
	for {
		ctx, stop := context.WithCancel(f.ctx)
		go func() { // the last one lives until the rollout ends
			defer stop()
			for ctx.Err() == nil {
				if e, err := f.store.Rollouts.Get(ctx, id); err == nil && e.Value.Phase.Ended() && f.quiet(e.Value) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		writes := 0
		c := New(f.store, slog.New(slog.NewTextHandler(io.Discard, nil)))
		c.wrote = func(string) error {
			if writes++; writes >= n {
				return errDied
			}
			return nil
		}
		err := c.Run(ctx)
		stop()
		switch {
		case errors.Is(err, errDied):
			deaths++
		case f.ctx.Err() != nil:
			f.t.Fatalf("behind %d deaths: the rollout does not end", deaths)
		default:
			return deaths
		}
	}
}

// quiet reports whether everything that follows from an ended rollout has been written.
func (f *fleetUnderTest) quiet(r fleet.Rollout) bool {
	want := r.Release.Version
	if r.Phase == fleet.RolledBack {
		want = "1"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if len(a) > 0 && r.Phase == fleet.RolledBack && a[len(a)-1] != "digits@"+want {
			return false
		}
	}
	return true
}

// ended is the rollout at its end, checked for what must hold however often the controller died.
func (f *fleetUnderTest) ended(id string, want fleet.Phase) fleet.Rollout {
	f.t.Helper()
	e, err := f.store.Rollouts.Get(f.ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	r := e.Value
	if r.Phase != want {
		f.t.Fatalf("%s is %s, want %s: %+v", id, r.Phase, want, r.History)
	}
	for i, h := range r.History {
		if h.Reason == "" || i > 0 && h.From != r.History[i-1].To {
			f.t.Errorf("history %d: %+v behind %+v", i, h, r.History[max(0, i-1)])
		}
	}
	told, made := f.told(r)
	if !reflect.DeepEqual(told, made) {
		f.t.Errorf("the audit log has %q, the history %q", told, made)
	}
	return r
}

// told is what the audit log says of a rollout's transitions, and what its history has of the controller's.
func (f *fleetUnderTest) told(r fleet.Rollout) (told, made []string) {
	f.t.Helper()
	entries, err := f.store.Audited(f.ctx, time.Time{}, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, a := range entries {
		if strings.HasSuffix(a.On, " "+r.Deployment) {
			told = append(told, a.What+": "+a.Reason)
		}
	}
	for _, h := range r.History {
		if h.By == "" {
			made = append(made, "rollout "+string(h.To)+": "+h.Reason)
		}
	}
	slices.Sort(told)
	slices.Sort(made)
	return told, made
}

// TestTheControllerDiesBehindEachWrite kills it behind every write of two rollouts, behind every second and every third:
// whatever was written, the next one goes on from there to the same end, and the audit log has each transition once.
func TestTheControllerDiesBehindEachWrite(t *testing.T) {
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprintf("every %d", n), func(t *testing.T) {
			f := newFleet(t, 6)
			plan := fleet.Plan{Waves: []fleet.Share{{Count: 1}, {Percent: 50}}, Concurrency: 2}
			f.deploy("d1", "1", plan)
			deaths := f.live("d1", n)
			f.settle("d1", "digits@1")
			r := f.ended("d1", fleet.Completed)
			if r.Updated != 6 || deaths < 4/n {
				t.Errorf("%d of 6 nodes, %d deaths", r.Updated, deaths)
			}
			f.mu.Lock()
			f.bad = fleet.Ref{Name: "digits", Version: "2"}
			f.mu.Unlock()
			f.deploy("d2", "2", plan)
			deaths += f.live("d2", n)
			f.settle("d2", "digits@1")
			f.ended("d2", fleet.RolledBack)
			f.mu.Lock()
			defer f.mu.Unlock()
			tried := 0
			for node, asked := range f.asked {
				if slices.Contains(asked, "digits@2") {
					tried++
				}
				if last := asked[len(asked)-1]; last != "digits@1" {
					t.Errorf("%s is asked for %q at the end, of %q", node, last, asked)
				}
			}
			if tried != 1 {
				t.Errorf("%d nodes met the bad release, the canary is 1", tried)
			}
			t.Logf("%d controllers died", deaths)
		})
	}
}

// settle lets one more controller write what the last one left out: desired states and entries of the audit log.
func (f *fleetUnderTest) settle(id, want string) {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = New(f.store, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	for f.ctx.Err() == nil && !f.done(id, want, "") {
		f.wait()
	}
	stop()
	<-done
}

// done reports whether nothing that follows from the end of a rollout is left to write, and nodes know it.
func (f *fleetUnderTest) done(id, want string, phase fleet.Phase) bool {
	f.t.Helper()
	e, err := f.store.Rollouts.Get(f.ctx, id)
	if errors.Is(err, state.ErrNotFound) {
		return false
	}
	if err != nil {
		f.t.Fatal(err)
	}
	if phase != "" && e.Value.Phase != phase {
		return false
	}
	all, err := f.store.Desired.List(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range all {
		if len(e.Value.Modules) != 1 || e.Value.Modules[0].Release.String() != want {
			return false
		}
	}
	f.mu.Lock()
	for _, a := range f.asked {
		if len(a) == 0 || a[len(a)-1] != want {
			f.mu.Unlock()
			return false
		}
	}
	f.mu.Unlock()
	told, made := f.told(e.Value)
	return len(told) >= len(made)
}

// wait lets others work between two looks.
func (f *fleetUnderTest) wait() { time.Sleep(10 * time.Millisecond) }

// TestTwoControllersDoNoHarm: compare-and-set keeps two leaders from undoing each other's work.
func TestTwoControllersDoNoHarm(t *testing.T) {
	f := newFleet(t, 6)
	ctx, stop := context.WithCancel(f.ctx)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			_ = New(f.store, slog.New(slog.DiscardHandler)).Run(ctx)
		})
	}
	f.deploy("d1", "1", fleet.Plan{Waves: []fleet.Share{{Count: 1}, {Percent: 50}}})
	for f.ctx.Err() == nil {
		if e, err := f.store.Rollouts.Get(f.ctx, "d1"); err == nil && e.Value.Phase.Ended() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.settle("d1", "digits@1")
	stop()
	wg.Wait()
	f.ended("d1", fleet.Completed)
}
