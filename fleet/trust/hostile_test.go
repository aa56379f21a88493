package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// refusal is any of the errors that a node gives for metadata that is not to be believed.
func refusal(err error) bool {
	for _, want := range []error{trust.ErrTampered, trust.ErrUnsigned, trust.ErrRollback, trust.ErrExpired, trust.ErrNotFound} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

func TestHostileTamperedFiles(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	before := w.files
	w.change(must(w.keys.Renew(true, false))(t)) // a second root
	w.release("digits@2", "02", 0)
	for name, good := range w.files {
		if same, ok := before[name]; ok && bytes.Equal(same, good) {
			continue // the node has it
		}
		for what, bad := range map[string][]byte{
			"empty":          {},
			"cut off":        good[:len(good)/2],
			"bytes added":    append(bytes.Clone(good), "{}"...),
			"zeros":          make([]byte, len(good)),
			"digit changed":  bytes.Replace(good, []byte(`"version": `), []byte(`"version": 1`), 1),
			"date changed":   bytes.Replace(good, []byte(`"expires": "20`), []byte(`"expires": "21`), 1),
			"field added":    bytes.Replace(good, []byte(`"version"`), []byte(`"more": 1, "version"`), 1),
			"field repeated": bytes.Replace(good, []byte(`"version"`), []byte(`"version": 1, "version"`), 1),
			"no signatures":  append(bytes.Clone(good[:bytes.Index(good, []byte(`"signatures"`))]), `"signatures": [], "signed": {}}`...),
		} {
			bad, good := bytes.Clone(bad), bytes.Clone(w.files[name])
			if bytes.Equal(bad, good) {
				t.Fatalf("%s: %s changes nothing", name, what)
			}
			files := maps.Clone(w.files)
			files[name] = bad
			fresh := w.node() // each attempt on a node that has the state from before
			fresh.offers(t, before)
			fresh.refresh(t)
			fresh.offers(t, files)
			if err := fresh.Refresh(context.Background()); !refusal(err) {
				t.Errorf("%s, %s: error %v", name, what, err)
			}
			fresh.hasNot(t, "digits@2", trust.ErrUnknownRelease)
			fresh.has(t, "digits@1", "01") // what was known still is
		}
	}
}

func TestHostileWrongKeys(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.release("digits@1", "01", 0)
	other.release("digits@1", "66", 0)
	other.release("digits@2", "66", 0)
	n := w.node()
	n.refresh(t)

	t.Run("another fleet's files", func(t *testing.T) {
		n.offers(t, other.files)
		n.refuses(t, trust.ErrUnsigned)
		n.has(t, "digits@1", "01")
	})
	t.Run("the hub signs a list itself", func(t *testing.T) {
		th := w.robHub()
		i := w.info()
		evil := th.list(metadata.TIMESTAMP, i.Targets.Version+1, "digits/1.wasm", "66", day0.AddDate(1, 0, 0))
		n.offers(t, th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version+1, i.Targets.Version+1, evil, day0.AddDate(1, 0, 0)))
		n.refuses(t, trust.ErrUnsigned)
		n.has(t, "digits@1", "01")
	})
	t.Run("another developer's next root", func(t *testing.T) {
		files := maps.Clone(w.files)
		other.change(must(other.keys.Renew(true, false))(t))
		files["2.root.json"] = other.files["2.root.json"]
		n.offers(t, files)
		n.refuses(t, trust.ErrUnsigned)
	})
	t.Run("a root that is not the pinned one", func(t *testing.T) {
		o := n.o
		o.Pin = must(w.files.Fingerprint())(t)
		must(trust.OpenClient(o))(t)
		o.Root = other.files["1.root.json"]
		_, err := trust.OpenClient(o)
		recording.begin(t, o, err)
		if !errors.Is(err, trust.ErrTampered) {
			t.Errorf("error %v", err)
		}
	})
}

// One developer of two alone changes nothing, also with the hub's keys.
func TestHostileBelowThreshold(t *testing.T) {
	w := newWorld(t)
	a, b := must(trust.CreateKeys(t.TempDir(), trust.KeysOptions{Now: w.clock.now}))(t), must(trust.CreateKeys(t.TempDir(), trust.KeysOptions{Now: w.clock.now}))(t)
	first := must(a.Init(trust.Setup{Online: w.online.Public(), RootThreshold: 2, TargetsThreshold: 2, Root: b.Public().Root, Targets: b.Public().Targets}))(t)
	must(b.Sign(first))(t)
	w.files, w.keys = must(w.online.Accept(nil, first.Files))(t), a
	for _, k := range []*trust.Keys{a, b} {
		if err := k.Adopt(w.files); err != nil {
			t.Fatal(err)
		}
	}
	release := must(a.AddTarget(ref(t, "digits@1"), digest("01"), 1000, 0))(t)
	i, th := w.info(), w.robHub()
	name := fmt.Sprintf("%d.targets.json", i.Targets.Version+1)
	forged := func() trust.Files {
		return th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version+1, i.Targets.Version+1, release.Files[name], day0.AddDate(1, 0, 0))
	}
	root := maps.Clone(w.files)
	root["2.root.json"] = must(a.Renew(true, false))(t).Files["2.root.json"]
	for _, files := range []trust.Files{forged(), root} {
		n := w.node()
		n.refresh(t)
		n.offers(t, files)
		n.refuses(t, trust.ErrUnsigned)
		n.hasNot(t, "digits@1", trust.ErrUnknownRelease)
	}
	must(b.Sign(release))(t) // and with the other one's it does
	n := w.node()
	n.offers(t, forged())
	n.refresh(t)
	n.has(t, "digits@1", "01")
}

func TestHostileRollback(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	old := w.files
	w.release("digits@2", "02", 1) // drops digits@1
	lastHour := w.files
	w.resign()
	th, i, year := w.robHub(), w.info(), day0.AddDate(1, 0, 0)
	oldInfo := must(old.Inspect())(t)

	for name, files := range map[string]trust.Files{
		"timestamp":                  old,
		"timestamp of the last hour": lastHour,
		"snapshot of the same list": th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version-1, i.Targets.Version,
			w.files[fmt.Sprintf("%d.targets.json", i.Targets.Version)], year),
		// A hub with its keys, or a thief who has them, goes back to older lists under new numbers.
		"snapshot": func() trust.Files {
			f := maps.Clone(w.files)
			sn := old[fmt.Sprintf("%d.snapshot.json", oldInfo.Snapshot.Version)]
			ts := metadata.Timestamp(year)
			ts.Signed.Version = i.Timestamp.Version + 1
			ts.Signed.Meta["snapshot.json"] = metaOf(oldInfo.Snapshot.Version, sn)
			f[trust.TimestampFile] = signedBy(th, metadata.TIMESTAMP, ts)
			f[fmt.Sprintf("%d.snapshot.json", oldInfo.Snapshot.Version)] = sn
			return f
		}(),
		"targets": th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version+1, oldInfo.Targets.Version,
			old[fmt.Sprintf("%d.targets.json", oldInfo.Targets.Version)], year),
		"targets under the new number": th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version+1, i.Targets.Version+1,
			old[fmt.Sprintf("%d.targets.json", oldInfo.Targets.Version)], year),
	} {
		for _, damaged := range []string{"", "metadata.json", "floor.json"} {
			t.Run(name+", damaged "+damaged, func(t *testing.T) {
				n := w.node()
				n.refresh(t)
				n.damage(t, damaged) // each record alone is enough
				n.offers(t, files)
				n.refuses(t, trust.ErrRollback)
				if _, _, err := n.Target(ref(t, "digits@1")); err == nil {
					t.Error("the node would install the old release")
				}
				n.offers(t, w.files)
				n.refresh(t)
				n.has(t, "digits@2", "02")
			})
		}
	}
}

func TestHostileRootHidden(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	old := maps.Clone(w.files)
	w.change(must(w.keys.Rotate(trust.Rotation{NewTargets: true}))(t))
	n := w.node()
	n.refresh(t)
	n.damage(t, "metadata.json")
	n.offers(t, old) // valid in itself, from before the rotation
	n.refuses(t, trust.ErrRollback)
	n.hasNot(t, "digits@1", trust.ErrNoMetadata)
	n.offers(t, w.files)
	n.refresh(t)
	n.has(t, "digits@1", "01")
}

func TestHostileFreeze(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	n.refresh(t)
	frozen := w.files
	w.clock.pass(20 * 24 * time.Hour)
	w.release("digits@2", "02", 0)

	n.offers(t, frozen)
	n.clock.set(w.clock.now())
	n.refresh(t) // within the life of a timestamp nothing shows
	n.clock.pass(11 * 24 * time.Hour)
	n.refuses(t, trust.ErrExpired)
	n.hasNot(t, "digits@1", trust.ErrExpired) // nothing new is installed from old news …
	if err := n.Listed(ref(t, "digits@1"), digest("01")); err != nil {
		t.Errorf("what runs must go on running: %v", err) // … and what runs goes on
	}
	if p := n.Status().Problem; !errors.Is(p, trust.ErrExpired) {
		t.Errorf("status: %v", p)
	}
	n.offers(t, w.files)
	n.refresh(t)
	n.has(t, "digits@2", "02")
}

func TestHostileMixAndMatch(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	a := w.files
	ai := w.info()
	w.release("digits@2", "02", 0)
	b := w.files
	bi := w.info()
	name := func(role string, v int64) string { return fmt.Sprintf("%d.%s.json", v, role) }
	for what, put := range map[string][2]string{
		"new timestamp, old snapshot": {name("snapshot", bi.Snapshot.Version), name("snapshot", ai.Snapshot.Version)},
		"new snapshot, old targets":   {name("targets", bi.Targets.Version), name("targets", ai.Targets.Version)},
	} {
		n := w.node()
		files := maps.Clone(b)
		files[put[0]] = a[put[1]]
		n.offers(t, files)
		if err := n.Refresh(context.Background()); !errors.Is(err, trust.ErrTampered) {
			t.Errorf("%s: %v", what, err)
		}
		n.hasNot(t, "digits@1", trust.ErrNoMetadata)
	}
}

func TestHostileTooLarge(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	for name := range w.files {
		if name == "1.root.json" {
			name = "2.root.json"
		}
		n := w.node()
		var asked int64
		n.o.Fetch = trust.FetchFunc(func(_ context.Context, file string, most int64) ([]byte, error) {
			if file == name {
				asked = most
				return bytes.Repeat([]byte(" "), int(most)+1), nil
			}
			if b, ok := w.files[file]; ok {
				return b, nil
			}
			return nil, os.ErrNotExist
		})
		n.reopen(t)
		err := n.Refresh(context.Background())
		if asked == 0 {
			continue // a version that is not the newest
		}
		if !errors.Is(err, trust.ErrTampered) || asked > 1<<20 {
			t.Errorf("%s: asked for %d bytes, error %v", name, asked, err)
		}
	}
}

func TestHostileEndlessRoots(t *testing.T) {
	defer trust.SetMaxRootStep(3)()
	recording.steps = 3
	defer func() { recording.steps = 0 }()
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	for range 7 {
		w.change(must(w.keys.Renew(true, false))(t))
	}
	var fetched int
	n.o.Fetch = trust.FetchFunc(func(ctx context.Context, file string, most int64) ([]byte, error) {
		fetched++
		return from(func() trust.Files { return w.files })(ctx, file, most)
	})
	n.reopen(t)
	for i, want := range []int64{4, 7, 8} {
		fetched = 0
		err := n.Refresh(context.Background())
		if n.Status().Root != want || fetched > 3+3 {
			t.Errorf("refresh %d: root %d after %d files, error %v", i, n.Status().Root, fetched, err)
		}
		n.reopen(t) // goes on from what was kept
	}
	n.has(t, "digits@1", "01")
}

// Who has the keys of a root that was rotated away makes another root of a version that the node has had.
func TestHostileForkedRoot(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	stolen, before := steal(t, w.dir), w.files
	w.change(must(w.keys.Rotate(trust.Rotation{NewRoot: true, NewTargets: true}))(t))
	n := w.node()
	n.refresh(t)

	fork := *w
	fork.files = before
	fork.keys = must(trust.OpenKeys(stolen, trust.KeysOptions{Now: w.clock.now}))(t)
	if err := fork.keys.Adopt(before); err != nil {
		t.Fatal(err)
	}
	fork.change(must(fork.keys.Rotate(trust.Rotation{NewTargets: true}))(t))
	fork.release("digits@2", "66", 0)
	n.damage(t, "metadata.json")
	n.offers(t, fork.files)
	n.refuses(t, trust.ErrTampered)
	if _, _, err := n.Target(ref(t, "digits@2")); err == nil {
		t.Error("the node would install what stolen keys signed")
	}
}

// A hub's thief makes versions that nothing can follow. Rotating its keys brings nodes back.
func TestHostileFastForward(t *testing.T) {
	const far = 1_000_000_000_000_000
	for _, damaged := range []string{"", "metadata.json", "floor.json"} {
		t.Run("hub's keys, damaged "+damaged, func(t *testing.T) {
			w := newWorld(t)
			w.release("digits@1", "01", 0)
			n := w.node()
			i := w.info()
			targets := w.files[fmt.Sprintf("%d.targets.json", i.Targets.Version)]
			n.offers(t, w.robHub().forge(w.files, far, far, i.Targets.Version, targets, day0.AddDate(1, 0, 0)))
			n.refresh(t)
			w.resign()
			n.offers(t, w.files)
			n.refuses(t, trust.ErrRollback)

			w.rotateOnline()
			w.release("digits@2", "02", 0)
			n.damage(t, damaged)
			n.offers(t, w.files)
			n.refresh(t)
			n.has(t, "digits@2", "02")
			if v := n.Status().Timestamp; v >= far {
				t.Errorf("timestamp %d", v)
			}
		})
		t.Run("hub's and targets keys, damaged "+damaged, func(t *testing.T) {
			w := newWorld(t)
			w.release("digits@1", "01", 0)
			i := w.info()
			th := w.robHub()
			th.robDeveloper(w.dir, metadata.TARGETS, i.Targets.Keys[0])
			n := w.node()
			year := day0.AddDate(1, 0, 0)
			evil := th.list(metadata.TARGETS, far, "digits/1.wasm", "66", year)
			n.offers(t, th.forge(w.files, far, far, far, evil, year))
			n.refresh(t)
			n.has(t, "digits@1", "66") // who has both keys is the developer

			if err := w.online.Rotate(); err != nil {
				t.Fatal(err)
			}
			public := w.online.Public()
			w.change(must(w.keys.Rotate(trust.Rotation{NewTargets: true, Online: &public}))(t))
			n.damage(t, damaged)
			n.offers(t, w.files)
			n.refresh(t)
			n.has(t, "digits@1", "01")
		})
	}
}

// rotateOnline gives the hub new keys by a new root.
func (w *world) rotateOnline() {
	w.t.Helper()
	if err := w.online.Rotate(); err != nil {
		w.t.Fatal(err)
	}
	public := w.online.Public()
	w.change(must(w.keys.Rotate(trust.Rotation{Online: &public}))(w.t))
	if err := w.online.Prune(w.files); err != nil {
		w.t.Fatal(err)
	}
}

// damage tears a record of the node's store.
func (n *node) damage(t testing.TB, file string) {
	t.Helper()
	if file == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(n.dir, file), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.step(recordedStep{Do: "damage", Record: file, Verdict: "ok"})
}

// Forms that we never write are refused before anybody looks at signatures.
func TestHostileForms(t *testing.T) {
	w := newWorld(t)
	root := w.files["1.root.json"]
	other := newWorld(t).files["1.root.json"]
	keyID := func(b []byte) []byte {
		i := bytes.Index(b, []byte(`"keys": {`))
		return b[i+13 : i+13+64]
	}
	_, signature, _ := bytes.Cut(root, []byte(`"signatures": [`))
	signature, _, _ = bytes.Cut(signature, []byte("]"))
	for what, bad := range map[string][]byte{
		"a signature twice":              bytes.Replace(root, signature, append(append(bytes.Clone(signature), ','), signature...), 1),
		"a key under another's name":     bytes.ReplaceAll(root, keyID(root), keyID(other)),
		"more signatures than keys":      bytes.Replace(root, []byte(`"threshold": 1`), []byte(`"threshold": 2`), 1),
		"no signatures needed":           bytes.Replace(root, []byte(`"threshold": 1`), []byte(`"threshold": 0`), 1),
		"another kind of key":            bytes.Replace(root, []byte(`"scheme": "ed25519"`), []byte(`"scheme": "rsassa-pss-sha256"`), 1),
		"another type":                   bytes.Replace(root, []byte(`"_type": "root"`), []byte(`"_type": "targets"`), 1),
		"without consistent snapshots":   bytes.Replace(root, []byte(`"consistent_snapshot": true`), []byte(`"consistent_snapshot": false`), 1),
		"a version beyond the largest":   bytes.Replace(root, []byte(`"version": 1`), []byte(`"version": 1025`), 1),
		"a version that is not a number": bytes.Replace(root, []byte(`"version": 1`), []byte(`"version": 1.5`), 1),
		"a role too few":                 bytes.Replace(root, []byte(`"snapshot": {`), []byte(`"snapshop": {`), 1),
		"nothing":                        nil,
	} {
		if bytes.Equal(bad, root) {
			t.Fatalf("%s: nothing changed in\n%s", what, root)
		}
		o := trust.ClientOptions{Store: trust.DirStore(t.TempDir()), Root: bad}
		_, err := trust.OpenClient(o)
		recording.begin(t, o, err)
		if !errors.Is(err, trust.ErrTampered) {
			t.Errorf("%s: %v", what, err)
		}
	}

	th := w.robHub()
	th.robDeveloper(w.dir, metadata.TARGETS, w.info().Targets.Keys[0])
	m := metadata.Targets(day0.AddDate(1, 0, 0))
	m.Signed.Version = 2
	m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	if _, err := w.online.Accept(w.files, trust.Files{"2.targets.json": signedBy(th, metadata.TARGETS, m)}); !errors.Is(err, trust.ErrTampered) {
		t.Errorf("a delegation: %v", err)
	}
}

// go-tuf follows pointers that null sets, and Ed25519 panics on short keys; both stop at our readers.
func TestHostileDocumentsThatPanic(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	th, i, year := w.robHub(), w.info(), day0.AddDate(1, 0, 0)
	nullTarget := []byte(`{"signed":{"_type":"targets","version":9,"expires":"2027-01-01T00:00:00Z","targets":{"a/1.wasm":null}},"signatures":[]}`)
	noSnapshot := metadata.Timestamp(year)
	noSnapshot.Signed.Version = i.Timestamp.Version + 1
	delete(noSnapshot.Signed.Meta, "snapshot.json")
	for name, files := range map[string]trust.Files{
		"target is null":             th.forge(w.files, i.Timestamp.Version+1, i.Snapshot.Version+1, i.Targets.Version+1, nullTarget, year),
		"timestamp without snapshot": {trust.TimestampFile: signedBy(th, metadata.TIMESTAMP, noSnapshot)},
		"key is null":                {"2.root.json": []byte(`{"signed":{"_type":"root","version":2,"keys":{"a":null},"roles":{"root":null}},"signatures":[]}`)},
		"short key": {"2.root.json": bytes.Replace(w.files["1.root.json"],
			[]byte(`"public": "`), []byte(`"public": "00`), 1)},
		"deep": {"2.root.json": bytes.Repeat([]byte("["), 60000)},
	} {
		n := w.node()
		all := maps.Clone(w.files)
		maps.Copy(all, files)
		n.offers(t, all)
		if err := n.Refresh(context.Background()); !errors.Is(err, trust.ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
