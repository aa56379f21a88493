package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/isomer-iot/isomer/compiler"
)

// widths and sizes are those that MobileNetV2 was published with, from a microcontroller's to a camera's.
var (
	widths = []float64{0.35, 0.5, 0.75, 1, 1.4}
	sizes  = []int{96, 128, 160, 224, 320, 448}
)

// scaling is how one engine's time grows with the multiply-adds.
type scaling struct {
	Engine string `json:"engine"`
	// Origin is the best line through the origin; Line may begin with a constant cost, such as a classifier's, which is the same
	// at every size.
	Origin line    `json:"origin"`
	Line   line    `json:"line"`
	Points []point `json:"points"`
}

// line is Constant + NSPerMAC · multiply-adds; Worst is the largest relative deviation of a point from it, which is as small
// as a line can make it.
type line struct {
	Constant float64 `json:"constant_ms"`
	NSPerMAC float64 `json:"ns_per_mac"`
	Worst    float64 `json:"worst"`
}

type point struct {
	Width  float64 `json:"width"`
	Size   int     `json:"size"`
	MACs   int     `json:"macs"`
	Median float64 `json:"median_ms"`
	Min    float64 `json:"min_ms"`
	CPU    float64 `json:"cpu_ms"`
}

func (p point) ns() float64 { return p.Min * 1e6 / float64(p.MACs) }

// scale measures MobileNetV2 at each width and size: in one engine after the other, all networks of an engine in turns, so
// that what else the machine does falls on all points alike.
func (h *harness) scale(ctx context.Context, rep *report, out io.Writer) error {
	var points []point
	var subjects []*subject
	for _, width := range widths {
		for _, size := range sizes {
			path, err := h.path(ctx, fmt.Sprintf("mobilenetv2-%.*f.onnx", decimals(width), width), true)
			if err != nil || path == "" {
				return err
			}
			s, m, err := h.build(path, compiler.Options{Dims: map[string]int{"height": size, "width": size}}, false)
			if err != nil {
				return err
			}
			points = append(points, point{Width: width, Size: size, MACs: m.Stats.MACs})
			subjects = append(subjects, s)
		}
	}
	for _, engine := range h.contestants() {
		if engine.Name == web || engine.Name == native {
			continue
		}
		r, err := h.grow(ctx, engine.Name, points, subjects)
		if err != nil {
			return err
		}
		rep.Scale = append(rep.Scale, r)
		r.print(out)
	}
	return nil
}

// grow measures all points in one engine.
func (h *harness) grow(ctx context.Context, engine string, points []point, subjects []*subject) (*scaling, error) {
	var entries []*entry
	for i, p := range points {
		for _, e := range h.contestants() {
			if e.Name == engine {
				e.Model, e.subject = fmt.Sprintf("%v/%d", p.Width, p.Size), subjects[i]
				entries = append(entries, e)
			}
		}
	}
	err := h.run(ctx, entries)
	for _, e := range entries {
		_ = e.Close()
	}
	if err != nil {
		return nil, err
	}
	r := &scaling{Engine: engine, Points: slices.Clone(points)}
	for i, e := range entries {
		if e.Failed != "" {
			return nil, fmt.Errorf("%s with %s: %s", e.Name, e.Model, e.Failed)
		}
		r.Points[i].Median, r.Points[i].Min, r.Points[i].CPU = e.Median, e.Min, e.CPU
	}
	r.fit()
	return r, nil
}

// decimals is how the generator writes a width: 1.0, 0.5 and 0.35.
func decimals(width float64) int {
	if math.Round(width*10) == width*10 {
		return 1
	}
	return 2
}

// fit finds both lines; for the second it looks at constants that cost as much as up to 20 M multiply-adds, a sixteenth of
// MobileNetV2.
func (r *scaling) fit() {
	r.Origin = r.through(0)
	r.Line = r.Origin
	for macs := 0.0; macs <= 20e6; macs += 1e4 {
		if l := r.through(macs); l.Worst < r.Line.Worst {
			r.Line = l
		}
	}
}

// through is the best line whose constant costs as much as some multiply-adds: its factor is the middle of the
// least and the most that a point costs for each.
func (r *scaling) through(constant float64) line {
	least, most := math.Inf(1), 0.0
	for _, p := range r.Points {
		ns := p.Min * 1e6 / (float64(p.MACs) + constant)
		least, most = min(least, ns), max(most, ns)
	}
	ns := (least + most) / 2
	return line{constant * ns / 1e6, ns, most/ns - 1}
}

func (r *scaling) print(out io.Writer) {
	fmt.Fprintf(out, "### cost of scale, %s, of least times\n\n%.4f ns for each multiply-add within %.0f %%; %.2f ms and %.4f ns for each within %.0f %%. The table has ns for each.\n\n",
		r.Engine, r.Origin.NSPerMAC, 100*r.Origin.Worst, r.Line.Constant, r.Line.NSPerMAC, 100*r.Line.Worst)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| width")
	for _, s := range sizes {
		fmt.Fprintf(w, "\t| %d", s)
	}
	fmt.Fprint(w, "\t|\n|---"+strings.Repeat("\t|---", len(sizes))+"\t|")
	for i, p := range r.Points {
		if i%len(sizes) == 0 {
			fmt.Fprintf(w, "\n| %v", p.Width)
		}
		fmt.Fprintf(w, "\t| %.4f (%+.0f %%)", p.ns(), 100*(p.ns()/r.Origin.NSPerMAC-1))
		if i%len(sizes) == len(sizes)-1 {
			fmt.Fprint(w, "\t|")
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush() // to stdout
	fmt.Fprintln(out)
}
