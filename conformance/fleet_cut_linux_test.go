package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// The network of the test: the hub's namespace and the site's, joined by a bridge in a third one. Taking the site off
// the bridge loses every packet without a word to either side, as a broken uplink does.
const (
	cutHub  = "10.77.0.1"
	cutSite = "10.77.0.2"
)

// TestAnEdgeIsCutFromItsHub loses every packet between a hub and an edge, with devices that call and report all the
// while: no local call fails, all telemetry is at the hub afterwards, once, and what was deployed meanwhile runs. ISOMER_CUT
// says for how long, 5 s otherwise.
func TestAnEdgeIsCutFromItsHub(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes networks and loses their packets (-short)")
	}
	if net := os.Getenv("ISOMER_TEST_NET"); net != "" {
		testCut(t, net)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root may make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip: install iproute2")
	}
	net := fmt.Sprintf("isomer%d", os.Getpid())
	for _, ns := range []string{net + "h", net + "m", net + "s"} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	if out, err := ip("-n", net+"m", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"); err != nil {
		t.Skipf("no bridges here: %v: %s", err, out)
	}
	lines := []string{"-n M link set br0 up"}
	for end, address := range map[string]string{"h": cutHub, "s": cutSite} {
		lines = append(lines, "-n M link add to"+end+" type veth peer name eth0 netns NET"+end, "-n M link set to"+end+" master br0", "-n M link set to"+end+" up",
			"-n NET"+end+" link set lo up", "-n NET"+end+" addr add "+address+"/24 dev eth0", "-n NET"+end+" link set eth0 up")
	}
	for _, line := range lines {
		args := strings.Fields(strings.NewReplacer("M ", net+"m ", "NET", net).Replace(line))
		if out, err := ip(args...); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	c := exec.CommandContext(t.Context(), "ip", "netns", "exec", net+"h", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "9m")
	c.Env = append(os.Environ(), "ISOMER_TEST_NET="+net)
	out, err := c.CombinedOutput()
	t.Logf("in the hub's namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func ip(args ...string) ([]byte, error) { return exec.Command("ip", args...).CombinedOutput() }

func init() { processes["ISOMER_TEST_SITE"] = runSite }

// siteOrders is what the site's process is told.
type siteOrders struct {
	Edge    fleet.JoinToken
	Devices []fleet.JoinToken
}

// siteNews is what it says, a line each.
type siteNews struct {
	Ready   bool
	Node    string // this node runs Version now
	Version string
	At      time.Time
	Stats   *siteStats // the last line
}

type siteStats struct {
	Calls, Failed int64
	Why           string         // of the first that failed
	Sent          map[string]int // telemetry by device
}

func testCut(t *testing.T, net string) {
	length := 5 * time.Second
	if s := os.Getenv("ISOMER_CUT"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	r := hubtest.NewOn(t, cutHub)
	orders := siteOrders{Edge: r.Token("gw1", fleet.Edge, nil)}
	devices := []string{"dev1", "dev2"}
	for _, d := range devices {
		orders.Devices = append(orders.Devices, r.Token(d, fleet.Device, nil))
	}
	site := startSite(t, net, orders)
	site.until(t, func(n siteNews) bool { return n.Ready })

	r.Publish("meter@1.0.0", versioned("1"))
	r.Publish("meter@2.0.0", versioned("2"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed || ro.Updated != 3 {
		t.Fatalf("the rollout is %s with %d nodes: %+v", ro.Phase, ro.Updated, ro.History)
	}
	site.runs(t, "1", devices)

	if out, err := ip("-n", net+"m", "link", "set", "tos", "nomaster"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	time.Sleep(length / 2)
	d := r.Deploy("meter@2.0.0", "all", fleet.Plan{})
	time.Sleep(length / 2)
	back := time.Now()
	if out, err := ip("-n", net+"m", "link", "set", "tos", "master", "br0"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	last := site.runs(t, "2", devices)
	if last.Before(back) {
		t.Errorf("version 2 runs %v before the link is back", back.Sub(last))
	}
	if ro := r.Ended(d.ID); ro.Phase != fleet.Completed || ro.Updated != 3 {
		t.Errorf("the rollout is %s with %d nodes: %+v", ro.Phase, ro.Updated, ro.History)
	}
	stats := site.stop(t)
	if stats.Failed > 0 || stats.Calls == 0 {
		t.Errorf("%d of %d local calls failed, the first with %s", stats.Failed, stats.Calls, stats.Why)
	}
	arrivedOnce(t, r, stats.Sent)
	t.Logf("cut for %v: %d local calls, %d failed; %v reports, each at the hub once; what was deployed meanwhile runs %v after the link's return",
		length, stats.Calls, stats.Failed, stats.Sent, last.Sub(back).Round(time.Millisecond))
}

// arrivedOnce waits for the telemetry and checks that each report is there once.
func arrivedOnce(t *testing.T, r *hubtest.Rig, sent map[string]int) {
	t.Helper()
	str, err := r.Hub.Store().JetStream().Stream(r.Ctx, fleet.TelemetryStream)
	if err != nil {
		t.Fatal(err)
	}
	for dev, want := range sent {
		subject := fleet.TelemetrySubject(dev, fleet.MetricSubject)
		hubtest.Wait(t, "the telemetry of "+dev, func() bool {
			info, err := str.Info(r.Ctx, jetstream.WithSubjectFilter(subject))
			return err == nil && info.State.Subjects[subject] >= uint64(want)
		})
		c, err := str.OrderedConsumer(r.Ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			m, err := c.Next(jetstream.FetchMaxWait(hubtest.Patience))
			if err != nil {
				t.Fatalf("%s: report %d: %v", dev, i, err)
			}
			if got := string(m.Data()); got != fmt.Sprint(i) {
				t.Fatalf("%s: %s is where report %d should be", dev, got, i)
			}
		}
		info, err := str.Info(r.Ctx, jetstream.WithSubjectFilter(subject))
		if err != nil || info.State.Subjects[subject] != uint64(want) {
			t.Errorf("%s: %d reports, sent were %d (%v)", dev, info.State.Subjects[subject], want, err)
		}
	}
}

// site is the process with the edge and its devices.
type site struct {
	stdin io.WriteCloser
	news  chan siteNews
}

func startSite(t *testing.T, net string, o siteOrders) *site {
	t.Helper()
	c := exec.CommandContext(t.Context(), "ip", "netns", "exec", net+"s", os.Args[0])
	c.Env = append(os.Environ(), "ISOMER_TEST_SITE="+t.TempDir())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	s := &site{in, make(chan siteNews, 1000)}
	go func() {
		defer close(s.news)
		for dec := json.NewDecoder(out); ; {
			var n siteNews
			if dec.Decode(&n) != nil {
				return
			}
			s.news <- n
		}
	}()
	if err := json.NewEncoder(in).Encode(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// until reads what the site says until it is what was wanted.
func (s *site) until(t *testing.T, is func(siteNews) bool) siteNews {
	t.Helper()
	end := time.After(3 * time.Minute)
	for {
		select {
		case n, ok := <-s.news:
			if !ok {
				t.Fatal("the site's process ended")
			}
			if is(n) {
				return n
			}
		case <-end:
			t.Fatal("the site does not get there")
		}
	}
}

// runs waits until all devices run a version, and returns when the last of them did.
func (s *site) runs(t *testing.T, version string, devices []string) time.Time {
	t.Helper()
	have := map[string]bool{}
	n := s.until(t, func(n siteNews) bool {
		if n.Version == version {
			have[n.Node] = true
		}
		return n.Version == version && len(have) == len(devices)
	})
	return n.At
}

func (s *site) stop(t *testing.T) siteStats {
	t.Helper()
	if _, err := io.WriteString(s.stdin, "stop\n"); err != nil {
		t.Fatal(err)
	}
	return *s.until(t, func(n siteNews) bool { return n.Stats != nil }).Stats
}

// runSite is the site's process: an edge and its devices, which call and report without pause.
func runSite(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bufio.NewReader(os.Stdin)
	var o siteOrders
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &o)
	}
	if err != nil {
		return err
	}
	id, err := node.Join(ctx, filepath.Join(dir, "gw1"), o.Edge, node.JoinOptions{Addresses: []string{"127.0.0.1"}})
	if err != nil {
		return err
	}
	var log slog.Handler
	if os.Getenv("ISOMER_TEST_LOG") != "" { // for whoever looks for a fault
		log = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	e, err := edge.Start(ctx, edge.Config{
		Node: node.Config{Dir: filepath.Join(dir, "gw1"), Identity: id, Version: "test", Log: log}, Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0"}, Enrol: "127.0.0.1:0",
	})
	if err != nil {
		return err
	}
	defer e.Close()
	var running sync.WaitGroup
	running.Go(func() { _ = e.Run(ctx) })
	s := &siteWork{out: json.NewEncoder(os.Stdout), stats: siteStats{Sent: map[string]int{}}, stopping: make(chan struct{})}
	for i, token := range o.Devices {
		if err := s.device(ctx, &running, filepath.Join(dir, fmt.Sprint("device", i)), token, e.EnrolAddress(), e.Addresses()[0]); err != nil {
			return err
		}
	}
	s.say(siteNews{Ready: true})
	if _, err := in.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	close(s.stopping)
	s.working.Wait()
	s.say(siteNews{Stats: &s.stats})
	_, _ = in.ReadByte() // until the test ends: the edge's telemetry is still drawn
	cancel()
	running.Wait()
	return nil
}

type siteWork struct {
	mu       sync.Mutex
	out      *json.Encoder
	stats    siteStats
	stopping chan struct{}
	working  sync.WaitGroup
}

func (s *siteWork) say(n siteNews) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.At = time.Now()
	_ = s.out.Encode(n)
}

// device joins a device through the edge, runs its agent and keeps it busy.
func (s *siteWork) device(ctx context.Context, running *sync.WaitGroup, dir string, token fleet.JoinToken, enrol, address string) error {
	id, err := node.Join(ctx, dir, token, node.JoinOptions{Via: enrol})
	if err != nil {
		return err
	}
	a, err := node.New(ctx, node.Config{Dir: dir, Identity: id, Version: "test"})
	if err != nil {
		return err
	}
	running.Go(func() {
		defer a.Close()
		_ = a.Run(ctx)
	})
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, []byte(id.Enrolment.CA), 0o600); err != nil {
		return err
	}
	name := id.Enrolment.Node
	nc, err := nats.Connect(address, nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed), nats.RootCAs(ca), nats.CustomInboxPrefix(fleet.Inbox(name)))
	if err != nil {
		return err
	}
	s.working.Go(func() {
		defer nc.Close()
		s.report(name, nc)
	})
	s.working.Go(func() { s.call(ctx, name, a) })
	return nil
}

// report sends numbered telemetry.
func (s *siteWork) report(name string, nc *nats.Conn) {
	for i := 0; ; i++ {
		select {
		case <-s.stopping:
			_ = nc.Flush()
			s.mu.Lock()
			s.stats.Sent[name] = i
			s.mu.Unlock()
			return
		case <-time.After(20 * time.Millisecond):
		}
		if err := nc.Publish(fleet.TelemetrySubject(name, fleet.MetricSubject), fmt.Append(nil, i)); err != nil {
			fmt.Fprintln(os.Stderr, "site:", err)
		}
	}
}

// call calls the module, from when it is there first, and says when its version changes.
func (s *siteWork) call(ctx context.Context, name string, a *node.Agent) {
	version := ""
	for {
		select {
		case <-s.stopping:
			return
		case <-time.After(2 * time.Millisecond):
		}
		got, err := a.Call(ctx, "meter", "version", "", nil)
		if version == "" && errors.Is(err, node.ErrNoModule) {
			continue // nothing was deployed yet
		}
		s.mu.Lock()
		s.stats.Calls++
		if err != nil {
			s.stats.Failed++
			if s.stats.Why == "" {
				s.stats.Why = err.Error()
			}
		}
		s.mu.Unlock()
		if v := string(got.Body); err == nil && v != version {
			version = v
			s.say(siteNews{Node: name, Version: v})
		}
	}
}
