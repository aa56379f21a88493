package broker_test

import (
	"crypto/tls"
	"errors"
	"net/url"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
)

// session is a microcontroller's.
func (s *site) session(b *broker.Broker, password string) (mqtt.Client, error) {
	s.t.Helper()
	u, err := url.Parse(b.MQTTURL())
	if err != nil {
		s.t.Fatal(err)
	}
	o := mqtt.NewClientOptions().AddBroker("ssl://" + u.Host).SetClientID("mc").SetUsername("any").SetPassword(password).
		SetTLSConfig(&tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS12}).SetAutoReconnect(false).SetConnectTimeout(patience)
	c := mqtt.NewClient(o)
	return c, done(s.t, c.Connect())
}

func done(t *testing.T, token mqtt.Token) error {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatal("the server does not answer")
	}
	return token.Error()
}

func TestAMicrocontrollerSpeaksMQTTUnderItsOwnName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startEdge()

	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	password, err := s.authority.MQTT("mc1", pub, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	local := s.atEdge()
	for _, at := range []struct {
		name string
		b    *broker.Broker
		nc   *nats.Conn
	}{{"hub", s.hub, s.hubConn}, {"edge", s.edge, local}} {
		heard := make(chan *nats.Msg, 64)
		for _, subject := range []string{"tele.>", "sensors.>", "$JS.API.STREAM.DELETE.x"} {
			if _, err := at.nc.ChanSubscribe(subject, heard); err != nil {
				t.Fatal(err)
			}
		}
		if err := at.nc.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		c, err := s.session(at.b, password)
		if err != nil {
			t.Fatalf("at the %s: %v", at.name, err)
		}
		// What is forbidden is acknowledged and dropped, as MQTT 3.1.1 has no word for no.
		for _, topic := range []string{"tele/mc2/metric", "sensors/dev1/frame", "$JS/API/STREAM/DELETE/x", "tele/mc1/metric", "sensors/mc1/heat"} {
			if err := done(t, c.Publish(topic, 1, false, "21")); err != nil {
				t.Fatalf("at the %s: %s: %v", at.name, topic, err)
			}
		}
		for _, want := range []string{"tele.mc1.metric", "sensors.mc1.heat"} {
			select {
			case m := <-heard:
				if m.Subject != want {
					t.Errorf("at the %s: %s is heard, want %s", at.name, m.Subject, want)
				}
			case <-time.After(patience):
				t.Fatalf("at the %s: %s is not heard", at.name, want)
			}
		}
		told := make(chan mqtt.Message, 8)
		for topic, allowed := range map[string]bool{
			"cfg/mc1": true, "actuators/mc1/#": true, "cfg/mc2": false, "cfg/#": false, "#": false, "tele/#": false, "actuators/#": false, "$MQTT/sub/#": false, "$MQTT/#": false, "$JS/#": false,
		} {
			token := c.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) { told <- m })
			if err := done(t, token); err != nil {
				t.Fatalf("at the %s: subscribing %s: %v", at.name, topic, err)
			}
			const no = 0x80 // a SUBACK's word for it, which the client does not make an error
			if code := token.(*mqtt.SubscribeToken).Result()[topic]; (code != no) != allowed {
				t.Errorf("at the %s: subscribing %s: code %#x, allowed %v", at.name, topic, code, allowed)
			}
		}
		if err := at.nc.Publish("cfg.mc1", []byte("want")); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-told:
			if string(m.Payload()) != "want" {
				t.Errorf("at the %s: told %s", at.name, m.Payload())
			}
		case <-time.After(patience):
			t.Fatalf("at the %s: nothing is told", at.name)
		}
		c.Disconnect(100)
		// The password opens nothing else, and a node's claims are no password.
		if _, err := nats.Connect(at.b.URL(), nats.UserJWT(func() (string, error) { return password, nil }, func([]byte) ([]byte, error) { return nil, nil }),
			nats.Secure(), nats.RootCAs(s.caFile())); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("at the %s: a password opens NATS: %v", at.name, err)
		}
		if _, err := s.session(at.b, s.user("dev1", fleet.Device).JWT); err == nil {
			t.Errorf("at the %s: a node's claims, which are no secret, open MQTT", at.name)
		}
		expired, err := s.authority.MQTT("mc1", pub, time.Now().Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.session(at.b, expired); err == nil {
			t.Errorf("at the %s: an expired password opens MQTT", at.name)
		}
	}
	// A device cannot read what the server delivers to sessions of others.
	dev, refused := s.connect(s.hub, "dev1", s.user("dev1", fleet.Device))
	for _, subject := range []string{"$MQTT.sub.>", "$MQTT.>", "$MQTT.msgs.>"} {
		if _, err := dev.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if answered(t, dev, refused) == nil {
			t.Errorf("a device may subscribe %s", subject)
		}
	}
	// Revoked, it leaves and stays out.
	c, err := s.session(s.edge, password)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := s.authority.Revoke(s.account, pub, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.edge.UpdateAccount(claims); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of a revoked session", func() bool { return !c.IsConnected() })
	if _, err := s.session(s.edge, password); err == nil {
		t.Error("a revoked microcontroller comes back")
	}
}
