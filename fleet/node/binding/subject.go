package binding

import (
	"context"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// subject feeds a binding from NATS.
type subject struct {
	r    *Runner
	b    *bound
	on   string
	max  int
	wait bool

	mu      sync.Mutex
	sub     *nats.Subscription
	done    chan struct{} // the subscription has delivered its last message
	stopped bool
}

// newSubject listens where there is a connection; else Connect makes it. The caller holds r.mu.
func newSubject(r *Runner, b *bound, own fleet.Binding) *subject {
	s := &subject{r: r, b: b, on: own.Subject, max: orDefault(own.Queue, defaultQueue), wait: own.Full == fleet.FullBlock, done: make(chan struct{})}
	if r.nc != nil {
		s.listen(r.nc)
	}
	return s
}

func (s *subject) listen(nc *nats.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.sub != nil {
		return
	}
	sub, err := nc.Subscribe(s.on, s.take)
	if err != nil {
		s.b.problem(err)
		return
	}
	s.sub = sub
	sub.SetClosedHandler(func(string) { close(s.done) })
	// What the queue does not take waits here, where the newest are dropped, and counted: without a limit it would fill the
	// memory. A queue that drops its oldest takes everything at once; messages are here for microseconds then.
	most := nats.DefaultSubPendingMsgsLimit
	if s.wait {
		most = s.max
	}
	if err := sub.SetPendingLimits(most, queueBytes); err != nil {
		s.b.problem(err)
	}
}

func (s *subject) take(m *nats.Msg) {
	s.b.received.Add(1)
	it := &item{order: m.Subject, from: m.Subject, encoding: m.Header.Get(fleet.EncodingHeader), body: m.Data, size: len(m.Data), trace: trace.Of(m.Header)}
	// An answer goes to an inbox alone: an edge's agent could reach its JetStream too.
	if fleet.AnswersTo(m.Reply) || strings.HasPrefix(m.Reply, fleet.CallInbox+".") {
		it.ended = func(a Answer, err error) { s.answer(m, a, err) }
	}
	if err := s.b.queue.push(context.Background(), it, s.wait); err != nil {
		s.b.dropped.Add(1)
		it.end(Answer{}, err)
	}
}

func (s *subject) answer(m *nats.Msg, a Answer, err error) {
	out := nats.NewMsg(m.Reply)
	out.Data = a.Body
	out.Header.Set(fleet.NodeHeader, s.r.cfg.Node)
	if err != nil {
		out.Header.Set(micro.ErrorHeader, cut(strings.Map(oneLine, err.Error()), 1<<10))
		out.Header.Set(micro.ErrorCodeHeader, "500")
	} else {
		out.Header.Set(fleet.ReleaseHeader, a.Release)
		out.Header.Set(fleet.EncodingHeader, a.Encoding)
	}
	if err := m.RespondMsg(out); err != nil {
		s.r.cfg.Log.Debug("answer", "subject", m.Subject, "error", err)
	}
}

// oneLine keeps headers whole.
func oneLine(c rune) rune {
	if c < ' ' {
		return ' '
	}
	return c
}

// overflow is how many messages were dropped before they reached the queue.
func (s *subject) overflow() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub == nil {
		return 0
	}
	n, err := s.sub.Dropped()
	if err != nil {
		return 0
	}
	return uint64(n)
}

// stop takes what has arrived and no more.
func (s *subject) stop() {
	s.mu.Lock()
	s.stopped = true
	sub := s.sub
	s.mu.Unlock()
	if sub == nil || sub.Drain() != nil {
		return // never listened, or the connection is gone
	}
	select {
	case <-s.done:
	case <-s.r.ctx.Done():
	}
	if n, err := sub.Dropped(); err == nil {
		s.b.dropped.Add(uint64(n))
	}
}
