package plan

import (
	"encoding/binary"
	"math"
)

// Expansion is a block of packed weights that the module carries as int8 and makes f32 when it is
// instantiated. The bytes are the end of the block, so that the values can be written from its start on
// without running into those that are still to be read.
type Expansion struct {
	Address, Bytes int // the block; its last quarter holds the int8 values
	// The block is Panels panels of Rows rows of Cols values; the scales, one for each column of each
	// panel, are at Scales.
	Panels, Rows, Cols int
	Scales             int
}

// int8Least is the number of values from which on a block is worth its scales.
const int8Least = 256

// Weights adds panels of weights, each of rows rows of cols values, as f32 or as int8 with a scale for
// each column.
func (c *Consts) Weights(packed []float32, rows, cols int) int {
	if !c.Int8 || len(packed) < int8Least || rows < 8 {
		return c.Floats(packed)
	}
	panels := len(packed) / (rows * cols)
	scales := make([]float32, panels*cols)
	small := make([]byte, len(packed))
	for p := range panels {
		for j := range cols {
			at := func(r int) int { return (p*rows+r)*cols + j }
			top := float32(0)
			for r := range rows {
				v := float32(math.Abs(float64(packed[at(r)])))
				if math.IsInf(float64(v), 0) || v != v {
					return c.Floats(packed)
				}
				top = max(top, v)
			}
			if top == 0 {
				continue
			}
			scale := top / 127
			scales[p*cols+j] = scale
			for r := range rows {
				small[at(r)] = byte(int8(math.RoundToEven(float64(packed[at(r)] / scale))))
			}
		}
	}
	e := Expansion{Bytes: 4 * len(packed), Panels: panels, Rows: rows, Cols: cols, Scales: c.Floats(scales)}
	// What is not shipped holds what the same bytes may differ in, so that only equal blocks are shared.
	block := binary.LittleEndian.AppendUint32(make([]byte, 0, e.Bytes), uint32(e.Scales))
	block = binary.LittleEndian.AppendUint32(block, uint32(rows))
	block = append(append(block, make([]byte, 3*len(packed)-len(block))...), small...)
	before := len(c.data)
	if e.Address = c.Bytes(block); len(c.data) > before {
		c.expansions = append(c.expansions, e)
	}
	return e.Address
}

// Expansions are the blocks that are to be made f32, by address.
func (c *Consts) Expansions() []Expansion { return c.expansions }

// Segments calls add for the runs of bytes that a module has to carry; what lies between is written
// by the expansions.
func (c *Consts) Segments(add func(address int, data []byte)) {
	from := 0
	for _, e := range c.expansions {
		if gap := e.Address - c.base; gap > from {
			add(c.base+from, c.data[from:gap])
		}
		from = e.Address - c.base + e.Bytes/4*3
	}
	if from < len(c.data) {
		add(c.base+from, c.data[from:])
	}
}
