package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// demoReport is what the demo found.
type demoReport struct {
	Layers []layerReport `json:"layers"`
	// Compared is the number of frames, each under one version, whose answers at least two layers gave.
	Compared int `json:"compared"`
	// Different are those of them whose bytes were not the same everywhere.
	Different []string `json:"different"`
}

type layerReport struct {
	Layer       string            `json:"layer"`
	Engine      string            `json:"engine"`
	Module      string            `json:"module"`
	Version     string            `json:"version"`
	SHA256      string            `json:"sha256"`
	Calls       int               `json:"calls"`
	Failed      int               `json:"failed"`
	Errors      []string          `json:"errors,omitempty"`
	Frames      int               `json:"frames"`
	Right       int               `json:"right"` // frames read as the meter stood
	Swaps       int               `json:"swaps"`
	Refused     int               `json:"refused"`
	Before      latency           `json:"before"`
	During      latency           `json:"during"`
	After       latency           `json:"after"`
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

// compare sets the answers of the layers against each other.
func (r *demoReport) compare() {
	r.Different = []string{}
	all := map[string][]string{}
	for _, l := range r.Layers {
		for key, digest := range l.Answers {
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

// verdict is an error that lists every promise of the demo that was not kept.
func (r *demoReport) verdict() error {
	var broken []error
	bad := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }
	for _, l := range r.Layers {
		if l.Failed > 0 || len(l.Errors) > 0 {
			bad("%s: %d failed calls: %s", l.Layer, l.Failed, strings.Join(l.Errors, "; "))
		}
		if l.Swaps != 1 || l.Refused != 1 {
			bad("%s: %d swaps and %d refusals, want one each", l.Layer, l.Swaps, l.Refused)
		}
		if l.SHA256 != r.Layers[0].SHA256 {
			bad("%s serves %s, %s serves %s", l.Layer, l.SHA256, r.Layers[0].Layer, r.Layers[0].SHA256)
		}
	}
	if r.Compared == 0 {
		bad("no frame was read by two layers under one version")
	}
	if len(r.Different) > 0 {
		bad("answers differ between layers on %s", strings.Join(r.Different, ", "))
	}
	return errors.Join(broken...)
}

func (r *demoReport) print(w io.Writer) error {
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("LAYER", "ENGINE", "MODULE", "SHA-256", "CALLS", "FAILED", "BEFORE p50 / p99", "DURING", "AFTER", "SWAP (of it compile)")
	for _, l := range r.Layers {
		t.row(l.Layer, l.Engine, l.Module+"@"+l.Version, l.SHA256[:16], l.Calls, l.Failed, l.Before, l.During, l.After,
			fmt.Sprintf("%s (%s)", milliseconds(l.SwapTime), milliseconds(l.CompileTime)))
	}
	if err := t.flush(); err != nil {
		return err
	}
	frames, right := 0, 0
	for _, l := range r.Layers {
		frames, right = frames+l.Frames, right+l.Right
	}
	fmt.Fprintf(w, "\nReadings: %d of %d frames read as the meter stood.\n", right, frames)
	if r.verdict() == nil {
		fmt.Fprintf(w, "Same binary on each layer: SHA-256 %s.\n", r.Layers[0].SHA256)
		fmt.Fprintf(w, "Outputs byte-identical on all layers: checked on %s under two versions, %d differences.\n",
			plural(r.Compared, "frame"), len(r.Different))
		fmt.Fprintln(w, "No call failed; the damaged file was refused everywhere.")
	}
	return nil
}
