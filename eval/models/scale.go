package main

import (
	"context"
	"fmt"
	"io"
	"math"
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
	// NSPerMAC is the fit through the origin that makes the worst of all deviations smallest.
	NSPerMAC float64 `json:"ns_per_mac"`
	// Worst is the largest relative deviation from it.
	Worst  float64 `json:"worst"`
	Points []point `json:"points"`
}

type point struct {
	Width  float64 `json:"width"`
	Size   int     `json:"size"`
	MACs   int     `json:"macs"`
	Median float64 `json:"median_ms"`
	Min    float64 `json:"min_ms"`
}

func (p point) ns() float64 { return p.Min * 1e6 / float64(p.MACs) }

// scale measures MobileNetV2 at each width and size; the engines take turns.
func (h *harness) scale(ctx context.Context, rep *report, out io.Writer) error {
	results := map[string]*scaling{}
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
			var entries []*entry
			for _, e := range h.contestants() {
				if e.Name != web && e.Name != native {
					e.Model, e.subject = fmt.Sprintf("%v/%d", width, size), s
					entries = append(entries, e)
				}
			}
			err = h.run(ctx, entries)
			for _, e := range entries {
				_ = e.Close()
			}
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e.Failed != "" {
					return fmt.Errorf("%s with %s: %s", e.Name, e.Model, e.Failed)
				}
				r := results[e.Name]
				if r == nil {
					r = &scaling{Engine: e.Name}
					results[e.Name], rep.Scale = r, append(rep.Scale, r)
				}
				r.Points = append(r.Points, point{width, size, m.Stats.MACs, e.Median, e.Min})
			}
		}
	}
	for _, r := range rep.Scale {
		r.fit()
		r.print(out)
	}
	return nil
}

// decimals is how the generator writes a width: 1.0, 0.5 and 0.35.
func decimals(width float64) int {
	if math.Round(width*10) == width*10 {
		return 1
	}
	return 2
}

// fit finds the line through the origin. Relative deviations are equal at both ends when the factor is the
// harmonic middle: with a the least and b the most per multiply-add, (b-f)/f = (f-a)/f.
func (r *scaling) fit() {
	least, most := math.Inf(1), 0.0
	for _, p := range r.Points {
		least, most = min(least, p.ns()), max(most, p.ns())
	}
	r.NSPerMAC = (least + most) / 2
	r.Worst = (most - r.NSPerMAC) / r.NSPerMAC
}

func (r *scaling) print(out io.Writer) {
	fmt.Fprintf(out, "### cost of scale, %s: least time over multiply-adds, %.4f ns each within %.0f %%\n\n", r.Engine, r.NSPerMAC, 100*r.Worst)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| width")
	for _, s := range sizes {
		fmt.Fprintf(w, "\t| %d", s)
	}
	fmt.Fprint(w, "\t|\n|---")
	for range sizes {
		fmt.Fprint(w, "\t|---")
	}
	fmt.Fprint(w, "\t|")
	for i, p := range r.Points {
		if i%len(sizes) == 0 {
			fmt.Fprintf(w, "\n| %v", p.Width)
		}
		fmt.Fprintf(w, "\t| %.4f (%+.0f %%)", p.ns(), 100*(p.ns()/r.NSPerMAC-1))
		if i%len(sizes) == len(sizes)-1 {
			fmt.Fprint(w, "\t|")
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush() // to stdout
	fmt.Fprintln(out)
}
