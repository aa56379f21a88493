package pass

import (
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// sumsOfBytes is a product of bytes that were quantised while the model runs, with the tail to be filled in.
const sumsOfBytes = `graph s
%x = input u8[1,3,2]
%z = input u8[]
%k = input f32[]
%w = const i16[1,2,2] {1 -2 3 4}
%b = const i32[2] {0 0}
%one = const f32[2] {1 1}
%s = const f32[2] {0.25 0.5}
%t = const f32[1,2] {-1 1}
%c = intconv(%x, %w, %b, %one, %z) Strides=[1] Dilations=[1] Pads=[0,0] Group=1 To=i32
`

func TestScalesGoIntoProducts(t *testing.T) {
	for name, c := range map[string]struct {
		tail string
		left int // nodes
	}{
		"scales of both operands":                {"%f = cast(%c) To=f32\n%m = binary(%k, %s) Fn=mul\n%y = binary(%f, %m) Fn=mul\nreturn %y", 1},
		"one of all":                             {"%f = cast(%c) To=f32\n%y = binary(%k, %f) Fn=mul\nreturn %y", 1},
		"one that is known":                      {"%f = cast(%c) To=f32\n%y = binary(%f, %s) Fn=mul\nreturn %y", 1},
		"a bias and a function":                  {"%f = cast(%c) To=f32\n%m = binary(%s, %k) Fn=mul\n%p = binary(%f, %m) Fn=mul\n%q = binary(%t, %p) Fn=add\n%y = unary(%q) Fn=clip P=[0,6]\nreturn %y", 1},
		"a view between":                         {"%v = reshape(%c) Shape=[3,2]\n%f = cast(%v) To=f32\n%p = binary(%f, %k) Fn=mul\n%y = binary(%p, %t) Fn=add\nreturn %y", 2},
		"a bias behind the function stays":       {"%f = cast(%c) To=f32\n%p = binary(%f, %k) Fn=mul\n%q = unary(%p) Fn=clip P=[0,6]\n%y = binary(%q, %t) Fn=add\nreturn %y", 2},
		"a second bias stays":                    {"%f = cast(%c) To=f32\n%p = binary(%f, %k) Fn=mul\n%q = binary(%p, %t) Fn=add\n%y = binary(%q, %t) Fn=add\nreturn %y", 2},
		"not where the sums are read":            {"%f = cast(%c) To=f32\n%y = binary(%f, %k) Fn=mul\nreturn %y, %c", 3},
		"not where the floats are read":          {"%f = cast(%c) To=f32\n%y = binary(%f, %k) Fn=mul\nreturn %y, %f", 3},
		"not scales of rows":                     {"%r = const f32[3,1] {1 2 3}\n%f = cast(%c) To=f32\n%y = binary(%f, %r) Fn=mul\nreturn %y", 3},
		"not where a view mixes the columns":     {"%v = reshape(%c) Shape=[2,3]\n%f = cast(%v) To=f32\n%y = binary(%f, %k) Fn=mul\nreturn %y", 4},
		"not where the scale has the wider form": {"%r = const f32[4,1,2] {1 2 3 4 5 6 7 8}\n%f = cast(%c) To=f32\n%y = binary(%f, %r) Fn=mul\nreturn %y", 3},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := ir.Parse(sumsOfBytes + c.tail)
			if err != nil {
				t.Fatal(err)
			}
			in := []*ir.Tensor{ir.NewTensor(g.In[0].Type), ir.NewTensor(g.In[1].Type), ir.Floats([]float32{0.3})}
			in[2].Shape = ir.Shape{}
			for i := range in[0].I {
				in[0].I[i] = int64(i * 41)
			}
			in[1].I[0] = 101
			want, err := g.Eval(in...)
			if err != nil {
				t.Fatal(err)
			}
			if err := scales(g); err != nil {
				t.Fatal(err)
			}
			if err := g.Verify(); err != nil {
				t.Fatal(err)
			}
			if len(g.Nodes) != c.left {
				t.Errorf("%d nodes, want %d:\n%s", len(g.Nodes), c.left, g)
			}
			got, err := g.Eval(in...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				for j, v := range want[i].F {
					if got[i].F[j] != v {
						t.Errorf("output %d: got %v, want %v", i, got[i].F, want[i].F)
						break
					}
				}
			}
		})
	}
}

// TestScalesOfChannelsTurn lets a transpose pass the product with scales of which one factor is computed.
func TestScalesOfChannelsTurn(t *testing.T) {
	g, err := ir.Parse(`graph t
%x = input f32[1,2,2,3]
%k = input f32[]
%s = const f32[1,3,1,1] {1 2 3}
%m = binary(%k, %s) Fn=mul
%c = transpose(%x) Perm=[0,3,1,2]
%y = binary(%c, %m) Fn=mul
return %y
`)
	if err != nil {
		t.Fatal(err)
	}
	x, k := ir.NewTensor(g.In[0].Type), ir.NewTensor(g.In[1].Type)
	ir.Fill(x, 1)
	k.F[0] = 0.5
	want, err := g.Eval(x, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := sinkTransposes(g); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Nodes[len(g.Nodes)-1].Op.(ir.Transpose); !ok || len(g.Nodes) != 3 {
		t.Errorf("the transpose stays:\n%s", g)
	}
	got, err := g.Eval(x, k)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want[0].F {
		if got[0].F[i] != v {
			t.Fatalf("got %v, want %v", got[0].F, want[0].F)
		}
	}
}
