// Package hub is a fleet's control plane: an embedded NATS server, or the way to an external one, with
// everything that it serves on top. Use it to run a hub inside a program, as "isomer hub" does; to drive one,
// use package client.
//
// Whatever a hub knows is in JetStream, so that it can be killed and started again, and several hubs of one
// cluster share the work: each answers, one leads (lead.go).
package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/control"
	"github.com/isomer-iot/isomer/fleet/hub/enrol"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/identity"
	"github.com/isomer-iot/isomer/fleet/internal/seldom"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/web"
)

// Config describes a hub. Dir is required, everything else has a default.
type Config struct {
	// Dir is the hub's folder: identity/ (secrets), jetstream/, modules/ (a cache) and admin.json.
	Dir string
	// Name of this hub in its cluster. Empty: "hub-1".
	Name string
	// API is the address of the HTTP API. Empty: ":8443".
	API string
	// Local is a loopback address where the API and the dashboard are served without TLS besides, for a browser on
	// this machine, which does not know the fleet's CA, or a proxy that has a certificate. Empty: none.
	Local string
	// Listen are the addresses of the broker. NATS empty: ":4222"; Leaf empty: ":7422"; the others are off.
	Listen broker.Listen
	// Hosts are the host names and IP addresses under which nodes and people reach the hub, the preferred one
	// first. Empty: this machine's host name, its addresses and localhost.
	Hosts []string
	// Certificate is for every listener. nil: one that the fleet's own CA signs, anew at each start.
	Certificate *tls.Certificate
	// Insecure turns TLS off, for tests and demonstrations within one machine.
	Insecure bool
	// Cluster is the name of the cluster of hubs, and Routes the cluster URLs of the others. Listen.Cluster must be set then.
	Cluster string
	Routes  []string
	// External is a NATS cluster that runs elsewhere, in place of an embedded server; Listen and Routes do not count then.
	External *External
	// Replicas of the state. 0: 3 in a cluster, otherwise 1.
	Replicas int
	Version  string
	Log      *slog.Logger // nil: silent
	Trace    trace.Tracer // nil: no spans
}

func (c *Config) defaults() error {
	if c.Dir == "" {
		return fmt.Errorf("%w: a hub needs a folder", fleet.ErrInvalid)
	}
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Name, "hub-1")
	set(&c.API, ":8443")
	set(&c.Listen.NATS, ":4222")
	set(&c.Listen.Leaf, ":7422")
	set(&c.Version, "(devel)")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Replicas == 0 {
		c.Replicas = 1
		if len(c.Routes) > 0 || c.External != nil && len(c.External.URLs) >= 3 {
			c.Replicas = 3
		}
	}
	if c.External != nil {
		own := *c.External // its lists are changed
		own.URLs, own.Leaf = slices.Clone(own.URLs), slices.Clone(own.Leaf)
		c.External = &own
		if err := c.External.check(c.Insecure); err != nil {
			return err
		}
	}
	if len(c.Hosts) == 0 {
		c.Hosts = hostsOfMachine()
	}
	return nil
}

// hostsOfMachine are the names and addresses that a certificate is for when nobody says otherwise.
func hostsOfMachine() []string {
	var hosts []string
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, strings.ToLower(name))
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			hosts = append(hosts, ip.IP.String())
		}
	}
	return append(hosts, "localhost", "127.0.0.1", "::1")
}

// Hub is a running hub.
type Hub struct {
	cfg       Config
	authority *identity.Authority
	broker    *broker.Broker // nil with an external cluster
	cluster   *cluster       // nil with an embedded server
	nc        *nats.Conn
	calls     *nats.Conn // to nodes
	store     *state.Store
	registry  *registry.Registry
	gatherer  prometheus.Gatherer
	desk      *enrol.Desk
	lead      *leader
	refusals  *refusals
	api       *api.Server
	listener  net.Listener
	local     net.Listener // nil without Config.Local
	counts    *counters

	stop     context.CancelFunc
	unsupply func() // ends the fetch service; nil: it did not begin
	working  sync.WaitGroup
	failed   chan error
	applying sync.Mutex // one writer of accountFile at a time
}

// Start starts a hub and returns when it serves. The first start in an empty folder makes the fleet: its
// authority, and an admin's token in admin.json. ctx bounds the start alone.
func Start(ctx context.Context, c Config) (_ *Hub, err error) {
	if err := c.defaults(); err != nil {
		return nil, err
	}
	h := &Hub{cfg: c, counts: newCounters(), failed: make(chan error, 4), refusals: newRefusals(c.Log)}
	defer func() {
		if err != nil {
			h.Stop()
		}
	}()
	if h.authority, err = identity.Open(filepath.Join(c.Dir, "identity")); err != nil {
		return nil, err
	}
	if !c.Insecure && c.Certificate == nil {
		cert, err := h.authority.Server(c.Name, c.Hosts)
		if err != nil {
			return nil, err
		}
		h.cfg.Certificate = &cert
	}
	begin := h.startBroker
	if c.External != nil {
		begin = h.joinCluster
	}
	if err := begin(); err != nil {
		return nil, err
	}
	if h.store, err = h.openState(ctx); err != nil {
		return nil, err
	}
	online, err := registry.LoadOnline(filepath.Join(c.Dir, "identity", "online.json"))
	if err != nil {
		return nil, fmt.Errorf("keys for the signed list: %w", err)
	}
	cache, err := blob.Open(filepath.Join(c.Dir, "modules"))
	if err != nil {
		return nil, err
	}
	h.registry = registry.New(h.store, cache, online, c.Log)
	if err := h.registry.Sync(ctx); err != nil {
		return nil, err
	}
	if h.unsupply, err = (&supply{store: h.store, registry: h.registry, counts: h.counts, log: seldom.Logger(c.Log), trace: c.Trace}).serve(h.nc); err != nil {
		return nil, err
	}
	if err := h.startAPI(ctx); err != nil {
		return nil, err
	}
	return h, h.startWork(ctx)
}

// accountFile keeps the account's claims beside the state, for the moment at the start in which the broker
// runs and the state cannot be read yet: who was revoked does not come in meanwhile.
func (h *Hub) accountFile() string { return filepath.Join(h.cfg.Dir, "account.jwt") }

func (h *Hub) startBroker() error {
	account := h.authority.Account()
	if b, err := os.ReadFile(h.accountFile()); err == nil {
		account = string(b)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.cfg.Listen.Inside = true
	b := broker.Config{
		Name: h.cfg.Name, Domain: fleet.Domain, Dir: filepath.Join(h.cfg.Dir, "jetstream"), Listen: h.cfg.Listen,
		Insecure: h.cfg.Insecure, Operator: h.authority.Operator(), SystemAccount: h.authority.SystemAccount(), Account: account,
		Cluster: h.cfg.Cluster, Routes: h.cfg.Routes, Log: h.cfg.Log, Refused: h.refusals.broker,
	}
	if !h.cfg.Insecure {
		b.CA = x509.NewCertPool()
		b.CA.AppendCertsFromPEM([]byte(h.authority.CA()))
		b.Certificate = *h.cfg.Certificate
	}
	var err error
	if h.broker, err = broker.Start(b); err != nil {
		return err
	}
	u, err := h.authority.Hub(h.cfg.Name)
	if err != nil {
		return err
	}
	if h.nc, err = h.broker.Connect(u.JWT, string(u.Seed), nats.Name(h.cfg.Name)); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	h.calls, err = h.broker.Connect(u.JWT, string(u.Seed), nats.Name(h.cfg.Name+" calls"), nats.CustomInboxPrefix(fleet.CallInbox+"."+nuid.Next()))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// clusterPatience bounds one attempt to open the state in a cluster. Of two hubs that make the same bucket at once the
// server answers one; the other one's next attempt finds what is there. An attempt takes about 2 s on two busy cores.
const clusterPatience = 3 * time.Second

// openState waits for JetStream, which in a cluster has to find a leader first. A request of before then is lost, and
// its answer would be waited for as long as ctx lasts; so a cheap one is asked until it is answered.
func (h *Hub) openState(ctx context.Context) (*state.Store, error) {
	if len(h.cfg.Routes) == 0 && h.cfg.External == nil {
		return state.Open(ctx, h.nc, state.Options{Replicas: h.cfg.Replicas})
	}
	js, err := jetstream.New(h.nc)
	if err != nil {
		return nil, err
	}
	for {
		var s *state.Store
		if err = within(ctx, time.Second, func(ctx context.Context) error {
			_, err := js.AccountInfo(ctx)
			return err
		}); err == nil {
			err = within(ctx, clusterPatience, func(ctx context.Context) (err error) {
				s, err = state.Open(ctx, h.nc, state.Options{Replicas: h.cfg.Replicas})
				return err
			})
		}
		if err == nil {
			return s, nil
		}
		h.cfg.Log.Info("waiting for the cluster", "error", err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

func within(ctx context.Context, d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return do(ctx)
}

// urls are what nodes use to reach a listener, for each of the hub's hosts.
func (h *Hub) urls(scheme, listening string) []string {
	u, err := url.Parse(listening)
	if err != nil || u.Port() == "" {
		return nil
	}
	var out []string
	for _, host := range h.cfg.Hosts {
		out = append(out, scheme+"://"+net.JoinHostPort(host, u.Port()))
	}
	return out
}

func (h *Hub) startAPI(ctx context.Context) error {
	l, err := net.Listen("tcp", h.cfg.API)
	if err != nil {
		return fmt.Errorf("HTTP API: %w", err)
	}
	h.listener = l
	secure, scheme, https := "tls", "tls", "https"
	if h.cfg.Insecure {
		secure, scheme, https = "nats", "nats-leaf", "http"
	}
	var nodes, edges []string
	if h.cfg.External != nil {
		nodes, edges = h.cfg.External.URLs, h.cfg.External.Leaf
	} else {
		nodes, edges = h.urls(secure, h.broker.URL()), h.urls(scheme, h.broker.LeafURL())
	}
	h.desk = enrol.New(enrol.Config{
		Store: h.store, Authority: h.authority, Insecure: h.cfg.Insecure,
		Root: func(ctx context.Context, pin string) ([]byte, error) {
			files, err := h.registry.Trust(ctx)
			if err != nil {
				return nil, err
			}
			if len(files) == 0 {
				return nil, fmt.Errorf("%w: this fleet has no developer's keys yet: isomer keys init", fleet.ErrInvalid)
			}
			return trust.Files(files).Root(pin)
		},
		API: h.urls(https, https+"://"+l.Addr().String()), NATS: nodes, Leaf: edges,
		Apply: h.applyAccount,
	})
	if err := h.desk.Begin(ctx); err != nil {
		return err
	}
	if err := serveEnrolment(h.nc, h.desk, h.store, h.cfg.Log); err != nil {
		return err
	}
	controller := control.New(h.store, h.cfg.Log).WithTrace(h.cfg.Trace)
	h.lead = newLeader(h.cfg.Name, h.store, h.cfg.Log, task{"rollouts", controller.Run}, task{"reports", func(ctx context.Context) error {
		return intake(ctx, h.store, h.refusals, h.counts, seldom.Logger(h.cfg.Log))
	}}, task{"refusals", func(ctx context.Context) error { return h.refusals.follow(ctx, h.store) }}, task{"garbage", h.registry.CollectStore})
	h.gatherer = h.counts.gatherer(h)
	h.api = api.New(api.Config{
		Store: h.store, Registry: h.registry, Gate: h.desk, Nodes: reach{nc: h.calls, js: h.store.JetStream()},
		Rollouts: controller, Wake: controller.Wake, Version: h.cfg.Version, Log: h.cfg.Log,
		Metrics: h.counts.handler(h.gatherer), Observe: h.counts.answered, Trace: h.cfg.Trace,
	})
	h.api.Handle("GET "+fleet.WebSocketPath, h.websocket())
	h.api.Handle("/", web.Handler())
	var secured *tls.Config
	if !h.cfg.Insecure {
		secured = &tls.Config{Certificates: []tls.Certificate{*h.cfg.Certificate}, MinVersion: tls.VersionTLS12}
	}
	if h.local, err = listenLocal(h.cfg.Local); err != nil {
		return err
	}
	h.serveAPI(l, secured)
	if h.local != nil {
		h.serveAPI(h.local, nil)
	}
	return h.firstToken(ctx)
}

func (h *Hub) serveAPI(l net.Listener, secured *tls.Config) {
	h.working.Go(func() {
		if err := h.api.Serve(l, secured); !errors.Is(err, http.ErrServerClosed) {
			h.failed <- fmt.Errorf("HTTP API: %w", err)
		}
	})
}

// listenLocal listens where nobody but this machine can connect; nil for an empty address.
func listenLocal(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: HTTP without TLS: %w", fleet.ErrInvalid, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: HTTP without TLS is for loopback addresses, such as 127.0.0.1:8480, and %q is none", fleet.ErrInvalid, address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("HTTP without TLS: %w", err)
	}
	return l, nil
}

// applyAccount makes claims count on this hub, and keeps them for the next start.
func (h *Hub) applyAccount(claims string) error {
	if h.cluster != nil {
		return h.cluster.update(claims)
	}
	if err := h.broker.UpdateAccount(claims); err != nil {
		return err
	}
	h.applying.Lock()
	defer h.applying.Unlock()
	return disk.Write(disk.OS{}, h.accountFile(), []byte(h.broker.Account()), 0o600)
}

// Access is what admin.json holds: how the command on the hub's own machine reaches it.
type Access struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca,omitempty"`
}

// AdminFile is where the first start leaves an admin's token.
func AdminFile(dir string) string { return filepath.Join(dir, "admin.json") }

// firstToken makes an admin's token where there is none at all, and keeps admin.json's URL right.
func (h *Hub) firstToken(ctx context.Context) error {
	file := AdminFile(h.cfg.Dir)
	var a Access
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &a); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		tokens, err := h.store.Access.List(ctx)
		if err != nil || len(tokens) > 0 {
			return err
		}
		a.Token = api.NewToken()
		if _, err := h.store.Access.Create(ctx, api.HashToken(a.Token), state.Access{Name: "admin", Role: fleet.Admin, By: "hub init", At: time.Now().UTC()}); err != nil {
			return err
		}
	}
	a.URL, a.CA = h.URL(), h.desk.Fingerprint()
	if b, err = json.MarshalIndent(a, "", "  "); err != nil {
		return err
	}
	return disk.Write(disk.OS{}, file, append(b, '\n'), 0o600)
}

// startWork starts what goes on in the background.
func (h *Hub) startWork(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	h.working.Go(func() { h.registry.Keep(ctx) })
	if h.broker != nil {
		h.working.Go(func() { h.broker.BoundMQTT(ctx, h.nc, h.cfg.Log) })
	}
	h.again(ctx, "account", func(ctx context.Context) error {
		return h.desk.Follow(ctx, func(err error) { h.cfg.Log.Error("account claims", "error", err) })
	})
	h.again(ctx, "garbage", h.registry.CollectCache)
	h.again(ctx, "lead", h.lead.run)
	h.again(ctx, "refusals", func(ctx context.Context) error { return h.refusals.write(ctx, h.store) })
	// Edges whose members were written by a hub that died before it made their telemetry flow.
	h.again(ctx, "edges", h.followEdges)
	if h.cluster != nil {
		h.again(ctx, "claims", h.renew)
	}
	return nil
}

// again runs work until ctx ends, and after a second anew where it fails.
func (h *Hub) again(ctx context.Context, what string, work func(context.Context) error) {
	h.working.Go(func() {
		for {
			err := work(ctx)
			if ctx.Err() != nil {
				return
			}
			h.cfg.Log.Warn("hub: begun again", "work", what, "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	})
}

func (h *Hub) followEdges(ctx context.Context) error {
	return h.store.Members.Watch(ctx, func(e state.Entry[fleet.Member]) {
		m := e.Value
		if e.Deleted || m.Layer != fleet.Edge || m.Key == "" || m.Revoked {
			return
		}
		if err := h.store.AddEdge(ctx, m.Node); err != nil {
			h.cfg.Log.Error("telemetry of an edge", "edge", m.Node, "error", err)
		}
	}, func() {})
}

// URL is the base of the HTTP API on this machine.
func (h *Hub) URL() string {
	scheme := "https"
	if h.cfg.Insecure {
		scheme = "http"
	}
	_, port, _ := net.SplitHostPort(h.listener.Addr().String())
	host := h.cfg.Hosts[0]
	for _, own := range h.cfg.Hosts {
		if own == "localhost" || own == "127.0.0.1" {
			host = own // it works without a name service
			break
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// LocalURL is the base of what is served without TLS; empty without Config.Local.
func (h *Hub) LocalURL() string {
	if h.local == nil {
		return ""
	}
	return "http://" + h.local.Addr().String()
}

// Address is where the HTTP API listens.
func (h *Hub) Address() string { return h.listener.Addr().String() }

// Broker is the hub's NATS server; nil where it uses an external cluster.
func (h *Hub) Broker() *broker.Broker { return h.broker }

// Conn is the hub's own connection, which may do everything in the fleet's account.
func (h *Hub) Conn() *nats.Conn { return h.nc }

// Store is the hub's state.
func (h *Hub) Store() *state.Store { return h.store }

// Fingerprint is the SHA-256 of the CA's certificate; empty without TLS.
func (h *Hub) Fingerprint() string { return h.desk.Fingerprint() }

// Healthy reports whether the hub's state can be read here and now.
func (h *Hub) Healthy(ctx context.Context) error {
	_, err := h.store.JetStream().AccountInfo(ctx)
	return err
}

// Failed gets an error when the hub cannot go on.
func (h *Hub) Failed() <-chan error { return h.failed }

// stopPatience is how long requests may run on when the hub stops.
const stopPatience = 5 * time.Second

// Stop ends the hub in order: requests that run are answered, leadership is given up, streams are closed.
func (h *Hub) Stop() {
	if h.api != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		_ = h.api.Shutdown(ctx) // what still runs is cut off
		cancel()
	} else if h.listener != nil {
		_ = h.listener.Close()
	}
	if h.stop != nil {
		h.stop()
	}
	h.working.Wait()
	if h.unsupply != nil {
		h.unsupply()
	}
	for _, nc := range []*nats.Conn{h.calls, h.nc} {
		if nc != nil {
			nc.Close()
		}
	}
	h.cluster.close()
	if h.broker != nil {
		h.broker.Stop()
	}
}
