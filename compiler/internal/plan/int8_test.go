package plan

import (
	"slices"
	"testing"
)

// Blocks whose int8 values are equal are one only if their scales are too, and what the module carries
// leaves out the room that expansion fills.
func TestInt8Weights(t *testing.T) {
	c := &Consts{base: 64, seen: map[string]int{}, Int8: true}
	block := make([]float32, 512)
	for i := range block {
		block[i] = float32(i%7 - 3)
	}
	double := make([]float32, len(block))
	for i, v := range block {
		double[i] = 2 * v
	}
	a, b, again := c.Weights(block, 64, 8), c.Weights(double, 64, 8), c.Weights(block, 64, 8)
	if a == b || a != again || len(c.Expansions()) != 2 {
		t.Errorf("blocks at %d, %d and %d with %d expansions; want the first and the last to be one", a, b, again, len(c.Expansions()))
	}
	if one := c.Weights(block[:8], 1, 8); one == a || len(c.Expansions()) != 2 {
		t.Error("a small block was made int8")
	}
	carried, last := 0, 0
	c.Segments(func(at int, data []byte) {
		if at < last {
			t.Errorf("segment at %d after one that ends at %d", at, last)
		}
		carried, last = carried+len(data), at+len(data)
	})
	if want := c.Size() - 2*3*len(block); carried != want || last != c.base+c.Size() {
		t.Errorf("%d bytes up to %d, want %d up to %d", carried, last, want, c.base+c.Size())
	}
}

// Integers within 256 steps are carried as bytes, wherever those lie; others whole.
func TestInt16s(t *testing.T) {
	c := &Consts{base: 64, seen: map[string]int{}}
	within := make([]int16, 512)
	for i := range within {
		within[i] = int16(i%256) - 150 // as a zero point of 150 makes of bytes
	}
	beyond := slices.Clone(within)
	beyond[0] = 106
	a, b, again := c.Int16s(within), c.Int16s(beyond), c.Int16s(within)
	if a == b || a != again {
		t.Errorf("blocks at %d, %d and %d; want the first and the last to be one", a, b, again)
	}
	e := c.Expansions()
	if len(e) != 1 || !e[0].Whole || e[0].Least != -150 || e[0].Bytes != 1024 || e[0].Address != a {
		t.Errorf("expansions %+v", e)
	}
	c.Segments(func(at int, data []byte) {
		if from := e[0].Source() - at; from >= 0 && from < len(data) && (data[from] != 0 || data[from+255] != 255) {
			t.Errorf("the bytes begin with %d and go on to %d", data[from], data[from+255])
		}
	})
}
