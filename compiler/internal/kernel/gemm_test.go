package kernel

import (
	"fmt"
	"testing"
	"time"
)

// pointwise is the Gemm of a 1×1 convolution over m pixels with packed constants.
func pointwise(m, n, k int, tile Tile) Gemm {
	rows := k
	if tile.Skew {
		rows = roundUp(k)
	}
	return Gemm{
		Outer: 1, Inner: m, AInner: k * 4, CInner: n * 4,
		Seg0: 1, Seg1: 1, Depth: k, N: n,
		BRow: tile.NV * vec, BPanel: rows * tile.NV * vec, Tile: tile,
	}
}

func BenchmarkGemmTiles(b *testing.B) {
	for _, shape := range [][3]int{{784, 192, 192}, {3136, 96, 16}, {49, 320, 960}, {196, 96, 576}} {
		for _, tile := range []Tile{
			{2, 4, 4, false}, {2, 4, 8, false}, {2, 4, 16, false}, {3, 4, 4, false}, {2, 5, 4, false}, {1, 6, 8, false},
			{2, 1, 4, true}, {2, 1, 8, true}, {2, 1, 12, true}, {2, 1, 16, true}, {3, 1, 8, true},
		} {
			g := pointwise(shape[0], shape[1], shape[2], tile)
			b.Run(fmt.Sprintf("%s/%dx%d_u%d_skew=%v", g.Name(), tile.MR, tile.NV, tile.Unroll, tile.Skew), func(b *testing.B) {
				m := newMachine(b, g, 16<<20)
				a := m.put(make([]float32, shape[0]*shape[2]))
				w := m.put(make([]float32, shape[2]*up(shape[1], tile.PanelCols())))
				c := m.put(make([]float32, shape[0]*shape[1]))
				bias := m.put(make([]float32, up(shape[1], tile.PanelCols())))
				best := time.Duration(1 << 62)
				for b.Loop() { // the quietest call: other work on the machine only ever adds
					began := time.Now()
					m.call(a, w, c, bias)
					best = min(best, time.Since(began))
				}
				macs := float64(shape[0]) * float64(shape[1]) * float64(shape[2])
				b.ReportMetric(macs/best.Seconds()/1e9, "GMAC/s")
			})
		}
	}
}

func up(n, to int) int { return (n + to - 1) / to * to }
