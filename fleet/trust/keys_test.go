package trust_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet/trust"
)

func TestRotateEachRole(t *testing.T) {
	for name, rotate := range map[string]func(w *world) trust.Rotation{
		"root":    func(*world) trust.Rotation { return trust.Rotation{NewRoot: true} },
		"targets": func(*world) trust.Rotation { return trust.Rotation{NewTargets: true} },
		"hub": func(w *world) trust.Rotation {
			if err := w.online.Rotate(); err != nil {
				t.Fatal(err)
			}
			public := w.online.Public()
			return trust.Rotation{Online: &public}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.release("digits@1", "01", 0)
			n := w.node()
			n.refresh(t)
			stolen := steal(t, w.dir)
			hubThief, before := w.robHub(), w.files

			w.change(must(w.keys.Rotate(rotate(w)))(t))
			w.release("digits@2", "02", 0)
			n.refresh(t)
			n.has(t, "digits@2", "02")
			fresh := w.node() // one that begins at the first root follows the chain
			fresh.refresh(t)
			fresh.has(t, "digits@2", "02")
			if s := fresh.Status(); s.Root != 2 {
				t.Errorf("%+v", s)
			}

			// What the old keys sign now is refused.
			old := must(trust.OpenKeys(stolen, trust.KeysOptions{Now: w.clock.now}))(t)
			var c *trust.Change
			var err error
			if err := old.Adopt(w.files); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "root":
				c, err = old.Renew(true, false)
			case "targets":
				c, err = old.AddTarget(ref(t, "digits@3"), digest("66"), 1000, 0)
			case "hub":
				i := must(before.Inspect())(t)
				n.offers(t, hubThief.forge(w.files, i.Timestamp.Version*2, i.Snapshot.Version*2, i.Targets.Version,
					before["2.targets.json"], day0.AddDate(1, 0, 0)))
				n.refuses(t, trust.ErrUnsigned)
				return
			}
			if !errors.Is(err, trust.ErrKey) {
				t.Errorf("signed %v, error %v", c, err)
			}
			// The thief does not ask our code: he takes the first root for the last one.
			thief := must(trust.OpenKeys(steal(t, stolen), trust.KeysOptions{Now: w.clock.now}))(t)
			first := trust.Files{"1.root.json": before["1.root.json"], "2.targets.json": before["2.targets.json"]}
			if err := thief.Adopt(first); err != nil {
				t.Fatal(err)
			}
			if name == "root" {
				c = must(thief.Renew(true, false))(t)
			} else {
				c = must(thief.AddTarget(ref(t, "digits@3"), digest("66"), 1000, 0))(t)
			}
			if _, err := w.online.Accept(w.files, c.Files); err == nil {
				t.Error("the hub takes what a rotated key signed")
			}
		})
	}
}

// Three people, two of whom must sign.
func TestThreshold(t *testing.T) {
	w := newWorld(t) // its hub and clock; its developer does not take part
	var people []*trust.Keys
	for range 3 {
		people = append(people, must(trust.CreateKeys(t.TempDir(), trust.KeysOptions{Now: w.clock.now}))(t))
	}
	a, b, c := people[0], people[1], people[2]
	hub := must(trust.NewOnline())(t)
	hub.Now = w.clock.now
	change := must(a.Init(trust.Setup{
		Online: hub.Public(), RootThreshold: 2, TargetsThreshold: 2,
		Root:    append(b.Public().Root, c.Public().Root...),
		Targets: append(b.Public().Targets, c.Public().Targets...),
	}))(t)
	round := func(c *trust.Change) *trust.Change { return must(trust.DecodeChange(must(c.Encode())(t)))(t) }
	missing := func(k *trust.Keys, c *trust.Change, want int) {
		t.Helper()
		if m := must(k.Missing(c))(t); len(m) != want {
			t.Errorf("missing %q, want %d", m, want)
		}
	}
	sign := func(k *trust.Keys, c *trust.Change, want int) {
		t.Helper()
		if n := must(k.Sign(c))(t); n != want {
			t.Errorf("%d signatures, want %d", n, want)
		}
	}
	missing(a, change, 2)
	if _, err := hub.Accept(nil, change.Files); !errors.Is(err, trust.ErrUnsigned) {
		t.Errorf("the hub takes one of two signatures: %v", err)
	}
	if err := a.Commit(change); !errors.Is(err, trust.ErrUnsigned) {
		t.Errorf("committed with one of two signatures: %v", err)
	}
	change = round(change)
	sign(b, change, 2)
	sign(b, change, 0)
	missing(a, change, 0)
	files := must(hub.Accept(nil, change.Files))(t)
	for _, k := range people {
		if err := k.Adopt(files); err != nil {
			t.Fatal(err)
		}
	}

	// A release, signed by two of them at the same time and put together.
	release := must(a.AddTarget(ref(t, "digits@1"), digest("01"), 1000, 0))(t)
	if _, err := hub.Accept(files, release.Files); !errors.Is(err, trust.ErrUnsigned) {
		t.Errorf("one of two: %v", err)
	}
	forB, forC := round(release), round(release)
	sign(b, forB, 1)
	sign(c, forC, 1)
	if lines := strings.Join(must(c.Explain(forC))(t), "\n"); !strings.Contains(lines, "adds digits@1, 1000 bytes, SHA-256 "+digest("01")) {
		t.Errorf("explained as\n%s", lines)
	}
	if err := forB.Merge(forC); err != nil {
		t.Fatal(err)
	}
	files = must(hub.Accept(files, forB.Files))(t)
	info := must(files.Inspect())(t)
	if len(info.Targets.SignedBy) != 3 || info.Targets.Threshold != 2 {
		t.Errorf("%+v", info.Targets)
	}
	if err := forC.Merge(must(b.Renew(false, true))(t)); !errors.Is(err, trust.ErrConflict) {
		t.Errorf("two changes are merged: %v", err)
	}

	// One of the three loses his keys: the other two take him out, and he alone can do nothing.
	for _, k := range people {
		if err := k.Adopt(files); err != nil {
			t.Fatal(err)
		}
	}
	out := must(a.Rotate(trust.Rotation{RemoveRoot: c.Public().Root, RemoveTargets: c.Public().Targets}))(t)
	missing(a, out, 3) // the old root, the new root, the list
	if lines := strings.Join(must(b.Explain(out))(t), "\n"); strings.Count(lines, "removes") != 2 {
		t.Errorf("explained as\n%s", lines)
	}
	sign(b, out, 2)
	files = must(hub.Accept(files, out.Files))(t)
	for _, k := range people {
		if err := k.Adopt(files); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Retire(ref(t, "digits@1")); !errors.Is(err, trust.ErrKey) {
		t.Errorf("who was taken out signs: %v", err)
	}
	if _, err := a.Rotate(trust.Rotation{RemoveRoot: b.Public().Root}); !errors.Is(err, trust.ErrKey) {
		t.Errorf("fewer keys than signatures: %v", err)
	}
}

func TestTwoDevelopersMeet(t *testing.T) {
	w := newWorld(t)
	b := must(trust.CreateKeys(t.TempDir(), trust.KeysOptions{Now: w.clock.now}))(t)
	if _, err := b.Init(trust.Setup{}); !errors.Is(err, trust.ErrKey) {
		t.Errorf("without the hub's keys: %v", err)
	}
	w.change(must(w.keys.Rotate(trust.Rotation{AddTargets: b.Public().Targets}))(t))
	if err := b.Adopt(w.files); err != nil {
		t.Fatal(err)
	}
	if must(b.Fingerprint())(t) != must(w.files.Fingerprint())(t) {
		t.Error("another fingerprint")
	}
	theirs := must(b.AddTarget(ref(t, "digits@1"), digest("01"), 1000, 0))(t)
	w.files = must(w.online.Accept(w.files, theirs.Files))(t)

	late := must(w.keys.AddTarget(ref(t, "digits@2"), digest("02"), 1000, 0))(t)
	if _, err := w.online.Accept(w.files, late.Files); !errors.Is(err, trust.ErrConflict) {
		t.Errorf("who comes second: %v", err)
	}
	if err := w.keys.Adopt(w.files); err != nil {
		t.Fatal(err)
	}
	w.release("digits@2", "02", 0)
	if i := w.info(); len(i.Releases) != 2 {
		t.Errorf("%+v", i.Releases)
	}

	old := w.files
	w.release("digits@3", "03", 0)
	if err := w.keys.Adopt(old); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("a hub that went back: %v", err)
	}
	old = w.files
	w.change(must(w.keys.Renew(true, false))(t))
	if err := w.keys.Adopt(old); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("a hub whose root went back: %v", err)
	}
	if err := w.keys.Adopt(newWorld(t).files); !errors.Is(err, trust.ErrConflict) {
		t.Errorf("another hub: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	asked := 0
	o := trust.KeysOptions{Passphrase: func() ([]byte, error) { asked++; return []byte("correct horse"), nil }}
	must(trust.CreateKeys(dir, o))(t)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	paths := must(filepath.Glob(filepath.Join(dir, "*.key")))(t)
	if len(paths) != 2 {
		t.Fatalf("%q", paths)
	}
	for _, p := range paths {
		if m := must(os.Stat(p))(t).Mode().Perm(); m != 0o600 && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %04o", p, m)
		}
		if b := must(os.ReadFile(p))(t); !bytes.Contains(b, []byte("AGE ENCRYPTED FILE")) || bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("%s is not encrypted:\n%s", p, b)
		}
	}
	if _, err := trust.CreateKeys(dir, o); !errors.Is(err, trust.ErrKey) {
		t.Errorf("made twice: %v", err)
	}

	k := must(trust.OpenKeys(dir, o))(t)
	if asked != 1 {
		t.Error("a passphrase is asked for before anything is signed")
	}
	setup := trust.Setup{Online: must(trust.NewOnline())(t).Public()}
	c := must(k.Init(setup))(t)
	if m := must(k.Missing(c))(t); len(m) > 0 || asked != 2 {
		t.Errorf("missing %q, asked %d times", m, asked)
	}
	for name, pass := range map[string]func() ([]byte, error){
		"wrong": func() ([]byte, error) { return []byte("wrong"), nil },
		"empty": func() ([]byte, error) { return nil, nil },
		"none":  nil,
	} {
		k := must(trust.OpenKeys(dir, trust.KeysOptions{Passphrase: pass}))(t)
		if _, err := k.Init(setup); !errors.Is(err, trust.ErrKey) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s passphrase: %v", name, err)
		}
	}

	good := must(os.ReadFile(paths[0]))(t)
	spoil := func(what string, b []byte, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(paths[0], b, 0o600), os.Chmod(paths[0], mode)); err != nil {
			t.Fatal(err)
		}
		k, err := trust.OpenKeys(dir, o)
		if err == nil {
			_, err = k.Init(setup)
		}
		if !errors.Is(err, trust.ErrKey) || !strings.Contains(err.Error(), paths[0]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	spoil("half a file", good[:len(good)/2], 0o600)
	spoil("an empty file", nil, 0o600)
	spoil("another's private half", append(bytes.Clone(good[:bytes.Index(good, []byte("-----BEGIN AGE"))]),
		func() []byte {
			b := must(os.ReadFile(paths[1]))(t)
			return b[bytes.Index(b, []byte("-----BEGIN AGE")):]
		}()...), 0o600)
	if runtime.GOOS != "windows" {
		spoil("readable by others", good, 0o644)
	}
	if _, err := trust.OpenKeys(t.TempDir(), o); !errors.Is(err, trust.ErrKey) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestExpiryAndRenew(t *testing.T) {
	w := newWorld(t)
	i := w.info()
	if r, g := i.Root.Expires.Sub(day0), i.Targets.Expires.Sub(day0); r != trust.RootLife || g != trust.TargetsLife {
		t.Errorf("root lives for %s, targets for %s", r, g)
	}
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	w.clock.set(day0.AddDate(1, 1, 0))
	w.resign()
	n.clock.set(w.clock.now())
	n.refuses(t, trust.ErrExpired) // the targets
	w.change(must(w.keys.Renew(true, true))(t))
	n.refresh(t)
	n.has(t, "digits@1", "01")
	if i := w.info(); !i.Root.Expires.After(day0.AddDate(3, 0, 0)) {
		t.Errorf("%+v", i.Root)
	}
}
