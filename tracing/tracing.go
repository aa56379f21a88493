// Package tracing makes an OpenTelemetry span of each call of a module.
//
// Use tracing to follow one request through modules and the services around them; never to count or
// time calls in general (package metrics does that for a hundredth of the cost).
//
//	m, err := isomer.Open(ctx, "digits.wasm", isomer.WithObserver(tracing.New(provider)))
//
// The span is a child of the span in the context of the call, and host functions that the module calls
// run under it. It is named after the function and has these attributes:
//
//	isomer.module, isomer.version, isomer.digest, isomer.generation   what served the call
//	isomer.function, isomer.convention                                what was called
//	isomer.input.bytes, isomer.output.bytes
//	isomer.wait.seconds                                               for an instance
//	isomer.outcome                                                    an isomer.Outcome: ok, app, trap, limit, …
//
// A call that fails gives the span its error and the status Error. An application error gives the error
// too: to whom the call belongs it is a failure.
//
// Compatibility: v0, the API may change until 1.0.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/isomer-iot/isomer"
)

// scope names what makes the spans.
const scope = "github.com/isomer-iot/isomer/tracing"

// Observer makes the spans: give it to isomer.WithObserver. One serves any number of modules.
type Observer struct{ tracer trace.Tracer }

var _ isomer.Observer = (*Observer)(nil)

// New makes spans with a tracer of p; nil: of the global provider.
func New(p trace.TracerProvider) *Observer {
	if p == nil {
		p = otel.GetTracerProvider()
	}
	return &Observer{tracer: p.Tracer(scope)}
}

// CallBegan is for isomer.Observer.
func (o *Observer) CallBegan(ctx context.Context, c isomer.CallInfo) context.Context {
	ctx, _ = o.tracer.Start(ctx, c.Function, trace.WithSpanKind(trace.SpanKindInternal))
	return ctx
}

// CallEnded is for isomer.Observer.
func (o *Observer) CallEnded(ctx context.Context, c isomer.CallInfo) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("isomer.module", c.Module),
			attribute.String("isomer.version", c.Version),
			attribute.String("isomer.digest", c.Digest),
			attribute.Int64("isomer.generation", int64(c.Generation)),
			attribute.String("isomer.function", c.Function),
			attribute.String("isomer.convention", string(c.Convention)),
			attribute.Int("isomer.input.bytes", c.Input),
			attribute.Int("isomer.output.bytes", c.Output),
			attribute.Float64("isomer.wait.seconds", c.Waited.Seconds()),
			attribute.String("isomer.outcome", string(isomer.OutcomeOf(c.Err))),
		)
		if c.Err != nil {
			span.RecordError(c.Err)
			span.SetStatus(codes.Error, c.Err.Error())
		}
	}
	span.End()
}
