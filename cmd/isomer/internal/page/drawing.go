package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/isomer-iot/isomer/compiler"
)

// Measures of the drawing, in pixels at its natural size.
const (
	boxWidth, boxHeight = 248, 54
	gapX, gapY          = 30, 24
	laneGap             = 9
	margin              = 16
	titleRunes          = 23 // fit the box beside the share
	shapeRunes          = 30
)

// drawing is the graph from top to bottom: each layer stands below all that it reads. A result that is
// read further down than in the next row goes there by a lane on the right, one for each such result,
// so that nothing is drawn through a box and the layout takes linear time.
type drawing struct {
	Width, Height int
	BoxWidth      int
	BoxHeight     int
	Boxes         []box
	Edges         []edge
}

// box is a layer, an input or an output as it is drawn, lengths in pixels.
type box struct {
	X, Y, Bar int
	Class     string // layer, input or output
	Layer     int    // -1 for inputs and outputs
	Title     string
	Shape     string
	Share     string
	Full      string // for the tooltip
	Heat      int
	row, col  int
}

// edge leads from a result to one who reads it.
type edge struct {
	From, To int // boxes' layers, -1 for inputs and outputs
	Path     string
}

// row is what is known of one row of boxes while they are placed.
type row struct {
	used map[int]bool
	last int // the largest column
}

// placer gives boxes and lanes their places, row by row.
type placer struct {
	d     drawing
	rows  []row
	lanes map[int][]int // by the column that they are right of: the row in which each lane ends
	width int
}

func newDrawing(s compiler.Stats, layers []layer) drawing {
	p := &placer{lanes: map[int][]int{}}
	inputs := make([]int, len(s.Inputs))
	for i, v := range s.Inputs {
		inputs[i] = p.add(box{Class: "input", Layer: -1, Title: v.Name, Shape: v.Type, Full: v.Name}, 0, i)
	}
	at := make([]int, len(layers))
	source := func(r int) int {
		if r < 0 {
			return inputs[-1-r]
		}
		return at[r]
	}
	readers := make([][]int, len(inputs)+len(layers)+len(s.Outputs))
	for i, l := range layers {
		// Below the leftmost of what it reads, so that branches come back to the column that they left.
		row, col := 0, math.MaxInt
		for _, r := range l.Reads {
			b := p.d.Boxes[source(r)]
			row, col = max(row, b.row+1), min(col, b.col)
		}
		if len(l.Reads) == 0 {
			col = 0
		}
		at[i] = p.add(box{
			Class: "layer", Layer: i, Title: l.Label, Shape: l.Shape, Share: l.Share, Heat: l.Heat,
			Full: fmt.Sprintf("%d %s", i, l.Name),
		}, row, col)
		for _, r := range l.Reads {
			readers[source(r)] = append(readers[source(r)], at[i])
		}
	}
	for _, o := range s.Outputs {
		if o.Layer >= len(layers) {
			continue // beyond what is drawn
		}
		from := source(o.Layer)
		b := p.d.Boxes[from]
		to := p.add(box{Class: "output", Layer: -1, Title: o.Name, Shape: o.Type, Full: o.Name}, b.row+1, b.col)
		readers[from] = append(readers[from], to)
	}
	for from, list := range readers {
		if len(list) > 0 {
			p.connect(from, list)
		}
	}
	for i := range p.d.Boxes {
		b := &p.d.Boxes[i]
		b.Title, b.Shape = cut(b.Title, titleRunes), cut(b.Shape, shapeRunes)
		b.Bar = boxWidth * b.Heat / 9
		p.width = max(p.width, b.X+boxWidth)
	}
	p.d.BoxWidth, p.d.BoxHeight = boxWidth, boxHeight
	p.d.Width, p.d.Height = p.width+margin, len(p.rows)*(boxHeight+gapY)-gapY+2*margin
	return p.d
}

// add places a box in a row, in the wanted column if that is free, and returns its number.
func (p *placer) add(b box, r, col int) int {
	for len(p.rows) <= r {
		p.rows = append(p.rows, row{used: map[int]bool{}, last: -1})
	}
	at := &p.rows[r]
	if at.used[col] {
		col = at.last + 1
	}
	at.used[col] = true
	at.last = max(at.last, col)
	b.row, b.col = r, col
	b.X, b.Y = margin+col*(boxWidth+gapX), margin+r*(boxHeight+gapY)
	p.d.Boxes = append(p.d.Boxes, b)
	return len(p.d.Boxes) - 1
}

// longLane is how many rows a lane is fitted beside; a longer one runs beside the widest row of all, so
// that many long lanes do not cost quadratic time.
const longLane = 300

// connect draws the edges from one box to its readers.
func (p *placer) connect(from int, to []int) {
	a := p.d.Boxes[from]
	last := a.row
	for _, t := range to {
		last = max(last, p.d.Boxes[t].row)
	}
	lane := 0
	if last > a.row+1 {
		lane = p.lane(a.row, last)
	}
	for _, t := range to {
		b := p.d.Boxes[t]
		e := edge{From: a.Layer, To: b.Layer}
		if b.row == a.row+1 {
			x1, y1, x2, y2 := a.X+boxWidth/2, a.Y+boxHeight, b.X+boxWidth/2, b.Y
			e.Path = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+gapY/2, x2, y2-gapY/2, x2, y2)
		} else {
			e.Path = p.leave(a, lane) + p.arrive(b, lane)
		}
		p.d.Edges = append(p.d.Edges, e)
	}
}

// leave is the way from a box to a lane: out of its side if it is the last of its row, or below the row.
func (p *placer) leave(b box, lane int) string {
	if b.col == p.rows[b.row].last {
		y := b.Y + boxHeight*2/3
		return fmt.Sprintf("M%d %dH%dQ%d %d %d %d", b.X+boxWidth, y, lane-6, lane, y, lane, y+6)
	}
	x, y := b.X+boxWidth*2/3, b.Y+boxHeight+gapY/2
	return fmt.Sprintf("M%d %dV%dQ%d %d %d %dH%dQ%d %d %d %d", x, b.Y+boxHeight, y-6, x, y, x+6, y, lane-6, lane, y, lane, y+6)
}

// arrive is the way from a lane to a box, alike.
func (p *placer) arrive(b box, lane int) string {
	if b.col == p.rows[b.row].last {
		y := b.Y + boxHeight/3
		return fmt.Sprintf("V%dQ%d %d %d %dH%d", y-6, lane, y, lane-6, y, b.X+boxWidth)
	}
	x, y := b.X+boxWidth*2/3, b.Y-gapY/2
	return fmt.Sprintf("V%dQ%d %d %d %dH%dQ%d %d %d %dV%d", y-6, lane, y, lane-6, y, x+6, x, y, x, y+6, b.Y)
}

// lane is the place of a lane between two rows.
func (p *placer) lane(first, last int) int {
	from, to := first, last
	if last-first > longLane {
		from, to = 0, len(p.rows)-1
	}
	col := 0
	for r := from; r <= to; r++ {
		col = max(col, p.rows[r].last)
	}
	ends := p.lanes[col]
	k := 0
	for k < len(ends) && ends[k] >= first {
		k++
	}
	if k == len(ends) {
		ends = append(ends, 0)
	}
	ends[k] = last
	p.lanes[col] = ends
	x := margin + col*(boxWidth+gapX) + boxWidth + 12 + laneGap*k
	p.width = max(p.width, x)
	return x
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	r := []rune(strings.ToValidUTF8(s, "�"))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
