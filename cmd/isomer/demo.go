package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/examples/meter"
)

// layers are those of the demo, each a process with its own engine and its own copy of the module.
var layers = []string{"device", "edge", "cloud"}

// hostPatience bounds each wait for the hosts; a swap takes well under a second.
const hostPatience = 30 * time.Second

func demoCommand(std streams) *cobra.Command {
	var asJSON bool
	var phase time.Duration
	var rate int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Compile a model, run it on three layers, and replace it while calls run",
		Long: `Compile a network that reads the digits of a utility meter from ONNX to a WebAssembly module, start
three hosts (device, edge, cloud; a process each) that read the frames of a camera with it, replace the
module of each by version 2 while they read, give each a damaged file, and report what happened.
Everything lives in a folder of the system's temporary files, which is removed at the end, also after
Ctrl-C or SIGTERM; only a demo that is killed leaves it behind.`,
		Example: "  isomer demo\n  isomer demo --phase 10s --json",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			if phase < 100*time.Millisecond || phase > time.Hour {
				return usage(c, "--phase must be between 100ms and 1h, got %v", phase)
			}
			if rate < 1 || rate > 1000 {
				return usage(c, "--rate must be between 1 and 1000, got %d", rate)
			}
			r, err := runDemo(c.Context(), std, phase, rate)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(std.out, r)
			} else {
				err = r.print(std.out)
			}
			return errors.Join(err, r.verdict())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().DurationVar(&phase, "phase", 3*time.Second, "how long version 1, version 2 and version 2 after the damaged file serve, each")
	c.Flags().IntVar(&rate, "rate", 20, "frames that each host reads in a second; six calls a frame")
	return c
}

// runDemo is the whole story, told on stderr as it happens.
func runDemo(ctx context.Context, std streams, phase time.Duration, rate int) (_ *demoReport, err error) {
	say := func(format string, args ...any) { fmt.Fprintf(std.err, format+"\n", args...) }
	versions, err := demoModules(say)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "isomer-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	var hosts []*demoHost
	defer func() {
		for _, h := range hosts {
			h.kill()
		}
	}()
	for _, layer := range layers {
		file := filepath.Join(dir, layer, "digits.wasm")
		if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := writeFile(file, versions[0].Bytes); err != nil {
			return nil, err
		}
		h, err := startHost(layer, file, rate, std.err)
		if err != nil {
			return nil, fmt.Errorf("cannot start the %s host: %w", layer, err)
		}
		hosts = append(hosts, h)
	}
	everywhere := func(what string, event string) error {
		for _, h := range hosts {
			took, err := h.await(ctx, event)
			if err != nil {
				return fmt.Errorf("%s: %w", h.layer, err)
			}
			say("  %-6s %s %s", h.layer, what, took)
		}
		return nil
	}
	replace := func(b []byte) error {
		for _, h := range hosts {
			if err := writeFile(h.file, b); err != nil {
				return err
			}
		}
		return nil
	}

	say("three hosts read %d frames a second with version 1:", rate)
	if err := everywhere("serves", "loaded"); err != nil {
		return nil, err
	}
	if err := sleep(ctx, phase); err != nil {
		return nil, err
	}
	say("version 2 is renamed over the file of each layer:")
	if err := replace(versions[1].Bytes); err != nil {
		return nil, err
	}
	if err := everywhere("swapped, without a pause, in", "swapped"); err != nil {
		return nil, err
	}
	if err := sleep(ctx, phase); err != nil {
		return nil, err
	}
	say("a damaged file is renamed over the file of each layer:")
	if err := replace(damaged(versions[1].Bytes)); err != nil {
		return nil, err
	}
	if err := everywhere("refused it and serves on", "refused"); err != nil {
		return nil, err
	}
	if err := sleep(ctx, phase); err != nil {
		return nil, err
	}
	r := &demoReport{}
	for _, h := range hosts {
		l, err := h.finish(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.layer, err)
		}
		r.Layers = append(r.Layers, l)
	}
	r.compare()
	return r, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// damaged is what a module looks like after a bad transfer: half of it.
func damaged(b []byte) []byte { return b[:len(b)/2] }

// demoModules compiles the versions of the meter's model. Each carries golden cases, whose answers
// ONNX Runtime gave, so that a host tries it before it serves.
func demoModules(say func(string, ...any)) ([]*compiler.Module, error) {
	cases, err := meter.Cases()
	if err != nil {
		return nil, err
	}
	var out []*compiler.Module
	for _, model := range meter.Models() {
		began := time.Now()
		m, err := compiler.Compile(model.ONNX, compiler.Options{
			Name: model.Name, Version: model.Version, Labels: meter.Labels(),
			Mean: meter.Mean[:], Std: meter.Std[:], Scale: meter.Scale,
			Golden: golden(cases, model.Version),
		})
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", model.Name, model.Version, err)
		}
		out = append(out, m)
		say("compiled %s@%s: %s of ONNX to %s of WebAssembly in %d ms", model.Name, model.Version,
			size(len(model.ONNX)), size(len(m.Bytes)), time.Since(began).Milliseconds())
	}
	return out, nil
}

// golden turns the crops that have the model's input size into cases for its tensors.
func golden(cases []meter.Case, version string) []abi.Golden {
	var out []abi.Golden
	for _, c := range cases {
		logits := c.Logits[version]
		if c.Picture.Width != meter.Side || c.Picture.Height != meter.Side || logits == nil {
			continue
		}
		g := abi.Golden{Function: abi.ExportRun, Tolerance: 1e-3}
		for channel := range 3 { // the tensor is channels first, the picture pixel by pixel
			for i := channel; i < len(c.Picture.RGB); i += 3 {
				x := (float64(c.Picture.RGB[i])*meter.Scale - meter.Mean[channel]) / meter.Std[channel]
				g.Input = binary.LittleEndian.AppendUint32(g.Input, math.Float32bits(float32(x)))
			}
		}
		for _, v := range logits {
			g.Output = binary.LittleEndian.AppendUint32(g.Output, math.Float32bits(v))
		}
		out = append(out, g)
	}
	return out[:min(len(out), 2)]
}

var errHostEnded = errors.New("the host ended before its time")
