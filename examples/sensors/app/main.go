// Command app is a complete core application: it reads the machine's sensors, has a module decide what
// the values mean, and writes one JSON line a reading to stdout or to an MQTT broker. The module's file
// may be replaced while it runs; the next values are then judged by the new one.
//
//	go run ./examples/sensors/app -module rules.wasm -tree recorded
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/examples/sensors"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	if errors.Is(err, errUsage) {
		fmt.Fprintln(os.Stderr, "hint: run it with -help")
		os.Exit(2)
	}
	os.Exit(1)
}

var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
}

type settings struct {
	module, tree string
	every        time.Duration
	count        int
	broker       sensors.Broker
	buffer       int
}

func parse(args []string, stdout, stderr io.Writer) (settings, error) {
	var s settings
	host, _ := os.Hostname()
	set := flag.NewFlagSet("app", flag.ContinueOnError)
	set.SetOutput(io.Discard) // or a wrong flag would be answered with two messages
	set.StringVar(&s.module, "module", "", "`file` of the module with the function decide; kept current when it changes")
	set.StringVar(&s.tree, "tree", "/sys", "`folder` to read, or \"recorded\" for the sensors that come with the example")
	set.DurationVar(&s.every, "every", time.Second, "`time` between two looks at the sensors")
	set.IntVar(&s.count, "count", 0, "stop after so many looks (default: run until interrupted)")
	set.StringVar(&s.broker.URL, "mqtt", "", "`broker`, such as tcp://localhost:1883 (default: write to stdout)")
	set.StringVar(&s.broker.Topic, "topic", "isomer/sensors/"+host, "MQTT topic")
	set.StringVar(&s.broker.ClientID, "client", "isomer-sensors-"+host, "MQTT client; two with the same name push each other out")
	set.IntVar(&s.buffer, "buffer", 10_000, "lines kept while the broker is away; then the oldest are dropped")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		set.SetOutput(stdout)
		fmt.Fprint(stdout, "Reads sensors, has a module judge them, writes a JSON line a reading.\n\nusage: app -module rules.wasm [flags]\n\n")
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
	case s.every <= 0:
		return s, usage("-every is %v, must be above 0", s.every)
	case s.buffer < 1:
		return s, usage("-buffer is %d, must be at least 1", s.buffer)
	}
	if s.broker.URL != "" {
		if err := s.broker.Check(); err != nil {
			return s, usage("-mqtt: %w", err)
		}
	}
	s.broker.Log = slog.New(slog.NewTextHandler(stderr, nil))
	return s, nil
}

// flushPatience is how long the end waits for the broker to take what is left.
const flushPatience = 5 * time.Second

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout, stderr)
	if err != nil {
		return err
	}
	log := s.broker.Log
	if s.tree == "recorded" {
		if s.tree, err = os.MkdirTemp("", "sensors"); err != nil {
			return err
		}
		defer os.RemoveAll(s.tree)
		if err := sensors.Unpack(sensors.Recorded(), s.tree); err != nil {
			return err
		}
	}
	module, err := isomer.Open(ctx, s.module, isomer.WithLogger(log), isomer.WithOutput(stderr), isomer.WithDeadline(10*time.Second))
	if err != nil {
		return err
	}
	defer module.Close()
	emit := func(line []byte) error {
		_, err := stdout.Write(append(line, '\n'))
		return err
	}
	if s.broker.URL != "" {
		out := sensors.NewOutbox(s.buffer)
		sent := make(chan struct{})
		sending, end := context.WithCancel(context.Background())
		go func() {
			defer close(sent)
			s.broker.Send(sending, out, flushPatience)
		}()
		emit = func(line []byte) error { out.Put(line); return nil }
		defer func() {
			end()
			<-sent
			level := slog.LevelInfo
			if out.Waiting() > 0 || out.Dropped() > 0 {
				level = slog.LevelWarn // readings are lost
			}
			log.Log(context.Background(), level, "stopped", "not sent", out.Waiting(), "dropped", out.Dropped())
		}()
	}
	return loop(ctx, s, module, emit)
}

// line is what is written for one reading: the module's report, when it was made, and by which version.
type line struct {
	Time   time.Time       `json:"time"`
	Module string          `json:"module"`
	Report json.RawMessage `json:"report"`
}

func loop(ctx context.Context, s settings, m *isomer.Module, emit func([]byte) error) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := look(ctx, s, m, emit); err != nil && ctx.Err() == nil {
			// Neither a sensor nor a module is a reason to stop; a stdout that is gone is.
			if errors.Is(err, errOutput) {
				return err
			}
			s.broker.Log.Error("no reports", "error", err)
		}
		if n == s.count {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

var errOutput = errors.New("output")

// look reads all sensors once.
func look(ctx context.Context, s settings, m *isomer.Module, emit func([]byte) error) error {
	readings, err := sensors.Scan(s.tree)
	if err != nil {
		return err
	}
	now := time.Now()
	if readings == nil {
		readings = []sensors.Reading{} // a JSON list all the same
	}
	reports, err := isomer.CallJSON[[]json.RawMessage](ctx, m, "decide", readings)
	if err != nil {
		return err
	}
	title := m.Name() + "@" + m.Version()
	for _, r := range reports {
		b, err := json.Marshal(line{Time: now, Module: title, Report: r})
		if err != nil {
			return err
		}
		if err := emit(b); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
	}
	return nil
}
