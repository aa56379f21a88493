package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// valueOf runs a model of these nodes on x.
func valueOf(t *testing.T, opset int64, x *ir.Tensor, known []*onnx.Tensor, nodes ...*onnx.Node) *ir.Tensor {
	t.Helper()
	var dims []any
	for _, d := range x.Shape {
		dims = append(dims, d)
	}
	r, err := Model(model(opset, in(input("x", dims...)), known, nodes...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := r.Graph.Eval(x)
	if err != nil {
		t.Fatal(err)
	}
	return y[0]
}

// TestDeformConvIsConv moves all taps by the same whole number of rows, which is a convolution with other
// pads, and weighs each by a half.
func TestDeformConvIsConv(t *testing.T) {
	x := ir.NewTensor(ir.Of(ir.F32, 2, 4, 6, 5))
	ir.Fill(x, 1)
	weights := ir.NewTensor(ir.Of(ir.F32, 6, 2, 3, 2))
	ir.Fill(weights, 2)
	const taps, out = 6, 6 * 2 // 3×2 taps, 6×2 elements: pads 1 above and below, stride 2 along rows
	w := floats("w", weights.F, 6, 2, 3, 2)
	for _, rows := range []float32{0, 1} {
		offset := make([]float32, 2*2*taps*2*out)
		for i := range offset {
			if i/out%2 == 0 { // the first of each tap's two is along the columns
				offset[i] = rows
			}
		}
		mask := slices.Repeat([]float32{0.5}, 2*2*taps*out)
		got := valueOf(t, 19, x, consts(w, floats("o", offset, 2, 2*taps*2, 6, 2), floats("m", mask, 2, 2*taps, 6, 2)),
			node("DeformConv", "x w o - m", "y", attr("group", 2), attr("offset_group", 2), attr("strides", []int64{1, 2}), attr("pads", []int64{1, 0, 1, 0})))
		r := int64(rows)
		want := valueOf(t, 19, x, consts(w, floats("h", []float32{0.5})),
			node("Conv", "x w", "c", attr("group", 2), attr("strides", []int64{1, 2}), attr("pads", []int64{1 - r, 0, 1 + r, 0})), node("Mul", "c h", "y"))
		if !slices.Equal(got.Shape, want.Shape) {
			t.Fatalf("%v, want %v", got.Shape, want.Shape)
		}
		for i, v := range want.F {
			if math.Abs(float64(got.F[i]-v)) > 1e-5 {
				t.Fatalf("rows %v: value %d is %v, want %v", rows, i, got.F[i], v)
			}
		}
	}
}

// TestMaxRoiPoolByDefinition goes through the bins of random regions one by one.
func TestMaxRoiPoolByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	const h, w, ph, pw, regions = 7, 5, 3, 2, 6
	x := ir.NewTensor(ir.Of(ir.F32, 2, 2, h, w))
	ir.Fill(x, 3)
	rois := make([]float32, 0, 5*regions)
	for range regions {
		x1, y1 := r.IntN(2*w), r.IntN(2*h)
		rois = append(rois, float32(r.IntN(2)), float32(x1), float32(y1), float32(x1+r.IntN(2*w)), float32(y1+r.IntN(2*h)))
	}
	y := valueOf(t, 13, x, consts(floats("r", rois, regions, 5)), node("MaxRoiPool", "x r", "y", attr("pooled_shape", []int64{ph, pw}), attr("spatial_scale", 0.5)))
	half := func(v float32) int { return int(math.Floor(float64(v)/2 + 0.5)) }
	span := func(from, to float32, k, bins, n int) (int, int) {
		start, size := half(from), float64(max(half(to)-half(from)+1, 1))/float64(bins)
		return min(max(start+int(math.Floor(float64(k)*size)), 0), n), min(max(start+int(math.Ceil(float64(k+1)*size)), 0), n)
	}
	for i, got := range y.F {
		k, c, py, px := i/(2*ph*pw), i/(ph*pw)%2, i/pw%ph, i%pw
		roi := rois[5*k:][:5]
		top, bottom := span(roi[2], roi[4], py, ph, h)
		left, right := span(roi[1], roi[3], px, pw, w)
		want := float32(math.Inf(-1))
		for a := top; a < bottom; a++ {
			for b := left; b < right; b++ {
				want = max(want, x.F[((int(roi[0])*2+c)*h+a)*w+b])
			}
		}
		if top >= bottom || left >= right {
			want = 0
		}
		if got != want {
			t.Fatalf("region %d %v, channel %d, bin %d,%d: %v, want %v", k, roi, c, py, px, got, want)
		}
	}
}

// TestUnique finds the distinct values of 2 1 1 3 4 3 and the distinct rows of a matrix.
func TestUnique(t *testing.T) {
	known := consts(floats("a", []float32{2, 1, 1, 3, 4, 3}), floats("b", []float32{1, 0, 2, 3, 1, 0}, 3, 2))
	for name, c := range map[string]struct {
		node *onnx.Node
		want []float32
	}{
		"sorted":            {node("Unique", "a", "y i v n"), []float32{1, 2, 3, 4}},
		"in order":          {node("Unique", "a", "y i v n", attr("sorted", 0)), []float32{2, 1, 3, 4}},
		"first places":      {node("Unique", "a", "u y v n", attr("sorted", 0)), []float32{0, 1, 3, 4}},
		"places of each":    {node("Unique", "a", "u i y n", attr("sorted", 0)), []float32{0, 1, 1, 2, 3, 2}},
		"how often":         {node("Unique", "a", "u i v y", attr("sorted", 0)), []float32{1, 2, 2, 1}},
		"rows":              {node("Unique", "b", "y i v n", attr("axis", -2)), []float32{1, 0, 2, 3}},
		"places of columns": {node("Unique", "b", "u i y n", attr("axis", 1)), []float32{1, 0}},
	} {
		y := valueOf(t, 13, ir.Floats([]float32{1}, 1), known, c.node)
		got := y.F
		for _, v := range y.I {
			got = append(got, float32(v))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestTfIdf counts the words 5, 6 and 7 and the pairs 5 6 and 6 5 in 5 6 9 5 6, with up to one word between.
func TestTfIdf(t *testing.T) {
	run := func(mode string, weights ...*onnx.Attribute) []float32 {
		return valueOf(t, 13, ir.Floats([]float32{5, 6, 9, 5, 6}, 1, 5), nil, node("Cast", "x", "i", attr("to", int(onnx.I32))), node("TfIdfVectorizer", "i", "y", append(weights,
			attr("mode", mode), attr("min_gram_length", 1), attr("max_gram_length", 2), attr("max_skip_count", 1), attr("ngram_counts", []int64{0, 3}),
			attr("ngram_indexes", []int64{0, 1, 2, 4, 3}), attr("pool_int64s", []int64{5, 6, 7, 5, 6, 6, 5}))...)).F
	}
	weights := &onnx.Attribute{Name: "weights", Type: onnx.AttrFloats, Floats: []float32{2, 3, 4, 5, 6}}
	for mode, want := range map[string][]float32{"TF": {2, 2, 0, 1, 2}, "IDF": {2, 3, 0, 6, 5}, "TFIDF": {4, 6, 0, 6, 10}} {
		if got := run(mode, weights); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", mode, got, want)
		}
	}
}
