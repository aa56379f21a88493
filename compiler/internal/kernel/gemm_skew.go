package kernel

import "github.com/isomer-iot/isomer/wasm"

// A skewed tile multiplies vectors of A as they lie in memory. Accumulator s of a row adds, in lane l,
// the products of depth d+l with column (l+s) mod 4, for which B is packed diagonal by diagonal; at the
// end turns of the lanes bring the four together. No value of A is spread over lanes, which costs wazero
// six instructions and V8 a constant that it makes anew each time. One product of 784×192×192, GMAC/s
// in wazero, wasmtime and V8 (Node 20): 14.3, 17.3, 19.3, against 10.4, 8.2, 5.2 for 2×4 vectors that
// spread.

// Skewed packs a k×n matrix, of which element (r, j) is w[r·stride+j] and whose rows are k/depth
// segments of depth, for a skewed tile: panels of 4 columns, in each the segments, filled with zeros to
// a multiple of 4, and for each 4 rows of them the 4 diagonals.
func Skewed(w []float32, k, n, depth, stride int) []float32 {
	rows := k / depth * roundUp(depth)
	packed := make([]float32, rows*roundUp(n))
	// A line of the cache holds 16 columns. Column by column, the 151 MB of a layer of AlexNet took 670 ms,
	// now 190.
	const line = 16
	for from := 0; from < n; from += line {
		to := min(from+line, n)
		for r := range k {
			at := r/depth*roundUp(depth) + r%depth
			lane := at % lanes
			quad := packed[at/lanes*lanes*lanes+lane:]
			for j, v := range w[r*stride+from : r*stride+to] {
				j += from
				quad[j/lanes*lanes*rows+(j-lane+lanes)%lanes*lanes] = v
			}
		}
	}
	return packed
}

// SkewedStrides are [Gemm]'s BRow and BPanel of what [Skewed] packed with rows of segments of depth.
func SkewedStrides(segments, depth int) (row, panel int) {
	return vec, segments * roundUp(depth) * vec
}

func roundUp(n int) int { return (n + lanes - 1) / lanes * lanes }

// bRows is the number of rows of B that stand for n steps of depth.
func (e *gemm) bRows(n int) int {
	if e.Tile.Skew {
		return roundUp(n)
	}
	return n
}

// skewed accumulates mr rows of a tile whose first accumulators hold the bias, and leaves the result in
// the first accumulators.
func (e *gemm) skewed(mr int) {
	c := e.c
	// Without a loop the first products are no sums yet: 392×64×16, V8 14.1 → 14.7 GMAC/s, wazero 10.1 → 11.1.
	if e.first = e.isFlat(); !e.first {
		for r := range mr {
			for _, acc := range e.acc[r][1:] {
				splat(c, 0)
				c.Set(acc)
			}
		}
	}
	c.Block(func(end wasm.Label) {
		e.order, e.begun = pins{c: c, exit: end}, false
		e.segments(mr, 1)
	})
	// In pairs: one after the other takes four cycles longer, in which the processor runs out of registers
	// to begin the next tile with. V8, 392×64×16: 14.0 against 12.5 GMAC/s.
	turn := func(from, to wasm.Local, by [16]byte) {
		c.Get(from).V128(by).Op(wasm.I8x16Swizzle).Get(to).Op(wasm.F32x4Add).Set(to)
	}
	for r := range mr {
		acc := e.acc[r]
		turn(acc[1], acc[0], turned)
		turn(acc[3], acc[2], turned)
		turn(acc[2], acc[0], turnedTwice)
	}
}

// turned moves each lane one up, and the last to the front; turnedTwice does it twice.
var (
	turned      = [16]byte{12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	turnedTwice = [16]byte{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}
)

// quads is steps for a skewed tile, four steps of depth at a time.
func (e *gemm) quads(p wasm.Local, mr, aOff, bOff, n int) {
	c := e.c
	for q := roundUp(n)/lanes - 1; q >= 0; q-- {
		e.order.at = p
		if e.begun {
			e.order.pin()
		}
		e.begun = true
		for r := mr - 1; r >= 0; r-- {
			e.quad(p, aOff+q*vec+r*e.AInner, n-q*lanes)
			c.Set(e.av[r])
		}
		for s := lanes - 1; s >= 0; s-- {
			if s == lanes/2-1 && !e.first {
				e.order.pin()
			}
			c.Get(e.bp).Load(wasm.V128Load, uint32(bOff+q*lanes*e.BRow+s*vec)).Set(e.bv[0])
			for r := mr - 1; r >= 0; r-- {
				acc := e.acc[r][s]
				if e.first && s > 0 {
					c.Get(e.av[r], e.bv[0]).Op(wasm.F32x4Mul).Set(acc)
				} else {
					c.Get(acc, e.av[r], e.bv[0]).Op(wasm.F32x4Mul, wasm.F32x4Add).Set(acc)
				}
			}
		}
		e.first = false
	}
}

// quad pushes up to four values of A, and zeros where there are fewer: what lies behind a row may be
// anything, and the product of infinity with B's zeros is no zero.
func (e *gemm) quad(p wasm.Local, offset, n int) {
	c, o := e.c, uint32(offset)
	switch n {
	case 1:
		c.Get(p).Load(wasm.V128Load32Zero, o)
	case 2:
		c.Get(p).Load(wasm.V128Load64Zero, o)
	case 3:
		c.Get(p, p).Load(wasm.V128Load64Zero, o).LoadLane(wasm.V128Load32Lane, o+8, 2)
	default:
		c.Get(p).Load(wasm.V128Load, o)
	}
}
