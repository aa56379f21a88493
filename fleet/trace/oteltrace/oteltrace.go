// Package oteltrace sends the fleet's spans to an OpenTelemetry collector by OTLP over HTTP. Use it in commands, where the
// standard environment variables say whether, where and how many (OTEL_TRACES_SAMPLER).
//
// Spans wait in a queue of 2,048 (OTEL_BSP_MAX_QUEUE_SIZE), and are dropped where it is full: a collector that is away costs
// neither memory nor a call.
//
// Compatibility: v0, the API may change until 1.0.
package oteltrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/isomer-iot/isomer/fleet/trace"
)

const (
	// scope names what makes the spans.
	scope = "github.com/isomer-iot/isomer/fleet"
	// stopPatience bounds the last export.
	stopPatience = 5 * time.Second
)

// Start makes a tracer that exports until stop, and once more then. It is nil unless OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, and where OTEL_SDK_DISABLED is true or OTEL_TRACES_EXPORTER is none; the exporter and
// the SDK heed the other variables of their specifications too. service and instance become service.name and service.instance.id.
func Start(ctx context.Context, service, instance, version string) (_ trace.Tracer, stop func() error, err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, func() error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("OpenTelemetry traces: %w", err)
	}
	// What the environment says of the resource comes last, and counts.
	res, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.instance.id", instance), attribute.String("service.version", version),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("OpenTelemetry traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	return New(provider), func() error {
		// Whoever stops has cancelled its own context by now.
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		// Shutdown alone exports as well, and keeps to itself what came of it.
		if err := errors.Join(provider.ForceFlush(ctx), provider.Shutdown(ctx)); err != nil {
			return fmt.Errorf("OpenTelemetry traces: %w", err)
		}
		return nil
	}, nil
}

// Tracer makes spans with a tracer of OpenTelemetry's.
type Tracer struct{ t oteltrace.Tracer }

var _ trace.Tracer = Tracer{}

// New makes spans with a tracer of p, of a program that has a provider already.
func New(p oteltrace.TracerProvider) Tracer { return Tracer{p.Tracer(scope)} }

// Start is for trace.Tracer.
func (t Tracer) Start(ctx context.Context, name string, kind trace.Kind, attrs ...slog.Attr) (context.Context, trace.Span) {
	ctx, s := t.t.Start(under(ctx), name, oteltrace.WithSpanKind(kinds[kind]), oteltrace.WithAttributes(attributes(attrs)...))
	return trace.With(ctx, written(ctx)), span{s}
}

// Past is for trace.Tracer.
func (t Tracer) Past(ctx context.Context, name string, from, to time.Time, err error, attrs ...slog.Attr) {
	_, s := t.t.Start(under(ctx), name, oteltrace.WithTimestamp(from), oteltrace.WithAttributes(attributes(attrs)...))
	failed(s, err)
	s.End(oteltrace.WithTimestamp(to))
}

var kinds = map[trace.Kind]oteltrace.SpanKind{
	trace.Internal: oteltrace.SpanKindInternal, trace.Server: oteltrace.SpanKindServer,
	trace.Client: oteltrace.SpanKindClient, trace.Consumer: oteltrace.SpanKindConsumer,
}

// under is ctx with the parent as OpenTelemetry looks for it. The traceparent counts: what ctx has of OpenTelemetry may be the span
// of another one who waits for the same work.
func under(ctx context.Context) context.Context {
	p, known := trace.Known(ctx)
	if !known || p == written(ctx) {
		return ctx
	}
	if p == "" {
		return oteltrace.ContextWithSpanContext(ctx, oteltrace.SpanContext{})
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{trace.Header: p})
}

// written is the traceparent of the span that OpenTelemetry finds in ctx; empty: none.
func written(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c[trace.Header]
}

type span struct{ s oteltrace.Span }

func (s span) Set(attrs ...slog.Attr) {
	if s.s.IsRecording() {
		s.s.SetAttributes(attributes(attrs)...)
	}
}

func (s span) End(err error) {
	failed(s.s, err)
	s.s.End()
}

func failed(s oteltrace.Span, err error) {
	if err != nil {
		s.RecordError(err)
		s.SetStatus(codes.Error, err.Error())
	}
}

func attributes(attrs []slog.Attr) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(attrs))
	for _, a := range attrs {
		switch v := a.Value.Resolve(); v.Kind() {
		case slog.KindInt64:
			out = append(out, attribute.Int64(a.Key, v.Int64()))
		case slog.KindFloat64:
			out = append(out, attribute.Float64(a.Key, v.Float64()))
		case slog.KindBool:
			out = append(out, attribute.Bool(a.Key, v.Bool()))
		default:
			out = append(out, attribute.String(a.Key, v.String()))
		}
	}
	return out
}
