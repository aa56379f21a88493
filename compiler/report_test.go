package compiler

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// answering is a network that answers any picture with the given logits.
func answering(t *testing.T, logits []float32, labels []string, top int) []class {
	t.Helper()
	n := int64(len(logits))
	net := newNet(1, 3, 1, 1).weights("w", 3, n).op("Flatten x > f").op("MatMul f w > m").op("Add m b > y")
	raw := []byte{}
	for _, v := range logits {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	net.Graph.Initializers = append(net.Graph.Initializers, &onnx.Tensor{Name: "b", DType: onnx.F32, Dims: []int64{n}, Raw: raw})
	mod, err := compile(net.Model, Options{Labels: labels, Top: top})
	if err != nil {
		t.Fatal(err)
	}
	return instantiate(t, mod.Bytes).classify(1, 1, []byte{1, 2, 3})
}

// Each number of a result parses to the f32 that it stands for, within 1e-6 of it.
func TestNumbersOfResults(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	logits := []float32{0, 1, -1, 0.1, 0.5, 9.9999995, 99.99999, 0.99999994, 1e-4, 9.9999e-5, 1e9, 9.999999e8, 1.0000001e9, 123456792, 1e-3, 0.0123456789,
		math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 1.1754944e-38, 16777216, 16777217, 4294967296, 0.3333333, 2e-9, 1e10, 1e-10}
	for range 300 {
		x := float32(math.Exp(r.Float64()*170 - 85))
		if r.IntN(2) == 0 {
			x = -x
		}
		logits = append(logits, x)
	}
	top := answering(t, logits, nil, len(logits))
	if len(top) != len(logits) {
		t.Fatalf("%d classes of %d", len(top), len(logits))
	}
	last := math.Inf(1)
	for _, c := range top {
		want := float64(logits[c.Index])
		if math.Abs(c.Logit-want) > 1e-6*math.Abs(want) {
			t.Errorf("logit %g reads %g", want, c.Logit)
		}
		if want > last {
			t.Errorf("logit %g comes after %g", want, last)
		}
		last = want
	}
}

func TestProbabilitiesOfResults(t *testing.T) {
	logits := []float32{1, 3, -2, 3, 0.5}
	top := answering(t, logits, nil, 4)
	sum := 0.
	for _, v := range logits {
		sum += math.Exp(float64(v))
	}
	order := []int{}
	for _, c := range top {
		order = append(order, c.Index)
		if want := math.Exp(float64(logits[c.Index])) / sum; math.Abs(c.Probability-want) > 1e-6 {
			t.Errorf("class %d has probability %g, want %g", c.Index, c.Probability, want)
		}
	}
	if !slices.Equal(order, []int{1, 3, 0, 4}) { // the lower index first among equals
		t.Errorf("order %v", order)
	}
}

// What JSON has no number for: NaN is no class, infinities have their rank and null.
func TestResultsThatAreNoNumbers(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		logits []float32
		order  []int
	}{
		{[]float32{1, nan, 2, nan}, []int{2, 0}},
		{[]float32{nan, nan}, nil},
		{[]float32{-inf, 5, inf, nan, inf}, []int{2, 4, 1, 0}},
	} {
		var order []int
		for _, x := range answering(t, c.logits, nil, 5) {
			order = append(order, x.Index)
		}
		if !slices.Equal(order, c.order) {
			t.Errorf("%v are ranked %v, want %v", c.logits, order, c.order)
		}
	}
}

func TestLabelsOfResults(t *testing.T) {
	labels := []string{`a "quote" and a \`, "Größe 三 🦆", "line\nbreak\tand \x01", "", "<b>&amp;</b>\u2028"}
	top := answering(t, []float32{5, 4, 3, 2, 1}, labels, 5)
	for i, c := range top {
		if c.Index != i || c.Label != labels[i] {
			t.Errorf("class %d is %q, want %q", c.Index, c.Label, labels[i])
		}
	}
	if len(top) != len(labels) {
		t.Errorf("%d classes", len(top))
	}
}

// A network that ends in a softmax has probabilities and no logits.
func TestResultsOfSoftmax(t *testing.T) {
	net := newNet(1, 2, 3, 1).op("Flatten x > f").op("Softmax f > y")
	mod, err := compile(net.Model, Options{Mean: []float64{0}, Std: []float64{1}})
	if err != nil {
		t.Fatal(err)
	}
	top := instantiate(t, mod.Bytes).classify(3, 2, slices.Repeat([]byte{7}, 18))
	if len(top) != 5 || math.Abs(top[0].Probability-1./6) > 1e-6 || top[0].Logit != 0 {
		t.Errorf("top is %+v", top)
	}
}
