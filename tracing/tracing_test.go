package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/tracing"
)

func traced(t testing.TB) (*isomer.Module, *tracetest.InMemoryExporter, *sdktrace.TracerProvider) {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	guest := enginetest.Guest{Manifest: &abi.Manifest{Name: "kit", Version: "1.0.0"}}
	m, err := isomer.New(context.Background(), guest.Build(), isomer.WithObserver(tracing.New(provider)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Close()
		_ = provider.Shutdown(context.Background())
	})
	return m, memory, provider
}

func attributes(s tracetest.SpanStub) map[attribute.Key]any {
	out := map[attribute.Key]any{}
	for _, a := range s.Attributes {
		out[a.Key] = a.Value.AsInterface()
	}
	return out
}

func TestSpan(t *testing.T) {
	m, memory, provider := traced(t)
	ctx, parent := provider.Tracer("app").Start(context.Background(), "frame")
	if _, err := m.Call(ctx, "echo", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	parent.End()
	spans := memory.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	s := spans[0]
	if s.Name != "echo" || s.Parent.SpanID() != parent.SpanContext().SpanID() || s.SpanContext.TraceID() != parent.SpanContext().TraceID() {
		t.Errorf("span %q, parent %v", s.Name, s.Parent.SpanID())
	}
	if s.Status.Code != codes.Unset || s.EndTime.Before(s.StartTime) {
		t.Errorf("%+v", s.Status)
	}
	got := attributes(s)
	for key, want := range map[attribute.Key]any{
		"isomer.module": "kit", "isomer.version": "1.0.0", "isomer.digest": m.Digest(), "isomer.generation": int64(1),
		"isomer.function": "echo", "isomer.convention": "bytes", "isomer.input.bytes": int64(5), "isomer.output.bytes": int64(5),
		"isomer.outcome": "ok",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestSpanOfAFailure(t *testing.T) {
	m, memory, _ := traced(t)
	for fn, outcome := range map[string]string{"fail": "app", "trap": "trap", "recurse": "limit", "nothing": "no_function", "average": "argument"} {
		memory.Reset()
		_, err := m.Call(context.Background(), fn, nil)
		if err == nil {
			t.Fatalf("%s did not fail", fn)
		}
		spans := memory.GetSpans()
		if len(spans) != 1 {
			t.Fatalf("%s: %d spans", fn, len(spans))
		}
		s := spans[0]
		if s.Status.Code != codes.Error || s.Status.Description != err.Error() || len(s.Events) != 1 {
			t.Errorf("%s: status %+v, events %v", fn, s.Status, s.Events)
		}
		if got := attributes(s)["isomer.outcome"]; got != outcome {
			t.Errorf("%s: outcome %v, want %s", fn, got, outcome)
		}
	}
}

func TestEveryWayToCall(t *testing.T) {
	m, memory, _ := traced(t)
	ctx := context.Background()
	if _, err := m.CallImage(ctx, "average", isomer.Image{Width: 1, Height: 1, RGB: []byte{1, 2, 3}}); err != nil {
		t.Error(err)
	}
	if _, err := m.CallScalar(ctx, "mul", isomer.F64(6), isomer.F64(7)); err != nil {
		t.Error(err)
	}
	if _, err := isomer.CallJSON[string](ctx, m, "echo", "x"); err != nil {
		t.Error(err)
	}
	names := []string{}
	for _, s := range memory.GetSpans() {
		names = append(names, s.Name)
		if a := attributes(s); a["isomer.input.bytes"] == int64(0) || a["isomer.output.bytes"] == int64(0) {
			t.Errorf("%s: %v", s.Name, a)
		}
	}
	if len(names) != 3 || names[0] != "average" || names[1] != "mul" || names[2] != "echo" {
		t.Errorf("%q", names)
	}
}
