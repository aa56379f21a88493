// Command rss measures what memory a device's process takes: the core application of examples/meter with
// its module, after 100 frames (700 calls and more), as Linux counts it.
//
//	cd eval && go run ./rss
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
)

// frames are enough for the garbage collector to find its pace.
const frames = 100

// goalMB is what a process with the meter's module may take.
const goalMB = 40

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "rss")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	app, cli := filepath.Join(dir, "app"), filepath.Join(dir, "isomer")
	for path, pkg := range map[string]string{app: "./examples/meter/app", cli: "./cmd/isomer"} {
		if err := do(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "module\tsettings\tRSS MB\thighest MB\tof it files MB")
	over := false
	for _, version := range []string{"1", "2"} {
		module := filepath.Join(dir, "digits-v"+version+".wasm")
		if err := do(ctx, cli, "build", "examples/meter/models/digits-v"+version+".onnx", "-o", module, "--name", "digits", "--version", version+".0.0",
			"--labels", "examples/meter/models/labels.txt", "--mean", "0.44,0.42,0.42", "--std", "0.26,0.25,0.25"); err != nil {
			return err
		}
		for _, settings := range []string{"", "GOMEMLIMIT=16MiB", "GOGC=25"} {
			s, err := measure(ctx, app, module, settings)
			if err != nil {
				return err
			}
			name := settings
			if name == "" {
				name = "none"
				over = over || s["VmRSS"] > goalMB
			}
			fmt.Fprintf(w, "digits-v%s\t%s\t%.1f\t%.1f\t%.1f\n", version, name, s["VmRSS"], s["VmHWM"], s["RssFile"])
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if over {
		return fmt.Errorf("above the goal of %d MB", goalMB)
	}
	return nil
}

// do runs a command in the repository's root.
func do(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// measure runs the application until it has read the frames, and returns what the kernel says of it.
func measure(ctx context.Context, app, module, settings string) (map[string]float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, app, "-module", module, "-rate", "100")
	if settings != "" {
		cmd.Env = append(os.Environ(), settings)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	for n := 0; n < frames; n++ {
		if !lines.Scan() {
			return nil, fmt.Errorf("%s ended after %d frames: %w", cmd, n, cmd.Wait())
		}
	}
	s, err := status(cmd.Process.Pid)
	stop()
	_, _ = io.Copy(io.Discard, stdout)
	_ = cmd.Wait() // killed
	return s, err
}

// status is the memory lines of /proc/PID/status in MB of 10^6 bytes.
func status(pid int) (map[string]float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 2 && fields[1] == "kB" { // KiB, as everywhere in /proc
			n, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out[name] = n * 1024 / 1e6
		}
	}
	return out, nil
}
