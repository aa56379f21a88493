package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestAcceptRefuses(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	other := newWorld(t)
	other.release("digits@1", "66", 0)
	other.change(must(other.keys.Renew(true, false))(t))
	i := w.info()
	th, year := w.robHub(), day0.AddDate(1, 0, 0)
	dev := w.robHub()
	dev.robDeveloper(w.dir, metadata.TARGETS, i.Targets.Keys[0])

	next := must(w.keys.AddTarget(ref(t, "digits@2"), digest("02"), 1000, 0))(t)
	root := must(w.keys.Renew(true, false))(t)
	rotated := must(w.keys.Rotate(trust.Rotation{NewTargets: true}))(t)
	elsewhere := must(trust.NewOnline())(t).Public()
	alien := must(w.keys.Rotate(trust.Rotation{Online: &elsewhere}))(t)
	targets := func(v int64) string { return fmt.Sprintf("%d.targets.json", v) }
	have := i.Targets.Version
	evil := func(role string, version int64, path, d string, expires time.Time) trust.Files {
		return trust.Files{targets(have + 1): dev.list(role, version, path, d, expires)}
	}
	ahead := must(trust.OpenKeys(w.dir, trust.KeysOptions{Now: func() time.Time { return day0.AddDate(3, 0, 0) }}))(t)

	for _, tt := range []struct {
		name   string
		upload trust.Files
		want   error
	}{
		{"nobody's file", trust.Files{"../../etc/passwd": nil}, trust.ErrTampered},
		{"a name with a zero", trust.Files{"03.targets.json": next.Files[targets(have+1)]}, trust.ErrTampered},
		{"a timestamp", trust.Files{trust.TimestampFile: w.files[trust.TimestampFile]}, trust.ErrTampered},
		{"a snapshot", trust.Files{"9.snapshot.json": []byte("{}")}, trust.ErrTampered},
		{"too large a root", trust.Files{"2.root.json": make([]byte, trust.MaxRoot+1)}, trust.ErrTampered},
		{"no JSON", trust.Files{targets(have + 1): []byte("{")}, trust.ErrTampered},
		{"an older list", trust.Files{targets(1): []byte("{}")}, trust.ErrRollback},
		{"another list of this version", trust.Files{targets(have): evil(metadata.TARGETS, have, "digits/1.wasm", "66", year)[targets(have+1)]}, trust.ErrConflict},
		{"a list under a later number", trust.Files{targets(have + 2): next.Files[targets(have+1)]}, trust.ErrTampered},
		{"two lists", trust.Files{targets(have + 1): next.Files[targets(have+1)], targets(have + 2): next.Files[targets(have+1)]}, trust.ErrConflict},
		{"a list under another number", evil(metadata.TARGETS, have+7, "digits/1.wasm", "66", year), trust.ErrTampered},
		{"an expired list", evil(metadata.TARGETS, have+1, "digits/1.wasm", "66", day0.AddDate(-1, 0, 0)), trust.ErrExpired},
		{"a path that leaves", evil(metadata.TARGETS, have+1, "../x/1.wasm", "66", year), trust.ErrTampered},
		{"a list signed by the hub", trust.Files{targets(have + 1): th.list(metadata.SNAPSHOT, have+1, "digits/1.wasm", "66", year)}, trust.ErrUnsigned},
		{"a changed list", trust.Files{targets(have + 1): bytes.Replace(next.Files[targets(have+1)], []byte(`"length": 1000`), []byte(`"length": 1001`), 1)}, trust.ErrUnsigned},
		{"another developer's list", trust.Files{targets(have + 1): other.files[targets(2)]}, trust.ErrTampered}, // says version 2
		{"another developer's root", trust.Files{"2.root.json": other.files["2.root.json"]}, trust.ErrUnsigned},
		{"another first root", trust.Files{"1.root.json": other.files["1.root.json"]}, trust.ErrRollback},
		{"a root too far ahead", trust.Files{"3.root.json": root.Files["2.root.json"]}, trust.ErrConflict},
		{"a root under another number", trust.Files{"2.root.json": w.files["1.root.json"]}, trust.ErrRollback},
		{"new targets keys without a new list", trust.Files{"2.root.json": rotated.Files["2.root.json"]}, trust.ErrUnsigned},
		{"a list by keys that are not in yet", trust.Files{targets(have + 1): rotated.Files[targets(have+1)]}, trust.ErrUnsigned},
		{"a root for another hub", alien.Files, trust.ErrConflict},
		{"signed in the future", must(ahead.AddTarget(ref(t, "digits@3"), digest("03"), 1, 0))(t).Files, trust.ErrConflict},
	} {
		before := maps.Clone(w.files)
		got, err := w.online.Accept(w.files, tt.upload)
		if !errors.Is(err, tt.want) || got != nil {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
		if !maps.EqualFunc(before, w.files, bytes.Equal) {
			t.Fatalf("%s: the present files were changed", tt.name)
		}
	}

	empty := must(trust.NewOnline())(t)
	for _, tt := range []struct {
		name   string
		upload trust.Files
	}{
		{"first of all: no root", next.Files},
		{"first of all: no list", trust.Files{"1.root.json": w.files["1.root.json"]}},
		{"first of all: for another hub", must(w.keys, nil)(t).Files()},
	} {
		if _, err := empty.Accept(nil, tt.upload); !errors.Is(err, trust.ErrConflict) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
	w.clock.set(day0.AddDate(3, 0, 0))
	if _, err := w.online.Accept(w.files, root.Files); !errors.Is(err, trust.ErrExpired) {
		t.Errorf("an expired root: %v", err)
	}
}

func TestAcceptAgain(t *testing.T) {
	w := newWorld(t)
	c := must(w.keys.AddTarget(ref(t, "digits@1"), digest("01"), 1000, 0))(t)
	w.clock.pass(time.Minute)
	once := must(w.online.Accept(w.files, c.Files))(t)
	twice := must(w.online.Accept(once, c.Files))(t)
	if !maps.EqualFunc(once, twice, bytes.Equal) {
		t.Error("an upload that is repeated changes something")
	}
}

func TestResign(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	n := w.node()
	first := w.info()
	if life := first.Timestamp.Expires.Sub(w.clock.now()); life != trust.TimestampLife {
		t.Errorf("a timestamp lives for %s", life)
	}
	for range 70 { // days
		w.clock.pass(24*time.Hour - trust.ResignEvery)
		w.resign()
		n.clock.set(w.clock.now())
	}
	n.refresh(t)
	n.has(t, "digits@1", "01")
	last := w.info()
	if last.Snapshot.Version == first.Snapshot.Version || last.Snapshot.Expires.Before(last.Timestamp.Expires) {
		t.Errorf("the snapshot is not renewed before the timestamp outlives it: %+v, %+v", last.Snapshot, last.Timestamp)
	}
	if len(w.files) > 6 {
		t.Errorf("%d files are kept: %v", len(w.files), w.files.Order())
	}
	// Two publishes within one second still have two versions.
	again := must(w.online.Resign(must(w.online.Resign(w.files))(t)))(t)
	if v := must(again.Inspect())(t).Timestamp.Version; v != last.Timestamp.Version+2 {
		t.Errorf("version %d after %d", v, last.Timestamp.Version)
	}
}

// A hub that is restored from a backup, or from what the developer has, signs nothing that nodes have seen.
func TestHubRestored(t *testing.T) {
	w := newWorld(t)
	w.release("digits@1", "01", 0)
	backup := w.files
	for range 5 {
		w.resign()
	}
	n := w.node()
	n.refresh(t)
	w.clock.pass(time.Minute)

	w.files = must(w.online.Resign(backup))(t)
	n.refresh(t)

	w.online = must(trust.ParseOnline(must(w.online.Encode())(t)))(t)
	w.online.Now = w.clock.now
	w.clock.pass(time.Minute)
	w.files = must(w.online.Accept(nil, w.keys.Files()))(t)
	w.release("digits@2", "02", 0)
	n.refresh(t)
	n.has(t, "digits@2", "02")

	// The developer's copy is several lists ahead of a backup, and follows it.
	w.release("digits@3", "03", 0)
	n.refresh(t)
	w.clock.pass(time.Minute)
	w.files = must(w.online.Accept(backup, w.keys.Files()))(t)
	n.refresh(t)
	n.has(t, "digits@3", "03")
}

func TestOnlineKeys(t *testing.T) {
	o := must(trust.NewOnline())(t)
	back := must(trust.ParseOnline(must(o.Encode())(t)))(t)
	if back.Public() != o.Public() || o.Public().Snapshot == o.Public().Timestamp {
		t.Errorf("%+v, %+v", back.Public(), o.Public())
	}
	for _, bad := range []string{"", "[]", "{}", `[{"snapshot":"aa","timestamp":"aa"}]`} {
		if _, err := trust.ParseOnline([]byte(bad)); !errors.Is(err, trust.ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for range 20 {
		if err := o.Rotate(); err != nil {
			if !errors.Is(err, trust.ErrKey) {
				t.Error(err)
			}
			return
		}
	}
	t.Error("pairs of keys without end")
}
