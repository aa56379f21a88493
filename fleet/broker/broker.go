// Package broker runs a NATS server inside the process, as hubs and edges need it: with the fleet's claims,
// TLS on every listener, JetStream that is on the disk when it says so, and limits on clients. It is the only
// package that imports the server, so that the agent of a device stays small.
package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/internal/descriptors"
)

// MaxPayload is how large a message may be, at hubs and edges alike: a picture for a call fits.
const MaxPayload = 8 << 20

// Listen are the addresses of a broker, host:port each; port 0 takes a free one, empty: no such listener.
type Listen struct {
	NATS      string // for nodes
	Leaf      string // for edges; hubs only
	WebSocket string // for browsers
	// Inside opens a WebSocket listener on a free port of loopback, without TLS, where WebSocket is empty: for a proxy in this
	// process, which has TLS and a port already.
	Inside  bool
	MQTT    string // for microcontrollers
	Cluster string // for the other hubs; hubs only
}

// Config describes a broker.
type Config struct {
	Name   string // unique in the fleet; an edge's is its node name
	Domain string // of JetStream: fleet.Domain or an edge's name
	Dir    string // of JetStream's files
	Listen Listen
	// Certificate is for every listener. CA signed those of the others; nil: the system's roots.
	Certificate tls.Certificate
	CA          *x509.CertPool
	Insecure    bool // no TLS: for tests and demonstrations on one machine

	// Claims of the fleet: JWTs.
	Operator, SystemAccount, Account string

	// Of a hub in a cluster: its name, and the cluster URLs of the others.
	Cluster string
	Routes  []string

	Remote *Remote // of an edge: the hub
	// MaxStore bounds JetStream's files in bytes. 0: what the disk has.
	MaxStore int64
	Log      *slog.Logger // nil: silent
	// Refused hears of what clients tried and must not: to publish or subscribe where they may not, to come in without
	// being allowed to, to send more than a message holds. nil: nobody hears of it.
	Refused func(Refusal)
}

// Remote is an edge's link to the hub.
type Remote struct {
	URLs []string // tls://hub:7422
	JWT  string
	Seed []byte // of the edge's nkey
	// Deny are subjects that do not cross the link towards the hub.
	Deny []string
	// Now is the clock by which the hub's certificate is checked. nil: time.Now.
	Now func() time.Time
}

// Broker is a running server.
type Broker struct {
	s       *server.Server
	o       *server.Options // the server writes the ports that it took into it
	way     *tunnel         // of an edge, to its hub
	account string          // public key
	mu      sync.Mutex
	claims  *jwt.AccountClaims // in use
	text    string             // of them
	trouble atomic.Pointer[error]
}

// ready is how long the server may take to start; it takes tens of milliseconds, with large streams on slow
// disks seconds.
const ready = 2 * time.Minute

// Start starts the server and returns when it takes connections.
func Start(c Config) (_ *Broker, err error) {
	var way *tunnel
	if c.Remote != nil {
		if way, err = newTunnel(); err != nil {
			return nil, fmt.Errorf("broker %s: %w", c.Name, err)
		}
		defer func() {
			if err != nil {
				way.close()
			}
		}()
	}
	o, ac, err := c.options(way)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", c.Name, err)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", c.Name, err)
	}
	log := newFailures(c.Log)
	s.SetLoggerV2(log, false, false, false)
	b := &Broker{s: s, o: o, way: way, account: ac.Subject, claims: ac, text: c.Account}
	// An account that the server knows before it starts gets its JetStream before anybody can connect. One that it meets
	// later gets it while its first connections work already, and the folder of a stream that one of them makes in that
	// moment is removed with what is in it.
	if _, err := s.LookupAccount(ac.Subject); err != nil {
		return nil, fmt.Errorf("broker %s: account: %w", c.Name, err)
	}
	if c.Refused != nil {
		log.refused = make(chan string, 64)
		go b.tellRefusals(log.refused, c.Refused)
	}
	go s.Start()
	deadline := time.Now().Add(ready)
	for !s.ReadyForConnections(50 * time.Millisecond) {
		select {
		case text := <-log.fatal:
			b.Stop()
			return nil, fmt.Errorf("broker %s: %s", c.Name, text)
		default:
		}
		if time.Now().After(deadline) {
			b.Stop()
			return nil, fmt.Errorf("broker %s: not ready after %v", c.Name, ready)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	go b.mend(log.broken, c.Log)
	return b, nil
}

func (c Config) options(way *tunnel) (*server.Options, *jwt.AccountClaims, error) {
	oc, err := jwt.DecodeOperatorClaims(c.Operator)
	if err != nil {
		return nil, nil, fmt.Errorf("operator claims: %w", err)
	}
	ac, err := jwt.DecodeAccountClaims(c.Account)
	if err != nil {
		return nil, nil, fmt.Errorf("account claims: %w", err)
	}
	accounts := &server.MemAccResolver{}
	if err := errors.Join(accounts.Store(ac.Subject, c.Account), accounts.Store(oc.SystemAccount, c.SystemAccount)); err != nil {
		return nil, nil, err
	}
	clients, _ := descriptors.Shares(descriptors.Limit())
	o := &server.Options{
		ServerName: c.Name, NoSigs: true, DontListen: c.Listen.NATS == "",
		MaxPayload: MaxPayload, MaxControlLine: 4096, WriteDeadline: 10 * time.Second,
		AuthTimeout: 5, TLSTimeout: 10, PingInterval: 30 * time.Second, MaxPingsOut: 2,
		MaxConn: min(100_000, clients), MaxClosedClients: 100, MaxTracedMsgLen: 256,
		JetStream: true, StoreDir: c.Dir, JetStreamDomain: c.Domain, JetStreamMaxStore: c.MaxStore,
		// A write that was acknowledged is on the disk: the default syncs every two minutes, and a power cut loses what was
		// acknowledged since. Measured: a put takes 398 µs instead of 53.
		SyncAlways: true,
		// Every watch is a consumer; the default allows 1,000.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		// Answers to what the hub asks an edge's JetStream come to a subject with the edge's name: it need not be
		// allowed to answer everything that hubs ask each other.
		FeatureFlags:     map[string]bool{server.FeatureFlagJsAPIReplyFormatV2: true},
		TrustedOperators: []*jwt.OperatorClaims{oc}, AccountResolver: accounts, SystemAccount: oc.SystemAccount,
		DisableJetStreamBanner: true, LameDuckDuration: 2 * time.Second, LameDuckGracePeriod: time.Second,
	}
	var tc *tls.Config
	if !c.Insecure {
		tc = &tls.Config{Certificates: []tls.Certificate{c.Certificate}, RootCAs: c.CA, ClientCAs: c.CA, MinVersion: tls.VersionTLS12}
	}
	if err := c.listeners(o, tc); err != nil {
		return nil, nil, err
	}
	o.LeafNode.WriteDeadline = linkWrite
	if c.Remote != nil {
		if err := c.remote(o, ac.Subject, tc, way); err != nil {
			return nil, nil, err
		}
	}
	return o, ac, nil
}

// address splits host:port; a port of 0 becomes the server's word for any free one.
func address(what, s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%w: address for %s %q: want host:port", fleet.ErrInvalid, what, s)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func (c Config) listeners(o *server.Options, tc *tls.Config) (err error) {
	if c.Listen.NATS != "" {
		if o.Host, o.Port, err = address("NATS", c.Listen.NATS); err != nil {
			return err
		}
	}
	o.TLSConfig, o.TLS = tc, tc != nil
	if c.Listen.Leaf != "" {
		if o.LeafNode.Host, o.LeafNode.Port, err = address("leaf nodes", c.Listen.Leaf); err != nil {
			return err
		}
		o.LeafNode.TLSConfig, o.LeafNode.TLSTimeout, o.LeafNode.NoAdvertise = tc, 10, true
	}
	if c.Listen.WebSocket != "" {
		if o.Websocket.Host, o.Websocket.Port, err = address("WebSocket", c.Listen.WebSocket); err != nil {
			return err
		}
		o.Websocket.TLSConfig, o.Websocket.NoTLS, o.Websocket.HandshakeTimeout = tc, tc == nil, 10*time.Second
	} else if c.Listen.Inside {
		o.Websocket.Host, o.Websocket.Port, o.Websocket.NoTLS, o.Websocket.HandshakeTimeout = "127.0.0.1", server.RANDOM_PORT, true, 10*time.Second
	}
	if c.Listen.MQTT != "" {
		if o.MQTT.Host, o.MQTT.Port, err = address("MQTT", c.Listen.MQTT); err != nil {
			return err
		}
		o.MQTT.TLSConfig, o.MQTT.TLSTimeout = tc, 10
	}
	if c.Listen.Cluster != "" {
		o.Cluster.Name = c.Cluster
		if o.Cluster.Host, o.Cluster.Port, err = address("cluster", c.Listen.Cluster); err != nil {
			return err
		}
		if tc != nil {
			// Hubs prove themselves to each other with certificates of the fleet's CA.
			mutual := tc.Clone()
			mutual.ClientAuth = tls.RequireAndVerifyClientCert
			o.Cluster.TLSConfig, o.Cluster.TLSTimeout = mutual, 10
		}
		for _, r := range c.Routes {
			u, err := url.Parse(r)
			if err != nil || u.Host == "" {
				return fmt.Errorf("%w: route %q: want nats-route://host:port", fleet.ErrInvalid, r)
			}
			o.Routes = append(o.Routes, u)
		}
	}
	return nil
}

func (c Config) remote(o *server.Options, account string, tc *tls.Config, way *tunnel) error {
	r := &server.RemoteLeafOpts{LocalAccount: account, TLSTimeout: 10, DenyExports: c.Remote.Deny, DialTimeout: linkDial}
	r.Proxy.URL, r.Proxy.Username, r.Proxy.Password = way.URL(), tunnelUser, way.password
	for _, text := range c.Remote.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%w: hub %q: want tls://host:port", fleet.ErrInvalid, text)
		}
		r.URLs = append(r.URLs, u)
	}
	if tc != nil {
		r.TLS, r.TLSConfig = true, &tls.Config{RootCAs: c.CA, Time: c.Remote.Now, MinVersion: tls.VersionTLS12}
	}
	kp, err := nkeys.FromSeed(c.Remote.Seed)
	if err != nil {
		return fmt.Errorf("the edge's key: %w", err)
	}
	r.SignatureCB = func(nonce []byte) (string, []byte, error) {
		sig, err := kp.Sign(nonce)
		return c.Remote.JWT, sig, err
	}
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{r}
	o.LeafNode.ReconnectInterval = 250 * time.Millisecond // to which the server adds up to as much; 1 s by default
	return nil
}

// Connect connects within the process, as the user. Answers to an edge come to its node's inbox, which is all that
// it may listen to at the hub; those to a hub come to one that nobody can guess and no node may listen to.
func (b *Broker) Connect(user, seed string, opts ...nats.Option) (*nats.Conn, error) {
	inbox := "_HUB_" + nuid.Next()
	if len(b.o.LeafNode.Remotes) > 0 {
		inbox = fleet.Inbox(b.o.ServerName)
	}
	all := append([]nats.Option{
		nats.CustomInboxPrefix(inbox), nats.InProcessServer(b.s), nats.UserJWTAndSeed(user, seed), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
	}, opts...)
	return nats.Connect("", all...)
}

// UpdateAccount makes newer account claims count: users that they revoke are thrown out. Claims that are not
// newer, or that another operator signed, are refused or ignored.
func (b *Broker) UpdateAccount(claims string) error {
	ac, err := jwt.DecodeAccountClaims(claims)
	if err != nil {
		return fmt.Errorf("account claims: %w", err)
	}
	if ac.Subject != b.account {
		return fmt.Errorf("%w: account claims are of another account", fleet.ErrInvalid)
	}
	if !b.trusts(ac.Issuer) {
		return fmt.Errorf("%w: account claims are not signed by the fleet's operator", fleet.ErrInvalid)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// Claims carry the second of their signature; within one, those that revoke more are the later ones.
	if ac.IssuedAt < b.claims.IssuedAt || ac.IssuedAt == b.claims.IssuedAt && len(ac.Revocations) < len(b.claims.Revocations) {
		return nil
	}
	acc, err := b.s.LookupAccount(b.account)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	if err := b.s.AccountResolver().Store(b.account, claims); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	b.s.UpdateAccountClaims(acc, ac)
	b.claims, b.text = ac, claims
	return nil
}

// Account is the JWT of the account claims that count, for the next start.
func (b *Broker) Account() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text
}

func (b *Broker) trusts(issuer string) bool {
	for _, oc := range b.o.TrustedOperators {
		if oc.Subject == issuer || oc.SigningKeys.Contains(issuer) {
			return true
		}
	}
	return false
}

// Linked reports whether the link to the hub is up.
func (b *Broker) Linked() bool { return b.s.NumLeafNodes() > 0 }

// Clients is how many are connected.
func (b *Broker) Clients() int { return b.s.NumClients() }

// URL is where nodes connect; empty without such a listener.
func (b *Broker) URL() string {
	if a, ok := b.s.Addr().(*net.TCPAddr); ok && a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// LeafURL is where edges connect; empty without such a listener.
func (b *Broker) LeafURL() string { return at("nats-leaf", b.o.LeafNode.Host, b.o.LeafNode.Port) }

// WebSocketURL is where browsers connect; empty without such a listener.
func (b *Broker) WebSocketURL() string {
	if b.o.Websocket.TLSConfig != nil {
		return at("wss", b.o.Websocket.Host, b.o.Websocket.Port)
	}
	return at("ws", b.o.Websocket.Host, b.o.Websocket.Port)
}

// MQTTURL is where microcontrollers connect; empty without such a listener.
func (b *Broker) MQTTURL() string { return at("mqtt", b.o.MQTT.Host, b.o.MQTT.Port) }

// ClusterURL is where other hubs connect; empty without such a listener.
func (b *Broker) ClusterURL() string { return at("nats-route", b.o.Cluster.Host, b.o.Cluster.Port) }

func at(scheme, host string, port int) string {
	if port <= 0 {
		return ""
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// Stop ends the server: clients are told to go elsewhere, streams are closed in order.
func (b *Broker) Stop() {
	b.s.Shutdown()
	b.s.WaitForShutdown()
	if b.way != nil {
		b.way.close()
	}
}
