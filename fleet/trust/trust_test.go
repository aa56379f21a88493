package trust_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// day0 is when the tests take place.
var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is one that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) pass(d time.Duration) { c.set(c.now().Add(d)) }

// world is a developer, a hub and the time that they share. Nodes have their own clock.
type world struct {
	t      testing.TB
	clock  *clock
	keys   *trust.Keys
	online *trust.Online
	files  trust.Files
	dir    string // of the keys
}

func digest(c string) string { return strings.Repeat(c, 32) }

func ref(t testing.TB, s string) fleet.Ref {
	t.Helper()
	r, err := fleet.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{t: day0}}
	w.online = must(trust.NewOnline())(t)
	w.online.Now = w.clock.now
	w.dir = t.TempDir()
	w.keys = must(trust.CreateKeys(w.dir, trust.KeysOptions{Now: w.clock.now}))(t)
	w.change(must(w.keys.Init(trust.Setup{Online: w.online.Public()}))(t))
	return w
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// change uploads what the developer signed.
func (w *world) change(c *trust.Change) {
	w.t.Helper()
	w.clock.pass(time.Minute)
	w.files = must(w.online.Accept(w.files, c.Files))(w.t)
	if err := w.keys.Commit(c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) release(s, d string, keep int) {
	w.t.Helper()
	w.change(must(w.keys.AddTarget(ref(w.t, s), digest(d), 1000, keep))(w.t))
}

func (w *world) resign() {
	w.t.Helper()
	w.clock.pass(trust.ResignEvery)
	w.files = must(w.online.Resign(w.files))(w.t)
}

// from fetches from files as they are at each call.
func from(files func() trust.Files) trust.FetchFunc {
	return func(_ context.Context, name string, most int64) ([]byte, error) {
		b, ok := files()[name]
		if !ok {
			return nil, trust.ErrNotFound
		}
		return b[:min(int64(len(b)), most+1)], nil
	}
}

// node is a client of the world's hub with a store of its own.
type node struct {
	*trust.Client
	o     trust.ClientOptions
	dir   string
	clock *clock

	as      *recordedCase
	fetched map[string][]byte
}

func (w *world) node() *node {
	w.t.Helper()
	c := &clock{t: w.clock.now()}
	n := &node{dir: filepath.Join(w.t.TempDir(), "trust"), clock: c}
	n.o = trust.ClientOptions{
		Store: trust.DirStore(n.dir), Root: w.files["1.root.json"], Now: c.now,
		Fetch: from(func() trust.Files { return w.files }),
	}
	n.as = recording.begin(w.t, n.o, nil)
	n.reopen(w.t)
	return n
}

// reopen is a restart of the node.
func (n *node) reopen(t testing.TB) {
	t.Helper()
	o := n.o
	o.Fetch = n.watch(o.Fetch)
	n.Client = must(trust.OpenClient(o))(t)
	n.step(recordedStep{Do: "reopen", Verdict: "ok"})
}

// offers makes the node fetch from files alone.
func (n *node) offers(t testing.TB, files trust.Files) {
	t.Helper()
	n.o.Fetch = from(func() trust.Files { return files })
	n.reopen(t)
}

func (n *node) refresh(t testing.TB) {
	t.Helper()
	if err := n.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// refuses refreshes and wants the error.
func (n *node) refuses(t testing.TB, want error) {
	t.Helper()
	err := n.Refresh(context.Background())
	if !errors.Is(err, want) {
		t.Fatalf("refresh: error %v, want %v", err, want)
	}
	t.Log(err)
}

func (n *node) has(t testing.TB, s, d string) {
	t.Helper()
	got, size, err := n.Target(ref(t, s))
	if err != nil || got != digest(d) || size != 1000 {
		t.Fatalf("%s: %s, %d bytes, %v", s, got, size, err)
	}
}

func (n *node) hasNot(t testing.TB, s string, want error) {
	t.Helper()
	if _, _, err := n.Target(ref(t, s)); !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", s, err, want)
	}
}

func TestSignedReleaseReachesNode(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	n.hasNot(t, "digits@1.0.0", trust.ErrNoMetadata)
	n.refresh(t)
	n.hasNot(t, "digits@1.0.0", trust.ErrUnknownRelease)

	w.release("digits@1.0.0", "0a", 0)
	w.release("rules@7", "0b", 0)
	n.refresh(t)
	n.has(t, "digits@1.0.0", "0a")
	n.has(t, "rules@7", "0b")
	if list := n.List(); len(list) != 2 || list[0].Ref.Name != "digits" || list[0].Since != 2 {
		t.Errorf("list %+v", list)
	}

	// Nothing to fetch from: the store answers.
	n.o.Fetch = nil
	n.reopen(t)
	n.has(t, "digits@1.0.0", "0a")
	if err := n.Listed(ref(t, "digits@1.0.0"), digest("0a")); err != nil {
		t.Error(err)
	}
	if err := n.Listed(ref(t, "digits@1.0.0"), digest("0c")); !errors.Is(err, trust.ErrTampered) {
		t.Errorf("another digest: %v", err)
	}
}

// An edge serves its devices from what it verified itself.
func TestEdgeServesWhatItVerified(t *testing.T) {
	w := newWorld(t)
	edge, device := w.node(), w.node()
	if f := edge.Files(); len(f) > 0 {
		t.Errorf("before a refresh: %v", f.Order())
	}
	w.change(must(w.keys.Rotate(trust.Rotation{NewRoot: true, NewTargets: true}))(t))
	w.change(must(w.keys.Renew(true, false))(t))
	w.release("digits@1", "01", 0)
	edge.refresh(t)
	edge.o.Fetch = nil // the hub is away
	edge.reopen(t)
	device.offers(t, edge.Files())
	device.refresh(t)
	device.has(t, "digits@1", "01")
	for name, b := range edge.Files() {
		if string(w.files[name]) != string(b) {
			t.Errorf("%s is another file than the hub's", name)
		}
	}
}

func TestListKeepsTheNewestAndRetires(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.release(fmt.Sprintf("digits@1.%d", i), fmt.Sprintf("0%d", i), 2)
	}
	w.release("other@1", "aa", 2)
	n := w.node()
	n.refresh(t)
	n.hasNot(t, "digits@1.1", trust.ErrUnknownRelease)
	n.has(t, "digits@1.2", "02")
	n.has(t, "digits@1.3", "03")
	n.has(t, "other@1", "aa")
	w.change(must(w.keys.Retire(ref(t, "digits@1.3")))(t))
	n.refresh(t)
	n.hasNot(t, "digits@1.3", trust.ErrUnknownRelease)
	if err := n.Listed(ref(t, "digits@1.3"), digest("03")); !errors.Is(err, trust.ErrUnknownRelease) {
		t.Errorf("retired: %v", err)
	}
	if _, err := w.keys.Retire(ref(t, "digits@1.3")); !errors.Is(err, trust.ErrUnknownRelease) {
		t.Errorf("retired twice: %v", err)
	}
	if c := must(w.keys.AddTarget(ref(t, "digits@1.2"), digest("02"), 1000, 2))(t); !c.Empty() {
		t.Errorf("signed again: %v", c.Files)
	}
	if _, err := w.keys.AddTarget(ref(t, "digits@1.2"), digest("ff"), 1000, 2); !errors.Is(err, trust.ErrTaken) {
		t.Errorf("other bytes under the same version: %v", err)
	}
}

func TestFilesPack(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "0a", 0)
	b := must(w.files.Pack())(t)
	back := must(trust.Unpack(b))(t)
	if !maps.EqualFunc(back, w.files, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("other files came back")
	}
	info := must(back.Inspect())(t)
	if len(info.Releases) != 1 || len(info.Targets.SignedBy) != 1 || info.Targets.Version != 2 {
		t.Errorf("%+v", info)
	}
	if order := w.files.Order(); order[len(order)-1] != trust.TimestampFile {
		t.Errorf("order %v", order)
	}
	if _, err := trust.Unpack(b[:len(b)/2]); !errors.Is(err, trust.ErrTampered) {
		t.Errorf("half: %v", err)
	}
}
