package plan

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func (c *Consts) floats(at, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.memory()[at-c.base+4*i:]))
	}
	return out
}

// memory is what the segments make of the constants' part of memory.
func (c *Consts) memory() []byte {
	m := make([]byte, c.size)
	c.Segments(func(at int, data []byte) { copy(m[at-c.base:], data) })
	return m
}

func newConsts() *Consts { return &Consts{base: 1024, seen: map[string]int{}} }

func TestConstantsAreSharedAndAligned(t *testing.T) {
	c := newConsts()
	a := c.Bytes([]byte("abc"))
	b := c.Bytes([]byte("abcd"))
	if again := c.Bytes([]byte("abc")); a != 1024 || b != 1040 || again != a || c.End() != 1056 {
		t.Errorf("%d, %d, %d, end %d", a, b, again, c.End())
	}
	if c.Size() != 20 {
		t.Errorf("%d bytes", c.Size())
	}
}

// TestLargeConstants: blocks of every size lie where their addresses say, without a copy of the large ones.
func TestLargeConstants(t *testing.T) {
	c := newConsts()
	sizes := []int{3, ownChunk, 5, 17, ownChunk - 1, ownChunk + 1, ownChunk + 2, 1, 2 * ownChunk, 7}
	var at []int
	for i, n := range sizes {
		at = append(at, c.Bytes(slices.Repeat([]byte{byte(i + 1)}, n)))
	}
	m := c.memory()
	for i, n := range sizes {
		if got := m[at[i]-c.base:][:n]; at[i]%Align != 0 || slices.ContainsFunc(got, func(b byte) bool { return b != byte(i+1) }) {
			t.Errorf("block %d of %d bytes is not at %d", i, n, at[i])
		}
	}
	segments := 0
	c.Segments(func(int, []byte) { segments++ })
	if segments > 8 {
		t.Errorf("%d segments for %d blocks", segments, len(sizes))
	}
}

func TestPanelsArePacked(t *testing.T) {
	c := newConsts()
	// Two rows of three columns in rows of four: panels of two columns, the last one filled up.
	at := c.Panels([]float32{1, 2, 3, 9, 4, 5, 6, 9}, 2, 3, 4, 2)
	if got := c.floats(at, 8); !slices.Equal(got, []float32{1, 2, 4, 5, 3, 0, 6, 0}) {
		t.Errorf("panels %v", got)
	}
	at = c.Padded([]float32{1, 2, 3}, 4)
	if got := c.floats(at, 4); !slices.Equal(got, []float32{1, 2, 3, 0}) {
		t.Errorf("padded %v", got)
	}
	// Two taps of five channels: vectors of four channels, tap after tap.
	at = c.Depthwise(ir.Floats([]float32{1, 2, 3, 4, 5, 10, 20, 30, 40, 50}, 2, 5), 2, 5)
	if got := c.floats(at, 16); !slices.Equal(got, []float32{1, 2, 3, 4, 10, 20, 30, 40, 5, 0, 0, 0, 50, 0, 0, 0}) {
		t.Errorf("depthwise %v", got)
	}
}
