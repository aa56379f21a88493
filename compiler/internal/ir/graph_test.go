package ir

import (
	"strings"
	"testing"
)

func TestInferErrors(t *testing.T) {
	f := func(dims ...int) Type { return Of(F32, dims...) }
	window := Conv{Strides: []int{1, 1}, Dilations: []int{1, 1}, Pads: []int{0, 0, 0, 0}, Group: 1}
	grouped, far, backwards := window, window, window
	grouped.Group = 3
	far.Dilations = []int{9, 1}
	backwards.Strides = []int{1, 0}
	x, w, b := f(1, 5, 5, 2), f(3, 3, 2, 4), f(4)
	pool := Pool{Fn: "max", Kernel: []int{2, 2}, Strides: []int{1, 1}, Dilations: []int{1, 1}, Pads: []int{0, 0, 0, 0}}
	wide, unknown, still := pool, pool, pool
	wide.Kernel, unknown.Fn, still.Strides = []int{2, 6}, "median", []int{0, 1}
	for _, c := range []struct {
		op   Op
		in   []Type
		want string
	}{
		{window, []Type{x, w}, "takes 3 to 4 inputs, got 2"},
		{window, []Type{x, w, Of(I64, 4)}, "input 2 is i64[4], wants f32"},
		{window, []Type{f(1, 5, 5), w, b}, "ranks must agree"},
		{window, []Type{f(1, 5, 2), f(3, 2, 4), b}, "do not fit 1 spatial axes"},
		{window, []Type{f(1, 5, 5, 3), w, b}, "3 channels, weights [3,3,2,4], group 1 do not add up"},
		{grouped, []Type{f(1, 5, 5, 6), w, b}, "group 3 do not add up"},
		{window, []Type{x, f(3, 3, 2, 0), f(0)}, "do not add up"},
		{window, []Type{x, w, f(3)}, "bias is [3], wants [4]"},
		{window, []Type{x, w, b, f(1, 5, 5, 4)}, "residual is [1,5,5,4], wants [1,3,3,4]"},
		{far, []Type{x, w, b}, "kernel of extent 19 does not fit 5 padded elements on spatial axis 0"},
		{backwards, []Type{x, w, b}, "stride 0, dilation 1, pads 0 and 0 on spatial axis 1: out of range"},
		{MatMul{}, []Type{f(2), f(2, 2), f(2)}, "need at least two axes"},
		{MatMul{}, []Type{f(2, 3), f(2, 2), f(2)}, "inner extents 3 and 2 differ"},
		{MatMul{}, []Type{f(2, 1, 3), f(3, 3, 2), f(2)}, "do not broadcast"},
		{MatMul{}, []Type{f(2, 3), f(3, 4), f(3)}, "bias is [3], wants [4]"},
		{MatMul{}, []Type{f(2, 3), f(3, 4), f(4), f(4)}, "residual is [4], wants [2,4]"},
		{Unary{Fn: "blur"}, []Type{x}, `no function "blur"`},
		{Unary{Fn: "abs"}, []Type{Of(Bool, 2)}, "input 0 is bool[2], wants f32"},
		{Binary{Fn: "add"}, []Type{f(2), Of(I64, 2)}, "wants one element type"},
		{Binary{Fn: "add"}, []Type{f(2, 3), f(2, 4)}, "shapes [2,3] and [2,4] do not broadcast: 3 and 4 on axis 1"},
		{Binary{Fn: "mod"}, []Type{f(2), f(2)}, `no function "mod"`},
		{Cast{To: F32}, nil, "takes 1 inputs, got 0"},
		{Transpose{Perm: []int{0, 0}}, []Type{f(2, 3)}, "[0 0] is no permutation of the axes of f32[2,3]"},
		{Transpose{Perm: []int{0}}, []Type{f(2, 3)}, "is no permutation"},
		{Transpose{Perm: []int{0, 2}}, []Type{f(2, 3)}, "is no permutation"},
		{Reshape{Shape: []int{7}}, []Type{f(2, 3)}, "6 elements of [2,3] do not fill [7]"},
		{Reshape{Shape: []int{-2, -3}}, []Type{f(2, 3)}, "do not fill"},
		{Expand{Shape: []int{2, 2}}, []Type{f(3)}, "do not broadcast"},
		{Expand{Shape: []int{1, 3}}, []Type{f(2, 3)}, "[2,3] does not expand to [1,3]"},
		{Concat{Axis: 2}, []Type{f(2, 3)}, "axis 2 of 1 inputs is out of range"},
		{Concat{Axis: 0}, nil, "out of range"},
		{Concat{Axis: 0}, []Type{f(2, 3), f(2, 4)}, "do not join on axis 0"},
		{Concat{Axis: 0}, []Type{f(2, 3), f(2)}, "do not join"},
		{Slice{Start: []int{0}, Count: []int{3}, Step: []int{1}}, []Type{f(2)}, "elements 0 to 2 are outside axis 0 of [2]"},
		{Slice{Start: []int{1}, Count: []int{3}, Step: []int{-1}}, []Type{f(2)}, "elements 1 to -1 are outside"},
		{Slice{Start: []int{0}, Count: []int{-1}, Step: []int{1}}, []Type{f(2)}, "outside"},
		{Slice{Start: []int{0}, Count: []int{1}, Step: []int{1}}, []Type{f(2, 2)}, "do not fit [2,2]"},
		{Pad{Pads: []int{1}}, []Type{f(2)}, "pads [1] do not fit [2]"},
		{Pad{Pads: []int{1, -1}}, []Type{f(2)}, "negative"},
		{Gather{Axis: 1}, []Type{f(2), Of(I64, 1)}, "axis 1 of [2] by i64[1] is out of range"},
		{Gather{Axis: 0}, []Type{f(2), f(1)}, "not by i32 or i64"},
		{Reduce{Fn: "median"}, []Type{f(2)}, `no function "median"`},
		{Reduce{Fn: "sum", Axes: []int{1}}, []Type{f(2)}, "axis 1 is outside f32[2]"},
		{Softmax{}, []Type{f()}, "a scalar has no axis"},
		{unknown, []Type{x}, `no function "median"`},
		{pool, []Type{f(1, 5, 2)}, "do not fit [1,5,2]"},
		{wide, []Type{x}, "window of extent 6 does not fit spatial axis 1 of [1,5,5,2]"},
		{still, []Type{x}, "out of range"},
	} {
		_, err := c.op.Infer(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s over %v: error is %v, want %s", c.op.Name(), attrs(c.op), c.in, err, c.want)
		}
	}
}

func TestVerifyReportsEverything(t *testing.T) {
	x := &Value{Name: "x", Type: Of(F32, 2)}
	stray := &Value{Name: "stray", Type: Of(F32, 2)}
	y := &Value{Name: "y", Type: Of(F32, 3)}
	g := &Graph{In: []*Value{x}, Out: []*Value{stray}, Nodes: []*Node{
		{Name: "early", Op: Unary{Fn: "neg"}, In: []*Value{stray}, Out: []*Value{y}},
		{Name: "again", Op: Unary{Fn: "neg"}, In: []*Value{x}, Out: []*Value{x}},
		{Name: "pair", Op: Unary{Fn: "neg"}, In: []*Value{x}, Out: []*Value{{Type: x.Type}, {Type: x.Type}}},
		{Name: "wrong", Op: Reshape{Shape: []int{5}}, In: []*Value{x}, Out: []*Value{{Type: Of(F32, 5)}}},
	}}
	err := g.Verify()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`node 0 "early" (unary): input 0 (stray) is used before it is computed`,
		`node 0 "early" (unary): output 0 is f32[3], the operator gives f32[2]`,
		`node 1 "again" (unary): x has two producers`,
		`node 2 "pair" (unary): 2 outputs, the operator has 1`,
		`node 3 "wrong" (reshape): 2 elements of [2] do not fill [5]`,
		`output 0 (stray) is never computed`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	g.Nodes[0].In[0] = nil
	if err := g.Verify(); err == nil || !strings.Contains(err.Error(), "input 0 is missing") {
		t.Errorf("a missing input: %v", err)
	}
}

func TestEvalChecksInputs(t *testing.T) {
	g, err := Parse("graph g\n%x = input f32[2]\n%y = unary(%x) Fn=neg\nreturn %y")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Eval(); err == nil || err.Error() != `graph "g" takes 1 inputs, got 0` {
		t.Error(err)
	}
	if _, err := g.Eval(Floats([]float32{1}, 1)); err == nil || err.Error() != "input x is f32[2], got f32[1]" {
		t.Error(err)
	}
}

func TestUses(t *testing.T) {
	g, err := Parse("graph g\n%x = input f32[2]\n%y = unary(%x) Fn=neg\n%z = binary(%y, %y) Fn=add\nreturn %z, %y")
	if err != nil {
		t.Fatal(err)
	}
	x, y := g.In[0], g.Nodes[0].Out[0]
	if u := g.Uses(); u[x] != 1 || u[y] != 3 || u[g.Out[0]] != 1 {
		t.Errorf("uses %v", u)
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct{ a, b, want Shape }{
		{Shape{}, Shape{}, Shape{}},
		{Shape{2, 1}, Shape{3}, Shape{2, 3}},
		{Shape{1}, Shape{4, 1, 2}, Shape{4, 1, 2}},
		{Shape{5, 1, 1}, Shape{1, 7, 1}, Shape{5, 7, 1}},
		{Shape{0}, Shape{1}, Shape{0}},
	} {
		if got, err := Broadcast(c.a, c.b); err != nil || got.String() != c.want.String() {
			t.Errorf("%v and %v broadcast to %v, %v; want %v", c.a, c.b, got, err, c.want)
		}
	}
	if got := BroadcastStrides(Shape{3, 1, 2}, Shape{4, 3, 5, 2}); Shape(got).String() != "[0,2,0,1]" {
		t.Errorf("strides %v", got)
	}
	if F32.Size() != 4 || I64.Size() != 8 || U8.Size() != 1 || DType(99).String() != "dtype(99)" {
		t.Error("element types")
	}
}
