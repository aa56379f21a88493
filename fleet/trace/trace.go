// Package trace is what hub, edge and node say of their work as spans, and how a trace goes from one to the other: as a
// W3C traceparent in the headers of NATS and HTTP, and in deployments and desired states, which are kept longer than any
// process lives. Use it in the fleet's packages; a program gives them a Tracer, such as that of oteltrace, or none: a
// device's agent has no room for an exporter, and then passes on what it hears.
//
// Compatibility: v0, the API may change until 1.0.
package trace

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Kind is a span's part in a conversation, as OpenTelemetry has it.
type Kind int

// The kinds of spans.
const (
	Internal Kind = iota
	Server        // answers a request
	Client        // makes one
	Consumer      // works on a message for which nobody waits
)

// Tracer makes spans. It must be safe for concurrent use.
type Tracer interface {
	// Start begins a span under the one that ctx has, or the one of another process whose traceparent ctx has. The context
	// that it returns has the new one.
	Start(ctx context.Context, name string, kind Kind, attrs ...slog.Attr) (context.Context, Span)
	// Past records a span that is over, such as a phase of a rollout, which more than one process may have seen. err nil: it ended well.
	Past(ctx context.Context, name string, from, to time.Time, err error, attrs ...slog.Attr)
}

// Span is a piece of work. It is used by one goroutine.
type Span interface {
	Set(attrs ...slog.Attr)
	End(err error) // nil: it ended well
}

// None makes no spans and passes on the traceparent that a context has.
type None struct{}

type noSpan struct{}

func (noSpan) Set(...slog.Attr) {}
func (noSpan) End(error)        {}

// Start returns ctx as it is.
func (None) Start(ctx context.Context, _ string, _ Kind, _ ...slog.Attr) (context.Context, Span) {
	return ctx, noSpan{}
}

// Past does nothing.
func (None) Past(context.Context, string, time.Time, time.Time, error, ...slog.Attr) {}

// Or is t, or None where it is nil.
func Or(t Tracer) Tracer {
	if t == nil {
		return None{}
	}
	return t
}

// Header is the name of a traceparent in a message: in lower case, as the W3C writes it, since NATS tells cases apart.
const Header = "traceparent"

// canonical is what Go's HTTP makes of it, here and in whoever copies HTTP headers into messages.
const canonical = "Traceparent"

type key struct{}

// With is ctx in the trace of a traceparent, and as it was where that is none.
func With(ctx context.Context, traceparent string) context.Context {
	if !Valid(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, key{}, traceparent)
}

// Without is ctx in no trace.
func Without(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "") }

// Parent is the traceparent of ctx; empty: it is in no trace.
func Parent(ctx context.Context) string {
	s, _ := Known(ctx)
	return s
}

// Known is Parent; ok false: nothing of this package was asked for ctx, whose caller may have a trace of its own in it.
func Known(ctx context.Context) (traceparent string, ok bool) {
	traceparent, ok = ctx.Value(key{}).(string)
	return traceparent, ok
}

// Inject writes the trace of ctx into the headers of a message; headers may be nil where it returns them so.
func Inject(ctx context.Context, headers map[string][]string) map[string][]string {
	p := Parent(ctx)
	if p == "" {
		return headers
	}
	if headers == nil {
		headers = map[string][]string{}
	}
	headers[Header] = []string{p}
	return headers
}

// Extract is ctx in the trace of a message.
func Extract(ctx context.Context, headers map[string][]string) context.Context {
	return With(ctx, Of(headers))
}

// Of is the traceparent of a message; empty: it has none, or none that is right.
func Of(headers map[string][]string) string {
	for _, name := range []string{Header, canonical} {
		if v := headers[name]; len(v) == 1 && Valid(v[0]) {
			return v[0]
		}
	}
	return ""
}

// Valid reports whether s is a traceparent of version 00 (W3C Trace Context, 3.2): 00, 32 digits of a trace, 16 of a span and 2
// of flags, hexadecimal in lower case, neither trace nor span zero. Others are dropped, as that asks: what comes from outside ends here.
func Valid(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	trace, span, flags := s[3:35], s[36:52], s[53:]
	for _, part := range []string{trace, span, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(trace, "0") != "" && strings.Trim(span, "0") != ""
}
