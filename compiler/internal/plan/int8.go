package plan

import (
	"encoding/binary"
	"math"
	"slices"
)

// Expansion is a block of packed weights that the module carries as int8 and makes f32 when it is
// instantiated. The bytes are the end of the block, so that the values can be written from its start on
// without running into those that are still to be read.
type Expansion struct {
	Address, Bytes int // the block; its last quarter holds the int8 values
	// The block is Panels panels of Rows rows of Cols values; the scales, one for each column of each
	// panel, are at Scales, the upper halves of f32. With Skew a row is four diagonals of four columns.
	Panels, Rows, Cols int
	Scales             int
	Skew               bool
	// Whole marks integers that become i16: half of the block holds how far they lie above Least, as
	// unsigned bytes, and nothing scales them.
	Whole bool
	Least int
}

// Source is the address of the int8 values.
func (e Expansion) Source() int {
	if e.Whole {
		return e.Address + e.Bytes/2
	}
	return e.Address + e.Bytes/4*3
}

// Int16s adds integers for products of bytes, a multiple of 8 of them. Weights of int8 models and their distances
// from a zero point lie within 256 steps, and the module carries a byte for each.
func (c *Consts) Int16s(v []int16) int {
	wide := make([]byte, 0, 2*len(v))
	for _, x := range v {
		wide = binary.LittleEndian.AppendUint16(wide, uint16(x))
	}
	if len(v) < int8Least || len(v)%8 != 0 || int(slices.Max(v))-int(slices.Min(v)) > math.MaxUint8 {
		return c.Bytes(wide)
	}
	least, small := slices.Min(v), make([]byte, len(v))
	for i, x := range v {
		small[i] = byte(x - least)
	}
	before := c.size
	// The first half, which is not shipped, tells the block from one of floats with the same bytes.
	at := c.Bytes(append(wide[:len(v)], small...))
	if c.size > before {
		c.expansions = append(c.expansions, Expansion{Address: at, Bytes: 2 * len(v), Whole: true, Least: int(least)})
	}
	return at
}

// int8Least is the number of values from which on a block is worth its scales.
const int8Least = 256

// Weights adds panels of weights, each of rows rows of cols values, as f32 or as int8 with a scale for
// each column.
func (c *Consts) Weights(packed []float32, rows, cols int) int {
	return c.weights(packed, Expansion{Rows: rows, Cols: cols})
}

// Skewed adds weights of n columns that lie in panels of four, diagonal by diagonal.
func (c *Consts) Skewed(packed []float32, n int) int {
	return c.weights(packed, Expansion{Rows: len(packed) / (up(n, 4) * 4), Cols: 16, Skew: true})
}

// scales is the number of scales of a panel, and which of them is that of place i of its rows.
func (e Expansion) scales() (int, func(i int) int) {
	if e.Skew { // four columns, of which each diagonal begins one further
		return 4, func(i int) int { return (i + i/4) % 4 }
	}
	return e.Cols, func(i int) int { return i }
}

func (c *Consts) weights(packed []float32, e Expansion) int {
	n, column := e.scales()
	if !c.Int8 || len(packed) < int8Least || e.Rows*e.Cols < 8*n {
		return c.Floats(packed)
	}
	e.Bytes, e.Panels = 4*len(packed), len(packed)/(e.Rows*e.Cols)
	scales := make([]float32, e.Panels*n)
	place := func(i int) int { return i/(e.Rows*e.Cols)*n + column(i%e.Cols) }
	for i, v := range packed {
		v = float32(math.Abs(float64(v)))
		if math.IsInf(float64(v), 0) || v != v {
			return c.Floats(packed)
		}
		scales[place(i)] = max(scales[place(i)], v)
	}
	short := make([]byte, 0, 2*len(scales))
	for i, top := range scales {
		// The upper half of an f32 is enough, rounded up so that the largest weight stays within 127.
		bits := (math.Float32bits(top/127) + 0xffff) >> 16
		scales[i] = math.Float32frombits(bits << 16)
		short = binary.LittleEndian.AppendUint16(short, uint16(bits))
	}
	small := make([]byte, len(packed))
	for i, v := range packed {
		if s := scales[place(i)]; s > 0 {
			small[i] = byte(int8(math.RoundToEven(float64(v / s))))
		}
	}
	e.Scales = c.Bytes(short)
	// What is not shipped holds what the same bytes may differ in, so that only equal blocks are shared.
	block := binary.LittleEndian.AppendUint32(make([]byte, 0, e.Bytes), uint32(e.Scales))
	block = binary.LittleEndian.AppendUint32(block, uint32(e.Rows))
	block = binary.LittleEndian.AppendUint32(block, uint32(e.Cols))
	block = append(append(block, make([]byte, 3*len(packed)-len(block))...), small...)
	before := c.size
	if e.Address = c.Bytes(block); c.size > before {
		c.expansions = append(c.expansions, e)
	}
	return e.Address
}

// Expansions are the blocks that are to be made f32, by address.
func (c *Consts) Expansions() []Expansion { return c.expansions }

// Segments calls add for the runs of bytes that a module has to carry; what lies between is written
// by the expansions.
func (c *Consts) Segments(add func(address int, data []byte)) {
	rest := c.expansions
	for _, k := range c.chunks {
		from, base := 0, c.base+k.at
		for len(rest) > 0 && rest[0].Address < base+len(k.data) {
			if gap := rest[0].Address - base; gap > from {
				add(base+from, k.data[from:gap])
			}
			from = rest[0].Source() - base
			rest = rest[1:]
		}
		if from < len(k.data) {
			add(base+from, k.data[from:])
		}
	}
}
