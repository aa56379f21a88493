// Package page writes the page that shows a compiled network: its graph, the cost of each layer, the
// memory over time. Use Write for a page that a person opens; never for a program to read, which has
// "isomer build --json". The page is one file that asks no other host for anything and runs nothing
// but its own script. v0: its looks may change at any time.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/compiler"
)

// Page is what there is to show.
type Page struct {
	Title string
	Facts [][2]string // a name and a value each, in order
	Stats compiler.Stats
	// Times are those of the layers, one for each, or none. TimedOn says where they come from, and
	// Measured that they are no estimate.
	Times    []time.Duration
	TimedOn  string
	Measured bool
}

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

var whole = template.Must(template.New("page").Parse(pageText))

// maxDrawn bounds the layers in the drawing, which a browser must hold at once; the table has them all.
const maxDrawn = 5000

// Write writes the page as HTML.
func Write(w io.Writer, p Page) error {
	if len(p.Times) != len(p.Stats.Layers) {
		p.Times = nil
	}
	v := view{Page: p, Style: template.CSS(style), Script: template.JS(script), StyleHash: hash(style), ScriptHash: hash(script)}
	v.layers()
	v.Metrics = v.metrics()
	v.Graph = newDrawing(p.Stats, v.Layers[:min(len(v.Layers), maxDrawn)])
	v.Map = newMemory(p.Stats)
	v.Cards = v.cards()
	if err := whole.Execute(w, v); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}

// hash is what a content security policy knows a part of its page by.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// view is the page as its template reads it.
type view struct {
	Page
	Style                 template.CSS
	Script                template.JS
	StyleHash, ScriptHash string
	Layers                []layer
	Metrics               []metric
	Graph                 drawing
	Map                   memory
	Cards                 []card
}

// Drawn is the number of layers in the drawing.
func (v view) Drawn() int { return min(len(v.Layers), maxDrawn) }

// card is a number at the top of the page.
type card struct{ Value, Unit, What string }

// layer is a layer as the table and the script see it.
type layer struct {
	Index   int      `json:"-"`
	Name    string   `json:"name"`
	Op      string   `json:"op"`
	Label   string   `json:"label"`
	Shape   string   `json:"shape"`
	Kernel  string   `json:"kernel"`
	Kind    string   `json:"kind"`
	Attrs   string   `json:"attrs"`
	Fused   []string `json:"fused"`
	Inputs  []value  `json:"inputs"`
	Outputs []value  `json:"outputs"`
	Reads   []int    `json:"reads"`
	MACs    int      `json:"macs"`
	Weights int      `json:"weights"`
	Moved   int      `json:"moved"`
	Micros  float64  `json:"time"`
	Heat    int      `json:"-"` // 0 to 9, of the first metric
	Share   string   `json:"-"` // of the first metric
}

// Cells are the numbers of a row, by the columns of the table.
func (l layer) Cells() []string {
	cells := []string{"", "", ""}
	if l.MACs > 0 {
		c := number(l.MACs, "")
		cells[0] = c.Value + " " + c.Unit
	}
	for i, n := range []int{l.Moved, l.Weights} {
		if n > 0 {
			cells[i+1] = amount(n)
		}
	}
	return cells
}

// Time is that of the layer, with three digits at most.
func (l layer) Time() string {
	switch {
	case l.Micros == 0:
		return ""
	case l.Micros >= 1000:
		return significant(l.Micros/1000) + " ms"
	case l.Micros >= 10:
		return fmt.Sprintf("%.0f µs", l.Micros)
	}
	return fmt.Sprintf("%.1f µs", l.Micros)
}

// value is an input or output of a layer, for the script.
type value struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Const bool   `json:"const,omitempty"`
}

func (v *view) layers() {
	for i, l := range v.Stats.Layers {
		row := layer{
			Index: i, Name: l.Name, Op: l.Op, Label: label(l), Kernel: l.Kernel, Kind: string(l.Kind), Attrs: l.Attributes,
			Fused: l.Fused, Reads: l.Reads, MACs: l.MACs, Weights: l.Weights, Moved: l.Moved,
		}
		for _, in := range l.Inputs {
			row.Inputs = append(row.Inputs, value(in))
		}
		for _, out := range l.Outputs {
			row.Outputs = append(row.Outputs, value(out))
		}
		if len(l.Outputs) > 0 {
			row.Shape = l.Outputs[0].Type
		}
		if v.Times != nil {
			row.Micros = float64(v.Times[i].Nanoseconds()) / 1e3
		}
		v.Layers = append(v.Layers, row)
	}
}

// metric is a way to see cost. The drawing begins with the first.
type metric struct{ Key, Name string }

// metrics lists the ways that say something here, and colours the layers by the first.
func (v *view) metrics() []metric {
	costs := []struct {
		metric
		of func(layer) float64
	}{
		{metric{"time", "expected time"}, func(l layer) float64 { return l.Micros }},
		{metric{"macs", "multiply-adds"}, func(l layer) float64 { return float64(l.MACs) }},
		{metric{"moved", "bytes moved"}, func(l layer) float64 { return float64(l.Moved) }},
		{metric{"weights", "weights"}, func(l layer) float64 { return float64(l.Weights) }},
	}
	if v.Measured {
		costs[0].Name = "measured time"
	}
	var list []metric
	for _, c := range costs {
		total, most := 0.0, 0.0
		for _, l := range v.Layers {
			total += c.of(l)
			most = max(most, c.of(l))
		}
		if total == 0 {
			continue
		}
		list = append(list, c.metric)
		if len(list) > 1 {
			continue
		}
		for i, l := range v.Layers {
			v.Layers[i].Heat = int(9 * c.of(l) / most)
			v.Layers[i].Share = percent(c.of(l) / total)
		}
	}
	return list
}

func percent(share float64) string {
	switch {
	case share == 0:
		return ""
	case share < 0.001:
		return "<0.1 %"
	case share < 0.1:
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

func (v *view) cards() []card {
	s := v.Stats
	cards := []card{
		number(len(s.Layers), "layers"),
		number(s.Parameters, "parameters"),
		number(s.MACs, "multiply-adds"),
		bytes(s.Module.Weights+s.Module.Code+s.Module.Manifest+s.Module.Other, "module"),
		bytes(s.Arena, "activations"),
		bytes(s.Memory, "memory of an instance"),
	}
	var total time.Duration
	for _, t := range v.Times {
		total += t
	}
	if total > 0 {
		what := "expected, about"
		if v.Measured {
			what = "measured"
		}
		cards = append(cards, card{significant(float64(total.Nanoseconds()) / 1e6), "ms", what})
	}
	return cards
}

func number(n int, what string) card {
	switch {
	case int64(n) >= 10_000_000_000:
		return card{significant(float64(n) / 1e9), "G", what}
	case n >= 1_000_000:
		return card{significant(float64(n) / 1e6), "M", what}
	case n >= 10_000:
		return card{significant(float64(n) / 1e3), "k", what}
	}
	return card{fmt.Sprint(n), "", what}
}

func bytes(n int, what string) card {
	if n >= 1_000_000 {
		return card{significant(float64(n) / 1e6), "MB", what}
	}
	return card{significant(float64(n) / 1e3), "kB", what}
}

func significant(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// label is a layer in a few words: what it computes, its window, its stride.
func label(l compiler.Layer) string {
	name := l.Op
	if l.Kind == compiler.Depthwise || l.Kind == compiler.ByteDepth {
		name = "depthwise"
	}
	if fn, ok := strings.CutPrefix(l.Attributes, "Fn="); ok { // of operators that are many functions
		name, _, _ = strings.Cut(fn, " ")
		if l.Op == "pool" || l.Op == "reduce" {
			name += " " + l.Op
		}
	}
	if strings.HasSuffix(l.Op, "conv") && len(l.Inputs) > 1 {
		if _, dims, ok := strings.Cut(strings.TrimSuffix(l.Inputs[1].Type, "]"), "["); ok {
			if d := strings.Split(dims, ","); len(d) > 2 {
				name += " " + strings.Join(d[:len(d)-2], "×")
			}
		}
	}
	if _, rest, ok := strings.Cut(l.Attributes, "Strides=["); ok {
		strides, _, _ := strings.Cut(rest, "]")
		if first, _, _ := strings.Cut(strides, ","); first != "1" {
			name += " /" + first
		}
	}
	for i, f := range l.Fused {
		if i == 3 {
			name += " …"
			break
		}
		name += " + " + f
	}
	return name
}
