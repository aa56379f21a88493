package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// home is Home Assistant, as far as MQTT goes: it knows what is announced and what is said, by topic.
type home struct {
	t      *testing.T
	client mqtt.Client
	mu     sync.Mutex
	said   map[string]string
	kept   map[string]bool // as retained
}

func newHome(t *testing.T, e *edge.Edge, password string, ca []byte) *home {
	t.Helper()
	u, err := url.Parse(e.Broker().MQTTURL())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	h := &home{t: t, said: map[string]string{}, kept: map[string]bool{}}
	h.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("ssl://" + u.Host).SetClientID("home").SetUsername("ha").SetPassword(password).
		SetTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}).SetAutoReconnect(false))
	h.done(h.client.Connect())
	h.done(h.client.Subscribe("app/ha/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.said[m.Topic()], h.kept[m.Topic()] = string(m.Payload()), m.Retained()
	}))
	t.Cleanup(func() { h.client.Disconnect(100) })
	return h
}

func (h *home) done(token mqtt.Token) {
	h.t.Helper()
	if !token.WaitTimeout(hubtest.Patience) || token.Error() != nil {
		h.t.Fatalf("the edge's MQTT listener: %v", token.Error())
	}
}

func (h *home) get(topic string) (text string, retained bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said[topic], h.kept[topic]
}

// see waits until what a topic holds is as wanted, and returns it.
func (h *home) see(topic string, want func(map[string]any) bool) map[string]any {
	h.t.Helper()
	var v map[string]any
	hubtest.Wait(h.t, topic, func() bool {
		text, _ := h.get(topic)
		v = nil
		return json.Unmarshal([]byte(text), &v) == nil && want(v)
	})
	return v
}

func (h *home) hears(topic, want string) {
	h.t.Helper()
	hubtest.Wait(h.t, topic+": "+want, func() bool { text, _ := h.get(topic); return text == want })
}

func any1(map[string]any) bool { return true }

// Home Assistant, at an edge's own MQTT listener, finds the nodes with the versions of their modules and the values of
// their bindings, also where it comes later than they.
func TestNodesAreSeenInHomeAssistant(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	in, err := r.Admin.Enrol(r.Ctx, fleet.EnrolRequest{Secret: r.Token("ha", fleet.Device, nil).Secret, Key: pub, MQTT: true})
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
		Listen: broker.Listen{NATS: "127.0.0.1:0", MQTT: "127.0.0.1:0"}, Enrol: "127.0.0.1:0",
		HomeAssistant: homeassistant.Config{Broker: "self", Password: in.JWT, Offline: time.Second, Every: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run, e.Close)
	online(r, "gw1", "")
	device := filepath.Join(r.Dir, "dev1")
	if _, err := node.Join(r.Ctx, device, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: e.EnrolAddress()}); err != nil {
		t.Fatal(err)
	}
	a, stop := startDevice(t, device)
	online(r, "dev1", "gw1")
	early := newHome(t, e, in.JWT, []byte(id.Enrolment.CA))

	r.Publish("meter@1.0.0", guest("1"))
	r.Ended(r.Deploy("meter@1.0.0", "name=dev1", fleet.Plan{}).ID)
	announced := early.see("app/ha/homeassistant/update/isomer_dev1_meter_update/config", any1)
	if announced["unique_id"] != "isomer_dev1_meter_update" || announced["command_topic"] != nil || announced["state_topic"] != "app/ha/isomer/dev1/meter/update" {
		t.Errorf("announced %v", announced)
	}
	if d := announced["device"].(map[string]any); d["name"] != "dev1" || d["via_device"] != "isomer_gw1" || d["sw_version"] != "test" {
		t.Errorf("device %v", d)
	}
	early.see("app/ha/isomer/dev1/meter/update", func(v map[string]any) bool {
		return v["installed_version"] == "1.0.0" && v["latest_version"] == "1.0.0" && v["in_progress"] == false
	})
	early.hears("app/ha/isomer/gw1/bridge", "online")

	// Home Assistant starts anew: what was announced is retained. The next release binds a value.
	late := newHomeAfter(t, e, in.JWT, []byte(id.Enrolment.CA), early)
	if _, kept := late.get("app/ha/homeassistant/update/isomer_dev1_meter_update/config"); !kept {
		t.Error("the announcement is not retained")
	}
	r.Publish("meter@2.0.0", guest("2"))
	d, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: hubtest.Ref(t, "meter@2.0.0"), To: "name=dev1", Bindings: []fleet.Binding{
		{Name: "reading", Subject: "sensors.{node}.frame", Call: "version", Publish: "meters.{node}.value"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.Ended(d.ID)
	late.see("app/ha/isomer/dev1/meter/update", func(v map[string]any) bool { return v["installed_version"] == "2.0.0" })
	if got := version(a); got != "2" {
		t.Errorf("the device answers %s", got)
	}
	nc, err := e.Broker().Connect(id.Enrolment.Edge.Local, id.Seed)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const value = "app/ha/isomer/dev1/meter/reading/value"
	hubtest.Wait(t, "a value", func() bool { // the edge may hear of the binding after the device
		if err := nc.Publish("meters.dev1.value", []byte(`{"value":1234.50,"unit":"kWh","sure":true}`)); err != nil {
			t.Fatal(err)
		}
		text, _ := late.get(value)
		return text != ""
	})
	late.see(value, func(v map[string]any) bool {
		return v["state"] == 1234.5 && v["attributes"].(map[string]any)["sure"] == true
	})
	if c := late.see("app/ha/homeassistant/sensor/isomer_dev1_meter_reading/config", any1); c["state_class"] != "measurement" || c["unit_of_measurement"] != "kWh" {
		t.Errorf("announced %v", c)
	}
	// A sensor of numbers says no words.
	if err := nc.Publish("meters.dev1.value", []byte(`"dark"`)); err != nil {
		t.Fatal(err)
	}
	late.see(value, func(v map[string]any) bool { return v["state"] == nil })

	stop()
	late.hears("app/ha/isomer/dev1/status", "offline")
}

// newHomeAfter is Home Assistant after a restart: it has what the broker retained.
func newHomeAfter(t *testing.T, e *edge.Edge, password string, ca []byte, before *home) *home {
	t.Helper()
	before.client.Disconnect(100)
	h := newHome(t, e, password, ca)
	h.see("app/ha/homeassistant/update/isomer_dev1_meter_update/config", any1)
	return h
}
