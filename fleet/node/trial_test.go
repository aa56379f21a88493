package node_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/node/local"
)

// updated is a folder in which version 2 came after 1 and has not proved itself, and the deployment of 2.
func updated(t *testing.T, s *site) (c node.Config, two string) {
	t.Helper()
	c = s.config(t.TempDir())
	a := run(t, c)
	for _, v := range []string{"1", "2"} {
		s.publish(v, guest(v, v))
	}
	s.module(s.want("1", guest("1", "1")), in(fleet.Running))
	two = s.want("2", guest("2", "2"))
	s.module(two, in(fleet.Running))
	a.end()
	b, err := json.Marshal(c.Identity)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, "identity.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, two
}

// kill starts an agent in a process of its own, which calls the function, and kills it once the mark is as said.
func kill(t *testing.T, s *site, dir, calls, mark string, set byte) {
	t.Helper()
	file := filepath.Join(dir, "trials", mark)
	s.mu.Lock()
	before := s.report.Boot
	s.mu.Unlock()
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), agentDir+"="+dir, agentURL+"="+s.url, agentCalls+"="+calls)
	agent.Stderr = os.Stderr
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	hubtest.Wait(t, "the mark "+mark, func() bool {
		s.mu.Lock()
		boot := s.report.Boot
		s.mu.Unlock()
		b, err := os.ReadFile(file)
		return boot != before && err == nil && len(b) > 1 && b[0] == set
	})
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
}

func TestACrashLoopEndsInTheReleaseBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, two := updated(t, s)
	for range 3 {
		kill(t, s, c.Dir, "loop", "meter.serves", '1')
	}
	b := run(t, c)
	if got := b.version(); got != "1" {
		t.Errorf("after the third crash it answers %s", got)
	}
	if got := s.module(two, in(fleet.Reverted)); got.Release.Version != "1" || !strings.Contains(got.Reason, "3 times while it opened or called") {
		t.Errorf("it reports %+v", got)
	}
	b.end()
	// It stays so, though the desired state still says 2; another deployment of 2 is tried again.
	b = run(t, c)
	s.module(two, in(fleet.Reverted))
	if got := b.version(); got != "1" {
		t.Errorf("after a restart it answers %s", got)
	}
	s.module(s.want("2", guest("2", "2")), in(fleet.Running))
	if got := b.version(); got != "2" {
		t.Errorf("deployed anew it answers %s", got)
	}
}

// TestKillsFromOutsideAreNotTheReleases: an operator's kills, or power cuts, find no call of the release under way.
func TestKillsFromOutsideAreNotTheReleases(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, two := updated(t, s)
	for range 4 {
		kill(t, s, c.Dir, "", "meter.serves", '0')
	}
	// The machine went down during a call: the mark is of another boot.
	cut := filepath.Join(c.Dir, "trials", "meter.serves")
	for range 3 {
		kill(t, s, c.Dir, "loop", "meter.serves", '1')
		b, err := os.ReadFile(cut)
		if err == nil {
			f := strings.Fields(string(b))
			err = os.WriteFile(cut, []byte(f[0]+" "+f[1]+" another-boot\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b := run(t, c)
	s.module(two, in(fleet.Running))
	if got := b.version(); got != "2" {
		t.Errorf("after seven ends that were not its fault it answers %s", got)
	}
	b.end()
}

// TestALoopWithoutEvidenceEndsToo: what kills from outside for its memory or its current must not go on for ever. A start
// that fails counts like an end.
func TestALoopWithoutEvidenceEndsToo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, two := updated(t, s)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	failing := c
	failing.Local = local.Listen{Address: taken.Addr().String()}
	for range 10 {
		if a, err := node.New(t.Context(), failing); err == nil {
			a.Close()
			t.Fatal("it listens where somebody else does")
		}
	}
	b := run(t, c)
	if got := s.module(two, in(fleet.Reverted)); got.Release.Version != "1" || !strings.Contains(got.Reason, "10 times without a stop") {
		t.Errorf("it reports %+v", got)
	}
	b.end()
}

// TestAReleaseThatKillsAtItsGateIsRefused: it never becomes the current one, so nothing would count its crashes.
func TestAReleaseThatKillsAtItsGateIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, _ := updated(t, s)
	hangs := enginetest.Guest{Version: "3", Manifest: &abi.Manifest{Name: "meter", Version: "3", Golden: []abi.Golden{{Function: "loop"}}}}.Build()
	s.publish("3", hangs)
	three := s.want("3", hangs)
	for range 3 {
		kill(t, s, c.Dir, "", "meter.tries", '1')
	}
	b := run(t, c)
	if got := s.module(three, in(fleet.Refused)); got.Release.Version != "2" || !strings.Contains(got.Reason, "3 times while it tried") {
		t.Errorf("it reports %+v", got)
	}
	if got := b.version(); got != "2" {
		t.Errorf("it answers %s", got)
	}
}
