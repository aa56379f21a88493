package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/api"
)

// reach is the hub's way to nodes.
type reach struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// Call asks a subject and waits for the answer as long as ctx lasts.
func (r reach) Call(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error) {
	msg, err := r.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, nil, fmt.Errorf("%s: %w", subject, api.ErrNoNode)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, nil, fmt.Errorf("%w: %s: %d bytes are more than a message holds", api.ErrTooLarge, subject, len(body))
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", subject, err)
	}
	if why := msg.Header.Get(micro.ErrorHeader); why != "" {
		msg.Header.Set(fleet.ErrorHeader, why)
	}
	return msg.Header, msg.Data, nil
}

// Subscribe follows telemetry from now on. It reads the hub's stream, since what nodes behind an edge publish arrives there alone.
func (r reach) Subscribe(ctx context.Context, subject string, deliver func(subject string, data []byte)) error {
	c, err := r.js.OrderedConsumer(ctx, fleet.TelemetryStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return fmt.Errorf("telemetry %s: %w", subject, err)
	}
	reading, err := c.Consume(func(msg jetstream.Msg) { deliver(msg.Subject(), msg.Data()) })
	if err != nil {
		return fmt.Errorf("telemetry %s: %w", subject, err)
	}
	context.AfterFunc(ctx, reading.Stop)
	return nil
}
