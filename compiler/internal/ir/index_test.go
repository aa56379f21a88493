package ir

import (
	"math"
	"slices"
	"testing"
)

// everyIndexOp has the operators of element types and of indices with each of their attributes.
const everyIndexOp = `graph indices
%x = input f32[2,3]
%i = input i64[2,3]
%u = each(%x) Fn=isinf P=[1,1] : bool[2,3]
%w = each(%u, %x, %x) Fn=where : f32[2,3]
%a = arg(%w) Fn=min Axis=1 Last=true : i64[2,1]
%e = gatherelements(%w, %i) Axis=1 : f32[2,3]
%n = gathernd(%e, %a) Batch=1 : f32[2]
%s = scatterelements(%e, %i, %w) Axis=1 Fn=add : f32[2,3]
%d = scatternd(%s, %a, %s) Fn=mul : f32[2,3]
%k, %p = topk(%d) Axis=1 K=2 Smallest=true : f32[2,2], i64[2,2]
%c = cumulate(%p) Fn=add Exclusive=true Reverse=true : i64[2,2]
%o = pad(%c) Pads=[0,0,1,0] Int=-7 : i64[3,2]
return %n, %k, %o
`

// The results of operators on integers and on indices, by hand.
func TestIndicesByHand(t *testing.T) {
	vec, nan := func(v ...float32) *Tensor { return Floats(v, len(v)) }, float32(math.NaN())
	ints := func(t DType, v ...int64) *Tensor { return &Tensor{Type: Of(t, len(v)), I: v} }
	m := Floats([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	for name, c := range map[string]struct {
		op   Op
		in   []*Tensor
		want *Tensor
	}{
		"mod":             {Each{Fn: "mod"}, []*Tensor{ints(I32, 7, -7, 7, -7, 5), ints(I32, 3, 3, -3, -3, 0)}, ints(I32, 1, 2, -2, -1, 0)},
		"fmod":            {Each{Fn: "fmod"}, []*Tensor{ints(I64, 7, -7, 7, -7), ints(I64, 3, 3, -3, -3)}, ints(I64, 1, -1, 1, -1)},
		"div":             {Binary{Fn: "div"}, []*Tensor{ints(I8, 7, -7, -128), ints(I8, 2, 2, -1)}, ints(I8, 3, -3, -128)},
		"add wraps":       {Binary{Fn: "add"}, []*Tensor{ints(U8, 255, 7), ints(U8, 1, 2)}, ints(U8, 0, 9)},
		"max of u64":      {Binary{Fn: "max"}, []*Tensor{ints(U64, -1), ints(U64, 1)}, ints(U64, -1)},
		"shift":           {Each{Fn: "shr"}, []*Tensor{ints(U8, 0x80, 3, 9), ints(U8, 7, 1, 8)}, ints(U8, 1, 1, 0)},
		"pow":             {Each{Fn: "pow"}, []*Tensor{ints(I32, 3, -2, -1, 2), ints(I32, 4, 3, -3, -1)}, ints(I32, 81, -8, -1, 0)},
		"where":           {Each{Fn: "where"}, []*Tensor{ints(Bool, 1, 0), vec(1, 2), vec(3, 4)}, vec(1, 4)},
		"less than NaN":   {Each{Fn: "lt"}, []*Tensor{vec(1, nan), vec(nan, 1)}, ints(Bool, 0, 0)},
		"argmax of ties":  {Arg{Fn: "max"}, []*Tensor{vec(1, 3, 3)}, ints(I64, 1)},
		"and the last":    {Arg{Fn: "max", Last: true}, []*Tensor{vec(1, 3, 3)}, ints(I64, 2)},
		"argmin with NaN": {Arg{Fn: "min"}, []*Tensor{vec(1, nan, 3)}, ints(I64, 1)},
		"gatherelements": {GatherElements{Axis: 1}, []*Tensor{m, {Type: Of(I64, 2, 2), I: []int64{0, -1, 1, 0}}},
			Floats([]float32{1, 3, 5, 4}, 2, 2)},
		"gathernd": {GatherND{}, []*Tensor{m, {Type: Of(I64, 2, 1), I: []int64{-1, 0}}}, Floats([]float32{4, 5, 6, 1, 2, 3}, 2, 3)},
		"scatternd": {ScatterND{Fn: "add"}, []*Tensor{vec(1, 2, 3), {Type: Of(I64, 3, 1), I: []int64{2, 2, 0}}, vec(10, 20, 30)},
			vec(31, 2, 33)},
		"topk":           {TopK{K: 2}, []*Tensor{vec(3, 9, 9)}, vec(9, 9)},
		"cumsum":         {Cumulate{Fn: "add"}, []*Tensor{vec(1, 2, 3)}, vec(1, 3, 6)},
		"its reverse":    {Cumulate{Fn: "add", Exclusive: true, Reverse: true}, []*Tensor{vec(1, 2, 3)}, vec(5, 3, 0)},
		"reduce of ints": {Reduce{Fn: "mean", Axes: []int{0}}, []*Tensor{ints(I32, -1, -4)}, ints(I32, -2)},
		"any":            {Reduce{Fn: "max", Axes: []int{0}}, []*Tensor{ints(Bool, 0, 1)}, ints(Bool, 1)},
		"saturating":     {Cast{To: I8}, []*Tensor{vec(200, -200, nan, -1.9)}, ints(I8, 127, -128, 0, -1)},
		"wrapping":       {Cast{To: I8}, []*Tensor{ints(I32, 200, -129)}, ints(I8, -56, 127)},
	} {
		y, err := c.op.Eval(c.in)
		if err != nil || !y[0].Type.Equal(c.want.Type) || !slices.Equal(y[0].F, c.want.F) || !slices.Equal(y[0].I, c.want.I) {
			t.Errorf("%s: got %v, %v, want %v", name, y, err, c.want)
		}
	}
	for _, op := range []Op{GatherElements{}, Gather{}} {
		if _, err := op.Eval([]*Tensor{vec(1, 2), ints(I64, 2)}); err == nil {
			t.Errorf("%s took an index beyond the end", op.Name())
		}
	}
}
