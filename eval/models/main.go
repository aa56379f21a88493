// Command models measures compiled networks beside ONNX Runtime: ours in V8, wasmtime and wazero, ONNX Runtime Web
// (WebAssembly, SIMD) and native ONNX Runtime, all on one thread, in turns, on the same inputs, with the results compared.
//
//	cd eval && (cd models/peers && npm install --ignore-scripts --no-package-lock) && go run -tags wasmtime ./models
//
// It needs the models of ../shared/data (or ISOMER_DATA), Python with onnx and numpy for the networks that it
// generates, Node.js with the packages above for V8 and the peers, and a C compiler for wasmtime. What is not there
// is said and left out. --only, --who and --runs make it shorter.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	data, peers, models, python, json, cold string
	only, who                               *regexp.Regexp
	runs, round                             int
	warm                                    time.Duration
}

func flags(args []string, stderr io.Writer) (settings, error) {
	var s settings
	data := os.Getenv("ISOMER_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "shared", "data")
	}
	set := flag.NewFlagSet("models", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&s.data, "data", data, "folder of models and photos")
	set.StringVar(&s.peers, "peers", filepath.Join("models", "peers"), "folder of run.mjs and its node_modules")
	set.StringVar(&s.models, "models", "", "folder that keeps generated models (default: made and removed)")
	set.StringVar(&s.python, "python", "python3", "Python with onnx and numpy")
	set.StringVar(&s.json, "json", "", "file for all figures")
	only := set.String("only", "", "groups and networks to measure, a regular expression: mobilenetv2, resnet50, efficientnet-lite0, yolo, transformer, scale, module")
	who := set.String("who", "", "contestants that run, a regular expression: wazero, wasmtime, V8, onnxruntime-web, onnxruntime-node")
	set.IntVar(&s.runs, "runs", 60, "runs of each contestant after warm-up")
	set.IntVar(&s.round, "round", 5, "runs of one contestant before the next one's turn")
	set.DurationVar(&s.warm, "warm", 1500*time.Millisecond, "least time of warm-up; at least 5 runs")
	set.StringVar(&s.cold, "cold", "", "load this module in wazero, print the milliseconds and end")
	if err := set.Parse(args); err != nil {
		return s, err
	}
	var err error
	if s.only, err = regexp.Compile(*only); err != nil {
		return s, fmt.Errorf("--only: %w", err)
	}
	if s.who, err = regexp.Compile(*who); err != nil {
		return s, fmt.Errorf("--who: %w", err)
	}
	if s.runs < 1 || s.round < 1 {
		return s, fmt.Errorf("--runs and --round must be at least 1, got %d and %d", s.runs, s.round)
	}
	return s, nil
}

// report is everything that was measured.
type report struct {
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Races    []*race           `json:"races,omitempty"`
	Scale    []*scaling        `json:"scale,omitempty"`
	Module   *moduleFigures    `json:"module,omitempty"`
	LeftOut  []string          `json:"left_out,omitempty"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := flags(args, stderr)
	if err != nil {
		return err
	}
	if s.cold != "" {
		return cold(ctx, s.cold, stdout)
	}
	h, err := newHarness(s, stderr)
	if err != nil {
		return err
	}
	defer h.close()
	rep := &report{Machine: machine(), Versions: h.versions}
	defer func() { rep.LeftOut = h.leftOut }()
	if err := h.measure(ctx, rep, stdout); err != nil {
		return err
	}
	if rep.LeftOut = h.leftOut; len(rep.Races)+len(rep.Scale) == 0 && rep.Module == nil {
		return fmt.Errorf("nothing was measured: %s", strings.Join(h.leftOut, "; "))
	}
	if s.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(rep, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.json, append(b, '\n'), 0o666)
}

// measure runs what is asked for, and prints each table when it is complete.
func (h *harness) measure(ctx context.Context, rep *report, out io.Writer) error {
	fmt.Fprintf(out, "%s; %s\n\n", rep.Machine, join(h.versions))
	for _, n := range h.networks() {
		if !h.only.MatchString(n.group) {
			continue
		}
		r, err := h.race(ctx, n)
		if err != nil {
			return fmt.Errorf("%s: %w", n.group, err)
		}
		if r != nil {
			rep.Races = append(rep.Races, r)
			r.print(out)
		}
	}
	rep.printGoals(out)
	if h.only.MatchString("scale") {
		if err := h.scale(ctx, rep, out); err != nil {
			return fmt.Errorf("scale: %w", err)
		}
	}
	if h.only.MatchString("module") {
		m, err := h.module(ctx)
		if err != nil {
			return fmt.Errorf("module: %w", err)
		}
		if rep.Module = m; m != nil {
			m.print(out)
		}
	}
	return nil
}

func machine() string {
	name := runtime.GOARCH
	b, _ := os.ReadFile("/proc/cpuinfo") // other systems: the architecture
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			name = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%s, %d cores, %s, %s", name, runtime.NumCPU(), runtime.GOOS, runtime.Version())
}
