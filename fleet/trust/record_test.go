package trust_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// What the tests of this package do to nodes is kept as cases in conformance/trust.json, with the verdict of each step: files of
// real keys, honest and hostile. Each other verifier, such as that of sdk/js, runs the same ones:
//
//	go test ./fleet/trust -record
var record = flag.Bool("record", false, "write conformance/trust.json")

var casesFile = filepath.Join("..", "..", "conformance", "trust.json")

// recorded are the tests whose nodes become cases: those about what is offered, not about the disk.
var recorded = regexp.MustCompile(`^(TestHostile|TestClock|TestDevelopersClock|TestRootWithout|TestRotateEachRole|TestThreshold|TestExpiryAndRenew|TestListKeeps|TestSignedRelease)`)

// cases is the fixture. Files are by the first 16 digits of their SHA-256; base64.
type cases struct {
	Files map[string][]byte `json:"files"`
	Cases []*recordedCase   `json:"cases"`
}

type recordedCase struct {
	Name     string         `json:"name"`
	Root     string         `json:"root"` // file
	Pin      string         `json:"pin,omitempty"`
	RootStep int64          `json:"rootStep,omitempty"` // roots that a refresh follows, where it is not 256
	Opens    string         `json:"opens"`              // verdict
	Steps    []recordedStep `json:"steps"`
}

// recordedStep is one thing that happens to a node, and what it says.
type recordedStep struct {
	Do  string `json:"do"`  // refresh, target, listed, reopen or damage
	Now int64  `json:"now"` // clock, Unix seconds
	// Offers are the files that were fetched; one that is asked for and not here is not there. "*N" are N spaces.
	Offers  map[string]string `json:"offers,omitempty"`
	Ref     string            `json:"ref,omitempty"`
	Record  string            `json:"record,omitempty"` // that is torn
	Digest  string            `json:"digest,omitempty"`
	Verdict string            `json:"verdict,omitempty"`
}

// verdict is an error's name in the fixture.
func verdict(err error) string {
	for _, v := range []struct {
		err  error
		name string
	}{
		{trust.ErrRollback, "rollback"}, {trust.ErrUnsigned, "unsigned"}, {trust.ErrExpired, "expired"}, {trust.ErrTampered, "tampered"},
		{trust.ErrUnknownRelease, "unknown release"}, {trust.ErrNoMetadata, "no metadata"}, {trust.ErrNotFound, "not found"},
	} {
		if errors.Is(err, v.err) {
			return v.name
		}
	}
	if err != nil {
		return "error"
	}
	return "ok"
}

type recorder struct {
	mu    sync.Mutex
	all   cases
	steps int64 // of the cases that begin now
}

var recording = &recorder{all: cases{Files: map[string][]byte{}}}

func (r *recorder) file(b []byte) string {
	if len(b) > 1000 && len(bytes.TrimLeft(b, " ")) == 0 {
		return "*" + strconv.Itoa(len(b))
	}
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:8])
	r.all.Files[name] = append([]byte{}, b...)
	return name
}

// begin makes a case of a node; nil where the test is none that is recorded.
func (r *recorder) begin(t testing.TB, o trust.ClientOptions, err error) *recordedCase {
	if !*record || !recorded.MatchString(t.Name()) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &recordedCase{Name: t.Name(), Root: r.file(o.Root), Pin: o.Pin, RootStep: r.steps, Opens: verdict(err)}
	r.all.Cases = append(r.all.Cases, c)
	return c
}

func (n *node) step(s recordedStep) {
	if n.as == nil {
		return
	}
	s.Now = n.clock.now().Unix()
	n.as.Steps = append(n.as.Steps, s)
}

// Refresh is the client's, recorded with what it fetched.
func (n *node) Refresh(ctx context.Context) error {
	if n.as == nil {
		return n.Client.Refresh(ctx) // which several may do at once
	}
	n.fetched = map[string][]byte{}
	err := n.Client.Refresh(ctx)
	offers := map[string]string{}
	recording.mu.Lock()
	for name, b := range n.fetched {
		offers[name] = recording.file(b)
	}
	recording.mu.Unlock()
	n.step(recordedStep{Do: "refresh", Offers: offers, Verdict: verdict(err)})
	return err
}

// Target is the client's, recorded.
func (n *node) Target(ref fleet.Ref) (string, int64, error) {
	d, size, err := n.Client.Target(ref)
	n.step(recordedStep{Do: "target", Ref: ref.String(), Digest: d, Verdict: verdict(err)})
	return d, size, err
}

// Listed is the client's, recorded.
func (n *node) Listed(ref fleet.Ref, digest string) error {
	err := n.Client.Listed(ref, digest)
	n.step(recordedStep{Do: "listed", Ref: ref.String(), Digest: digest, Verdict: verdict(err)})
	return err
}

// watch notes what a fetcher brings.
func (n *node) watch(f trust.Fetcher) trust.Fetcher {
	return trust.FetchFunc(func(ctx context.Context, file string, most int64) ([]byte, error) {
		b, err := f.Fetch(ctx, file, most)
		if err == nil && n.fetched != nil {
			n.fetched[file] = b
		}
		return b, err
	})
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *record && code == 0 {
		slices.SortStableFunc(recording.all.Cases, func(a, b *recordedCase) int { return strings.Compare(a.Name, b.Name) })
		b, err := json.Marshal(recording.all)
		if err == nil {
			b = bytes.ReplaceAll(b, []byte(`{"name":`), []byte("\n{\"name\":")) // a case a line
			err = os.WriteFile(casesFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}

// The cases that other verifiers run have the verdicts of this one.
func TestRecordedCases(t *testing.T) {
	if *record {
		t.Skip("they are being made")
	}
	var all cases
	if err := json.Unmarshal(must(os.ReadFile(casesFile))(t), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) < 100 {
		t.Fatalf("%d cases", len(all.Cases))
	}
	file := func(name string) []byte {
		var n int
		if rest, ok := strings.CutPrefix(name, "*"); ok && json.Unmarshal([]byte(rest), &n) == nil {
			return bytes.Repeat([]byte(" "), n)
		}
		return all.Files[name]
	}
	for _, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) { c.replay(t, file) })
	}
}

func (c *recordedCase) replay(t *testing.T, file func(string) []byte) {
	if c.RootStep != 0 {
		defer trust.SetMaxRootStep(c.RootStep)()
	}
	now := &clock{t: day0}
	if len(c.Steps) > 0 {
		now.set(time.Unix(c.Steps[0].Now, 0))
	}
	store := memory{}
	offers := trust.Files{}
	o := trust.ClientOptions{Store: store, Root: file(c.Root), Pin: c.Pin, Now: now.now, Fetch: from(func() trust.Files { return offers })}
	client, err := trust.OpenClient(o)
	if verdict(err) != c.Opens {
		t.Fatalf("opens: %v, want %s", err, c.Opens)
	}
	for i, s := range c.Steps {
		now.set(time.Unix(s.Now, 0))
		got, digest := "ok", ""
		switch s.Do {
		case "refresh":
			clear(offers)
			for name, f := range s.Offers {
				offers[name] = file(f)
			}
			err = client.Refresh(t.Context())
			got = verdict(err)
		case "target":
			digest, _, err = client.Target(ref(t, s.Ref))
			got = verdict(err)
			if digest != s.Digest {
				t.Errorf("step %d: %s has digest %s, want %s", i, s.Ref, digest, s.Digest)
			}
		case "listed":
			err = client.Listed(ref(t, s.Ref), s.Digest)
			got = verdict(err)
		case "reopen":
			client, err = trust.OpenClient(o)
			got = verdict(err)
		case "damage":
			store[s.Record] = []byte("{torn")
		}
		if want := s.Verdict; got != want {
			t.Errorf("step %d, %s %s: %s (%v), want %s", i, s.Do, s.Ref, got, err, want)
		}
	}
}
