package node_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/disk/disktest"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// treeSum is the same for folders with the same content.
func treeSum(t testing.TB, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var b []byte
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			b = []byte(to)
			if err != nil {
				return err
			}
		} else if b, err = os.ReadFile(p); err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d %x\n", strings.TrimPrefix(p, dir), len(b), sha256.Sum256(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}

// TestPowerCut installs, updates, refuses and takes back, and boots from every state that a power cut at any step may leave.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := t.TempDir()
	rec, err := disktest.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := s.config(dir)
	c.Disk, c.Engine = rec, sharedEngine(t)
	a := run(t, c)

	// Which versions may serve after a power cut from a step on.
	type era struct {
		from int
		may  []string
	}
	eras := []era{{0, []string{"", "1"}}}
	since := func(may ...string) { eras = append(eras, era{rec.Steps(), may}) }
	settle := func(v string, bin []byte, state fleet.ModuleState) string {
		d := s.want(v, bin)
		s.module(d, in(state))
		return d
	}
	bad, traps := guest("3", "three"), guest("4", "4")
	for v, bin := range map[string][]byte{"1": guest("1", "1"), "2": guest("2", "2"), "3": bad, "4": traps} {
		s.publish(v, bin)
	}
	settle("1", guest("1", "1"), fleet.Running)
	since("1", "2")
	settle("2", guest("2", "2"), fleet.Running)
	since("2")
	settle("3", bad, fleet.Refused)
	since("2", "4")
	four := settle("4", traps, fleet.Running)
	for range 40 {
		_, _ = a.agent.Call(t.Context(), "meter", "trap", "", nil)
	}
	s.module(four, in(fleet.Reverted))
	since("2")
	a.end()

	random := 1
	if n, err := strconv.Atoi(os.Getenv("ISOMER_POWER_CUTS")); err == nil {
		random = n
	}
	seen := map[string]bool{}
	c.Disk = nil
	for step := range rec.Steps() + 1 {
		at := slices.IndexFunc(eras, func(e era) bool { return e.from > step })
		if at < 0 {
			at = len(eras)
		}
		for i, crash := range rec.Crashes(step, random) {
			c.Dir = filepath.Join(t.TempDir(), "node")
			if err := rec.Restore(crash, c.Dir); err != nil {
				t.Fatal(err)
			}
			// The same files may be one state in two eras.
			if sum := fmt.Sprint(at) + treeSum(t, c.Dir); seen[sum] {
				continue
			} else {
				seen[sum] = true
			}
			if got := booted(t, c); !slices.Contains(eras[at-1].may, got) || t.Failed() {
				t.Fatalf("%v, after %s: it serves %q, want one of %q", crash, rec.What(step), got, eras[at-1].may)
			}
			if i == 0 && step%16 == 0 { // and it goes on from there
				d := s.want("1", guest("1", "1"))
				b := run(t, c)
				s.module(d, in(fleet.Running))
				b.end()
			}
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d changes, %d states", rec.Steps(), len(seen))
}

// TestKilled kills a real agent at random moments of updates. ISOMER_KILLS says how often.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := 8
	if n, err := strconv.Atoi(os.Getenv("ISOMER_KILLS")); err == nil {
		kills = n
	}
	s := newSite(t)
	dir := t.TempDir()
	b, err := json.Marshal(s.identity())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	modules := [][]byte{large("L0", 1<<20), large("L1", 1<<20), large("L2", 1<<20)}
	for i, bin := range modules {
		s.publish(strconv.Itoa(i+1), bin)
	}
	last := s.want("1", modules[0])
	took := map[string]int{}
	boot, update := "", 100*time.Millisecond
	for n := range kills + 1 {
		agent := exec.Command(os.Args[0])
		agent.Env = append(os.Environ(), agentDir+"="+dir, agentURL+"="+s.url)
		agent.Stderr = os.Stderr
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		hubtest.Wait(t, "the agent's first report", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.report.Boot != boot && s.report.Boot != ""
		})
		s.mu.Lock()
		boot = s.report.Boot
		s.mu.Unlock()
		if n == 0 { // the first release; then how long an update takes
			s.module(last, in(fleet.Running))
			began := time.Now()
			s.module(s.want("2", modules[1]), in(fleet.Running))
			update = time.Since(began)
		} else {
			v := rand.IntN(len(modules))
			s.want(strconv.Itoa(v+1), modules[v])
			time.Sleep(rand.N(update + update/4))
		}
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = agent.Wait()
		// A copy boots, so that the agent's next start finds what the killed one left.
		at := filepath.Join(t.TempDir(), "copy")
		if out, err := exec.Command("cp", "-a", dir, at).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := booted(t, s.config(at))
		if !slices.Contains([]string{"L0", "L1", "L2"}, got) || t.Failed() {
			t.Fatalf("after kill %d it serves %q", n, got)
		}
		took[got]++
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills in updates of %v: %v", kills, update, took)
}

func TestAFullDiskIsSurvivedAndReported(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := &disktest.Failing{}
	c := s.config(t.TempDir())
	c.Disk = d
	a := run(t, c)
	versions := []string{"1", "2"}
	for _, v := range versions {
		s.publish(v, guest(v, v))
	}
	s.module(s.want("1", guest("1", "1")), in(fleet.Running))
	now, failed := "1", 0
	for after := 0; ; after++ {
		next := versions[1-slices.Index(versions, now)]
		d.Fail(syscall.ENOSPC, after)
		deployment := s.want(next, guest(next, next))
		got := s.module(deployment, in(fleet.Failed, fleet.Running, fleet.Refused, fleet.Reverted))
		serves := a.version()
		switch {
		case got.State == fleet.Failed && strings.Contains(got.Reason, "no space left"):
			failed++
			if serves != now && serves != next {
				t.Fatalf("full after %d changes: it answers %s", after, serves)
			}
		case got.State != fleet.Running || serves != next:
			t.Fatalf("full after %d changes: it answers %s and reports %+v", after, serves, got)
		}
		d.Fail(nil, 0)
		s.module(s.want(next, guest(next, next)), in(fleet.Running))
		if got := a.version(); got != next {
			t.Fatalf("with room again after %d changes it answers %s, want %s", after, got, next)
		}
		now = next
		if got.State == fleet.Running {
			break
		}
	}
	if failed < 5 {
		t.Errorf("an update makes %d changes to the disk", failed)
	}
	hubtest.Wait(t, "the end of the problems", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.report.Problems) == 0
	})
	// What was served before the last two is gone from the disk.
	entries, err := os.ReadDir(filepath.Join(c.Dir, "blobs"))
	if err != nil || len(entries) > 2 {
		t.Errorf("%v (%v)", entries, err)
	}
}

func TestAReadOnlyDiskIsSurvivedAndReported(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.config(t.TempDir())
	a := run(t, c)
	for _, v := range []string{"1", "2"} {
		s.publish(v, guest(v, v))
	}
	s.module(s.want("1", guest("1", "1")), in(fleet.Running))
	a.end()
	d := &disktest.Failing{}
	d.Fail(syscall.EROFS, 0)
	c.Disk = d
	b := run(t, c)
	if got := b.version(); got != "1" {
		t.Errorf("it answers %s", got)
	}
	hubtest.Wait(t, "the report of the disk", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.report.Problems, func(p string) bool { return strings.Contains(p, "read-only") })
	})
	if got := s.module(s.want("2", guest("2", "2")), in(fleet.Failed)); !strings.Contains(got.Reason, "read-only") || got.Release.Version != "1" {
		t.Errorf("it reports %+v", got)
	}
	if got := b.version(); got != "1" {
		t.Errorf("it answers %s", got)
	}
}

func TestADownloadGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bin := large("1", 2<<20)
	s.publish("1", bin)
	var given atomic.Int64
	var asked []int64
	s.chunk = func(r fleet.ChunkRequest) error {
		if given.Load() >= 2 {
			return errors.New("the link is cut")
		}
		given.Add(1)
		asked = append(asked, r.Offset)
		return nil
	}
	c := s.config(t.TempDir())
	a := run(t, c)
	d := s.want("1", bin)
	if got := s.module(d, in(fleet.Failed)); !strings.Contains(got.Reason, "cut") {
		t.Errorf("it reports %+v", got)
	}
	a.end()
	given.Store(-100)
	b := run(t, c)
	s.module(d, in(fleet.Running))
	if got := b.version(); got != "1" {
		t.Errorf("it answers %s", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []int64{0, 1 * fleet.MaxChunk, 2 * fleet.MaxChunk, 3 * fleet.MaxChunk, 4 * fleet.MaxChunk}; !slices.Equal(asked, want) {
		t.Errorf("it asked from %v, want %v", asked, want)
	}
}

// TestACrashLoopWithNothingBeforeGoesOn: where an update was cut off between its two links, both lead to the same release.
func TestACrashLoopWithNothingBeforeGoesOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.config(t.TempDir())
	a := run(t, c)
	s.publish("1", guest("1", "1"))
	s.module(s.want("1", guest("1", "1")), in(fleet.Running))
	a.end()
	current := filepath.Join(c.Dir, "modules", "meter", "current.wasm")
	if out, err := exec.Command("cp", "-a", current, filepath.Join(filepath.Dir(current), "previous.wasm")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for n := range 12 {
		b, err := node.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Call(t.Context(), "meter", "version", "", nil); err != nil || string(got.Body) != "1" {
			t.Errorf("start %d: it answers %s (%v)", n, got.Body, err)
		}
	}
}

// TestADamagedModuleIsFetchedAgain, be there a release to serve meanwhile or not.
func TestADamagedModuleIsFetchedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.config(t.TempDir())
	for i, v := range []string{"1", "2"} {
		s.publish(v, guest(v, v))
		a := run(t, c)
		d := s.want(v, guest(v, v))
		s.module(d, in(fleet.Running))
		a.end()
		if err := os.WriteFile(filepath.Join(c.Dir, "blobs", hubtest.Digest(guest(v, v))), []byte("worn out"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := booted(t, c), []string{"", "1"}[i]; got != want {
			t.Errorf("with version %s damaged and no network %q serves, want %q", v, got, want)
		}
		b := run(t, c)
		hubtest.Wait(t, "version "+v+" again", func() bool { return b.version() == v })
		s.module(d, in(fleet.Running))
		b.end()
	}
}

// TestAClockIn1970 has a device without a battery join no time server: certificates, metadata and windows go by
// what it knows to have passed.
func TestAClockIn1970(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	began := time.Now()
	clock := func() time.Time { return time.Unix(0, 0).Add(time.Since(began)) }
	dir := filepath.Join(r.Dir, "dev1")
	id, err := node.Join(r.Ctx, dir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	a := run(t, node.Config{Dir: dir, Identity: id, Version: "test", Now: clock})
	for _, v := range []string{"1", "2"} {
		r.Publish("meter@"+v, guest(v, v))
		if ro := r.Ended(r.Deploy("meter@"+v, "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
			t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
		}
		if got := a.version(); got != v {
			t.Errorf("it answers %s, want %s", got, v)
		}
	}
}

// TestACertificateSaysWhatTimeItIs has a device without a battery meet a hub whose certificate was made later than
// all that it has heard of.
func TestACertificateSaysWhatTimeItIs(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	id, err := node.LoadIdentity(join(r, "dev1"))
	if err != nil {
		t.Fatal(err)
	}
	fleetCA, other := x509.NewCertPool(), x509.NewCertPool()
	fleetCA.AppendCertsFromPEM([]byte(id.Enrolment.CA))
	now := time.Unix(0, 0)
	connect := func() error {
		nc, err := nats.Connect(strings.Join(id.Enrolment.Servers, ","), nats.UserJWTAndSeed(id.Enrolment.JWT, id.Seed),
			nats.Secure(&tls.Config{RootCAs: fleetCA, Time: func() time.Time { return now }, MinVersion: tls.VersionTLS12}))
		if err == nil {
			nc.Close()
		}
		return err
	}
	refused := connect()
	at, ok := node.Begun(refused, fleetCA)
	if !ok || time.Since(at) > 48*time.Hour {
		t.Fatalf("%v: it says %v, %v", refused, at, ok)
	}
	if _, ok := node.Begun(refused, other); ok {
		t.Error("a certificate of nobody's sets the clock")
	}
	if now = at; connect() != nil {
		t.Error("by that time the certificate is still not valid")
	}
	now = time.Now().AddDate(10, 0, 0)
	if at, ok := node.Begun(connect(), fleetCA); ok && at.After(time.Now()) {
		t.Errorf("an expired certificate sets the clock to %v", at)
	}
}

// A start that fails before the records were read must not replace them.
func TestAStartThatFailsKeepsTheRecords(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dir := join(r, "dev1")
	a := start(t, dir)
	r.Publish("meter@1.0.0", guest("1", "1"))
	r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID)
	a.end()
	file := filepath.Join(dir, "state.json")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "trust")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trust"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := node.New(t.Context(), node.Config{Dir: dir, Identity: id, Version: "test"}); err == nil {
		a.Close()
		t.Fatal("it starts with files where its folders should be")
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("state.json was %s, is %s (%v)", before, after, err)
	}
}
