package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// goal is a ratio between two contestants that the project wants to stay below.
type goal struct {
	group             string
	ours, oursModel   string
	other, otherModel string
	most              float64
}

const (
	mobilenet = "mobilenetv2"
	quantised = "mobilenetv2_qdq"
)

var goals = []goal{
	{mobilenet, "V8", mobilenet, web, mobilenet, 0.35},
	{mobilenet, "wasmtime", mobilenet, web, mobilenet, 0.40},
	{mobilenet, "wazero", mobilenet, web, mobilenet, 0.65},
	{mobilenet, "wasmtime", mobilenet, native, mobilenet, 2.3},
	{mobilenet, "wazero", quantised, "wazero", mobilenet, 0.8},
	{mobilenet, "wasmtime", quantised, "wasmtime", mobilenet, 0.8},
	{"resnet50", "V8", "resnet50", web, "resnet50", 0.7},
	{"efficientnet-lite0", "V8", "efficientnet-lite0", web, "efficientnet-lite0", 0.7},
	{"yolo", "V8", "yolo-320", web, "yolo-320", 0.7},
	{"transformer", "V8", "transformer", web, "transformer", 0.7},
	{"transformer-pieces", "V8", "transformer-pieces", web, "transformer-pieces", 0.7},
}

// printGoals writes each goal beside the ratios of medians, of least times and of processor times, and whether
// all three meet it; a goal whose contestants did not run is left out.
func (rep *report) printGoals(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	rows := 0
	for _, g := range goals {
		for _, r := range rep.Races {
			a, b := r.find(g.ours, g.oursModel), r.find(g.other, g.otherModel)
			if r.Group != g.group || a == nil || b == nil {
				continue
			}
			if rows++; rows == 1 {
				fmt.Fprint(out, "### goals, as ratios\n\n")
				fmt.Fprintln(w, "| ours\t| to\t| goal\t| medians\t| least\t| CPU\t| met\t|\n|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
			}
			ratios := []float64{a.Median / b.Median, a.Min / b.Min, a.CPU / b.CPU}
			met := "no"
			if slices.Max(ratios) <= g.most {
				met = "yes"
			} else if slices.Min(ratios) <= g.most {
				met = "not each"
			}
			other := g.other
			if g.otherModel != g.oursModel {
				other += ", " + g.otherModel
			}
			fmt.Fprintf(w, "| %s in %s\t| %s\t| ≤ %.2f\t| %.2f\t| %.2f\t| %.2f\t| %s\t|\n",
				g.oursModel, g.ours, other, g.most, ratios[0], ratios[1], ratios[2], met)
		}
	}
	_ = w.Flush() // to stdout
	fmt.Fprintln(out)
}
