package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// keptLines are the newest lines that a node keeps in memory for "isomer logs".
const keptLines = 500

// maxLine bounds a line in bytes.
const maxLine = 4 << 10

// lines is a slog.Handler that keeps the last lines, publishes them while somebody follows, and hands them on.
type lines struct {
	*ring
	next   slog.Handler // nil: nobody else
	module string       // empty: the agent's own
	attrs  []slog.Attr
}

// ring holds the lines of the agent and all its modules.
type ring struct {
	node string
	now  func() time.Time

	mu      sync.Mutex
	kept    []fleet.LogLine
	at      int
	until   time.Time // somebody follows
	publish func(fleet.LogLine)
}

func newLines(next slog.Handler, node string, now func() time.Time) *lines {
	return &lines{ring: &ring{node: node, now: now}, next: next}
}

// of is the handler of a module's lines.
func (l *lines) of(module string) slog.Handler {
	return &lines{ring: l.ring, next: l.next, module: module}
}

// Enabled keeps everything but debugging, which the next handler may want all the same.
func (l *lines) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || l.next != nil && l.next.Enabled(ctx, level)
}

// Handle keeps a line.
func (l *lines) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		var b bytes.Buffer
		b.WriteString(r.Message)
		add := func(at slog.Attr) bool {
			if at.Value.String() != "" && b.Len() < maxLine {
				fmt.Fprintf(&b, " %s=%v", at.Key, at.Value)
			}
			return true
		}
		for _, at := range l.attrs {
			add(at)
		}
		r.Attrs(add)
		l.add(fleet.LogLine{Node: l.node, Module: l.module, Level: level(r.Level), Message: cut(b.String()), At: l.now().UTC()})
	}
	if l.next == nil || !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	if l.module != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("guest", l.module))
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs adds attributes to each line.
func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.attrs = append(slices.Clip(l.attrs), attrs...)
	return &c
}

// WithGroup changes nothing: lines are text for people.
func (l *lines) WithGroup(string) slog.Handler { return l }

func level(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

func cut(s string) string {
	if len(s) > maxLine {
		s = s[:maxLine] + "…"
	}
	return s
}

func (r *ring) add(line fleet.LogLine) {
	r.mu.Lock()
	if len(r.kept) < keptLines {
		r.kept = append(r.kept, line)
	} else {
		r.kept[r.at] = line
		r.at = (r.at + 1) % keptLines
	}
	publish := r.publish
	if line.Level != "warn" && line.Level != "error" && r.now().After(r.until) {
		publish = nil // nobody follows, and it is nothing that the hub must hear of
	}
	r.mu.Unlock()
	if publish != nil {
		publish(line)
	}
}

func (r *ring) all() []fleet.LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(slices.Clone(r.kept[r.at:]), r.kept[:r.at]...)
}

// writer makes lines of what a WASI module prints.
func (l *lines) writer(module string) io.Writer { return &lineWriter{log: slog.New(l.of(module))} }

type lineWriter struct {
	mu   sync.Mutex
	log  *slog.Logger
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		line, rest, ok := bytes.Cut(w.part, []byte("\n"))
		if !ok && len(w.part) <= maxLine {
			return len(p), nil
		}
		if !ok {
			line, rest = w.part, nil
		}
		w.log.Info(string(line))
		w.part = append([]byte(nil), rest...)
	}
}

// serveLogs answers requests for the lines that are kept, and publishes further ones while asked to.
func (a *Agent) serveLogs() error {
	nc := a.conn()
	a.lines.mu.Lock()
	a.lines.publish = func(line fleet.LogLine) {
		if b, err := json.Marshal(line); err == nil {
			_ = nc.Publish(fleet.TelemetrySubject(a.node, fleet.LogSubject), b) // a line about it would come back here
		}
	}
	a.lines.mu.Unlock()
	_, err := nc.Subscribe(fleet.LogsSubject(a.node), func(m *nats.Msg) {
		var q fleet.LogRequest
		_ = json.Unmarshal(m.Data, &q) // a request that says nothing asks for the lines
		if q.Follow {
			a.lines.mu.Lock()
			a.lines.until = a.now().Add(fleet.LogFollow)
			a.lines.mu.Unlock()
		}
		kept := []fleet.LogLine{}
		if !q.Brief {
			kept = a.lines.all()
		}
		b, err := json.Marshal(kept)
		for err == nil && len(b) > fleet.MaxChunk && len(kept) > 1 { // one message holds it
			kept = kept[len(kept)/2:]
			b, err = json.Marshal(kept)
		}
		if err == nil {
			err = m.Respond(b)
		}
		if err != nil {
			a.log.Debug("logs", "error", err)
		}
	})
	return err
}
