package node

import (
	"context"
	"log/slog"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// update brings a release, tries it and changes to it.
func (k *keeper) update(ctx context.Context, want *fleet.DesiredModule) (err error) {
	ctx, span := k.span(ctx, "update", want)
	defer func() { span.End(err) }()
	for _, step := range []struct {
		name string
		do   func(context.Context, *fleet.DesiredModule) error
	}{{"fetch", k.fetch}, {"gate", k.check}, {"swap", k.change}} {
		ctx, span := k.span(ctx, step.name, want)
		err = step.do(ctx, want)
		span.End(err)
		if err != nil {
			return err
		}
	}
	return nil
}

// span begins a span of what is done for a desired module, in the trace of its deployment unless ctx has one already.
func (k *keeper) span(ctx context.Context, name string, m *fleet.DesiredModule) (context.Context, trace.Span) {
	if trace.Parent(ctx) == "" {
		ctx = trace.With(ctx, m.Trace)
	}
	return k.a.cfg.Trace.Start(ctx, name, trace.Internal, slog.String("isomer.node", k.a.node), slog.String("isomer.release", m.Release.String()),
		slog.String("isomer.digest", m.Digest), slog.String("isomer.deployment", m.Deployment))
}

func (k *keeper) check(ctx context.Context, want *fleet.DesiredModule) error {
	k.set(fleet.Checking, "")
	return k.gate(ctx, want)
}
