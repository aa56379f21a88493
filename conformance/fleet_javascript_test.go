package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/wasm"
)

// A node in JavaScript is one like any other: what a hub sees of it is looked at here, whether it runs in Node.js or in
// a browser.

// phone is a hub and the name of the node in JavaScript.
type phone struct {
	*attacked
	t *testing.T
}

func newPhone(t *testing.T, r *hubtest.Rig) *phone {
	return &phone{&attacked{Rig: r, victim: "phone", module: "meter"}, t}
}

func (p *phone) report() fleet.Report {
	p.t.Helper()
	n, err := p.Admin.Node(p.Ctx, p.victim)
	check(p.t, err)
	if n.Report == nil {
		return fleet.Report{}
	}
	return *n.Report
}

// module waits until the node's report says that of its only module.
func (p *phone) says(what string, is func(fleet.ModuleReport) bool) fleet.ModuleReport {
	p.t.Helper()
	var got fleet.ModuleReport
	hubtest.Wait(p.t, what, func() bool {
		list := p.report().Modules
		if len(list) != 1 {
			return false
		}
		got = list[0]
		return is(got)
	})
	return got
}

// runs waits until the node serves a release.
func (p *phone) runs(ref string) fleet.ModuleReport {
	p.t.Helper()
	return p.says(ref, func(m fleet.ModuleReport) bool { return m.State == fleet.Running && m.Release.String() == ref })
}

// rolls deploys a release to the layer and wants the rollout's end.
func (p *phone) rolls(ref string, bin []byte, want fleet.Phase) fleet.Rollout {
	p.t.Helper()
	p.Publish(ref, bin)
	ro := p.Ended(p.Deploy(ref, "layer=mobile", fleet.Plan{}).ID)
	if ro.Phase != want {
		p.t.Fatalf("%s: the rollout is %s: %+v", ref, ro.Phase, ro.History)
	}
	return ro
}

// audited waits for an entry about a refusal that the node tells of.
func (p *phone) audited(what, why string) {
	p.t.Helper()
	hubtest.Wait(p.t, what+": "+why, func() bool {
		entries, err := p.Admin.Audit(p.Ctx, time.Time{}, 1000)
		check(p.t, err)
		return slices.ContainsFunc(entries, func(e fleet.AuditEntry) bool {
			return e.Who == "node "+p.victim && e.What == what && e.Result == "refused" && strings.Contains(e.Reason, why)
		})
	})
}

func (p *phone) answers(want string) {
	p.t.Helper()
	got, err := p.Admin.Call(p.Ctx, client.Call{Module: "meter", Function: "version", Node: p.victim})
	if err != nil || string(got.Body) != want || got.Node != p.victim || got.Digest == "" || got.Took <= 0 {
		p.t.Errorf("called from afar: %+v %q (%v), want %q", got, got.Body, err, want)
	}
}

// refusesLies has the hub, with all that it has, try to make the node run what nobody signed. Nothing comes of it but
// entries in the audit log.
func (p *phone) refusesLies(serves func()) {
	p.t.Helper()
	good := p.metadata()
	bin := versioned("9")
	p.Publish(p.module+"@9.0.0", bin)
	newer := p.metadata()
	p.want(fleet.DesiredModule{Release: hubtest.Ref(p.t, p.module+"@6.6.6"), Digest: hubtest.Digest(bin), Size: int64(len(bin))})
	p.audited("refused", trustWord(trust.ErrUnknownRelease))
	other := versioned("evil")
	p.want(fleet.DesiredModule{Release: hubtest.Ref(p.t, p.module+"@9.0.0"), Digest: hubtest.Digest(other), Size: int64(len(other))})
	p.audited("refused", trustWord(trust.ErrTampered))
	p.tamper(p.t, hubtest.Digest(bin))
	p.want(fleet.DesiredModule{Release: hubtest.Ref(p.t, p.module+"@9.0.0"), Digest: hubtest.Digest(bin), Size: int64(len(bin))})
	p.audited("module", p.module+"@9.0.0")
	p.offer(good) // the list of before
	p.audited("signed list", trustWord(trust.ErrRollback))
	changed := trust.Files{}
	for name, b := range newer {
		changed[name] = b
	}
	changed[trust.TimestampFile] = bytes.Replace(newer[trust.TimestampFile], []byte(`"version": `), []byte(`"version": 1`), 1)
	p.offer(changed)
	p.audited("signed list", trustWord(trust.ErrUnsigned))
	p.serve(newer)
	serves()
}

// trustWord is how both sides name a refusal.
func trustWord(err error) string { return err.Error() }

// patient gives a rig the time that starts of browsers and hubs take on a busy machine.
func patient(t *testing.T, r *hubtest.Rig) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*hubtest.Patience)
	t.Cleanup(cancel)
	r.Ctx = ctx
}

// nodeJS is a node in a Node.js process.
type nodeJS struct {
	cmd    *exec.Cmd
	in     io.Closer
	lines  *bufio.Scanner
	said   bytes.Buffer
	First  struct{ Answers []string }
	Counts struct {
		Calls           int
		Failed, Answers []string
	}
}

// runNodeJS starts the node in the folder, with a token where it joins. It calls the function of its module all the time.
func runNodeJS(t *testing.T, ca, folder, function string, token ...string) *nodeJS {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node.js: install it for the tests of nodes in JavaScript")
	}
	bridge := filepath.Join("..", "sdk", "js", "dist", "fleet", "index.js")
	if _, err := os.Stat(bridge); err != nil {
		t.Skip("the JavaScript bridge is not built: cd sdk/js && npm ci && npm run build")
	}
	n := &nodeJS{}
	// Node.js 20 has WebSocket by this switch, 22 without.
	n.cmd = exec.Command(node, append([]string{"--experimental-websocket", "fleetnode.mjs", bridge, folder, function}, token...)...)
	n.cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
	n.cmd.Stderr = &n.said
	if os.Getenv("ISOMER_TEST_LOG") != "" {
		n.cmd.Stderr = os.Stderr
	}
	out, err := n.cmd.StdoutPipe()
	check(t, err)
	n.in, err = n.cmd.StdinPipe()
	check(t, err)
	check(t, n.cmd.Start())
	t.Cleanup(func() { _ = n.cmd.Process.Kill(); _ = n.cmd.Wait() })
	n.lines = bufio.NewScanner(out)
	n.next(t, &n.First)
	return n
}

func (n *nodeJS) next(t *testing.T, into any) {
	t.Helper()
	if !n.lines.Scan() {
		t.Fatalf("the node ended: %s", n.said.Bytes())
	}
	check(t, json.Unmarshal(n.lines.Bytes(), into))
}

// stop ends the node in order.
func (n *nodeJS) stop(t *testing.T) {
	t.Helper()
	_ = n.in.Close()
	n.next(t, &n.Counts)
	if len(n.Counts.Failed) > 0 {
		t.Errorf("%d of %d of its own calls failed: %q", len(n.Counts.Failed), n.Counts.Calls, n.Counts.Failed[:min(3, len(n.Counts.Failed))])
	}
}

// trapping is a module whose function echo traps, which no case of its own finds.
func trapping(t *testing.T, version string) []byte {
	t.Helper()
	manifest, err := abi.Manifest{Name: "meter", Version: version}.Encode()
	check(t, err)
	m := &wasm.Module{}
	m.Export(abi.ExportMemory, wasm.KindMemory, m.AddMemory(1, 0))
	alloc := m.AddFunc("alloc", wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32, wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.I32}},
		wasm.NewCode(wasm.I32, wasm.I32, wasm.I32, wasm.I32).I32(1024))
	m.Export(abi.ExportRealloc, wasm.KindFunc, alloc)
	echo := m.AddFunc("echo", wasm.FuncType{Params: []wasm.ValType{wasm.I32, wasm.I32}, Results: []wasm.ValType{wasm.I32}},
		wasm.NewCode(wasm.I32, wasm.I32).Unreachable())
	m.Export("echo", wasm.KindFunc, echo)
	m.AddCustom(abi.ManifestSection, manifest)
	return m.Encode()
}

func TestJavaScriptNodeOfAFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hub and Node.js (-short)")
	}
	r := hubtest.New(t)
	patient(t, r)
	p := newPhone(t, r)
	ca := filepath.Join(r.Dir, "hub", "identity", "ca.pem")
	folder := filepath.Join(r.Dir, "phone")
	n := runNodeJS(t, ca, folder, "version", r.Token("phone", fleet.Mobile, fleet.Labels{"site": "a"}).String())

	// It joins, reports, runs what is deployed, and answers.
	p.online("phone")
	p.rolls("meter@1.0.0", versioned("1"), fleet.Completed)
	if m := p.runs("meter@1.0.0"); m.Digest != hubtest.Digest(versioned("1")) {
		t.Errorf("it runs %s", m.Digest)
	}
	if got := p.report(); got.Layer != fleet.Mobile || got.Labels["site"] != "a" || got.Agent != "test" || got.Arch != "wasm32" || got.Sequence == 0 || got.Started.IsZero() {
		t.Errorf("report %+v", got)
	}
	p.answers("1")
	if got, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "version", Layer: fleet.Mobile}); err != nil || string(got.Body) != "1" {
		t.Errorf("called on any phone: %+v (%v)", got, err)
	}
	if got, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "echo", Node: "phone", Body: []byte{1, 0, 255}}); err != nil || string(got.Body) != "\x01\x00\xff" {
		t.Errorf("echo: %q (%v)", got.Body, err)
	}
	if _, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "nobody", Node: "phone"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a function that it does not have: %v", err)
	}

	// A release replaces it while it calls itself; one that fails its own case is refused, and the fleet takes it back.
	// While it cannot keep what it runs it says so, and serves.
	record := filepath.Join(folder, "module-meter.json")
	check(t, os.Mkdir(record+".tmp", 0o700))
	p.Publish("meter@2.0.0", versioned("2"))
	two := p.Deploy("meter@2.0.0", "layer=mobile", fleet.Plan{})
	p.says("a record that cannot be written", func(m fleet.ModuleReport) bool {
		return m.State == fleet.Failed && m.Release.String() == "meter@2.0.0" && strings.Contains(m.Reason, "EISDIR")
	})
	p.answers("2")
	check(t, os.Remove(record+".tmp"))
	if ro := p.Ended(two.ID); ro.Phase != fleet.Completed {
		t.Fatalf("with a record that can be written the rollout is %s: %+v", ro.Phase, ro.History)
	}
	var kept struct{ Current struct{ Release string } }
	b, err := os.ReadFile(record)
	check(t, err)
	check(t, json.Unmarshal(b, &kept))
	if kept.Current.Release != "meter@2.0.0" {
		t.Errorf("it runs meter@2.0.0 and would begin with %s again", kept.Current.Release)
	}
	p.answers("2")
	bad := enginetest.Guest{Version: "3", Manifest: &abi.Manifest{Name: "meter", Version: "3", Golden: []abi.Golden{{Function: "version", Output: []byte("three")}}}}.Build()
	p.rolls("meter@3.0.0", bad, fleet.RolledBack)
	p.audited("refused", "gate")
	p.says("version 2 goes on", func(m fleet.ModuleReport) bool {
		return m.State == fleet.Running && m.Desired.String() == "meter@2.0.0" && m.Stats.Calls > 0 && m.Stats.P95 > 0
	})
	var lines []fleet.LogLine
	check(t, r.Admin.Logs(r.Ctx, "phone", false, func(l fleet.LogLine) { lines = append(lines, l) }))
	if !slices.ContainsFunc(lines, func(l fleet.LogLine) bool {
		return strings.Contains(l.Message, "swapped module=meter release=meter@2.0.0")
	}) {
		t.Errorf("logs %+v", lines)
	}
	p.refusesLies(func() { p.answers("2") })
	n.stop(t)
	if got := n.Counts.Answers; !slices.Equal(got, []string{"1", "2"}) || n.Counts.Calls < 10 {
		t.Errorf("its %d own calls were answered %q", n.Counts.Calls, got)
	}

	// What it missed while it was off it runs at once; without any hub it runs what it ran.
	p.Publish("meter@4.0.0", versioned("4"))
	four := p.Deploy("meter@4.0.0", "layer=mobile", fleet.Plan{})
	n = runNodeJS(t, ca, folder, "echo")
	if !slices.Equal(n.First.Answers, []string{"2"}) {
		t.Errorf("before it connects it answers %q", n.First.Answers)
	}
	if ro := p.Ended(four.ID); ro.Phase != fleet.Completed {
		t.Errorf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	// A release that passes its cases and fails its calls is taken back by the node itself.
	p.Publish("meter@5.0.0", trapping(t, "5"))
	five := p.Deploy("meter@5.0.0", "layer=mobile", fleet.Plan{Soak: fleet.Duration(time.Hour)})
	if ro := p.Ended(five.ID); ro.Phase != fleet.RolledBack {
		t.Errorf("the rollout of a release whose calls fail is %s: %+v", ro.Phase, ro.History)
	}
	p.audited("reverted", "first 20 calls failed")
	p.runs("meter@4.0.0")
	p.answers("4")
	_ = n.in.Close()
	n.next(t, &n.Counts)
	r.Hub.Stop()
	n = runNodeJS(t, ca, folder, "version")
	if !slices.Equal(n.First.Answers, []string{"4"}) {
		t.Errorf("without a hub it answers %q", n.First.Answers)
	}
	r.Start()
	sequence := p.report().Boot
	hubtest.Wait(t, "the node at the hub that is back", func() bool { return p.report().Boot != sequence })
	p.answers("4")
	check(t, r.Admin.Revoke(r.Ctx, "phone"))
	hubtest.Wait(t, "its end at the hub", func() bool {
		_, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "version", Node: "phone"})
		return err != nil
	})
	var revoked struct{ Problems []string }
	n.next(t, &revoked)
	if len(revoked.Problems) != 1 || !strings.Contains(revoked.Problems[0], "was it revoked") {
		t.Errorf("revoked, it says %q", revoked.Problems)
	}
	n.stop(t)
}
