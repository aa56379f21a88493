package node

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
)

// histogram counts latencies in steps of a quarter octave from 1 µs to 1,000 s: a quantile is right to 9 %,
// in a kilobyte, without a lock.
type histogram struct {
	calls, failed atomic.Uint64
	buckets       [steps]atomic.Uint64
}

const steps = 120

func step(d time.Duration) int {
	us := float64(d) / float64(time.Microsecond)
	if us <= 1 {
		return 0
	}
	return min(steps-1, int(4*math.Log2(us)))
}

func (h *histogram) add(d time.Duration, failed bool) {
	h.calls.Add(1)
	if failed {
		h.failed.Add(1)
	}
	h.buckets[step(d)].Add(1)
}

// quantile is in microseconds, the middle of its step.
func (h *histogram) quantile(q float64) float64 {
	var total uint64
	var counts [steps]uint64
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if n >= rank {
			return math.Exp2((float64(i) + 0.5) / 4)
		}
		rank -= n
	}
	return math.Exp2(steps / 4)
}

func (h *histogram) stats() fleet.CallStats {
	if h == nil {
		return fleet.CallStats{}
	}
	return fleet.CallStats{Calls: h.calls.Load(), Failed: h.failed.Load(), P50: h.quantile(0.5), P95: h.quantile(0.95)}
}

// observer counts the calls of one module by the digest that served them.
type observer struct {
	mu       sync.RWMutex
	byDigest map[string]*histogram
	running  *mark             // that a call runs
	ended    func(failed bool) // after each call
}

func newObserver(running *mark, ended func(failed bool)) *observer {
	return &observer{byDigest: map[string]*histogram{}, running: running, ended: ended}
}

// CallBegan marks that a call runs; it is counted when it has ended.
func (o *observer) CallBegan(ctx context.Context, _ isomer.CallInfo) context.Context {
	o.running.enter()
	return ctx
}

// answeredBy is the key under which a call's context has a *string for the digest of the release that answers it: a swap
// may come between the call and a look at the module.
type answeredBy struct{}

// CallEnded counts the call. What the caller did wrong says nothing about the release.
func (o *observer) CallEnded(ctx context.Context, c isomer.CallInfo) {
	o.running.leave()
	if c.Digest == "" {
		return
	}
	if by, ok := ctx.Value(answeredBy{}).(*string); ok {
		*by = c.Digest
	}
	failed := false
	switch isomer.OutcomeOf(c.Err) {
	case isomer.OutcomeTrap, isomer.OutcomeLimit:
		failed = true
	case isomer.OutcomeOK, isomer.OutcomeApp:
	default:
		return
	}
	o.of(c.Digest).add(c.Took-c.Waited, failed)
	o.ended(failed)
}

func (o *observer) of(digest string) *histogram {
	o.mu.RLock()
	h := o.byDigest[digest]
	o.mu.RUnlock()
	if h != nil {
		return h
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byDigest[digest] == nil {
		o.byDigest[digest] = &histogram{}
	}
	return o.byDigest[digest]
}

// reset begins the release's counts anew, as it begins to serve, and forgets all but it and the one before.
func (o *observer) reset(digest, previous string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := map[string]*histogram{digest: {}}
	if h := o.byDigest[previous]; h != nil {
		kept[previous] = h
	}
	o.byDigest = kept
}

func (o *observer) stats(digest string) fleet.CallStats {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.byDigest[digest].stats()
}
