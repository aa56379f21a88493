package hub

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// Whatever a fleet has, its series are so many and no more.
func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	now := time.Now()
	var members []state.Entry[fleet.Member]
	var reports []state.Entry[fleet.Report]
	for i := range 1000 {
		name := fmt.Sprint("dev", i)
		members = append(members, state.Entry[fleet.Member]{Key: name, Value: fleet.Member{Node: name, Layer: fleet.Device, Key: "U"}})
		r := fleet.Report{Node: name, Modules: []fleet.ModuleReport{{Release: fleet.Ref{Name: "meter", Version: fmt.Sprint(i / 2)}, State: fleet.Running}}}
		at := now
		switch i % 4 {
		case 1:
			at = now.Add(-time.Hour)
		case 2:
			r.Problems = []string{"disk"}
		case 3:
			r.Modules[0].State = fleet.Refused
		}
		reports = append(reports, state.Entry[fleet.Report]{Key: name, At: at, Value: r})
	}
	members = append(members, state.Entry[fleet.Member]{Key: "invited", Value: fleet.Member{Layer: fleet.Edge}}, state.Entry[fleet.Member]{Key: "out", Value: fleet.Member{Layer: fleet.Edge, Key: "U", Revoked: true}})
	v := summarise(now, members, reports, nil)
	if len(v.running) != maxPairs+1 || v.running[[2]string{"other", ""}] != 1000-2*maxPairs {
		t.Errorf("%d series of releases, %d nodes with others", len(v.running), v.running[[2]string{"other", ""}])
	}
	for h, want := range map[string]int{"ok": 250, "offline": 250, "failing": 500, "silent": 0} {
		if got := v.nodes[[2]string{"device", h}]; got != want {
			t.Errorf("%d devices are %s, want %d", got, h, want)
		}
	}
	if got := v.nodes[[2]string{"edge", "silent"}]; got != 0 {
		t.Errorf("%d edges, of which none joined", got)
	}
	c := newCounters()
	for i := range 1000 { // what nodes invent makes no series
		c.fetched(fmt.Sprint("kind", i), nil, errors.New("no"))
		c.answered("version", i, 0)
	}
	if _, err := c.fetches.GetMetricWithLabelValues("other", "failed"); err != nil {
		t.Error(err)
	}
}
