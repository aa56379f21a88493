package oteltrace_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trace/oteltrace"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func recorded(t *testing.T) (oteltrace.Tracer, *sdktrace.TracerProvider, *tracetest.InMemoryExporter) {
	memory := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return oteltrace.New(p), p, memory
}

func TestSpansStandUnderWhoAsked(t *testing.T) {
	tr, p, memory := recorded(t)
	ctx, outer := tr.Start(trace.With(t.Context(), parent), "outer", trace.Server, slog.Int("n", 3), slog.Bool("b", true), slog.Float64("f", 0.5), slog.String("s", "x"))
	if got := trace.Parent(ctx); got[:36] != parent[:36] || got == parent {
		t.Errorf("within the span the traceparent is %q", got)
	}
	_, inner := tr.Start(ctx, "inner", trace.Client)
	inner.End(errors.New("no"))
	outer.End(nil)
	// A program that has a provider of its own, and nothing of this package in its context.
	own, root := p.Tracer("app").Start(t.Context(), "app")
	_, under := tr.Start(own, "under", trace.Internal)
	under.End(nil)
	_, apart := tr.Start(trace.Without(own), "apart", trace.Internal)
	apart.End(nil)
	root.End()
	from := time.Unix(1000, 0)
	tr.Past(trace.With(t.Context(), parent), "past", from, from.Add(time.Minute), nil)

	got := map[string]tracetest.SpanStub{}
	for _, s := range memory.GetSpans() {
		got[s.Name] = s
	}
	if s := got["outer"]; s.Parent.SpanID().String() != "00f067aa0ba902b7" || !s.Parent.IsRemote() || len(s.Attributes) != 4 || s.Status.Code != codes.Unset {
		t.Errorf("outer: %+v", s)
	}
	if s := got["inner"]; s.Parent.SpanID() != got["outer"].SpanContext.SpanID() || s.Status.Code != codes.Error || s.Status.Description != "no" {
		t.Errorf("inner: %+v", s)
	}
	if got["under"].Parent.SpanID() != root.SpanContext().SpanID() || got["apart"].Parent.IsValid() {
		t.Errorf("under %v, apart %v", got["under"].Parent, got["apart"].Parent)
	}
	if s := got["past"]; !s.StartTime.Equal(from) || s.EndTime.Sub(from) != time.Minute || s.Parent.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("past: %+v", s)
	}
}

func TestNothingIsExportedUnlessAsked(t *testing.T) {
	for _, env := range []map[string]string{
		{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"} {
			t.Setenv(name, env[name])
		}
		tr, stop, err := oteltrace.Start(t.Context(), "isomer-hub", "hub-1", "")
		if err != nil || tr != nil {
			t.Errorf("%v: a tracer %v (%v)", env, tr, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestACollectorThatIsAwayIsAnErrorAtTheEnd(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	tr, stop, err := oteltrace.Start(t.Context(), "isomer-hub", "hub-1", "")
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.Start(t.Context(), "x", trace.Internal)
	span.End(nil)
	if err := stop(); err == nil || !strings.Contains(err.Error(), "OpenTelemetry traces") {
		t.Errorf("no error: %v", err)
	}
}
