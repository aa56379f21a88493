package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// demoReport is what the demo found.
type demoReport struct {
	Nodes    []nodeReport    `json:"nodes"`
	Rollouts []fleet.Rollout `json:"rollouts"` // of versions 1, 2 and 3
	// Compared is the number of frames, each under one version, whose answers at least two nodes gave.
	Compared int `json:"compared"`
	// Different are those of them whose bytes were not the same everywhere.
	Different []string `json:"different"`
}

type nodeReport struct {
	Node        string            `json:"node"`
	Layer       fleet.Layer       `json:"layer"`
	Module      string            `json:"module"`
	Version     string            `json:"version"`
	SHA256      string            `json:"sha256"`
	Calls       int               `json:"calls"`
	Failed      int               `json:"failed"`
	Errors      []string          `json:"errors,omitempty"`
	Frames      int               `json:"frames"`
	Right       int               `json:"right"` // frames read as the meter stood
	Swaps       int               `json:"swaps"`
	Calm        latency           `json:"calm"`   // calls away from swaps
	During      latency           `json:"during"` // calls within half a second of one
	SwapTime    time.Duration     `json:"swapNanoseconds"`
	CompileTime time.Duration     `json:"compileNanoseconds"`
	Answers     map[string]string `json:"answers"` // "version/frame" → SHA-256
}

// latency is the time of calls, in nanoseconds.
type latency struct {
	Calls int           `json:"calls"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
}

func (l latency) String() string {
	if l.Calls == 0 {
		return "–"
	}
	return milliseconds(l.P50) + " / " + milliseconds(l.P99)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// compare sets the answers of the nodes against each other.
func (r *demoReport) compare() {
	r.Different = []string{}
	all := map[string][]string{}
	for _, n := range r.Nodes {
		for key, digest := range n.Answers {
			all[key] = append(all[key], digest)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if len(all[key]) < 2 {
			continue
		}
		r.Compared++
		if len(slices.Compact(all[key])) > 1 {
			r.Different = append(r.Different, key)
		}
	}
}

// wanted are the ends of the rollouts of versions 1, 2 and 3.
var wanted = []fleet.Phase{fleet.Completed, fleet.Completed, fleet.RolledBack}

// verdict is an error that lists every promise of the demo that was not kept.
func (r *demoReport) verdict() error {
	var broken []error
	bad := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }
	for i, ro := range r.Rollouts {
		if ro.Phase != wanted[i] {
			broken = append(broken, &rolloutError{ro})
		}
	}
	for _, n := range r.Nodes {
		if n.Failed > 0 || len(n.Errors) > 0 {
			bad("%s: %d failed calls: %s", n.Node, n.Failed, strings.Join(n.Errors, "; "))
		}
		if n.Version != "2.0.0" || n.Swaps != 1 {
			bad("%s serves version %q after %d swaps, want 2.0.0 after one", n.Node, n.Version, n.Swaps)
		}
		if n.SHA256 != r.Nodes[0].SHA256 {
			bad("%s serves %s, %s serves %s", n.Node, n.SHA256, r.Nodes[0].Node, r.Nodes[0].SHA256)
		}
	}
	if r.Compared == 0 {
		bad("no frame was read by two nodes under one version")
	}
	if len(r.Different) > 0 {
		bad("answers differ between nodes on %s", strings.Join(r.Different, ", "))
	}
	return errors.Join(broken...)
}

func (r *demoReport) print(w io.Writer) error {
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("NODE", "LAYER", "MODULE", "SHA-256", "CALLS", "FAILED", "CALM p50 / p99", "DURING SWAPS", "SWAP (of it compile)")
	frames, right, calls := 0, 0, 0
	for _, n := range r.Nodes {
		swap := "–"
		if n.SwapTime > 0 {
			swap = fmt.Sprintf("%s (%s)", milliseconds(n.SwapTime), milliseconds(n.CompileTime))
		}
		t.row(n.Node, n.Layer, n.Module+"@"+n.Version, fmt.Sprintf("%.16s", n.SHA256), n.Calls, n.Failed, n.Calm, n.During, swap)
		frames, right, calls = frames+n.Frames, right+n.Right, calls+n.Calls
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nReadings: %d of %d frames read as the meter stood.\n", right, frames)
	if r.verdict() == nil {
		fmt.Fprintf(w, "Same binary on each layer: SHA-256 %s.\n", r.Nodes[0].SHA256)
		fmt.Fprintf(w, "Outputs byte-identical on all layers: checked on %s under two versions, %d differences.\n",
			plural(r.Compared, "frame"), len(r.Different))
		fmt.Fprintf(w, "None of %d calls failed; version 3 got no further than the canary's gate.\n", calls)
	}
	return nil
}
