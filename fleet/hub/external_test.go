package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// natsServer makes this program a nats-server of the configuration in the present folder.
const natsServer = "ISOMER_TEST_NATS_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(natsServer) == "" {
		os.Exit(m.Run())
	}
	o, err := server.ProcessConfigFile("nats.conf")
	if err == nil {
		o.NoSigs = true
		var s *server.Server
		if s, err = server.NewServer(o); err == nil {
			s.ConfigureLogger()
			s.Start()
			_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends, however it does
			s.Shutdown()
			os.Exit(0)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process is a server of an external cluster.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func startServer(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), natsServer+"=1")
	if os.Getenv("ISOMER_TEST_LOG") != "" {
		p.cmd.Stderr = os.Stderr
	}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// freePort is a port of loopback for a server that goes and comes back.
func freePort(t *testing.T) int {
	t.Helper()
	_, port, _ := net.SplitHostPort(brokertest.Address(t, "127.0.0.1"))
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The files that InitServers writes are all that a NATS cluster needs: two hubs run a fleet on three servers, one of which
// is away for a while, and who is revoked is out on each.
func TestHubsOnAnExternalCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*hubtest.Patience)
	defer cancel()
	dir := t.TempDir()
	var servers []hub.Server
	e := &hub.External{}
	for i := range 3 {
		s := hub.Server{Name: fmt.Sprintf("n%d", i+1), Host: "127.0.0.1", Client: freePort(t), Leaf: freePort(t), Cluster: freePort(t), Listen: "127.0.0.1"}
		servers = append(servers, s)
		e.URLs = append(e.URLs, fmt.Sprintf("tls://127.0.0.1:%d", s.Client))
		e.Leaf = append(e.Leaf, fmt.Sprintf("tls://127.0.0.1:%d", s.Leaf))
	}
	one := filepath.Join(dir, "hub-1")
	folders, err := hub.InitServers(one, servers, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders { // no signing key leaves the hub
		seeds, err := exec.Command("grep", "-rlE", "^S[OAU][A-Z2-7]{56}", f).Output()
		if len(seeds) > 0 {
			t.Errorf("nkey seeds in %s (%v)", seeds, err)
		}
	}
	var running []*process
	for _, f := range folders {
		running = append(running, startServer(t, f))
	}
	two := filepath.Join(dir, "hub-2")
	if err := os.CopyFS(filepath.Join(two, "identity"), os.DirFS(filepath.Join(one, "identity"))); err != nil {
		t.Fatal(err)
	}
	begin := func(dir, name string) *hub.Hub {
		c := hub.Config{Dir: dir, Name: name, API: "127.0.0.1:0", Hosts: []string{"127.0.0.1"}, External: e}
		if os.Getenv("ISOMER_TEST_LOG") != "" {
			c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
		}
		for {
			h, err := hub.Start(ctx, c)
			if err == nil {
				t.Cleanup(h.Stop)
				return h
			}
			if ctx.Err() != nil || !strings.Contains(err.Error(), "external cluster") {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // the servers do not listen yet
		}
	}
	h1 := begin(one, "hub-1")
	h2 := begin(two, "hub-2")
	if h1.Broker() != nil {
		t.Error("there is an embedded server as well")
	}
	var a hub.Access
	b, err := os.ReadFile(hub.AdminFile(one))
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	open := func(h *hub.Hub) *client.Client {
		c, err := client.New(client.Config{URL: h.URL(), Token: a.Token, CA: a.CA})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := &hubtest.Rig{T: t, Ctx: ctx, Dir: dir, Hub: h1, Admin: open(h1)}
	if r.Keys, err = trust.CreateKeys(filepath.Join(dir, "keys"), trust.KeysOptions{}); err != nil {
		t.Fatal(err)
	}
	snapshot, timestamp, err := r.Admin.OnlineKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.Upload(r.Keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}}))
	// State is kept three times.
	for s := range h1.Store().JetStream().ListStreams(ctx).Info() {
		if s.Config.Replicas != 3 {
			t.Errorf("stream %s is kept %d times", s.Config.Name, s.Config.Replicas)
		}
	}
	// A node joins by the one hub and gets what is deployed at the other.
	nodeDir := filepath.Join(dir, "dev1")
	id, err := node.Join(ctx, nodeDir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(id.Enrolment.Servers, ","); got != strings.Join(e.URLs, ",") {
		t.Errorf("the node is told of servers %s", got)
	}
	agent, err := node.New(ctx, node.Config{Dir: nodeDir, Identity: id, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	running1, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- agent.Run(running1) }()
	defer func() { stop(); <-done }()
	guest := func(v string) []byte {
		return enginetest.Guest{Version: v, Manifest: &abi.Manifest{Name: "meter", Version: v, Golden: []abi.Golden{{Function: "version", Output: []byte(v)}}}}.Build()
	}
	r.Publish("meter@1.0.0", guest("1"))
	r.Admin = open(h2)
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	// A server goes: hubs and the node go on with the others.
	_ = running[0].stdin.Close() // it hands over what it leads; killed, the others would find that out after some seconds
	_ = running[0].cmd.Wait()
	hubtest.Wait(t, "a call", func() bool {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		got, err := r.Admin.Call(c, client.Call{Module: "meter", Function: "version", Node: "dev1"})
		return err == nil && string(got.Body) == "1"
	})
	// Revoked at one hub, while a server is down: out at the servers that run, and at the one that comes back.
	hubtest.Wait(t, "the revocation", func() bool {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return r.Admin.Revoke(c, "dev1") == nil
	})
	var last error
	defer func() {
		if t.Failed() {
			t.Log("the last call:", last)
		}
	}()
	hubtest.Wait(t, "the node's end", func() bool {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, last = r.Admin.Call(c, client.Call{Module: "meter", Function: "version", Node: "dev1"})
		return last != nil && !errors.Is(last, context.DeadlineExceeded)
	})
	kp, err := nkeys.FromSeed([]byte(id.Seed))
	if err != nil {
		t.Fatal(err)
	}
	key, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	startServer(t, folders[0])
	hubtest.Wait(t, "the revocation at the server that comes back", func() bool {
		files, _ := filepath.Glob(filepath.Join(folders[0], "accounts", "*.jwt"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return false
			}
			if ac, err := jwt.DecodeAccountClaims(string(b)); err == nil && ac.Revocations[key] != 0 {
				return true
			}
		}
		return false
	})
	if got, err := agent.Call(ctx, "meter", "version", "", nil); err != nil || string(got.Body) != "1" {
		t.Errorf("the node itself goes on with what it has: %q (%v)", got.Body, err)
	}
}

func TestAnExternalClusterIsChecked(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                     "want nats://host:port",
		"http://a":             "want nats://host:port",
		"nats://user:secret@a": "no part of the address",
		"tls://127.0.0.1:1":    "external cluster tls://127.0.0.1:1",
		"nats://127.0.0.1:1,":  "want nats://host:port",
		"tls://":               "want nats://host:port",
	} {
		_, err := hub.Start(t.Context(), hub.Config{Dir: t.TempDir(), API: "127.0.0.1:0", External: &hub.External{URLs: strings.Split(url, ",")}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, s := range []string{"", "1.2.3.4", "A=b", "=b", "a b"} {
		if got, err := hub.ParseServer(s); err == nil {
			t.Errorf("server %q is %+v", s, got)
		}
	}
}
