package binding

import (
	"context"
	"sync"
)

// item is one input.
type item struct {
	order    string // inputs of one order are worked on one after the other
	from     string // subject, path, file or time
	name     string // for {name} in files
	id       string // of a file, the same when it is read again; else empty
	encoding string // MIME type; empty: unknown
	body     []byte
	size     int
	trace    string              // traceparent; empty: it came in no trace
	ctx      context.Context     // of who waits for the answer; nil: nobody
	ended    func(Answer, error) // nil: nobody wants to know
	asked    bool                // ended tells whoever asked, who needs no dead letter
}

func (it *item) end(a Answer, err error) {
	if it.ended != nil {
		it.ended(a, err)
	}
}

// queue holds a bounded number of inputs and gives each to work, one of an order at a time.
type queue struct {
	work    func(*item)
	dropped func(*item)

	mu            sync.Mutex
	room          *sync.Cond // something left the queue, or its state changed
	waiting       []*item    // oldest first
	bytes         int
	busy          map[string]bool
	running       int
	max, parallel int
	closed        bool
}

func newQueue(work, dropped func(*item)) *queue {
	q := &queue{work: work, dropped: dropped, busy: map[string]bool{}, max: defaultQueue, parallel: defaultParallel}
	q.room = sync.NewCond(&q.mu)
	return q
}

func (q *queue) limit(waiting, parallel int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.max, q.parallel = waiting, parallel
	q.start()
	q.room.Broadcast()
}

// push adds an input. Where there is no room it waits, or drops the oldest that wait.
func (q *queue) push(ctx context.Context, it *item, wait bool) error {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.room.Broadcast()
	})
	defer stop()
	var dropped []*item
	defer func() {
		for _, old := range dropped {
			q.dropped(old)
		}
	}()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && len(q.waiting) > 0 && (len(q.waiting) >= q.max || q.bytes+it.size > queueBytes) {
		if !wait {
			dropped = append(dropped, q.remove(0))
			continue
		}
		if ctx.Err() != nil {
			return ErrFull
		}
		q.room.Wait()
	}
	if q.closed {
		return ErrStopped
	}
	q.waiting = append(q.waiting, it)
	q.bytes += it.size
	q.start()
	return nil
}

func (q *queue) remove(i int) *item {
	it := q.waiting[i]
	copy(q.waiting[i:], q.waiting[i+1:])
	q.waiting[len(q.waiting)-1] = nil // not kept alive
	q.waiting = q.waiting[:len(q.waiting)-1]
	q.bytes -= it.size
	return it
}

// start works on what may be. The caller holds q.mu. There is no goroutine for what does not run: a node has many
// bindings that sleep.
func (q *queue) start() {
	for i := 0; i < len(q.waiting) && q.running < q.parallel; {
		if q.busy[q.waiting[i].order] {
			i++
			continue
		}
		it := q.remove(i)
		q.busy[it.order] = true
		q.running++
		q.room.Broadcast()
		go func() {
			q.work(it)
			q.mu.Lock()
			defer q.mu.Unlock()
			delete(q.busy, it.order)
			q.running--
			q.start()
			q.room.Broadcast()
		}()
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + q.running
}

// close takes no more, and waits until everything was worked on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.room.Broadcast()
	for len(q.waiting) > 0 || q.running > 0 {
		q.room.Wait()
	}
}
