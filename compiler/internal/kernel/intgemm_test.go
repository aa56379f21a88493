package kernel

import (
	"fmt"
	"testing"
	"time"
)

// intPointwise is the IntGemm of a 1×1 convolution over m pixels.
func intPointwise(m, n, k int, tile IntTile) IntGemm {
	return IntGemm{
		Outer: 1, Inner: m, AInner: k, CInner: n, Seg0: 1, Seg1: 1, Depth: k, N: n, Tile: tile,
		Requant: Requant{Zero: 3, Lo: 0, Hi: 255, Unsigned: true},
	}
}

func BenchmarkIntGemmTiles(b *testing.B) {
	for _, shape := range [][3]int{{784, 192, 192}, {3136, 96, 16}, {49, 320, 960}, {196, 96, 576}} {
		for _, tile := range []IntTile{{2, 8}, {2, 16}, {2, 32}, {3, 16}, {1, 32}} {
			g := intPointwise(shape[0], shape[1], shape[2], tile)
			b.Run(fmt.Sprintf("%s/%d_u%d", g.Name(), tile.MR, tile.Unroll), func(b *testing.B) {
				m := newMachine(b, g, 16<<20)
				a := m.put(make([]float32, (shape[0]*shape[2]+64)/4))
				w := m.put(make([]float32, (shape[2]+8)*(shape[1]+4)/2))
				c := m.put(make([]float32, shape[0]*shape[1]))
				bias := m.put(make([]float32, shape[1]+4))
				best := time.Duration(1 << 62)
				for b.Loop() { // the quietest call: other work on the machine only ever adds
					began := time.Now()
					m.call(a, w, c, bias, bias)
					best = min(best, time.Since(began))
				}
				macs := float64(shape[0]) * float64(shape[1]) * float64(shape[2])
				b.ReportMetric(macs/best.Seconds()/1e9, "GMAC/s")
			})
		}
	}
}
