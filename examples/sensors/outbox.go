package sensors

import "sync"

// Outbox keeps lines for a receiver that may be away. What does not fit pushes out the oldest, which is
// counted: the newest state of a plant is worth more than an old one.
type Outbox struct {
	mu      sync.Mutex
	lines   [][]byte
	most    int
	taken   int // at the head, on their way
	dropped uint64
	ready   chan struct{} // holds a token while there may be lines
}

// NewOutbox keeps up to most lines.
func NewOutbox(most int) *Outbox {
	return &Outbox{most: max(1, most), ready: make(chan struct{}, 1)}
}

// Put adds a line, which the Outbox owns now. It never waits.
func (o *Outbox) Put(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == o.most {
		o.lines[0] = nil
		o.lines = o.lines[1:]
		o.dropped++
		o.taken = max(0, o.taken-1) // it may arrive all the same
	}
	o.lines = append(o.lines, line)
	o.wake()
}

func (o *Outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// Ready has a token when there may be lines to take.
func (o *Outbox) Ready() <-chan struct{} { return o.ready }

// Take gives up to n of the oldest lines, which stay until Done.
func (o *Outbox) Take(n int) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = min(n, len(o.lines))
	return append([][]byte(nil), o.lines[:o.taken]...)
}

// Done says that the first n of the lines taken have arrived. The others will be taken again.
func (o *Outbox) Done(n, of int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n -= of - o.taken // pushed out meanwhile
	if n > 0 {
		clear(o.lines[:n])
		o.lines = o.lines[n:]
	}
	o.taken = 0
	if len(o.lines) > 0 {
		o.wake()
	}
}

// Waiting is how many lines are kept, Dropped how many were pushed out since the beginning.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.lines)
}

// Dropped is how many lines were pushed out since the beginning.
func (o *Outbox) Dropped() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}
