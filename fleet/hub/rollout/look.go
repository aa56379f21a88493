package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// View is what is known of the nodes that a deployment's rollout is about.
type View struct {
	Nodes []Node
	// Since is when somebody began to listen to them: what they did not say before is no fault of theirs.
	Since time.Time
}

// Node is what is known of a node that a deployment chooses.
type Node struct {
	Name   string
	Online bool
	// Module is the node's last report on the deployment's module; nil: it has said nothing of it.
	Module *fleet.ModuleReport
}

// look is a view in the order in which the deployment reaches its nodes.
type look struct {
	d     fleet.Deployment
	waves []fleet.Share
	nodes []ranked
	since time.Time
}

type ranked struct {
	Node
	rank uint64
}

func lookAt(d fleet.Deployment, v View) look {
	l := look{d: d, waves: waves(d.Plan), since: v.Since, nodes: make([]ranked, len(v.Nodes))}
	for i, n := range v.Nodes {
		l.nodes[i] = ranked{n, fleet.Rank(d.ID, n.Name)}
	}
	slices.SortFunc(l.nodes, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.Name, b.Name)) })
	return l
}

// counts is what a look found of the admitted nodes.
type counts struct {
	admitted, updated, refused, missing int
	waiting                             int    // missing, and patience with them has not ended
	busy                                int    // of these, online
	answerable, absent                  int    // neither left behind nor excused, and of these those missing
	why                                 string // of a refusal
	calls                               tally
}

// survey looks at the admitted nodes, which come first.
func (l look) survey(r fleet.Rollout) counts {
	var c counts
	for _, n := range l.nodes {
		if !r.Admitting || n.rank > r.Threshold {
			break
		}
		c.admitted++
		answerable := n.rank > max(r.Waited, r.Excused)
		if answerable {
			c.answerable++
		}
		m := n.Module
		mine := m != nil && m.Deployment == l.d.ID
		switch {
		case mine && m.State == fleet.Running && m.Release == l.d.Release:
			c.updated++
			before := m.PreviousStats
			if m.Previous.IsZero() || m.Previous == l.d.Release {
				before = fleet.CallStats{}
			}
			c.calls.add(m.Stats, before)
		case mine && (m.State == fleet.Refused || m.State == fleet.Reverted):
			c.refused++
			if c.why == "" {
				reason, _, _ := strings.Cut(m.Reason, "\n")
				c.why = fmt.Sprintf("%s %s it: %.300s", n.Name, m.State, reason)
			}
		default:
			c.missing++
			if answerable {
				c.absent++
			}
			if n.rank > r.Waited {
				c.waiting++
				if n.Online {
					c.busy++
				}
			}
		}
	}
	return c
}

// outcome is how a wave went, for people.
func (c counts) outcome() string {
	s := fmt.Sprintf("%d of %d nodes run it", c.updated, c.admitted)
	if c.refused > 0 {
		s += fmt.Sprintf(", %d refuse it", c.refused)
	}
	if c.missing > 0 {
		s += fmt.Sprintf(", %d have not answered", c.missing)
	}
	return s
}
