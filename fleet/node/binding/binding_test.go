package binding_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/node/binding"
)

// patience bounds waits that end in milliseconds.
const patience = 60 * time.Second

func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

// rig is a runner on a real server, with a function in place of modules.
type rig struct {
	testing.TB
	*binding.Runner
	dir    string
	server *server.Server
	port   int
	nc     *nats.Conn // the runner's

	mu    sync.Mutex
	call  func(module, function, body string) (string, error)
	calls []string
}

var errMissing = errors.New("not there")

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, dir: t.TempDir(), port: -1}
	r.serve()
	t.Cleanup(func() { r.server.Shutdown() })
	r.open()
	r.nc = r.connect()
	r.Connect(r.nc)
	return r
}

func (r *rig) serve() {
	r.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "test", Host: "127.0.0.1", Port: r.port, NoSigs: true, NoLog: true})
	if err != nil {
		r.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		r.Fatal("no server")
	}
	r.server, r.port = s, s.Addr().(*net.TCPAddr).Port
}

func (r *rig) open() {
	r.Helper()
	run, err := binding.New(binding.Config{
		Node: "dev1", Layer: fleet.Device, Dir: r.dir, Missing: func(err error) bool { return errors.Is(err, errMissing) },
		Call: func(ctx context.Context, module, function, _ string, body []byte) (binding.Answer, error) {
			r.mu.Lock()
			f := r.call
			r.calls = append(r.calls, string(body))
			r.mu.Unlock()
			if f == nil {
				return binding.Answer{Body: []byte(function + ":" + string(body)), Encoding: "text/plain", Release: module + "@1.0.0"}, nil
			}
			out, err := f(module, function, string(body))
			return binding.Answer{Body: []byte(out)}, err
		},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Runner = run
	r.Cleanup(run.Close)
}

func (r *rig) connect(opts ...nats.Option) *nats.Conn {
	r.Helper()
	opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.CustomInboxPrefix(fleet.Inbox("dev1")))
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", r.port), opts...)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(nc.Close)
	return nc
}

// answers says how functions answer.
func (r *rig) answers(f func(module, function, body string) (string, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call = f
}

func (r *rig) called() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// hear subscribes, and is sure that the server knows.
func (r *rig) hear(subject string) (*nats.Conn, chan *nats.Msg) {
	r.Helper()
	nc := r.connect()
	heard := make(chan *nats.Msg, 10_000)
	if _, err := nc.ChanSubscribe(subject, heard); err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(nc.Flush(), r.nc.Flush()); err != nil {
		r.Fatal(err)
	}
	return nc, heard
}

func next(t testing.TB, heard chan *nats.Msg) *nats.Msg {
	t.Helper()
	select {
	case m := <-heard:
		return m
	case <-time.After(patience):
		t.Fatal("nothing is heard")
		return nil
	}
}

func (r *rig) bind(list ...fleet.Binding) {
	r.Helper()
	r.Set("meter", list)
	for _, b := range r.Report("meter") {
		if b.Problem != "" {
			r.Fatal(b.Problem)
		}
	}
	if err := r.nc.Flush(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) report(name string) fleet.BindingReport {
	r.Helper()
	for _, b := range r.Report("meter") {
		if b.Name == name {
			return b
		}
	}
	r.Fatalf("no binding %s", name)
	return fleet.BindingReport{}
}

func publish(t testing.TB, nc *nats.Conn, subject, body string) {
	t.Helper()
	if err := nc.Publish(subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func TestASubjectFeedsAFunction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("meters.dev1.>")
	r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.*", Call: "read", Publish: "meters.{node}.{3}"})
	publish(t, nc, "sensors.dev1.heat", "21")
	m := next(t, heard)
	if m.Subject != "meters.dev1.heat" || string(m.Data) != "read:21" || m.Header.Get(fleet.ReleaseHeader) != "meter@1.0.0" {
		t.Errorf("%s: %s %v", m.Subject, m.Data, m.Header)
	}
	// Who asks is answered too.
	got, err := r.connect().Request("sensors.dev1.cold", []byte("4"), patience)
	if err != nil || string(got.Data) != "read:4" {
		t.Errorf("asked: %v %v", got, err)
	}
	if got := r.report("b"); got.Received != 2 || got.Answered != 2 || got.Dead+got.Dropped+got.Unsent != 0 {
		t.Errorf("%+v", got)
	}
}

func TestMessagesOfASubjectKeepTheirOrderBesideOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("meters.dev1.>")
	gate := make(chan struct{})
	tried := map[string]int{}
	var mu sync.Mutex
	r.answers(func(_, _, body string) (string, error) {
		if body == "slow" {
			<-gate
		}
		mu.Lock()
		defer mu.Unlock()
		tried[body]++
		if strings.HasSuffix(body, "5") && tried[body] < 3 { // retried in its place
			return "", &isomer.TrapError{}
		}
		return body, nil
	})
	r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.*", Call: "read", Publish: "meters.{node}.{3}", Retries: 5, Queue: 100, Parallel: 3})
	publish(t, nc, "sensors.dev1.slow", "slow")
	for i := range 20 {
		publish(t, nc, "sensors.dev1.a", fmt.Sprint("a", i))
		publish(t, nc, "sensors.dev1.b", fmt.Sprint("b", i))
	}
	at := map[string]int{}
	for range 40 { // while slow is at work
		m := next(t, heard)
		of := m.Subject[len("meters.dev1."):]
		if want := fmt.Sprint(of, at[of]); string(m.Data) != want {
			t.Fatalf("%s comes where %s was due", m.Data, want)
		}
		at[of]++
	}
	close(gate)
	if m := next(t, heard); string(m.Data) != "slow" {
		t.Errorf("last %s", m.Data)
	}
	if got := r.report("b"); got.Retried < 4 || got.Answered != 41 {
		t.Errorf("%+v", got)
	}
}

func TestAFullQueueIsBoundedAndCounted(t *testing.T) {
	t.Parallel()
	for _, full := range []string{"", fleet.FullDropOldest, fleet.FullBlock} {
		r := newRig(t)
		nc, heard := r.hear("meters.dev1.>")
		gate, entered := make(chan struct{}), make(chan struct{}, 100)
		r.answers(func(_, _, body string) (string, error) {
			entered <- struct{}{}
			<-gate
			return body, nil
		})
		r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.x", Call: "read", Publish: "meters.{node}.x", Queue: 5, Full: full})
		publish(t, nc, "sensors.dev1.x", "0")
		<-entered
		for i := 1; i <= 50; i++ {
			publish(t, nc, "sensors.dev1.x", fmt.Sprint(i))
		}
		if err := errors.Join(nc.Flush(), r.nc.Flush()); err != nil {
			t.Fatal(err)
		}
		if full == fleet.FullBlock { // 1 at work, 5 in the queue, 1 pushes, 5 in the connection's queue
			wait(t, "what cannot be held", func() bool { return r.report("b").Dropped >= 50-11 })
		} else {
			wait(t, "all but the newest", func() bool { return r.report("b").Dropped == 50-5 })
		}
		if got := r.report("b"); got.Waiting > 6 {
			t.Errorf("%s: %d wait", full, got.Waiting)
		}
		close(gate)
		if m := next(t, heard); string(m.Data) != "0" {
			t.Errorf("%s: first %s", full, m.Data)
		}
		want := []string{"46", "47", "48", "49", "50"}
		if full == fleet.FullBlock {
			want = []string{"1", "2", "3", "4", "5"}
		}
		for _, w := range want {
			if m := next(t, heard); string(m.Data) != w {
				t.Errorf("%s: %s comes where %s was due", full, m.Data, w)
			}
		}
	}
}

func TestWhatFailsIsADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("tele.dev1.dead.>")
	r.answers(func(_, function, body string) (string, error) {
		if body == "no" {
			return "", &isomer.AppError{Message: "no such meter"}
		}
		return "", &isomer.TrapError{}
	})
	r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.x", Call: "read", Retries: 2})
	for _, c := range []struct {
		body     string
		attempts int
	}{{"trap", 3}, {"no", 1}} { // a module's own no is final
		publish(t, nc, "sensors.dev1.x", c.body)
		m := next(t, heard)
		var l fleet.DeadLetter
		if err := json.Unmarshal(m.Data, &l); err != nil {
			t.Fatal(err)
		}
		if m.Subject != "tele.dev1.dead.meter.b" || string(l.Body) != c.body || l.Attempts != c.attempts || l.From != "sensors.dev1.x" || l.Reason == "" {
			t.Errorf("%s: %s %+v", c.body, m.Subject, l)
		}
		if m.Header.Get(nats.MsgIdHdr) == "" {
			t.Error("a letter that is sent twice would be kept twice")
		}
	}
	if got := r.report("b"); got.Dead != 2 {
		t.Errorf("%+v", got)
	}
}

func TestTelemetryWaitsOnDiskWithoutAConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bind(fleet.Binding{Name: "p", Path: "/x", Call: "read", Publish: "tele.{node}.metric.x"})
	r.server.Shutdown()
	wait(t, "the loss", func() bool { return !r.nc.IsConnected() })
	for i := range 100 {
		if _, err := r.Serve(t.Context(), "/x", "", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	unsent, err := os.ReadDir(filepath.Join(r.dir, "bindings", "unsent"))
	if err != nil || len(unsent) != 100 {
		t.Fatalf("%d wait (%v)", len(unsent), err)
	}
	// Another process finds them, among rubbish.
	if err := os.WriteFile(filepath.Join(r.dir, "bindings", "unsent", unsent[50].Name()), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.serve()
	_, heard := r.hear("tele.dev1.metric.>")
	r.open()
	wait(t, "the connection", r.nc.IsConnected)
	r.Connect(r.nc)
	r.Connected()
	for i := range 100 {
		if i == 50 {
			continue
		}
		if m := next(t, heard); string(m.Data) != fmt.Sprint("read:", i) {
			t.Fatalf("%s comes where %d was due", m.Data, i)
		}
	}
	wait(t, "an empty folder", func() bool {
		left, err := os.ReadDir(filepath.Join(r.dir, "bindings", "unsent"))
		return err == nil && len(left) == 0
	})
}

func TestChangesLoseNoMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("meters.dev1.>")
	b := fleet.Binding{Name: "b", Subject: "sensors.{node}.x", Call: "one", Publish: "meters.{node}.x", Queue: 4000}
	r.bind(b)
	const n = 500
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c := b
			if c.Call, c.Retries = "one", i%3; i%2 == 0 {
				c.Name, c.Call = "other", "two" // renamed as well
			}
			r.Set("meter", []fleet.Binding{c})
		}
	})
	for i := range n {
		publish(t, nc, "sensors.dev1.x", fmt.Sprint(i))
	}
	for i := range n {
		if m := next(t, heard); string(m.Data) != fmt.Sprint("one:", i) && string(m.Data) != fmt.Sprint("two:", i) {
			t.Fatalf("%s comes where %d was due", m.Data, i)
		}
	}
	close(stop)
	changing.Wait()
	// Another subject: none between the two is lost, and what waits of the old one is worked on.
	b.Subject = "sensors.{node}.*"
	r.bind(b)
	publish(t, nc, "sensors.dev1.y", "y")
	if m := next(t, heard); string(m.Data) != "one:y" {
		t.Errorf("%s", m.Data)
	}
	r.Set("meter", nil)
	if len(r.Report("meter")) != 0 {
		t.Error("what is taken away is there")
	}
}

func TestACallWaitsForItsModule(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("meters.dev1.>")
	n := 0
	r.answers(func(_, function, _ string) (string, error) {
		if n++; n < 3 {
			return "", errMissing
		}
		return function, nil
	})
	r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.x", Call: "read", Publish: "meters.{node}.x"}) // no retries
	publish(t, nc, "sensors.dev1.x", "")
	if m := next(t, heard); string(m.Data) != "read" {
		t.Errorf("%s", m.Data)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, heard := r.hear("meters.dev1.>")
	gate := make(chan struct{})
	r.answers(func(_, _, body string) (string, error) {
		<-gate
		return body, nil
	})
	r.bind(fleet.Binding{Name: "b", Every: fleet.Duration(10 * time.Millisecond), Call: "poll", Input: json.RawMessage(`{"a":1}`), Publish: "meters.{node}.x"})
	wait(t, "a tick that finds the last at work", func() bool { return r.report("b").Dropped > 2 })
	if got := r.report("b"); got.Waiting != 1 {
		t.Errorf("%d wait", got.Waiting)
	}
	close(gate)
	for range 3 {
		if m := next(t, heard); string(m.Data) != `{"a":1}` {
			t.Errorf("%s", m.Data)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Set("meter", []fleet.Binding{{Name: "a", Path: "/read", Call: "read", File: "out/{name}.txt"}})
	r.Set("other", []fleet.Binding{{Name: "b", Path: "/read", Call: "read"}})
	got, err := r.Serve(t.Context(), "/read", "", []byte("7"))
	if err != nil || string(got.Body) != "read:7" || got.Release != "meter@1.0.0" {
		t.Errorf("%+v (%v)", got, err)
	}
	if b, err := os.ReadFile(filepath.Join(r.dir, "files", "out", "_read.txt")); err != nil || string(b) != "read:7" {
		t.Errorf("written: %q (%v)", b, err)
	}
	if _, err := r.Serve(t.Context(), "/other", "", nil); !errors.Is(err, binding.ErrNoBinding) {
		t.Errorf("%v", err)
	}
	if p := r.Report("other")[0].Problem; !strings.Contains(p, "meter.a") {
		t.Errorf("two have one path: %q", p)
	}
	r.Set("meter", nil) // frees it
	if got, err := r.Serve(t.Context(), "/read", "", []byte("8")); err != nil || got.Release != "other@1.0.0" {
		t.Errorf("%+v (%v)", got, err)
	}
	// Who waits hears the error, and there is no dead letter of it; who goes away waits no longer.
	r.answers(func(_, _, _ string) (string, error) { return "", &isomer.TrapError{} })
	if _, err := r.Serve(t.Context(), "/read", "", nil); err == nil || isomer.OutcomeOf(err) != isomer.OutcomeTrap {
		t.Errorf("%v", err)
	}
}

func TestOwnersBindingsAreBesideTheHubs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := filepath.Join(t.TempDir(), "answer.txt")
	r.SetLocal([]fleet.LocalBinding{{Module: "meter", Binding: fleet.Binding{Name: "a", Path: "/mine", Call: "read", File: out}}})
	r.Set("meter", []fleet.Binding{{Name: "a", Path: "/theirs", Call: "read"}})
	r.Set("meter", nil)
	if _, err := r.Serve(t.Context(), "/mine", "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "read:x" {
		t.Errorf("written: %q (%v)", b, err)
	}
	r.SetLocal(nil)
	if _, err := r.Serve(t.Context(), "/mine", "", nil); !errors.Is(err, binding.ErrNoBinding) {
		t.Errorf("%v", err)
	}
	// The hub cannot have a path above the node's folder, nor another's subject.
	r.Set("meter", []fleet.Binding{{Name: "up", Folder: "/etc", Call: "read"}, {Name: "others", Subject: "sensors.dev2.x", Call: "read"}})
	for _, b := range r.Report("meter") {
		if b.Problem == "" {
			t.Errorf("%s works", b.Name)
		}
	}
}

func TestClosingWorksOnWhatWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nc, heard := r.hear("meters.dev1.>")
	r.answers(func(_, _, body string) (string, error) { return body, nil })
	r.bind(fleet.Binding{Name: "b", Subject: "sensors.{node}.x", Call: "read", Publish: "meters.{node}.x", Queue: 1000})
	for i := range 500 {
		publish(t, nc, "sensors.dev1.x", fmt.Sprint(i))
	}
	if err := errors.Join(nc.Flush(), r.nc.Flush()); err != nil { // they have arrived
		t.Fatal(err)
	}
	r.Close()
	for i := range 500 {
		if m := next(t, heard); string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("%s comes where %d was due", m.Data, i)
		}
	}
}
