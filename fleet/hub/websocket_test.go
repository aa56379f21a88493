package hub_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

// secured trusts the fleet's CA alone.
func secured(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		t.Fatal("no CA")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// A browser has the page's own host and port and no other way in: its node joins and works there as any device does.
func TestABrowserComesInByTheHubsOwnPort(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	tok := r.Token("phone", fleet.Mobile, nil)
	kp, _ := nkeys.CreateUser()
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	stranger, err := client.New(client.Config{URL: tok.Hubs[0], CA: tok.CA})
	if err != nil {
		t.Fatal(err)
	}
	e, err := stranger.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: pub, Root: tok.Root})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("wss://"+r.Hub.Address(), append([]nats.Option{
			nats.ProxyPath(fleet.WebSocketPath), nats.Secure(secured(t, e.CA)), nats.CustomInboxPrefix(fleet.Inbox("phone")),
		}, opts...)...)
	}
	gone, denied := make(chan struct{}), make(chan error, 8)
	nc, err := connect(nats.UserJWTAndSeed(e.JWT, string(seed)), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	// What it may: everything of a device's.
	told := make(chan *nats.Msg, 8)
	if _, err := nc.ChanSubscribe(fleet.DesiredSubject("phone"), told); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fleet.LogsSubject("phone"), "call.phone.>", "call.any.mobile.>", "sensors.phone.frame"} {
		if _, err := nc.SubscribeSync(s); err != nil {
			t.Fatal(err)
		}
	}
	msg, err := nc.Request(fleet.FetchSubject("hub", "trust", fleet.TrustKey("timestamp.json")), nil, hubtest.Patience)
	if err != nil || msg.Header.Get(fleet.ErrorHeader) != "" || len(msg.Data) == 0 {
		t.Fatalf("the timestamp: %v %v", msg, err)
	}
	bin := module(t, "digits")
	r.Publish("digits@1", bin)
	r.Deploy("digits@1", "layer=mobile", fleet.Plan{})
	for modules := 0; modules == 0; { // the first says that there is nothing yet
		d, err := fleet.DecodeDesired((<-told).Data)
		if err != nil {
			t.Fatal(err)
		}
		modules = len(d.Modules)
	}
	chunk := fleet.ChunkRequest{Length: fleet.MaxChunk}
	if msg, err = nc.Request(fleet.FetchSubject("hub", "module", hubtest.Digest(bin)), chunk.Encode(), hubtest.Patience); err != nil || string(msg.Data) != string(bin) {
		t.Fatalf("the module: %v %v", msg, err)
	}
	select {
	case err := <-denied:
		t.Fatal(err)
	default:
	}
	// What it may not.
	if err := nc.Publish(fleet.DesiredSubject("dev1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := <-denied; !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
		t.Errorf("it tells others what to run: %v", err)
	}
	// Without its key it is nobody; revoked, it is thrown out.
	other, _ := nkeys.CreateUser()
	otherSeed, _ := other.Seed()
	if c, err := connect(nats.UserJWTAndSeed(e.JWT, string(otherSeed))); err == nil {
		c.Close()
		t.Error("another key came in with its claims")
	}
	if err := r.Admin.Revoke(r.Ctx, "phone"); err != nil {
		t.Fatal(err)
	}
	<-gone
	if c, err := connect(nats.UserJWTAndSeed(e.JWT, string(seed))); err == nil {
		c.Close()
		t.Error("revoked, it came in again")
	}
	awaitAudit(t, r, "the refusal of another's subject", func(e fleet.AuditEntry) bool {
		return e.What == "broker" && e.Who == "node phone" && e.From == "127.0.0.1" && strings.Contains(e.Reason, "cfg.dev1")
	})
}

func awaitAudit(t *testing.T, r *hubtest.Rig, what string, fits func(fleet.AuditEntry) bool) {
	t.Helper()
	hubtest.Wait(t, what+" in the audit log", func() bool {
		list, err := r.Admin.Audit(r.Ctx, time.Time{}, 200)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if fits(e) {
				return true
			}
		}
		return false
	})
}

func TestPagesOfOtherOriginsStayOutOfNATS(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	ca := join(r, "dev1", fleet.Device).enrolled.CA
	ask := func(header ...string) (int, string) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: secured(t, ca), DisableKeepAlives: true}}
		q, _ := http.NewRequestWithContext(r.Ctx, "GET", "https://"+r.Hub.Address()+fleet.WebSocketPath, nil)
		for i := 0; i < len(header); i += 2 {
			q.Header.Add(header[i], header[i+1])
		}
		a, err := c.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if a.StatusCode == http.StatusSwitchingProtocols {
			return a.StatusCode, ""
		}
		b, _ := io.ReadAll(a.Body)
		return a.StatusCode, string(b)
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	for _, c := range []struct {
		what   string
		header []string
		want   int
	}{
		{"no upgrade", nil, http.StatusUpgradeRequired},
		{"a program", upgrade, http.StatusSwitchingProtocols},
		{"the hub's own page", append([]string{"Origin", "https://" + r.Hub.Address()}, upgrade...), http.StatusSwitchingProtocols},
		{"another host", append([]string{"Origin", "https://evil.example"}, upgrade...), http.StatusForbidden},
		{"another port", append([]string{"Origin", "https://127.0.0.1:1"}, upgrade...), http.StatusForbidden},
		{"a file or sandbox", append([]string{"Origin", "null"}, upgrade...), http.StatusForbidden},
		{"two origins", append([]string{"Origin", "https://" + r.Hub.Address(), "Origin", "https://evil.example"}, upgrade...), http.StatusForbidden},
	} {
		if got, body := ask(c.header...); got != c.want {
			t.Errorf("%s: status %d, want %d: %s", c.what, got, c.want, body)
		}
	}
	awaitAudit(t, r, "a page of another origin", func(e fleet.AuditEntry) bool {
		return e.What == "websocket" && e.From == "127.0.0.1" && strings.Contains(e.Reason, "evil.example")
	})
}

// With --websocket the broker's own listener has TLS; the API's way leads there.
func TestTheAPIsWayLeadsToTheBrokersOwnListener(t *testing.T) {
	t.Parallel()
	h, err := hub.Start(t.Context(), hub.Config{
		Dir: t.TempDir(), API: "127.0.0.1:0", Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0", Leaf: "127.0.0.1:0", WebSocket: "0.0.0.0:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Stop)
	if !strings.HasPrefix(h.Broker().WebSocketURL(), "wss:") {
		t.Fatalf("the listener is %s", h.Broker().WebSocketURL())
	}
	_, err = nats.Connect("wss://"+h.Address(), nats.ProxyPath(fleet.WebSocketPath), nats.Secure(&tls.Config{InsecureSkipVerify: true}))
	if !errors.Is(err, nats.ErrAuthorization) { // the broker's own word
		t.Errorf("error %v", err)
	}
}
