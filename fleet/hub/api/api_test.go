package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/api"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

const patience = 30 * time.Second

// hub is the API over a real JetStream. What needs the parts behind it (trust, enrolment, nodes) is tested in
// package hub.
type hub struct {
	store *state.Store
	api   *api.Server
	url   string
	close func() // loses the state
}

func newHub(t testing.TB) (context.Context, *hub) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	nc, _ := brokertest.JetStream(t, t.TempDir())
	h := &hub{close: nc.Close}
	var err error
	if h.store, err = state.Open(ctx, nc, state.Options{}); err != nil {
		t.Fatal(err)
	}
	h.api = api.New(api.Config{Store: h.store, Version: "test", Log: slog.New(slog.DiscardHandler)})
	srv := httptest.NewServer(h.api.Handler())
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return ctx, h
}

// as is a client with a fresh token of the role.
func (h *hub) as(t testing.TB, ctx context.Context, role fleet.Role) *client.Client {
	t.Helper()
	token := api.NewToken()
	if _, err := h.store.Access.Create(ctx, api.HashToken(token), state.Access{Name: "the " + string(role), Role: role}); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: h.url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func status(err error) int {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestRolesAreKept(t *testing.T) {
	ctx, h := newHub(t)
	viewer, admin := h.as(t, ctx, fleet.Viewer), h.as(t, ctx, fleet.Admin)
	if _, err := viewer.Nodes(ctx, nil); err != nil {
		t.Error(err)
	}
	if _, err := viewer.Tokens(ctx); status(err) != http.StatusForbidden {
		t.Errorf("a viewer lists tokens: %v", err)
	}
	stranger, err := client.New(client.Config{URL: h.url, Token: "guess"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Nodes(ctx, nil); status(err) != http.StatusUnauthorized {
		t.Errorf("a stranger lists nodes: %v", err)
	}
	entries, err := admin.Audit(ctx, time.Time{}, 10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("the audit log has %d entries of 2 refusals (%v)", len(entries), err)
	}
	if e := entries[0]; e.Who != "the viewer" || e.What != "tokens" || e.Result != "refused" || e.Reason == "" || e.From == "" {
		t.Errorf("recorded: %+v", e)
	}
}

func TestTokensLiveAndDie(t *testing.T) {
	ctx, h := newHub(t)
	admin := h.as(t, ctx, fleet.Admin)
	secret, err := admin.MakeToken(ctx, "ci", fleet.Deployer, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ci, err := client.New(client.Config{URL: h.url, Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ci.Releases(ctx); err != nil {
		t.Error(err)
	}
	tokens, err := admin.Tokens(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range tokens {
		if k.Name == "ci" {
			if k.Expires == nil || k.By != "the admin" {
				t.Errorf("listed as %+v", k)
			}
			if err := admin.DropToken(ctx, k.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := ci.Releases(ctx); status(err) != http.StatusUnauthorized {
		t.Errorf("a token that was taken back: %v", err)
	}
	past := api.NewToken()
	if _, err := h.store.Access.Create(ctx, api.HashToken(past), state.Access{Name: "old", Role: fleet.Admin, Expires: time.Now().Add(-time.Second)}); err != nil {
		t.Fatal(err)
	}
	old, err := client.New(client.Config{URL: h.url, Token: past})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Nodes(ctx, nil); status(err) != http.StatusUnauthorized || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired token: %v", err)
	}
	if _, err := admin.MakeToken(ctx, "x", "king", 0); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("a role that does not exist: %v", err)
	}
}

func TestADeploymentIsCheckedAndKept(t *testing.T) {
	ctx, h := newHub(t)
	deployer := h.as(t, ctx, fleet.Deployer)
	ref := fleet.Ref{Name: "digits", Version: "1.2.0"}
	ask := client.Deployment{Release: ref, To: "layer=device", Plan: fleet.Plan{
		Waves: []fleet.Share{{Percent: 10}, {Percent: 100}}, Soak: fleet.Duration(time.Minute),
	}}
	if _, err := deployer.Deploy(ctx, ask); status(err) != http.StatusNotFound {
		t.Errorf("a release that does not exist: %v", err)
	}
	digest := strings.Repeat("0a", 32)
	if _, err := h.store.Releases.Create(ctx, fleet.ReleaseKey(ref), fleet.Release{Ref: ref, Digest: digest, Size: 9}); err != nil {
		t.Fatal(err)
	}
	d, err := deployer.Deploy(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := h.store.Deployments.Get(ctx, d.ID); err != nil || kept.Value.Digest != digest || len(kept.Value.Plan.Waves) != 2 ||
		kept.Value.By != "the deployer" || kept.Value.To.String() != "layer=device" {
		t.Errorf("kept as %+v (%v)", kept.Value, err)
	}
	// What a client says of the zone's offsets counts for nothing.
	ask.Plan.Window = &fleet.Window{From: fleet.Duration(22 * time.Hour), For: fleet.Duration(time.Hour), Zone: "Europe/Berlin", Shifts: []fleet.Shift{{Offset: 7}}}
	d, err = deployer.Deploy(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	w := d.Plan.Window
	if summer := time.Date(time.Now().Year()+1, 7, 1, 20, 30, 0, 0, time.UTC); len(w.Shifts) < 10 || !w.Open(summer) || w.Open(summer.AddDate(0, 6, 0)) {
		t.Errorf("the window is kept as %+v", w)
	}
	for what, bad := range map[string]client.Deployment{
		"no selector":     {Release: ref},
		"a wrong layer":   {Release: ref, To: "layer=cellar"},
		"shrinking waves": {Release: ref, To: "all", Plan: fleet.Plan{Waves: []fleet.Share{{Percent: 50}, {Percent: 10}}}},
		"an unknown zone": {Release: ref, To: "all", Plan: fleet.Plan{Window: &fleet.Window{For: fleet.Duration(time.Hour), Zone: "Europe/Atlantis"}}},
		"a bad binding":   {Release: ref, To: "all", Bindings: []fleet.Binding{{Name: "b", Call: "f"}}},
	} {
		if _, err := deployer.Deploy(ctx, bad); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestGuessersWait(t *testing.T) {
	ctx, h := newHub(t)
	stranger, err := client.New(client.Config{URL: h.url, Token: "guess"})
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		_, err = stranger.Nodes(ctx, nil)
		if status(err) == http.StatusTooManyRequests {
			return
		}
		if status(err) != http.StatusUnauthorized {
			t.Fatal(err)
		}
	}
	t.Errorf("10,000 guesses were answered: %v", err)
}

// A client that sends its request a byte a second holds a connection for ten seconds and no longer.
func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for the limit of 10 s (-short)")
	}
	ctx, h := newHub(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.api.Serve(l, nil) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for _, b := range []byte("GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 1000)) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) {
		t.Error("the connection stays open")
	}
	if err := h.api.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestTheDocumentDescribesEveryOperation(t *testing.T) {
	t.Parallel()
	ctx, h := newHub(t)
	resp, err := http.Get(h.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Summary     string                `json:"summary"`
			Security    []map[string][]string `json:"security"`
			Responses   map[string]any        `json:"responses"`
		} `json:"paths"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{"version": true, "healthz": true, "enrol": true}
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			if op.OperationID == "" || op.Summary == "" || len(op.Responses) < 2 {
				t.Errorf("%s %s is described as %+v", method, path, op)
			}
			if len(op.Security) == 0 && !open[op.OperationID] {
				t.Errorf("%s %s needs no token", method, path)
			}
			// What the document says needs a token does so.
			if len(op.Security) > 0 {
				time.Sleep(60 * time.Millisecond) // below what counts as guessing
				url := h.url + strings.NewReplacer("{digest}", strings.Repeat("0", 64), "{id}", "x", "{command}", "pause", "{name}", "n", "{module}", "m", "{function}", "f").Replace(path)
				req, err := http.NewRequestWithContext(ctx, strings.ToUpper(method), url, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s %s without a token: %s", method, path, resp.Status)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("%d operations are described", n)
	}
}

func FuzzBodies(f *testing.F) {
	ctx, h := newHub(f)
	token := api.NewToken()
	if _, err := h.store.Access.Create(ctx, api.HashToken(token), state.Access{Name: "fuzz", Role: fleet.Deployer}); err != nil {
		f.Fatal(err)
	}
	f.Add("/v1/deployments", []byte(`{"release":"digits@1.2.0","to":"layer=device","plan":{"waves":["10%","100%"],"soak":"1m","gate":{"errors":0.1}},"bindings":[{"name":"b","call":"f","every":"1s"}]}`))
	f.Add("/v1/rollouts/x/pause", []byte(`{"reason":"r"}`))
	f.Add("/v1/tokens", []byte(`{"name":"n","role":"viewer","lasts":"1h"}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if !strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v1/enrol") || strings.HasPrefix(path, "/v1/call") ||
			strings.HasPrefix(path, "/v1/trust") || strings.HasPrefix(path, "/v1/modules") || strings.HasPrefix(path, "/v1/nodes") {
			return // they need the parts behind the API, and have fuzz targets of their own
		}
		req, err := http.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		req.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		h.api.Handler().ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", path, body, w.Code, w.Body)
		}
	})
}

// The name goes into the subject of a request: with a second part it would have a module's function "logs" called.
func TestLogsAreOfANode(t *testing.T) {
	ctx, h := newHub(t)
	viewer := h.as(t, ctx, fleet.Viewer)
	for _, name := range []string{"dev7.digits", "any.device.digits", "*", "a b", "a\r\nPING\r\n", strings.Repeat("a", 64)} {
		if err := viewer.Logs(ctx, name, false, func(fleet.LogLine) {}); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("logs of %.20q: %v", name, err)
		}
	}
}

// events reads a stream of server-sent events until it ends or enough were seen.
func events(t *testing.T, r io.Reader, enough func(name, data string) bool) {
	t.Helper()
	lines, name := bufio.NewScanner(r), ""
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = s
		} else if s, ok := strings.CutPrefix(lines.Text(), "data: "); ok && enough(name, s) {
			return
		}
	}
	t.Errorf("the stream ends (%v)", lines.Err())
}

func TestTheFleetIsWatched(t *testing.T) {
	ctx, h := newHub(t)
	token := api.NewToken()
	if _, err := h.store.Access.Create(ctx, api.HashToken(token), state.Access{Name: "ann", Role: fleet.Viewer}); err != nil {
		t.Fatal(err)
	}
	watch := func(token string) *http.Response {
		t.Helper()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, h.url+"/v1/watch", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = got.Body.Close() })
		return got
	}
	if got := watch("guess"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger watches: %s", got.Status)
	}
	stream := watch(token)
	var about api.About
	written := false
	events(t, stream.Body, func(name, data string) bool {
		switch {
		case name == "hub":
			if err := json.Unmarshal([]byte(data), &about); err != nil || about.Name != "ann" || about.Role != fleet.Viewer || about.Silent == 0 {
				t.Errorf("it begins with %s (%v)", data, err)
			}
		case name == "changes" && !written && strings.Contains(data, `"ready":true`):
			written = true
			if _, err := h.store.Members.Put(ctx, "dev1", fleet.Member{Node: "dev1", Layer: fleet.Device}); err != nil {
				t.Fatal(err)
			}
		case name == "changes" && strings.Contains(data, `"dev1"`):
			return true
		}
		return false
	})
}

// What a stream is of is looked at before it begins: afterwards there is no status left to say it with.
func TestStreamsOfWhatIsNotThere(t *testing.T) {
	ctx, h := newHub(t)
	viewer := h.as(t, ctx, fleet.Viewer)
	if err := viewer.WatchRollout(ctx, "20260101-000000-none", func(fleet.Rollout) {}); status(err) != http.StatusNotFound {
		t.Errorf("a rollout that nobody began is watched: %v", err)
	}
	if err := viewer.WatchRollout(ctx, "a b*", func(fleet.Rollout) {}); status(err)/100 != 4 {
		t.Errorf("what is no id is watched: %v", err)
	}
	if err := viewer.Logs(ctx, "dev7", false, func(fleet.LogLine) {}); status(err) != http.StatusNotFound {
		t.Errorf("logs of a node that nobody invited: %v", err)
	}
	// The controller writes a rollout a moment after its deployment.
	if _, err := h.store.Deployments.Create(ctx, "d1", fleet.Deployment{ID: "d1"}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan error, 1)
	go func() { seen <- viewer.WatchRollout(ctx, "d1", func(fleet.Rollout) {}) }()
	if _, err := h.store.Rollouts.Create(ctx, "d1", fleet.Rollout{Deployment: "d1", Phase: fleet.Completed}); err != nil {
		t.Fatal(err)
	}
	if err := <-seen; err != nil {
		t.Error(err)
	}
}

func TestCallsThatDoNotFit(t *testing.T) {
	ctx, h := newHub(t)
	deployer := h.as(t, ctx, fleet.Deployer)
	admin := h.as(t, ctx, fleet.Admin)
	if _, err := deployer.Call(ctx, client.Call{Module: "m", Function: "f", Node: "dev7", Body: make([]byte, 8<<20+1)}); status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("8 MiB and a byte: %v", err)
	}
	entries, err := admin.Audit(ctx, time.Time{}, 10)
	if err != nil || len(entries) != 1 || !strings.Contains(entries[0].Reason, "too large") {
		t.Errorf("recorded: %+v (%v)", entries, err)
	}
	token := api.NewToken()
	if _, err := h.store.Access.Create(ctx, api.HashToken(token), state.Access{Name: "ann", Role: fleet.Deployer}); err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []string{"NaN", "nan", "Inf", "-1", "1e9"} {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/call/m/f?node=dev7&seconds="+seconds, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		if got.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s seconds: %s", seconds, got.Status)
		}
	}
}

// A hub that cannot look tokens up must not tell their owners to guess less.
func TestAHubWithoutItsStateBarsNobody(t *testing.T) {
	ctx, h := newHub(t)
	viewer := h.as(t, ctx, fleet.Viewer)
	h.close()
	for range 30 {
		if _, err := viewer.Nodes(ctx, nil); status(err) != http.StatusServiceUnavailable {
			t.Fatalf("without its state it answers %v", err)
		}
	}
}
