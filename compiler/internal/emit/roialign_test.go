package emit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func TestRoiAlignMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(67, 1))
	for i := range 60 {
		pictures, h, w, channels, regions := 1+r.IntN(2), 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(4)
		x, rois, which := ir.NewTensor(ir.Of(ir.F32, pictures, h, w, channels)), ir.NewTensor(ir.Of(ir.F32, regions, 4)), ir.NewTensor(ir.Of(ir.I64, regions))
		for j := range x.F {
			x.F[j] = r.Float32() - 0.5
		}
		for j := range rois.F { // eighths, and also corners that are swapped or outside
			rois.F[j] = float32(r.IntN(120)-20) / 8
		}
		for j := range which.I {
			which.I[j] = int64(r.IntN(2*pictures) - pictures)
		}
		if i%7 == 6 {
			rois.F[r.IntN(len(rois.F))] = []float32{float32(math.NaN()), float32(math.Inf(1)), -1e30}[i%3]
		}
		attrs := []string{"", " Half=true", " Max=true", " Half=true Max=true"}[i%4]
		if i%3 == 2 {
			attrs += " Samples=2"
		}
		b.check(fmt.Sprintf("graph n\n%%x = input f32[%d,%d,%d,%d]\n%%r = input f32[%d,4]\n%%p = input i64[%d]\n%%y = roialign(%%x, %%r, %%p) Height=%d Width=%d Scale=%v%s\nreturn %%y\n",
			pictures, h, w, channels, regions, regions, 1+r.IntN(3), 1+r.IntN(3), []float32{1, 0.5, 0.25}[r.IntN(3)], attrs), exact, x, rois, which)
	}
}
