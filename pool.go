package isomer

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
)

// pool hands out the instances of one generation. Free instances are bits of one word, so that
// taking and giving back cost one atomic operation each (≈ 5 ns uncontended; a buffered channel
// costs ≈ 40 ns for the pair); only callers that find none free touch the channel.
type pool struct {
	free    atomic.Uint64
	waiters atomic.Int32
	queue   int32         // how many may wait
	wake    chan struct{} // one token a release while callers wait
	retired chan struct{} // closed when the next generation serves
	slots   []slot
}

// slot is one place in the pool. Whoever holds its bit owns it.
type slot struct {
	index int
	inst  *instance // nil: lost and not replaced; the next holder tries again
	// memory is the size of the instance's memory when it was last free, for whoever holds no slot.
	memory atomic.Uint64
	limit  *limited  // the context of its calls, used again and again
	_      [4]uint64 // a cache line each: neighbours are used by other processors
}

// measure notes the size of the instance's memory. The owner calls it: memory may grow in any call.
func (s *slot) measure() {
	n := uint64(0)
	if i := s.inst; i != nil && i.mem != nil {
		if n = uint64(i.size); n == 0 {
			n = uint64(len(i.mem.Bytes()))
		}
		i.size = 0
	}
	if s.memory.Load() != n { // mostly not; a store costs 5 ns more
		s.memory.Store(n)
	}
}

// errRetired sends a caller to the next generation.
var errRetired = errors.New("generation retired")

func newPool(n, queue int) *pool {
	p := &pool{
		queue: int32(min(queue, 1<<30)), wake: make(chan struct{}, n),
		retired: make(chan struct{}), slots: make([]slot, n),
	}
	for i := range p.slots {
		p.slots[i].index = i
	}
	p.free.Store(^uint64(0) >> (64 - n))
	return p
}

func (p *pool) try() *slot {
	for {
		w := p.free.Load()
		if w == 0 {
			return nil
		}
		if p.free.CompareAndSwap(w, w&(w-1)) {
			return &p.slots[bits.TrailingZeros64(w)]
		}
	}
}

// acquire takes a slot, waiting for one until ctx ends.
func (p *pool) acquire(ctx context.Context) (*slot, error) {
	if s := p.try(); s != nil {
		return s, nil
	}
	if p.waiters.Add(1) > p.queue {
		p.waiters.Add(-1)
		select {
		case <-p.retired:
			return nil, errRetired
		default:
			return nil, ErrBusy
		}
	}
	defer p.waiters.Add(-1)
	return p.wait(ctx, p.retired)
}

// take takes a slot for the owner of the pool, who may have retired it.
func (p *pool) take(ctx context.Context) (*slot, error) {
	p.waiters.Add(1)
	defer p.waiters.Add(-1)
	return p.wait(ctx, nil)
}

// wait runs with the caller counted in waiters: a release that this try misses sees the count and
// leaves a token.
func (p *pool) wait(ctx context.Context, retired <-chan struct{}) (*slot, error) {
	for {
		if s := p.try(); s != nil {
			return s, nil
		}
		select {
		case <-p.wake:
		case <-retired:
			return nil, errRetired
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// put gives a slot back.
func (p *pool) put(s *slot) {
	s.measure()
	p.free.Or(1 << s.index)
	if p.waiters.Load() > 0 {
		select {
		case p.wake <- struct{}{}:
		default: // as many tokens as slots are out already
		}
	}
}

// idle is how many slots are free.
func (p *pool) idle() int { return bits.OnesCount64(p.free.Load()) }
