package fleet

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Deployment says which release should run on which nodes, and how it gets there.
type Deployment struct {
	ID      string    `json:"id"` // given by the hub; later ones sort behind earlier ones
	Release Ref       `json:"release"`
	Digest  string    `json:"digest"`
	Size    int64     `json:"size"`
	To      Selector  `json:"to"`
	Plan    Plan      `json:"plan"`
	Binding []Binding `json:"bindings,omitempty"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	// Trace is the traceparent of the request that made it: what hubs and nodes do for it belongs to that trace. It says
	// nothing that anybody decides by.
	Trace string `json:"trace,omitempty"`
}

// Plan is how a rollout goes from none of the nodes to all of them. The zero value goes to all at once, and
// still stops and rolls back where a node's gate refuses the release.
type Plan struct {
	// Waves are how many of the chosen nodes have the release after each wave, growing; the last is made
	// 100 % where it is not. The first is the canary. Empty: all at once.
	Waves []Share `json:"waves,omitempty"`
	// Concurrency is how many nodes may be on their way at once. Those that are offline do not count, since they
	// would hold up the others; nor do those that join later or were left behind. 0: all of a wave.
	Concurrency int `json:"concurrency,omitempty"`
	// Soak is how long a wave is watched after its nodes run the release, before the next begins.
	Soak Duration `json:"soak,omitempty"`
	// Patience is how long a wave waits for nodes that do not settle, such as those offline, after the last of
	// them was admitted. Time outside of the window does not count. 0: 10 minutes.
	Patience Duration `json:"patience,omitempty"`
	// Offline is which part of the nodes may be missing when patience with them ends, 0 to 1; beyond it the
	// rollout is paused. nil: 0.2.
	Offline *float64 `json:"offline,omitempty"`
	Gate    Gate     `json:"gate" required:"false"`
	Window  *Window  `json:"window,omitempty"` // nil: any time
}

// Gate is what ends a rollout and rolls it back. Zero fields have defaults.
type Gate struct {
	// Refused is which part of a wave's nodes may refuse the release or take it back. nil: none.
	Refused *float64 `json:"refused,omitempty"`
	// Errors is by how much the part of failed calls may exceed the previous release's. nil: 0.01.
	Errors *float64 `json:"errors,omitempty"`
	// Slower is how many times the previous release's p95 latency is allowed. nil: 2; 0: latency is not looked at.
	Slower *float64 `json:"slower,omitempty"`
	// MinCalls is how many calls a release needs on a wave's nodes before Errors is judged, and ten times as many
	// before Slower is. nil: 20.
	MinCalls *uint64 `json:"minCalls,omitempty"`
}

// Share is a number of nodes: a part of those chosen, or a count.
type Share struct {
	Percent float64 // above 0, at most 100; 0: Count counts
	Count   int
}

// ParseShare reads "10%" or "3".
func ParseShare(s string) (Share, error) {
	if p, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return Share{}, invalid("share %q: want a percentage above 0 and at most 100, such as 10%%", s)
		}
		return Share{Percent: v}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return Share{}, invalid("share %q: want such as 10%% or a number of nodes", s)
	}
	return Share{Count: n}, nil
}

// Of is how many of n nodes the share is: rounded up, so that a share of some nodes is never none.
func (s Share) Of(n int) int {
	if s.Percent > 0 {
		return min(n, max(1, int(math.Ceil(s.Percent/100*float64(n)-1e-9))))
	}
	return min(n, s.Count)
}

func (s Share) String() string {
	if s.Percent > 0 {
		return strconv.FormatFloat(s.Percent, 'g', -1, 64) + "%"
	}
	return strconv.Itoa(s.Count)
}

// MarshalText writes "10%" or "3".
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseShare does.
func (s *Share) UnmarshalText(b []byte) error {
	got, err := ParseShare(string(b))
	*s = got
	return err
}

// Check says what is wrong with the plan.
func (p Plan) Check() error {
	for i, w := range p.Waves {
		if w.Percent == 0 && w.Count < 1 {
			return invalid("plan: wave %d is of no nodes", i+1)
		}
		if i > 0 && (w.Percent > 0) == (p.Waves[i-1].Percent > 0) && (w.Percent < p.Waves[i-1].Percent || w.Count < p.Waves[i-1].Count) {
			return invalid("plan: wave %d (%s) is smaller than the one before it (%s): shares are of all nodes, and grow", i+1, w, p.Waves[i-1])
		}
	}
	if len(p.Waves) > 100 {
		return invalid("plan: %d waves, at most 100 are allowed", len(p.Waves))
	}
	switch {
	case p.Concurrency < 0:
		return invalid("plan: concurrency must not be negative, got %d", p.Concurrency)
	case p.Soak < 0 || p.Patience < 0:
		return invalid("plan: soak and patience must not be negative")
	}
	for _, f := range []struct {
		name string
		v    *float64
		most float64
	}{{"offline", p.Offline, 1}, {"gate.refused", p.Gate.Refused, 1}, {"gate.errors", p.Gate.Errors, 1}, {"gate.slower", p.Gate.Slower, 1e6}} {
		if f.v != nil && !(*f.v >= 0 && *f.v <= f.most) {
			return invalid("plan: %s must be 0 to %g, got %g", f.name, f.most, *f.v)
		}
	}
	if p.Window != nil {
		return p.Window.Check()
	}
	return nil
}

// Phase is how far a rollout is.
type Phase string

// The phases of a rollout. The last four are its ends.
const (
	Pending    Phase = "pending"     // waits for its window, or for a node that it chooses
	Advancing  Phase = "advancing"   // nodes of the wave are getting the release
	Soaking    Phase = "soaking"     // they run it and are watched
	Paused     Phase = "paused"      // by a person, or by too many missing nodes
	Completed  Phase = "completed"   // every chosen node is to have it, those that join later too
	Aborted    Phase = "aborted"     // stays where it is
	RolledBack Phase = "rolled back" // the nodes return to what they ran
	Superseded Phase = "superseded"  // a newer deployment of the module chooses the same nodes
)

// Phases are all phases.
func Phases() []Phase {
	return []Phase{Pending, Advancing, Soaking, Paused, Completed, Aborted, RolledBack, Superseded}
}

// Ended reports whether nothing moves the rollout any more by itself.
func (p Phase) Ended() bool {
	return p == Completed || p == Aborted || p == RolledBack || p == Superseded
}

// Rollout is a deployment being carried out.
type Rollout struct {
	Deployment string    `json:"deployment"` // its ID; the rollout has no other
	Release    Ref       `json:"release"`
	Phase      Phase     `json:"phase"`
	Resume     Phase     `json:"resume,omitempty"` // the phase that a pause interrupted
	Wave       int       `json:"wave"`             // index of the present wave
	Waves      int       `json:"waves"`
	Since      time.Time `json:"since"` // of the phase
	// Raised is when Threshold rose last, or the rollout was resumed: patience counts from then.
	Raised time.Time `json:"raised"`
	// Threshold admits the nodes whose Rank is not above it: a wave grows by raising it, which admits nodes
	// that join later as well and never takes one out. See Admits.
	Threshold uint64 `json:"threshold"`
	Admitting bool   `json:"admitting"` // false: none is admitted yet, whatever Threshold says
	// Waited is the threshold up to which patience has ended: who has not settled there is left behind, neither
	// waited for nor counted for Concurrency. Excused is the threshold at which a pause for missing nodes was
	// resumed: who is missing up to there does not pause the rollout again.
	Waited  uint64 `json:"waited,omitempty"`
	Excused uint64 `json:"excused,omitempty"`

	Chosen  int `json:"chosen"` // nodes that the selector chooses, at the last look
	Updated int `json:"updated"`
	Refused int `json:"refused"`
	Missing int `json:"missing"` // admitted, not settled

	History []Transition `json:"history"` // the newest last, at most 100
}

// Transition is one step of a rollout.
type Transition struct {
	At     time.Time `json:"at"`
	From   Phase     `json:"from"`
	To     Phase     `json:"to"`
	Wave   int       `json:"wave"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"` // who asked; empty: the controller
}
