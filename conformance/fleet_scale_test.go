package conformance

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// TestMain lets a test start parts of a fleet as processes of their own, to kill them, to measure them and to put them
// into networks of their own.
func TestMain(m *testing.M) {
	for name, run := range processes {
		if dir := os.Getenv(name); dir != "" {
			if err := run(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// processes are what this binary can be, by the environment variable with the folder.
var processes = map[string]func(dir string) error{"ISOMER_TEST_HUB": runHub}

func runHub(dir string) error {
	ports := strings.Split(os.Getenv("ISOMER_TEST_PORTS"), ",")
	debug.SetGCPercent(50) // as "isomer hub" does
	var log *slog.Logger
	if os.Getenv("ISOMER_TEST_LOG") != "" { // for whoever looks for a fault
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c := hub.Config{
		Dir: dir, API: ports[0], Listen: broker.Listen{NATS: ports[1], Leaf: ports[2]}, Hosts: []string{"127.0.0.1"}, Version: "test", Log: log,
	}
	if routes := os.Getenv("ISOMER_TEST_ROUTES"); routes != "" { // its own address first
		all := strings.Split(routes, ",")
		c.Name, c.Cluster, c.Listen.Cluster = filepath.Base(dir), "hubs", all[0]
		for _, other := range all[1:] {
			c.Routes = append(c.Routes, "nats-route://"+other)
		}
	}
	h, err := hub.Start(context.Background(), c)
	if err != nil {
		return err
	}
	defer h.Stop()
	port := func(url string) string { return url[strings.LastIndex(url, "/")+1:] }
	fmt.Println(strings.Join([]string{h.Address(), port(h.Broker().URL()), port(h.Broker().LeafURL())}, ","))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// hubProcess is a hub in a process of its own.
type hubProcess struct {
	t     testing.TB
	dir   string
	ports string
	cmd   *exec.Cmd
	stdin io.Closer
	admin *client.Client
	keys  *trust.Keys
}

// newHubProcess starts a hub with the developer's keys.
func newHubProcess(t testing.TB) *hubProcess {
	t.Helper()
	h := &hubProcess{t: t, dir: filepath.Join(t.TempDir(), "hub"), ports: strings.Join([]string{brokertest.Address(t, "127.0.0.1"), brokertest.Address(t, "127.0.0.1"), brokertest.Address(t, "127.0.0.1")}, ",")}
	h.start()
	t.Cleanup(h.kill)
	var err error
	if h.keys, err = trust.CreateKeys(filepath.Join(t.TempDir(), "keys"), trust.KeysOptions{}); err != nil {
		t.Fatal(err)
	}
	snapshot, timestamp, err := h.admin.OnlineKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.sign(h.keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}}))
	return h
}

// start starts the hub, after kill again on the same ports.
func (h *hubProcess) start() {
	h.t.Helper()
	h.cmd = exec.Command(os.Args[0])
	h.cmd.Env = append(os.Environ(), "ISOMER_TEST_HUB="+h.dir, "ISOMER_TEST_PORTS="+h.ports)
	h.cmd.Stderr = os.Stderr
	in, err := h.cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.stdin = in
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	if _, err := fmt.Fscan(out, &h.ports); err != nil {
		h.t.Fatalf("the hub does not start: %v", err)
	}
	b, err := os.ReadFile(hub.AdminFile(h.dir))
	if err != nil {
		h.t.Fatal(err)
	}
	var a hub.Access
	if err := json.Unmarshal(b, &a); err != nil {
		h.t.Fatal(err)
	}
	if h.admin, err = client.New(client.Config{URL: a.URL, Token: a.Token, CA: a.CA, Timeout: 2 * time.Minute}); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the hub as a power cut would, as far as a process can be hit by one.
func (h *hubProcess) kill() {
	if h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		_ = h.stdin.Close()
	}
}

func (h *hubProcess) sign(c *trust.Change, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.admin.PutTrust(h.t.Context(), c.Files); err != nil {
		h.t.Fatal(err)
	}
	if err := h.keys.Commit(c); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hubProcess) publish(ref string, bin []byte) {
	h.t.Helper()
	if err := h.admin.PutModule(h.t.Context(), hubtest.Digest(bin), int64(len(bin)), bytes.NewReader(bin)); err != nil {
		h.t.Fatal(err)
	}
	h.sign(h.keys.AddTarget(hubtest.Ref(h.t, ref), hubtest.Digest(bin), int64(len(bin)), 0))
}

// rss is the hub's resident memory in MB.
func (h *hubProcess) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return 0 // no Linux
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			return kb / 1000
		}
	}
	return 0
}

// simulated is a node with a connection, claims and reports of its own, and no engine: it says that it runs what
// it should, or whatever refuse says.
type simulated struct {
	name  string
	nc    *nats.Conn
	heard func(node string, d fleet.Desired)
	mu    sync.Mutex
	bad   string // deployment that it refuses
	// revision is of the newest desired state that it heard on this connection.
	revision uint64
}

func (h *hubProcess) simulate(ctx context.Context, name string, pool *x509.CertPool, heard func(string, fleet.Desired)) (*simulated, error) {
	tok, err := h.admin.Invite(ctx, client.Invitation{Name: name, Layer: fleet.Device})
	if err != nil {
		return nil, err
	}
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	e, err := h.admin.Enrol(ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: pub})
	if err != nil {
		return nil, err
	}
	pool.AppendCertsFromPEM([]byte(e.CA))
	s := &simulated{name: name, heard: heard}
	s.nc, err = nats.Connect(strings.Join(e.Servers, ","), nats.UserJWTAndSeed(e.JWT, string(seed)), nats.Secure(),
		nats.ClientTLSConfig(nil, func() (*x509.CertPool, error) { return pool, nil }), nats.CustomInboxPrefix("_INBOX_"+name),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.Timeout(30*time.Second),
		nats.ReconnectHandler(func(*nats.Conn) {
			s.mu.Lock()
			s.revision = 0
			s.mu.Unlock()
			go s.ask()
		}))
	if err != nil {
		return nil, err
	}
	_, err = s.nc.Subscribe(fleet.DesiredSubject(name), s.take)
	if err == nil {
		err = s.report(fleet.Desired{})
	}
	return s, errors.Join(err, s.nc.FlushTimeout(time.Minute))
}

// ask asks for the desired state, as an agent does when its connection comes back.
func (s *simulated) ask() {
	for range 100 {
		m, err := s.nc.Request(fleet.FetchSubject("hub", "desired", s.name), nil, 5*time.Second)
		if err == nil && m.Header.Get(fleet.ErrorHeader) == "" {
			s.take(m)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// take takes a desired state that is not older than what was heard: answers and what is published overtake each other.
func (s *simulated) take(m *nats.Msg) {
	d, err := fleet.DecodeDesired(m.Data)
	if err != nil {
		return
	}
	revision, _ := strconv.ParseUint(m.Header.Get(fleet.RevisionHeader), 10, 64)
	s.mu.Lock()
	if revision < s.revision {
		s.mu.Unlock()
		return
	}
	s.revision = revision
	s.heard(s.name, d)
	s.mu.Unlock()
	_ = s.report(d) // a lost connection makes it ask again
}

func (s *simulated) report(d fleet.Desired) error {
	r := fleet.Report{Node: s.name, Layer: fleet.Device, At: time.Now(), Modules: []fleet.ModuleReport{}}
	s.mu.Lock()
	bad := s.bad
	s.mu.Unlock()
	for _, m := range d.Modules {
		mr := fleet.ModuleReport{
			Name: m.Release.Name, State: fleet.Running, Desired: m.Release, Release: m.Release, Deployment: m.Deployment, Digest: m.Digest,
			Stats: fleet.CallStats{Calls: 10, P50: 100, P95: 200},
		}
		if m.Deployment == bad {
			mr.State, mr.Reason = fleet.Refused, "as told"
		}
		r.Modules = append(r.Modules, mr)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.nc.Publish(fleet.TelemetrySubject(s.name, fleet.StateSubject), b)
}

// simulateAll enrols and connects n nodes, sixteen at a time, and disconnects them at the test's end.
func (h *hubProcess) simulateAll(ctx context.Context, n int, heard func(string, fleet.Desired)) []*simulated {
	h.t.Helper()
	nodes := make([]*simulated, n)
	h.t.Cleanup(func() {
		for _, s := range nodes {
			if s != nil {
				s.nc.Close()
			}
		}
	})
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				s, err := h.simulate(ctx, fmt.Sprintf("dev%d", i), x509.NewCertPool(), heard)
				if err != nil {
					h.t.Errorf("node %d: %v", i, err)
					return
				}
				nodes[i] = s
			}
		})
	}
	wg.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
	return nodes
}

// nodesWanted is ISOMER_NODES, or few enough for every run.
func nodesWanted(t *testing.T, few int) int {
	t.Helper()
	s := os.Getenv("ISOMER_NODES")
	if s == "" {
		return few
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("ISOMER_NODES=%s is no number of nodes", s)
	}
	return n
}

// TestManyNodesHearOfADeployment is the figure "5,000 nodes on one hub" with ISOMER_NODES=5000; without it some
// hundred, to see that it works. What it measures it prints; it fails for what is wrong, never for what is slow.
func TestManyNodesHearOfADeployment(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hub and 300 nodes (-short)")
	}
	n := nodesWanted(t, 300)
	h := newHubProcess(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var deployment string
	at := map[string]time.Time{}
	heard := func(node string, d fleet.Desired) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if _, ok := at[node]; !ok && len(d.Modules) == 1 {
			at[node] = now
		}
	}
	began := time.Now()
	h.simulateAll(ctx, n, heard)
	t.Logf("%d nodes are enrolled and connected in %.1f s; the hub has %.0f MB", n, time.Since(began).Seconds(), h.rss())

	h.publish("meter@1.0.0", enginetest.Guest{Version: "1"}.Build())
	began = time.Now()
	noSoak := fleet.Plan{}
	d, err := h.admin.Deploy(ctx, client.Deployment{Release: hubtest.Ref(t, "meter@1.0.0"), To: "all", Plan: noSoak})
	if err != nil {
		t.Fatal(err)
	}
	deployment = d.ID
	for {
		r, err := h.admin.Rollout(ctx, deployment)
		if e, ok := errors.AsType[*client.Error](err); err == nil && r.Phase == fleet.Completed {
			if r.Updated != n {
				t.Errorf("%d of %d nodes are updated", r.Updated, n)
			}
			break
		} else if err != nil && (!ok || e.Status != 404) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	reported := time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	if len(at) != n {
		t.Errorf("%d of %d nodes heard of it", len(at), n)
	}
	var took []time.Duration
	for _, when := range at {
		took = append(took, when.Sub(began))
	}
	slices.Sort(took)
	t.Logf("they hear of a deployment after p50 %v, p99 %v, all %v; all have reported after %v; the hub has %.0f MB",
		took[len(took)/2].Round(time.Millisecond), took[(len(took)-1)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond),
		reported.Round(time.Millisecond), h.rss())
}
