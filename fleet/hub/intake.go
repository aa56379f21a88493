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
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// Intake moves the reports of nodes from the telemetry to the bucket of nodes.
const (
	intakeBatch = 512                   // reports written at once
	intakeWait  = 50 * time.Millisecond // for a batch to fill: what a report is late by at most
	maxReport   = 256 << 10             // bytes; a larger one is dropped
)

// intake runs on the leading hub alone, so that an old report never overwrites a newer one. It returns when
// ctx ends or the stream is lost.
func intake(ctx context.Context, s *state.Store, no *refusals, m *counters, log *slog.Logger) error {
	c, err := s.JetStream().CreateOrUpdateConsumer(ctx, fleet.TelemetryStream, jetstream.ConsumerConfig{
		Durable: "intake", FilterSubject: fleet.TelemetrySubject("*", fleet.StateSubject),
		AckPolicy: jetstream.AckAllPolicy, MaxAckPending: 4 * intakeBatch,
	})
	if err != nil {
		return fmt.Errorf("intake: %w", err)
	}
	// An iterator and not one fetch after the other: what arrives when a fetch has just given up would be lost, since a later
	// acknowledgement covers it. With 4,000 reports at once some were.
	all, err := c.Messages(jetstream.PullMaxMessages(2 * intakeBatch))
	if err != nil {
		return fmt.Errorf("intake: %w", err)
	}
	defer all.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the reader below ends with this call, also where a write fails
	stop := context.AfterFunc(ctx, all.Stop)
	defer stop()
	arrived := make(chan jetstream.Msg)
	ended := make(chan error, 1)
	go func() {
		for {
			msg, err := all.Next()
			if err != nil {
				ended <- err
				return
			}
			select {
			case arrived <- msg:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case first := <-arrived:
			if err := takeIn(ctx, s, no, m, log, first, arrived); err != nil {
				return fmt.Errorf("intake: %w", err)
			}
		case err := <-ended:
			return errors.Join(ctx.Err(), fmt.Errorf("intake: %w", err))
		}
	}
}

// takeIn writes the reports that arrive with the first, of each node the newest.
func takeIn(ctx context.Context, s *state.Store, no *refusals, m *counters, log *slog.Logger, first jetstream.Msg, arrived <-chan jetstream.Msg) error {
	newest := map[string]fleet.Report{}
	last := first
	take := func(msg jetstream.Msg) {
		last = msg
		r, err := readReport(msg.Subject(), msg.Data())
		if err != nil {
			m.reports.WithLabelValues("dropped").Inc()
			log.Warn("report dropped", "subject", msg.Subject(), "error", err)
			node, _, _ := fleet.ParseTelemetry(msg.Subject())
			no.say(fleet.AuditEntry{Who: "node " + node, What: "report", Reason: err.Error()})
			return
		}
		m.reports.WithLabelValues("taken").Inc()
		newest[r.Node] = r
	}
	take(first)
	full := time.After(intakeWait)
	for waiting := true; waiting && len(newest) < intakeBatch; {
		select {
		case msg := <-arrived:
			take(msg)
		case <-full:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.Nodes.PutAll(ctx, newest); err != nil {
		return err
	}
	return last.Ack() // and with it all before
}

// readReport takes a report that a node published under its own name.
func readReport(subject string, data []byte) (fleet.Report, error) {
	if len(data) > maxReport {
		return fleet.Report{}, fmt.Errorf("%d bytes are more than %d", len(data), maxReport)
	}
	var r fleet.Report
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if node, _, _ := fleet.ParseTelemetry(subject); r.Node != node {
		return r, fmt.Errorf("it is about node %q", r.Node)
	}
	return r, nil
}
