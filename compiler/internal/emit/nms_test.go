package emit

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func TestNonMaxSuppressionMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(61, 1))
	for i := range 40 {
		pictures, classes, n := 1+r.IntN(2), 1+r.IntN(3), 1+r.IntN(20)
		boxes, scores := ir.NewTensor(ir.Of(ir.F32, pictures, n, 4)), ir.NewTensor(ir.Of(ir.F32, pictures, classes, n))
		for j := range boxes.F { // on a grid, so that areas are exact and boxes equal at times
			boxes.F[j] = float32(r.IntN(9))
		}
		for j := range scores.F {
			scores.F[j] = float32(r.IntN(7)) / 4
		}
		attrs := ""
		if i%2 == 1 {
			attrs = " Center=true"
		}
		b.check(fmt.Sprintf("graph n\n%%b = input f32[%d,%d,4]\n%%s = input f32[%d,%d,%d]\n%%y = nms(%%b, %%s) Most=%d IoU=%v Score=%v%s\nreturn %%y\n",
			pictures, n, pictures, classes, n, 1+r.IntN(n), []float32{0, 0.25, 0.5}[i%3], []float32{0, 0.5}[r.IntN(2)], attrs), exact, boxes, scores)
	}
}
