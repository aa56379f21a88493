package binding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/trace"
)

const (
	pauseFirst = 100 * time.Millisecond
	pauseMost  = 30 * time.Second
	// missingPatience is how long a call waits for its module or function to be there, whatever Retries says: a release and its
	// bindings do not change in one instant, and a node that starts compiles first.
	missingPatience = 5 * time.Second
)

// bound is a binding at work.
type bound struct {
	r     *Runner
	queue *queue
	def   atomic.Pointer[definition]

	// Guarded by Runner.mu.
	asked  fleet.Binding // as it was asked for
	source source        // nil: it does not work

	wrong                                              atomic.Pointer[string]
	received, answered, retried, dead, dropped, unsent atomic.Uint64
}

func newBound(r *Runner) *bound {
	b := &bound{r: r}
	b.def.Store(&definition{})
	b.queue = newQueue(b.work, func(it *item) {
		b.dropped.Add(1)
		it.end(Answer{}, ErrFull)
	})
	return b
}

func (b *bound) cfgLog(k key, err error) { b.r.cfg.Log.Warn("binding "+k.String(), "error", err) }

// problem remembers why the binding does not work; nil: it does.
func (b *bound) problem(err error) {
	var text *string
	if err != nil {
		s := err.Error()
		text = &s
	}
	old := b.wrong.Swap(text)
	if (old == nil) != (text == nil) || old != nil && *old != *text {
		b.r.cfg.Changed()
	}
}

func (b *bound) report(k key) fleet.BindingReport {
	out := fleet.BindingReport{
		Name: k.name, Local: k.local, Received: b.received.Load(), Answered: b.answered.Load(), Retried: b.retried.Load(),
		Dead: b.dead.Load(), Dropped: b.dropped.Load(), Unsent: b.unsent.Load(), Waiting: b.queue.len(),
	}
	if s, ok := b.source.(*subject); ok {
		out.Dropped += s.overflow()
	}
	if why := b.wrong.Load(); why != nil {
		out.Problem = *why
	}
	return out
}

// work answers one input, or makes a dead letter of it.
func (b *bound) work(it *item) {
	key := b.def.Load().key
	ctx, span := b.r.cfg.Trace.Start(trace.With(b.r.ctx, it.trace), "binding "+key.String(), trace.Consumer, slog.String("isomer.node", b.r.cfg.Node), slog.String("isomer.binding.from", it.from))
	answer, attempts, err := b.call(ctx, it)
	d := b.def.Load()
	if err == nil {
		err = b.deliver(ctx, d, it, answer)
	}
	span.Set(slog.Int("isomer.binding.attempts", attempts))
	span.End(err)
	if err == nil {
		b.answered.Add(1)
		it.end(answer, nil)
		return
	}
	if it.ctx != nil && it.ctx.Err() != nil {
		it.end(Answer{}, it.ctx.Err())
		return // nobody waits any more
	}
	if it.id != "" && errors.Is(err, ErrStopped) {
		it.end(Answer{}, err)
		return // a file stays for the next process
	}
	b.dead.Add(1)
	b.r.cfg.Log.Warn("binding "+d.key.String(), "from", it.from, "attempts", attempts, "error", err)
	if !it.asked {
		b.r.bury(ctx, b, d, it, attempts, err)
	}
	it.end(Answer{}, err)
}

// call calls the function until it answers, says no, or its retries are used up.
func (b *bound) call(ctx context.Context, it *item) (_ Answer, attempts int, err error) {
	ctx, cancel := context.WithCancel(ctx) // Runner.ctx, which outlives Close by its patience: what was taken is worked on
	defer cancel()
	if it.ctx != nil {
		defer context.AfterFunc(it.ctx, cancel)()
	}
	began := time.Now()
	pause := pauseFirst
	for retries := 0; ; {
		d := b.def.Load() // perhaps newer than the last time
		attempts++
		answer, err := b.r.cfg.Call(ctx, d.key.module, d.Call, it.encoding, it.body)
		if err == nil {
			return answer, attempts, nil
		}
		switch {
		case b.r.cfg.Missing(err) && time.Since(began) < missingPatience:
		case again(err) && retries < d.Retries:
			retries++
		default:
			return Answer{}, attempts, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Answer{}, attempts, fmt.Errorf("%w: %w", ErrStopped, err)
		}
		b.retried.Add(1)
		pause = min(2*pause, pauseMost)
	}
}

// again reports whether a call may succeed when it is made again: what a module answers on purpose stays its answer.
func again(err error) bool {
	switch isomer.OutcomeOf(err) {
	case isomer.OutcomeTrap, isomer.OutcomeLimit, isomer.OutcomeBusy, isomer.OutcomeClosed, isomer.OutcomeNoFunction, isomer.OutcomeOther:
		return true
	}
	return false
}

// deliver publishes and writes an answer.
func (b *bound) deliver(ctx context.Context, d *definition, it *item, a Answer) error {
	if d.File != "" {
		if err := b.r.write(d, it, a.Body); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	if d.Publish == "" {
		return nil
	}
	subject := d.Publish
	if d.Subject != "" {
		var err error
		if subject, err = d.Answer(b.r.cfg.Node, b.r.cfg.Layer, it.from); err != nil {
			return err
		}
	}
	m := &nats.Msg{Subject: subject, Data: a.Body, Header: nats.Header{
		fleet.NodeHeader: {b.r.cfg.Node}, fleet.ReleaseHeader: {a.Release}, fleet.EncodingHeader: {a.Encoding},
	}}
	trace.Inject(ctx, m.Header)
	err := b.r.send(m, it.id)
	if errors.Is(err, errUnsent) {
		b.unsent.Add(1)
		return nil // live values are no letters: who listens wants the newest
	}
	return err
}

var errUnsent = errors.New("no connection takes it")

// send publishes. Telemetry reaches a broker or waits on disk; what else is said is for those who listen now.
func (r *Runner) send(m *nats.Msg, id string) error {
	nc := r.conn()
	if strings.HasPrefix(m.Subject, "tele.") {
		if id == "" {
			id = fmt.Sprintf("%s.%s.%d", r.cfg.Node, r.boot, r.ids.Add(1))
		}
		m.Header.Set(nats.MsgIdHdr, id) // sent twice where a connection breaks, kept once
		return r.spool.send(nc, m)
	}
	if nc == nil {
		return errUnsent
	}
	err := nc.PublishMsg(m)
	if err != nil && !errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", errUnsent, err)
	}
	return err
}

// bury makes a dead letter.
func (r *Runner) bury(ctx context.Context, b *bound, d *definition, it *item, attempts int, why error) {
	letter := fleet.DeadLetter{
		Node: r.cfg.Node, Module: d.key.module, Binding: d.key.name, From: it.from, Reason: cut(why.Error(), 1<<10),
		Attempts: attempts, At: r.cfg.Now().UTC(), Size: it.size,
	}
	if len(it.body) <= fleet.MaxDeadBody {
		letter.Body = it.body
	}
	text, err := json.Marshal(letter)
	if err == nil {
		err = r.send(&nats.Msg{Subject: fleet.DeadLetterSubject(r.cfg.Node, d.key.module, d.key.name), Data: text, Header: trace.Inject(ctx, nats.Header{})}, "")
	}
	if err != nil {
		b.cfgLog(d.key, fmt.Errorf("dead letter: %w", err))
	}
}

func cut(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

const (
	keptAnswers     = 1000
	keptAnswerBytes = 256 << 20
)

// write puts an answer in a file, whole or not at all.
func (r *Runner) write(d *definition, it *item, body []byte) error {
	name := it.name
	if name == "" {
		name = it.from
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	to := strings.NewReplacer("{name}", fileName(name), "{time}", r.cfg.Now().UTC().Format("20060102T150405.000000Z")).Replace(d.File)
	dir := filepath.Dir(to)
	if err := disk.MkdirAll(r.cfg.Disk, dir, 0o755); err != nil {
		return err
	}
	if err := disk.Write(r.cfg.Disk, to, body, 0o644); err != nil {
		return err
	}
	if to != d.File && strings.HasPrefix(to, filepath.Join(r.cfg.Dir, "files")+string(filepath.Separator)) {
		prune(r.cfg.Disk, dir, keptAnswers, keptAnswerBytes) // a disk is no larger for a name that changes
	}
	return nil
}

// fileName is text as a part of a file's name. Subjects may have slashes, and whoever sends chooses them.
func fileName(s string) string {
	s = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' {
			return c
		}
		return '_'
	}, cut(s, 120))
	if strings.HasPrefix(s, ".") {
		s = "_" + s[1:]
	}
	return s
}
