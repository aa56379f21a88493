package rollout

import (
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/fleet"
)

// Plans are all deployments with their rollouts, ready to be asked for many nodes.
type Plans struct{ byModule map[string][]plan } // the newest first

type plan struct {
	d fleet.Deployment
	r fleet.Rollout
}

// NewPlans takes deployments and their rollouts by ID. Those without a rollout, rolled back, or of a release
// that is not listed (retired, or never signed) count for nothing.
func NewPlans(deployments []fleet.Deployment, rollouts map[string]fleet.Rollout, listed func(fleet.Ref) bool) Plans {
	p := Plans{map[string][]plan{}}
	for _, d := range deployments {
		r, ok := rollouts[d.ID]
		if !ok || !r.Admitting || r.Phase == fleet.RolledBack || !listed(d.Release) {
			continue
		}
		p.byModule[d.Release.Name] = append(p.byModule[d.Release.Name], plan{d, r})
	}
	for _, list := range p.byModule {
		slices.SortFunc(list, func(a, b plan) int { return strings.Compare(b.d.ID, a.d.ID) })
	}
	return p
}

// Desired is what a node should run: of each module the newest deployment that chooses and admits it, so that
// one which is taken back leaves the one before.
func (p Plans) Desired(m fleet.Member) fleet.Desired {
	out := fleet.Desired{Node: m.Node, Modules: []fleet.DesiredModule{}}
	for _, list := range p.byModule {
		for _, c := range list {
			if !c.d.To.Matches(m.Node, m.Layer, m.Labels) || !c.r.Admits(m.Node) {
				continue
			}
			out.Modules = append(out.Modules, fleet.DesiredModule{
				Release: c.d.Release, Digest: c.d.Digest, Size: c.d.Size, Deployment: c.d.ID,
				Bindings: c.d.Binding, Window: c.d.Plan.Window, Trace: c.d.Trace,
			})
			break
		}
	}
	slices.SortFunc(out.Modules, func(a, b fleet.DesiredModule) int { return strings.Compare(a.Release.Name, b.Release.Name) })
	return out
}
