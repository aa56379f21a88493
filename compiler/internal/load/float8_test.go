package load

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestSmallFloatsRoundToTheNearest looks for the nearest among all values that a type has, of two the one with
// the even code, as the cast has to give it.
func TestSmallFloatsRoundToTheNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	for _, typ := range []onnx.DType{onnx.F8E4M3FN, onnx.F8E4M3FNUZ, onnx.F8E5M2, onnx.F8E5M2FNUZ, onnx.F4E2M1} {
		codes := 1 << (typ.Bits() - 1) // those that are not negative
		all := &onnx.Tensor{Name: "all", DType: typ, Dims: []int64{int64(codes)}}
		for k := range codes {
			if typ.Bits() == 8 {
				all.Raw = append(all.Raw, byte(k))
			} else if k%2 == 0 {
				all.Raw = append(all.Raw, byte(k|(k+1)<<4))
			}
		}
		values, err := all.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		layout, _ := typ.Float8()
		var x []float32
		for k, v := range values {
			if next := float32(math.NaN()); !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
				x = append(x, v, -v)
				if k+1 < codes {
					next = values[k+1]
				}
				if next > v && next <= layout.Max {
					x = append(x, (v+next)/2, v+(next-v)*r.Float32(), -(v+next)/2)
				}
			}
		}
		x = append(x, 2*layout.Max, -2*layout.Max, float32(math.Inf(1)))
		y := valueOf(t, 19, ir.Floats(x, len(x)), nil, node("Cast", "x", "y", attr("to", int(typ))))
		for i, v := range x {
			best := 0
			for k, c := range values {
				d, least := math.Abs(float64(c)-math.Abs(float64(v))), math.Abs(float64(values[best])-math.Abs(float64(v)))
				if c <= layout.Max && (d < least || d == least && k%2 == 0) {
					best = k
				}
			}
			want := values[best]
			if math.Abs(float64(v)) > float64(layout.Max) {
				want = layout.Max
			}
			if got := float32(math.Abs(float64(y.F[i]))); got != want || want != 0 && (y.F[i] < 0) != (v < 0) {
				t.Errorf("%v of %v is %v, want %v", typ, v, y.F[i], want)
			}
		}
		if !layout.NaN {
			continue
		}
		y = valueOf(t, 19, ir.Floats([]float32{2 * layout.Max}, 1), nil, node("Cast", "x", "y", attr("to", int(typ)), attr("saturate", 0)))
		if math.IsInf(float64(y.F[0]), 1) != layout.Inf || math.IsNaN(float64(y.F[0])) == layout.Inf {
			t.Errorf("%v without saturation gives %v", typ, y.F[0])
		}
	}
}
