package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// An edge's binding works for a microcontroller that speaks MQTT alone: what it says on a topic is given to a module, and the
// answer is on a topic of its own.
func TestAnEdgeWorksForMicrocontrollers(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	in, err := r.Admin.Enrol(r.Ctx, fleet.EnrolRequest{Secret: r.Token("mcu1", fleet.Device, nil).Secret, Key: pub, MQTT: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := joinEdge(r)
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.Start(t.Context(), edge.Config{
		Node: node.Config{Dir: dir, Identity: id, Version: "test", Log: logHandler()}, Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0", MQTT: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run, e.Close)
	r.Publish("meter@1.0.0", guest("1"))
	d, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: hubtest.Ref(t, "meter@1.0.0"), To: "layer=edge", Bindings: []fleet.Binding{
		{Name: "frames", Subject: "sensors.*.frame", Call: "echo", Publish: "actuators.{2}.valve"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if ro := r.Ended(d.ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}

	u, err := url.Parse(e.Broker().MQTTURL())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(id.Enrolment.CA))
	done := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(hubtest.Patience) || token.Error() != nil {
			t.Fatalf("MQTT: %v", token.Error())
		}
	}
	mcu := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + u.Host).SetClientID("mcu1").SetUsername("mcu1").SetPassword(in.JWT).
		SetTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}).SetAutoReconnect(false))
	done(mcu.Connect())
	defer mcu.Disconnect(100)
	said := make(chan string, 1000)
	done(mcu.Subscribe("actuators/mcu1/valve", 1, func(_ mqtt.Client, m mqtt.Message) { said <- string(m.Payload()) }))
	hubtest.Wait(t, "an answer", func() bool { // the binding comes with the release, perhaps after it was reported
		done(mcu.Publish("sensors/mcu1/frame", 1, false, "open"))
		select {
		case got := <-said:
			if got != "open" {
				t.Fatalf("it hears %q", got)
			}
			return true
		default:
			return false
		}
	})
}
