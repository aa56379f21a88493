package rollout

import (
	"fmt"

	"github.com/isomer-iot/isomer/fleet"
)

// Defaults of a plan's gate, and of which part of its nodes may be missing.
const (
	defaultOffline  = 0.2
	defaultErrors   = 0.01
	defaultSlower   = 2
	defaultMinCalls = 20
	// slowerFloor is how much slower a p95 must be at least to count: below it scheduling and caches make
	// factors of two out of nothing.
	slowerFloor = 500.0 // µs
	// slowerCalls is how many times MinCalls it takes to judge a p95: among 20 calls it is the second slowest, which
	// says more about the machine than about the release.
	slowerCalls = 10
)

func or(v *float64, d float64) float64 {
	if v != nil {
		return *v
	}
	return d
}

// tally sums what nodes say of their calls, with the release and with the one before.
type tally struct {
	calls, failed float64 // with the release
	// Each node counts in the comparison by the smaller of its two numbers of calls. Sums would compare different
	// things: where a slow node has had as many calls as the fast ones by now, and few before, a release that
	// changes nothing would look slower.
	paired, failedBefore, p95, p95Before float64
}

// mostCalls and slowest bound what one node's numbers can do to the sums.
const (
	mostCalls = 1e12
	slowest   = 1e12 // µs
)

func (t *tally) add(now fleet.CallStats, before fleet.CallStats) {
	calls, was := min(float64(now.Calls), mostCalls), min(float64(before.Calls), mostCalls)
	t.calls += calls
	t.failed += min(float64(now.Failed), calls)
	if weight := min(calls, was); weight > 0 {
		t.paired += weight
		t.failedBefore += weight * min(float64(before.Failed), was) / was
		t.p95 += weight * max(0, min(now.P95, slowest))
		t.p95Before += weight * max(0, min(before.P95, slowest))
	}
}

// rates are the parts of calls that fail, and failed before.
func (t tally) rates() (now, before float64) {
	return t.failed / max(1, t.calls), t.failedBefore / max(1, t.paired)
}

// judge says why the rollout must go back; empty: it need not.
func judge(g fleet.Gate, s counts) string {
	if s.refused > 0 && float64(s.refused) > or(g.Refused, 0)*float64(s.admitted) {
		return fmt.Sprintf("%d of %d nodes refuse it; %s", s.refused, s.admitted, s.why)
	}
	minCalls := float64(defaultMinCalls)
	if g.MinCalls != nil {
		minCalls = max(1, float64(*g.MinCalls))
	}
	t := s.calls
	if t.calls < minCalls {
		return ""
	}
	if now, before := t.rates(); now > before+or(g.Errors, defaultErrors) {
		return fmt.Sprintf("%.3g %% of %.0f calls fail, before it were %.3g %%", 100*now, t.calls, 100*before)
	}
	slower := or(g.Slower, defaultSlower)
	if slower == 0 || t.paired < slowerCalls*minCalls {
		return ""
	}
	if now, before := t.p95/t.paired, t.p95Before/t.paired; now > slower*before && now-before > slowerFloor {
		return fmt.Sprintf("calls take %.3g ms (p95), before it were %.3g ms", now/1000, before/1000)
	}
	return ""
}
