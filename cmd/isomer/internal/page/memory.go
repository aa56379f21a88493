package page

import (
	"fmt"

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
	change := make([]int, m.Steps+1)
	for i, b := range s.Blocks {
		change[b.First] += b.Size
		change[b.Last+1] -= b.Size
		m.Bytes = max(m.Bytes, b.Address-base+b.Size)
		if len(m.Rects) < maxDrawn {
			m.Rects = append(m.Rects, rect{
				X: b.First, Y: b.Address - base, W: b.Last - b.First + 1, H: b.Size, Color: i % colors,
				Title: fmt.Sprintf("%s\n%s, steps %d to %d", b.Name, amount(b.Size), b.First, b.Last),
			})
		}
	}
	live, peak := 0, 0
	for i := range m.Steps {
		live += change[i]
		if live > peak {
			peak, m.PeakStep = live, i
		}
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

func amount(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.2f MB", float64(n)/1e6)
}
