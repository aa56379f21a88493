package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
)

// maxLine bounds one line of stdin: enough for megabytes of JSON, and a program that never writes a line
// end does not fill the memory.
const maxLine = 64 << 20

// runFlags are the flags of "isomer run".
type runFlags struct {
	watch, asJSON bool
	log, metrics  string
	swap          swapFlags
	host          hostFlags
}

func runCommand(std streams) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Serve calls from stdin, and follow the module's file",
		Long: `Serve calls from stdin until it ends or a signal arrives. Each line is one call,

  FUNCTION JSON         with JSON left out for no input
  FUNCTION PICTURE      the path of a picture file, for a function that takes one
  {"function": "f", "input": JSON, "id": anything}
  {"function": "f", "image": "photo.jpg"}, with "size": "640x480" if it is raw RGB
  {"function": "f", "file": "x.bin"}, the bytes of a file as input

and gets one line of JSON on stdout, in order: {"function", "output", "ms"} or {"function", "error"}, with
the "id" if one was given. Output that is not JSON comes as {"base64": …}: what the manifest declares to be
something else or, in a module without a manifest, what does not read as JSON. A call that fails does not
end the command.

With --watch the module is replaced when its file changes, between two calls; a file that is damaged or
fails its golden cases is refused, and the module that serves stays. With --shadow 100 a new module first
answers 100 live calls beside the one that serves, and is refused if an answer differs. With --history DIR
the module that served last is gone on with where the file is damaged or missing at the start. Events go to stderr: for people, with
--json one object a line, with --log as Go's structured log (log/slog) writes them.

With --metrics ADDRESS Prometheus' figures are at http://ADDRESS/metrics, and http://ADDRESS/healthz says
which module serves. ":9090" listens to the network, "9090" or "localhost:9090" to this machine alone.
There is no password: let the network decide who may read.

` + allowHelp,
		Example: `  echo 'total [250, 750]' | isomer run meter/meter.wasm
  isomer run digits.wasm --watch --json
  isomer run digits.wasm --watch --metrics localhost:9090`,
		Args: operands("FILE"),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, std, args[0]) },
	}
	c.Flags().BoolVar(&f.watch, "watch", false, "replace the module when its file changes")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print events as JSON, one a line")
	c.Flags().StringVar(&f.log, "log", "", "write events to a structured log of this `FORMAT`: text or json")
	c.Flags().StringVar(&f.metrics, "metrics", "", "serve figures for Prometheus at this `ADDRESS`, such as :9090")
	f.swap.add(c)
	f.host.add(c)
	return c
}

func (f *runFlags) run(c *cobra.Command, std streams, path string) (err error) {
	events, err := eventOption(c, std.err, f.asJSON, f.log)
	if err != nil {
		return err
	}
	swaps, err := f.swap.options(c, f.watch)
	if err != nil {
		return err
	}
	e, opts, err := f.host.open(c, std, f.asJSON || f.log == "json")
	if err != nil {
		return err
	}
	defer e.Close()
	opts = append(append(opts, swaps...), isomer.WithWatch(f.watch), events)
	var figures *metricsServer
	if f.metrics != "" {
		if figures, err = listenMetrics(c.Context(), f.metrics); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, figures.close()) }()
		opts = append(opts, isomer.WithObserver(figures.collector))
	}
	m, err := isomer.Open(c.Context(), path, opts...)
	if err != nil {
		return err
	}
	if figures != nil {
		figures.serve(m, std.err, f.asJSON)
	}
	return errors.Join(serve(c.Context(), m, std), m.Close())
}

// serve answers the lines of stdin in their order.
func serve(ctx context.Context, m *isomer.Module, std streams) error {
	lines := make(chan []byte)
	ended := make(chan error, 1)
	// Reading has a goroutine of its own, because a read from a terminal or a pipe cannot be interrupted.
	// After a signal it is left behind, and ends with the process.
	go func() {
		in := bufio.NewScanner(std.in)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			select {
			case lines <- bytes.Clone(in.Bytes()):
			case <-ctx.Done():
				return
			}
		}
		ended <- in.Err()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil // being stopped is how this command ends
		case err := <-ended:
			if errors.Is(err, bufio.ErrTooLong) {
				return fmt.Errorf("stdin: a line of more than %s", size(maxLine))
			}
			return err
		case line := <-lines:
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			b, err := json.Marshal(respond(ctx, m, line))
			if err != nil {
				return err
			}
			if err := writeAnswer(ctx, std.out, append(b, '\n')); err != nil {
				return err
			}
		}
	}
}

// lastAnswer is how long an answer may wait for its reader after a signal. What supervises services kills after
// 10 s (docker) to 90 s (systemd).
const lastAnswer = 2 * time.Second

// writeAnswer writes one answer. A pipe that nobody reads keeps a write waiting and cannot be interrupted:
// after a signal the write is left behind, and ends with the process.
func writeAnswer(ctx context.Context, w io.Writer, b []byte) error {
	done := make(chan error, 1)
	go func() {
		_, err := w.Write(b)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(lastAnswer):
		return hint(errors.New("stdout: the last answer is lost, nobody read it"), "read stdout to its end")
	}
}

// request is one line of stdin.
type request struct {
	ID       json.RawMessage `json:"id"`
	Function string          `json:"function"`
	Input    json.RawMessage `json:"input"`
	Image    string          `json:"image"`
	Size     string          `json:"size"`
	File     string          `json:"file"`
}

// response is one line of stdout.
type response struct {
	ID       json.RawMessage `json:"id,omitempty"`
	Function string          `json:"function,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	MS       float64         `json:"ms"`
	Error    string          `json:"error,omitempty"`
}

func respond(ctx context.Context, m *isomer.Module, line []byte) response {
	q, err := parseRequest(m, line)
	r := response{ID: q.ID, Function: q.Function}
	if err == nil {
		start := time.Now()
		r.Output, err = q.do(ctx, m)
		r.MS = ms(time.Since(start))
	}
	if err != nil {
		r.Output, r.Error = nil, err.Error()
	}
	return r
}

func parseRequest(m *isomer.Module, line []byte) (request, error) {
	var q request
	line = bytes.TrimSpace(line)
	if line[0] == '{' {
		if err := strictJSON(line, &q); err != nil {
			return q, fmt.Errorf("request: %w", err)
		}
		if q.Function == "" {
			return q, errors.New("request: no function")
		}
		return q, nil
	}
	name, rest, _ := strings.Cut(string(line), " ")
	rest = strings.TrimSpace(rest)
	q.Function = name
	f, err := find(m, name)
	switch {
	case err != nil || rest == "":
		return q, err
	case takesImage(f):
		q.Image = rest
		return q, nil
	}
	q.Input, err = readJSON(rest, "")
	return q, err
}

func (q request) do(ctx context.Context, m *isomer.Module) (json.RawMessage, error) {
	f, err := find(m, q.Function)
	if err != nil {
		return nil, err
	}
	given := 0
	for _, has := range []bool{q.Input != nil, q.Image != "", q.File != ""} {
		if has {
			given++
		}
	}
	if given > 1 {
		return nil, errors.New("request: more than one of input, image and file")
	}
	input := []byte(q.Input)
	var image *isomer.Image
	// Regular files alone: a pipe that nobody writes to would keep all later requests waiting, and the end
	// of the command.
	switch {
	case q.Image != "":
		file, err := readRegular(q.Image, maxModule)
		if err != nil {
			return nil, err
		}
		p, err := pictureOf(file, q.Image, q.Size, imageSpec(m))
		if err != nil {
			return nil, err
		}
		image = &p
	case q.File != "":
		if input, err = readRegular(q.File, maxModule); err != nil {
			return nil, err
		}
	}
	a, err := ask(ctx, m, f, input, image)
	if err != nil {
		return nil, err
	}
	return a.json()
}

// eventJSON is an event as --json prints it.
type eventJSON struct {
	Event      isomer.EventKind   `json:"event"`
	Time       time.Time          `json:"time"`
	Module     string             `json:"module,omitempty"`
	Version    string             `json:"version,omitempty"`
	SHA256     string             `json:"sha256,omitempty"`
	Generation uint64             `json:"generation,omitempty"`
	Path       string             `json:"path,omitempty"`
	Step       isomer.Step        `json:"step,omitempty"`
	TookMS     float64            `json:"tookMs,omitempty"`
	TimesMS    map[string]float64 `json:"timesMs,omitempty"`
	Cases      int                `json:"cases,omitempty"`
	Differed   int                `json:"differed,omitempty"`
	Dropped    int                `json:"dropped,omitempty"`
	Bytes      int                `json:"bytes,omitempty"`
	URL        string             `json:"url,omitempty"` // of the figures: --metrics
	Error      string             `json:"error,omitempty"`
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// eventOption says where events go.
func eventOption(c *cobra.Command, w io.Writer, asJSON bool, logFormat string) (isomer.Option, error) {
	if asJSON && logFormat != "" {
		return nil, usage(c, "--json and --log both say how events are written")
	}
	switch logFormat {
	case "":
		return isomer.WithEvents(eventPrinter(w, asJSON)), nil
	case "text":
		return isomer.WithLogger(slog.New(slog.NewTextHandler(w, nil))), nil
	case "json":
		return isomer.WithLogger(slog.New(slog.NewJSONHandler(w, nil))), nil
	}
	return nil, usage(c, "--log is %q, want text or json", logFormat)
}

// eventPrinter writes events as lines, for people or as JSON.
func eventPrinter(w io.Writer, asJSON bool) func(isomer.Event) {
	if !asJSON {
		return func(e isomer.Event) { fmt.Fprintln(w, eventLine(e)) }
	}
	return func(e isomer.Event) {
		j := eventJSON{
			Event: e.Kind, Time: e.Time, Module: e.Module, Version: e.Version, SHA256: e.Digest, Generation: e.Generation,
			Path: e.Path, Step: e.Step, TookMS: ms(e.Took), Cases: e.Cases, Differed: e.Differed, Dropped: e.Dropped, Bytes: e.Bytes,
		}
		if t := e.Times; t.Total > 0 {
			j.TimesMS = map[string]float64{"compile": ms(t.Compile), "gate": ms(t.Gate), "shadow": ms(t.Shadow), "instantiate": ms(t.Instantiate),
				"carry": ms(t.Carry), "publish": ms(t.Publish), "total": ms(t.Total)}
		}
		if e.Err != nil {
			j.Error = e.Err.Error()
		}
		b, err := json.Marshal(j)
		if err != nil { // no field can fail to encode
			panic(err)
		}
		fmt.Fprintf(w, "%s\n", b)
	}
}

func eventLine(e isomer.Event) string {
	line := fmt.Sprintf("%s %s", e.Time.Format(time.TimeOnly), e.Kind)
	if e.Module != "" {
		line += fmt.Sprintf(" %s@%s", e.Module, e.Version)
	}
	if len(e.Digest) >= 12 {
		line += " sha256:" + e.Digest[:12]
	}
	line += casesOf(e)
	if e.Bytes > 0 {
		line += ", " + size(e.Bytes)
	}
	if took := max(e.Took, e.Times.Total); took > 0 {
		line += fmt.Sprintf(", %v", took.Round(10*time.Microsecond))
	}
	if e.Err != nil {
		line += ": " + e.Err.Error()
	}
	return line
}
