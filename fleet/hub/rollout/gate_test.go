package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/rollout"
)

// The gate at its limits, while a wave of one node soaks.
func TestWhatTheGateLetsThrough(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	calls := func(n, failed uint64, p95 float64) fleet.CallStats {
		return fleet.CallStats{Calls: n, Failed: failed, P95: p95}
	}
	for _, c := range []struct {
		name        string
		now, before fleet.CallStats
		gate        fleet.Gate
		state       fleet.ModuleState
		reason      string // empty: it does not
	}{
		{"as before", calls(1000, 0, 1000), calls(1000, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"refused", calls(0, 0, 0), calls(1000, 0, 1000), fleet.Gate{}, fleet.Refused, "1 of 1 nodes refuse it"},
		{"refusals are allowed", calls(0, 0, 0), calls(0, 0, 0), fleet.Gate{Refused: ptr(1.0)}, fleet.Refused, ""},
		{"1 % of calls fail", calls(1000, 10, 1000), calls(1000, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"1.1 % of calls fail", calls(1000, 11, 1000), calls(1000, 0, 1000), fleet.Gate{}, fleet.Running, "1.1 % of 1000 calls fail"},
		{"as many failed before", calls(1000, 500, 1000), calls(1000, 500, 1000), fleet.Gate{}, fleet.Running, ""},
		{"19 calls fail", calls(19, 19, 1000), calls(1000, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"5 calls fail and are enough", calls(5, 5, 1000), calls(1000, 0, 1000), fleet.Gate{MinCalls: ptr(uint64(5))}, fleet.Running, "calls fail"},
		{"twice as slow", calls(200, 0, 2000), calls(200, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"slower", calls(200, 0, 2001), calls(200, 0, 1000), fleet.Gate{}, fleet.Running, "calls take 2 ms (p95), before it were 1 ms"},
		{"slower in few calls", calls(199, 0, 9000), calls(200, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"slower than few calls", calls(200, 0, 9000), calls(199, 0, 1000), fleet.Gate{}, fleet.Running, ""},
		{"slower by what a scheduler does", calls(200, 0, 590), calls(200, 0, 100), fleet.Gate{}, fleet.Running, ""},
		{"slower, and nobody minds", calls(200, 0, 9000), calls(200, 0, 1000), fleet.Gate{Slower: ptr(0.0)}, fleet.Running, ""},
		{"slower than a strict gate lets", calls(200, 0, 1700), calls(200, 0, 1000), fleet.Gate{Slower: ptr(1.5)}, fleet.Running, "calls take"},
	} {
		d := fleet.Deployment{ID: "d1", Release: fleet.Ref{Name: "m", Version: "2"}, Plan: fleet.Plan{Gate: c.gate, Soak: fleet.Duration(time.Hour)}}
		m := fleet.ModuleReport{
			Name: "m", Deployment: d.ID, State: c.state, Release: d.Release, Stats: c.now,
			Previous: fleet.Ref{Name: "m", Version: "1"}, PreviousStats: c.before, Reason: "golden case 1",
		}
		v := rollout.View{Nodes: []rollout.Node{{Name: "n1", Online: true, Module: &m}}, Since: now}
		r := rollout.New(d, now)
		for range 3 {
			r = rollout.Step(d, r, v, now)
		}
		last := r.History[len(r.History)-1]
		if c.reason == "" && r.Phase != fleet.Soaking || c.reason != "" && (r.Phase != fleet.RolledBack || !strings.Contains(last.Reason, c.reason)) {
			t.Errorf("%s: %s: %s", c.name, r.Phase, last.Reason)
		}
	}
}

// A hub whose clock was ten years ahead, and is set right, still loses patience with a node that is not there.
func TestAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	d := fleet.Deployment{ID: "d1", Release: fleet.Ref{Name: "m", Version: "2"}}
	v := rollout.View{Nodes: []rollout.Node{{Name: "n1"}}, Since: now.AddDate(10, 0, 0)}
	r := rollout.New(d, now)
	for _, at := range []time.Time{now.AddDate(10, 0, 0), now, now.Add(9 * time.Minute), now.Add(11 * time.Minute)} {
		if r.Phase == fleet.Paused {
			t.Errorf("it is paused too early: %+v", r.History)
		}
		r = rollout.Step(d, r, v, at)
	}
	if r.Phase != fleet.Paused {
		t.Errorf("11 minutes later it is %s: %+v", r.Phase, r.History)
	}
}
