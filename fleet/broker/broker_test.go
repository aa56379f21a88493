package broker_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/identity"
)

// patience bounds waits that end in milliseconds, on a machine that is busy with other things.
const patience = 60 * time.Second

// site is a hub and, where start was told to, an edge, on loopback with TLS.
type site struct {
	t         *testing.T
	authority *identity.Authority
	pool      *x509.CertPool
	hub, edge *broker.Broker
	hubConn   *nats.Conn
	edgeUser  identity.User
	account   string
	dir       string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	var err error
	if s.authority, err = identity.Open(s.dir + "/identity"); err != nil {
		t.Fatal(err)
	}
	s.account = s.authority.Account()
	s.pool.AppendCertsFromPEM([]byte(s.authority.CA()))
	s.hub = s.start(broker.Config{Name: "hub-1", Domain: fleet.Domain, Dir: s.dir + "/hub", Listen: broker.Listen{NATS: "127.0.0.1:0", Leaf: "127.0.0.1:0", MQTT: "127.0.0.1:0"}})
	u, err := s.authority.Hub("hub-1")
	if err != nil {
		t.Fatal(err)
	}
	if s.hubConn, err = s.hub.Connect(u.JWT, string(u.Seed)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.hubConn.Close)
	return s
}

func (s *site) start(c broker.Config) *broker.Broker {
	s.t.Helper()
	cert, err := s.authority.Server(c.Name, []string{"127.0.0.1", "localhost"})
	if err != nil {
		s.t.Fatal(err)
	}
	c.Certificate, c.CA = cert, s.pool
	c.Operator, c.SystemAccount, c.Account = s.authority.Operator(), s.authority.SystemAccount(), s.account
	b, err := broker.Start(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(b.Stop)
	return b
}

func (s *site) user(name string, layer fleet.Layer) identity.User {
	s.t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		s.t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	text, err := s.authority.Node(name, layer, pub)
	if err != nil {
		s.t.Fatal(err)
	}
	return identity.User{JWT: text, Seed: seed}
}

func (s *site) startEdge() {
	s.t.Helper()
	s.startEdgeVia(s.hub.LeafURL())
}

func (s *site) startEdgeVia(leaf string) {
	s.t.Helper()
	if s.edgeUser.JWT == "" {
		s.edgeUser = s.user("gw1", fleet.Edge)
	}
	s.edge = s.start(broker.Config{
		Name: "gw1", Domain: "gw1", Dir: s.dir + "/edge", Listen: broker.Listen{NATS: "127.0.0.1:0", MQTT: "127.0.0.1:0"},
		Remote: &broker.Remote{URLs: []string{leaf}, JWT: s.edgeUser.JWT, Seed: s.edgeUser.Seed, Deny: []string{"tele.>"}},
	})
	wait(s.t, "the leaf link", s.edge.Linked)
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

// connect connects over TLS as a node, and returns the place for its last refusal, which answered needs.
func (s *site) connect(b *broker.Broker, name string, u identity.User) (*nats.Conn, *error) {
	s.t.Helper()
	nc, err := nats.Connect(b.URL(), nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.Secure(), nats.RootCAs(s.caFile()),
		nats.CustomInboxPrefix("_INBOX_"+name), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.PermissionErrOnSubscribe(true), nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc, new(error)
}

func (s *site) caFile() string {
	file := s.dir + "/ca.pem"
	if err := os.WriteFile(file, []byte(s.authority.CA()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func TestADeviceMayDoWhatItShouldAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startEdge()
	for _, via := range []struct {
		name string
		b    *broker.Broker
	}{{"hub", s.hub}, {"edge", s.edge}} {
		nc, refused := s.connect(via.b, "dev1", s.user("dev1", fleet.Device))
		for _, c := range []struct {
			subject string
			allowed bool
		}{
			{"tele.dev1.state", true}, {"tele.dev1.dead.m.b", true}, {"tele.dev2.state", false},
			{"fetch.hub.module.abc", true}, {"fetch.gw1.trust.root_json", true},
			{"fetch.hub.desired.dev1", true}, {"fetch.hub.desired.dev2", false},
			{"sensors.dev1.frame", true}, {"sensors.dev2.frame", false},
			{"cfg.dev2", false}, {"cfg.dev1", false}, {"call.dev2.m.f", false}, {"enrol", false},
			{"$JS.API.STREAM.INFO.TELE", false}, {"$JS.hub.API.STREAM.INFO.TELE", false}, {"$JS.API.CONSUMER.CREATE.TELE", false},
			{"$KV.desired.dev1", false}, {"$SYS.REQ.SERVER.PING", false}, {"audit.done", false}, {"_INBOX_dev2.x", false},
		} {
			if err := nc.Publish(c.subject, nil); err != nil {
				t.Fatal(err)
			}
			got := answered(t, nc, refused)
			if (got == nil) != c.allowed {
				t.Errorf("through the %s: publishing %s: %v, allowed %v", via.name, c.subject, got, c.allowed)
			}
		}
		for _, c := range []struct {
			subject string
			allowed bool
		}{
			{"cfg.dev1", true}, {"cfg.dev2", false}, {"cfg.>", false}, {"cfg.*", false},
			{"call.dev1.m.f", true}, {"call.any.device.m.f", true}, {"call.any.edge.m.f", false}, {"call.>", false},
			{"_INBOX_dev1.x", true}, {"_INBOX.>", false}, {"_INBOX_dev2.>", false},
			{"tele.>", false}, {"tele.dev2.log", false}, {"fetch.>", false}, {">", false}, {"$SYS.>", false}, {"$KV.>", false}, {"audit.>", false},
			{"sensors.dev1.>", true}, {"sensors.>", false},
		} {
			sub, err := nc.SubscribeSync(c.subject)
			if err != nil {
				t.Fatal(err)
			}
			got := answered(t, nc, refused)
			if (got == nil) != c.allowed {
				t.Errorf("through the %s: subscribing %s: %v, allowed %v", via.name, c.subject, got, c.allowed)
			}
			_ = sub.Unsubscribe()
		}
	}
}

// answered waits until the server has seen everything, and returns its refusal if there was one: the connection has
// read it before the answer to the flush.
func answered(t *testing.T, nc *nats.Conn, last *error) error {
	t.Helper()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	err := nc.LastError()
	if err == *last {
		return nil
	}
	*last = err
	return err
}

// tele fills a stream at both ends as hub and edge do, and gives the hub's.
func (s *site) streams(ctx context.Context) jetstream.Stream {
	s.t.Helper()
	st, err := state.Open(ctx, s.hubConn, state.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	kp, _ := nkeys.FromSeed(s.edgeUser.Seed)
	pub, _ := kp.PublicKey()
	local, err := s.authority.Local("gw1", pub)
	if err != nil {
		s.t.Fatal(err)
	}
	// What lets the edge do everything at home opens nothing over the network.
	if _, err := nats.Connect(s.hub.URL(), nats.UserJWTAndSeed(local, string(s.edgeUser.Seed)), nats.Secure(), nats.RootCAs(s.caFile())); !errors.Is(err, nats.ErrAuthorization) {
		s.t.Errorf("an edge's local claims open the hub: %v", err)
	}
	nc, err := s.edge.Connect(local, string(s.edgeUser.Seed))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: fleet.TelemetryStream, Subjects: []string{"tele.>"}}); err != nil {
		s.t.Fatal(err)
	}
	if err := st.AddEdge(ctx, "gw1"); err != nil {
		s.t.Fatal(err)
	}
	str, err := st.JetStream().Stream(ctx, fleet.TelemetryStream)
	if err != nil {
		s.t.Fatal(err)
	}
	return str
}

func TestTelemetryOfAnEdgeArrivesOnceAndCompleteAfterAnOutage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSite(t)
	s.startEdge()
	hub := s.streams(ctx)
	dev, _ := s.connect(s.edge, "dev1", s.user("dev1", fleet.Device))
	say := func(from, to int) {
		for i := from; i < to; i++ {
			if err := dev.Publish("tele.dev1.metric", []byte(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := dev.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	held := func() uint64 {
		info, err := hub.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	say(0, 50)
	wait(t, "what was said with the link up", func() bool { return held() >= 50 })

	s.edge.Stop() // the edge starts again while nobody reads: its stream is on the disk
	s.startEdge()
	dev2, _ := s.connect(s.edge, "dev1", s.user("dev1", fleet.Device))
	dev = dev2
	say(50, 100)
	wait(t, "what was said after the outage", func() bool { return held() >= 100 })
	seen := map[string]bool{}
	for seq := uint64(1); seq <= 100; seq++ {
		m, err := hub.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(m.Data)] = true
	}
	if len(seen) != 100 || held() != 100 {
		t.Errorf("%d different messages, %d in all, want 100 of each", len(seen), held())
	}
}

func TestARevokedDeviceIsThrownOutEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startEdge()
	u := s.user("dev1", fleet.Device)
	other, _ := s.connect(s.edge, "dev2", s.user("dev2", fleet.Device))
	atHub, _ := s.connect(s.hub, "dev1", u)
	atEdge, _ := s.connect(s.edge, "dev1", u)
	kp, _ := nkeys.FromSeed(u.Seed)
	pub, _ := kp.PublicKey()
	claims, err := s.authority.Revoke(s.account, pub, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*broker.Broker{s.hub, s.edge} {
		if err := b.UpdateAccount(claims); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range []*nats.Conn{atHub, atEdge} {
		wait(t, "the end of a revoked connection", func() bool { return !nc.IsConnected() })
	}
	for _, b := range []*broker.Broker{s.hub, s.edge} {
		_, err := nats.Connect(b.URL(), nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.Secure(), nats.RootCAs(s.caFile()))
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("a revoked device comes back: %v", err)
		}
	}
	if !other.IsConnected() {
		t.Error("another device was thrown out too")
	}
	// Older claims do not undo it.
	if err := s.edge.UpdateAccount(s.account); err != nil {
		t.Error(err)
	}
	if _, err := nats.Connect(s.edge.URL(), nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.Secure(), nats.RootCAs(s.caFile())); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("older claims let a revoked device in: %v", err)
	}
}

func TestClaimsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stranger, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for what, claims := range map[string]string{"a stranger's": stranger.Account(), "damaged": s.account[:len(s.account)-9], "none": ""} {
		if err := s.hub.UpdateAccount(claims); err == nil {
			t.Errorf("%s claims are taken", what)
		}
	}
	kp, _ := nkeys.CreateUser()
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	forged, err := stranger.Node("dev1", fleet.Device, pub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(s.hub.URL(), nats.UserJWTAndSeed(forged, string(seed)), nats.Secure(), nats.RootCAs(s.caFile())); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a stranger's device comes in: %v", err)
	}
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	taken := strings.TrimPrefix(s.hub.URL(), "nats://")
	_, err := broker.Start(broker.Config{
		Name: "hub-2", Domain: "other", Dir: t.TempDir(), Insecure: true, Listen: broker.Listen{NATS: taken},
		Operator: s.authority.Operator(), SystemAccount: s.authority.SystemAccount(), Account: s.account,
	})
	if err == nil || !strings.Contains(err.Error(), taken[strings.LastIndex(taken, ":")+1:]) {
		t.Errorf("error %v", err)
	}
}
