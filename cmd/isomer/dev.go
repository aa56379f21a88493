package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine"
)

// dev is "isomer dev" at work on one project.
type dev struct {
	dir    string
	std    streams
	asJSON bool
	engine engine.Engine
	opts   []isomer.Option

	m     *isomer.Module    // nil until a build was good
	seen  [sha256.Size]byte // sources of the last build
	swaps struct {
		sync.Mutex
		last isomer.Event // Loaded or Swapped
	}
}

func devCommand(std streams) *cobra.Command {
	d := &dev{std: std}
	var host hostFlags
	c := &cobra.Command{
		Use:   "dev DIR",
		Short: "Build a project at each save, and swap the module live",
		Long: `Build the project in DIR, serve calls from stdin as "isomer run" does, and build again whenever a source is
saved, in folders below DIR too. A module that builds and passes its cases takes over between two calls, with
the state of the one before; otherwise the compiler's words or the cases that failed are shown, and the old
module serves on. Calls wait until the first build is good. The command goes on when stdin ends, until Ctrl-C.

A line a save goes to stderr: how long the build and the swap took, and what came of the cases. With --json it
is an object. Nothing is written into DIR beyond what its compiler leaves there.

` + allowHelp,
		Example: `  isomer new meter && isomer dev meter
  isomer dev meter --json 2>events.jsonl`,
		Args: operands("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			e, opts, err := host.open(c, std, d.asJSON)
			if err != nil {
				return err
			}
			defer e.Close()
			d.dir, d.engine = args[0], e
			d.opts = append(opts, isomer.WithEvents(d.event))
			return d.run(c.Context())
		},
	}
	c.Flags().BoolVar(&d.asJSON, "json", false, "print what happens as JSON, one object a line")
	host.add(c)
	return c
}

// run builds until it is stopped, which is how this command ends.
func (d *dev) run(ctx context.Context) error {
	if _, err := readProject(d.dir); err != nil {
		return err // a typing error in DIR should not look like a project that is being written
	}
	watched, err := watchSources(d.dir)
	if err != nil {
		return err
	}
	defer watched.close()
	if watched.polling != nil {
		d.say(devEvent{Event: devPolling, Error: watched.polling.Error()})
	}
	ctx, stop := context.WithCancel(ctx)
	var served chan error // nil: nobody serves
	defer func() {
		stop()
		if served != nil {
			<-served
		}
		if d.m != nil {
			_ = d.m.Close()
		}
	}()
	for {
		if err := d.round(ctx, watched); err != nil {
			return err
		}
		if d.m != nil && served == nil {
			served = make(chan error, 1)
			go func() { served <- serve(ctx, d.m, d.std) }()
		}
		if err := d.await(ctx, watched, served); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// await returns when a save is done, or the command is to end.
func (d *dev) await(ctx context.Context, watched *sources, served chan error) error {
	ended := served
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			served <- err // for the next one who looks
			if err != nil {
				return err
			}
			ended = nil // stdin is over; saves are followed on
			continue
		case <-watched.changed:
		}
		break
	}
	rest := time.NewTimer(quiet)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watched.changed:
			rest.Reset(quiet)
		case <-rest.C:
			return nil
		}
	}
}

// round builds the project, unless it is as it was, and puts the module into service. Saves that come
// meanwhile are marked, and the next round's. An error ends the command.
func (d *dev) round(ctx context.Context, watched *sources) error {
	seen, err := watched.digest()
	if err == nil && seen == d.seen {
		return nil
	}
	if err == nil {
		d.seen = seen
	}
	var talk bytes.Buffer
	start := time.Now()
	p, err := readProject(d.dir)
	var b built
	if err == nil {
		quietly := d.std
		quietly.err = &talk
		b, err = buildGuest(ctx, quietly, d.dir, p, d.engine)
	}
	e := devEvent{Event: devBuilt, BuildMS: ms(time.Since(start)), Cases: b.cases, Output: talk.String()}
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = d.swap(ctx, b.bin, &e)
	}
	if failed, ok := errors.AsType[*failedCases](err); ok {
		e.Event, e.Cases = devRefused, failed.results
	} else if as[*isomer.RefusedError](err) {
		e.Event, e.Error = devRefused, err.Error()
	} else if err != nil {
		e.Event, e.Error = devFailed, err.Error()
	}
	if h, ok := errors.AsType[*hinted](err); ok && talk.Len() == 0 {
		e.Hint = h.hint
	}
	if d.m != nil {
		e.Module, e.Version, e.SHA256 = d.m.Name(), d.m.Version(), d.m.Digest()
	}
	d.say(e)
	return nil
}

// swap puts a module into service.
func (d *dev) swap(ctx context.Context, bin []byte, e *devEvent) error {
	if d.m == nil {
		m, err := isomer.New(ctx, bin, d.opts...)
		if err != nil {
			return err
		}
		d.m = m
	} else if sum := sha256.Sum256(bin); hex.EncodeToString(sum[:]) == d.m.Digest() {
		e.Event = devSame
		return nil
	} else if err := d.m.Swap(ctx, bin); err != nil {
		return err
	}
	d.swaps.Lock()
	e.SwapMS = ms(d.swaps.last.Times.Total)
	d.swaps.Unlock()
	return nil
}

// event keeps what the bridge says about swaps, and shows what happens between them.
func (d *dev) event(e isomer.Event) {
	switch e.Kind {
	case isomer.Loaded, isomer.Swapped:
		d.swaps.Lock()
		d.swaps.last = e
		d.swaps.Unlock()
	case isomer.InstanceReplaced, isomer.InstanceLost, isomer.StateLost:
		eventPrinter(d.std.err, d.asJSON)(e)
	}
}

// What came of a save.
const (
	devBuilt   = "built"        // and it serves
	devSame    = "unchanged"    // the module has the same bytes as before
	devFailed  = "build failed" // Error, and Output with the compiler's words
	devRefused = "refused"      // Cases that failed, or Error
	devPolling = "polling"      // the system tells nothing about files: Error
)

// devEvent is what came of a save, as --json prints it. Module, version and digest are of what serves now.
type devEvent struct {
	Event   string       `json:"event"`
	Time    time.Time    `json:"time"`
	Module  string       `json:"module,omitempty"`
	Version string       `json:"version,omitempty"`
	SHA256  string       `json:"sha256,omitempty"`
	BuildMS float64      `json:"buildMs,omitempty"`
	SwapMS  float64      `json:"swapMs,omitempty"`
	Cases   []caseResult `json:"cases,omitempty"`
	Output  string       `json:"output,omitempty"`
	Error   string       `json:"error,omitempty"`
	Hint    string       `json:"hint,omitempty"`
}

func (d *dev) say(e devEvent) {
	e.Time = time.Now()
	line := []byte(e.String())
	if d.asJSON {
		var err error
		if line, err = json.Marshal(e); err != nil { // no field can fail to encode
			panic(err)
		}
	}
	fmt.Fprintf(d.std.err, "%s\n", line)
}

// String is the line for people; what does not fit into one line stands below it, indented by two.
func (e devEvent) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s", e.Time.Format(time.TimeOnly), e.Event)
	if e.BuildMS > 0 {
		fmt.Fprintf(&b, " in %.2f s", e.BuildMS/1e3)
	}
	if e.SwapMS > 0 {
		fmt.Fprintf(&b, ", swapped in %.1f ms", e.SwapMS)
	}
	passed := 0
	for _, r := range e.Cases {
		if r.Passed {
			passed++
		}
	}
	if len(e.Cases) > 0 {
		fmt.Fprintf(&b, ", %d of %s passed", passed, plural(len(e.Cases), "case"))
	}
	switch served := e.Event == devBuilt || e.Event == devSame; {
	case e.Event == devPolling:
	case e.SHA256 == "":
		b.WriteString("; nothing serves yet")
	case served:
		fmt.Fprintf(&b, ": %s@%s sha256:%.12s", e.Module, e.Version, e.SHA256)
	default:
		fmt.Fprintf(&b, "; %s@%s sha256:%.12s serves on", e.Module, e.Version, e.SHA256)
	}
	below := func(text string) {
		for line := range bytes.Lines(bytes.TrimSpace([]byte(text))) {
			fmt.Fprintf(&b, "\n  %s", bytes.TrimRight(line, "\r\n"))
		}
	}
	below(e.Output)
	for _, r := range e.Cases {
		if !r.Passed {
			below(r.String())
		}
	}
	below(e.Error)
	if e.Hint != "" {
		below("hint: " + e.Hint)
	}
	return b.String()
}
