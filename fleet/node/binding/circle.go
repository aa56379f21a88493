package binding

import (
	"fmt"
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/fleet"
)

// plan is what bindings are about to be: a change of several is looked at as a whole, not beside what they were.
func (r *Runner) plan(wanted map[key]fleet.Binding) map[key]fleet.Binding {
	out := make(map[key]fleet.Binding, len(wanted))
	for k, want := range wanted {
		if own, err := r.resolve(k, want); err == nil {
			out[k] = own
		}
	}
	return out
}

// circle says through which bindings of this node what own answers would come back to it. Those of one deployment are refused
// by the hub; here are those of several, and the owner's. The caller holds r.mu.
func (r *Runner) circle(k key, own fleet.Binding, planned map[key]fleet.Binding) error {
	others := maps.Clone(planned)
	if others == nil {
		others = map[key]fleet.Binding{}
	}
	for o, b := range r.bound {
		if d := b.def.Load(); b.source != nil && d.key == o {
			if _, ok := others[o]; !ok {
				others[o] = d.Binding
			}
		}
	}
	delete(others, k)
	order := slices.SortedFunc(maps.Keys(others), key.compare) // the same words each time
	var walk func(from fleet.Binding) error
	walk = func(from fleet.Binding) error {
		for _, o := range order {
			next, ok := others[o]
			if !ok || !from.Feeds(next) {
				continue
			}
			if next.Feeds(own) {
				return fmt.Errorf("%w: what it answers would come back to it through binding %s, without end; it begins when that one is gone", fleet.ErrInvalid, o)
			}
			delete(others, o)
			if err := walk(next); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(own)
}
