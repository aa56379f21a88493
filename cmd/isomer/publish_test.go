package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// fleetRig is a hub, and the command as its admin runs it.
type fleetRig struct {
	*hubtest.Rig
	access hub.Access
}

func newFleetRig(t *testing.T) *fleetRig {
	t.Helper()
	r := &fleetRig{Rig: hubtest.New(t)}
	b, err := os.ReadFile(hub.AdminFile(filepath.Join(r.Dir, "hub")))
	if err == nil {
		err = json.Unmarshal(b, &r.access)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ISOMER_HUB", r.access.URL)
	t.Setenv("ISOMER_TOKEN", r.access.Token)
	t.Setenv("ISOMER_CA", r.access.CA)
	t.Setenv("ISOMER_KEYS", filepath.Join(r.Dir, "keys"))
	return r
}

// run runs the command, and returns its exit status and what it said on stdout and stderr.
func (r *fleetRig) run(args ...string) (status int, out, talk string) {
	var o, e bytes.Buffer
	status = execute(r.Ctx, args, streams{in: strings.NewReader(""), out: &o, err: &e})
	return status, o.String(), e.String()
}

// must is run for what has to succeed.
func (r *fleetRig) must(args ...string) string {
	r.T.Helper()
	status, out, talk := r.run(args...)
	if status != 0 {
		r.T.Fatalf("isomer %s: status %d\n%s", strings.Join(args, " "), status, talk)
	}
	return out
}

// A module that lies in an OCI layout is published as it is, without a file in between.
func TestPublishAnArtifact(t *testing.T) {
	r := newFleetRig(t)
	file, layout := filepath.Join(r.Dir, "kit.wasm"), "oci-layout:"+filepath.Join(r.Dir, "layout")+":v1"
	if err := os.WriteFile(file, kit(1), 0o600); err != nil {
		t.Fatal(err)
	}
	r.must("push", file, layout)
	if out := r.must("publish", layout, "--as", "kit@1.0.0", "--json"); !strings.Contains(out, hubtest.Digest(kit(1))) {
		t.Errorf("published %s", out)
	}
	if out := r.must("releases"); !strings.Contains(out, "kit@1.0.0") {
		t.Errorf("releases:\n%s", out)
	}
	if status, _, talk := r.run("publish", "oci-layout:"+r.Dir+":v1", "--as", "kit@2.0.0"); status != 1 || !strings.Contains(talk, "no such artifact") {
		t.Errorf("what is no layout: %d, %s", status, talk)
	}
}

// What speaks MQTT alone gets a password, once.
func TestEnrollForMQTT(t *testing.T) {
	r := newFleetRig(t)
	claims, err := jwt.DecodeUserClaims(strings.TrimSpace(r.must("enroll", "--mqtt", "--name", "ha")))
	if err != nil || claims.Name != "ha" {
		t.Errorf("%v, %v", claims, err)
	}
}

// What is deployed goes out of the list neither by mistake nor in silence.
func TestWhatIsDeployedIsNotLostUnnoticed(t *testing.T) {
	r := newFleetRig(t)
	r.Publish("kit@1.0.0", kit(1))
	r.Publish("kit@2.0.0", kit(2))
	r.Deploy("kit@2.0.0", "all", fleet.Plan{})
	if status, _, talk := r.run("releases", "rm", "kit@2.0.0"); status != 1 || !strings.Contains(talk, "error: still in use:\n  kit@2.0.0 is deployed to all: ") {
		t.Errorf("a deployed release: status %d, %s", status, talk)
	}
	// A release that is published pushes the oldest out of the list, and says so where something needs it.
	file := filepath.Join(r.Dir, "kit.wasm")
	if err := os.WriteFile(file, kit(3), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, talk := r.run("publish", file, "--as", "kit@3.0.0", "--keep", "1"); status != 0 || !strings.Contains(talk, "note: it falls out of the list, and kit@2.0.0 is deployed to all: ") || strings.Contains(talk, "kit@1.0.0") {
		t.Errorf("status %d, %s", status, talk)
	}
	if out := r.must("releases"); strings.Contains(out, "kit@2.0.0") {
		t.Errorf("releases:\n%s", out)
	}
}

func TestReleasesAreRemoved(t *testing.T) {
	r := newFleetRig(t)
	r.Publish("kit@1.0.0", kit(1))
	r.Publish("kit@2.0.0", kit(2))
	d := r.Deploy("kit@1.0.0", "all", fleet.Plan{})
	r.Deploy("kit@2.0.0", "name=dev1", fleet.Plan{})
	if status, _, talk := r.run("releases", "rm", "kit@1.0.0"); status != 1 || !strings.Contains(talk, "still in use") {
		t.Errorf("status %d, %s", status, talk)
	}
	hubtest.Wait(t, "the rollout", func() bool { _, err := r.Admin.Rollout(r.Ctx, d.ID); return err == nil })
	r.must("rollback", d.ID)
	r.must("releases", "rm", "kit@1.0.0")
	if out := r.must("releases"); strings.Contains(out, "kit@1.0.0") || !strings.Contains(out, "kit@2.0.0") {
		t.Errorf("releases:\n%s", out)
	}
	if status, _, talk := r.run("releases", "rm", "kit@1.0.0"); status != 1 || !strings.Contains(talk, "kit@1.0.0") {
		t.Errorf("once more: status %d, %s", status, talk)
	}
	r.must("releases", "rm", "kit@2.0.0", "--force")
	if out := r.must("releases"); strings.Contains(out, "kit") {
		t.Errorf("releases:\n%s", out)
	}
	if status, _, _ := r.run("releases", "rm"); status != 2 {
		t.Errorf("without a release: status %d", status)
	}
}

// After a theft of the hub's keys for snapshot and timestamp: a hub without them makes new ones, the developer signs
// for these, and nodes follow. Until then the hub can sign nothing that nodes would take.
func TestOnlineKeysAreReplaced(t *testing.T) {
	r := newFleetRig(t)
	dir := filepath.Join(r.Dir, "dev1")
	id, err := node.Join(r.Ctx, dir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := node.New(t.Context(), node.Config{Dir: dir, Identity: id, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		<-ended
		a.Close()
	}()
	file := filepath.Join(r.Dir, "kit.wasm")
	release := func(version int) {
		t.Helper()
		ref := fmt.Sprintf("kit@%d.0.0", version)
		if err := os.WriteFile(file, kit(version), 0o600); err != nil {
			t.Fatal(err)
		}
		r.must("publish", file, "--as", ref)
		if ro := r.Ended(r.Deploy(ref, "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed || ro.Updated != 1 {
			t.Fatalf("%s: the rollout is %s: %+v", ref, ro.Phase, ro.History)
		}
	}
	release(1)
	before := r.must("keys", "show")

	r.Hub.Stop()
	if err := os.Remove(filepath.Join(r.Dir, "hub", "identity", "online.json")); err != nil {
		t.Fatal(err)
	}
	r.Start()
	if err := os.WriteFile(file, kit(2), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, talk := r.run("publish", file, "--as", "kit@2.0.0"); status != 1 || !strings.Contains(talk, "keys rotate --online") {
		t.Errorf("a release before the new keys are signed: status %d, %s", status, talk)
	}
	r.must("keys", "rotate", "--online")
	if r.must("keys", "show") == before {
		t.Error("the keys are as before")
	}
	release(2)
}

// A hub that came back from a backup gets its developers' list again, with the modules that it lacks or without them.
func TestAHubFromABackupGetsItsList(t *testing.T) {
	r := newFleetRig(t)
	files := map[int]string{}
	for v := 1; v <= 4; v++ {
		files[v] = filepath.Join(r.Dir, fmt.Sprintf("kit%d.wasm", v))
		if err := os.WriteFile(files[v], kit(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, backup := filepath.Join(r.Dir, "hub"), filepath.Join(r.Dir, "backup")
	r.must("publish", files[1], "--as", "kit@1.0.0")
	r.Hub.Stop()
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	r.Start()
	r.must("publish", files[2], "--as", "kit@2.0.0")
	r.must("publish", files[3], "--as", "kit@3.0.0")
	r.Hub.Stop()
	if err := errors.Join(os.RemoveAll(data), os.Rename(backup, data)); err != nil {
		t.Fatal(err)
	}
	r.Start()

	for _, c := range []struct {
		args string
		says string
	}{
		{"publish " + files[4] + " --as kit@4.0.0", "isomer keys restore"},
		{"keys restore", "kit@3.0.0: its module"},
		{"keys restore", "kit@2.0.0: its module"},
		{"keys restore " + files[2], "kit@3.0.0: its module"},
		{"keys restore --without kit@9.0.0", "kit@9.0.0"},
		{"keys restore --without kit@3.0.0", "the hub knows kit@2.0.0 again"},
		{"keys restore", "the hub has this folder's list"},
		{"publish " + files[4] + " --as kit@4.0.0", "kit@4.0.0 is"},
	} {
		if _, _, talk := r.run(strings.Fields(c.args)...); !strings.Contains(talk, c.says) {
			t.Errorf("isomer %s says %q, want %q", c.args, talk, c.says)
		}
	}
	if out := r.must("releases"); strings.Contains(out, "kit@3.0.0") || !strings.Contains(out, "kit@2.0.0") || !strings.Contains(out, "kit@4.0.0") {
		t.Errorf("releases:\n%s", out)
	}
}

// Who watches a rollout to nodes that have not joined yet reads what it waits for.
func TestARolloutToNobodySaysSo(t *testing.T) {
	r := newFleetRig(t)
	r.Publish("kit@1.0.0", kit(1))
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(r.Ctx)
	defer cancel()
	go func() {
		execute(ctx, []string{"deploy", "kit@1.0.0", "--to", "site=nowhere", "--watch"}, streams{in: strings.NewReader(""), out: io.Discard, err: write})
		write.Close()
	}()
	lines, said := bufio.NewScanner(read), false
	for lines.Scan() {
		if strings.Contains(lines.Text(), "no node that has joined is chosen") {
			said = true
			cancel()
		}
	}
	if !said {
		t.Error("it does not say so")
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var talk bytes.Buffer
	args := []string{"hub", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--leaf", "127.0.0.1:0", "--nats", taken.Addr().String()}
	status := execute(t.Context(), args, streams{in: strings.NewReader(""), out: io.Discard, err: &talk})
	if said := talk.String(); status != exitFailure || !strings.Contains(said, "address already in use") || !strings.Contains(said, "hint: --listen, --nats and --leaf") {
		t.Errorf("status %d: %s", status, said)
	}
}
