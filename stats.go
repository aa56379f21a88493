package isomer

import (
	"context"
	"errors"
	"sync"
)

// Stats is what a Module did so far. Counters cover all its generations.
type Stats struct {
	Name, Version, Digest string
	Generation            uint64 // 1 is the module that was opened
	Instances, Idle       int
	Waiting               int    // callers in the queue
	MemoryBytes           uint64 // of the instances' memories, each as it was after its last call

	Calls     uint64 // ended, failed ones included
	AppErrors uint64 // the function said no; these are no failures
	Failed    uint64 // Traps + Limits
	Traps     uint64
	Limits    uint64

	Swaps    uint64 // Rollback included
	Refused  uint64
	LastSwap SwapTimes
	// LastRefusal is the refusal of the newest module if it was refused; nil: it serves.
	LastRefusal *RefusedError
}

// Stats is a snapshot. Counters are read one by one while calls run.
func (m *Module) Stats() Stats {
	var s Stats
	for k := range m.counts {
		c := &m.counts[k]
		s.Calls += c.calls.Load()
		s.AppErrors += c.apps.Load()
		s.Traps += c.traps.Load()
		s.Limits += c.limits.Load()
	}
	s.Failed = s.Traps + s.Limits
	s.Instances = m.opts.instances
	if g := m.current.Load(); g != nil {
		r := g.release
		s.Name, s.Version, s.Digest, s.Generation = r.name, r.version, r.digest, g.number
		s.Idle, s.Waiting = g.pool.idle(), int(g.pool.waiters.Load())
		for k := range g.pool.slots {
			s.MemoryBytes += g.pool.slots[k].memory.Load()
		}
	}
	m.status.fill(&s)
	return s
}

// status is what swaps leave behind. Reading it never waits for a swap.
type status struct {
	mu             sync.Mutex
	swaps, refused uint64
	last           SwapTimes
	refusal        *RefusedError
	rejected       string // digest that the file must not bring into service again
}

func (s *status) served(t SwapTimes, swap bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if swap {
		s.swaps++
	}
	s.last, s.refusal, s.rejected = t, nil, ""
}

func (s *status) refuse(err *RefusedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
	s.refusal = err
	// Who asked gave up, something else was asked for, or the file could not be read: that says nothing about a module.
	if !errors.Is(err.Cause, context.Canceled) && !errors.Is(err.Cause, ErrSuperseded) && err.Digest != "" {
		s.rejected = err.Digest
	}
}

// restored notes that the file holds again what serves.
func (s *status) restored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.rejected = nil, ""
}

func (s *status) lastRefusal() *RefusedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

// stillRefused notes that another module than the refused one was brought into service in its place.
func (s *status) stillRefused(err *RefusedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.rejected = err, err.Digest
}

func (s *status) reject(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = digest
}

func (s *status) isRejected(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejected == digest
}

func (s *status) fill(out *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Swaps, out.Refused, out.LastSwap, out.LastRefusal = s.swaps, s.refused, s.last, s.refusal
}
