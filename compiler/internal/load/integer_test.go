package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// bytesIn is a constant of random bytes, u8 or i8, and their values.
func bytesIn(r *rand.Rand, name string, t onnx.DType, dims ...int64) (*onnx.Tensor, []int64) {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	c, v := &onnx.Tensor{Name: name, DType: t, Dims: dims, Raw: make([]byte, n)}, make([]int64, n)
	for i := range v {
		b := byte(r.IntN(256))
		c.Raw[i], v[i] = b, int64(b)
		if t == onnx.I8 {
			v[i] = int64(int8(b))
		}
	}
	return c, v
}

// integers evaluates the model of one node over x and returns y, and whether an integer operator made it.
func integers(t *testing.T, of onnx.DType, dims []int64, x []int64, cs []*onnx.Tensor, n *onnx.Node) (*ir.Tensor, bool) {
	t.Helper()
	given := input("x")
	given.DType = of
	for _, d := range dims {
		given.Shape = append(given.Shape, onnx.Dim{Value: d, Known: true})
	}
	m, err := Model(model(10, in(given), cs, n), Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := ir.NewTensor(m.Graph.In[0].Type)
	copy(a.I, x)
	y, err := m.Graph.Eval(a)
	if err != nil {
		t.Fatal(err)
	}
	whole := true
	for _, n := range m.Graph.Nodes {
		switch n.Op.(type) {
		case ir.Conv, ir.MatMul:
			whole = false
		}
	}
	return y[0], whole
}

// each is value i of a zero point: none, one, or one for each.
func each(v []int64, i int) int64 {
	switch len(v) {
	case 0:
		return 0
	case 1:
		return v[0]
	}
	return v[i]
}

// TestMatMulInteger multiplies operands of all ranks with zero points of every form that ONNX allows: one, one
// for each row of A, one for each column of B.
func TestMatMulInteger(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	for name, c := range map[string]struct{ a, b, za, zb, y []int64 }{
		"no zero points":              {a: []int64{5, 9}, b: []int64{9, 3}, y: []int64{5, 3}},
		"one for each operand":        {[]int64{5, 9}, []int64{9, 3}, []int64{}, []int64{}, []int64{5, 3}},
		"rows and columns":            {[]int64{5, 9}, []int64{9, 3}, []int64{5}, []int64{3}, []int64{5, 3}},
		"rows of a batch":             {[]int64{2, 5, 9}, []int64{9, 3}, []int64{2, 5, 1}, []int64{1, 3}, []int64{2, 5, 3}},
		"a vector":                    {[]int64{9}, []int64{9, 3}, []int64{1}, []int64{3}, []int64{3}},
		"matrices by matrices":        {[]int64{2, 2, 3, 7}, []int64{2, 2, 7, 3}, []int64{}, []int64{2, 2, 1, 3}, []int64{2, 2, 3, 3}},
		"matrices by one of rank 3":   {[]int64{2, 3, 7}, []int64{1, 7, 5}, []int64{}, []int64{1, 1, 5}, []int64{2, 3, 5}},
		"one by matrices":             {[]int64{3, 7}, []int64{4, 7, 5}, []int64{3}, []int64{5}, []int64{4, 3, 5}},
		"one of rank 4 by matrices":   {[]int64{1, 1, 3, 7}, []int64{4, 7, 5}, []int64{1, 1, 3, 1}, []int64{4, 1, 5}, []int64{1, 4, 3, 5}},
		"one by one of more axes":     {[]int64{3, 7}, []int64{1, 1, 7, 5}, nil, nil, []int64{1, 1, 3, 5}},
		"one column, one deep":        {[]int64{3, 2, 1}, []int64{3, 1, 1}, []int64{}, []int64{1}, []int64{3, 2, 1}},
		"rows of each of its batches": {[]int64{3, 2, 5}, []int64{3, 5, 4}, []int64{3, 2, 1}, []int64{3, 1, 4}, []int64{3, 2, 4}},
	} {
		for i := range 4 {
			ta, tb := []onnx.DType{onnx.U8, onnx.I8}[i%2], []onnx.DType{onnx.U8, onnx.I8}[i/2]
			t.Run(fmt.Sprintf("%s/%v by %v", name, ta, tb), func(t *testing.T) {
				_, a := bytesIn(r, "x", ta, c.a...)
				w, b := bytesIn(r, "w", tb, c.b...)
				cs, names := consts(w), []string{"-", "-"}
				var za, zb []int64
				if c.za != nil {
					z, v := bytesIn(r, "za", ta, c.za...)
					cs, za, names[0] = append(cs, z), v, "za"
				}
				if c.zb != nil {
					z, v := bytesIn(r, "zb", tb, c.zb...)
					cs, zb, names[1] = append(cs, z), v, "zb"
				}
				got, whole := integers(t, ta, c.a, a, cs, node("MatMulInteger", "x w "+names[0]+" "+names[1], "y"))
				if !whole {
					t.Error("floats compute it")
				}
				rows, depth, n := 1, int(c.a[len(c.a)-1]), int(c.b[len(c.b)-1])
				if len(c.a) > 1 {
					rows = int(c.a[len(c.a)-2])
				}
				var want []int64
				batch := 1
				for _, d := range c.y[:max(len(c.y)-2, 0)] {
					batch *= int(d)
				}
				for m := range batch {
					ma, mb := m%(len(a)/rows/depth), m%(len(b)/n/depth)
					for i := range rows {
						for j := range n {
							var sum int64
							for k := range depth {
								zi, zj := i, j
								if len(za) > rows {
									zi += ma * rows
								}
								if len(zb) > n {
									zj += mb * n
								}
								sum += (a[(ma*rows+i)*depth+k] - each(za, zi)) * (b[(mb*depth+k)*n+j] - each(zb, zj))
							}
							want = append(want, sum)
						}
					}
				}
				shape := ir.Shape{}
				for _, d := range c.y {
					shape = append(shape, int(d))
				}
				if !slices.Equal(got.Shape, shape) || !slices.Equal(got.I, want) {
					t.Errorf("got %v %v, want %v %v", got.Shape, got.I, shape, want)
				}
			})
		}
	}
}

// TestConvInteger pads with the zero point, and takes weights with one for each output channel.
func TestConvInteger(t *testing.T) {
	r := rand.New(rand.NewPCG(62, 1))
	for i := range 24 {
		ta, tb := []onnx.DType{onnx.U8, onnx.I8}[i%2], []onnx.DType{onnx.U8, onnx.I8}[i/2%2]
		group, icg, ocg := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(3)
		h, w, kh, kw, pad, stride := 3+r.IntN(4), 3+r.IntN(4), 1+r.IntN(3), 1+r.IntN(3), r.IntN(3), 1+r.IntN(2)
		oc := group * ocg
		dims := []int64{2, int64(group * icg), int64(h), int64(w)}
		_, x := bytesIn(r, "x", ta, dims...)
		k, weights := bytesIn(r, "k", tb, int64(oc), int64(icg), int64(kh), int64(kw))
		zx, xz := bytesIn(r, "zx", ta)
		zk, kz := bytesIn(r, "zk", tb, int64(oc))
		got, whole := integers(t, ta, dims, x, consts(k, zx, zk), node("ConvInteger", "x k zx zk", "y", attr("group", group),
			attr("strides", []int64{int64(stride), 1}), attr("pads", []int64{int64(pad), 0, 1, int64(pad)})))
		if !whole {
			t.Fatal("floats compute it")
		}
		oh, ow := (h+pad+1-kh)/stride+1, w+pad-kw+1
		at := 0
		for n := range 2 {
			for o := range oc {
				for p := range oh * ow {
					var sum int64
					for tap := range icg * kh * kw {
						c, y, x0 := tap/(kh*kw), p/ow*stride-pad+tap/kw%kh, p%ow+tap%kw
						if y < 0 || y >= h || x0 < 0 || x0 >= w {
							continue
						}
						sum += (x[((n*group*icg+o/ocg*icg+c)*h+y)*w+x0] - xz[0]) * (weights[o*icg*kh*kw+tap] - kz[o])
					}
					if got.I[at] != sum {
						t.Fatalf("case %d, [%d,%d] at %d: %d, want %d", i, n, o, p, got.I[at], sum)
					}
					at++
				}
			}
		}
		if at != len(got.I) {
			t.Fatalf("shape is %v", got.Shape)
		}
	}
}

// TestProductsThatScale gives the fused products of ONNX Runtime what follows by hand: x is 1 to 6, by rows.
func TestProductsThatScale(t *testing.T) {
	u8 := func(name string, v ...byte) *onnx.Tensor {
		return &onnx.Tensor{Name: name, DType: onnx.U8, Dims: []int64{int64(len(v))}, Raw: v}
	}
	w := &onnx.Tensor{Name: "w", DType: onnx.U8, Dims: []int64{2, 2}, Raw: []byte{11, 8, 10, 12}} // less 10: 1 -2, 0 2
	all := consts(w, u8("z", 10), u8("za", 2), u8("zb", 10, 8), floats("s", []float32{0.5, 2}), floats("b", []float32{100, 200}),
		floats("step", []float32{0.25}), floats("one", []float32{1}))
	micro := func(n *onnx.Node) *onnx.Node { n.Domain = "com.microsoft"; return n }
	for name, c := range map[string]struct {
		nodes []*onnx.Node
		want  []float32
	}{
		"MatMulIntegerToFloat": {[]*onnx.Node{micro(node("MatMulIntegerToFloat", "q w step s za zb b", "y"))},
			// rows less 2: -1 0, 1 2, 3 4; weights less 10 and 8: 1 0, 0 4
			[]float32{100 - 0.125, 200, 100 + 0.125, 200 + 0.5*8, 100 + 0.375, 200 + 0.5*16}},
		"without zero points and bias": {[]*onnx.Node{micro(node("MatMulIntegerToFloat", "q w one one", "y"))},
			[]float32{31, 32, 73, 72, 115, 112}},
		"DynamicQuantizeMatMul": {[]*onnx.Node{micro(node("DynamicQuantizeMatMul", "x w s z b", "y"))},
			// 6/255 for each step: 42.5 steps are a 1, and halves go to even
			[]float32{100 + 0.5*42*6/255., 200 + 2*2*(85-42)*6/255., 100 + 0.5*128*6/255., 200 + 2*2*(170-128)*6/255., 100 + 0.5*212*6/255., 200 + 2*2*(255-212)*6/255.}},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := append([]*onnx.Node{node("Cast", "x", "q", attr("to", int(onnx.U8)))}, c.nodes...)
			m := model(17, in(input("x", 3, 2)), all, nodes...)
			m.Opsets["com.microsoft"] = 1
			r, err := Model(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			y, err := r.Graph.Eval(ir.Floats([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(y[0].F, c.want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-3 }) {
				t.Errorf("got %v, want %v", y[0].F, c.want)
			}
		})
	}
}
