package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/page"
	"github.com/isomer-iot/isomer/compiler"
)

// buildResult is what "build --json" prints.
type buildResult struct {
	File       string         `json:"file"`
	Name       string         `json:"name"`
	Version    string         `json:"version,omitempty"`
	Bytes      int            `json:"bytes"`
	Parts      compiler.Sizes `json:"parts"` // of the file, in bytes
	SHA256     string         `json:"sha256"`
	Operators  operators      `json:"operators"` // of the model
	Fused      operators      `json:"fused"`     // of them: computed by other layers
	Folded     operators      `json:"folded"`    // of them: known when compiling
	Layers     []layerResult  `json:"layers"`
	Parameters int            `json:"parameters"`
	MACs       int            `json:"macs"`
	ArenaBytes int            `json:"arenaBytes"`
	ConstBytes int            `json:"constBytes"`
	// InstanceBytes is the memory that an instance begins with.
	InstanceBytes int             `json:"instanceBytes"`
	Kernels       int             `json:"kernels"`
	Dims          map[string]int  `json:"dims,omitempty"`
	Image         *abi.ImageSpec  `json:"image,omitempty"`
	Assumed       bool            `json:"assumedNormalisation,omitempty"`
	Functions     []abi.Function  `json:"functions"`
	MS            float64         `json:"ms"`
	Expected      *expectedResult `json:"expected,omitempty"`
	Memory        *abi.MemorySpec `json:"memory,omitempty"`
	Check         *checked        `json:"check,omitempty"`
}

// expectedResult is the time of one run that was estimated on the machine of the build.
type expectedResult struct {
	MS float64 `json:"ms"`
	On string  `json:"on"`
	// PerSecond are the measured rates: multiply-adds, for "move" bytes.
	PerSecond compiler.Rates `json:"perSecond"`
}

// layerResult is one layer of the network.
type layerResult struct {
	Name    string   `json:"name"`
	Op      string   `json:"op"`
	Kernel  string   `json:"kernel,omitempty"`
	Kind    string   `json:"kind"`
	Fused   []string `json:"fused,omitempty"`
	Outputs []string `json:"outputs"` // their types
	MACs    int      `json:"macs,omitempty"`
	Weights int      `json:"weightBytes,omitempty"`
	Moved   int      `json:"movedBytes,omitempty"`
	MS      float64  `json:"expectedMS,omitempty"`
}

// operators counts the nodes of a model.
type operators []compiler.OperatorCount

// String is "17: 13 Clip, 4 Add".
func (o operators) String() string {
	total, parts := 0, []string{}
	for i, c := range o {
		total += c.Count
		if i < operatorsShown {
			part := c.Op
			if c.Count > 1 {
				part = fmt.Sprintf("%d %s", c.Count, c.Op)
			}
			parts = append(parts, part)
		}
	}
	if more := len(o) - operatorsShown; more > 0 {
		parts = append(parts, fmt.Sprintf("%d others", more))
	}
	return fmt.Sprintf("%d: %s", total, strings.Join(parts, ", "))
}

// operatorsShown fit a line of a terminal.
const operatorsShown = 7

func newBuildResult(file string, m *compiler.Module, took time.Duration, e expectation) buildResult {
	sum := sha256.Sum256(m.Bytes)
	s := m.Stats
	r := buildResult{
		File: file, Name: m.Manifest.Name, Version: m.Manifest.Version,
		Bytes: len(m.Bytes), Parts: s.Module, SHA256: hex.EncodeToString(sum[:]),
		Operators: s.Operators, Fused: s.Fused, Folded: s.Folded,
		Parameters: s.Parameters, MACs: s.MACs, ArenaBytes: s.Arena, ConstBytes: s.Consts, InstanceBytes: s.Memory,
		Kernels: s.Kernels, Dims: s.Bound, Image: s.Image, Assumed: s.Assumed,
		Functions: m.Manifest.Functions, MS: ms(took), Memory: m.Manifest.Memory,
	}
	if e.total > 0 {
		r.Expected = &expectedResult{ms(e.total), e.on, e.rates}
	}
	for i, l := range s.Layers {
		row := layerResult{Name: l.Name, Op: l.Op, Kernel: l.Kernel, Kind: string(l.Kind), Fused: l.Fused, MACs: l.MACs, Weights: l.Weights, Moved: l.Moved}
		for _, o := range l.Outputs {
			row.Outputs = append(row.Outputs, o.Type)
		}
		if e.total > 0 {
			row.MS = ms(e.times[i])
		}
		r.Layers = append(r.Layers, row)
	}
	return r
}

// rows are the lines of the table, in the terminal and in the report.
func (r buildResult) rows() [][2]string {
	var rows [][2]string
	row := func(what, format string, args ...any) {
		rows = append(rows, [2]string{what, fmt.Sprintf(format, args...)})
	}
	row("module", "%s", strings.TrimSpace(r.Name+" "+r.Version))
	row("file", "%s, %s", r.File, size(r.Bytes))
	row("of it", "weights %s, code %s, manifest %s, other %s",
		size(r.Parts.Weights), size(r.Parts.Code), size(r.Parts.Manifest), size(r.Parts.Other))
	row("sha256", "%s", r.SHA256)
	var functions []string
	for _, f := range r.Functions {
		functions = append(functions, f.Name)
	}
	row("functions", "%s", list(functions))
	if r.Image != nil {
		row("image", "%s", imageLine(*r.Image))
	}
	if len(r.Dims) > 0 {
		var dims []string
		for _, name := range slices.Sorted(maps.Keys(r.Dims)) {
			dims = append(dims, fmt.Sprintf("%s=%d", name, r.Dims[name]))
		}
		row("dimensions", "%s", list(dims))
	}
	row("operators", "%v", r.Operators)
	if len(r.Fused) > 0 {
		row("fused", "%v", r.Fused)
	}
	if len(r.Folded) > 0 {
		row("folded", "%v", r.Folded)
	}
	row("layers", "%d, by %s", len(r.Layers), plural(r.Kernels, "kernel"))
	row("parameters", "%s", count(r.Parameters))
	row("multiply-adds", "%s", count(r.MACs))
	row("weights", "%s", size(r.ConstBytes))
	row("activations", "%s", size(r.ArenaBytes))
	row("instance", "%s of memory", size(r.InstanceBytes))
	if r.Expected != nil {
		row("expected time", "about %s a run (one thread of this machine, %s)", about(r.Expected.MS), r.Expected.On)
	}
	if r.Check != nil {
		rows = append(rows, r.Check.rows()...)
	}
	row("compiled in", "%v", time.Duration(r.MS*float64(time.Millisecond)).Round(time.Millisecond))
	return rows
}

// about writes milliseconds with the few digits that an estimate can have, nothing below 10 µs.
func about(ms float64) string {
	switch {
	case ms < 0.01:
		return "10 µs"
	case ms < 0.1:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.0f s", ms/1000)
}

func (r buildResult) print(w io.Writer) error {
	t := newTable(w)
	for _, row := range r.rows() {
		t.row(row[0], row[1])
	}
	return t.flush()
}

// writeReport writes the page about the module.
func (r buildResult) writeReport(ctx context.Context, path string, m *compiler.Module, e expectation) error {
	var html bytes.Buffer
	if err := page.Write(&html, page.Page{Title: r.Name, Facts: r.rows(), Stats: m.Stats, Times: e.times, TimedOn: e.on}); err != nil {
		return err
	}
	return writeFile(ctx, path, html.Bytes())
}
