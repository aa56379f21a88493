package page

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler"
)

// memory is the map of the arena: steps from left to right, addresses from top to bottom.
type memory struct {
	Steps, Bytes int
	Rects        []rect
	Peak         string // the most of them
	PeakStep     int    // where
	PeakAt       string
	Size         string
}

// rect is a block of the arena as it is drawn.
type rect struct {
	X, Y, W, H int
	Color      int
	Title      string
}

// colors is the number of tints of the map; neighbours differ.
const colors = 6

func newMemory(s compiler.Stats) memory {
	m := memory{Steps: len(s.Layers) + 2, Size: amount(s.Arena)}
	if len(s.Blocks) == 0 {
		return memory{}
	}
	base := s.Blocks[0].Address
	for _, b := range s.Blocks {
		base = min(base, b.Address)
	}
	ends := make([][]int, m.Steps) // blocks by their last step
	starts := make([][]int, m.Steps)
	for i, b := range s.Blocks {
		starts[b.First], ends[b.Last] = append(starts[b.First], i), append(ends[b.Last], i)
		m.Bytes = max(m.Bytes, b.Address-base+b.Size)
		if len(m.Rects) < maxDrawn {
			m.Rects = append(m.Rects, rect{
				X: b.First, Y: b.Address - base, W: b.Last - b.First + 1, H: b.Size, Color: i % colors,
				Title: fmt.Sprintf("%s\n%s, steps %d to %d", b.Name, amount(b.Size), b.First, b.Last),
			})
		}
	}
	peak, work := 0, 0
	alive := map[int]bool{}
	for step := range m.Steps {
		for _, i := range starts[step] {
			alive[i] = true
		}
		if work += len(alive); work > maxAlive {
			peak = 0
			break
		}
		if live := covered(s.Blocks, alive); live > peak {
			peak, m.PeakStep = live, step
		}
		for _, i := range ends[step] {
			delete(alive, i)
		}
	}
	if peak == 0 {
		return m
	}
	m.Peak = amount(peak)
	switch at := m.PeakStep - 1; {
	case at < 0:
		m.PeakAt = "when the inputs are there"
	case at < len(s.Layers):
		m.PeakAt = fmt.Sprintf("in layer %d", at)
	default:
		m.PeakAt = "at the end"
	}
	return m
}

// maxAlive bounds the work for the peak, which is as many blocks as are alive at each step: a page does
// without it where that is millions.
const maxAlive = 1 << 21

// covered is the number of bytes that the blocks alive hold, those that two share counted once.
func covered(blocks []compiler.Block, alive map[int]bool) int {
	spans := make([]compiler.Block, 0, len(alive))
	for i := range alive {
		spans = append(spans, blocks[i])
	}
	slices.SortFunc(spans, func(a, b compiler.Block) int { return a.Address - b.Address })
	sum, end := 0, 0
	for _, b := range spans {
		sum += max(0, b.Address+b.Size-max(end, b.Address))
		end = max(end, b.Address+b.Size)
	}
	return sum
}

func amount(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.2f MB", float64(n)/1e6)
}
