package edge_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

func guest(v string) []byte {
	return enginetest.Guest{Version: v, Manifest: &abi.Manifest{
		Name: "meter", Version: v, Golden: []abi.Golden{{Function: "version", Output: []byte(v)}},
	}}.Build()
}

func logHandler() slog.Handler {
	if os.Getenv("ISOMER_TEST_LOG") != "" {
		return slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	return nil
}

func run(t *testing.T, work func(context.Context) error, close func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		close()
	}
	t.Cleanup(stop)
	return stop
}

func joinEdge(r *hubtest.Rig) string {
	r.T.Helper()
	dir := filepath.Join(r.Dir, "gw1")
	if _, err := node.Join(r.Ctx, dir, r.Token("gw1", fleet.Edge, fleet.Labels{"site": "a"}), node.JoinOptions{Addresses: []string{"127.0.0.1"}}); err != nil {
		r.T.Fatal(err)
	}
	return dir
}

func startEdge(t *testing.T, dir, listen string) (*edge.Edge, func()) {
	t.Helper()
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	return startEdgeAs(t, dir, id, listen)
}

func startEdgeAs(t *testing.T, dir string, id node.Identity, listen string) (*edge.Edge, func()) {
	t.Helper()
	e, err := edge.Start(t.Context(), edge.Config{
		Node: node.Config{Dir: dir, Identity: id, Version: "test", Log: logHandler()}, Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: listen}, Enrol: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, run(t, e.Run, e.Close)
}

func startDevice(t *testing.T, dir string) (*node.Agent, func()) {
	t.Helper()
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := node.New(t.Context(), node.Config{Dir: dir, Identity: id, Version: "test", Log: logHandler()})
	if err != nil {
		t.Fatal(err)
	}
	return a, run(t, a.Run, a.Close)
}

func version(a *node.Agent) string {
	got, err := a.Call(context.Background(), "meter", "version", "", nil)
	if err != nil {
		return err.Error()
	}
	return string(got.Body)
}

// online waits until the hub hears of a node, and through which edge.
func online(r *hubtest.Rig, name, via string) {
	r.T.Helper()
	hubtest.Wait(r.T, name+" online", func() bool {
		n, err := r.Admin.Node(r.Ctx, name)
		return err == nil && n.Online && n.Report.Via == via
	})
}

func TestReleasesReachDevicesThroughTheirEdge(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	e, _ := startEdge(t, joinEdge(r), brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")

	// One device asks the hub where the edge is, the other cannot reach the hub and joins at the edge.
	byName, byAddress := filepath.Join(r.Dir, "dev1"), filepath.Join(r.Dir, "dev2")
	if _, err := node.Join(r.Ctx, byName, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: "gw1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Join(r.Ctx, byAddress, r.Token("dev2", fleet.Device, nil), node.JoinOptions{Via: e.EnrolAddress()}); err != nil {
		t.Fatal(err)
	}
	one, _ := startDevice(t, byName)
	two, _ := startDevice(t, byAddress)
	online(r, "dev1", "gw1")
	online(r, "dev2", "gw1")

	r.Publish("meter@1.0.0", guest("1"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed || ro.Updated != 3 {
		t.Fatalf("the rollout is %s with %d nodes: %+v", ro.Phase, ro.Updated, ro.History)
	}
	for _, a := range []*node.Agent{one, two, e.Agent()} {
		if got := version(a); got != "1" {
			t.Errorf("a node answers %s", got)
		}
	}
	for _, n := range []string{"dev1", "dev2", "gw1"} {
		got, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "version", Node: n})
		if err != nil || string(got.Body) != "1" || got.Node != n {
			t.Errorf("%s called from the hub: %+v (%v)", n, got, err)
		}
	}
}

func TestAnEdgeWorksWithoutTheHub(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	edgeDir := joinEdge(r)
	e, stopEdge := startEdge(t, edgeDir, brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")
	dir := filepath.Join(r.Dir, "dev1")
	if _, err := node.Join(r.Ctx, dir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: "gw1"}); err != nil {
		t.Fatal(err)
	}
	_, stopDevice := startDevice(t, dir)
	online(r, "dev1", "gw1")
	r.Publish("meter@1.0.0", guest("1"))
	r.Publish("meter@2.0.0", guest("2"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}

	// Everything is switched off, and the site comes back without the hub.
	stopDevice()
	address := e.Broker().URL()[len("nats://"):]
	stopEdge()
	r.Hub.Stop()
	e, _ = startEdge(t, edgeDir, address)
	dev, _ := startDevice(t, dir)
	if got := version(dev); got != "1" {
		t.Errorf("without the hub the device answers %s", got)
	}
	id, err := node.LoadIdentity(edgeDir)
	if err != nil {
		t.Fatal(err)
	}
	local, err := e.Broker().Connect(id.Enrolment.Edge.Local, id.Seed)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	hubtest.Wait(t, "a call from the edge to the device", func() bool {
		m, err := local.Request(fleet.CallSubject("dev1", "meter", "version"), nil, 5*time.Second)
		return err == nil && string(m.Data) == "1"
	})
	// What is told meanwhile is kept.
	for i := range 100 {
		if err := local.Publish(fleet.TelemetrySubject("dev1", fleet.MetricSubject), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := local.FlushTimeout(hubtest.Patience); err != nil {
		t.Fatal(err)
	}

	// The hub returns, with a new release.
	r.Start()
	d := r.Deploy("meter@2.0.0", "all", fleet.Plan{})
	if ro := r.Ended(d.ID); ro.Phase != fleet.Completed || ro.Updated != 2 {
		t.Errorf("the rollout is %s with %d nodes: %+v", ro.Phase, ro.Updated, ro.History)
	}
	if got := version(dev); got != "2" {
		t.Errorf("after the hub's return the device answers %s", got)
	}
	js := r.Hub.Store().JetStream()
	hubtest.Wait(t, "the telemetry of the outage", func() bool {
		str, err := js.Stream(r.Ctx, fleet.TelemetryStream)
		if err != nil {
			return false
		}
		info, err := str.Info(r.Ctx, jetstream.WithSubjectFilter(fleet.TelemetrySubject("dev1", fleet.MetricSubject)))
		return err == nil && info.State.Subjects[fleet.TelemetrySubject("dev1", fleet.MetricSubject)] == 100
	})
}

func TestARevokedDeviceLeavesTheEdgeToo(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	edgeDir := joinEdge(r)
	e, stopEdge := startEdge(t, edgeDir, brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")
	dir := filepath.Join(r.Dir, "dev1")
	id, err := node.Join(r.Ctx, dir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: "gw1"})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(r.Dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(id.Enrolment.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	connect := func() (*nats.Conn, error) {
		return nats.Connect(e.Addresses()[0], nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed), nats.RootCAs(ca), nats.NoReconnect())
	}
	nc, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := r.Admin.Revoke(r.Ctx, "dev1"); err != nil {
		t.Fatal(err)
	}
	hubtest.Wait(t, "the end of the connection at the edge", func() bool { return !nc.IsConnected() })
	if nc, err := connect(); err == nil {
		nc.Close()
		t.Error("it comes back")
	}
	// The edge remembers it without the hub.
	address := e.Broker().URL()[len("nats://"):]
	stopEdge()
	r.Hub.Stop()
	e, _ = startEdge(t, edgeDir, address)
	if nc, err := connect(); err == nil {
		nc.Close()
		t.Error("it comes back where the edge was started without the hub")
	}
}

// The edge's cache has all rights on the edge's broker, and its telemetry is what the hub draws: neither must
// speak where a device wants it to.
func TestAnEdgeAnswersToInboxesAlone(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	e, _ := startEdge(t, joinEdge(r), brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")
	id, err := node.Join(r.Ctx, filepath.Join(r.Dir, "dev1"), r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: "gw1"})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(r.Dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(id.Enrolment.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(e.Addresses()[0], nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed), nats.RootCAs(ca), nats.CustomInboxPrefix(fleet.Inbox("dev1")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, reply := range []string{"$JS.API.STREAM.DELETE.TELE", "$JS.API.STREAM.PURGE.TELE", "$JS.gw1.API.STREAM.DELETE.TELE", "$JS.hub.API.STREAM.DELETE.TELE", "cfg.dev2", fleet.AccountSubject()} {
		for _, subject := range []string{
			fleet.TelemetrySubject("dev1", "metric"), fleet.FetchSubject("gw1", "desired", "dev1"), fleet.FetchSubject("gw1", "module", "none"),
			fleet.FetchSubject("gw1", "trust", "none"), fleet.FetchSubject("hub", "module", "none"), fleet.FetchSubject("hub", "trust", "none"),
		} {
			if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := nc.Request(fleet.FetchSubject("gw1", "trust", "none"), nil, hubtest.Patience); err != nil {
		t.Fatal(err)
	}
	str, err := r.Hub.Store().JetStream().Stream(r.Ctx, fleet.TelemetryStream)
	if err != nil {
		t.Fatal(err)
	}
	// All six arrive: the stream at the edge was neither emptied nor deleted, nor was the hub's.
	subject := fleet.TelemetrySubject("dev1", fleet.MetricSubject)
	hubtest.Wait(t, "the telemetry", func() bool {
		info, err := str.Info(r.Ctx, jetstream.WithSubjectFilter(subject))
		return err == nil && info.State.Subjects[subject] == 6
	})
}

// A gateway without a battery joins and links, and so do those behind it.
func TestAnEdgeWithAClockIn1970(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	began := time.Now()
	clock := func() time.Time { return time.Unix(0, 0).Add(time.Since(began)) }
	dir := filepath.Join(r.Dir, "gw1")
	id, err := node.Join(r.Ctx, dir, r.Token("gw1", fleet.Edge, nil), node.JoinOptions{Addresses: []string{"127.0.0.1"}, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.Start(t.Context(), edge.Config{
		Node: node.Config{Dir: dir, Identity: id, Version: "test", Log: logHandler(), Now: clock}, Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run, e.Close)
	online(r, "gw1", "")
}
