package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// mqttStreams are where the server keeps what MQTT promises: retained messages, sessions, and messages for sessions that are
// away. It makes them at the first MQTT connection, without a limit, so that one microcontroller could fill the disk that the
// state of the fleet is on; the oldest go where there is too much. One value for each topic and session stays as it is.
var mqttStreams = map[string]struct {
	bytes int64
	msgs  int64
	age   time.Duration
}{
	"$MQTT_msgs":   {bytes: 256 << 20, msgs: -1, age: 7 * 24 * time.Hour}, // as long as telemetry waits on an edge
	"$MQTT_rmsgs":  {bytes: 64 << 20, msgs: 100_000},
	"$MQTT_sess":   {bytes: 64 << 20, msgs: 100_000},
	"$MQTT_qos2in": {bytes: 64 << 20, msgs: -1, age: 24 * time.Hour},
	"$MQTT_out":    {bytes: 64 << 20, msgs: -1, age: 24 * time.Hour},
}

// lookForMQTT is how often is looked whether somebody has used MQTT for the first time.
const lookForMQTT = 2 * time.Second

// BoundMQTT limits what MQTT clients can have the server keep. nc is a connection with rights to JetStream. It returns when
// each stream has its limits, at once where there is no MQTT listener, and when ctx ends.
func (b *Broker) BoundMQTT(ctx context.Context, nc *nats.Conn, log *slog.Logger) {
	if b.MQTTURL() == "" {
		return
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Error("limits of MQTT", "error", err)
		return
	}
	for {
		left, err := boundMQTT(ctx, js)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("limits of MQTT", "error", err)
		case left == 0:
			return
		}
		select {
		case <-time.After(lookForMQTT):
		case <-ctx.Done():
			return
		}
	}
}

// boundMQTT returns how many streams are not there yet.
func boundMQTT(ctx context.Context, js jetstream.JetStream) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for name, most := range mqttStreams {
		s, e := js.Stream(ctx, name)
		if errors.Is(e, jetstream.ErrStreamNotFound) {
			left++
			continue
		}
		if e != nil {
			left, err = left+1, errors.Join(err, fmt.Errorf("%s: %w", name, e))
			continue
		}
		c := s.CachedInfo().Config
		if c.MaxBytes == most.bytes && c.MaxMsgs == most.msgs && c.MaxAge == most.age {
			continue
		}
		c.MaxBytes, c.MaxMsgs, c.MaxAge = most.bytes, most.msgs, most.age
		if !c.DiscardNewPerSubject { // which is how a message of QoS 2 is taken once
			c.Discard = jetstream.DiscardOld
		}
		c.Duplicates = min(c.Duplicates, max(most.age, 2*time.Minute))
		if _, e := js.UpdateStream(ctx, c); e != nil {
			left, err = left+1, errors.Join(err, fmt.Errorf("%s: %w", name, e))
		}
	}
	return left, err
}

// MQTTStreams are the names of the streams that BoundMQTT limits, in order.
func MQTTStreams() []string {
	var out []string
	for name := range mqttStreams {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
