// Package enrol lets nodes into a fleet and throws them out. Use it in a hub. A join token lets in one node,
// whose private key never leaves it; what the hub signs for it holds no secret and can be asked for again by the
// same key, so that a crash on either side costs nothing.
package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/identity"
)

// Config says for what a desk lets nodes in. All fields are needed.
type Config struct {
	Store     *state.Store
	Authority *identity.Authority
	// Root gives the newest TUF root, and the one with this SHA-256 where pin is not empty.
	Root func(ctx context.Context, pin string) ([]byte, error)
	// API, NATS and Leaf are the URLs under which nodes reach the hub.
	API, NATS, Leaf []string
	// Apply makes new account claims count on this hub's own server; others hear of them from the bucket.
	Apply func(account string) error
	Now   func() time.Time // nil: time.Now
	// Insecure: listeners have no TLS, so nodes get no CA.
	Insecure bool
}

// Desk is where nodes are enrolled. Its methods may be called from several goroutines.
type Desk struct{ cfg Config }

// New makes a desk.
func New(c Config) *Desk {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Desk{c}
}

var _ api.Gatekeeper = (*Desk)(nil)

// Addresses are the URLs of the API.
func (d *Desk) Addresses() []string { return d.cfg.API }

// Fingerprint is the SHA-256 of the CA's certificate; empty without TLS.
func (d *Desk) Fingerprint() string {
	if d.cfg.Insecure {
		return ""
	}
	return d.cfg.Authority.Fingerprint()
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Invite makes a join token. The member is kept, without a key, until the token is used; a name that is in use
// is refused, one that was only invited or revoked gets a new token.
func (d *Desk) Invite(ctx context.Context, m fleet.Member, lasts time.Duration) (string, error) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := hex.EncodeToString(b[:])
	m.Key, m.Joined, m.Revoked = "", time.Time{}, false
	old, err := d.cfg.Store.Members.Get(ctx, m.Node)
	switch {
	case errors.Is(err, state.ErrNotFound):
		_, err = d.cfg.Store.Members.Create(ctx, m.Node, m)
	case err != nil:
	case old.Value.Key != "" && !old.Value.Revoked:
		return "", fmt.Errorf("%w: node %s is in the fleet already; revoke it first", state.ErrConflict, m.Node)
	default:
		_, err = d.cfg.Store.Members.Update(ctx, m.Node, m, old.Revision)
	}
	if err != nil {
		return "", err
	}
	// The token comes last: one without a member would let nobody in.
	if _, err := d.cfg.Store.Joins.Create(ctx, hash(secret), state.Join{Member: m, Expires: d.cfg.Now().UTC().Add(lasts)}); err != nil {
		return "", err
	}
	return secret, nil
}

// Redeem lets a node in. The first key that comes with a token is the node's; the same key may come again until
// the token expires, another is refused.
func (d *Desk) Redeem(ctx context.Context, r fleet.EnrolRequest) (fleet.Enrolment, error) {
	e, err := d.cfg.Store.Joins.Get(ctx, hash(r.Secret))
	if errors.Is(err, state.ErrNotFound) {
		return fleet.Enrolment{}, fmt.Errorf("%w: the join token is unknown, or was taken back", api.ErrRefused)
	}
	if err != nil {
		return fleet.Enrolment{}, err
	}
	join := e.Value
	switch {
	case d.cfg.Now().After(join.Expires):
		return fleet.Enrolment{}, fmt.Errorf("%w: the join token of %s expired at %s", api.ErrRefused, join.Member.Node, join.Expires.Format(time.RFC3339))
	case join.Key != "" && join.Key != r.Key:
		return fleet.Enrolment{}, fmt.Errorf("%w: the join token of %s was used by another node", api.ErrRefused, join.Member.Node)
	}
	// Signed before anything is written: what is wrong with the request costs no token.
	out, err := d.sign(ctx, join.Member, r)
	if err != nil {
		return fleet.Enrolment{}, err
	}
	if join.Key == "" {
		join.Key = r.Key
		if _, err := d.cfg.Store.Joins.Update(ctx, e.Key, join, e.Revision); errors.Is(err, state.ErrConflict) {
			return d.Redeem(ctx, r) // somebody was first: perhaps this node's own first attempt
		} else if err != nil {
			return fleet.Enrolment{}, err
		}
	}
	if err := d.join(ctx, join.Member.Node, r); err != nil {
		return fleet.Enrolment{}, err
	}
	return out, nil
}

// join records that the node is in, and makes an edge's telemetry flow.
func (d *Desk) join(ctx context.Context, node string, r fleet.EnrolRequest) error {
	m, err := d.cfg.Store.Members.Change(ctx, node, func(m *fleet.Member) error {
		switch {
		case m.Key == "" && !m.Revoked:
			m.Key, m.Joined = r.Key, d.cfg.Now().UTC()
		case m.Key != r.Key || m.Revoked:
			return fmt.Errorf("%w: node %s was revoked, or enrolled anew with another token", api.ErrRefused, node)
		}
		m.Via = r.Via
		return nil
	})
	if err != nil {
		return err
	}
	if m.Layer == fleet.Edge {
		return d.cfg.Store.AddEdge(ctx, node)
	}
	return nil
}

func (d *Desk) sign(ctx context.Context, m fleet.Member, r fleet.EnrolRequest) (fleet.Enrolment, error) {
	out := fleet.Enrolment{Node: m.Node, Layer: m.Layer, Labels: m.Labels, Servers: d.cfg.NATS, Via: r.Via}
	var err error
	switch {
	case !r.MQTT:
		out.JWT, err = d.cfg.Authority.Node(m.Node, m.Layer, r.Key)
	case m.Layer == fleet.Edge:
		err = fmt.Errorf("%w: %s is an edge, which does not speak MQTT alone", fleet.ErrInvalid, m.Node)
	default:
		out.JWT, err = d.cfg.Authority.MQTT(m.Node, r.Key, d.cfg.Now().Add(passwordLife))
	}
	if err != nil {
		return out, err
	}
	if out.Root, err = d.cfg.Root(ctx, r.Root); err != nil {
		return out, err
	}
	if !d.cfg.Insecure {
		out.CA = d.cfg.Authority.CA()
	}
	if r.Via != "" {
		if out.Servers, err = d.edge(ctx, r.Via); err != nil {
			return out, err
		}
	}
	if m.Layer != fleet.Edge {
		return out, nil
	}
	acc, err := d.account(ctx)
	if err != nil {
		return out, err
	}
	out.Edge = &fleet.EdgeEnrolment{
		Operator: d.cfg.Authority.Operator(), SystemAccount: d.cfg.Authority.SystemAccount(), Account: acc.Value.JWT, Leaf: d.cfg.Leaf,
	}
	if out.Edge.Local, err = d.cfg.Authority.Local(m.Node, r.Key); err != nil || d.cfg.Insecure {
		return out, err
	}
	out.Edge.Certificate, err = d.cfg.Authority.Sign(r.CSR, m.Node, append([]string{m.Node}, r.Addresses...))
	return out, err
}

// passwordLife is how long a microcontroller's password counts: it lies in its flash in the clear, and goes over the
// wire at each connection.
const passwordLife = 2 * 365 * 24 * time.Hour

// edge is where devices reach an edge, as it reported itself.
func (d *Desk) edge(ctx context.Context, name string) ([]string, error) {
	e, err := d.cfg.Store.Nodes.Get(ctx, name)
	if errors.Is(err, state.ErrNotFound) || err == nil && len(e.Value.Address) == 0 {
		return nil, fmt.Errorf("%w: edge %s has not said yet where it can be reached; start it first, or give its address", fleet.ErrInvalid, name)
	}
	return e.Value.Address, err
}

// account is the account's claims in the bucket, which this makes where there are none.
func (d *Desk) account(ctx context.Context) (state.Entry[state.Account], error) {
	e, err := d.cfg.Store.Account.Get(ctx, state.AccountKey)
	if !errors.Is(err, state.ErrNotFound) {
		return e, err
	}
	if _, err := d.cfg.Store.Account.Create(ctx, state.AccountKey, state.Account{JWT: d.cfg.Authority.Account()}); err != nil && !errors.Is(err, state.ErrConflict) {
		return e, err
	}
	// It is there: this hub wrote it, or another one at the same time. Reads may go to a server that has not heard of it yet.
	for {
		e, err := d.cfg.Store.Account.Get(ctx, state.AccountKey)
		if !errors.Is(err, state.ErrNotFound) {
			return e, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return e, errors.Join(err, ctx.Err())
		}
	}
}

// Begin brings the account's claims in the bucket up to this version of Isomer, and makes them count here. A
// hub calls it at its start, and Follow afterwards.
func (d *Desk) Begin(ctx context.Context) error {
	return d.change(ctx, func(claims string) (string, error) {
		current, _, err := d.cfg.Authority.Current(claims)
		return current, err
	})
}

// change changes the account's claims in the bucket, also where another hub changes them at the same time, and makes them
// count here.
func (d *Desk) change(ctx context.Context, to func(claims string) (string, error)) error {
	for {
		e, err := d.account(ctx)
		if err != nil {
			return err
		}
		claims, err := to(e.Value.JWT)
		if err != nil {
			return err
		}
		if claims != e.Value.JWT {
			_, err = d.cfg.Store.Account.Update(ctx, state.AccountKey, state.Account{JWT: claims}, e.Revision)
			if errors.Is(err, state.ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
		}
		return d.cfg.Apply(claims)
	}
}

// Follow makes claims that other hubs wrote count here, until ctx ends or the watch breaks.
func (d *Desk) Follow(ctx context.Context, failed func(error)) error {
	changed := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.settle(ctx, changed) })
	g.Go(func() error {
		return d.cfg.Store.Account.Watch(ctx, func(e state.Entry[state.Account]) {
			if e.Deleted {
				return
			}
			if err := d.cfg.Apply(e.Value.JWT); err != nil {
				failed(err)
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}, func() {})
	})
	return g.Wait()
}

// settled is when a revocation is made to count once more. A server looks up a client's revocation and enters it into
// its list of clients in two steps; claims that come between them miss that client, who stays until they change again.
const settled = 5 * time.Second

// settle signs claims again after each revocation, so that servers look through their clients once more.
func (d *Desk) settle(ctx context.Context, changed <-chan struct{}) error {
	for {
		var due <-chan time.Time
		e, err := d.account(ctx)
		if err != nil {
			return err
		}
		wait, err := unsettled(e.Value.JWT, d.cfg.Now())
		switch {
		case err != nil:
			return err
		case wait > 0:
			due = time.After(wait)
		case wait < 0:
			if err := d.change(ctx, d.again); err != nil {
				return err
			}
		}
		select {
		case <-due:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unsettled is how long claims that were signed with their last revocation wait to be signed again: less than 0 if that is
// due, 0 if it has been done or nothing was revoked.
func unsettled(claims string, now time.Time) (time.Duration, error) {
	revoked, err := identity.RevokedAt(claims)
	if err != nil || revoked.IsZero() {
		return 0, err
	}
	issued, err := identity.IssuedAt(claims)
	if err != nil {
		return 0, err
	}
	due := revoked.Add(settled)
	if !issued.Before(due) {
		return 0, nil
	}
	if wait := due.Sub(now); wait > 0 {
		return wait, nil
	}
	return -1, nil
}

// again signs claims again, unless another hub has by now.
func (d *Desk) again(claims string) (string, error) {
	if wait, err := unsettled(claims, d.cfg.Now()); err != nil || wait >= 0 {
		return claims, err
	}
	return d.cfg.Authority.Again(claims)
}

// Revoke throws a node out: what was signed for its key counts no more, at this hub at once, elsewhere as soon
// as the claims arrive there. An invitation that was not used ends too.
func (d *Desk) Revoke(ctx context.Context, node string) error {
	m, err := d.cfg.Store.Members.Change(ctx, node, func(m *fleet.Member) error {
		m.Revoked = true
		return nil
	})
	if err != nil {
		return err
	}
	joins, err := d.cfg.Store.Joins.List(ctx)
	if err != nil {
		return err
	}
	for _, j := range joins {
		if j.Value.Member.Node == node {
			if err := d.cfg.Store.Joins.Delete(ctx, j.Key); err != nil {
				return err
			}
		}
	}
	if m.Layer == fleet.Edge {
		if err := d.cfg.Store.RemoveEdge(ctx, node); err != nil {
			return err
		}
	}
	if m.Key == "" {
		return nil
	}
	return d.change(ctx, func(claims string) (string, error) { return d.cfg.Authority.Revoke(claims, m.Key, d.cfg.Now()) })
}
