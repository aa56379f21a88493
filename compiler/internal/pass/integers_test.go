package pass

import (
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// quantisedConv is what a quantised model has around a convolution, with the tail to be filled in.
const quantisedConv = `graph q
%x = input u8[1,2,2,1]
%d = dequantize(%x) Scale=0.5 Zero=3
%w = const f32[1,1,1,2] {0.25 -1}
%b = const f32[2] {0.25 2}
%c = conv(%d, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,1,0,0] Group=1
`

func TestIntegersTakeOver(t *testing.T) {
	const fused = `graph q
%x = input u8[1,2,2,1]
%w = const i16[1,1,1,2] {1 -2}
%w.bias = const i32[2] {2 8}
%w.scale = const f32[2] {0.5 1}
`
	for name, c := range map[string]struct{ tail, want string }{
		"a convolution between bytes": {
			"%y = quantize(%c) Scale=0.25 Zero=7 Hi=255 To=u8\nreturn %y",
			fused + "%y = intconv(%x, %w, %w.bias, %w.scale) Strides=[1,1] Dilations=[1,1] Pads=[0,1,0,0] Group=1 Zero=3 OutZero=7 Hi=255 To=u8 : u8[1,2,3,2]\nreturn %y\n"},
		"an activation becomes the range": {
			"%r = unary(%c) Fn=clip P=[0,6]\n%y = quantize(%r) Scale=0.25 Zero=-8 Lo=-128 Hi=127 To=i8\nreturn %y",
			fused + "%y = intconv(%x, %w, %w.bias, %w.scale) Strides=[1,1] Dilations=[1,1] Pads=[0,1,0,0] Group=1 Zero=3 OutZero=-8 Lo=-8 Hi=16 To=i8 : i8[1,2,3,2]\nreturn %y\n"},
		"not where something else reads the floats": {"%y = quantize(%c) Scale=0.25 Hi=255 To=u8\n%z = unary(%c) Fn=exp\nreturn %y, %z", ""},
		"not where another function lies between":   {"%e = unary(%c) Fn=exp\n%y = quantize(%e) Scale=0.25 Hi=255 To=u8\nreturn %y", ""},
		"not where the result is of floats":         {"return %c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := ir.Parse(quantisedConv + c.tail)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range g.Nodes {
				if _, ok := n.Op.(ir.Conv); ok {
					n.In[1].Steps, n.In[1].StepAxis = []float32{0.25, 0.5}, 3
				}
			}
			before := g.String()
			if err := integers(g); err != nil {
				t.Fatal(err)
			}
			if err := g.Verify(); err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = before
			}
			if got := g.String(); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}
