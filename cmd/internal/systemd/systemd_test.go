package systemd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/cmd/internal/systemd"
)

// manager is the socket that a service manager listens on.
func manager(t *testing.T, name string) func(want string) {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func(want string) {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(time.Minute))
		for b := make([]byte, 4096); ; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%s does not come: %v", want, err)
			}
			if strings.Contains("\n"+string(b[:n])+"\n", "\n"+want+"\n") {
				return
			}
		}
	}
}

func TestTheManagerHears(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no service manager with such sockets here")
	}
	for kind, name := range map[string]string{"file": filepath.Join(t.TempDir(), "notify"), "abstract": fmt.Sprintf("@isomer-test-%d", os.Getpid())} {
		t.Run(kind, func(t *testing.T) {
			heard := manager(t, name)
			t.Setenv("WATCHDOG_USEC", "30000")
			t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
			var sick, hangs atomic.Bool
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				systemd.Serve(ctx, func() string { return "two\nlines" }, func(ctx context.Context) error {
					if hangs.Load() {
						select {} // for good, whatever ctx says
					}
					if sick.Load() {
						return errors.New("ill")
					}
					return nil
				})
			}()
			heard("READY=1")
			heard("STATUS=two lines")
			heard("WATCHDOG=1")
			sick.Store(true)
			heard("STATUS=not healthy: ill")
			sick.Store(false)
			heard("WATCHDOG=1")
			hangs.Store(true)
			heard("STATUS=not healthy: context deadline exceeded")
			stop()
			heard("STOPPING=1")
			<-done
		})
	}
}

func TestWithoutAManagerNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := systemd.Notify("READY=1"); err != nil || systemd.Watchdog() != 0 {
		t.Error(err, systemd.Watchdog())
	}
	for _, v := range []string{"-1", "x", "99999999999999999999", "9999999999999999"} {
		t.Setenv("WATCHDOG_USEC", v)
		if systemd.Watchdog() != 0 {
			t.Errorf("a watchdog of %s µs", v)
		}
	}
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "1")
	if systemd.Watchdog() != 0 {
		t.Error("another process is meant")
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := systemd.Notify("READY=1"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

func TestTheUnitsAreWellFormed(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: the unit files are not checked")
	}
	units, err := filepath.Glob("../../../deploy/systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatal(units, err)
	}
	for _, u := range units {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		// The command need not be installed here.
		here := filepath.Join(t.TempDir(), filepath.Base(u))
		text := strings.NewReplacer("/usr/local/bin/isomer-node", "/bin/true", "/usr/local/bin/isomer", "/bin/true").Replace(string(b))
		if err := os.WriteFile(here, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(verify, "verify", "--man=no", here).CombinedOutput(); err != nil || strings.Contains(string(out), filepath.Base(u)) {
			t.Errorf("%s: %v\n%s", u, err, out)
		}
	}
}
