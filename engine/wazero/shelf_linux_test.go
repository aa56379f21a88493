package wazero_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const fullDisk = "ISOMER_TEST_FULL"

// TestCacheOnAFullDisk runs a process that may write files of no more than 100 bytes: an error in the middle
// of a file, as on a disk that is full.
func TestCacheOnAFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDisk); dir != "" {
		limit := syscall.Rlimit{Cur: 100, Max: 100}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		callCached(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestCacheOnAFullDisk$")
	cmd.Env = append(os.Environ(), fullDisk+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := len(cached(t, dir)); n != 0 {
		t.Errorf("%d files are left", n)
	}
	callCached(t, dir)
}
