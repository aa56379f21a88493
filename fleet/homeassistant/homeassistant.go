// Package homeassistant shows a fleet's nodes in Home Assistant, by its MQTT discovery
// (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery): each module of a node is an update entity with the
// version that serves and the one that is wanted, each value that a binding publishes a sensor. Use it beside an edge's
// broker; a device needs nothing for it.
//
// Nothing can be installed from there: what a node runs follows from signed releases and their rollouts, and a button
// that does not decide it would mislead. So update entities have no command topic.
//
// v0: anything may change until 1.0.
package homeassistant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// Config says whom to show, and where.
type Config struct {
	// Broker is the MQTT broker that Home Assistant uses: mqtt://host:1883 or mqtts://host:8883, with user:password@ or
	// without. An edge's own MQTT listener is one as well.
	Broker string
	// Password of the user in Broker, where it is not in there.
	Password string
	// CAs are those that sign the broker's certificate, beside the system's.
	CAs []byte // PEM
	// ServerName is the name in the broker's certificate. Empty: the host in Broker.
	ServerName string
	// Prefix is Home Assistant's discovery prefix. Empty: "homeassistant". States go to "isomer/…" beside it: with
	// "app/ha/homeassistant" to "app/ha/isomer/…".
	Prefix string
	// Name is the edge's, which is unique among those that share a broker.
	Name string
	// Conn hears the nodes: their reports, desired states and values.
	Conn *nats.Conn
	// Desired asks for what a node should run, which says what its bindings publish. nil: no sensors.
	Desired func(ctx context.Context, node string) (fleet.Desired, error)
	Log     *slog.Logger // nil: silent

	// Offline is how long a node may be silent before it counts as away. 0: three times fleet.ReportEvery.
	Offline time.Duration
	// Every is how often at most a sensor's value is shown. 0: 1 s.
	Every time.Duration
}

// ErrConfig is a setting that cannot be used.
var ErrConfig = errors.New("unusable setting for Home Assistant")

// Check says what is wrong with the settings.
func (c Config) Check() error {
	_, err := c.broker()
	if err != nil {
		return err
	}
	if strings.ContainsAny(c.Prefix, "+#$ .\x00") || c.Prefix != "" && c.Prefix != path.Clean(c.Prefix) || strings.HasPrefix(c.Prefix, "/") {
		return fmt.Errorf("%w: prefix %q is no topic", ErrConfig, c.Prefix)
	}
	return nil
}

// broker is the URL as the MQTT client wants it, without the password.
func (c Config) broker() (*url.URL, error) {
	u, err := url.Parse(c.Broker)
	if err != nil {
		return nil, fmt.Errorf("%w: the broker's URL cannot be read", ErrConfig) // it may hold the password
	}
	out := &url.URL{Host: u.Host, User: u.User}
	port := ""
	switch u.Scheme {
	case "mqtt", "tcp":
		out.Scheme, port = "tcp", "1883"
	case "mqtts", "ssl", "tls":
		out.Scheme, port = "ssl", "8883"
	default:
		return nil, fmt.Errorf("%w: the broker is mqtt://host:1883 or mqtts://host:8883, not %q", ErrConfig, u.Redacted())
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%w: the broker is a host and a port, not %q", ErrConfig, u.Redacted())
	}
	if u.Port() == "" {
		out.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return out, nil
}

func (c Config) prefix() string {
	if c.Prefix == "" {
		return "homeassistant"
	}
	return c.Prefix
}

// base is where states go.
func (c Config) base() string { return path.Join(path.Dir(c.prefix()), "isomer") }

const (
	atLeastOnce = 1
	patience    = 10 * time.Second
	retry       = 5 * time.Second // until the first connection; then pauses grow from 1 s to 1 min
	// waiting bounds reports and values that wait to be shown; more are dropped, and come again.
	waiting = 1024
	online  = "online"
	away    = "offline"
)

// connectPatience is how long a broker may take to let somebody in; tests have less.
var connectPatience = patience

// Run shows nodes until ctx ends. It returns an error where the settings are wrong; a broker that is away is waited for.
func Run(ctx context.Context, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Offline == 0 {
		c.Offline = 3 * fleet.ReportEvery
	}
	if c.Every == 0 {
		c.Every = time.Second
	}
	wake := make(chan bool, 1) // the broker is reached, or Home Assistant has started
	client, err := c.client(wake)
	if err != nil {
		return err
	}
	messages := make(chan *nats.Msg, waiting)
	var subs []*nats.Subscription
	defer func() {
		for _, s := range subs {
			_ = s.Unsubscribe()
		}
	}()
	for _, subject := range []string{fleet.TelemetrySubject("*", fleet.StateSubject), fleet.DesiredSubject("*")} {
		s, err := c.Conn.ChanSubscribe(subject, messages)
		if err != nil {
			return fmt.Errorf("home assistant: %w", err)
		}
		subs = append(subs, s)
	}
	b := newBoard(c, client, messages)
	defer b.close()
	client.Connect() // again and again, until the first success too
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		select {
		case m := <-messages:
			b.hear(ctx, m, time.Now())
		case <-wake:
			b.again()
		case now := <-tick.C:
			b.tick(now)
		case <-ctx.Done():
			b.leave()
			return nil
		}
	}
}

// client makes the MQTT client. wake is told when it is connected, and when Home Assistant says that it started.
func (c Config) client(wake chan bool) (mqtt.Client, error) {
	u, err := c.broker()
	if err != nil {
		return nil, err
	}
	ring := func() {
		select {
		case wake <- true:
		default:
		}
	}
	o := mqtt.NewClientOptions().SetClientID("isomer-"+c.Name).SetCleanSession(true).SetProtocolVersion(4).
		SetConnectRetry(true).SetConnectRetryInterval(retry).SetMaxReconnectInterval(time.Minute).
		SetConnectTimeout(connectPatience).SetWriteTimeout(patience).SetOrderMatters(false).
		SetWill(c.base()+"/"+c.Name+"/bridge", away, atLeastOnce, true)
	if u.User != nil {
		password, given := u.User.Password()
		if !given {
			password = c.Password
		}
		o.SetUsername(u.User.Username()).SetPassword(password)
		u.User = nil
	}
	o.AddBroker(u.String())
	if u.Scheme == "ssl" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a device without roots
		}
		pool.AppendCertsFromPEM(c.CAs)
		o.SetTLSConfig(&tls.Config{RootCAs: pool, ServerName: c.ServerName, MinVersion: tls.VersionTLS12})
	}
	o.SetOnConnectHandler(func(client mqtt.Client) {
		c.Log.Info("Home Assistant's broker is reached", "broker", u.Host)
		client.Subscribe(c.prefix()+"/status", atLeastOnce, func(_ mqtt.Client, m mqtt.Message) {
			if string(m.Payload()) == online && !m.Retained() {
				ring()
			}
		})
		ring()
	})
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.Log.Warn("Home Assistant's broker is lost", "error", err) })
	return mqtt.NewClient(o), nil
}
