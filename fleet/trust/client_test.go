package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet/trust"
)

func TestClockIn1970(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	frozen := w.files
	w.clock.pass(40 * 24 * time.Hour)
	w.release("digits@2", "02", 0)
	n.clock.set(w.clock.now())
	n.refresh(t)
	n.has(t, "digits@2", "02")

	// The device restarts without a battery, and somebody replays what was valid when the clock was said to stand still.
	n.clock.set(time.Unix(0, 0))
	n.offers(t, frozen)
	n.refuses(t, trust.ErrExpired)
	n.has(t, "digits@2", "02") // the minimum time is the time at which that was fresh
	if m := n.Status().MinimumTime; m.Before(day0.AddDate(0, 0, 40)) {
		t.Errorf("minimum time %s", m)
	}

	n.offers(t, w.files)
	w.resign()
	n.offers(t, w.files)
	n.refresh(t) // and fresh news are taken in 1970 as well
	n.has(t, "digits@2", "02")
}

func TestClockIn1970FromTheStart(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	frozen := w.files
	w.clock.pass(100 * 24 * time.Hour)
	w.change(must(w.keys.Renew(true, true))(t))
	n := w.node()
	n.clock.set(time.Unix(0, 0))
	n.refresh(t)
	if m := n.Status().MinimumTime; m.Before(day0.AddDate(0, 0, 100)) {
		t.Errorf("the developer's time of signing is not the minimum time: %s", m)
	}
	n.damage(t, "metadata.json")
	n.offers(t, frozen)
	n.refuses(t, trust.ErrRollback)
}

func TestClockInTheFuture(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.clock.set(day0.AddDate(70, 0, 0))
	n.refuses(t, trust.ErrExpired)
	n.clock.set(w.clock.now())
	n.refresh(t) // no harm was done
	n.has(t, "digits@1", "01")

	n.clock.set(day0.AddDate(0, 0, 29)) // still within the life of the timestamp, so this one becomes the minimum time
	n.refresh(t)
	n.clock.set(w.clock.now())
	w.resign()
	n.offers(t, w.files)
	n.refresh(t) // but never one that the next timestamp would not outlive
	n.has(t, "digits@1", "01")
}

func TestStoreDamaged(t *testing.T) {
	w := newWorld(t)
	w.change(must(w.keys.Renew(true, false))(t))
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	good := map[string][]byte{}
	for _, f := range []string{"metadata.json", "floor.json"} {
		good[f] = must(os.ReadFile(filepath.Join(n.dir, f)))(t)
	}
	write := func(file string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(n.dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, b := range good {
		for cut := 0; cut < len(b); cut += 1 + len(b)/3 {
			flipped := append([]byte{}, b...)
			flipped[cut] ^= 1
			for what, bad := range map[string][]byte{"cut": b[:cut], "bit": flipped, "zeros": append(append([]byte{}, b[:cut]...), make([]byte, len(b)-cut)...)} {
				maps.DeleteFunc(good, func(f string, g []byte) bool { write(f, g); return false })
				write(file, bad)
				n.reopen(t)
				if file == "floor.json" {
					n.has(t, "digits@1", "01") // the set is enough
				}
				n.refresh(t)
				n.has(t, "digits@1", "01")
				if n.Status().Damage != nil {
					t.Errorf("%s, %s at %d: damage is reported after a refresh", file, what, cut)
				}
				n.reopen(t)
				if d := n.Status().Damage; d != nil {
					t.Errorf("%s, %s at %d: not repaired: %v", file, what, cut, d)
				}
				n.has(t, "digits@1", "01")
			}
		}
	}
	write("metadata.json", bytes.Replace(good["metadata.json"], []byte(`"at":2`), []byte(`"at":9`), 1))
	n.reopen(t)
	n.hasNot(t, "digits@1", trust.ErrNoMetadata)
	write("metadata.json", []byte("half"))
	n.reopen(t)
	if d := n.Status().Damage; !errors.Is(d, trust.ErrTampered) {
		t.Errorf("damage: %v", d)
	}
	n.hasNot(t, "digits@1", trust.ErrNoMetadata)
}

// A disk image from last week brings an older set, while the floor is of today: nothing older counts.
func TestStoreOlderThanItsFloor(t *testing.T) {
	for name, change := range map[string]func(w *world) *trust.Change{
		"root":    func(w *world) *trust.Change { return must(w.keys.Renew(true, false))(t) },
		"targets": func(w *world) *trust.Change { return must(w.keys.Retire(ref(t, "digits@1")))(t) },
	} {
		w := newWorld(t)
		w.release("digits@1", "01", 0)
		n := w.node()
		n.refresh(t)
		path := filepath.Join(n.dir, "metadata.json")
		old := must(os.ReadFile(path))(t)
		w.change(change(w))
		n.refresh(t)
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		n.reopen(t)
		if d := n.Status().Damage; !errors.Is(d, trust.ErrRollback) {
			t.Errorf("%s: %v", name, d)
		}
		n.hasNot(t, "digits@1", trust.ErrNoMetadata)
		n.refresh(t)
	}
}

// A developer's clock may be ahead by more than a short-lived timestamp lives.
func TestDevelopersClockAhead(t *testing.T) {
	w := newWorld(t)
	w.online.Life = time.Hour
	ahead := must(trust.OpenKeys(w.dir, trust.KeysOptions{Now: func() time.Time { return w.clock.now().Add(20 * time.Hour) }}))(t)
	w.files = must(w.online.Accept(w.files, must(ahead.AddTarget(ref(t, "digits@1"), digest("01"), 1000, 0))(t).Files))(t)
	n := w.node()
	n.refresh(t)
	if m := n.Status().MinimumTime; m.After(w.info().Timestamp.Expires) {
		t.Errorf("minimum time %s", m)
	}
	w.resign()
	n.refresh(t)
	n.has(t, "digits@1", "01")
}

// failing is a store on a disk that does not take writes, or loses power after some of them.
type failing struct {
	trust.Store
	left int
}

func (f *failing) Save(name string, b []byte) error {
	if f.left == 0 {
		return fmt.Errorf("%s: %w", name, fs.ErrPermission)
	}
	f.left--
	return f.Store.Save(name, b)
}

func TestStoreReadOnly(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.o.Store = &failing{Store: n.o.Store}
	n.reopen(t)
	n.refuses(t, trust.ErrStore)
	n.has(t, "digits@1", "01") // it counts until the process ends
	n.refuses(t, trust.ErrStore)
	n.o.Store = trust.DirStore(n.dir)
	n.reopen(t)
	n.hasNot(t, "digits@1", trust.ErrNoMetadata)
	n.refresh(t)
	n.has(t, "digits@1", "01")
}

// A power cut after each write of each refresh leaves a node that starts with the old or the new metadata.
func TestStorePowerCut(t *testing.T) {
	for writes := range 5 {
		w := newWorld(t)
		w.release("digits@1", "01", 0)
		n := w.node()
		n.o.Store = &failing{Store: n.o.Store, left: writes}
		n.reopen(t)
		first := n.Refresh(context.Background())
		w.change(must(w.keys.Rotate(trust.Rotation{NewRoot: true, NewTargets: true}))(t))
		w.release("digits@2", "02", 0)
		second := n.Refresh(context.Background())
		t.Logf("%d writes: %v; %v", writes, first, second)

		n.o.Store = trust.DirStore(n.dir)
		n.o.Fetch = nil // and no network
		n.reopen(t)
		if d := n.Status().Damage; d != nil {
			t.Errorf("%d writes: damage %v", writes, d)
		}
		if writes >= 1 {
			n.has(t, "digits@1", "01")
		}
		if writes >= 3 {
			n.has(t, "digits@2", "02")
		}
		n.offers(t, w.files)
		n.refresh(t)
		n.has(t, "digits@2", "02")
	}
}

// New roots count at once, also when the rest does not arrive; what runs goes on.
func TestRootWithoutTheRest(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	w.change(must(w.keys.Rotate(trust.Rotation{NewTargets: true}))(t))
	roots := maps.Clone(w.files)
	maps.DeleteFunc(roots, func(name string, _ []byte) bool { return name != "2.root.json" })
	n.offers(t, roots)
	n.refuses(t, trust.ErrNotFound)
	for range 2 {
		n.hasNot(t, "digits@1", trust.ErrNoMetadata) // the old targets key counts no more
		if err := n.Listed(ref(t, "digits@1"), digest("01")); err != nil {
			t.Error(err)
		}
		n.reopen(t)
	}
	n.offers(t, w.files)
	n.refresh(t)
	n.has(t, "digits@1", "01")

	// A root that leaves the keys as they are changes nothing about the list.
	w.change(must(w.keys.Renew(true, false))(t))
	n.offers(t, trust.Files{"3.root.json": w.files["3.root.json"]})
	n.refuses(t, trust.ErrNotFound)
	n.has(t, "digits@1", "01")
}

func TestRefreshIsBoundedAndShared(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if err := n.Refresh(context.Background()); err != nil {
					t.Error(err)
				}
				if _, _, err := n.Target(ref(t, "digits@1")); err != nil {
					t.Error(err)
				}
				n.List()
				n.Status()
			}
		})
	}
	wg.Wait()

	waits := make(chan struct{})
	n.o.Fetch = trust.FetchFunc(func(ctx context.Context, _ string, _ int64) ([]byte, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a fetch has no deadline")
		}
		close(waits)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	n.reopen(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	done := make(chan error)
	go func() { done <- n.Refresh(ctx) }()
	<-waits
	second, stop := context.WithCancel(context.Background())
	stop()
	if err := n.Refresh(second); !errors.Is(err, context.Canceled) {
		t.Errorf("a second refresh: %v", err)
	}
	n.has(t, "digits@1", "01") // nobody waits for a refresh
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Hourly timestamps do not wear out flash.
func TestStoreIsWrittenSeldom(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	set := func() time.Time { return must(os.Stat(filepath.Join(n.dir, "metadata.json")))(t).ModTime() }
	old := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(n.dir, "metadata.json"), old, old); err != nil {
		t.Fatal(err)
	}
	for range 23 {
		w.resign()
		n.clock.set(w.clock.now())
		n.refresh(t)
	}
	if !set().Equal(old) {
		t.Error("the set was written within a day of timestamps")
	}
	n.offers(t, w.files)
	n.refresh(t)
	w.resign()
	n.offers(t, w.files)
	n.refresh(t)
	if set().Equal(old) {
		t.Error("the set was not written after a day")
	}
}
