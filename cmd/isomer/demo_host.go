package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/examples/meter"
)

// hostEvent is a line that a demo host writes: an event of its bridge, or at the end its report.
type hostEvent struct {
	Event  string        `json:"event,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
	Report *layerReport  `json:"report,omitempty"`
}

// demoHost is a host of the demo, seen from its parent.
type demoHost struct {
	layer, file string
	cmd         *exec.Cmd
	stdin       io.WriteCloser
	events      chan hostEvent
}

// startHost starts this same program as a host. It ends when its stdin does, so that nothing is left
// behind even if the parent is killed.
func startHost(layer, file string, rate int, stderr io.Writer) (*demoHost, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &demoHost{layer: layer, file: file, events: make(chan hostEvent, 64)}
	h.cmd = exec.Command(self, "demo-host", file, "--layer", layer, "--rate", fmt.Sprint(rate))
	h.cmd.Args[0] = os.Args[0] // the name that this program was called by
	h.cmd.Stderr = stderr
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(h.events)
		dec := json.NewDecoder(out)
		for {
			var e hostEvent
			if dec.Decode(&e) != nil {
				return
			}
			h.events <- e
		}
	}()
	return h, nil
}

// await waits for an event of that kind and returns what it took, for people.
func (h *demoHost) await(ctx context.Context, kind string) (string, error) {
	e, err := h.next(ctx, func(e hostEvent) bool { return e.Event == kind })
	if err != nil {
		return "", fmt.Errorf("waiting for %q: %w", kind, err)
	}
	if e.Took == 0 {
		return "", nil
	}
	return milliseconds(e.Took), nil
}

func (h *demoHost) next(ctx context.Context, want func(hostEvent) bool) (hostEvent, error) {
	late := time.After(hostPatience)
	for {
		select {
		case e, ok := <-h.events:
			if !ok {
				return e, errHostEnded
			}
			if want(e) {
				return e, nil
			}
		case <-late:
			return hostEvent{}, fmt.Errorf("nothing within %v", hostPatience)
		case <-ctx.Done():
			return hostEvent{}, ctx.Err()
		}
	}
}

// finish lets the host end its work and returns its report.
func (h *demoHost) finish(ctx context.Context) (layerReport, error) {
	h.stdin.Close()
	e, err := h.next(ctx, func(e hostEvent) bool { return e.Report != nil })
	if err != nil {
		return layerReport{}, err
	}
	return *e.Report, h.cmd.Wait()
}

// kill ends a host that is still there; after finish it does nothing.
func (h *demoHost) kill() {
	if h.cmd.ProcessState == nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	}
}

// demoHostCommand is the core application of one layer. It is hidden: the demo starts it.
func demoHostCommand(std streams) *cobra.Command {
	var layer string
	var rate int
	c := &cobra.Command{
		Use: "demo-host FILE", Hidden: true, Args: operands("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			go func() {
				io.Copy(io.Discard, std.in)
				cancel()
			}()
			return (&coreApp{layer: layer, rate: rate, out: json.NewEncoder(std.out)}).run(ctx, args[0])
		},
	}
	c.Flags().StringVar(&layer, "layer", "device", "name of the layer")
	c.Flags().IntVar(&rate, "rate", 20, "frames a second")
	return c
}

// coreApp reads the meter's frames with a module, and keeps account.
type coreApp struct {
	layer string
	rate  int
	out   *json.Encoder

	module *isomer.Module
	meter  *meter.Meter
	calls  []timedCall
	failed int
	errs   []string
	frame  []byte            // the answers of the frame that is being read
	digest map[string]string // "version/frame" → SHA-256 of its answers
	read   int
	right  int
	swaps  []isomer.Event
}

type timedCall struct {
	at   time.Time
	took time.Duration
}

// run reads frames until ctx ends, then writes the report. The last frame is read to its end.
func (a *coreApp) run(ctx context.Context, file string) error {
	eng, err := wazero.New()
	if err != nil {
		return err
	}
	defer eng.Close()
	if a.meter, err = meter.Demo(); err != nil {
		return err
	}
	a.digest = map[string]string{}
	events := make(chan isomer.Event, 64)
	opts := []isomer.Option{isomer.WithEngine(eng), isomer.WithEvents(func(e isomer.Event) { events <- e })}
	if a.module, err = isomer.Open(context.WithoutCancel(ctx), file, opts...); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / time.Duration(a.rate))
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; {
		select {
		case e := <-events:
			a.note(e)
		case <-tick.C:
			a.readFrame(n % len(a.meter.Frames))
			n++
		case <-ctx.Done():
		}
	}
	report := a.report(eng.Name())
	if err := a.module.Close(); err != nil {
		return err
	}
	return a.out.Encode(hostEvent{Report: &report})
}

// note passes on what the bridge did.
func (a *coreApp) note(e isomer.Event) {
	switch e.Kind {
	case isomer.Swapped:
		a.swaps = append(a.swaps, e)
	case isomer.Loaded, isomer.Refused:
	default:
		return
	}
	a.out.Encode(hostEvent{Event: string(e.Kind), Took: e.Times.Total})
}

// readFrame reads frame i. Its answers are compared between layers where one version gave them all.
func (a *coreApp) readFrame(i int) {
	ctx, before := context.Background(), a.module.Version()
	a.frame = a.frame[:0]
	f := a.meter.Frames[i]
	r, err := (&meter.Reader{Module: a, Regions: a.meter.Regions, Decimals: a.meter.Decimals}).Read(ctx, f.Picture)
	if err != nil {
		return // counted by CallImage
	}
	a.read++
	if r.Digits == f.Reading {
		a.right++
	}
	if a.module.Version() == before {
		sum := sha256.Sum256(a.frame)
		key, digest := fmt.Sprintf("%s/%02d", before, i), hex.EncodeToString(sum[:])
		if have, ok := a.digest[key]; ok && have != digest {
			a.errs = append(a.errs, fmt.Sprintf("frame %d gave another answer the second time", i))
		}
		a.digest[key] = digest
	}
}

// CallImage is the module's, with its time and outcome written down.
func (a *coreApp) CallImage(ctx context.Context, fn string, img isomer.Image) ([]byte, error) {
	began := time.Now()
	out, err := a.module.CallImage(ctx, fn, img)
	a.calls = append(a.calls, timedCall{began, time.Since(began)})
	if err != nil {
		a.failed++
		if len(a.errs) < 10 {
			a.errs = append(a.errs, err.Error())
		}
		return nil, err
	}
	a.frame = append(a.frame, out...)
	return out, nil
}

// around is how far from the moment of a swap a call counts as one during it.
const around = 500 * time.Millisecond

func (a *coreApp) report(engineName string) layerReport {
	s := a.module.Stats()
	r := layerReport{
		Layer: a.layer, Engine: engineName, Module: s.Name, Version: s.Version, SHA256: s.Digest,
		Calls: len(a.calls), Failed: a.failed, Errors: a.errs, Frames: a.read, Right: a.right,
		Swaps: int(s.Swaps), Refused: int(s.Refused), Answers: a.digest,
	}
	var phases [3][]time.Duration
	for _, c := range a.calls {
		phase := 0
		for _, e := range a.swaps {
			if c.at.After(e.Time.Add(-e.Times.Total - around)) {
				phase = 1
			}
			if c.at.After(e.Time.Add(around)) {
				phase = 2
			}
			r.SwapTime = e.Times.Total
			r.CompileTime = e.Times.Compile
		}
		phases[phase] = append(phases[phase], c.took)
	}
	r.Before, r.During, r.After = percentiles(phases[0]), percentiles(phases[1]), percentiles(phases[2])
	return r
}

func percentiles(took []time.Duration) latency {
	if len(took) == 0 {
		return latency{}
	}
	slices.Sort(took)
	return latency{Calls: len(took), P50: took[len(took)/2], P99: took[(len(took)-1)*99/100]}
}
