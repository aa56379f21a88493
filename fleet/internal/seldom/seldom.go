// Package seldom keeps a log readable while somebody does a thing that is logged a hundred thousand times. Use it for
// lines that a node can cause at will, never for those that an operator must see each.
package seldom

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// burst is how many lines of one message pass in a second. Without it one device wrote 2 MB/s into a hub's log.
const burst = 5

// Logger is log, but for lines beyond burst in a second of one level and message: the next one that passes counts them as
// "unlogged". Messages are constants, since each is remembered.
func Logger(log *slog.Logger) *slog.Logger {
	return slog.New(&handler{log.Handler(), &counts{of: map[key]*count{}}})
}

type key struct {
	level   slog.Level
	message string
}

type count struct {
	since    time.Time
	passed   int
	unlogged int
}

type counts struct {
	mu sync.Mutex
	of map[key]*count
}

type handler struct {
	slog.Handler
	counts *counts
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.counts.mu.Lock()
	c := h.counts.of[key{r.Level, r.Message}]
	if c == nil {
		c = &count{}
		h.counts.of[key{r.Level, r.Message}] = c
	}
	if since := r.Time.Sub(c.since); since >= time.Second || since < 0 {
		c.since, c.passed = r.Time, 0
	}
	if c.passed == burst {
		c.unlogged++
		h.counts.mu.Unlock()
		return nil
	}
	c.passed++
	if c.unlogged > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("unlogged", c.unlogged))
		c.unlogged = 0
	}
	h.counts.mu.Unlock()
	return h.Handler.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.counts}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.counts}
}
