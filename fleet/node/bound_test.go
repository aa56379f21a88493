package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/node/local"
)

// connect is a program on the node that uses its credentials, as a sensor's does.
func connect(t testing.TB, dir string) *nats.Conn {
	t.Helper()
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(id.Enrolment.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(strings.Join(id.Enrolment.Servers, ","), nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed),
		nats.RootCAs(ca), nats.CustomInboxPrefix(fleet.Inbox(id.Enrolment.Node)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// configured is start with more in the agent's configuration.
func configured(t testing.TB, dir string, change func(*node.Config)) *running {
	t.Helper()
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := node.Config{Dir: dir, Identity: id, Version: "test"}
	change(&c)
	a := &running{t: t, dir: dir, done: make(chan error, 1)}
	if a.agent, err = node.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	go func() { a.done <- a.agent.Run(ctx) }()
	t.Cleanup(a.end)
	return a
}

func bind(r *hubtest.Rig, ref string, list ...fleet.Binding) fleet.Deployment {
	r.T.Helper()
	d, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: hubtest.Ref(r.T, ref), To: "all", Bindings: list})
	if err != nil {
		r.T.Fatal(err)
	}
	return d
}

// asks sends to a subject until the binding there answers want.
func asks(t testing.TB, nc *nats.Conn, subject, want string) {
	t.Helper()
	last := ""
	hubtest.Wait(t, fmt.Sprintf("%q at %s (last %q)", want, subject, last), func() bool {
		m, err := nc.Request(subject, []byte("x"), 5*time.Second)
		if err != nil {
			last = err.Error()
			return false
		}
		last = string(m.Data)
		return last == want
	})
}

func TestBindingsComeAndGoWithTheirRelease(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	app := connect(t, a.dir)
	r.Publish("meter@1.0.0", guest("1", "1"))
	frames := fleet.Binding{Name: "frames", Subject: "sensors.{node}.frame", Call: "version", Publish: "meters.{node}.value"}
	if ro := r.Ended(bind(r, "meter@1.0.0", frames).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	asks(t, app, "sensors.dev1.frame", "1")

	// Every message of a stream is answered, whatever is deployed meanwhile: a new release, other bindings, a release
	// that is taken back.
	answers := make(chan *nats.Msg, 100_000)
	if _, err := app.ChanSubscribe("meters.dev1.value", answers); err != nil {
		t.Fatal(err)
	}
	if err := app.Flush(); err != nil {
		t.Fatal(err)
	}
	sent := 0
	send := func() {
		if err := app.Publish("sensors.dev1.frame", []byte("x")); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	during := func(id string) fleet.Rollout {
		for {
			send()
			if ro, err := r.Admin.Rollout(r.Ctx, id); err == nil && ro.Phase.Ended() {
				return ro
			}
			if r.Ctx.Err() != nil {
				t.Fatal("the rollout does not end")
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	frames.Retries = 3
	if ro := during(bind(r, "meter@1.0.0", frames, fleet.Binding{Name: "also", Path: "/also", Call: "version"}).ID); ro.Phase != fleet.Completed {
		t.Errorf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	none := frames
	none.Call = "nobody"
	if ro := during(bind(r, "meter@1.0.0", none).ID); ro.Phase != fleet.RolledBack {
		t.Errorf("the rollout of a binding without its function is %s: %+v", ro.Phase, ro.History)
	}
	r.Publish("meter@2.0.0", guest("2", "2"))
	frames.Call = "echo"
	two := bind(r, "meter@2.0.0", frames)
	if ro := during(two.ID); ro.Phase != fleet.Completed {
		t.Errorf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	asks(t, app, "sensors.dev1.frame", "x") // the new function
	sent++
	r.Publish("meter@3.0.0", guest("3", "three"))
	bad := frames
	bad.Call = "fail"
	if ro := during(bind(r, "meter@3.0.0", bad).ID); ro.Phase != fleet.RolledBack {
		t.Errorf("a bad release's rollout is %s: %+v", ro.Phase, ro.History)
	}
	asks(t, app, "sensors.dev1.frame", "x")
	sent++
	for range sent {
		select {
		case m := <-answers:
			// "2": the binding is changed after the module, so that it may call the new one once more.
			if got := string(m.Data); got != "1" && got != "2" && got != "x" {
				t.Fatalf("answered %s", got)
			}
		case <-time.After(hubtest.Patience):
			t.Fatal("a message is not answered")
		}
	}

	// The hub hears what they do.
	hubtest.Wait(t, "the report", func() bool {
		n, err := r.Admin.Node(r.Ctx, "dev1")
		if err != nil || n.Report == nil || len(n.Report.Modules) != 1 || len(n.Report.Modules[0].Bindings) != 1 {
			return false
		}
		b := n.Report.Modules[0].Bindings[0]
		return b.Name == "frames" && b.Problem == "" && b.Dead == 0
	})

	// A rollout that a person rolls back brings the bindings before.
	if _, err := r.Admin.Command(r.Ctx, two.ID, "rollback", "test"); err != nil {
		t.Fatal(err)
	}
	asks(t, app, "sensors.dev1.frame", "1")

	// They work again after a start without the hub; a subject of another node is refused and said.
	a.end()
	r.Hub.Stop()
	b := configured(t, a.dir, func(c *node.Config) { c.Local.Address = "127.0.0.1:0" })
	if status, got := post(t, "http://"+b.agent.LocalAddress()+"/also", "x"); status != 200 || got != "1" {
		t.Errorf("without a hub: %d %s", status, got)
	}
}

func post(t testing.TB, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestBindingsOfTheOwnersFileAndOthersSubjects(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dir := join(r, "dev1")
	file := filepath.Join(t.TempDir(), "bindings.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`[{"module":"meter","name":"mine","subject":"app.{node}.x","call":"version"},
		{"module":"meter","name":"theirs","subject":"app.dev2.x","call":"version"}]`)
	a := configured(t, dir, func(c *node.Config) { c.Bindings = file })
	app := connect(t, dir)
	r.Publish("meter@1.0.0", guest("1", "1"))
	r.Ended(bind(r, "meter@1.0.0").ID)
	asks(t, app, "app.dev1.x", "1")
	problem := func(want string) {
		hubtest.Wait(t, "the problem "+want, func() bool {
			n, err := r.Admin.Node(r.Ctx, "dev1")
			return err == nil && n.Report != nil && strings.Contains(mustJSON(t, n.Report), want)
		})
	}
	problem("may not listen to app.dev2.x")
	write(`[{"module":"meter","name":"mine","subjct":"app.{node}.x","call":"version"}]`)
	problem("subjct") // and the one before goes on
	asks(t, app, "app.dev1.x", "1")
	write(`[{"module":"meter","name":"mine","subject":"app.{node}.y","call":"version"}]`)
	asks(t, app, "app.dev1.y", "1")
	// A node whose file was spoilt starts all the same, and says so.
	a.end()
	write(`{}`)
	b := configured(t, dir, func(c *node.Config) { c.Bindings = file })
	if got := b.version(); got != "1" {
		t.Errorf("it answers %s", got)
	}
	problem("cannot unmarshal object")
	write(`[{"module":"meter","name":"mine","subject":"app.{node}.z","call":"version"}]`)
	asks(t, app, "app.dev1.z", "1")
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProgramsOnTheNodeCallModules(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dir := join(r, "dev1")
	socket := filepath.Join(t.TempDir(), "s.sock")
	a := configured(t, dir, func(c *node.Config) { c.Local = local.Listen{Address: "127.0.0.1:0", Socket: socket} })
	url := "http://" + a.agent.LocalAddress()
	if status, got := post(t, url+"/v1/modules/meter/call/version", ""); status != 404 || !strings.Contains(got, "no such module") {
		t.Errorf("before there is a module: %d %s", status, got)
	}
	r.Publish("meter@1.0.0", guest("1", "1"))
	r.Ended(bind(r, "meter@1.0.0", fleet.Binding{Name: "read", Path: "/read", Call: "echo"}).ID)
	for path, c := range map[string]struct {
		status int
		answer string
	}{
		"/v1/modules/meter/call/version": {200, "1"},
		"/v1/modules/meter/call/echo":    {200, "x"},
		"/v1/modules/meter/call/fail":    {422, "no such meter"},
		"/v1/modules/meter/call/trap":    {500, "trap"},
		"/v1/modules/meter/call/nobody":  {404, "nobody"},
		"/v1/modules/meter/call/average": {400, "picture"},
		"/read":                          {200, "x"},
		"/unread":                        {404, "nothing"},
	} {
		hubtest.Wait(t, fmt.Sprintf("%d %q at %s", c.status, c.answer, path), func() bool { // the binding may come after the rollout's end
			status, got := post(t, url+path, "x")
			return status == c.status && strings.Contains(got, c.answer)
		})
	}
	sock := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer sock.CloseIdleConnections()
	get := func(path string) string {
		resp, err := sock.Get("http://isomer" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s (%v)", path, resp.StatusCode, b, err)
		}
		return string(b)
	}
	for path, wants := range map[string][]string{
		"/healthz":    {`"status":"ok"`},
		"/v1/modules": {`"serves":true`, `"release":"meter@1.0.0"`, `{"name":"average","picture":true`},
		"/v1/status":  {`"node":"dev1"`, `"connected":true`, `"name":"read"`},
		"/metrics": {
			`isomer_calls_total{function="echo",module="meter",result="ok",version="1"}`, `isomer_binding_inputs_total{binding="read",local="false",module="meter",result="answered"} 1`,
			"process_resident_memory_bytes", "go_goroutines",
		},
	} {
		got := get(path)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s has no %s:\n%s", path, want, got)
			}
		}
	}
}
