package conformance

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/identity"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// cluster is three hubs, each in a process of its own.
type cluster struct {
	t      *testing.T
	dir    string
	hubs   [3]*exec.Cmd
	urls   []string // of their APIs
	nats   []string
	access hub.Access
	admin  *client.Client
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	first := filepath.Join(c.dir, "hub-1", "identity")
	_, err := identity.Open(first) // what the first start of a hub makes
	check(t, err)
	_, err = registry.LoadOnline(filepath.Join(first, "online.json"))
	check(t, err)
	var addresses []string
	for range c.hubs {
		addresses = append(addresses, brokertest.Address(c.t, "127.0.0.1"))
	}
	started := make(chan string)
	for i := range c.hubs {
		dir := filepath.Join(c.dir, fmt.Sprintf("hub-%d", i+1))
		if i > 0 {
			check(t, os.CopyFS(filepath.Join(dir, "identity"), os.DirFS(first)))
		}
		routes := append([]string{addresses[i]}, slices.Delete(slices.Clone(addresses), i, i+1)...)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ISOMER_TEST_HUB="+dir, "ISOMER_TEST_PORTS=127.0.0.1:0,127.0.0.1:0,127.0.0.1:0", "ISOMER_TEST_ROUTES="+strings.Join(routes, ","))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		check(t, err)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		c.hubs[i] = cmd
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = in.Close()
		})
		go func() {
			var ports string
			_, _ = fmt.Fscan(out, &ports)
			started <- ports
		}()
	}
	for range c.hubs {
		ports := strings.Split(<-started, ",")
		if len(ports) != 3 {
			t.Fatal("a hub does not start")
		}
		c.urls, c.nats = append(c.urls, "https://"+ports[0]), append(c.nats, "tls://"+ports[1])
	}
	c.findToken()
	return c
}

// findToken takes the admin's token, which one of the hubs made.
func (c *cluster) findToken() {
	for i := range c.hubs {
		b, err := os.ReadFile(hub.AdminFile(filepath.Join(c.dir, fmt.Sprintf("hub-%d", i+1))))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		check(c.t, err)
		check(c.t, json.Unmarshal(b, &c.access))
	}
	c.access.URL = strings.Join(c.urls, ",")
	var err error
	c.admin, err = client.New(client.Config{URL: c.access.URL, Token: c.access.Token, CA: c.access.CA, Timeout: 5 * time.Second})
	check(c.t, err)
}

// killLeader kills the hub that leads the stream of a bucket, and says which it was.
func (c *cluster) killLeader(ctx context.Context, bucket string) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, "hub-1", "identity")
	authority, err := identity.Open(dir)
	check(c.t, err)
	u, err := authority.Hub("killer")
	check(c.t, err)
	nc, err := nats.Connect(strings.Join(c.nats, ","), nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.RootCAs(filepath.Join(dir, "ca.pem")))
	check(c.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(c.t, err)
	str, err := js.Stream(ctx, "KV_"+bucket)
	check(c.t, err)
	leader := str.CachedInfo().Cluster.Leader
	var n int
	if _, err := fmt.Sscanf(leader, "hub-%d", &n); err != nil || n < 1 || n > 3 {
		c.t.Fatalf("%q leads", leader)
	}
	check(c.t, c.hubs[n-1].Process.Kill())
	return leader
}

// writers invite nodes, each under a name of its own, and keep the names whose invitation was acknowledged.
type writers struct {
	mu    sync.Mutex
	acked map[string]time.Time
	lost  int // not acknowledged
	stop  context.CancelFunc
	work  sync.WaitGroup
}

func (c *cluster) write(ctx context.Context, n int) *writers {
	w := &writers{acked: map[string]time.Time{}}
	ctx, w.stop = context.WithCancel(ctx)
	for i := range n {
		w.work.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				name := fmt.Sprintf("w%d-%d", i, j)
				_, err := c.admin.Invite(ctx, client.Invitation{Name: name, Layer: fleet.Device})
				w.mu.Lock()
				if err == nil {
					w.acked[name] = time.Now()
				} else {
					w.lost++
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

// after waits for n acknowledgements later than a moment, and returns the first of them.
func (w *writers) after(t *testing.T, when time.Time, n int) time.Time {
	t.Helper()
	var first time.Time
	hubtest.Wait(t, "writes that are acknowledged", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		have := 0
		first = time.Time{}
		for _, at := range w.acked {
			if at.After(when) {
				have++
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
		}
		return have >= n
	})
	return first
}

// isomer runs the real command against the cluster.
func (c *cluster) isomer(bin string, args ...string) string {
	c.t.Helper()
	var out []byte
	var err error
	hubtest.Wait(c.t, "isomer "+strings.Join(args, " "), func() bool { // as a person would, who is told that the cluster looks for a leader
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "ISOMER_HUB="+c.access.URL, "ISOMER_TOKEN="+c.access.Token, "ISOMER_CA="+c.access.CA, "HOME="+c.dir, "XDG_CONFIG_HOME="+c.dir)
		cmd.Dir = c.dir
		if out, err = cmd.CombinedOutput(); err != nil {
			c.t.Logf("isomer %s: %v: %s", args[0], err, out)
		}
		return err == nil
	})
	return string(out)
}

// TestAClusterThatLosesItsLeader kills the hub that leads the members' stream while members are written: whatever was
// acknowledged is there, and nodes and commands go on with the other two.
func TestAClusterThatLosesItsLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts three hubs and builds the command (-short)")
	}
	bin := filepath.Join(t.TempDir(), "isomer")
	build := exec.Command("go", "build", "-o", bin, "../cmd/isomer")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c := newCluster(t)
	h := &hubProcess{t: t, admin: c.admin}
	var err error
	keys := filepath.Join(t.TempDir(), "keys")
	h.keys, err = trust.CreateKeys(keys, trust.KeysOptions{})
	check(t, err)
	snapshot, timestamp, err := c.admin.OnlineKeys(ctx)
	check(t, err)
	h.sign(h.keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}}))

	var mu sync.Mutex
	runs := map[string]string{}
	nodes := make([]*simulated, 6)
	for i := range nodes {
		nodes[i], err = h.simulate(ctx, fmt.Sprintf("dev%d", i), x509.NewCertPool(), func(node string, d fleet.Desired) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range d.Modules {
				runs[node] = m.Release.Version
			}
		})
		check(t, err)
		defer nodes[i].nc.Close()
	}
	w := c.write(ctx, 4)
	w.after(t, time.Time{}, 40)
	leader := c.killLeader(ctx, fleet.MembersBucket)
	killed := time.Now()
	first := w.after(t, killed.Add(100*time.Millisecond), 20)
	t.Logf("%s, which led, is killed; the next write is acknowledged %v later", leader, first.Sub(killed).Round(time.Millisecond))

	file := filepath.Join(t.TempDir(), "meter.wasm")
	check(t, os.WriteFile(file, versioned("1"), 0o600))
	c.isomer(bin, "publish", file, "--as", "meter@1.0.0", "--keys", keys)
	c.isomer(bin, "deploy", "meter@1.0.0", "--to", "all")
	hubtest.Wait(t, "the release on every node", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(runs) == len(nodes)
	})
	if out := c.isomer(bin, "nodes"); !strings.Contains(out, "dev5") {
		t.Errorf("isomer nodes: %s", out)
	}
	w.stop()
	w.work.Wait()
	for name := range w.acked {
		hubtest.Wait(t, name+", whose invitation was acknowledged,", func() bool {
			_, err := c.admin.Node(ctx, name)
			if e, ok := errors.AsType[*client.Error](err); ok && e.Status == 404 {
				t.Fatalf("%s was acknowledged and is lost", name)
			}
			return err == nil
		})
	}
	t.Logf("%d writes were acknowledged, all are there; %d were not", len(w.acked), w.lost)
}
