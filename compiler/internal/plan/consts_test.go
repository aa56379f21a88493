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
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.data[at-c.base+4*i:]))
	}
	return out
}

func newConsts() *Consts { return &Consts{base: 1024, seen: map[string]int{}} }

func TestConstantsAreSharedAndAligned(t *testing.T) {
	c := newConsts()
	a := c.Bytes([]byte("abc"))
	b := c.Bytes([]byte("abcd"))
	if again := c.Bytes([]byte("abc")); a != 1024 || b != 1040 || again != a || c.End() != 1056 {
		t.Errorf("%d, %d, %d, end %d", a, b, again, c.End())
	}
	if len(c.Data()) != 20 {
		t.Errorf("%d bytes", len(c.Data()))
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
