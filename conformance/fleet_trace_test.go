package conformance

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trace/oteltrace"
)

// collector receives spans by OTLP, as a real one does.
type collector struct {
	t  *testing.T
	mu sync.Mutex
	// by trace, then in the order of their arrival
	spans map[string][]collected
}

type collected struct {
	*tracepb.Span
	by string // service.instance.id
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var data tracepb.TracesData // on the wire the same as the service's request
	if err == nil {
		err = proto.Unmarshal(b, &data)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		c.t.Errorf("%s: %v", r.URL.Path, err)
		http.Error(w, "not an export of spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range data.ResourceSpans {
		by := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.instance.id" {
				by = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				id := fmt.Sprintf("%x", s.TraceId)
				c.spans[id] = append(c.spans[id], collected{s, by})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// all waits until a trace has all of these spans, each as "who: name".
func (c *collector) all(traceID string, want ...string) []collected {
	c.t.Helper()
	var have []collected
	defer func() {
		if c.t.Failed() {
			for _, s := range have {
				c.t.Logf("%s: %s", s.by, s.Name)
			}
		}
	}()
	hubtest.Wait(c.t, fmt.Sprintf("trace %s with %q", traceID, want), func() bool {
		c.mu.Lock()
		have = slices.Clone(c.spans[traceID])
		c.mu.Unlock()
		for _, w := range want {
			if !slices.ContainsFunc(have, func(s collected) bool { return s.by+": "+s.Name == w }) {
				return false
			}
		}
		return true
	})
	return have
}

// chain checks that a trace has these spans, each the parent of the next.
func chain(t *testing.T, have []collected, names ...string) {
	t.Helper()
	under := map[string]bool{}
	for i, name := range names {
		next := map[string]bool{}
		for _, s := range have {
			if s.by+": "+s.Name == name && (i == 0 || under[string(s.ParentSpanId)]) {
				next[string(s.SpanId)] = true
			}
		}
		if len(next) == 0 {
			t.Errorf("no %q stands under %q", name, names[:i])
			return
		}
		under = next
	}
}

func attributeOf(s collected, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// traced is a fleet of a hub, an edge and a device behind it, each with an exporter of its own, and a program's connection that has
// the device's rights.
func traced(t *testing.T) (*hubtest.Rig, *collector, *nats.Conn) {
	c := &collector{t: t, spans: map[string][]collected{}}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // ms
	tracer := func(service, instance string) trace.Tracer {
		tr, stop, err := oteltrace.Start(t.Context(), service, instance, "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
		return tr
	}
	r := hubtest.NewTraced(t, tracer("isomer-hub", "hub-1"))
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	t.Cleanup(func() { stop(); working.Wait() })
	join := func(name string, layer fleet.Layer, o node.JoinOptions) node.Config {
		dir := filepath.Join(r.Dir, name)
		id, err := node.Join(r.Ctx, dir, r.Token(name, layer, nil), o)
		if err != nil {
			t.Fatal(err)
		}
		return node.Config{Dir: dir, Identity: id, Version: "test", Trace: tracer("isomer-node", name)}
	}
	e, err := edge.Start(ctx, edge.Config{
		Node: join("gw1", fleet.Edge, node.JoinOptions{Addresses: []string{"127.0.0.1"}}), Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0"}, Enrol: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	working.Go(func() { defer e.Close(); _ = e.Run(ctx) })
	device := join("dev1", fleet.Device, node.JoinOptions{Via: e.EnrolAddress()})
	a, err := node.New(ctx, device)
	if err != nil {
		t.Fatal(err)
	}
	working.Go(func() { defer a.Close(); _ = a.Run(ctx) })
	hubtest.Wait(t, "both nodes online", func() bool {
		nodes, err := r.Admin.Nodes(r.Ctx, fleet.Selector{})
		return err == nil && len(nodes) == 2 && nodes[0].Online && nodes[1].Online
	})
	ca := filepath.Join(r.Dir, "ca.pem")
	check(t, os.WriteFile(ca, []byte(device.Identity.Enrolment.CA), 0o600))
	nc, err := nats.Connect(e.Addresses()[0], nats.UserJWTAndSeed(device.Identity.Enrolment.JWT, device.Identity.Seed), nats.RootCAs(ca))
	check(t, err)
	t.Cleanup(nc.Close)
	return r, c, nc
}

// inTrace is a context of somebody who has a trace already, such as a build server that deploys.
func inTrace(ctx context.Context, id string) context.Context {
	return trace.With(ctx, "00-"+id+"-00f067aa0ba902b7-01")
}

func tracedGuest(version, answer string) []byte {
	return enginetest.Guest{Version: version, Manifest: &abi.Manifest{
		Name: "meter", Version: version, Golden: []abi.Golden{{Function: "version", Output: []byte(answer)}},
	}}.Build()
}

// TestTracesGoThroughTheWholeFleet follows a rollout, a call, a message of a binding and a release that is rolled back through hub,
// edge and device, as a collector sees it: each in one trace, each span under that of who asked.
func TestTracesGoThroughTheWholeFleet(t *testing.T) {
	r, c, nc := traced(t)
	bindings := []fleet.Binding{{Name: "frames", Subject: "sensors.{node}.frame", Call: "echo", Publish: "meters.{node}.value"}}
	deploy := func(id, release string, b []fleet.Binding) fleet.Rollout {
		d, err := r.Admin.Deploy(inTrace(r.Ctx, id), client.Deployment{Release: hubtest.Ref(t, release), To: "all", Bindings: b})
		if err != nil {
			t.Fatal(err)
		}
		return r.Ended(d.ID)
	}

	const rollout = "11111111111111111111111111111111"
	r.Publish("meter@1.0.0", tracedGuest("1", "1"))
	if ro := deploy(rollout, "meter@1.0.0", bindings); ro.Phase != fleet.Completed {
		t.Fatalf("%s: %+v", ro.Phase, ro.History)
	}
	have := c.all(rollout, "hub-1: rollout", "hub-1: rollout pending", "hub-1: rollout advancing", "hub-1: fetch module", "gw1: cache module", "gw1: swap", "dev1: swap", "dev1: update", "gw1: update")
	chain(t, have, "hub-1: api deploy", "hub-1: rollout advancing")
	chain(t, have, "hub-1: api deploy", "hub-1: rollout")
	chain(t, have, "hub-1: api deploy", "dev1: update", "dev1: fetch", "gw1: fetch module")
	chain(t, have, "gw1: cache module", "hub-1: fetch module")
	for _, who := range []string{"gw1", "dev1"} {
		for _, step := range []string{"fetch", "gate", "swap"} {
			chain(t, have, "hub-1: api deploy", who+": update", who+": "+step)
		}
	}
	n := 0
	for _, s := range have {
		if s.Name == "fetch module" && s.by == "hub-1" {
			n++
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s: %s ends before it begins", s.by, s.Name)
		}
	}
	if n != 1 {
		t.Errorf("the hub has %d spans of a module that left it once", n)
	}

	const call = "22222222222222222222222222222222"
	if _, err := r.Admin.Call(inTrace(r.Ctx, call), client.Call{Module: "meter", Function: "version", Node: "dev1"}); err != nil {
		t.Fatal(err)
	}
	have = c.all(call, "hub-1: api call", "dev1: call meter.version")
	chain(t, have, "hub-1: api call", "hub-1: call meter.version", "dev1: call meter.version")
	for _, s := range have {
		if s.by == "dev1" && (attributeOf(s, "isomer.release") != "meter@1.0.0" || attributeOf(s, "isomer.outcome") != "ok") {
			t.Errorf("the device's span says %v", s.Attributes)
		}
	}
	t.Run("binding", func(t *testing.T) { tracedBinding(t, nc, c) })

	const bad = "44444444444444444444444444444444"
	r.Publish("meter@2.0.0", tracedGuest("2", "something else"))
	if ro := deploy(bad, "meter@2.0.0", nil); ro.Phase != fleet.RolledBack {
		t.Fatalf("%s: %+v", ro.Phase, ro.History)
	}
	for _, s := range c.all(bad, "hub-1: rollout", "hub-1: rollout advancing") {
		failed := s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR
		if strings.HasPrefix(s.Name, "rollout") && s.Name != "rollout pending" && !failed || s.Name == "gate" && !failed {
			t.Errorf("%s: %s is %v", s.by, s.Name, s.Status)
		}
	}
}

// tracedBinding has a message with a trace answered by a binding: who hears the answer is in the same trace.
func tracedBinding(t *testing.T, nc *nats.Conn, c *collector) {
	const id = "33333333333333333333333333333333"
	answers := make(chan *nats.Msg, 64)
	sub, err := nc.ChanSubscribe("meters.dev1.value", answers)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var got *nats.Msg
	hubtest.Wait(t, "an answer of the binding", func() bool { // which begins a moment after its release
		m := &nats.Msg{Subject: "sensors.dev1.frame", Data: []byte("x"), Header: trace.Inject(inTrace(t.Context(), id), nil)}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		select {
		case got = <-answers:
		default:
		}
		return got != nil
	})
	p := trace.Of(got.Header)
	if !strings.HasPrefix(p, "00-"+id) || strings.Contains(p, "00f067aa0ba902b7") {
		t.Errorf("the answer's traceparent is %q", p)
	}
	chain(t, c.all(id, "dev1: binding meter.frames", "dev1: call meter.echo"), "dev1: binding meter.frames", "dev1: call meter.echo")
}
