// Command app is a complete core application: it takes camera frames, has the module read the meter
// and prints one JSON line a reading. The module's file may be replaced while it runs; the next frame
// is then read by the new version.
//
//	go run ./examples/meter/app -module digits.wasm -rate 20
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/examples/meter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	if h, ok := errors.AsType[*hinted](err); ok {
		fmt.Fprintln(os.Stderr, "hint:", h.hint)
		os.Exit(h.exit)
	}
	os.Exit(1)
}

// hinted is an error with advice and the process's exit status.
type hinted struct {
	error
	hint string
	exit int
}

func (h *hinted) Unwrap() error { return h.error }

func usage(format string, args ...any) error {
	return &hinted{error: fmt.Errorf(format, args...), hint: "run it with -help", exit: 2}
}

type settings struct {
	module   string
	frames   string
	function string
	rate     float64
	count    int
}

// parse reads the flags; for -help it prints them and returns flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	set := flag.NewFlagSet("app", flag.ContinueOnError)
	set.SetOutput(io.Discard) // or a wrong flag would be answered with two messages
	set.StringVar(&s.module, "module", "", "`file` of the module; kept current when it changes")
	set.StringVar(&s.frames, "frames", "", "`folder` with meter.json and its frames (default: the frames of the demo)")
	set.StringVar(&s.function, "function", "classify", "the module's function that takes a drum's picture")
	set.Float64Var(&s.rate, "rate", 2, "frames a second; fewer where a reading takes longer")
	set.IntVar(&s.count, "count", 0, "stop after so many frames (default: run until interrupted)")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		set.SetOutput(stdout)
		fmt.Fprint(stdout, "Reads a utility meter from camera frames; prints one JSON line a reading.\n\nusage: app -module digits.wasm [flags]\n\n")
		set.PrintDefaults()
		return s, err
	} else if err != nil {
		return s, usage("%w", err)
	}
	switch {
	case set.NArg() > 0:
		return s, usage("argument %q is not a flag", set.Arg(0))
	case s.module == "":
		return s, usage("-module is missing")
	case !(s.rate > 0 && s.rate <= 1000):
		return s, usage("-rate is %v, must be above 0 and at most 1000", s.rate)
	case s.count < 0:
		return s, usage("-count is %d", s.count)
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout)
	if err != nil {
		return err
	}
	watched, err := load(s.frames)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	module, err := isomer.Open(ctx, s.module, isomer.WithLogger(logger))
	if errors.Is(err, fs.ErrNotExist) {
		return &hinted{error: err, hint: `make the file with "isomer build", or check the path`, exit: 1}
	}
	if err != nil {
		return err
	}
	defer module.Close()
	a := app{
		module: module,
		reader: meter.Reader{Module: module, Function: s.function, Regions: watched.Regions, Decimals: watched.Decimals},
		meter:  watched,
		out:    json.NewEncoder(stdout),
		log:    logger,
	}
	a.loop(ctx, time.Duration(float64(time.Second)/s.rate), s.count)
	logger.Info("stopped", "readings", a.readings, "failed", a.failed, "wrong", a.wrong)
	return a.broken
}

func load(folder string) (*meter.Meter, error) {
	if folder == "" {
		return meter.Demo()
	}
	m, err := meter.Load(os.DirFS(folder))
	if err != nil {
		return nil, &hinted{
			error: fmt.Errorf("folder %s: %w", folder, err),
			hint:  "give a folder like examples/meter/frames: meter.json and the PNG files that it lists", exit: 1,
		}
	}
	return m, nil
}

// line is what one reading prints.
type line struct {
	Frame string `json:"frame"`
	meter.Reading
	Unit    string  `json:"unit,omitempty"`
	Module  string  `json:"module"` // the version that serves when the reading is done
	Millis  float64 `json:"ms"`     // for all drums
	Correct *bool   `json:"correct,omitempty"`
}

type app struct {
	module *isomer.Module
	reader meter.Reader
	meter  *meter.Meter
	out    *json.Encoder
	log    *slog.Logger

	readings, failed, wrong int
	broken                  error // stdout cannot be written
}

// loop ends when ctx does, after count frames where count is above 0, or when nobody reads the output.
// A frame that is being read is finished.
func (a *app) loop(ctx context.Context, every time.Duration, count int) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for i := 0; count == 0 || i < count; i++ {
		a.frame(context.WithoutCancel(ctx), a.meter.Frames[i%len(a.meter.Frames)])
		if a.broken != nil || count == i+1 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// frame reads one frame. A failed call is reported and costs this frame alone: a device that watches
// a meter has nobody to ask.
func (a *app) frame(ctx context.Context, f meter.Frame) {
	start := time.Now()
	reading, err := a.reader.Read(ctx, f.Picture)
	if err != nil {
		a.failed++
		a.log.Error("reading failed", "frame", f.File, "error", err)
		return
	}
	a.readings++
	l := line{
		Frame: f.File, Reading: reading, Unit: a.meter.Unit,
		Module: a.module.Name() + "@" + a.module.Version(),
		Millis: float64(time.Since(start).Microseconds()) / 1000,
	}
	if f.Reading != "" {
		correct := reading.Digits == f.Reading
		l.Correct = &correct
		if !correct {
			a.wrong++
		}
	}
	a.broken = a.out.Encode(l)
}
