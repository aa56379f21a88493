package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/disk/disktest"
)

// crashes runs change on a recorded copy of what prepare makes and check on each state that a power cut may leave;
// done is whether all changes had been made.
func crashes(t *testing.T, prepare func(dir string) error, change func(f disk.FS, dir string) error, check func(t *testing.T, dir string, done bool)) {
	t.Helper()
	dir := t.TempDir()
	if prepare != nil {
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
	}
	r, err := disktest.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := change(r, dir); err != nil {
		t.Fatal(err)
	}
	states := 0
	for step := range r.Steps() + 1 {
		for _, c := range r.Crashes(step, 8) {
			at := filepath.Join(t.TempDir(), "state")
			if err := r.Restore(c, at); err != nil {
				t.Fatal(err)
			}
			check(t, at, step == r.Steps())
			if t.Failed() {
				t.Fatalf("%v, after %s", c, r.What(step))
			}
			states++
		}
	}
	t.Logf("%d changes, %d states", r.Steps(), states)
}

func TestWriteSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	crashes(t,
		func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("old"), 0o600) },
		func(f disk.FS, dir string) error {
			return disk.Write(f, filepath.Join(dir, "f"), []byte("new one"), 0o600)
		},
		func(t *testing.T, dir string, done bool) {
			b, err := os.ReadFile(filepath.Join(dir, "f"))
			if err != nil || string(b) != "new one" && (done || string(b) != "old") {
				t.Errorf("%q (%v)", b, err)
			}
		})
}

func TestLinkSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	crashes(t,
		func(dir string) error { return os.Symlink("old", filepath.Join(dir, "l")) },
		func(f disk.FS, dir string) error { return disk.Link(f, "new", filepath.Join(dir, "l")) },
		func(t *testing.T, dir string, done bool) {
			to, err := os.Readlink(filepath.Join(dir, "l"))
			if err != nil || to != "new" && (done || to != "old") {
				t.Errorf("%q (%v)", to, err)
			}
		})
}

func TestFoldersSurviveAPowerCut(t *testing.T) {
	t.Parallel()
	crashes(t, nil,
		func(f disk.FS, dir string) error {
			if err := disk.MkdirAll(f, filepath.Join(dir, "a", "b"), 0o755); err != nil {
				return err
			}
			return disk.Write(f, filepath.Join(dir, "a", "b", "f"), []byte("x"), 0o600)
		},
		func(t *testing.T, dir string, done bool) {
			b, err := os.ReadFile(filepath.Join(dir, "a", "b", "f"))
			if done && string(b) != "x" || err == nil && string(b) != "x" {
				t.Errorf("%q (%v)", b, err)
			}
		})
	crashes(t,
		func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.WriteFile(filepath.Join(dir, "a", "f"), nil, 0o600))
		},
		func(f disk.FS, dir string) error { return disk.RemoveAll(f, filepath.Join(dir, "a")) },
		func(t *testing.T, dir string, done bool) {
			if _, err := os.Stat(filepath.Join(dir, "a")); done && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there (%v)", err)
			}
		})
}

// TestTheModelCatches writes as one must not, and wants the recorder to show why.
func TestTheModelCatches(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f disk.FS, dir string) error{
		"in place": func(f disk.FS, dir string) error {
			file, err := f.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			_, err = file.Write([]byte("new"))
			return errors.Join(err, file.Sync(), file.Close())
		},
		"renamed before its bytes are there": func(f disk.FS, dir string) error {
			file, err := f.OpenFile(filepath.Join(dir, "g"), os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			_, err = file.Write([]byte("new"))
			return errors.Join(err, file.Close(), f.Rename(filepath.Join(dir, "g"), filepath.Join(dir, "f")), f.SyncDir(dir))
		},
		"folder not synced": func(f disk.FS, dir string) error {
			file, err := f.OpenFile(filepath.Join(dir, "g"), os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			_, err = file.Write([]byte("new"))
			return errors.Join(err, file.Sync(), file.Close(), f.Rename(filepath.Join(dir, "g"), filepath.Join(dir, "f")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := disktest.NewRecorder(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(r, dir); err != nil {
				t.Fatal(err)
			}
			for step := range r.Steps() + 1 {
				for _, c := range r.Crashes(step, 0) {
					at := filepath.Join(t.TempDir(), "state")
					if err := r.Restore(c, at); err != nil {
						t.Fatal(err)
					}
					b, _ := os.ReadFile(filepath.Join(at, "f"))
					if string(b) != "new" && (string(b) != "old" || step == r.Steps()) {
						return // caught
					}
				}
			}
			t.Error("no state shows the mistake")
		})
	}
}

func TestAFullDiskKeepsTheOld(t *testing.T) {
	t.Parallel()
	for after := range 6 {
		dir := t.TempDir()
		path, old := filepath.Join(dir, "f"), filepath.Join(dir, "l")
		f := &disktest.Failing{}
		if err := errors.Join(disk.Write(f, path, []byte("old"), 0o600), disk.Link(f, "old", old)); err != nil {
			t.Fatal(err)
		}
		f.Fail(syscall.ENOSPC, after)
		err := disk.Write(f, path, []byte("new"), 0o600)
		b, _ := os.ReadFile(path)
		if string(b) != "old" && string(b) != "new" || err == nil && string(b) != "new" || err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("full after %d changes: %q (%v)", after, b, err)
		}
		f.Fail(syscall.ENOSPC, after)
		err = disk.Link(f, "new", old)
		to, _ := os.Readlink(old)
		if to != "old" && to != "new" || err == nil && to != "new" || err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("full after %d changes: link %q (%v)", after, to, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 2 {
			t.Errorf("full after %d changes: it leaves %v", after, entries)
		}
	}
}
