// Package systemd tells a service manager how a process is, over NOTIFY_SOCKET. Use it in commands that a unit with
// Type=notify starts; where there is no such socket every function does nothing.
package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notify sends lines such as "READY=1" and "STATUS=…". A socket whose name begins with "@" is an abstract one.
func Notify(lines ...string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer c.Close()
	for i, l := range lines { // a status is one line, whatever it quotes
		lines[i] = strings.ReplaceAll(l, "\n", " ")
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return err
}

// Watchdog is how often the manager wants to hear from this process; 0: it does not, or another process is meant.
func Watchdog() time.Duration {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// Serve says that the process is ready, and until ctx ends that it lives, as long as healthy says so within half the
// watchdog's time: a process that hangs goes silent and is started again. status is shown by systemctl status.
func Serve(ctx context.Context, status func() string, healthy func(context.Context) error) {
	_ = Notify("READY=1", "STATUS="+status()) // without the manager's ear nothing can be done about it
	defer func() { _ = Notify("STOPPING=1", "STATUS=stopping") }()
	every := Watchdog() / 3
	tell := every > 0
	if !tell {
		every = 30 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, every)
		err := ask(try, healthy)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			_ = Notify("STATUS=not healthy: " + err.Error())
		case tell:
			_ = Notify("WATCHDOG=1", "STATUS="+status())
		default:
			_ = Notify("STATUS=" + status())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask returns when ctx ends even where the work that is asked hangs.
func ask(ctx context.Context, healthy func(context.Context) error) error {
	answer := make(chan error, 1)
	go func() { answer <- healthy(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
