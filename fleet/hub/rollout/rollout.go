// Package rollout decides how a deployment reaches its nodes: a pure state machine without clock, network or
// memory of its own. Use it through package control, which feeds it what nodes report and carries out what it
// says.
//
// The state is fleet.Rollout. Step looks at the chosen nodes and returns the next state; Command is what people
// do. What a node should run follows from the deployments and their rollouts alone (Desired), so that nothing has
// to be undone when a rollout goes back, and a hub that dies at any moment resumes by looking again.
//
// docs/fleet.md has the table of phases. What holds whatever happens is in property_test.go: the threshold never
// falls, no wave has more than its share, every rollout ends or says what it waits for.
package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// defaultPatience is how long a wave waits where the plan does not say.
const defaultPatience = 10 * time.Minute

// maxHistory bounds a rollout's history; older transitions are in the audit log.
const maxHistory = 100

// waves are the plan's, the last one all nodes.
func waves(p fleet.Plan) []fleet.Share {
	all := fleet.Share{Percent: 100}
	if n := len(p.Waves); n == 0 || p.Waves[n-1] != all {
		return append(slices.Clip(p.Waves), all)
	}
	return p.Waves
}

// New is the rollout that a deployment begins with.
func New(d fleet.Deployment, now time.Time) fleet.Rollout {
	return fleet.Rollout{
		Deployment: d.ID, Release: d.Release, Phase: fleet.Pending, Waves: len(waves(d.Plan)), Since: now, Raised: now,
		History: []fleet.Transition{{At: now, To: fleet.Pending, Reason: "deployed", By: d.By}},
	}
}

// move changes the phase, or begins it anew, and records why.
func move(r *fleet.Rollout, to fleet.Phase, now time.Time, by, format string, args ...any) {
	t := fleet.Transition{At: now, From: r.Phase, To: to, Wave: r.Wave, Reason: fmt.Sprintf(format, args...), By: by}
	r.History = append(slices.Clip(r.History), t)
	if extra := len(r.History) - maxHistory; extra > 0 {
		r.History = slices.Clone(r.History[extra:])
	}
	r.Phase, r.Since = to, now
}

// Command is what a person does to a rollout: pause, resume, abort or rollback. fleet.ErrInvalid where the phase
// does not allow it.
func Command(r fleet.Rollout, word, who, why string, now time.Time) (fleet.Rollout, error) {
	if why == "" {
		why = "by hand"
	}
	moving := r.Phase == fleet.Pending || r.Phase == fleet.Advancing || r.Phase == fleet.Soaking
	switch {
	case word == "pause" && moving:
		r.Resume = r.Phase
		move(&r, fleet.Paused, now, who, "%s", why)
	case word == "resume" && r.Phase == fleet.Paused:
		resume(&r, who, why, now)
	case word == "abort" && (moving || r.Phase == fleet.Paused):
		r.Resume = ""
		move(&r, fleet.Aborted, now, who, "%s", why)
	case word == "rollback" && r.Phase != fleet.RolledBack:
		rollBack(&r, now, who, "%s", why)
	default:
		return r, fmt.Errorf("%w: a rollout that is %s cannot do %q", fleet.ErrInvalid, r.Phase, word)
	}
	return r, nil
}

func resume(r *fleet.Rollout, who, why string, now time.Time) {
	if n := len(r.History); n > 0 && r.History[n-1].By == "" {
		// The controller paused it, for missing nodes. Whoever resumes it knows that: they get patience once
		// more, since some may have come back just now, and then it goes on without them.
		r.Excused = r.Threshold
	}
	to := r.Resume
	if to == "" {
		to = fleet.Advancing
	}
	r.Resume = ""
	r.Raised = now
	move(r, to, now, who, "%s", why)
}

func rollBack(r *fleet.Rollout, now time.Time, by, format string, args ...any) {
	r.Admitting, r.Resume = false, ""
	move(r, fleet.RolledBack, now, by, format, args...)
}

// Supersede ends a rollout because a newer deployment of its module chooses all its nodes. Nodes that have the
// release keep it until the newer one reaches them.
func Supersede(r fleet.Rollout, newer string, now time.Time) fleet.Rollout {
	if !r.Phase.Ended() {
		r.Resume = ""
		move(&r, fleet.Superseded, now, "", "deployment %s chooses the same nodes", newer)
	}
	return r
}

// Retire ends a rollout because the signed list no longer has its release.
func Retire(r fleet.Rollout, now time.Time) fleet.Rollout {
	if !r.Phase.Ended() {
		rollBack(&r, now, "", "the signed list no longer has %s", r.Release)
	}
	return r
}

// Step is the rollout after a look at the nodes that its deployment chooses. It makes one transition at most. The
// same look twice changes nothing the second time, unless the first one changed the rollout or time has passed.
func Step(d fleet.Deployment, r fleet.Rollout, v View, now time.Time) fleet.Rollout {
	// A clock that was ahead and is right again would have a soak last until the day that it showed.
	if r.Since.After(now) {
		r.Since = now
	}
	if r.Raised.After(now) {
		r.Raised = now
	}
	l := lookAt(d, v)
	s := l.survey(r)
	r.Chosen, r.Updated, r.Refused, r.Missing = len(l.nodes), s.updated, s.refused, s.missing
	open := d.Plan.Window == nil || d.Plan.Window.Open(now)
	switch r.Phase {
	case fleet.Pending:
		if open && len(l.nodes) > 0 {
			r = l.begin(r, now)
		}
	case fleet.Advancing, fleet.Soaking:
		switch why := judge(d.Plan.Gate, s); {
		case why != "":
			rollBack(&r, now, "", "%s", why)
		case len(l.nodes) == 0:
			move(&r, fleet.Pending, now, "", "it chooses no node any more")
		case !open: // nodes that are on their way settle, nothing else happens
		case r.Phase == fleet.Advancing:
			r = l.advance(r, now)
		case now.Sub(r.Since) >= time.Duration(d.Plan.Soak):
			r = l.next(r, s, now)
		}
	}
	s = l.survey(r)
	r.Updated, r.Refused, r.Missing = s.updated, s.refused, s.missing
	return r
}

// begin begins the first wave, or the present one again where all its nodes had gone.
func (l look) begin(r fleet.Rollout, now time.Time) fleet.Rollout {
	r.Admitting, r.Raised = true, now
	move(&r, fleet.Advancing, now, "", "wave %d of %d begins: %s of %d nodes", r.Wave+1, r.Waves, l.share(r), len(l.nodes))
	return l.admit(r, l.survey(r), now)
}

// admit raises the threshold by as many nodes as the wave and the concurrency leave room for.
func (l look) admit(r fleet.Rollout, s counts, now time.Time) fleet.Rollout {
	wave, room := l.share(r).Of(len(l.nodes))-s.admitted, math.MaxInt
	if c := l.d.Plan.Concurrency; c > 0 {
		room = c - s.busy
	}
	// Nodes are in the order of their ranks, so the threshold only rises.
	for _, n := range l.nodes[s.admitted:] {
		if wave <= 0 || room <= 0 {
			break
		}
		r.Threshold, r.Raised = n.rank, now
		wave--
		if n.Online {
			room--
		}
	}
	return r
}

// advance ends the wave when its nodes have settled, or patience with those that have not.
func (l look) advance(r fleet.Rollout, now time.Time) fleet.Rollout {
	r = l.admit(r, l.survey(r), now)
	s := l.survey(r)
	switch {
	case s.waiting == 0:
		return l.settled(r, s, now)
	case !l.late(r, now):
		return r
	}
	patience := l.patience()
	if part := float64(s.absent) / float64(max(1, s.answerable)); part > or(l.d.Plan.Offline, defaultOffline) {
		r.Resume = fleet.Advancing
		move(&r, fleet.Paused, now, "", "%d of %d nodes have not answered for %v", s.absent, s.answerable, patience)
		return r
	}
	r.Waited = r.Threshold
	if s.admitted < l.share(r).Of(len(l.nodes)) {
		move(&r, fleet.Advancing, now, "", "%d nodes have not answered for %v and are left behind", s.waiting, patience)
		return l.admit(r, l.survey(r), now)
	}
	return l.settled(r, s, now)
}

// settled watches the wave for a while, or goes on at once.
func (l look) settled(r fleet.Rollout, s counts, now time.Time) fleet.Rollout {
	if l.d.Plan.Soak == 0 {
		return l.next(r, s, now)
	}
	move(&r, fleet.Soaking, now, "", "%s", s.outcome())
	return r
}

// next begins the wave behind the present one, or ends the rollout. A wave that brings no further node is left
// out: among three nodes 10 % and 30 % are the same one.
func (l look) next(r fleet.Rollout, s counts, now time.Time) fleet.Rollout {
	was := s.outcome()
	for r.Wave+1 < r.Waves {
		r.Wave++
		if l.share(r).Of(len(l.nodes)) > s.admitted {
			move(&r, fleet.Advancing, now, "", "%s; wave %d of %d begins: %s of %d nodes", was, r.Wave+1, r.Waves, l.share(r), len(l.nodes))
			return l.admit(r, l.survey(r), now)
		}
	}
	r.Threshold = math.MaxUint64 // nodes that joined during the soak, or later, get it as well
	move(&r, fleet.Completed, now, "", "%s", was)
	return r
}

// late reports whether patience has ended. Time in which the window is closed does not count, nor that in which
// no hub listened.
func (l look) late(r fleet.Rollout, now time.Time) bool {
	from := r.Raised
	if l.since.After(from) && !l.since.After(now) {
		from = l.since
	}
	if w := l.d.Plan.Window; w != nil {
		return w.Between(from, now) >= l.patience()
	}
	return now.Sub(from) >= l.patience()
}

func (l look) patience() time.Duration {
	if l.d.Plan.Patience > 0 {
		return time.Duration(l.d.Plan.Patience)
	}
	return defaultPatience
}

// share is that of the present wave.
func (l look) share(r fleet.Rollout) fleet.Share { return l.waves[min(r.Wave, len(l.waves)-1)] }
