package enrol_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/enrol"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/identity"
)

const patience = 60 * time.Second

type office struct {
	t         *testing.T
	ctx       context.Context
	store     *state.Store
	authority *identity.Authority
	broker    *broker.Broker
	mu        sync.Mutex
	now       time.Time // zero: the machine's
}

func open(t *testing.T) *office {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	o := &office{t: t, ctx: ctx, now: time.Now()}
	var err error
	if o.authority, err = identity.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	o.broker, err = broker.Start(broker.Config{
		Name: "hub-1", Domain: fleet.Domain, Dir: t.TempDir(), Insecure: true,
		Operator: o.authority.Operator(), SystemAccount: o.authority.SystemAccount(), Account: o.authority.Account(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.broker.Stop)
	u, err := o.authority.Hub("hub-1")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := o.broker.Connect(u.JWT, string(u.Seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if o.store, err = state.Open(ctx, nc, state.Options{}); err != nil {
		t.Fatal(err)
	}
	return o
}

// desk is one hub's; several hubs have one store.
func (o *office) desk() *enrol.Desk {
	return enrol.New(enrol.Config{
		Store: o.store, Authority: o.authority, Apply: o.broker.UpdateAccount,
		Root: func(context.Context, string) ([]byte, error) { return []byte("root"), nil },
		API:  []string{"https://hub:8443"}, NATS: []string{"tls://hub:4222"}, Leaf: []string{"tls://hub:7422"},
		Now: func() time.Time {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.now.IsZero() {
				return time.Now()
			}
			return o.now
		},
	})
}

func (o *office) later(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

func (o *office) key() string {
	o.t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		o.t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	return pub
}

func (o *office) invite(d *enrol.Desk, name string, layer fleet.Layer) string {
	o.t.Helper()
	secret, err := d.Invite(o.ctx, fleet.Member{Node: name, Layer: layer}, time.Hour)
	if err != nil {
		o.t.Fatal(err)
	}
	return secret
}

func TestOneKeyWinsATokenHoweverManyHubsAreAsked(t *testing.T) {
	t.Parallel()
	o := open(t)
	desks := []*enrol.Desk{o.desk(), o.desk(), o.desk()}
	secret := o.invite(desks[0], "dev1", fleet.Device)
	keys := make([]string, 12)
	errs := make([]error, len(keys))
	var work sync.WaitGroup
	for i := range keys {
		keys[i] = o.key()
		work.Go(func() {
			_, errs[i] = desks[i%len(desks)].Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: keys[i]})
		})
	}
	work.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner != "":
			t.Error("two keys came in with one token")
		case err == nil:
			winner = keys[i]
		case !errors.Is(err, api.ErrRefused):
			t.Errorf("refused with %v", err)
		}
	}
	m, err := o.store.Members.Get(o.ctx, "dev1")
	if err != nil || winner == "" || m.Value.Key != winner {
		t.Errorf("the member has key %s, %s came in (%v)", m.Value.Key, winner, err)
	}
}

func TestAnEnrolmentThatBrokeOffIsRepeated(t *testing.T) {
	t.Parallel()
	o := open(t)
	d := o.desk()
	secret, key := o.invite(d, "dev1", fleet.Device), o.key()
	// A hub that died between its two writes left the token used and the member without a key.
	e, err := o.store.Joins.List(o.ctx)
	if err != nil || len(e) != 1 {
		t.Fatal(e, err)
	}
	join := e[0].Value
	join.Key = key
	if _, err := o.store.Joins.Update(o.ctx, e[0].Key, join, e[0].Revision); err != nil {
		t.Fatal(err)
	}
	if e[0].Key == secret {
		t.Error("the bucket holds the secret itself")
	}
	for range 2 {
		got, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		uc, err := jwt.DecodeUserClaims(got.JWT)
		if err != nil || uc.Subject != key || uc.Name != "dev1" {
			t.Errorf("claims of %v (%v)", uc, err)
		}
	}
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: o.key()}); !errors.Is(err, api.ErrRefused) {
		t.Errorf("another key: %v", err)
	}
	// Bad requests cost no token.
	secret = o.invite(d, "dev2", fleet.Device)
	for _, bad := range []string{"", "UNKEY", o.authority.AccountID()} {
		if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: bad}); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: o.key()}); err != nil {
		t.Error(err)
	}
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	o := open(t)
	d := o.desk()
	secret, key := o.invite(d, "dev1", fleet.Device), o.key()
	o.later(2 * time.Hour)
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: secret, Key: key}); !errors.Is(err, api.ErrRefused) {
		t.Errorf("an expired token: %v", err)
	}
	// An invitation that replaces another, and one that was taken back.
	again := o.invite(d, "dev1", fleet.Device)
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: again, Key: key}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Invite(o.ctx, fleet.Member{Node: "dev1", Layer: fleet.Device}, time.Hour); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a name that is in use: %v", err)
	}
	taken := o.invite(d, "dev2", fleet.Device)
	if err := d.Revoke(o.ctx, "dev2"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: taken, Key: o.key()}); !errors.Is(err, api.ErrRefused) {
		t.Errorf("a token that was taken back: %v", err)
	}
	if err := d.Revoke(o.ctx, "nobody"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("revoking nobody: %v", err)
	}
}

func TestTwoHubsThatRevokeAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	o := open(t)
	d := o.desk()
	keys := map[string]string{}
	for i := range 8 {
		name := fmt.Sprintf("dev%d", i)
		keys[name] = o.key()
		if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: o.invite(d, name, fleet.Device), Key: keys[name]}); err != nil {
			t.Fatal(err)
		}
	}
	var work sync.WaitGroup
	for name := range keys {
		work.Go(func() {
			if err := o.desk().Revoke(o.ctx, name); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	e, err := o.store.Account.Get(o.ctx, state.AccountKey)
	if err != nil {
		t.Fatal(err)
	}
	ac, err := jwt.DecodeAccountClaims(e.Value.JWT)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range keys {
		if _, ok := ac.Revocations[key]; !ok {
			t.Errorf("%s is not among the revoked", name)
		}
	}
	// Begin brings claims up to date and keeps who was revoked.
	if err := d.Begin(o.ctx); err != nil {
		t.Error(err)
	}
}

// A server that let the node in while the claims arrived looks through its clients again.
func TestARevocationIsMadeToCountAgain(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.now = time.Time{} // signatures carry the machine's time
	d := o.desk()
	key := o.key()
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: o.invite(d, "dev1", fleet.Device), Key: key}); err != nil {
		t.Fatal(err)
	}
	if err := d.Revoke(o.ctx, "dev1"); err != nil {
		t.Fatal(err)
	}
	first := o.broker.Account()
	ctx, stop := context.WithCancel(o.ctx)
	var hubs sync.WaitGroup
	defer hubs.Wait()
	defer stop()
	for range 2 {
		hubs.Go(func() {
			if err := o.desk().Follow(ctx, func(err error) { t.Error(err) }); ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	issued := func(claims string) time.Time {
		at, err := identity.IssuedAt(claims)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for o.broker.Account() == first {
		if o.ctx.Err() != nil {
			t.Fatal("the claims are not signed again")
		}
		time.Sleep(20 * time.Millisecond)
	}
	again := o.broker.Account()
	if took := issued(again).Sub(issued(first)); took < 5*time.Second {
		t.Errorf("signed again after %s, while clients may still be on their way in", took)
	}
	if ac, err := jwt.DecodeAccountClaims(again); err != nil || ac.Revocations[key] == 0 {
		t.Errorf("the revocation is gone: %v (%v)", ac, err)
	}
	time.Sleep(100 * time.Millisecond) // a third time would come at once
	e, err := o.store.Account.Get(o.ctx, state.AccountKey)
	if err != nil || e.Value.JWT != again || e.Revision != 3 {
		t.Errorf("revision %d of the claims, want the third (%v)", e.Revision, err)
	}
}

func TestAMicrocontrollerGetsAPassword(t *testing.T) {
	t.Parallel()
	o := open(t)
	d := o.desk()
	got, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: o.invite(d, "mc1", fleet.Device), Key: o.key(), MQTT: true})
	if err != nil {
		t.Fatal(err)
	}
	uc, err := jwt.DecodeUserClaims(got.JWT)
	if err != nil || uc.Expires == 0 {
		t.Errorf("a password without an end: %+v (%v)", uc, err)
	}
	if _, err := d.Redeem(o.ctx, fleet.EnrolRequest{Secret: o.invite(d, "gw1", fleet.Edge), Key: o.key(), MQTT: true}); !errors.Is(err, fleet.ErrInvalid) {
		t.Errorf("an edge with a password: %v", err)
	}
}
