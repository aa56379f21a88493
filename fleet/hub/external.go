package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/identity"
)

// External is a NATS cluster that runs without the hub: servers that trust the fleet's operator and have JetStream in
// the domain fleet.Domain. InitServers writes what such servers need.
type External struct {
	// URLs of the servers, for hubs and nodes alike: tls://host:4222, without TLS nats://host:4222.
	URLs []string
	// Leaf are the URLs for edges. Empty: the hosts of URLs at port 7422.
	Leaf []string
	// Creds is a file with the credentials of a user that may do everything in the fleet's account. Empty: the hub signs
	// one for itself at each start.
	Creds string
}

// check says what is wrong, and fills in what is left open.
func (e *External) check(insecure bool) error {
	if len(e.URLs) == 0 {
		return fmt.Errorf("%w: an external cluster needs the URL of a server", fleet.ErrInvalid)
	}
	leafScheme := "tls"
	if insecure {
		leafScheme = "nats-leaf"
	}
	derive := len(e.Leaf) == 0
	for i, s := range e.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return fmt.Errorf("%w: server %q: want nats://host:port or tls://host:port", fleet.ErrInvalid, s)
		}
		if u.User != nil {
			return fmt.Errorf("%w: server %s: credentials are no part of the address", fleet.ErrInvalid, u.Redacted())
		}
		if u.Port() == "" {
			u.Host += ":4222"
		}
		if u.Scheme == "nats" && !insecure {
			u.Scheme = "tls" // what nodes are told, too: the first byte that they send is encrypted or nothing
		}
		e.URLs[i] = u.String()
		if derive {
			host := u.Hostname()
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			e.Leaf = append(e.Leaf, leafScheme+"://"+host+":7422")
		}
	}
	for _, s := range e.Leaf {
		if u, err := url.Parse(s); err != nil || u.Hostname() == "" || u.Port() == "" {
			return fmt.Errorf("%w: leaf address %q: want tls://host:port", fleet.ErrInvalid, s)
		}
	}
	return nil
}

// serverPatience is how long a start waits for a server, and for one to take claims.
const serverPatience = 10 * time.Second

// cluster is the way to an external cluster: its fleet's users and its system account.
type cluster struct {
	urls   string
	secure *tls.Config // nil: no TLS
	system *nats.Conn
	id     string // of the fleet's account
}

// joinCluster connects the hub to servers that others run.
func (h *Hub) joinCluster() error {
	c := &cluster{urls: strings.Join(h.cfg.External.URLs, ","), id: h.authority.AccountID()}
	if !h.cfg.Insecure {
		c.secure = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		c.secure.RootCAs.AppendCertsFromPEM([]byte(h.authority.CA()))
	}
	u, err := h.authority.Hub(h.cfg.Name)
	if err == nil && h.cfg.External.Creds != "" {
		u, err = readCreds(h.cfg.External.Creds, h.authority)
	}
	if err != nil {
		return err
	}
	sys, err := h.authority.System(h.cfg.Name)
	if err != nil {
		return err
	}
	connect := func(u identity.User, opts ...nats.Option) (*nats.Conn, error) {
		nc, err := c.connect(u, opts...)
		if err != nil {
			return nil, fmt.Errorf("external cluster %s: %w", c.urls, err)
		}
		return nc, nil
	}
	// The claims first: an account that the servers have from an older fleet's files would refuse the hub's user.
	if c.system, err = connect(sys, nats.Name(h.cfg.Name+" claims")); err != nil {
		return err
	}
	h.cluster = c
	// An inbox that nobody can guess and no node may listen to.
	if h.nc, err = connect(u, nats.Name(h.cfg.Name), nats.CustomInboxPrefix("_HUB_"+nuid.Next())); err != nil {
		return err
	}
	h.calls, err = connect(u, nats.Name(h.cfg.Name+" calls"), nats.CustomInboxPrefix(fleet.CallInbox+"."+nuid.Next()))
	return err
}

func (c *cluster) connect(u identity.User, opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(serverPatience),
	}, opts...)
	if c.secure != nil {
		all = append(all, nats.Secure(c.secure))
	}
	return nats.Connect(c.urls, all...)
}

// readCreds takes a user's credentials, which must be of the fleet's own account.
func readCreds(file string, a *identity.Authority) (u identity.User, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return u, err
	}
	if u.JWT, err = nkeys.ParseDecoratedJWT(b); err != nil {
		return u, fmt.Errorf("%s: %w", file, err)
	}
	kp, err := nkeys.ParseDecoratedNKey(b)
	if err != nil {
		return u, fmt.Errorf("%s: %w", file, err)
	}
	uc, err := jwt.DecodeUserClaims(u.JWT)
	if err != nil {
		return u, fmt.Errorf("%s: %w", file, err)
	}
	if pub, err := kp.PublicKey(); err != nil || pub != uc.Subject {
		return u, fmt.Errorf("%w: %s: the key is of another user than the claims", fleet.ErrInvalid, file)
	}
	if uc.IssuerAccount != a.AccountID() && uc.Issuer != a.AccountID() {
		return u, fmt.Errorf("%w: %s: a user of another account than this fleet's", fleet.ErrInvalid, file)
	}
	u.Seed, err = kp.Seed()
	return u, err
}

// update makes account claims count on the servers, unless they have newer ones. All servers hear of them; which one answers
// the question what they have is chance, so claims that it has are sent all the same. A server that has them does nothing.
func (c *cluster) update(claims string) error {
	if have, err := c.system.Request("$SYS.REQ.ACCOUNT."+c.id+".CLAIMS.LOOKUP", nil, serverPatience); err == nil {
		older, err := outdated(claims, string(have.Data))
		if err == nil && older {
			return nil
		}
	}
	msg, err := c.system.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(claims), serverPatience)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("the external cluster takes no account claims: its resolver must be of type full (isomer hub init)")
	}
	if err != nil {
		return fmt.Errorf("account claims: %w", err)
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("account claims: answer of the external cluster: %w", err)
	}
	if answer.Error != nil {
		return fmt.Errorf("account claims: the external cluster refuses them: %s", answer.Error.Description)
	}
	return nil
}

// outdated reports whether claims are older than those that servers have. Claims carry the second of their signature;
// within one, those that revoke more are the later ones.
func outdated(claims, have string) (bool, error) {
	mine, err := jwt.DecodeAccountClaims(claims)
	if err != nil {
		return false, err
	}
	theirs, err := jwt.DecodeAccountClaims(have)
	if err != nil {
		return false, err
	}
	return mine.IssuedAt < theirs.IssuedAt || mine.IssuedAt == theirs.IssuedAt && len(mine.Revocations) < len(theirs.Revocations), nil
}

// renewClaims is how often the servers are told the newest claims: one that was down when a
// node was revoked learns of it at its start from the others, and where those were down too, so.
const renewClaims = 20 * time.Second

// renew makes the claims of the state count again and again: servers may come back with an older disk.
func (h *Hub) renew(ctx context.Context) error {
	for {
		select {
		case <-time.After(renewClaims):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := h.desk.Begin(ctx); err != nil {
			return err
		}
	}
}

func (c *cluster) close() {
	if c != nil && c.system != nil {
		c.system.Close()
	}
}
