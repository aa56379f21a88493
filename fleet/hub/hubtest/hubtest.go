// Package hubtest runs a whole hub on loopback for tests: real broker, real TLS, real signatures. Use it in tests
// of whatever speaks to a hub, never in a program.
//
// Compatibility: none.
package hubtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// Patience bounds waits that end in milliseconds, on a machine that is busy with other things.
const Patience = 60 * time.Second

// Rig is a hub, its admin and the developer's keys.
type Rig struct {
	T     testing.TB
	Ctx   context.Context // ends after twice the patience
	Dir   string
	Hub   *hub.Hub
	Admin *client.Client
	Keys  *trust.Keys

	config hub.Config
	token  string
}

// New starts a hub on loopback, with TLS and the developer's keys. It is stopped at the test's end.
func New(t testing.TB) *Rig { return NewOn(t, "127.0.0.1") }

// NewTraced is New with a tracer.
func NewTraced(t testing.TB, tracer trace.Tracer) *Rig { return newRig(t, "127.0.0.1", tracer) }

// NewOn is New on another address, in a network of the test's own.
func NewOn(t testing.TB, host string) *Rig { return newRig(t, host, nil) }

func newRig(t testing.TB, host string, tracer trace.Tracer) *Rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
	t.Cleanup(cancel)
	r := &Rig{T: t, Ctx: ctx, Dir: t.TempDir()}
	r.config = hub.Config{
		Dir: filepath.Join(r.Dir, "hub"), API: brokertest.Address(t, host), Listen: broker.Listen{NATS: brokertest.Address(t, host), Leaf: brokertest.Address(t, host)},
		Hosts: []string{host}, Version: "test", Trace: tracer,
	}
	if host == "127.0.0.1" {
		r.config.Local = brokertest.Address(t, host)
		r.config.Hosts = append(r.config.Hosts, "localhost")
	}
	if os.Getenv("ISOMER_TEST_LOG") != "" { // for whoever looks for a fault
		r.config.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r.Start()
	t.Cleanup(func() { r.Hub.Stop() })
	r.initKeys()
	return r
}

// Start starts the hub, after Hub.Stop again on the same ports.
func (r *Rig) Start() {
	r.T.Helper()
	h, err := hub.Start(r.Ctx, r.config)
	if err != nil {
		r.T.Fatal(err)
	}
	r.Hub = h
	b, err := os.ReadFile(hub.AdminFile(r.config.Dir))
	if err != nil {
		r.T.Fatal(err)
	}
	var a hub.Access
	if err := json.Unmarshal(b, &a); err != nil {
		r.T.Fatal(err)
	}
	r.token = a.Token
	if r.Admin, err = client.New(client.Config{URL: a.URL, Token: a.Token, CA: a.CA}); err != nil {
		r.T.Fatal(err)
	}
}

// AdminToken is the token of Rig.Admin.
func (r *Rig) AdminToken() string { return r.token }

// initKeys is what "isomer keys init" does.
func (r *Rig) initKeys() {
	r.T.Helper()
	var err error
	if r.Keys, err = trust.CreateKeys(filepath.Join(r.Dir, "keys"), trust.KeysOptions{}); err != nil {
		r.T.Fatal(err)
	}
	snapshot, timestamp, err := r.Admin.OnlineKeys(r.Ctx)
	if err != nil {
		r.T.Fatal(err)
	}
	r.Upload(r.Keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}}))
}

// Upload brings a signed change to the hub.
func (r *Rig) Upload(c *trust.Change, err error) []fleet.Release {
	r.T.Helper()
	if err != nil {
		r.T.Fatal(err)
	}
	releases, err := r.Admin.PutTrust(r.Ctx, c.Files)
	if err != nil {
		r.T.Fatal(err)
	}
	if err := r.Keys.Commit(c); err != nil {
		r.T.Fatal(err)
	}
	return releases
}

// Digest is the SHA-256 of a module, hexadecimal.
func Digest(bin []byte) string {
	sum := sha256.Sum256(bin)
	return hex.EncodeToString(sum[:])
}

// Ref is a release that is known to be well-formed.
func Ref(t testing.TB, s string) fleet.Ref {
	t.Helper()
	r, err := fleet.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Publish uploads a module and signs it as a release.
func (r *Rig) Publish(ref string, bin []byte) []fleet.Release {
	r.T.Helper()
	if err := r.Admin.PutModule(r.Ctx, Digest(bin), int64(len(bin)), bytes.NewReader(bin)); err != nil {
		r.T.Fatal(err)
	}
	return r.Upload(r.Keys.AddTarget(Ref(r.T, ref), Digest(bin), int64(len(bin)), 0))
}

// Deploy begins a rollout.
func (r *Rig) Deploy(ref, to string, plan fleet.Plan) fleet.Deployment {
	r.T.Helper()
	d, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: Ref(r.T, ref), To: to, Plan: plan})
	if err != nil {
		r.T.Fatal(err)
	}
	return d
}

// Ended waits for a rollout's end.
func (r *Rig) Ended(id string) fleet.Rollout {
	r.T.Helper()
	if err := r.Admin.WatchRollout(r.Ctx, id, func(fleet.Rollout) {}); err != nil {
		r.T.Fatal(err)
	}
	ro, err := r.Admin.Rollout(r.Ctx, id)
	if err != nil {
		r.T.Fatal(err)
	}
	return ro
}

// Token makes a join token.
func (r *Rig) Token(name string, layer fleet.Layer, labels fleet.Labels) fleet.JoinToken {
	r.T.Helper()
	tok, err := r.Admin.Invite(r.Ctx, client.Invitation{Name: name, Layer: layer, Labels: labels})
	if err != nil {
		r.T.Fatal(err)
	}
	if tok.Root, err = r.Keys.Fingerprint(); err != nil {
		r.T.Fatal(err)
	}
	return tok
}

// Wait waits until done, and fails the test where that does not come.
func Wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}
