package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/isomer-iot/isomer/compiler"
)

// race is one group's result.
type race struct {
	Group   string   `json:"group"`
	Entries []*entry `json:"entries"`
}

// entry is a contestant with one model.
type entry struct {
	Name  string `json:"name"`
	Model string `json:"model"`
	Ours  bool   `json:"ours"`
	MACs  int    `json:"macs"`
	// Median and Min are milliseconds of Runs runs.
	Runs   int     `json:"runs"`
	Median float64 `json:"median_ms"`
	Min    float64 `json:"min_ms"`
	// CPU is the median over rounds of what a run took of the processor, without the time that it waited for it.
	CPU float64 `json:"cpu_ms"`
	// Error is the largest difference from the model's reference, over the largest output: the native runtime where it
	// is there, the first contestant otherwise.
	Error float64 `json:"error"`
	// Top is the first class of the output.
	Top    int    `json:"top"`
	Failed string `json:"failed,omitempty"`

	contestant
	subject *subject
	ms, cpu []float64
	outputs [][]byte
}

// race builds a group's models and measures every contestant with each, in turns.
func (h *harness) race(ctx context.Context, n network) (*race, error) {
	r := &race{Group: n.group}
	for _, file := range n.files {
		path, err := h.path(ctx, file, n.generated)
		if err != nil {
			return nil, err
		}
		if path == "" {
			continue
		}
		s, m, err := h.build(path, compiler.Options{}, n.photo)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		for _, e := range h.contestants() {
			e.Model, e.MACs, e.subject = name, m.Stats.MACs, s
			e.Ours = e.Name != web && e.Name != native
			r.Entries = append(r.Entries, e)
		}
	}
	if len(r.Entries) == 0 {
		return nil, nil
	}
	err := h.run(ctx, r.Entries)
	for _, e := range r.Entries {
		err = errors.Join(err, e.Close())
	}
	return r, err
}

// run loads all entries, compares what they compute, and lets them run in turns.
func (h *harness) run(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		var err error
		if e.outputs, err = e.Load(ctx, e.subject); err != nil {
			e.Failed = firstLine(err)
			h.skip("%s with %s: %s", e.Name, e.Model, e.Failed)
		}
	}
	for _, e := range compare(entries) {
		h.skip("%s with %s: %s", e.Name, e.Model, e.Failed)
	}
	for _, e := range entries {
		for start, runs := time.Now(), 0; e.Failed == "" && (runs < 5 || time.Since(start) < h.warm) && (runs == 0 || h.warm > 0); runs++ {
			if _, _, err := e.Run(ctx, 1); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	for done := 0; done < h.runs; done += h.round {
		for _, e := range entries {
			if e.Failed != "" {
				continue
			}
			quiet()
			ms, cpu, err := e.Run(ctx, min(h.round, h.runs-done))
			if err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
			e.ms, e.cpu = append(e.ms, ms...), append(e.cpu, cpu)
		}
	}
	for _, e := range entries {
		if e.Failed == "" {
			e.Runs, e.Median, e.Min, e.CPU = len(e.ms), median(e.ms), slices.Min(e.ms), median(e.cpu)
		}
	}
	return nil
}

// tolerance is what a result may be off, of the largest output. Sums in another order make 1e-6 and, where boxes are squares of
// sigmoids, 1e-4; models of 8-bit integers move by one step of their last activations, below 1e-2.
const tolerance = 1e-2

// compare fills Error and Top, and fails who computes something else: the time for a wrong result is no figure.
func compare(entries []*entry) (wrong []*entry) {
	reference := map[string]*entry{}
	for _, e := range entries {
		if old := reference[e.Model]; e.Failed == "" && (old == nil || e.Name == native) {
			reference[e.Model] = e
		}
	}
	for _, e := range entries {
		if e.Failed != "" {
			continue
		}
		e.Top = top(e.outputs[0])
		for i, want := range reference[e.Model].outputs {
			e.Error = max(e.Error, difference(e.outputs[i], want))
		}
		if e.Error > tolerance {
			e.Failed = fmt.Sprintf("computes something else: off by %.2g of the largest output", e.Error)
			wrong = append(wrong, e)
		}
	}
	return wrong
}

// difference is the largest between floats, over the largest of want; infinite where one is no number.
func difference(got, want []byte) float64 {
	worst, scale := 0.0, 0.0
	for i, w := range floats(want) {
		g := floats(got[4*i : 4*i+4])[0]
		d := math.Abs(float64(g) - float64(w))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst, scale = max(worst, d), max(scale, math.Abs(float64(w)))
	}
	return worst / max(scale, math.SmallestNonzeroFloat32)
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func appendFloat(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// top is the class with the highest logit.
func top(logits []byte) int {
	x := floats(logits)
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// find is the entry of a contestant with a model, nil where it did not run.
func (r *race) find(name, model string) *entry {
	for _, e := range r.Entries {
		if e.Name == name && e.Model == model && e.Failed == "" {
			return e
		}
	}
	return nil
}

// print writes the table. Ratios to the peers are of medians, of least times and of processor times.
func (r *race) print(out io.Writer) {
	fmt.Fprintf(out, "### %s\n\n", r.Group)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| model\t| contestant\t| median ms\t| least ms\t| CPU ms\t| GMAC/s\t| to ORT Web: median\t| least\t| CPU\t| to native: median\t| least\t| CPU\t| error\t| class\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, e := range r.Entries {
		name := e.Name
		if e.Ours {
			name = "Isomer in " + name
		}
		if e.Failed != "" {
			fmt.Fprintf(w, "| %s\t| %s\t| failed%s\t|\n", e.Model, name, strings.Repeat("\t|", 11))
			continue
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %.2f\t| %.2f\t| %.2f\t| %.1f", e.Model, name, e.Median, e.Min, e.CPU, float64(e.MACs)/e.Min/1e6)
		for _, peer := range []string{web, native} {
			if p := r.find(peer, e.Model); p != nil {
				fmt.Fprintf(w, "\t| %.2f\t| %.2f\t| %.2f", e.Median/p.Median, e.Min/p.Min, e.CPU/p.CPU)
			} else {
				fmt.Fprint(w, "\t|\t|\t|")
			}
		}
		fmt.Fprintf(w, "\t| %.0e\t| %d\t|\n", e.Error, e.Top)
	}
	_ = w.Flush() // to stdout
	fmt.Fprintln(out)
}
