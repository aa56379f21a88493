package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/wasm"
)

// module is a small module that says its name.
func module(t *testing.T, name string) []byte {
	t.Helper()
	manifest, err := abi.Manifest{Name: name, Version: "1", Golden: nil}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := &wasm.Module{}
	m.AddCustom(abi.ManifestSection, manifest)
	return m.Encode()
}

// device is a node as the hub sees it: a connection with the claims that the hub signed.
type device struct {
	nc       *nats.Conn
	enrolled fleet.Enrolment
	desired  chan fleet.Desired
}

func join(r *hubtest.Rig, name string, layer fleet.Layer) *device {
	r.T.Helper()
	tok := r.Token(name, layer, nil)
	kp, err := nkeys.CreateUser()
	if err != nil {
		r.T.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	seed, _ := kp.Seed()
	stranger, err := client.New(client.Config{URL: tok.Hubs[0], CA: tok.CA})
	if err != nil {
		r.T.Fatal(err)
	}
	d := &device{desired: make(chan fleet.Desired, 64)}
	if d.enrolled, err = stranger.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: pub}); err != nil {
		r.T.Fatal(err)
	}
	ca := filepath.Join(r.Dir, name+".pem")
	if err := os.WriteFile(ca, []byte(d.enrolled.CA), 0o600); err != nil {
		r.T.Fatal(err)
	}
	d.nc, err = nats.Connect(strings.Join(d.enrolled.Servers, ","), nats.UserJWTAndSeed(d.enrolled.JWT, string(seed)),
		nats.RootCAs(ca), nats.CustomInboxPrefix("_INBOX_"+name), nats.MaxReconnects(-1))
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(d.nc.Close)
	if _, err := d.nc.Subscribe(fleet.DesiredSubject(name), func(m *nats.Msg) {
		if want, err := fleet.DecodeDesired(m.Data); err == nil {
			d.desired <- want
		}
	}); err != nil {
		r.T.Fatal(err)
	}
	if err := d.nc.FlushTimeout(hubtest.Patience); err != nil {
		r.T.Fatal(err)
	}
	return d
}

func status(err error) int {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestAReleaseReachesANode(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dev := join(r, "dev1", fleet.Device)
	bin := module(t, "digits")
	if made := r.Publish("digits@1.0.0", bin); len(made) != 1 || made[0].Manifest == nil || made[0].Manifest.Name != "digits" {
		t.Errorf("the release is %+v", made)
	}
	d, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: fleet.Ref{Name: "digits", Version: "1.0.0"}, To: "layer=device"})
	if err != nil {
		t.Fatal(err)
	}
	want := dev.await(t, r.Ctx, d.ID)

	// It fetches what it should run, in chunks and with the list that proves it.
	got := dev.fetch(t, want.Modules[0].Digest)
	if !bytes.Equal(got, bin) {
		t.Errorf("%d bytes are fetched of %d", len(got), len(bin))
	}
	nodeTrust, err := trust.OpenClient(trust.ClientOptions{
		Store: trust.DirStore(t.TempDir()), Root: dev.enrolled.Root,
		Fetch: trust.FetchFunc(func(ctx context.Context, file string, _ int64) ([]byte, error) {
			msg, err := dev.nc.RequestWithContext(ctx, fleet.FetchSubject("hub", "trust", fleet.TrustKey(file)), nil)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(msg.Header.Get(fleet.ErrorHeader), fleet.CodeNotFound) {
				return nil, trust.ErrNotFound
			}
			return msg.Data, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodeTrust.Refresh(r.Ctx); err != nil {
		t.Fatal(err)
	}
	if digest, size, err := nodeTrust.Target(want.Modules[0].Release); err != nil || digest != hubtest.Digest(bin) || size != int64(len(bin)) {
		t.Errorf("the signed list says %s, %d (%v)", digest, size, err)
	}

	dev.report(t, "dev1", d, fleet.Running)
	if err := r.Admin.WatchRollout(r.Ctx, d.ID, func(fleet.Rollout) {}); err != nil {
		t.Fatal(err)
	}
	if ro, err := r.Admin.Rollout(r.Ctx, d.ID); err != nil || ro.Phase != fleet.Completed {
		t.Errorf("the rollout is %s (%v)", ro.Phase, err)
	}
	if n, err := r.Admin.Node(r.Ctx, "dev1"); err != nil || !n.Online || n.Report == nil || n.Desired == nil {
		t.Errorf("the node is shown as %+v (%v)", n, err)
	}

	// A hub that is killed and started again knows all that.
	r.Hub.Stop()
	r.Start()
	if ro, err := r.Admin.Rollout(r.Ctx, d.ID); err != nil || ro.Phase != fleet.Completed {
		t.Errorf("after a restart the rollout is %s (%v)", ro.Phase, err)
	}
}

// await waits for a desired state by this deployment.
func (d *device) await(t *testing.T, ctx context.Context, deployment string) fleet.Desired {
	t.Helper()
	for {
		select {
		case want := <-d.desired:
			for _, m := range want.Modules {
				if m.Deployment == deployment {
					return want
				}
			}
		case <-ctx.Done():
			t.Fatalf("deployment %s does not reach the node", deployment)
		}
	}
}

func (d *device) fetch(t *testing.T, digest string) []byte {
	t.Helper()
	var all []byte
	for {
		msg, err := d.nc.Request(fleet.FetchSubject("hub", "module", digest), fleet.ChunkRequest{Offset: int64(len(all)), Length: 16}.Encode(), hubtest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if why := msg.Header.Get(fleet.ErrorHeader); why != "" {
			t.Fatal(why)
		}
		if len(msg.Data) == 0 {
			return all
		}
		all = append(all, msg.Data...)
	}
}

func (d *device) report(t *testing.T, name string, dep fleet.Deployment, s fleet.ModuleState) {
	t.Helper()
	b, err := json.Marshal(fleet.Report{Node: name, Modules: []fleet.ModuleReport{{
		Name: dep.Release.Name, State: s, Desired: dep.Release, Release: dep.Release, Deployment: dep.ID, Reason: "as told",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.nc.Publish(fleet.TelemetrySubject(name, fleet.StateSubject), b); err != nil {
		t.Fatal(err)
	}
}

func TestARefusalAtTheCanaryTakesTheReleaseBack(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	devices := map[string]*device{}
	for _, n := range []string{"dev1", "dev2", "dev3"} {
		devices[n] = join(r, n, fleet.Device)
	}
	r.Publish("digits@1.0.0", module(t, "one"))
	r.Publish("digits@2.0.0", module(t, "two"))
	one, err := r.Admin.Deploy(r.Ctx, client.Deployment{Release: fleet.Ref{Name: "digits", Version: "1.0.0"}, To: "all"})
	if err != nil {
		t.Fatal(err)
	}
	for n, d := range devices {
		d.await(t, r.Ctx, one.ID)
		d.report(t, n, one, fleet.Running)
	}
	if err := r.Admin.WatchRollout(r.Ctx, one.ID, func(fleet.Rollout) {}); err != nil {
		t.Fatal(err)
	}
	two, err := r.Admin.Deploy(r.Ctx, client.Deployment{
		Release: fleet.Ref{Name: "digits", Version: "2.0.0"}, To: "all", Plan: fleet.Plan{Waves: []fleet.Share{{Count: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Whoever is the canary refuses.
	canary := ""
	for canary == "" {
		for n := range devices {
			view, err := r.Admin.Node(r.Ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			if view.Desired != nil && view.Desired.Modules[0].Deployment == two.ID {
				canary = n
			}
		}
	}
	devices[canary].report(t, canary, two, fleet.Refused)
	if err := r.Admin.WatchRollout(r.Ctx, two.ID, func(fleet.Rollout) {}); err != nil {
		t.Fatal(err)
	}
	ro, err := r.Admin.Rollout(r.Ctx, two.ID)
	if err != nil || ro.Phase != fleet.RolledBack || !strings.Contains(ro.History[len(ro.History)-1].Reason, canary) {
		t.Errorf("the rollout is %s: %+v (%v)", ro.Phase, ro.History, err)
	}
	devices[canary].await(t, r.Ctx, one.ID)
	for n, d := range devices {
		if n == canary {
			continue
		}
		for len(d.desired) > 0 {
			if want := <-d.desired; want.Modules[0].Deployment == two.ID {
				t.Errorf("%s was to run the bad release", n)
			}
		}
	}
	entries, err := r.Admin.Audit(r.Ctx, time.Time{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, e := range entries {
		what = append(what, e.Who+" "+e.What)
	}
	for _, want := range []string{"admin deploy", "controller rollout rolled back", "node dev1 enrol", "admin invite", "admin trust-put", "admin module-put"} {
		if !strings.Contains(strings.Join(what, "\n"), want) {
			t.Errorf("the audit log has no %q: %q", want, what)
		}
	}
}

func TestJoinTokensWorkOnceAndRevokedNodesStayOut(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	tok, err := r.Admin.Invite(r.Ctx, client.Invitation{Name: "dev1", Layer: fleet.Device})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: tok.Hubs[0], CA: tok.CA})
	if err != nil {
		t.Fatal(err)
	}
	key := func() string {
		kp, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		pub, _ := kp.PublicKey()
		return pub
	}
	mine, other := key(), key()
	if _, err := c.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: "no key"}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("a bad key: %v", err)
	}
	for range 2 { // the answer to the first may have been lost
		if _, err := c.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: mine}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: other}); status(err) != http.StatusForbidden {
		t.Errorf("a replayed token: %v", err)
	}
	if _, err := c.Enrol(r.Ctx, fleet.EnrolRequest{Secret: strings.Repeat("0", 64), Key: other}); status(err) != http.StatusForbidden {
		t.Errorf("a guessed token: %v", err)
	}
	if _, err := r.Admin.Invite(r.Ctx, client.Invitation{Name: "dev1", Layer: fleet.Device}); status(err) != http.StatusConflict {
		t.Errorf("a name that is in use: %v", err)
	}

	dev := join(r, "dev2", fleet.Device)
	if err := r.Admin.Revoke(r.Ctx, "dev2"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(hubtest.Patience); dev.nc.IsConnected(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a revoked node stays connected")
		}
	}
	if err := r.Admin.Revoke(r.Ctx, "dev1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enrol(r.Ctx, fleet.EnrolRequest{Secret: tok.Secret, Key: mine}); status(err) != http.StatusForbidden {
		t.Errorf("a revoked node comes back with its token: %v", err)
	}
	// The hub remembers it at its next start, before it reads its state.
	r.Hub.Stop()
	r.Start()
	if n, err := r.Admin.Node(r.Ctx, "dev2"); err != nil || !n.Revoked {
		t.Errorf("after a restart: %+v (%v)", n, err)
	}
	join(r, "dev2", fleet.Device) // a new token, a new key: welcome
}

func TestUploadsThatNobodySignedAreRefused(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	bin := module(t, "digits")
	if err := r.Admin.PutModule(r.Ctx, hubtest.Digest([]byte("other")), int64(len(bin)), bytes.NewReader(bin)); status(err) != http.StatusForbidden {
		t.Errorf("a module under another's digest: %v", err)
	}
	change, err := r.Keys.AddTarget(fleet.Ref{Name: "digits", Version: "1"}, hubtest.Digest(bin), int64(len(bin)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Admin.PutTrust(r.Ctx, change.Files); status(err) != http.StatusForbidden {
		t.Errorf("a release without its module: %v", err)
	}
	for name, b := range change.Files {
		changed := bytes.Replace(b, []byte("digits"), []byte("dogits"), 1)
		if _, err := r.Admin.PutTrust(r.Ctx, map[string][]byte{name: changed}); status(err) != http.StatusForbidden {
			t.Errorf("%s that was changed: %v", name, err)
		}
	}
	thief, err := trust.CreateKeys(filepath.Join(r.Dir, "thief"), trust.KeysOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, timestamp, err := r.Admin.OnlineKeys(r.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := thief.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Admin.PutTrust(r.Ctx, forged.Files); status(err) != http.StatusForbidden && status(err) != http.StatusConflict {
		t.Errorf("a thief's root: %v", err)
	}
	if releases, err := r.Admin.Releases(r.Ctx); err != nil || len(releases) != 0 {
		t.Errorf("there are releases: %v (%v)", releases, err)
	}
}
