package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// site is what a node needs of a hub and no more: a NATS server, signed metadata, modules and a desired state
// that the test sets. Tests that go through many states use it where hubtest.Rig would be slow.
type site struct {
	t      testing.TB
	url    string
	nc     *nats.Conn
	keys   *trust.Keys
	online *trust.Online

	mu      sync.Mutex
	files   trust.Files
	modules map[string][]byte
	desired fleet.Desired
	rev     uint64
	chunk   func(fleet.ChunkRequest) error // asked for each chunk; nil: all are given
	report  fleet.Report                   // the last
}

func newSite(t testing.TB) *site {
	t.Helper()
	ns, err := server.NewServer(&server.Options{ServerName: "site", Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(hubtest.Patience) {
		t.Fatal("the server does not start")
	}
	s := &site{t: t, url: ns.ClientURL(), modules: map[string][]byte{}, desired: fleet.Desired{Node: "dev1", Modules: []fleet.DesiredModule{}}}
	if s.online, err = trust.NewOnline(); err != nil {
		t.Fatal(err)
	}
	if s.keys, err = trust.CreateKeys(filepath.Join(t.TempDir(), "keys"), trust.KeysOptions{}); err != nil {
		t.Fatal(err)
	}
	s.upload(s.keys.Init(trust.Setup{Online: s.online.Public()}))
	if s.nc, err = nats.Connect(s.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	if _, err := s.nc.Subscribe(fleet.FetchSubject("hub", "*", "*"), s.answer); err != nil {
		t.Fatal(err)
	}
	_, err = s.nc.Subscribe(fleet.TelemetrySubject("dev1", fleet.StateSubject), func(m *nats.Msg) {
		var r fleet.Report
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Errorf("a report: %v", err)
		}
		s.mu.Lock()
		s.report = r
		s.mu.Unlock()
	})
	if err := errors.Join(err, s.nc.Flush()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) upload(c *trust.Change, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files, err = s.online.Accept(s.files, c.Files); err != nil {
		s.t.Fatal(err)
	}
	if err := s.keys.Commit(c); err != nil {
		s.t.Fatal(err)
	}
}

// publish signs a module as a release of meter.
func (s *site) publish(version string, bin []byte) {
	s.t.Helper()
	s.mu.Lock()
	s.modules[hubtest.Digest(bin)] = bin
	s.mu.Unlock()
	s.upload(s.keys.AddTarget(hubtest.Ref(s.t, "meter@"+version), hubtest.Digest(bin), int64(len(bin)), 20))
}

// want asks the node for a release, by a deployment of its own, whose name it returns.
func (s *site) want(version string, bin []byte) string {
	s.t.Helper()
	s.mu.Lock()
	s.rev++
	m := fleet.DesiredModule{
		Release: hubtest.Ref(s.t, "meter@"+version), Digest: hubtest.Digest(bin), Size: int64(len(bin)), Deployment: "d" + strconv.FormatUint(s.rev, 10),
	}
	s.desired.Modules = []fleet.DesiredModule{m}
	msg := s.document()
	s.mu.Unlock()
	msg.Subject = fleet.DesiredSubject("dev1")
	if err := errors.Join(s.nc.PublishMsg(msg), s.nc.Flush()); err != nil {
		s.t.Fatal(err)
	}
	return m.Deployment
}

func (s *site) document() *nats.Msg {
	b, err := json.Marshal(s.desired)
	if err != nil {
		s.t.Fatal(err)
	}
	return &nats.Msg{Data: b, Header: nats.Header{fleet.RevisionHeader: {strconv.FormatUint(s.rev, 10)}}}
}

func (s *site) answer(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(m.Subject, ".")
	var out *nats.Msg
	missing := &nats.Msg{Header: nats.Header{fleet.ErrorHeader: {fleet.CodeNotFound + " " + m.Subject}}}
	switch parts[2] {
	case "desired":
		out = s.document()
	case "trust":
		out = missing
		for name, b := range s.files {
			if fleet.TrustKey(name) == parts[3] {
				out = &nats.Msg{Data: b}
			}
		}
	case "module":
		bin := s.modules[parts[3]]
		r, err := fleet.DecodeChunkRequest(m.Data)
		if err == nil && s.chunk != nil {
			err = s.chunk(r)
		}
		if err != nil {
			out = &nats.Msg{Header: nats.Header{fleet.ErrorHeader: {fleet.CodeInternal + " " + err.Error()}}}
			break
		}
		end := min(r.Offset+int64(r.Length), int64(len(bin)))
		out = &nats.Msg{Data: bin[r.Offset:end], Header: nats.Header{fleet.SizeHeader: {strconv.Itoa(len(bin))}}}
	}
	if err := m.RespondMsg(out); err != nil {
		s.t.Errorf("answer: %v", err)
	}
}

// identity is the node's.
func (s *site) identity() node.Identity {
	s.t.Helper()
	pin, err := s.keys.Fingerprint()
	if err != nil {
		s.t.Fatal(err)
	}
	root, err := s.files.Root(pin)
	if err != nil {
		s.t.Fatal(err)
	}
	kp, err := nkeys.CreateUser()
	if err != nil {
		s.t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		s.t.Fatal(err)
	}
	return node.Identity{Seed: string(seed), RootPin: pin, Enrolment: fleet.Enrolment{Node: "dev1", Layer: fleet.Device, Root: root}}
}

// config is an agent's on the folder dir.
func (s *site) config(dir string) node.Config {
	return node.Config{Dir: dir, Identity: s.identity(), Version: "test", Connect: func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(s.url, o...) }}
}

// module waits until the node reports the deployment in a state that ok takes, and returns that.
func (s *site) module(deployment string, ok func(fleet.ModuleReport) bool) fleet.ModuleReport {
	s.t.Helper()
	var got fleet.ModuleReport
	hubtest.Wait(s.t, "the node's end of "+deployment, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.report.Modules) != 1 || s.report.Modules[0].Deployment != deployment {
			return false
		}
		got = s.report.Modules[0]
		return ok(got)
	})
	return got
}

func in(states ...fleet.ModuleState) func(fleet.ModuleReport) bool {
	return func(r fleet.ModuleReport) bool {
		for _, s := range states {
			if r.State == s {
				return true
			}
		}
		return false
	}
}

// run starts an agent as configured.
func run(t testing.TB, c node.Config) *running {
	t.Helper()
	if os.Getenv("ISOMER_TEST_LOG") != "" {
		c.Log = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	a := &running{t: t, dir: c.Dir, done: make(chan error, 1)}
	var err error
	if a.agent, err = node.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	go func() { a.done <- a.agent.Run(ctx) }()
	t.Cleanup(a.end)
	return a
}

// booted is the version that serves in the folder without a network; empty: none does.
func booted(t testing.TB, c node.Config) string {
	t.Helper()
	a, err := node.New(t.Context(), c)
	if err != nil {
		t.Errorf("it does not start: %v", err)
		return ""
	}
	defer a.Close()
	if a.Module("meter") == nil {
		return ""
	}
	got, err := a.Call(t.Context(), "meter", "version", "", nil)
	if err != nil {
		t.Errorf("what serves fails: %v", err)
	}
	if want := hubtest.Digest(guest(string(got.Body), string(got.Body))); got.Digest != want && len(got.Body) > 0 && got.Body[0] != 'L' {
		t.Errorf("version %s has the digest %s, want %s", got.Body, got.Digest, want)
	}
	return string(got.Body)
}

// sharedEngine is one for many short agents: each with a compiler of its own would take most of the test's time.
func sharedEngine(t testing.TB) engine.Engine {
	t.Helper()
	e, err := wazero.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// large is a module of about n bytes: version v with an empty section.
func large(v string, n int) []byte {
	bin := guest(v, v)
	section := append([]byte{1, 'x'}, make([]byte, n)...)
	size := len(section)
	bin = append(bin, 0)
	for ; size >= 0x80; size >>= 7 {
		bin = append(bin, byte(size)|0x80)
	}
	return append(append(bin, byte(size)), section...)
}

// agentDir makes the test's binary an agent on that folder, which the test kills.
const agentDir, agentURL, agentCalls = "ISOMER_TEST_AGENT_DIR", "ISOMER_TEST_AGENT_URL", "ISOMER_TEST_AGENT_CALLS"

func TestMain(m *testing.M) {
	dir := os.Getenv(agentDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	id, err := node.LoadIdentity(dir)
	if err == nil {
		var a *node.Agent
		a, err = node.New(ctx, node.Config{Dir: dir, Identity: id, Version: "test", Connect: func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(os.Getenv(agentURL), o...) }})
		if fn := os.Getenv(agentCalls); fn != "" && err == nil {
			go func() { _, _ = a.Call(ctx, "meter", fn, "", nil) }()
		}
		if err == nil {
			err = a.Run(ctx)
			a.Close()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
