package isomer_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/isomer-iot/isomer"
)

// insideEnv tells a test that it runs in namespaces of its own.
const insideEnv = "ISOMER_TEST_INSIDE"

// inside runs the test t once more in new user and mount namespaces, where it may lower limits and mount
// without touching the machine. It reports whether this is that run.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		return true
	}
	exe, err := os.Executable()
	must(t, err)
	c := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), insideEnv+"="+t.Name())
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if errors.As(err, new(*exec.ExitError)) || err == nil {
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("inside: %v\n%s", err, out)
		}
		return false
	}
	t.Skipf("user namespaces are not to be had here, so that limits cannot be met for real: %v", err)
	return false
}

func limit(t *testing.T, name, value string) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/user/"+name, []byte(value), 0))
}

// TestInotifyLimits meets the real limits: no instance of inotify is to be had, or no watch. The file is
// polled, the event says why, and events are used again when they can be had.
func TestInotifyLimits(t *testing.T) {
	if !inside(t) {
		return
	}
	for name, text := range map[string]string{"max_inotify_instances": "too many open files", "max_inotify_watches": "no space left"} {
		t.Run(name, func(t *testing.T) {
			limit(t, name, "0")
			path := filepath.Join(t.TempDir(), "m.wasm")
			write(t, path, guest("1"))
			m, events := openFile(t, path)
			if e := events.wait(t, isomer.Polling); e.Err == nil || !strings.Contains(e.Err.Error(), text) {
				t.Errorf("event %+v", e)
			}
			replace(t, path, guest("2"))
			waitVersion(t, m, events, "2")
			write(t, path, guest("3"))
			waitVersion(t, m, events, "3")
			limit(t, name, "1000")
			replace(t, path, guest("4"))
			waitVersion(t, m, events, "4")
		})
	}
}

// TestHistoryOnAFullDisk has a file system with room for the module and no more.
func TestHistoryOnAFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	disk := t.TempDir()
	must(t, syscall.Mount("none", disk, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { must(t, syscall.Unmount(disk, syscall.MNT_DETACH)) })
	path, dir := filepath.Join(t.TempDir(), "m.wasm"), filepath.Join(disk, "history")
	write(t, path, guest("1"))
	m, events := restart(t, path, dir)
	write(t, filepath.Join(disk, "filler"), make([]byte, 48<<10)) // room for the index, not for a module
	if err := os.WriteFile(filepath.Join(disk, "more"), make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	replace(t, path, guest("2"))
	waitVersion(t, m, events, "2")
	if e := events.wait(t, isomer.HistoryFailed); !errors.Is(e.Err, syscall.ENOSPC) {
		t.Errorf("event %+v", e)
	}
	if s := m.Stats(); s.Swaps != 1 || s.Refused != 0 {
		t.Errorf("stats %+v", s)
	}
	must(t, m.Close())
	modulesIn(t, dir) // nothing half written is left
	must(t, os.Remove(filepath.Join(disk, "filler")))
	must(t, os.Remove(filepath.Join(disk, "more")))
	m, _ = restart(t, path, dir)
	if got := version(t, m); got != "2" {
		t.Errorf("version %s", got)
	}
	must(t, m.Rollback(t.Context()))
	if got := version(t, m); got != "1" {
		t.Errorf("version %s: what was written before the disk filled is still there", got)
	}
}
