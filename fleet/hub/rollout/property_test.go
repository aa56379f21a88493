package rollout_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/rollout"
)

// seeds is how many random histories of a fleet are lived through: ISOMER_SEEDS, or about two seconds of them.
func seeds(t *testing.T) uint64 {
	if s := os.Getenv("ISOMER_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal("ISOMER_SEEDS:", err)
		}
		return n
	}
	if testing.Short() {
		return 16
	}
	return 48
}

// TestWhateverHappens lives through random histories: nodes come, go, refuse, fail and slow down, people deploy, pause and
// take back, hubs restart, releases are retired. What must hold is checked after each event.
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	ends := map[fleet.Phase]int{}
	for seed := range seeds(t) {
		w := newWorld(t, seed)
		for range 120 {
			w.event()
			w.look()
		}
		w.finish()
		for _, d := range w.deployments {
			ends[w.rollouts[d.ID].Phase]++
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.log, "\n"))
		}
	}
	// A test that never sees an end shows nothing about it.
	for _, p := range []fleet.Phase{fleet.Completed, fleet.Aborted, fleet.RolledBack, fleet.Superseded} {
		if ends[p] == 0 {
			t.Errorf("no rollout of %d histories is %s: %v", seeds(t), p, ends)
		}
	}
	t.Log(ends)
}

// TestLeftAlone: without people, every rollout ends, or says what it waits for; with some nodes offline for ever.
func TestLeftAlone(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t) {
		w := newWorld(t, seed)
		w.unattended = true
		for range 60 {
			w.event()
			w.look()
		}
		w.settle(false)
		for _, d := range w.deployments {
			r := w.rollouts[d.ID]
			last := r.History[len(r.History)-1]
			switch {
			case r.Phase.Ended():
			case r.Phase == fleet.Paused && last.By == "" && strings.Contains(last.Reason, "have not answered"):
			case r.Phase == fleet.Pending && r.Chosen == 0:
			default:
				t.Errorf("%s is %s since %v: %s", d.ID, r.Phase, r.Since, last.Reason)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.log, "\n"))
		}
	}
}

// of is the node's report on a deployment; nil: it said nothing of it.
func (s *sim) of(d fleet.Deployment) *fleet.ModuleReport {
	for i, m := range s.modules {
		if m.Deployment == d.ID {
			return &s.modules[i]
		}
	}
	return nil
}

// sim is a simulated node.
type sim struct {
	online  bool
	heard   time.Time
	modules []fleet.ModuleReport // one for each module's name
}

type world struct {
	t           *testing.T
	rnd         *rand.Rand
	now         time.Time
	since       time.Time
	deployments []fleet.Deployment
	rollouts    map[string]fleet.Rollout
	members     map[string]fleet.Member
	nodes       map[string]*sim
	unlisted    map[fleet.Ref]bool
	bad         map[fleet.Ref]float64 // which part of nodes refuses it
	faulty      map[fleet.Ref]float64 // which part of calls fails
	slow        map[fleet.Ref]float64 // by how many tenths of a second a call takes longer
	inWave      map[string][]string   // who was chosen at the last look of an advancing rollout
	unattended  bool
	clockSet    bool
	joined      int
	log         []string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 5)), now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		rollouts: map[string]fleet.Rollout{}, members: map[string]fleet.Member{}, nodes: map[string]*sim{},
		unlisted: map[fleet.Ref]bool{}, bad: map[fleet.Ref]float64{}, faulty: map[fleet.Ref]float64{}, slow: map[fleet.Ref]float64{}, inWave: map[string][]string{},
	}
	w.since = w.now
	for range w.rnd.IntN(25) {
		w.join()
	}
	w.deploy()
	return w
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, w.now.Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (w *world) join() {
	name := fmt.Sprintf("n%d", w.joined)
	w.joined++
	w.members[name] = fleet.Member{Node: name, Layer: fleet.Device, Key: "K", Labels: fleet.Labels{"site": []string{"a", "b"}[w.rnd.IntN(2)]}}
	w.nodes[name] = &sim{online: w.rnd.IntN(6) > 0, heard: w.now}
	w.say("%s joins", name)
}

func (w *world) deploy() {
	n := len(w.deployments)
	if n >= 4 {
		return
	}
	share := func() fleet.Share {
		if w.rnd.IntN(2) == 0 {
			return fleet.Share{Count: 1 + w.rnd.IntN(4)}
		}
		return fleet.Share{Percent: float64(1 + w.rnd.IntN(60))}
	}
	p := fleet.Plan{Concurrency: w.rnd.IntN(4), Soak: fleet.Duration(w.rnd.IntN(3)) * fleet.Duration(time.Minute), Patience: fleet.Duration(1+w.rnd.IntN(5)) * fleet.Duration(time.Minute)}
	for range w.rnd.IntN(4) {
		p.Waves = append(p.Waves, share())
	}
	if w.rnd.IntN(3) == 0 {
		p.Offline = ptr(w.rnd.Float64())
	}
	if w.rnd.IntN(3) == 0 {
		p.Gate.Refused = ptr(w.rnd.Float64() / 2)
	}
	if w.rnd.IntN(4) == 0 {
		p.Window = &fleet.Window{From: fleet.Duration(8 * time.Hour), For: fleet.Duration(20+w.rnd.IntN(200)) * fleet.Duration(time.Minute)}
	}
	to, _ := fleet.ParseSelector([]string{"all", "all", "site=a", "site=b", "name=n1|n2"}[w.rnd.IntN(5)])
	ref := fleet.Ref{Name: []string{"digits", "digits", "rules"}[w.rnd.IntN(3)], Version: fmt.Sprint(1 + w.rnd.IntN(4))}
	d := fleet.Deployment{ID: fmt.Sprintf("d%d", n), Release: ref, Digest: strings.Repeat("a", 64), Size: 1, To: to, Plan: p, By: "ada", At: w.now}
	if n > 0 {
		switch w.rnd.IntN(4) {
		case 0:
			w.bad[ref] = w.rnd.Float64()
		case 1:
			w.faulty[ref] = w.rnd.Float64() / 4
		case 2:
			w.slow[ref] = w.rnd.Float64()
		}
	}
	w.deployments = append(w.deployments, d)
	r := w.fleet().Begin(d, w.now)
	if want := len(w.chosen(d)); r.Chosen != want {
		w.t.Errorf("%s begins with %d nodes, it chooses %d", d.ID, r.Chosen, want)
	}
	w.rollouts[d.ID] = r
	w.say("deploy %s %s to %s, plan %+v", d.ID, ref, to, p)
}

func ptr[T any](v T) *T { return &v }

func (w *world) some() (string, *sim) {
	names := w.names()
	if len(names) == 0 {
		return "", nil
	}
	n := names[w.rnd.IntN(len(names))]
	return n, w.nodes[n]
}

func (w *world) names() []string {
	var out []string
	for n, m := range w.members {
		if !m.Revoked {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) fleet() rollout.Fleet {
	return rollout.Fleet{
		Deployments: w.deployments, Rollouts: w.rollouts, Members: w.members, Since: w.since,
		Listed: func(r fleet.Ref) bool { return !w.unlisted[r] },
		Report: func(n string) (fleet.Report, time.Time, bool) {
			s := w.nodes[n]
			return fleet.Report{Node: n, Modules: s.modules}, s.heard, true
		},
	}
}

// event lets one thing happen.
func (w *world) event() {
	name, n := w.some()
	switch e := w.rnd.IntN(100); {
	case e < 20:
		w.now = w.now.Add(time.Duration(w.rnd.IntN(100)) * time.Second)
		w.heartbeats()
	case e < 70 && n != nil:
		w.act(name, n, w.fleet().Desired())
	case e < 76 && n != nil:
		n.online = !n.online
		n.heard = w.now
		w.say("%s online %v", name, n.online)
	case e < 79:
		w.join()
	case e < 80 && n != nil:
		m := w.members[name]
		m.Revoked = true
		w.members[name] = m
		w.say("%s is revoked", name)
	case e < 83:
		w.deploy()
	case e < 84 && w.rnd.IntN(4) == 0:
		ref := w.deployments[w.rnd.IntN(len(w.deployments))].Release
		w.unlisted[ref] = true
		w.say("%s is retired", ref)
	case e < 86:
		w.since = w.now
		w.say("another hub leads")
	case e < 87:
		// The hub's clock is set, or another hub with another clock leads.
		w.clockSet = true
		w.now = w.now.Add(time.Duration(w.rnd.IntN(7200)-3600) * time.Second)
		if w.rnd.IntN(4) == 0 {
			w.now = w.now.AddDate(10-20*w.rnd.IntN(2), 0, 0)
		}
		w.heartbeats()
		w.say("the clock is set")
	case e < 92:
		w.restart()
	case !w.unattended:
		w.command()
	}
}

// heartbeats are the reports of those that are online.
func (w *world) heartbeats() {
	for _, n := range w.names() {
		if s := w.nodes[n]; s.online {
			s.heard = w.now
		}
	}
}

// act lets a node do a step of what it is asked for, and report it.
func (w *world) act(name string, n *sim, plans rollout.Plans) {
	if !n.online {
		return
	}
	n.heard = w.now
	var modules []fleet.ModuleReport
	for _, m := range plans.Desired(w.members[name]).Modules {
		var was fleet.ModuleReport
		for _, have := range n.modules {
			if have.Name == m.Release.Name {
				was = have
			}
		}
		modules = append(modules, w.further(name, was, m))
	}
	n.modules = modules
}

// further is the next report of a node on a module.
func (w *world) further(name string, was fleet.ModuleReport, m fleet.DesiredModule) fleet.ModuleReport {
	now := was
	now.Name, now.Desired, now.Deployment = m.Release.Name, m.Release, m.Deployment
	same := was.Deployment == m.Deployment
	switch {
	case same && was.State == fleet.Running:
		now.Stats.Calls += 20
		now.Stats.Failed += uint64(20 * w.faulty[m.Release])
		now.Stats.P95 = 1000 + 1e5*w.slow[m.Release]
		return now
	case same && was.State.Settled():
		return now
	case !same && w.rnd.IntN(2) == 0:
		now.State = fleet.Fetching
	case w.rnd.IntN(20) == 0:
		now.State, now.Reason = fleet.Failed, "the disk is full"
	case float64(fleet.Rank("bad", name+m.Release.String()))/math.MaxUint64 < w.bad[m.Release]:
		now.State, now.Reason = []fleet.ModuleState{fleet.Refused, fleet.Reverted}[w.rnd.IntN(2)], "golden case 3 differs\nat length"
	default:
		now.State, now.Release, now.Previous, now.PreviousStats = fleet.Running, m.Release, was.Release, was.Stats
		now.Stats = fleet.CallStats{}
	}
	w.say("%s: %s %s for %s", name, now.State, m.Release, m.Deployment)
	return now
}

// restart is a hub that knows what it wrote, and nothing else.
func (w *world) restart() {
	for id, r := range w.rollouts {
		b, err := json.Marshal(r)
		if err != nil {
			w.t.Fatal(err)
		}
		var back fleet.Rollout
		if err := json.Unmarshal(b, &back); err != nil {
			w.t.Fatal(err)
		}
		if !reflect.DeepEqual(r, back) {
			w.t.Errorf("%+v comes back as %+v", r, back)
		}
		for _, d := range w.deployments {
			if d.ID != id {
				continue
			}
			before := w.fleet().Next(d, w.now)
			w.rollouts[id] = back
			if after := w.fleet().Next(d, w.now); !reflect.DeepEqual(before, after) {
				w.t.Errorf("after a restart %+v is followed by %+v, not by %+v", r, after, before)
			}
		}
	}
}

func (w *world) command() {
	d := w.deployments[w.rnd.IntN(len(w.deployments))]
	word := []string{"pause", "resume", "resume", "abort", "rollback"}[w.rnd.IntN(5)]
	r := w.rollouts[d.ID]
	next, err := rollout.Command(r, word, "ada", "", w.now)
	if err != nil {
		if !reflect.DeepEqual(next, r) {
			w.t.Errorf("%s is refused and changes the rollout", word)
		}
		return
	}
	w.say("%s %s", word, d.ID)
	w.compare(d, r, next, "ada")
	w.rollouts[d.ID] = next
}

// look moves the rollouts until nothing moves, as the controller does.
func (w *world) look() {
	for range 50 {
		moved := false
		for _, d := range w.deployments {
			r := w.rollouts[d.ID]
			w.check(d, r)
			next := w.fleet().Next(d, w.now)
			if again := w.fleet().Next(d, w.now); !reflect.DeepEqual(next, again) {
				w.t.Errorf("%s: the same look has two outcomes: %+v and %+v", d.ID, next, again)
			}
			if !reflect.DeepEqual(next, r) {
				moved = true
			}
			if len(next.History) != len(r.History) {
				last := next.History[len(next.History)-1]
				w.say("%s is %s: %s", d.ID, last.To, last.Reason)
			}
			w.compare(d, r, next, "")
			w.rollouts[d.ID] = next
		}
		w.checkDesired()
		if !moved || w.t.Failed() {
			return
		}
	}
	w.t.Error("looking at the same fleet at the same time does not come to rest")
}

// chosen are the nodes of a deployment, by rank, as the documentation says.
func (w *world) chosen(d fleet.Deployment) []string {
	var out []string
	for _, n := range w.names() {
		m := w.members[n]
		mine := d.To.Matches(n, m.Layer, m.Labels)
		for _, o := range w.deployments {
			if o.ID > d.ID && o.Release.Name == d.Release.Name && w.rollouts[o.ID].Phase != fleet.RolledBack && o.To.Matches(n, m.Layer, m.Labels) {
				mine = false
			}
		}
		if mine {
			out = append(out, n)
		}
	}
	return out
}

func (w *world) settled(n string, d fleet.Deployment) bool {
	m := w.nodes[n].of(d)
	return m != nil && m.State.Settled()
}

// check remembers what compare needs of the moment before.
func (w *world) check(d fleet.Deployment, r fleet.Rollout) {
	if r.Phase == fleet.Advancing {
		w.inWave[d.ID] = w.chosen(d)
	}
}

// compare says what is wrong with a step.
func (w *world) compare(d fleet.Deployment, a, b fleet.Rollout, by string) {
	w.t.Helper()
	errorf := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s from %s to %s: "+format, append([]any{d.ID, a.Phase, b.Phase}, args...)...)
	}
	if b.Threshold < a.Threshold || b.Waited < a.Waited || b.Excused < a.Excused || b.Wave < a.Wave {
		errorf("something falls: %+v, then %+v", a, b)
	}
	if a.Admitting && !b.Admitting && b.Phase != fleet.RolledBack || b.Phase == fleet.RolledBack && b.Admitting {
		errorf("admitting %v, then %v", a.Admitting, b.Admitting)
	}
	if a.Phase.Ended() && b.Phase != a.Phase && (by == "" || b.Phase != fleet.RolledBack) {
		errorf("it had ended")
	}
	w.compareHistory(errorf, a, b, by)
	ref := d.Release
	if b.Phase == fleet.RolledBack && a.Phase != b.Phase && by == "" && w.bad[ref]+w.faulty[ref]+w.slow[ref] == 0 && !w.unlisted[ref] {
		errorf("nothing is wrong with %s: %s", ref, b.History[len(b.History)-1].Reason)
	}
	chosen := w.chosen(d)
	switch {
	case b.Threshold == a.Threshold && b.Admitting == a.Admitting || b.Phase == fleet.RolledBack:
	case b.Phase == fleet.Completed:
		for _, n := range w.inWave[d.ID] {
			if slices.Contains(chosen, n) && !a.Admits(n) {
				errorf("%s was there and not admitted", n)
			}
		}
	default:
		admitted, busy := 0, 0
		for _, n := range chosen {
			if !b.Admits(n) {
				continue
			}
			admitted++
			if w.nodes[n].online && w.now.Sub(w.nodes[n].heard) < 90*time.Second && !w.settled(n, d) && fleet.Rank(d.ID, n) > b.Waited {
				busy++
			}
		}
		before := 0
		for _, n := range chosen {
			if a.Admits(n) {
				before++
			}
		}
		share := fleet.Share{Percent: 100}
		if b.Wave < len(d.Plan.Waves) {
			share = d.Plan.Waves[b.Wave]
		}
		if most := share.Of(len(chosen)); admitted > max(most, before) {
			errorf("%d of %d nodes are admitted by wave %d, which may have %d", admitted, len(chosen), b.Wave, most)
		}
		if c := d.Plan.Concurrency; c > 0 && admitted > before && busy > c {
			errorf("%d nodes are on their way, %d may be", busy, c)
		}
	}
	if why := w.mustGoBack(d, b, chosen); why != "" && by == "" && (a.Phase == fleet.Advancing || a.Phase == fleet.Soaking) && a.Phase == b.Phase && a.Since.Equal(b.Since) {
		errorf("it goes on though %s", why)
	}
}

func (w *world) compareHistory(errorf func(string, ...any), a, b fleet.Rollout, by string) {
	h := b.History
	if len(h) == 0 || len(h) > 100 {
		errorf("%d entries of history", len(h))
		return
	}
	for i, e := range h {
		if e.Reason == "" || e.To == "" || i > 0 && (e.From != h[i-1].To || e.At.Before(h[i-1].At) && !w.clockSet) {
			errorf("history %d is %+v behind %+v", i, e, h[max(0, i-1)])
		}
	}
	if last := h[len(h)-1]; last.To != b.Phase || last.By != by && len(h) > len(a.History) || !last.At.Equal(b.Since) && !w.clockSet {
		errorf("the last of history is %+v", last)
	}
	if a.Phase != b.Phase && reflect.DeepEqual(a.History, h) {
		errorf("no entry tells of it")
	}
	kept := a.History
	if !reflect.DeepEqual(kept, h) {
		h = h[:len(h)-1] // one transition a step
		kept = kept[len(kept)-len(h):]
	}
	if !reflect.DeepEqual(kept, h) {
		errorf("history was changed")
	}
}

// mustGoBack says why the gate does not let a rollout go on, as the documentation has it: refusals, and failures
// and latency where every node is alike before and after, so that no way of comparing them leads elsewhere.
func (w *world) mustGoBack(d fleet.Deployment, r fleet.Rollout, chosen []string) string {
	admitted, refused := 0, 0
	var calls, failed, failedBefore, paired, p95, p95Before float64
	alike := true
	for _, n := range chosen {
		if !r.Admits(n) {
			continue
		}
		admitted++
		if m := w.nodes[n].of(d); m != nil && m.State == fleet.Running && m.Release == d.Release {
			calls += float64(m.Stats.Calls)
			failed += float64(m.Stats.Failed)
			if was := m.PreviousStats; m.Stats.Calls > 0 && was.Calls > 0 && m.Previous != m.Release {
				paired += float64(min(m.Stats.Calls, was.Calls))
				part := float64(was.Failed) / float64(was.Calls)
				alike = alike && (p95 == 0 || p95 == m.Stats.P95 && p95Before == was.P95 && part == failedBefore)
				p95, p95Before, failedBefore = m.Stats.P95, was.P95, part
			}
		}
		if m := w.nodes[n].of(d); m != nil && (m.State == fleet.Refused || m.State == fleet.Reverted) {
			refused++
		}
	}
	allowed := 0.0
	if d.Plan.Gate.Refused != nil {
		allowed = *d.Plan.Gate.Refused
	}
	if refused > 0 && float64(refused) > allowed*float64(admitted) {
		return fmt.Sprintf("%d of %d refuse", refused, admitted)
	}
	if alike && calls >= 20 && failed/calls > failedBefore+0.0101 {
		return fmt.Sprintf("%g of %g calls fail, %g before", failed, calls, failedBefore)
	}
	if alike && paired >= 200 && p95 > 2.01*p95Before && p95 > p95Before+501 {
		return fmt.Sprintf("calls take %g µs, %g before", p95, p95Before)
	}
	return ""
}

// checkDesired says what is wrong with what nodes are asked for.
func (w *world) checkDesired() {
	w.t.Helper()
	plans := w.fleet().Desired()
	for _, n := range w.names() {
		m := w.members[n]
		want := map[string]string{}
		for _, d := range w.deployments { // the newest last
			if r := w.rollouts[d.ID]; r.Phase != fleet.RolledBack && r.Admits(n) && d.To.Matches(n, m.Layer, m.Labels) && !w.unlisted[d.Release] {
				want[d.Release.Name] = d.ID
			}
		}
		got := map[string]string{}
		for _, mod := range plans.Desired(m).Modules {
			got[mod.Release.Name] = mod.Deployment
		}
		if !reflect.DeepEqual(got, want) {
			w.t.Errorf("%s is asked for %v, want %v", n, got, want)
		}
	}
}

// finish makes everything reachable, and resumes what is paused: all must end then.
func (w *world) finish() {
	w.settle(true)
	w.join() // after the end of all: they receive what is complete
	w.join()
	w.look()
	w.settle(true)
	for _, d := range w.deployments {
		r := w.rollouts[d.ID]
		if !r.Phase.Ended() && !(r.Phase == fleet.Pending && r.Chosen == 0) {
			w.t.Errorf("%s does not end: %s since %v, %+v", d.ID, r.Phase, r.Since, r.History[len(r.History)-1])
		}
		if r.Phase != fleet.Completed {
			continue
		}
		for _, n := range w.chosen(d) {
			if !r.Admits(n) {
				w.t.Errorf("%s is complete without %s", d.ID, n)
			}
		}
	}
	plans := w.fleet().Desired()
	for range 100 { // a node that fails tries again
		for _, n := range w.names() {
			w.act(n, w.nodes[n], plans)
		}
	}
	for _, n := range w.names() {
		for _, m := range w.nodes[n].modules {
			if w.rollouts[m.Deployment].Phase == fleet.RolledBack {
				w.t.Errorf("%s is left on %s of %s, which went back", n, m.Release, m.Deployment)
			}
			if m.State == fleet.Running && w.unlisted[m.Release] {
				w.t.Errorf("%s is left on %s, which is retired", n, m.Release)
			}
		}
	}
}

// settle lets twenty days pass, or as many as it takes, in which nothing new happens. Whether people help, or not: then nodes that are
// offline stay so.
func (w *world) settle(help bool) {
	w.say("now it is left alone, help %v", help)
	for range 20 * 288 {
		plans := w.fleet().Desired()
		for _, n := range w.names() {
			if help {
				w.nodes[n].online = true
			}
			w.act(n, w.nodes[n], plans)
		}
		if help {
			for id, r := range w.rollouts {
				if next, err := rollout.Command(r, "resume", "ada", "", w.now); err == nil {
					w.rollouts[id] = next
				}
			}
		}
		w.look()
		w.now = w.now.Add(5 * time.Minute)
		w.heartbeats()
		if w.t.Failed() || w.atRest(help) {
			return
		}
	}
}

// atRest reports whether every rollout has ended, or waits for people and nobody helps.
func (w *world) atRest(help bool) bool {
	for _, r := range w.rollouts {
		if !r.Phase.Ended() && (help || r.Phase != fleet.Paused) {
			return false
		}
	}
	return true
}
