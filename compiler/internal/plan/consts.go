package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// Consts collects the bytes that a module carries: packed weights and tables. Equal blocks share one
// place.
type Consts struct {
	base int
	// size is that of all blocks; chunks hold them, with gaps of less than Align between one and the next.
	size   int
	chunks []chunk
	seen   map[string]int
	once   map[any]int
	// frozen: addresses beyond the data were given away.
	frozen bool
	// Int8 makes the module carry packed weights as int8, see Weights.
	Int8       bool
	expansions []Expansion
}

// Base is the address of the first byte.
func (c *Consts) Base() int { return c.base }

// chunk is a run of constants.
type chunk struct {
	at   int // of the first byte, from the base
	data []byte
}

// ownChunk is the size from which on a block is a chunk as it stands. One slice that grows to a gigabyte is
// copied several times over on the way: 20 of 30 s, and two thirds of the memory.
const ownChunk = 1 << 20

// Size is the number of bytes from the base to the end of what was added so far.
func (c *Consts) Size() int { return c.size }

// End is the first address, aligned, beyond the data. No new constant may follow: one would move it.
func (c *Consts) End() int {
	c.frozen = true
	return up(c.base+c.size, Align)
}

// Bytes adds b, which must not be changed afterwards, and returns its address.
func (c *Consts) Bytes(b []byte) int {
	sum := sha256.Sum256(b)
	if at, ok := c.seen[string(sum[:])]; ok {
		return at
	}
	if c.frozen {
		panic("plan: a constant after the end of the constants was asked for")
	}
	at := up(c.size, Align)
	last := len(c.chunks) - 1
	if len(b) >= ownChunk {
		c.chunks = append(c.chunks, chunk{at, b})
	} else if last < 0 || len(c.chunks[last].data) >= ownChunk {
		c.chunks = append(c.chunks, chunk{at, append(make([]byte, 0, len(b)), b...)})
	} else {
		to := &c.chunks[last]
		to.data = append(append(to.data, make([]byte, at-c.size)...), b...)
	}
	c.size = at + len(b)
	c.seen[string(sum[:])] = c.base + at
	return c.base + at
}

// Floats adds f32 values and returns their address.
func (c *Consts) Floats(f []float32) int { return c.Bytes(floatBytes(f)) }

// Once returns the address that add gave for this key the first time. Weights that many nodes read are then
// packed once: a thousand products with the same megabyte took 10 s.
func (c *Consts) Once(key any, add func() int) int {
	if at, ok := c.once[key]; ok {
		return at
	}
	if c.once == nil {
		c.once = map[any]int{}
	}
	at := add()
	c.once[key] = at
	return at
}

// Tensor adds the elements of t as they lie in memory and returns their address.
func (c *Consts) Tensor(t *ir.Tensor) int { return c.Once(t, func() int { return c.tensor(t) }) }

func (c *Consts) tensor(t *ir.Tensor) int {
	if t.DType.Float() {
		return c.Floats(t.F)
	}
	size := t.DType.Size()
	b := make([]byte, 0, size*len(t.I))
	var word [8]byte
	for _, v := range t.I {
		binary.LittleEndian.PutUint64(word[:], uint64(v))
		b = append(b, word[:size]...)
	}
	return c.Bytes(b)
}

func floatBytes(f []float32) []byte {
	b := make([]byte, 4*len(f))
	for i, v := range f {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

// Padded adds f32 values and zeros up to a multiple of n of them, such as a bias for whole panels.
func (c *Consts) Padded(f []float32, n int) int {
	p := make([]float32, up(len(f), n))
	copy(p, f)
	return c.Floats(p)
}

// Panels adds a k×n matrix of which element (r, j) is w[r·stride+j], packed for a product that takes
// cols columns at a time: panel after panel, in each the rows one after the other, and zeros where
// the last panel has no column.
func (c *Consts) Panels(w []float32, k, n, stride, cols int) int {
	packed := make([]float32, 0, k*up(n, cols))
	for j := 0; j < n; j += cols {
		have := min(cols, n-j)
		for r := range k {
			packed = append(packed, w[r*stride+j:][:have]...)
			packed = append(packed, make([]float32, cols-have)...)
		}
	}
	return c.Weights(packed, k, cols)
}

// Depthwise adds the weights [taps, channels] of a depthwise convolution as [channels/4][taps][4].
func (c *Consts) Depthwise(w *ir.Tensor, taps, channels int) int {
	packed := make([]float32, up(channels, 4)*taps)
	for t := range taps {
		for ch := range channels {
			packed[(ch/4*taps+t)*4+ch%4] = w.F[t*channels+ch]
		}
	}
	return c.Weights(packed, taps, 4)
}
