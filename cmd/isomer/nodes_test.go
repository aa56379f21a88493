package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

// What a person sees of one node, and asks of it: the answers of tensors are JSON as they are without a fleet.
func TestOneNode(t *testing.T) {
	r := newFleetRig(t)
	r.Publish("kit@1.0.0", kit(1))
	token := r.Token("dev1", fleet.Device, nil).String()
	ctx, stop := context.WithCancel(r.Ctx)
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"node", "--data", filepath.Join(r.Dir, "dev1"), "--join", token}, streams{in: strings.NewReader(""), out: os.Stderr, err: os.Stderr})
	}()
	defer func() { stop(); <-ended }()
	hubtest.Wait(t, "the node", func() bool { return strings.Contains(r.must("nodes"), "online") })
	r.must("deploy", "kit@1.0.0", "--to", "name=dev1", "--bind", "sensors.{node}.frame -> version -> meters.{node}.value", "--watch")
	hubtest.Wait(t, "the node's report", func() bool { return strings.Contains(r.must("nodes"), "kit@1.0.0") })

	out := r.must("nodes", "dev1")
	for _, want := range []string{"node ", "the hub", "kit@1.0.0 (", ", running", "0 received, 0 answered"} {
		if !strings.Contains(out, want) {
			t.Errorf("nodes dev1 lacks %q:\n%s", want, out)
		}
	}
	var list []fleet.NodeView
	if err := json.Unmarshal([]byte(r.must("nodes", "dev1", "--json")), &list); err != nil || len(list) != 1 || list[0].Node != "dev1" {
		t.Errorf("nodes dev1 --json: %v, %+v", err, list)
	}
	if status, _, talk := r.run("nodes", "dev9"); status != 1 || !strings.Contains(talk, "error: node dev9: not found") {
		t.Errorf("nodes dev9: %d, %s", status, talk)
	}

	x := filepath.Join(r.Dir, "x.f32")
	if err := os.WriteFile(x, []byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0}, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := r.must("call", "kit", "run", "--on", "node=dev1", "--input", x); !strings.Contains(out, `"data":[2,4,0,0]`) {
		t.Errorf("tensors from afar: %q", out)
	}
	for _, c := range []struct{ on, want string }{
		{"node=dev9", "error: no node answers to kit version: dev9 is offline"},
		{"layer=edge", "error: no node answers to kit version: no node of layer edge"},
	} {
		if status, _, talk := r.run("call", "kit", "version", "--on", c.on); status != 1 || !strings.Contains(talk, c.want) {
			t.Errorf("%s: %d, %s", c.on, status, talk)
		}
	}
}

// A command that failed says what was asked for, and what could be done about it.
func TestWhatGoesWrongIsNamed(t *testing.T) {
	r := newFleetRig(t)
	r.Publish("kit@1.0.0", kit(1))
	file := filepath.Join(r.Dir, "kit.wasm")
	if err := os.WriteFile(file, kit(2), 0o600); err != nil {
		t.Fatal(err)
	}
	d := r.Deploy("kit@1.0.0", "all", fleet.Plan{})
	hubtest.Wait(t, "the rollout", func() bool { _, err := r.Admin.Rollout(r.Ctx, d.ID); return err == nil })
	var aborted fleet.Rollout
	if err := json.Unmarshal([]byte(r.must("abort", d.ID, "--json")), &aborted); err != nil || aborted.Phase != fleet.Aborted {
		t.Errorf("abort --json: %v, %+v", err, aborted)
	}
	for _, c := range []struct{ args, want string }{
		{"abort " + d.ID, "hint: isomer rollouts " + d.ID},
		{"revoke dev9", "error: node dev9: not found"},
		{"logs dev9", "error: node dev9: not found"},
		{"rollouts none", "error: rollout none: not found"},
		{"deploy kit@9.0.0 --to all", "kit@9.0.0"},
		{"publish " + file + " --as kit@1.0.0", "is signed already with SHA-256 " + hubtest.Digest(kit(1)) + ": give the new file another version\nhint: isomer releases"},
		{"status --hub https://127.0.0.1:1", "cannot be reached: "},
		{"status --hub https://127.0.0.1:1", "hint: is the hub running"},
	} {
		if status, _, talk := r.run(strings.Fields(c.args)...); status != 1 || !strings.Contains(talk, c.want) {
			t.Errorf("%s: %d, %s", c.args, status, talk)
		}
	}
	// What was refused is recorded with the name of what it was about.
	on := map[string]bool{}
	var entries []fleet.AuditEntry
	if err := json.Unmarshal([]byte(r.must("audit", "--json")), &entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Result == "refused" {
			on[e.What+" "+e.On] = true
		}
	}
	for _, want := range []string{"revoke dev9", "deploy kit@9.0.0", "rollout-command " + d.ID} {
		if !on[want] {
			t.Errorf("the audit log lacks the refusal of %q: %v", want, on)
		}
	}
}
