package broker_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet/broker"
)

// What MQTT clients can have kept is bounded, for those that were there before the bounds too.
func TestWhatMicrocontrollersLeaveIsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	password, err := s.authority.MQTT("mc1", pub, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	bounded := make(chan struct{})
	go func() {
		defer close(bounded)
		s.hub.BoundMQTT(t.Context(), s.hubConn, slog.New(slog.DiscardHandler))
	}()
	c, err := s.session(s.hub, password)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Disconnect(0)
	for i := range 50 {
		if err := done(t, c.Publish(fmt.Sprintf("sensors/mc1/t%d", i), 1, true, make([]byte, 1<<10))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-bounded:
	case <-time.After(patience):
		t.Fatal("the streams of MQTT are not bounded")
	}
	js, err := jetstream.New(s.hubConn)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range broker.MQTTStreams() {
		info, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if c := info.CachedInfo().Config; c.MaxBytes <= 0 || c.MaxBytes > 256<<20 || c.Discard != jetstream.DiscardOld && !c.DiscardNewPerSubject {
			t.Errorf("%s has at most %d bytes and discards %v", name, c.MaxBytes, c.Discard)
		}
	}
	// MQTT goes on as it did.
	if err := done(t, c.Publish("sensors/mc1/t1", 1, true, "after")); err != nil {
		t.Fatal(err)
	}
	again, err := s.session(s.hub, password)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Disconnect(0)
}
