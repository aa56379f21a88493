package ir

import (
	"math"
	"slices"
	"testing"
)

// TestEvalByHand checks the oracle itself, on cases small enough to compute by hand.
func TestEvalByHand(t *testing.T) {
	seq := func(dims ...int) *Tensor { // 1, 2, 3, …
		x := NewTensor(Of(F32, dims...))
		for i := range x.F {
			x.F[i] = float32(i + 1)
		}
		return x
	}
	vec := func(v ...float32) *Tensor { return Floats(v, len(v)) }
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	grid := func(pads ...int) Conv {
		return Conv{Strides: []int{1, 1}, Dilations: []int{1, 1}, Pads: pads, Group: 1}
	}
	strided, dilated, group := grid(0, 0, 0, 0), grid(0, 0, 0, 0), grid(0, 0, 0, 0)
	strided.Strides, dilated.Dilations, group.Group = []int{2, 1}, []int{2, 1}, 2
	relu := grid(0, 0, 0, 0)
	relu.Act = Relu()
	window := Pool{Fn: "max", Kernel: []int{2}, Strides: []int{2}, Dilations: []int{1}, Pads: []int{1, 0}}
	mean, counted, ceil, dil := window, window, window, window
	mean.Fn, counted.Fn, counted.CountPad, ceil.Ceil, dil.Dilations = "avg", "avg", true, true, []int{2}
	for name, c := range map[string]struct {
		op   Op
		in   []*Tensor
		want *Tensor
	}{
		// A picture of 1 2 3 / 4 5 6 / 7 8 9 under weights 1 2 / 3 4.
		"conv":          {grid(0, 0, 0, 0), []*Tensor{seq(1, 3, 3, 1), seq(2, 2, 1, 1), vec(100)}, Floats([]float32{137, 147, 167, 177}, 1, 2, 2, 1)},
		"conv, padded":  {grid(1, 0, 0, 0), []*Tensor{seq(1, 2, 2, 1), seq(2, 2, 1, 1), vec(0)}, Floats([]float32{11, 30}, 1, 2, 1, 1)},
		"conv, strided": {strided, []*Tensor{seq(1, 3, 2, 1), seq(1, 1, 1, 1), vec(0)}, Floats([]float32{1, 2, 5, 6}, 1, 2, 2, 1)},
		"conv, dilated": {dilated, []*Tensor{seq(1, 3, 2, 1), seq(2, 1, 1, 1), vec(0)}, Floats([]float32{11, 14}, 1, 1, 2, 1)},
		"conv, groups":  {group, []*Tensor{seq(1, 1, 1, 4), seq(1, 1, 2, 2), vec(0, 0)}, Floats([]float32{7, 22}, 1, 1, 1, 2)},
		"conv, channels": {grid(0, 0, 0, 0), []*Tensor{seq(1, 1, 1, 2), seq(1, 1, 2, 3), vec(0, 0, 1)},
			Floats([]float32{9, 12, 16}, 1, 1, 1, 3)},
		"conv, residual then activation": {relu, []*Tensor{seq(1, 1, 2, 1), seq(1, 1, 1, 1), vec(0), Floats([]float32{-5, 5}, 1, 1, 2, 1)},
			Floats([]float32{0, 7}, 1, 1, 2, 1)},
		"matmul":            {MatMul{}, []*Tensor{seq(2, 2), seq(2, 3), vec(1, 0, 0)}, Floats([]float32{10, 12, 15, 20, 26, 33}, 2, 3)},
		"matmul, broadcast": {MatMul{}, []*Tensor{seq(2, 1, 1), seq(1, 2), vec(0, 0)}, Floats([]float32{1, 2, 2, 4}, 2, 1, 2)},
		"binary":            {Binary{Fn: "sub"}, []*Tensor{seq(2, 1), seq(2)}, Floats([]float32{0, -1, 1, 0}, 2, 2)},
		"binary, integers":  {Binary{Fn: "div"}, []*Tensor{Ints([]int64{7, -7}, 2), Ints([]int64{2}, 1)}, Ints([]int64{3, -3}, 2)},
		"binary, NaN":       {Binary{Fn: "max"}, []*Tensor{vec(nan, 1), vec(inf, nan)}, vec(nan, nan)},
		"clip":              {Unary{Fn: "clip", P: [2]float32{-1, 2}}, []*Tensor{vec(-3, 0.5, 7, nan, inf)}, vec(-1, 0.5, 2, nan, 2)},
		"leakyrelu":         {Unary{Fn: "leakyrelu", P: [2]float32{0.5}}, []*Tensor{vec(-4, 3)}, vec(-2, 3)},
		"elu":               {Unary{Fn: "elu", P: [2]float32{2}}, []*Tensor{vec(3, -inf)}, vec(3, -2)},
		"hardsigmoid":       {Unary{Fn: "hardsigmoid", P: [2]float32{0.5, 0.25}}, []*Tensor{vec(-9, 0.5, 9)}, vec(0, 0.5, 1)},
		"hardswish":         {Unary{Fn: "hardswish"}, []*Tensor{vec(-3, 3, 6)}, vec(0, 3, 6)},
		"sigmoid":           {Unary{Fn: "sigmoid"}, []*Tensor{vec(0, -inf, inf)}, vec(0.5, 0, 1)},
		"silu":              {Unary{Fn: "silu"}, []*Tensor{vec(0, 200)}, vec(0, 200)},
		"round":             {Unary{Fn: "round"}, []*Tensor{vec(0.5, 1.5, -2.5)}, vec(0, 2, -2)},
		"sign":              {Unary{Fn: "sign"}, []*Tensor{vec(-3, 0, 7, nan)}, vec(-1, 0, 1, nan)},
		"cast":              {Cast{To: U8}, []*Tensor{vec(3.9, -1, 257)}, &Tensor{Type: Of(U8, 3), I: []int64{3, 0, 255}}},
		"cast to bool":      {Cast{To: Bool}, []*Tensor{vec(0, 0.25, -3)}, &Tensor{Type: Of(Bool, 3), I: []int64{0, 1, 1}}},
		"cast back":         {Cast{To: F32}, []*Tensor{Ints([]int64{-2}, 1)}, vec(-2)},
		"transpose":         {Transpose{Perm: []int{2, 0, 1}}, []*Tensor{seq(1, 2, 3)}, Floats([]float32{1, 4, 2, 5, 3, 6}, 3, 1, 2)},
		"reshape":           {Reshape{Shape: []int{3, 2}}, []*Tensor{seq(2, 3)}, seq(3, 2)},
		"expand":            {Expand{Shape: []int{2, 2}}, []*Tensor{seq(2, 1)}, Floats([]float32{1, 1, 2, 2}, 2, 2)},
		"concat":            {Concat{Axis: 1}, []*Tensor{seq(2, 1), seq(2, 2)}, Floats([]float32{1, 1, 2, 2, 3, 4}, 2, 3)},
		"slice": {Slice{Start: []int{1, 2}, Count: []int{2, 2}, Step: []int{-1, -2}}, []*Tensor{seq(2, 3)},
			Floats([]float32{6, 4, 3, 1}, 2, 2)},
		"pad":                 {Pad{Pads: []int{0, 1, 1, 0}, Value: 9}, []*Tensor{seq(1, 2)}, Floats([]float32{9, 1, 2, 9, 9, 9}, 2, 3)},
		"gather":              {Gather{Axis: 1}, []*Tensor{seq(2, 3), Ints([]int64{-1, 0}, 2)}, Floats([]float32{3, 1, 6, 4}, 2, 2)},
		"reduce mean":         {Reduce{Fn: "mean", Axes: []int{0, 2}}, []*Tensor{seq(2, 2, 2)}, Floats([]float32{3.5, 5.5}, 1, 2, 1)},
		"reduce max":          {Reduce{Fn: "max", Axes: []int{0}}, []*Tensor{vec(inf, nan, 1)}, vec(nan)},
		"reduce min":          {Reduce{Fn: "min", Axes: []int{0}}, []*Tensor{vec(3, -inf)}, vec(-inf)},
		"reduce nothing":      {Reduce{Fn: "sum"}, []*Tensor{seq(3)}, seq(3)},
		"softmax":             {Softmax{}, []*Tensor{vec(1000, 1000)}, vec(0.5, 0.5)},
		"max pool":            {window, []*Tensor{seq(1, 4, 1)}, Floats([]float32{1, 3}, 1, 2, 1)},
		"max pool, ceil":      {ceil, []*Tensor{seq(1, 4, 1)}, Floats([]float32{1, 3, 4}, 1, 3, 1)},
		"max pool, dilated":   {dil, []*Tensor{seq(1, 4, 1)}, Floats([]float32{2, 4}, 1, 2, 1)},
		"mean pool":           {mean, []*Tensor{seq(1, 4, 1)}, Floats([]float32{1, 2.5}, 1, 2, 1)},
		"mean pool, counting": {counted, []*Tensor{seq(1, 4, 1)}, Floats([]float32{0.5, 2.5}, 1, 2, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			types, err := c.op.Infer(typesOf(c.in))
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.op.Eval(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if !got[0].Type.Equal(c.want.Type) || !types[0].Equal(c.want.Type) {
				t.Errorf("type is %v, inferred %v, want %v", got[0].Type, types[0], c.want.Type)
			}
			same := func(a, b float32) bool { return a == b || a != a && b != b }
			if !slices.EqualFunc(got[0].F, c.want.F, same) || !slices.Equal(got[0].I, c.want.I) {
				t.Errorf("got %v%v, want %v%v", got[0].F, got[0].I, c.want.F, c.want.I)
			}
		})
	}
}

func TestEvalErrors(t *testing.T) {
	if y, err := (Binary{Fn: "div"}).Eval([]*Tensor{Ints([]int64{1}, 1), Ints([]int64{0}, 1)}); err != nil || y[0].I[0] != 0 {
		t.Errorf("1/0 of integers is %v, %v; want 0, as kernels have it", y, err)
	}
	for _, i := range []int64{2, -3} {
		if _, err := (Gather{}).Eval([]*Tensor{Floats([]float32{1, 2}, 2), Ints([]int64{i}, 1)}); err == nil {
			t.Errorf("element %d of two was gathered", i)
		}
	}
}

// The values of functions where they have closed forms, to the last place of f32.
func TestFunctionValues(t *testing.T) {
	for fn, c := range map[string][2]float64{
		"exp": {1, math.E}, "log": {math.E, 1}, "tanh": {math.Log(2), 0.6}, "sigmoid": {math.Log(3), 0.75},
		"sqrt": {2, math.Sqrt2}, "erf": {0.4769362762, 0.5}, "silu": {math.Log(3), 0.75 * math.Log(3)},
		"abs": {-2, 2}, "neg": {3, -3}, "floor": {-0.5, -1}, "ceil": {-0.5, 0},
	} {
		if got := (Unary{Fn: fn}).apply(float32(c[0])); math.Abs(float64(got)-c[1]) > 2e-7*max(1, math.Abs(c[1])) {
			t.Errorf("%s(%v) is %v, want %v", fn, c[0], got, c[1])
		}
	}
}

// ThresholdedRelu is 0 wherever x > α does not hold, so of NaN as well.
func TestAboveOfNaN(t *testing.T) {
	nan := float32(math.NaN())
	y, err := Unary{Fn: "above", P: [2]float32{1}}.Eval([]*Tensor{Floats([]float32{nan, 1, 2}, 3)})
	if err != nil || !slices.Equal(y[0].F, []float32{0, 0, 2}) {
		t.Errorf("%v, %v", y, err)
	}
}
