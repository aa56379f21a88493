package trace_test

import (
	"context"
	"testing"

	"github.com/isomer-iot/isomer/fleet/trace"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceGoesThroughHeaders(t *testing.T) {
	ctx := trace.With(t.Context(), parent)
	headers := trace.Inject(ctx, nil)
	if got := headers["traceparent"]; len(got) != 1 || got[0] != parent {
		t.Fatalf("%q", headers)
	}
	if got := trace.Parent(trace.Extract(context.Background(), headers)); got != parent {
		t.Errorf("out of the headers came %q", got)
	}
	if got := trace.Of(map[string][]string{"Traceparent": {parent}}); got != parent {
		t.Errorf("as HTTP writes it: %q", got)
	}
	if got := trace.Inject(trace.Without(ctx), nil); got != nil {
		t.Errorf("headers of no trace: %q", got)
	}
	if ctx, span := (trace.Or(nil)).Start(ctx, "x", trace.Server); trace.Parent(ctx) != parent {
		t.Errorf("without an exporter the trace is lost: %q", trace.Parent(ctx))
	} else {
		span.End(nil)
	}
}

func TestWhatIsNoTraceparentIsDropped(t *testing.T) {
	for _, s := range []string{
		"", "x", parent + "0", parent[:54], "01" + parent[2:], "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\n", "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
	} {
		if trace.Valid(s) {
			t.Errorf("%q is taken", s)
		}
		if got := trace.Parent(trace.With(t.Context(), s)); got != "" {
			t.Errorf("%q is kept as %q", s, got)
		}
	}
	if trace.Of(map[string][]string{"traceparent": {parent, parent}}) != "" {
		t.Error("two are taken for one")
	}
}
