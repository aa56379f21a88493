package sensors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Broker is where lines go by MQTT.
type Broker struct {
	URL      string // tcp://host:1883
	ClientID string
	Topic    string
	Log      *slog.Logger
}

const (
	connectPatience = 10 * time.Second
	firstPause      = 200 * time.Millisecond // between attempts, twice as long each time
	longestPause    = 15 * time.Second
	// window is how many messages are on their way: one at a time would be 20 a second over a slow link.
	window = 32
	// atLeastOnce is the quality of service: a message may arrive twice after a break, and does not get lost.
	atLeastOnce = 1
)

// Check finds what is wrong with the settings before anything is sent.
func (b Broker) Check() error {
	u, err := url.Parse(b.URL)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	switch u.Scheme {
	case "tcp", "mqtt", "tls", "ssl", "mqtts", "ws", "wss":
	default:
		return fmt.Errorf("broker %q: want tcp://host:1883 or ssl://host:8883", b.URL)
	}
	if u.Host == "" {
		return fmt.Errorf("broker %q: no host", b.URL)
	}
	return nil
}

// Send sends the lines of o until ctx ends, over as many connections as it takes. A line leaves o when the
// broker has confirmed it. After ctx it goes on for up to flush, until o is empty.
func (b Broker) Send(ctx context.Context, o *Outbox, flush time.Duration) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-ctx.Done():
		case <-last.Done():
			return
		}
		select {
		case <-time.After(flush):
			cancel()
		case <-last.Done():
		}
	}()
	pause, reported := firstPause, uint64(0)
	for ctx.Err() == nil || (o.Waiting() > 0 && last.Err() == nil) {
		connected, err := b.session(ctx, last, o)
		if err == nil {
			continue
		}
		if connected {
			pause = firstPause
		}
		b.Log.Warn("broker away", "broker", b.URL, "error", err, "waiting", o.Waiting(), "again in", pause)
		if n := o.Dropped(); n > reported {
			b.Log.Warn("lines dropped, the oldest first", "dropped", n-reported, "total", n)
			reported = n
		}
		select {
		case <-time.After(pause):
		case <-last.Done():
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// session is one connection, until it breaks, or ctx ends and o is empty, or last ends.
func (b Broker) session(ctx, last context.Context, o *Outbox) (connected bool, err error) {
	lost := make(chan error, 1)
	opts := mqtt.NewClientOptions().AddBroker(b.URL).SetClientID(b.ClientID).
		SetConnectTimeout(connectPatience).SetWriteTimeout(connectPatience).SetOrderMatters(false).
		// Reconnecting is done here, where it is known what the broker has not confirmed.
		SetAutoReconnect(false).SetConnectRetry(false).SetCleanSession(true).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	client := mqtt.NewClient(opts)
	defer client.Disconnect(100)
	token := client.Connect()
	select {
	case <-token.Done():
	case <-last.Done():
		return false, last.Err()
	}
	if err := token.Error(); err != nil {
		return false, err
	}
	b.Log.Info("broker reached", "broker", b.URL, "waiting", o.Waiting())
	for {
		lines := o.Take(window)
		if len(lines) == 0 {
			select {
			case <-o.Ready():
				continue
			case err := <-lost:
				return true, err
			case <-ctx.Done():
				if o.Waiting() == 0 {
					return true, nil
				}
				continue
			}
		}
		n, err := b.publish(last, client, lines, lost)
		o.Done(n, len(lines))
		if err != nil {
			return true, err
		}
	}
}

// publish sends lines and returns how many of the first the broker has confirmed.
func (b Broker) publish(ctx context.Context, client mqtt.Client, lines [][]byte, lost <-chan error) (int, error) {
	tokens := make([]mqtt.Token, len(lines))
	for k, line := range lines {
		tokens[k] = client.Publish(b.Topic, atLeastOnce, false, line)
	}
	for k, token := range tokens {
		select {
		case <-token.Done():
			if err := token.Error(); err != nil {
				return k, err
			}
		case err := <-lost:
			return k, errors.Join(errors.New("connection lost"), err)
		case <-ctx.Done():
			return k, ctx.Err()
		}
	}
	return len(tokens), nil
}
