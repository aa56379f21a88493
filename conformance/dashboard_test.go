package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// dashboardTask is what browser/dashboard.mjs is given.
type dashboardTask struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	Viewer      string `json:"viewer"`
	Web         string `json:"web"`
	Chromium    string `json:"chromium"`
	Screenshots string `json:"screenshots"`
	Nodes       int    `json:"nodes"`
	Device      string `json:"device"`
	Release     string `json:"release"`
	Next        string `json:"next"`
	Picture     string `json:"picture"`
	Patience    int64  `json:"patience"` // ms, with one step
}

type dashboardSeen struct {
	Seen struct {
		Wrong, Skip, Skipped, End, Log, Layers, Chosen, History, Agree, Same, QR, Address, Audit string
		Answers                                                                                  []struct{ Place, Text, Problem string }
		Nav, Wide                                                                                []string
	}
	Errors, Elsewhere, Serious []string
	Version                    string
}

// TestDashboard uses every page of the dashboard in Chromium, on a hub with three agents on three layers: login, keyboard, search,
// logs, a rollout by the wizard and its rollback, one input here and on each layer, a join token as QR code. No page logs an error, asks
// another host, or has what axe finds serious, on a desk in light and on a phone in dark colours. ISOMER_SCREENSHOTS keeps the pictures.
func TestDashboard(t *testing.T) {
	if testing.Short() {
		t.Skip("it drives a browser (-short)")
	}
	web, chromium := filepath.Join("..", "web"), needDashboardTools(t)
	r := hubtest.New(t)
	patient(t, r)
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	for _, n := range []struct {
		name  string
		layer fleet.Layer
	}{{"cloud-1", fleet.Cloud}, {"dev7", fleet.Device}, {"zoe", fleet.Mobile}} {
		dir := filepath.Join(r.Dir, n.name)
		id, err := node.Join(r.Ctx, dir, r.Token(n.name, n.layer, fleet.Labels{"site": "a"}), node.JoinOptions{})
		check(t, err)
		a, err := node.New(ctx, node.Config{Dir: dir, Identity: id, Version: "test"})
		check(t, err)
		working.Go(func() { defer a.Close(); _ = a.Run(ctx) })
	}
	modules := digits(t)
	r.Publish("digits@1.0.0", modules[0])
	r.Publish("digits@2.0.0", modules[1])
	if ro := r.Ended(r.Deploy("digits@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed || ro.Updated != 3 {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	viewer, err := r.Admin.MakeToken(r.Ctx, "viewer", fleet.Viewer, 0)
	check(t, err)
	shots := os.Getenv("ISOMER_SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	task := dashboardTask{
		URL: r.Hub.LocalURL(), Token: r.AdminToken(), Viewer: viewer, Web: web, Chromium: chromium, Screenshots: shots,
		Nodes: 3, Device: "dev7", Release: "digits@1.0.0", Next: "digits@2.0.0", Picture: filepath.Join("..", "examples", "meter", "frames", "frame-00.png"),
		Patience: hubtest.Patience.Milliseconds(),
	}
	in, err := json.Marshal(task)
	check(t, err)
	c := exec.CommandContext(r.Ctx, "node", filepath.Join("browser", "dashboard.mjs"))
	var said bytes.Buffer
	c.Stdin, c.Stderr = bytes.NewReader(in), &said
	b, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.Bytes())
	}
	var out dashboardSeen
	check(t, json.Unmarshal(b, &out))
	t.Logf("Chromium %s", out.Version)
	for what, list := range map[string][]string{"the page logs": out.Errors, "another host is asked": out.Elsewhere, "axe": out.Serious, "on a phone": out.Seen.Wide} {
		for _, e := range list {
			t.Errorf("%s: %s", what, e)
		}
	}
	out.check(t)
}

func (d *dashboardSeen) check(t *testing.T) {
	s := &d.Seen
	for name, is := range map[string]struct{ got, want string }{
		"a wrong token": {s.Wrong, "unknown"}, "the first Tab": {s.Skip, "Skip to content"}, "skipped to": {s.Skipped, "main"}, "the list's end": {s.End, "zoe"},
		"the log": {s.Log, "started"}, "the layers": {s.Layers, "22 layers"}, "the wizard": {s.Chosen, "1 node is chosen"}, "the history": {s.History, "not wanted"},
		"answers": {s.Agree, "7 answers, the same bytes"}, "by layer": {s.Same, "Each layer gives the same bytes"}, "the audit log": {s.Audit, "rollback"},
	} {
		if !strings.Contains(is.got, is.want) {
			t.Errorf("%s: %.300q, want %q in it", name, is.got, is.want)
		}
	}
	for _, a := range s.Answers {
		if a.Problem != "" || !strings.Contains(a.Text, `"label"`) {
			t.Errorf("%s answers %q %s", a.Place, a.Text, a.Problem)
		}
	}
	if s.QR == "" || s.QR != s.Address || !strings.Contains(s.QR, "/node/#isomer-join-") {
		t.Errorf("the code says %q, the page %q", s.QR, s.Address)
	} else if tok, err := fleet.ParseJoinToken(s.QR[strings.Index(s.QR, "#")+1:]); err != nil || tok.Root == "" {
		t.Errorf("the token is %+v (%v)", tok, err)
	}
	if !slices.Contains(s.Nav, "Nodes") || slices.Contains(s.Nav, "Enrol") || slices.Contains(s.Nav, "Deploy") {
		t.Errorf("a viewer is offered %v", s.Nav)
	}
}
