// How an agent reaches its hub or edge, and hears what its node should run.

package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

func (a *Agent) conn() *nats.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nc
}

func (a *Agent) source() *Source {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.src
}

// connect never gives up: a node whose hub is away for a day connects when it is back.
func (a *Agent) connect() (*nats.Conn, error) {
	id := a.cfg.Identity
	opts := []nats.Option{
		nats.Name(a.node), nats.CustomInboxPrefix(fleet.Inbox(a.node)), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second), nats.PingInterval(15 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(1 << 20), nats.IgnoreAuthErrorAbort(), nats.DrainTimeout(2 * time.Second),
		nats.ConnectHandler(func(*nats.Conn) { a.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { a.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { a.log.Warn("the connection is lost", "error", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.log.Warn("connection", "error", err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { a.learnTime(err) }),
	}
	if a.cfg.Connect != nil {
		return a.cfg.Connect(opts...)
	}
	opts = append(opts, nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed))
	if pool := id.pool(); pool != nil {
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: pool, Time: a.clock, MinVersion: tls.VersionTLS12}))
	}
	return nats.Connect(strings.Join(id.Enrolment.Servers, ","), opts...)
}

// clock is the time by which certificates are checked. A device without a battery begins in 1970, when none is valid yet: the
// latest time that it knows to have passed counts then.
func (a *Agent) clock() time.Time {
	now := a.trust.Now()
	a.mu.Lock()
	passed := a.passed
	a.mu.Unlock()
	for _, t := range []time.Time{a.cfg.Identity.joined(), passed} {
		if t.After(now) {
			now = t
		}
	}
	return now
}

// learnTime takes from a connection that failed what time it is at least: a hub makes its certificate at its start, which
// may be later than all that a device without a battery has heard of.
func (a *Agent) learnTime(err error) {
	if t, ok := begun(err, a.cfg.Identity.pool()); ok && t.After(a.clock()) {
		a.log.Info("the clock is behind; the hub's certificate says how much at least", "time", t)
		a.mu.Lock()
		a.passed = t
		a.mu.Unlock()
	}
}

// begun is when a certificate begins that was refused for the time, if the fleet's CA signed it: so much time has passed.
func begun(err error, roots *x509.CertPool) (time.Time, bool) {
	e, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || e.Reason != x509.Expired || e.Cert == nil || roots == nil {
		return time.Time{}, false
	}
	// Refused before its signature was looked at: anybody may have sent it.
	_, err = e.Cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: e.Cert.NotBefore})
	return e.Cert.NotBefore, err == nil
}

func (a *Agent) connected() {
	a.mu.Lock()
	a.heard = 0 // a hub that was started again counts its revisions anew
	a.mu.Unlock()
	a.log.Info("connected")
	a.bindings.Connected()
	a.askFresh()
	a.changed()
}

func (a *Agent) askFresh() {
	select {
	case a.fresh <- struct{}{}:
	default:
	}
}

// following hears of desired states, and asks for the present one after each connection.
func (a *Agent) following(ctx context.Context) {
	nc := a.conn()
	heard := make(chan *nats.Msg, 16)
	// Subscribed first: a change between the answer and the subscription would be missed.
	sub, err := nc.Subscribe(fleet.DesiredSubject(a.node), func(m *nats.Msg) {
		select {
		case heard <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		a.problem("connection", err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	retry := retryFirst
	next := time.After(0)
	for {
		select {
		case m := <-heard:
			a.hear(ctx, m)
		case <-a.fresh:
			next = time.After(0)
		case <-next:
			m, err := a.source().Desired(ctx, a.node)
			switch {
			case err == nil:
				a.hear(ctx, m)
				retry, next = retryFirst, time.After(lookAgain+jitter(lookAgain))
			case errors.Is(err, ErrNotThere):
				retry, next = retryFirst, time.After(retryMost)
			default:
				a.log.Debug("desired state", "error", err)
				next = time.After(retry)
				retry = min(2*retry, retryMost)
			}
		case <-ctx.Done():
			return
		}
	}
}

// hear takes a desired state that is not older than what was heard on this connection.
func (a *Agent) hear(ctx context.Context, m *nats.Msg) {
	if len(m.Data) == 0 {
		return // the bucket's mark of a deletion: the node was revoked, and what runs goes on
	}
	d, err := fleet.DecodeDesired(m.Data)
	if err == nil && d.Node != a.node {
		err = fmt.Errorf("%w: it is of node %s", fleet.ErrInvalid, d.Node)
	}
	if err != nil {
		a.problem("desired state", err)
		return
	}
	a.problem("desired state", nil)
	var revision uint64
	_, _ = fmt.Sscan(m.Header.Get(fleet.RevisionHeader), &revision)
	a.mu.Lock()
	old := revision < a.heard
	if !old {
		a.heard = revision
	}
	a.mu.Unlock()
	if !old {
		a.take(ctx, d)
	}
}
