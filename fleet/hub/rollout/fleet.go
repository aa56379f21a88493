package rollout

import (
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// Fleet is all that the next state of a rollout follows from.
type Fleet struct {
	Deployments []fleet.Deployment       // the oldest first
	Rollouts    map[string]fleet.Rollout // by deployment
	Members     map[string]fleet.Member
	// Report is a node's last report and when the hub heard it; ok: there is one.
	Report func(node string) (r fleet.Report, heard time.Time, ok bool)
	// Listed reports whether the signed list has a release.
	Listed func(fleet.Ref) bool
	// Since is when somebody began to listen to the nodes.
	Since time.Time
}

// silence is how long a node may say nothing until it counts as offline.
const silence = 3 * fleet.ReportEvery

// Next is the rollout of d, which has one, after a look at the fleet. A rollout that has ended stays as it is.
func (f Fleet) Next(d fleet.Deployment, now time.Time) fleet.Rollout {
	r := f.Rollouts[d.ID]
	if r.Phase.Ended() {
		return r
	}
	if !f.Listed(d.Release) {
		return Retire(r, now)
	}
	nodes, newer := f.chosen(d, now)
	if len(nodes) == 0 && newer != "" {
		return Supersede(r, newer, now)
	}
	return Step(d, r, View{nodes, f.Since}, now)
}

// Begin is the rollout of a deployment that has none, with the number of nodes that it chooses: who watches it sees that first.
func (f Fleet) Begin(d fleet.Deployment, now time.Time) fleet.Rollout {
	r := New(d, now)
	nodes, _ := f.chosen(d, now)
	r.Chosen = len(nodes)
	return r
}

// chosen are the nodes of a deployment's rollout: members that its selector chooses and no newer deployment of the
// module does. Of the deployments that have others, newer is the newest.
func (f Fleet) chosen(d fleet.Deployment, now time.Time) (nodes []Node, newer string) {
	takers := f.newer(d)
	for name, m := range f.Members {
		if m.Revoked || m.Key == "" || !d.To.Matches(m.Node, m.Layer, m.Labels) {
			continue
		}
		if taker := takes(takers, m); taker != "" {
			newer = max(newer, taker)
			continue
		}
		n := Node{Name: name}
		if r, heard, ok := f.Report(name); ok {
			if f.Since.After(heard) && !f.Since.After(now) { // it had no chance to be heard before
				heard = f.Since
			}
			n.Online = now.Sub(heard) < silence
			for i := range r.Modules {
				if r.Modules[i].Name == d.Release.Name {
					n.Module = &r.Modules[i]
				}
			}
		}
		nodes = append(nodes, n)
	}
	return nodes, newer
}

// newer are the deployments that take nodes from d's rollout: of the same module, newer, and not rolled back.
func (f Fleet) newer(d fleet.Deployment) []fleet.Deployment {
	var out []fleet.Deployment
	for _, o := range f.Deployments {
		if o.Release.Name == d.Release.Name && o.ID > d.ID && f.Rollouts[o.ID].Phase != fleet.RolledBack {
			out = append(out, o)
		}
	}
	return out
}

// takes is the ID of the newest of these deployments that chooses the member; empty: none does.
func takes(newer []fleet.Deployment, m fleet.Member) string {
	newest := ""
	for _, o := range newer {
		if o.ID > newest && o.To.Matches(m.Node, m.Layer, m.Labels) {
			newest = o.ID
		}
	}
	return newest
}

// Desired is what the members should run.
func (f Fleet) Desired() Plans { return NewPlans(f.Deployments, f.Rollouts, f.Listed) }
