package homeassistant_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
)

const patience = 60 * time.Second

// users lets in whom the broker knows.
type users struct{ mochi.HookBase }

func (*users) ID() string { return "users" }

func (*users) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (*users) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	known := map[string]string{"isomer": "s3cret", "home": "home"}
	password, ok := known[string(p.Connect.Username)]
	return ok && password == string(p.Connect.Password)
}

func (*users) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// mosquitto is a broker as homes have one: with a user and a password, and here without a memory.
func mosquitto(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(users), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: address})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = s.Close() })
	t.Cleanup(stop)
	return l.Address(), stop
}

// home collects what is said on the broker.
type home struct {
	client paho.Client
	mu     sync.Mutex
	said   map[string]string
	times  map[string]int
}

func newHome(t *testing.T, address string) *home {
	t.Helper()
	h := &home{said: map[string]string{}, times: map[string]int{}}
	h.client = paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("home").SetUsername("home").SetPassword("home").SetAutoReconnect(false))
	token := h.client.Connect()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	token = h.client.Subscribe("#", 1, func(_ paho.Client, m paho.Message) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.said[m.Topic()] = string(m.Payload())
		h.times[m.Topic()]++
	})
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { h.client.Disconnect(50) })
	return h
}

func (h *home) wait(t *testing.T, topic string, fits func(text string, times int) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		text, times := h.said[topic], h.times[topic]
		h.mu.Unlock()
		if fits(text, times) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %q, said %d times", topic, text, times)
		}
	}
}

func holds(part string) func(string, int) bool {
	return func(text string, _ int) bool { return strings.Contains(text, part) }
}

func conn(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "edge", DontListen: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(s.Shutdown)
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A broker that forgot everything, Home Assistant that starts anew, modules that go and an edge that stops: Home
// Assistant always knows what is, or that nobody tells.
func TestABrokerThatComesAndGoes(t *testing.T) {
	t.Parallel()
	address, stop := mosquitto(t, "127.0.0.1:0")
	nc := conn(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- homeassistant.Run(ctx, homeassistant.Config{
			Broker: "mqtt://isomer@" + address, Password: "s3cret", Name: "gw1", Conn: nc, Every: 20 * time.Millisecond,
		})
	}()
	h := newHome(t, address)
	h.wait(t, "isomer/gw1/bridge", holds("online"))

	report := fleet.Report{Node: "dev1", Layer: fleet.Device, Agent: "1", Modules: []fleet.ModuleReport{
		{Name: "meter", State: fleet.Refused, Release: ref("meter@1.0.0"), Desired: ref("meter@2.0.0"), Reason: strings.Repeat("the gate failed ", 40)},
		{Name: "old", State: fleet.Running, Release: ref("old@1.0.0")},
	}}
	tell := func(subject string, r fleet.Report) {
		t.Helper()
		b, err := json.Marshal(r)
		if err == nil {
			err = nc.Publish(subject, b)
		}
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tell("tele.dev2.state", report) // of another node than it says
	tell("tele.dev1.state", report)
	const config, state = "homeassistant/update/isomer_dev1_meter_update/config", "isomer/dev1/meter/update"
	h.wait(t, config, holds(`"isomer_dev1"`))
	h.wait(t, state, func(text string, _ int) bool {
		var v struct {
			Installed string `json:"installed_version"`
			Latest    string `json:"latest_version"`
			Summary   string `json:"release_summary"`
		}
		return json.Unmarshal([]byte(text), &v) == nil && v.Installed == "1.0.0" && v.Latest == "2.0.0" && len([]rune(v.Summary)) == 255
	})
	h.wait(t, "isomer/dev1/old/update", holds("1.0.0"))
	h.wait(t, "isomer/dev2/status", func(text string, _ int) bool { return text == "" })

	// Home Assistant says that it started: it is told again.
	h.client.Publish("homeassistant/status", 1, false, "online")
	h.wait(t, config, func(_ string, times int) bool { return times >= 2 })

	// What a node has no more is taken away.
	report.Modules = report.Modules[:1]
	tell("tele.dev1.state", report)
	h.wait(t, "homeassistant/update/isomer_dev1_old_update/config", func(text string, times int) bool { return text == "" && times >= 2 })

	stop()
	mosquitto(t, address)
	h = newHome(t, address)
	h.wait(t, config, holds(`"isomer_dev1"`))
	h.wait(t, state, holds("2.0.0"))

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	h.wait(t, "isomer/gw1/bridge", holds("offline"))
}

func ref(s string) fleet.Ref {
	r, err := fleet.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return r
}
