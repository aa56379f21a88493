package node_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// guest is a module whose function "version" answers v, and whose golden case wants want.
func guest(v, want string) []byte {
	return enginetest.Guest{Version: v, Manifest: &abi.Manifest{
		Name: "meter", Version: v, Golden: []abi.Golden{{Function: "version", Output: []byte(want)}},
	}}.Build()
}

// running is an agent in this process.
type running struct {
	t     testing.TB
	dir   string
	agent *node.Agent
	stop  context.CancelFunc
	done  chan error
}

func join(r *hubtest.Rig, name string) string {
	r.T.Helper()
	dir := filepath.Join(r.Dir, name)
	if _, err := node.Join(r.Ctx, dir, r.Token(name, fleet.Device, fleet.Labels{"site": "a"}), node.JoinOptions{}); err != nil {
		r.T.Fatal(err)
	}
	return dir
}

func start(t testing.TB, dir string) *running {
	t.Helper()
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := &running{t: t, dir: dir, done: make(chan error, 1)}
	var log slog.Handler
	if os.Getenv("ISOMER_TEST_LOG") != "" {
		log = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	if a.agent, err = node.New(t.Context(), node.Config{Dir: dir, Identity: id, Version: "test", Log: log}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	go func() { a.done <- a.agent.Run(ctx) }()
	t.Cleanup(a.end)
	return a
}

// end stops the agent in order. Doing it again does nothing.
func (a *running) end() {
	if a.stop == nil {
		return
	}
	a.stop()
	a.stop = nil
	if err := <-a.done; err != nil {
		a.t.Error(err)
	}
	a.agent.Close()
}

func (a *running) version() string {
	got, err := a.agent.Call(context.Background(), "meter", "version", "", nil)
	if err != nil {
		return err.Error()
	}
	return string(got.Body)
}

func TestANodeFollowsReleases(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	r.Publish("meter@1.0.0", guest("1", "1"))
	one := r.Deploy("meter@1.0.0", "site=a", fleet.Plan{})
	if ro := r.Ended(one.ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	if got := a.version(); got != "1" {
		t.Errorf("version 1 answers %s", got)
	}

	// From afar.
	got, err := r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "version", Node: "dev1"})
	if err != nil || string(got.Body) != "1" || got.Release != "meter@1.0.0" || got.Node != "dev1" || got.Digest != one.Digest {
		t.Errorf("called from afar: %+v (%v)", got, err)
	}
	if got, err = r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "version", Layer: fleet.Device}); err != nil || string(got.Body) != "1" {
		t.Errorf("called on any device: %+v (%v)", got, err)
	}
	if _, err = r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "nobody", Node: "dev1"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a function that it does not have: %v", err)
	}
	if _, err = r.Admin.Call(r.Ctx, client.Call{Module: "other", Function: "version", Node: "dev1"}); err == nil {
		t.Error("a module that it does not have answers")
	}

	// What it gets is what was sent, whatever its type.
	for _, kind := range []string{"", "application/json", "image/png", "text/x-other"} {
		if got, err = r.Admin.Call(r.Ctx, client.Call{Module: "meter", Function: "echo", Node: "dev1", Type: kind, Body: []byte{1, 0, 255}}); err != nil || string(got.Body) != "\x01\x00\xff" {
			t.Errorf("echo of %q: %q (%v)", kind, got.Body, err)
		}
	}

	// A new version, then one whose own case fails, which the fleet takes back.
	r.Publish("meter@2.0.0", guest("2", "2"))
	if ro := r.Ended(r.Deploy("meter@2.0.0", "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	if got := a.version(); got != "2" {
		t.Errorf("version 2 answers %s", got)
	}
	r.Publish("meter@3.0.0", guest("3", "three"))
	three := r.Ended(r.Deploy("meter@3.0.0", "site=a", fleet.Plan{}).ID)
	if three.Phase != fleet.RolledBack || !strings.Contains(three.History[len(three.History)-1].Reason, "dev1") {
		t.Errorf("a bad release's rollout is %s: %+v", three.Phase, three.History)
	}
	hubtest.Wait(t, "version 2 again", func() bool {
		n, err := r.Admin.Node(r.Ctx, "dev1")
		return err == nil && len(n.Report.Modules) == 1 && n.Report.Modules[0].State == fleet.Running && n.Report.Modules[0].Release.Version == "2.0.0"
	})
	if got := a.version(); got != "2" {
		t.Errorf("after a bad release it answers %s", got)
	}

	// Without the hub it starts with what it has.
	a.end()
	r.Hub.Stop()
	b := start(t, a.dir)
	if got := b.version(); got != "2" {
		t.Errorf("without a hub it answers %s", got)
	}
	// And hears of what it missed.
	r.Start()
	if ro := r.Ended(r.Deploy("meter@1.0.0", "site=a", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Errorf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	if got := b.version(); got != "1" {
		t.Errorf("after the hub's return it answers %s", got)
	}
}

func TestAHubCannotMakeANodeRunWhatNobodySigned(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	r.Publish("meter@1.0.0", guest("1", "1"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	// The hub turns bad: it has a module that nobody signed, and says that it is a release.
	evil := guest("evil", "evil")
	if err := r.Hub.Store().Modules.Put(r.Ctx, hubtest.Digest(evil), strings.NewReader(string(evil))); err != nil {
		t.Fatal(err)
	}
	signed := hubtest.Digest(guest("1", "1"))
	for i, m := range []fleet.DesiredModule{
		{Release: hubtest.Ref(t, "meter@6.6.6"), Digest: hubtest.Digest(evil), Size: int64(len(evil))}, // not in the list
		{Release: hubtest.Ref(t, "meter@1.0.0"), Digest: hubtest.Digest(evil), Size: int64(len(evil))}, // in it with another digest
		{Release: hubtest.Ref(t, "meter@9.9.9"), Digest: signed, Size: int64(len(guest("1", "1")))},    // another version's module
		{Release: hubtest.Ref(t, "meter@1.0.0"), Digest: hubtest.Digest(evil), Size: int64(len(evil)) + 1},
	} {
		m.Deployment = "evil" + string(rune('0'+i))
		// Said as the hub would, past its controller, which would write the right state again at its next look.
		b, err := json.Marshal(fleet.Desired{Node: "dev1", Modules: []fleet.DesiredModule{m}})
		if err != nil {
			t.Fatal(err)
		}
		// By the hub's own connection.
		revision := nats.Header{fleet.RevisionHeader: {strconv.Itoa(1_000_000 + i)}}
		if err := r.Hub.Conn().PublishMsg(&nats.Msg{Subject: fleet.DesiredSubject("dev1"), Header: revision, Data: b}); err != nil {
			t.Fatal(err)
		}
		hubtest.Wait(t, "the refusal of "+m.Deployment, func() bool {
			n, err := r.Admin.Node(r.Ctx, "dev1")
			if err != nil || n.Report == nil || len(n.Report.Modules) != 1 {
				return false
			}
			got := n.Report.Modules[0]
			return got.Deployment == m.Deployment && got.Release.Version == "1.0.0" && (got.State == fleet.Refused || got.State == fleet.Failed)
		})
		if got := a.version(); got != "1" {
			t.Fatalf("it answers %s", got)
		}
	}
}

func TestAReleaseWhoseCallsFailIsTakenBack(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	r.Publish("meter@1.0.0", guest("1", "1"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	for range 50 {
		if got := a.version(); got != "1" {
			t.Fatal(got)
		}
	}
	r.Publish("meter@2.0.0", guest("2", "2"))
	two := r.Deploy("meter@2.0.0", "all", fleet.Plan{Soak: fleet.Duration(time.Hour)})
	hubtest.Wait(t, "version 2", func() bool { return a.version() == "2" })
	for range 40 {
		_, _ = a.agent.Call(t.Context(), "meter", "trap", "", nil)
	}
	hubtest.Wait(t, "version 1 again", func() bool { return a.version() == "1" })
	if ro := r.Ended(two.ID); ro.Phase != fleet.RolledBack {
		t.Errorf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
}

func TestDamagedFilesAreSurvived(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	a := start(t, join(r, "dev1"))
	for _, v := range []string{"1", "2"} {
		r.Publish("meter@"+v, guest(v, v))
		if ro := r.Ended(r.Deploy("meter@"+v, "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
			t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
		}
	}
	a.end()
	r.Hub.Stop()
	module := func(dir, v string) string { return filepath.Join(dir, "blobs", hubtest.Digest(guest(v, v))) }
	for what, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"state.json": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"modules":`), 0o600)
		}, "2"},
		"the signed list": {func(dir string) error {
			return filepath.WalkDir(filepath.Join(dir, "trust"), func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return os.Truncate(p, 10)
			})
		}, "2"},
		"the cache of machine code": {func(dir string) error {
			return filepath.WalkDir(filepath.Join(dir, "cache"), func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				return os.Truncate(p, info.Size()/2)
			})
		}, "2"},
		"a part of a module": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "blobs", strings.Repeat("0", 64)+".part"), []byte("x"), 0o600)
		}, "2"},
		"the module":                {func(dir string) error { return os.WriteFile(module(dir, "2"), []byte("\x00asm????"), 0o600) }, "1"},
		"the module, which is gone": {func(dir string) error { return os.Remove(module(dir, "2")) }, "1"},
		"the link, half made": {func(dir string) error {
			return os.Symlink("../../blobs/"+strings.Repeat("0", 64), filepath.Join(dir, "modules", "meter", "current.wasm.new"))
		}, "2"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "node")
			if out, err := exec.Command("cp", "-a", a.dir, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			b := start(t, dir)
			if got := b.version(); got != c.want {
				t.Errorf("it answers %s, want %s", got, c.want)
			}
		})
	}
}
