package edge

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/nats-io/jwt/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
)

// self is the edge's own MQTT listener as Home Assistant's broker.
const self = "self"

// prepareHomeAssistant completes the settings with what the edge knows.
func (e *Edge) prepareHomeAssistant() error {
	h := &e.cfg.HomeAssistant
	h.Name, h.Conn, h.Log = e.name, e.nc, e.log
	h.CAs = []byte(e.cfg.Node.Identity.Enrolment.CA)
	h.Desired = func(ctx context.Context, node string) (fleet.Desired, error) {
		m, err := e.cache.desired(ctx, node)
		if err != nil {
			return fleet.Desired{}, err
		}
		return fleet.DecodeDesired(m.Data)
	}
	if h.Broker == self {
		if err := e.ownBroker(h); err != nil {
			return err
		}
	}
	return h.Check()
}

// ownBroker makes the edge a client of its own listener: what a client of NATS publishes there is never retained. The
// password is that of whom Home Assistant is in the fleet, and opens that one's subjects alone; so all topics are there.
func (e *Edge) ownBroker(h *homeassistant.Config) error {
	u, err := url.Parse(e.broker.MQTTURL())
	if err != nil || u.Host == "" {
		return fmt.Errorf("%w: this edge has no MQTT listener: start it with --mqtt :1883", homeassistant.ErrConfig)
	}
	claims, err := jwt.DecodeUserClaims(h.Password)
	if err != nil || fleet.CheckNode(claims.Name) != nil {
		return fmt.Errorf("%w: the password is none of isomer enroll --mqtt", homeassistant.ErrConfig)
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "mqtts"
	if e.cfg.Insecure {
		scheme = "mqtt"
	}
	h.Broker = (&url.URL{Scheme: scheme, User: url.User(claims.Name), Host: net.JoinHostPort(host, u.Port())}).String()
	h.ServerName = e.name
	if h.Prefix == "" {
		h.Prefix = "app/" + claims.Name + "/homeassistant"
	}
	return nil
}
