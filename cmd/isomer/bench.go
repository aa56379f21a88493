package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/cmd/isomer/internal/bench"
)

// engineV8 is V8 in Node.js. It runs nothing but measurements.
const engineV8 = "v8"

// benchFlags are what "bench" is asked for.
type benchFlags struct {
	engines   []string
	runs, top int
	seed      uint64
	asJSON    bool
}

func benchCommand(std streams) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench MODULE",
		Short: "Measure a compiled network, layer by layer",
		Long: `Measure how long a network takes that "isomer build" compiled: whole runs, and each layer with its
multiply-adds, their rate and its share of the time. It is run in turns on each engine that this machine has:
wazero, wasmtime in a build with -tags wasmtime, and V8 where Node.js is installed. The inputs are random.

Layers are measured as they come in a run, one by one, and the median counts. Other work on the machine makes
all times longer; the least time of a run shows what it can do.`,
		Example: `  isomer bench model.wasm
  isomer bench model.wasm --engine wazero --top 10
  isomer bench model.wasm --json | jq '.engines[0].layers[] | select(.share > 0.05)'`,
		Args: operands("MODULE"),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, std, args[0]) },
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.engines, "engine", nil, "measure on this `ENGINE`: wazero, interp, wasmtime or v8; may be repeated (default: wazero, wasmtime and v8, if present)")
	flags.IntVar(&f.runs, "runs", 50, "`N` runs on each engine, after a tenth as many to warm up")
	flags.IntVar(&f.top, "top", 0, "print the `N` slowest layers alone (default: all, in their order)")
	flags.Uint64Var(&f.seed, "seed", 1, "`SEED` of the inputs")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, times in milliseconds")
	return c
}

// benchResult is what "bench --json" prints.
type benchResult struct {
	File    string        `json:"file"`
	Runs    int           `json:"runs"`
	MACs    int64         `json:"macs"`
	Engines []benchEngine `json:"engines"`
}

// benchEngine is what was measured on one engine.
type benchEngine struct {
	Engine   string       `json:"engine"`
	MedianMS float64      `json:"medianMS"`
	LeastMS  float64      `json:"leastMS"`
	Rate     float64      `json:"gmacPerSecond,omitempty"` // of the median
	Layers   []benchLayer `json:"layers"`
}

// benchLayer is one layer on one engine.
type benchLayer struct {
	Name    string   `json:"name"`
	Op      string   `json:"op"`
	Kernels []string `json:"kernels"`
	Output  []int    `json:"output"`
	MACs    int64    `json:"macs,omitempty"`
	MS      float64  `json:"ms"` // median
	LeastMS float64  `json:"leastMS"`
	Rate    float64  `json:"gmacPerSecond,omitempty"`
	Share   float64  `json:"share"` // of all layers' time
}

func (f *benchFlags) run(c *cobra.Command, std streams, file string) error {
	if f.runs < 1 || f.runs > 1e6 {
		return usage(c, "--runs %d: want 1 to 1000000", f.runs)
	}
	if f.top < 0 {
		return usage(c, "--top must not be negative")
	}
	bin, err := readRegular(file, maxModule)
	if err != nil {
		return err
	}
	n, err := bench.New(bin, f.seed)
	if errors.Is(err, bench.ErrNoLayers) {
		err = hint(err, `only what "isomer build" makes of a model can be measured; build it again if it is an old one`)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r := benchResult{File: file, Runs: f.runs}
	for _, l := range n.Layers {
		r.MACs += l.MACs
	}
	asked := f.engines
	if asked == nil {
		asked = []string{engineWazero, engineWasmtime, engineV8}
	}
	for _, name := range asked {
		m, err := f.measure(c, std, name, n)
		if absent(err) && f.engines == nil {
			fmt.Fprintf(std.err, "left out: %s: %v\n", name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s on %s: %w", file, name, err)
		}
		r.Engines = append(r.Engines, newBenchEngine(n, m, r.MACs))
	}
	if f.asJSON {
		return writeJSON(std.out, r)
	}
	return r.print(std.out, f.top)
}

// errNoWasmtime says that this build of the command lacks an engine.
var errNoWasmtime = errors.New("this build has none")

// absent reports whether an engine is not there, which is no failure unless somebody asked for it.
func absent(err error) bool {
	return errors.Is(err, errNoWasmtime) || errors.Is(err, exec.ErrNotFound)
}

func (f *benchFlags) measure(c *cobra.Command, std streams, name string, n *bench.Network) (*bench.Measured, error) {
	p := newProgress(std)
	defer p.clear()
	p.stage(name)
	return measureOn(c, name, n, f.runs, func(done, of int) { p.far(fmt.Sprintf("%d of %d ", done, of)) })
}

// measureOn measures n on the engine of that name; turn, if set, is told how far it is.
func measureOn(c *cobra.Command, name string, n *bench.Network, runs int, turn func(done, of int)) (*bench.Measured, error) {
	if name == engineV8 {
		return bench.InV8(c.Context(), n, runs, turn)
	}
	if name == engineWasmtime && newWasmtime == nil {
		return nil, hint(errNoWasmtime, "build with -tags wasmtime")
	}
	e, err := openEngine(c, name)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return await(c.Context(), func() (*bench.Measured, error) { return bench.In(c.Context(), e, n, runs, turn) })
}

func newBenchEngine(n *bench.Network, m *bench.Measured, macs int64) benchEngine {
	e := benchEngine{Engine: m.Engine, MedianMS: ms(m.Run.Median()), LeastMS: ms(m.Run.Least()), Rate: rate(macs, m.Run.Median())}
	var sum time.Duration
	for _, t := range m.Layers {
		sum += t.Median()
	}
	for i, l := range n.Layers {
		t := m.Layers[i].Median()
		e.Layers = append(e.Layers, benchLayer{
			Name: l.Name, Op: l.Op, Kernels: l.Kernels, Output: l.Output, MACs: l.MACs,
			MS: ms(t), LeastMS: ms(m.Layers[i].Least()), Rate: rate(l.MACs, t), Share: float64(t) / float64(max(sum, 1)),
		})
	}
	return e
}

// rate is a number of operations in d, in thousand millions a second.
func rate(n int64, d time.Duration) float64 { return float64(n) / float64(max(d, 1)) }

func (r benchResult) print(w io.Writer, top int) error {
	var b strings.Builder
	for i, e := range r.Engines {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: median %.2f ms, least %.2f ms of %d runs", e.Engine, e.MedianMS, e.LeastMS, r.Runs)
		if r.MACs > 0 {
			fmt.Fprintf(&b, "; %s multiply-adds, %.1f GMAC/s", count(r.MACs), e.Rate)
		}
		b.WriteString("\n")
		t := newTable(&b)
		t.row("layer", "op", "output", "MACs", "ms", "GMAC/s", "share")
		layers := e.Layers
		if top > 0 && top < len(layers) {
			layers = slices.Clone(layers)
			slices.SortStableFunc(layers, func(a, b benchLayer) int { return cmp.Compare(b.Share, a.Share) })
			layers = layers[:top]
		}
		for _, l := range layers {
			macs, speed := "", ""
			if l.MACs > 0 {
				macs, speed = count(l.MACs), fmt.Sprintf("%.1f", l.Rate)
			}
			t.row(lastOf(l.Name), lastOf(l.Op), lastOf(dims(l.Output)), macs, fmt.Sprintf("%.3f", l.MS), speed, fmt.Sprintf("%.1f %%", 100*l.Share))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lastOf fits what the module says of a layer to a line of the table: the end of a name tells most.
func lastOf(name string) string {
	const longest = 48
	if r := []rune(plain(name)); len(r) > longest {
		name = "…" + string(r[len(r)-longest+1:])
	}
	return name
}

// dims is "1×112×112×32".
func dims(shape []int) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = strconv.Itoa(d)
	}
	return strings.Join(parts, "×")
}
