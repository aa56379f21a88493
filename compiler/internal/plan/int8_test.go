package plan

import "testing"

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
