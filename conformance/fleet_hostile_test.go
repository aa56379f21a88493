package conformance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// attacked is a running fleet: a hub, an edge, a device at the hub whose agent has a clock that can be moved, and
// two that are nothing but connections: mallory at the edge, and mallet at the hub.
type attacked struct {
	*hubtest.Rig
	victim, module  string // that `want` speaks to, and what it runs
	agent           *node.Agent
	ahead           atomic.Int64 // of the agent's clock, seconds
	good            trust.Files  // the hub's metadata
	old             trust.Files  // of a release before
	revision        int
	edgeURL, caFile string
	mallory, mallet node.Identity
}

func newAttacked(t *testing.T) *attacked {
	a := &attacked{Rig: hubtest.New(t), victim: "dev1", module: "meter"}
	dir := filepath.Join(a.Dir, "gw1")
	id, err := node.Join(a.Ctx, dir, a.Token("gw1", fleet.Edge, nil), node.JoinOptions{Addresses: []string{"127.0.0.1"}})
	check(t, err)
	e, err := edge.Start(a.Ctx, edge.Config{
		Node: node.Config{Dir: dir, Identity: id, Version: "test"}, Hosts: []string{"127.0.0.1"}, Listen: broker.Listen{NATS: "127.0.0.1:0"},
	})
	check(t, err)
	a.works(e.Run, e.Close)
	a.edgeURL = e.Addresses()[0]
	a.caFile = filepath.Join(a.Dir, "ca.pem")
	check(t, os.WriteFile(a.caFile, []byte(id.Enrolment.CA), 0o600))
	a.online("gw1")
	a.mallory, err = node.Join(a.Ctx, filepath.Join(a.Dir, "mallory"), a.Token("mallory", fleet.Device, nil), node.JoinOptions{Via: "gw1"})
	check(t, err)
	a.mallet, err = node.Join(a.Ctx, filepath.Join(a.Dir, "mallet"), a.Token("mallet", fleet.Device, nil), node.JoinOptions{})
	check(t, err)

	dir = filepath.Join(a.Dir, "dev1")
	id, err = node.Join(a.Ctx, dir, a.Token("dev1", fleet.Device, fleet.Labels{"site": "a"}), node.JoinOptions{})
	check(t, err)
	a.agent, err = node.New(a.Ctx, node.Config{Dir: dir, Identity: id, Version: "test", Now: func() time.Time {
		return time.Now().Add(time.Duration(a.ahead.Load()) * time.Second)
	}})
	check(t, err)
	a.works(a.agent.Run, a.agent.Close)
	a.online("dev1")

	a.Publish("meter@1.0.0", versioned("1"))
	a.old = a.metadata()
	a.Publish("meter@1.1.0", versioned("1.1"))
	a.good = a.metadata()
	if ro := a.Ended(a.Deploy("meter@1.0.0", "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	return a
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (a *attacked) works(work func(context.Context) error, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	a.T.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			a.T.Error(err)
		}
		end()
	})
}

func (a *attacked) online(name string) {
	a.T.Helper()
	hubtest.Wait(a.T, name, func() bool {
		n, err := a.Admin.Node(a.Ctx, name)
		return err == nil && n.Online
	})
}

func (a *attacked) metadata() trust.Files {
	a.T.Helper()
	files, err := a.Admin.Trust(a.Ctx)
	check(a.T, err)
	return files
}

// serve makes the hub hand out metadata, as one would that was broken into.
func (a *attacked) serve(files trust.Files) {
	a.T.Helper()
	b, err := files.Pack()
	check(a.T, err)
	all, err := a.Hub.Store().Trust.List(a.Ctx)
	check(a.T, err)
	for _, e := range all {
		_, err = a.Hub.Store().Trust.Update(a.Ctx, e.Key, b, e.Revision)
		check(a.T, err)
	}
}

// want tells the victim to run something, past the hub's controller.
func (a *attacked) want(m fleet.DesiredModule) {
	a.T.Helper()
	a.revision++
	m.Deployment = fmt.Sprintf("evil%d", a.revision)
	b, err := json.Marshal(fleet.Desired{Node: a.victim, Modules: []fleet.DesiredModule{m}})
	check(a.T, err)
	header := nats.Header{fleet.RevisionHeader: {strconv.Itoa(1_000_000 + a.revision)}}
	check(a.T, a.Hub.Conn().PublishMsg(&nats.Msg{Subject: fleet.DesiredSubject(a.victim), Header: header, Data: b}))
}

// wantUnknown makes the device ask for newer metadata.
func (a *attacked) wantUnknown() {
	a.T.Helper()
	bin := versioned("6")
	a.want(fleet.DesiredModule{Release: hubtest.Ref(a.T, a.module+"@6.6."+strconv.Itoa(a.revision)), Digest: hubtest.Digest(bin), Size: int64(len(bin))})
}

// offer serves metadata and makes the device look at it.
func (a *attacked) offer(files trust.Files) {
	a.serve(files)
	a.wantUnknown()
}

func (a *attacked) as(id node.Identity, url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed), nats.RootCAs(a.caFile), nats.NoReconnect(),
		nats.CustomInboxPrefix(fleet.Inbox(id.Enrolment.Node)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// connected is a connection of mallory's or mallet's until the test's end.
func (a *attacked) connected(id node.Identity, url string) *nats.Conn {
	a.T.Helper()
	nc, err := a.as(id, url)
	check(a.T, err)
	a.T.Cleanup(nc.Close)
	return nc
}

// post sends a body to the API as the admin, and returns the status.
func (a *attacked) post(path string, body []byte) int {
	a.T.Helper()
	b, err := os.ReadFile(filepath.Join(a.Dir, "hub", "admin.json"))
	check(a.T, err)
	var access struct{ URL, Token string }
	check(a.T, json.Unmarshal(b, &access))
	req, err := http.NewRequestWithContext(a.Ctx, http.MethodPost, a.Hub.URL()+path, bytes.NewReader(body))
	check(a.T, err)
	req.Header.Set("Authorization", "Bearer "+access.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.plain().Do(req)
	check(a.T, err)
	_ = res.Body.Close()
	return res.StatusCode
}

// Each attack is refused, what ran goes on running, and the audit log tells of it.
func TestTheHostileAreRefusedAndRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hub, an edge and a device (-short)")
	}
	a := newAttacked(t)
	hubURL := strings.Replace(a.Hub.Broker().URL(), "nats://", "tls://", 1)
	for _, attack := range []struct {
		name      string
		do        func(t *testing.T)
		who, what string
		why       string // a part of the reason
	}{
		{"a module that nobody signed", func(*testing.T) { a.wantUnknown() }, "node dev1", "refused", trust.ErrUnknownRelease.Error()},
		{"a signed release with another module", func(t *testing.T) {
			bin := versioned("evil")
			a.want(fleet.DesiredModule{Release: hubtest.Ref(t, "meter@1.1.0"), Digest: hubtest.Digest(bin), Size: int64(len(bin))})
		}, "node dev1", "refused", trust.ErrTampered.Error()},
		{"a module that was tampered with", func(t *testing.T) {
			bin := versioned("1.1")
			a.tamper(t, hubtest.Digest(bin))
			a.want(fleet.DesiredModule{Release: hubtest.Ref(t, "meter@1.1.0"), Digest: hubtest.Digest(bin), Size: int64(len(bin))})
		}, "node dev1", "module", "meter@1.1.0"},
		{"metadata of before", func(*testing.T) { a.offer(a.old) }, "node dev1", "signed list", trust.ErrRollback.Error()},
		{"metadata that was tampered with", func(*testing.T) {
			files := maps.Clone(a.good)
			files[trust.TimestampFile] = bytes.Replace(files[trust.TimestampFile], []byte(`"version": `), []byte(`"version": 1`), 1)
			a.offer(files)
		}, "node dev1", "signed list", trust.ErrUnsigned.Error()},
		{"files of different times", func(t *testing.T) {
			a.serve(a.good)
			a.Publish("meter@1.2.0", versioned("1.2"))
			snapshot := func(files trust.Files) string {
				info, err := files.Inspect()
				check(t, err)
				return fmt.Sprintf("%d.snapshot.json", info.Snapshot.Version)
			}
			files := a.metadata()
			files[snapshot(files)] = a.good[snapshot(a.good)]
			a.offer(files)
		}, "node dev1", "signed list", trust.ErrTampered.Error()},
		{"the root of another developer", func(t *testing.T) {
			files := maps.Clone(a.good)
			files["2.root.json"] = a.foreignRoot(t)
			a.offer(files)
		}, "node dev1", "signed list", trust.ErrUnsigned.Error()},
		{"a list that is held back until it expires", func(*testing.T) {
			a.ahead.Store(int64(40 * 24 * time.Hour / time.Second))
			a.offer(a.good)
		}, "node dev1", "signed list", trust.ErrExpired.Error()},
		{"a join token that was used", func(t *testing.T) {
			tok := a.Token("dev9", fleet.Device, nil)
			_, err := node.Join(a.Ctx, filepath.Join(a.Dir, "dev9"), tok, node.JoinOptions{})
			check(t, err)
			if _, err := node.Join(a.Ctx, filepath.Join(a.Dir, "thief"), tok, node.JoinOptions{}); err == nil {
				t.Error("it opens twice")
			}
		}, "nobody", "enrol", "used by another"},
		{"another's subject", func(t *testing.T) {
			nc := a.connected(a.mallet, hubURL)
			check(t, nc.Publish(fleet.TelemetrySubject("dev1", fleet.StateSubject), []byte("{}")))
			check(t, nc.FlushTimeout(hubtest.Patience))
		}, "node mallet", "broker", fleet.TelemetrySubject("dev1", fleet.StateSubject)},
		{"another's subject through the edge", func(t *testing.T) {
			nc := a.connected(a.mallory, a.edgeURL)
			_, err := nc.SubscribeSync(fleet.DesiredSubject("dev1"))
			check(t, err)
			check(t, nc.FlushTimeout(hubtest.Patience))
		}, "node gw1", "broker", "node mallory"},
		{"a report about another", func(t *testing.T) {
			nc := a.connected(a.mallet, hubURL)
			check(t, nc.Publish(fleet.TelemetrySubject("mallet", fleet.StateSubject), []byte(`{"node":"dev1"}`)))
			check(t, nc.FlushTimeout(hubtest.Patience))
		}, "node mallet", "report", "dev1"},
		{"a report that is too large", func(t *testing.T) {
			nc := a.connected(a.mallet, hubURL)
			check(t, nc.Publish(fleet.TelemetrySubject("mallet", fleet.StateSubject), make([]byte, 1<<20)))
			check(t, nc.FlushTimeout(hubtest.Patience))
		}, "node mallet", "report", "1048576 bytes"},
		{"a message that is too large", func(t *testing.T) {
			a.oversized(t, a.mallet, broker.MaxPayload+1)
		}, "", "broker", "maximum payload"},
		{"a key that nobody signed", func(t *testing.T) {
			kp, err := nkeys.CreateUser()
			check(t, err)
			seed, err := kp.Seed()
			check(t, err)
			id := a.mallet
			id.Seed = string(seed)
			if nc, err := a.as(id, hubURL); err == nil {
				nc.Close()
				t.Error("it comes in")
			}
		}, "", "broker", "authentication error"},
		{"a revoked device at the edge", func(t *testing.T) {
			nc := a.connected(a.mallory, a.edgeURL)
			check(t, a.Admin.Revoke(a.Ctx, "mallory"))
			hubtest.Wait(t, "the end of its connection", func() bool { return !nc.IsConnected() })
			if nc, err := a.as(a.mallory, a.edgeURL); err == nil {
				nc.Close()
				t.Error("it comes back")
			}
		}, "node gw1", "broker", "authentication error"},
		{"a body that is too large", func(t *testing.T) {
			if s := a.post("/v1/deployments", bytes.Repeat([]byte(" "), 2<<20)); s != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d", s)
			}
		}, "admin", "deploy", ""},
		{"bodies of random bytes", func(t *testing.T) {
			for _, path := range []string{"/v1/deployments", "/v1/joins", "/v1/tokens", "/v1/enrol"} {
				for range 15 {
					if s := a.post(path, randomBody()); s < 400 || s >= 500 {
						t.Errorf("%s: status %d", path, s)
					}
				}
			}
		}, "admin", "invite", ""},
	} {
		t.Run(attack.name, func(t *testing.T) {
			since := time.Now().Add(-time.Second)
			before, err := a.Admin.Audit(a.Ctx, since, 1000)
			check(t, err)
			attack.do(t)
			hubtest.Wait(t, "an entry in the audit log", func() bool {
				entries, err := a.Admin.Audit(a.Ctx, since, 1000)
				check(t, err)
				for _, e := range entries[min(len(before), len(entries)):] {
					if e.Result == "refused" && strings.HasPrefix(e.Who, attack.who) && strings.HasPrefix(e.What, attack.what) && strings.Contains(e.Reason, attack.why) {
						t.Logf("%s: %s, %s: %s", e.Who, e.What, e.On, e.Reason)
						return true
					}
				}
				return false
			})
			if got, err := a.agent.Call(a.Ctx, "meter", "version", "", nil); err != nil || string(got.Body) != "1" {
				t.Errorf("the device answers %s (%v)", got.Body, err)
			}
		})
	}
}

// foreignRoot is the second root of another developer.
func (a *attacked) foreignRoot(t *testing.T) []byte {
	t.Helper()
	keys, err := trust.CreateKeys(filepath.Join(t.TempDir(), "keys"), trust.KeysOptions{})
	check(t, err)
	snapshot, timestamp, err := a.Admin.OnlineKeys(a.Ctx)
	check(t, err)
	c, err := keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}})
	check(t, err)
	check(t, keys.Commit(c))
	c, err = keys.Renew(true, false)
	check(t, err)
	return c.Files["2.root.json"]
}

// tamper changes a byte of a module on the hub's disk.
func (a *attacked) tamper(t *testing.T, digest string) {
	t.Helper()
	path := filepath.Join(a.Dir, "hub", "modules", digest)
	b, err := os.ReadFile(path)
	check(t, err)
	b[len(b)/2] ^= 1
	check(t, os.Chmod(path, 0o600))
	check(t, os.WriteFile(path, b, 0o600))
}

// plain is an HTTP client that trusts the fleet's CA.
func (a *attacked) plain() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
}

func (a *attacked) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.mallet.Enrolment.CA))
	return pool
}

// oversized says in NATS's protocol that a message of n bytes comes, which clients refuse to say, and waits to be sent away.
func (a *attacked) oversized(t *testing.T, id node.Identity, n int) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(a.Hub.Broker().URL(), "nats://"))
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(hubtest.Patience)))
	line, err := bufio.NewReader(c).ReadString('\n')
	check(t, err)
	var info struct{ Nonce string }
	check(t, json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info))
	secure := tls.Client(c, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	kp, err := nkeys.FromSeed([]byte(id.Seed))
	check(t, err)
	sig, err := kp.Sign([]byte(info.Nonce))
	check(t, err)
	hello, err := json.Marshal(map[string]any{"jwt": id.Enrolment.JWT, "sig": base64.RawURLEncoding.EncodeToString(sig), "protocol": 1})
	check(t, err)
	_, err = fmt.Fprintf(secure, "CONNECT %s\r\nPUB %s %d\r\n", hello, fleet.TelemetrySubject(id.Enrolment.Node, fleet.MetricSubject), n)
	check(t, err)
	if _, err := io.Copy(io.Discard, secure); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it stays")
	}
}

// versioned is a module that answers its version.
func versioned(v string) []byte {
	return enginetest.Guest{Version: v, Manifest: &abi.Manifest{
		Isomer: abi.FormatVersion, Name: "meter", Version: v, Golden: []abi.Golden{{Function: "version", Output: []byte(v)}},
	}}.Build()
}

// randomBody is JSON that is nearly right, or nothing like it.
func randomBody() []byte {
	b := []byte(`{"release":{"name":"meter","version":"1.0.0"},"to":"all","node":"x","layer":"device","secret":"00","name":"a","role":"admin","files":{}}`)
	for range 1 + rand.IntN(12) {
		b[rand.IntN(len(b))] = byte(rand.IntN(256))
	}
	return b[:rand.IntN(len(b))]
}
