package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// refusals writes into the audit log what was refused elsewhere than at the API: by the broker, at the intake of
// reports, by nodes and edges. Each of these can be brought about at will, so that a quota keeps the log's disk from
// whoever tries.
type refusals struct {
	log   *slog.Logger
	quota *fleet.Quota
	said  chan fleet.AuditEntry
}

// In a minute a source has so many entries for a kind of refusal, and all together have so many: 25 MB a day at most.
const (
	refusalsEach = 20
	refusalsAll  = 60
)

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, quota: fleet.NewQuota(refusalsEach, refusalsAll, nil), said: make(chan fleet.AuditEntry, refusalsAll)}
}

// say never blocks: who refuses has other things to do.
func (r *refusals) say(e fleet.AuditEntry) {
	e, ok := r.bound(e)
	if !ok {
		return
	}
	select {
	case r.said <- e:
	default:
		r.log.Warn("refused, and not in the audit log", "entry", e)
	}
}

// bound takes an entry's place in the quota, and tells in it of those that found none.
func (r *refusals) bound(e fleet.AuditEntry) (fleet.AuditEntry, bool) {
	missed, ok := r.quota.Take(e.Who + " " + e.What)
	if missed > 0 {
		e.Reason += fmt.Sprintf(" (and %d more refusals that were not recorded)", missed)
	}
	e.At, e.Result = time.Now().UTC(), "refused"
	if len(e.Reason) > 1024 {
		e.Reason = e.Reason[:1024]
	}
	return e, ok
}

// write writes what is said until ctx ends.
func (r *refusals) write(ctx context.Context, s *state.Store) error {
	for {
		select {
		case e := <-r.said:
			if err := s.Audit(ctx, e); err != nil && ctx.Err() == nil {
				r.log.Error("audit log", "entry", e, "error", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// broker tells of what the hub's own server refused.
func (r *refusals) broker(b broker.Refusal) {
	e := fleet.AuditEntry{Who: "nobody", From: b.From, What: "broker", Reason: b.What}
	if b.Node != "" {
		e.Who = "node " + b.Node
	}
	r.say(e)
}

// follow writes what nodes and edges tell that they refused. It runs on the leading hub; an entry that was written by
// one that died meanwhile is not written again.
func (r *refusals) follow(ctx context.Context, s *state.Store) error {
	c, err := s.JetStream().CreateOrUpdateConsumer(ctx, fleet.TelemetryStream, jetstream.ConsumerConfig{
		Durable: "refusals", FilterSubject: fleet.TelemetrySubject("*", fleet.EventSubject), AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	all, err := c.Messages()
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	defer all.Stop()
	defer context.AfterFunc(ctx, all.Stop)()
	for {
		msg, err := all.Next()
		if err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("refusals: %w", err))
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("refusals: %w", err)
		}
		if e, ok := refused(msg.Subject(), msg.Data()); ok {
			if e, ok = r.bound(e); ok {
				if _, err := s.AuditOnce(ctx, fmt.Sprintf("tele%d", meta.Sequence.Stream), e); err != nil {
					return fmt.Errorf("refusals: %w", err)
				}
			}
		}
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("refusals: %w", err)
		}
	}
}

// refused is the audit log's entry for a node's event, where it is one of something refused.
func refused(subject string, data []byte) (fleet.AuditEntry, bool) {
	var ev fleet.NodeEvent
	node, _, _ := fleet.ParseTelemetry(subject)
	if len(data) > maxReport || json.Unmarshal(data, &ev) != nil || ev.Node != node {
		return fleet.AuditEntry{}, false
	}
	e := fleet.AuditEntry{Who: "node " + node, On: ev.Release.String(), Reason: ev.Reason}
	switch ev.Kind {
	case "refused", "reverted":
		e.What = ev.Kind
	case fleet.Denied:
		e.What, e.On = ev.Module, ""
	default:
		return e, false
	}
	if len(e.What) > 64 {
		e.What = e.What[:64]
	}
	return e, true
}
