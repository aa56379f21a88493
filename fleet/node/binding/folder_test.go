package binding_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
)

// put writes a file in the folder as a camera does: open, write, close.
func (r *rig) put(name, body string) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "files", "in", name), []byte(body), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) files(below string) []string {
	r.Helper()
	entries, err := os.ReadDir(filepath.Join(r.dir, "files", below))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names
}

// watch binds the folder and waits until it is there.
func (r *rig) watch(b fleet.Binding) {
	r.Helper()
	b.Name, b.Folder, b.Call = "b", "in", "read"
	if err := os.MkdirAll(filepath.Join(r.dir, "files", "in"), 0o755); err != nil {
		r.Fatal(err)
	}
	r.bind(b)
}

func TestAFolderFeedsAFunction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, heard := r.hear("meters.dev1.>")
	r.watch(fleet.Binding{Publish: "meters.{node}.x", File: "out/{name}.json"})
	for i := range 5 { // one after the other, each as soon as it is closed
		r.put(fmt.Sprintf("f%d.jpg", i), fmt.Sprint(i))
		if m := next(t, heard); string(m.Data) != fmt.Sprint("read:", i) {
			t.Fatalf("%s comes where %d was due", m.Data, i)
		}
	}
	wait(t, "an empty folder", func() bool { return len(r.files("in")) == 0 })
	if got := r.files("out"); !slices.Equal(got, []string{"f0.json", "f1.json", "f2.json", "f3.json", "f4.json"}) {
		t.Errorf("written: %v", got)
	}
	if got := r.report("b"); got.Received != 5 || got.Answered != 5 || got.Problem != "" {
		t.Errorf("%+v", got)
	}
}

func TestHalfWrittenFilesWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, heard := r.hear("meters.dev1.>")
	r.watch(fleet.Binding{Publish: "meters.{node}.x"})
	for _, name := range []string{".hidden", "frame.tmp", "frame.part"} {
		r.put(name, "no")
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(r.dir, "files", "in", "link")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(r.dir, "files", "in", "slow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("first "); err != nil {
		t.Fatal(err)
	}
	r.put("quick", "quick")
	if m := next(t, heard); string(m.Data) != "read:quick" {
		t.Errorf("%s", m.Data)
	}
	if _, err := f.WriteString("second"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); string(m.Data) != "read:first second" {
		t.Errorf("%s", m.Data)
	}
	// A name at its end, as programs that write with care give it.
	if err := os.Rename(filepath.Join(r.dir, "files", "in", "frame.tmp"), filepath.Join(r.dir, "files", "in", "frame")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard); string(m.Data) != "read:no" {
		t.Errorf("%s", m.Data)
	}
	wait(t, "only what is not for it", func() bool { return slices.Equal(r.files("in"), []string{".hidden", "frame.part"}) })
}

func TestEachFileOnceOverRestarts(t *testing.T) {
	t.Parallel()
	for _, done := range []string{"", fleet.DoneMove, fleet.DoneMark} {
		r := newRig(t)
		if err := os.MkdirAll(filepath.Join(r.dir, "files", "in"), 0o755); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("%02d", i)
			want = append(want, name)
			r.put(name, name)
			if err := os.Chtimes(filepath.Join(r.dir, "files", "in", name), old, old.Add(time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		for restarts := 0; len(r.called()) < len(want); restarts++ {
			before := len(r.called())
			r.watch(fleet.Binding{Done: done})
			wait(t, "some files", func() bool { return len(r.called()) > before })
			r.Close() // in the middle of them
			r.open()
			r.Connect(r.nc)
		}
		r.watch(fleet.Binding{Done: done})
		r.put("last", "last")
		wait(t, "the last", func() bool { return slices.Contains(r.called(), "last") })
		if got := r.called(); !slices.Equal(got, append(want, "last")) {
			t.Errorf("%q: called with %v", done, got)
		}
		switch done {
		case fleet.DoneMark:
			if got := r.files("in"); len(got) != 21 {
				t.Errorf("left: %v", got)
			}
		case fleet.DoneMove:
			wait(t, "all in done", func() bool { return len(r.files("in/done")) == 21 && len(r.files("in")) == 0 })
		default:
			wait(t, "none left", func() bool { return len(r.files("in")) == 0 })
		}
	}
}

func TestFilesThatFailAreSetAside(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, heard := r.hear("tele.dev1.dead.>")
	r.answers(func(_, _, body string) (string, error) {
		if strings.HasPrefix(body, "bad") {
			return "", &isomer.AppError{Message: "no meter in the picture"}
		}
		return body, nil
	})
	r.watch(fleet.Binding{})
	r.put("a", "bad")
	var l fleet.DeadLetter
	if err := json.Unmarshal(next(t, heard).Data, &l); err != nil || !strings.HasSuffix(l.From, "in/a") || string(l.Body) != "bad" {
		t.Errorf("%+v (%v)", l, err)
	}
	wait(t, "it in failed", func() bool { return slices.Equal(r.files("in/failed"), []string{"a"}) })
	// One that is too large is not read at all.
	big, err := os.Create(filepath.Join(r.dir, "files", "in", "big"))
	if err == nil {
		err = errors.Join(big.Truncate(33<<20), big.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(next(t, heard).Data, &l); err != nil || !strings.HasSuffix(l.From, "in/big") {
		t.Errorf("%+v (%v)", l, err)
	}
	wait(t, "both in failed", func() bool { return slices.Equal(r.files("in/failed"), []string{"a", "big"}) })
}

func TestAFolderThatGoesAwayComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.watch(fleet.Binding{})
	r.put("a", "a")
	wait(t, "a", func() bool { return slices.Contains(r.called(), "a") && len(r.files("in")) == 0 })
	if err := os.RemoveAll(filepath.Join(r.dir, "files")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the folder", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "files", "in"))
		return err == nil
	})
	r.put("b", "b")
	wait(t, "b", func() bool { return slices.Contains(r.called(), "b") })
}
