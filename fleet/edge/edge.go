// Package edge is a gateway's part of a fleet: a leaf of the hub's NATS with a JetStream of its own, a cache of
// what its devices fetch, and a node's agent. Use it to make a program an edge, as "isomer node" does where the
// token is for one.
//
// A day without the hub is normal: devices call each other and the edge, what they tell is kept and reaches the
// hub once, and what they ask for comes from the cache. An edge is never believed: it holds no key that signs
// anything, and what it hands out its devices verify.
package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
	"github.com/isomer-iot/isomer/fleet/node"
)

// Config describes an edge. Node.Dir and Node.Identity are required, and the identity must be an edge's.
type Config struct {
	Node node.Config
	// Listen are the addresses of the broker for devices. NATS empty: ":4222"; MQTT and WebSocket empty: off.
	Listen broker.Listen
	// Enrol is the address on which devices that cannot reach the hub join the fleet. Empty: off.
	Enrol string
	// Hosts are the host names and addresses under which devices reach the edge: those that the certificate was
	// made for, at the join.
	Hosts []string
	// HomeAssistant shows this edge's nodes in Home Assistant; Broker and what goes with it are the caller's, the rest
	// the edge's. Broker empty: off. Broker "self": the edge's own MQTT listener, with a microcontroller's password.
	HomeAssistant homeassistant.Config
	// Insecure turns TLS off, for tests and demonstrations within one machine.
	Insecure bool
	// TelemetryBytes bounds what is kept while the hub is away; the oldest goes first. 0: 1 GiB.
	TelemetryBytes int64
	// TelemetryAge bounds it in time. 0: 7 days.
	TelemetryAge time.Duration
}

// Edge is a running edge.
type Edge struct {
	cfg    Config
	name   string
	log    *slog.Logger
	broker *broker.Broker
	nc     *nats.Conn
	cache  *cache
	agent  *node.Agent

	ready chan struct{} // closed when there is an agent
	enrol *enrolment

	stop    context.CancelFunc
	working sync.WaitGroup
}

// ErrNoEdge is an identity of another layer.
var ErrNoEdge = errors.New("this identity is not an edge's")

// Start starts the edge and serves what ran last; Run connects its agent. ctx bounds the start alone.
func Start(ctx context.Context, c Config) (_ *Edge, err error) {
	id := c.Node.Identity
	if id.Enrolment.Edge == nil {
		return nil, fmt.Errorf("%w: %s is a %s", ErrNoEdge, id.Enrolment.Node, id.Enrolment.Layer)
	}
	if c.Listen.NATS == "" {
		c.Listen.NATS = ":4222"
	}
	e := &Edge{cfg: c, name: id.Enrolment.Node, ready: make(chan struct{})}
	if c.Node.Log == nil {
		c.Node.Log = slog.DiscardHandler
	}
	e.log = slog.New(c.Node.Log)
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if err := e.startBroker(); err != nil {
		return nil, err
	}
	if err := e.keepTelemetry(ctx); err != nil {
		return nil, err
	}
	if e.cache, err = newCache(c.Node.Dir, e.name, e.nc, e.log, c.Node.Trace); err != nil {
		return nil, err
	}
	if err := e.cache.serve(); err != nil {
		return nil, err
	}
	nodeConfig := c.Node
	nodeConfig.Addresses, nodeConfig.From = e.Addresses(), e.name
	nodeConfig.Connect = func(opts ...nats.Option) (*nats.Conn, error) {
		return e.broker.Connect(id.Enrolment.Edge.Local, id.Seed, opts...)
	}
	if e.agent, err = node.New(ctx, nodeConfig); err != nil {
		return nil, err
	}
	close(e.ready)
	if c.HomeAssistant.Broker != "" {
		if err := e.prepareHomeAssistant(); err != nil {
			return nil, err
		}
	}
	if c.Enrol != "" {
		if e.enrol, err = e.startEnrolment(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// accountFile keeps the newest claims of the fleet's account: whom the hub revoked does not come in, also
// after a start without the hub.
func (e *Edge) accountFile() string { return filepath.Join(e.cfg.Node.Dir, "account.jwt") }

func (e *Edge) startBroker() error {
	id := e.cfg.Node.Identity
	account := id.Enrolment.Edge.Account
	if b, err := os.ReadFile(e.accountFile()); err == nil {
		account = string(b)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b := broker.Config{
		Name: e.name, Domain: e.name, Dir: filepath.Join(e.cfg.Node.Dir, "jetstream"), Listen: e.cfg.Listen, Insecure: e.cfg.Insecure,
		Operator: id.Enrolment.Edge.Operator, SystemAccount: id.Enrolment.Edge.SystemAccount, Account: account,
		Remote: &broker.Remote{
			URLs: id.Enrolment.Edge.Leaf, JWT: id.Enrolment.JWT, Seed: []byte(id.Seed),
			// The hub draws telemetry from this edge's stream; sent over the link as well it would arrive twice.
			Deny: []string{fleet.TelemetrySubject("*", ">")},
			Now:  e.clock(account),
		},
		Log: e.log, Refused: e.refused,
	}
	if !e.cfg.Insecure {
		cert, err := e.certificate()
		if err != nil {
			return err
		}
		b.Certificate = cert
		b.CA = x509.NewCertPool()
		b.CA.AppendCertsFromPEM([]byte(id.Enrolment.CA))
	}
	var err error
	if e.broker, err = broker.Start(b); err != nil {
		return err
	}
	e.nc, err = e.broker.Connect(id.Enrolment.Edge.Local, id.Seed, nats.Name(e.name+" cache"))
	if err != nil {
		return fmt.Errorf("edge %s: %w", e.name, err)
	}
	return nil
}

// clock is the time by which the hub's certificate is checked: not before the join, nor before the account's claims that
// the edge starts with, which are signed at each revocation. So machines link whose clock begins in 1970.
func (e *Edge) clock(account string) func() time.Time {
	var begun time.Time
	for _, text := range []string{e.cfg.Node.Identity.Enrolment.JWT, account} {
		if c, err := jwt.DecodeGeneric(text); err == nil && c.IssuedAt > begun.Unix() {
			begun = time.Unix(c.IssuedAt, 0)
		}
	}
	now := e.cfg.Node.Now
	if now == nil {
		now = time.Now
	}
	return func() time.Time {
		if t := now(); t.After(begun) {
			return t
		}
		return begun
	}
}

// refused tells the hub what this edge's server did not let a client do.
func (e *Edge) refused(r broker.Refusal) {
	who := "nobody"
	if r.Node != "" {
		who = "node " + r.Node
	}
	select {
	case <-e.ready:
		e.agent.Refused("broker", who+" from "+r.From+" at the edge: "+r.What)
	default: // the edge still starts
	}
}

func (e *Edge) certificate() (tls.Certificate, error) {
	id := e.cfg.Node.Identity
	cert, err := tls.X509KeyPair([]byte(id.Enrolment.Edge.Certificate), []byte(id.TLSKey))
	if err != nil {
		return cert, fmt.Errorf("edge %s: certificate: %w", e.name, err)
	}
	return cert, nil
}

// keepTelemetry makes the stream that holds telemetry until the hub has drawn it, and as long as it may after.
func (e *Edge) keepTelemetry(ctx context.Context) error {
	js, err := jetstream.New(e.nc)
	if err != nil {
		return err
	}
	c := jetstream.StreamConfig{
		Name: fleet.TelemetryStream, Subjects: []string{fleet.TelemetrySubject("*", ">")}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardOld, MaxBytes: e.cfg.TelemetryBytes, MaxAge: e.cfg.TelemetryAge,
		NoAck: true, // it would go to whatever subject a device names, with the server's rights
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.MaxAge == 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
		return fmt.Errorf("edge %s: telemetry: %w", e.name, err)
	}
	return nil
}

// Addresses are the NATS URLs under which devices reach the edge.
func (e *Edge) Addresses() []string {
	u, err := url.Parse(e.broker.URL())
	if err != nil {
		return nil
	}
	scheme := "tls"
	if e.cfg.Insecure {
		scheme = "nats"
	}
	var out []string
	for _, h := range e.cfg.Hosts {
		out = append(out, scheme+"://"+net.JoinHostPort(h, u.Port()))
	}
	if len(out) == 0 {
		out = append(out, strings.Replace(e.broker.URL(), "nats://", scheme+"://", 1))
	}
	return out
}

// Agent is the edge's own agent.
func (e *Edge) Agent() *node.Agent { return e.agent }

// Broker is the edge's NATS server.
func (e *Edge) Broker() *broker.Broker { return e.broker }

// Run works until ctx ends.
func (e *Edge) Run(ctx context.Context) error {
	ctx, e.stop = context.WithCancel(ctx)
	defer e.stop()
	e.working.Go(func() { e.followLink(ctx) })
	e.working.Go(func() { e.cache.collecting(ctx) })
	e.working.Go(func() { e.broker.BoundMQTT(ctx, e.nc, e.log) })
	if e.cfg.HomeAssistant.Broker != "" {
		e.working.Go(func() {
			if err := homeassistant.Run(ctx, e.cfg.HomeAssistant); err != nil {
				e.log.Error("home assistant", "error", err)
			}
		})
	}
	err := e.agent.Run(ctx)
	e.working.Wait()
	return err
}

// lookForLink is how often the link is looked at; a new desired state waits for it at most so long after an outage.
const lookForLink = 100 * time.Millisecond

// followLink learns at each return of the link what was missed: whom the hub revoked, and what devices should run.
func (e *Edge) followLink(ctx context.Context) {
	sub, err := e.nc.Subscribe(fleet.AccountSubject(), func(m *nats.Msg) { e.takeAccount(m.Data) })
	if err != nil {
		e.log.Error("account claims", "error", err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	linked := false
	caught := true
	for {
		now := e.broker.Linked()
		if now != linked {
			e.log.Info("the link to the hub", "up", now)
			caught = !now
		}
		linked = now
		if !caught {
			caught = e.catchUp(ctx)
		}
		select {
		case <-time.After(lookForLink):
		case <-ctx.Done():
			return
		}
	}
}

// catchUp asks for what may have changed while the link was down; false: not all could be asked for.
func (e *Edge) catchUp(ctx context.Context) bool {
	msg, err := e.cache.hub.Ask(ctx, "account", "fleet", nil)
	if err != nil {
		e.log.Warn("account claims", "error", err)
		return false
	}
	e.takeAccount(msg.Data)
	if _, err := e.cache.hub.Ask(ctx, "link", e.name, nil); err != nil {
		e.log.Warn("telemetry", "error", err)
		return false
	}
	return e.cache.refresh(ctx)
}

// takeAccount makes newer claims of the account count, and keeps them.
func (e *Edge) takeAccount(data []byte) {
	claims, err := accountClaims(data)
	if err == nil {
		err = e.broker.UpdateAccount(claims)
	}
	if err == nil {
		err = e.cache.write(e.accountFile(), []byte(e.broker.Account()))
	}
	if err != nil {
		e.log.Error("account claims", "error", err)
	}
}

// Close ends the edge in order. Run must have returned, or not have been called.
func (e *Edge) Close() {
	if e.enrol != nil {
		e.enrol.close()
	}
	if e.agent != nil {
		e.agent.Close()
	}
	if e.cache != nil {
		e.cache.close()
	}
	if e.nc != nil {
		e.nc.Close()
	}
	if e.broker != nil {
		e.broker.Stop()
	}
}
