package broker_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
)

// atEdge connects to the edge's broker within its process, with all rights there: what whoever broke into the edge has.
func (s *site) atEdge() *nats.Conn {
	s.t.Helper()
	kp, err := nkeys.FromSeed(s.edgeUser.Seed)
	if err != nil {
		s.t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	local, err := s.authority.Local("gw1", pub)
	if err != nil {
		s.t.Fatal(err)
	}
	nc, err := s.edge.Connect(local, string(s.edgeUser.Seed))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// answer serves a subject, and fails the test's setup where it cannot.
func (s *site) answer(nc *nats.Conn, subject string) {
	s.t.Helper()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(subject)) }); err != nil {
		s.t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		s.t.Fatal(err)
	}
}

// asks repeats a request until it is answered: interest crosses the link a moment after it is there.
func (s *site) asks(nc *nats.Conn, subject string) {
	s.t.Helper()
	wait(s.t, "the answer to "+subject, func() bool {
		_, err := nc.Request(subject, nil, patience/20)
		return err == nil
	})
}

func TestWhatCrossesTheLinkOfAnEdge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startEdge()
	edge := s.atEdge()
	dev, _ := s.connect(s.edge, "dev1", s.user("dev1", fleet.Device))
	// An edge, and the hub through it, reach what they should.
	for _, subject := range []string{
		fleet.FetchSubject("hub", "desired", "*"), fleet.FetchSubject("hub", "module", "*"), fleet.FetchSubject("hub", "account", "*"), fleet.EnrolSubject,
	} {
		s.answer(s.hubConn, subject)
	}
	s.asks(edge, fleet.FetchSubject("hub", "desired", "dev1"))
	s.asks(edge, fleet.FetchSubject("hub", "module", "d"))
	s.asks(edge, fleet.FetchSubject("hub", "account", "fleet"))
	s.asks(edge, fleet.EnrolSubject)
	s.answer(dev, fleet.CallSubject("dev1", "m", "f"))
	s.answer(dev, fleet.AnyCallSubject(fleet.Device, "m", "f"))
	u, err := s.authority.Hub("hub-1")
	if err != nil {
		t.Fatal(err)
	}
	calls, err := s.hub.Connect(u.JWT, string(u.Seed), nats.CustomInboxPrefix(fleet.CallInbox+".1"))
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Close()
	s.asks(calls, fleet.CallSubject("dev1", "m", "f"))
	s.asks(calls, fleet.AnyCallSubject(fleet.Device, "m", "f"))
	s.asks(edge, fleet.CallSubject("dev1", "m", "f"))
	told := make(chan *nats.Msg, 1)
	if _, err := dev.ChanSubscribe("cfg.dev1", told); err != nil {
		t.Fatal(err)
	}
	if err := dev.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	wait(t, "what the hub tells a device", func() bool {
		if err := s.hubConn.Publish("cfg.dev1", nil); err != nil {
			t.Fatal(err)
		}
		return len(told) > 0
	})
}

func TestABrokenEdgeGetsNothingOfTheHubsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.startEdge()
	edge := s.atEdge()
	heard, err := edge.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	other, _ := s.connect(s.hub, "dev9", s.user("dev9", fleet.Device))
	s.answer(s.hubConn, fleet.FetchSubject("hub", "desired", "*"))
	secret := []string{
		"$JS.API.STREAM.MSG.GET.KV_access", "$JS.API.INFO", "$JS.hub.API.INFO", "$KV.access.x", "$KV.members.x", "$O.modules.x", "audit.done", "tele.dev9.state",
		"_HUB_x.y", "_INBOX.x", "_INBOX_dev9.x", "$SYS.x", "$JS.ACK.TELE.x", "sensors.dev9.frame", fleet.EnrolSubject, fleet.FetchSubject("hub", "desired", "dev9"),
	}
	for _, subject := range secret {
		if err := s.hubConn.Publish(subject, []byte("secret")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Request(fleet.FetchSubject("hub", "desired", "dev9"), nil, patience); err != nil {
		t.Fatal(err)
	}
	// And in the other direction.
	forged := make(chan *nats.Msg, 64)
	for _, subject := range []string{"cfg.dev9", fleet.AccountSubject(), "$KV.>", "$O.>", "_HUB_x.>", "_INBOX.>", "tele.>", "audit.>", "call.dev9.>", "_INBOX_dev9.>", "$SYS.>", "sensors.dev9.>"} {
		if _, err := s.hubConn.ChanSubscribe(subject, forged); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.hubConn.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	s.answer(s.hubConn, fleet.FetchSubject("hub", "account", "*"))
	s.asks(edge, fleet.FetchSubject("hub", "account", "fleet")) // both directions of the link work now
	for len(forged) > 0 {
		<-forged
	}
	for _, subject := range []string{
		"cfg.dev9", fleet.AccountSubject(), "$KV.members.dev9", "$KV.account.fleet", "$KV.access.x", "$O.modules.x", "_HUB_x.y", "_INBOX.x", "_INBOX_dev9.x", "tele.dev9.state", "audit.done",
		"call.dev9.m.f", "$SYS.REQ.SERVER.PING", "sensors.dev9.frame", "$JS.hub.API.STREAM.DELETE.KV_members", "$JS.hub.API.INFO",
	} {
		if err := edge.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	s.asks(edge, fleet.FetchSubject("hub", "account", "fleet"))
	if err := s.hubConn.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for len(forged) > 0 {
		m := <-forged
		if string(m.Data) == "forged" {
			t.Errorf("a broken edge says %s at the hub", m.Subject)
		}
	}
	for {
		n, _, err := heard.Pending()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		m, err := heard.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "secret" {
			t.Errorf("a broken edge hears %s of the hub", m.Subject)
		}
	}
	// The same claims as a plain client's: whoever has the edge's key need not be a leaf.
	nc, refused := s.connect(s.hub, "gw1", s.edgeUser)
	for _, subject := range append(secret, ">", "$JS.API.>", "$JS.*.API.>", "$JS.hub.API.>", "$JS.gw2.API.>", "_INBOX.>", "_INBOX_dev9.>", "_HUB_.>", "$KV.>", "tele.>", "fetch.>", "fetch.hub.>", "$SYS.>") {
		sub, err := nc.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		if answered(t, nc, refused) == nil {
			t.Errorf("an edge's key opens the subscription of %s", subject)
		}
		_ = sub.Unsubscribe()
	}
	for _, subject := range []string{"cfg.dev9", fleet.AccountSubject(), "$KV.members.dev9", "$JS.API.INFO", "$JS.hub.API.INFO", "_HUB_x.y", "_INBOX.x", "_INBOX_dev9.x", "tele.dev9.state", "call.dev9.m.f", "audit.done"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if answered(t, nc, refused) == nil {
			t.Errorf("an edge's key may publish %s", subject)
		}
	}
}
