package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// TestDashboardOfAHostileNode shows what a node says that wants to harm whoever looks at it: markup, characters that turn the
// text around, words without an end. The page shows them as text, on the narrowest phone too. Then the hub goes and comes
// back, the node is revoked, and the viewer's token is dropped: the open page says so each time by itself.
func TestDashboardOfAHostileNode(t *testing.T) {
	if testing.Short() {
		t.Skip("it drives a browser (-short)")
	}
	needDashboardTools(t)
	r := hubtest.New(t)
	patient(t, r)
	id, err := node.Join(r.Ctx, filepath.Join(r.Dir, "mallory"), r.Token("mallory", fleet.Device, fleet.Labels{"site": strings.Repeat("a", 60)}), node.JoinOptions{})
	check(t, err)
	nc := talks(t, r, id)
	evil := `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>` + "\u202e\u0007\x1b[31m" + strings.Repeat("W", 5000)
	answer, err := json.Marshal([]fleet.LogLine{{Node: "mallory", Level: "info", Message: "the first line " + evil, At: time.Now()}})
	check(t, err)
	_, err = nc.Subscribe(fleet.LogsSubject("mallory"), func(m *nats.Msg) { _ = m.Respond(answer) })
	check(t, err)
	report := func(problem string) {
		b, err := json.Marshal(fleet.Report{
			Node: "mallory", Layer: fleet.Device, Boot: "b", At: time.Now(), Agent: evil, Engine: evil, OS: evil, Arch: evil, Problems: []string{problem, problem},
			Modules: []fleet.ModuleReport{{Name: "meter", State: fleet.Failed, Desired: hubtest.Ref(t, "meter@1"), Reason: evil, Digest: evil}},
		})
		check(t, err)
		check(t, nc.Publish(fleet.TelemetrySubject("mallory", fleet.StateSubject), b))
		check(t, nc.Flush())
	}
	report("the first problem " + evil)
	viewer, err := r.Admin.MakeToken(r.Ctx, "viewer", fleet.Viewer, 0)
	check(t, err)

	d := drive(t, t.TempDir(), r.Hub.Address(), "none")
	d.do(nil, "size", "width", 320, "height", 700)
	d.do(nil, "open", "url", r.Hub.LocalURL()+"/#/login/"+viewer)
	d.says(".link", "live")
	for _, page := range []string{"#/nodes", "#/", "#/nodes/mallory"} {
		d.do(nil, "run", "code", "void (location.hash = '"+page+"')")
		d.says("main", map[string]string{"#/": "1 failing", "#/nodes": "mallory", "#/nodes/mallory": "the first problem <img"}[page])
		if page == "#/nodes/mallory" {
			d.says(".log", "the first line <img")
		}
		var seen struct {
			Over         float64
			Marked, Text int
			Hacked       bool
		}
		d.do(&seen, "run", "code", `({ over: document.documentElement.scrollWidth - innerWidth, marked: document.querySelectorAll("main img, main script").length, hacked: "hacked" in window, text: document.querySelector("main").textContent.length })`)
		if seen.Over > 0 || seen.Marked > 0 || seen.Hacked || seen.Text > 10_000 { // it said over 35,000
			t.Errorf("%s: %+v", page, seen)
		}
	}
	d.shot("hostile", false)
	var errs []string
	if d.do(&errs, "errors"); len(errs) > 0 {
		t.Errorf("the page logs %q", errs)
	}

	r.Hub.Stop()
	d.says(".link", "no connection")
	r.Start()
	d.says(".link", "live")
	hubtest.Wait(t, "the node's connection", nc.IsConnected)
	report("the second problem")
	d.says("main", "the second problem")
	d.says(".log", "the first line <img") // of the hub that is there now
	check(t, r.Admin.Revoke(r.Ctx, "mallory"))
	d.says("main h1", "revoked")
	tokens, err := r.Admin.Tokens(r.Ctx)
	check(t, err)
	for _, tok := range tokens {
		if tok.Name == "viewer" {
			check(t, r.Admin.DropToken(r.Ctx, tok.ID))
		}
	}
	d.says("[role=alert]", "token")
}

// talks connects as a node that has no agent, and comes back by itself.
func talks(t *testing.T, r *hubtest.Rig, id node.Identity) *nats.Conn {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(ca, []byte(id.Enrolment.CA), 0o600))
	nc, err := nats.Connect(r.Hub.Broker().URL(), nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed), nats.RootCAs(ca), nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond), nats.CustomInboxPrefix(fleet.Inbox(id.Enrolment.Node)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	check(t, err)
	t.Cleanup(nc.Close)
	return nc
}
