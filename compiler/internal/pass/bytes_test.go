package pass

import (
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func TestBytesMove(t *testing.T) {
	const x = `
%x = input u8[1,2,3]
%d = dequantize(%x) Scale=0.5 Zero=3
`
	expect(t, moveBytes, "", []rewrite{
		{"views, cuts and turns of what was bytes", x + `%r = reshape(%d) Shape=[2,3]
%t = transpose(%r) Perm=[1,0]
%s = slice(%t) Start=[1,0] Count=[2,2] Step=[1,1]
%y = unary(%s) Fn=neg
return %y`, `
%r = reshape(%x) Shape=[2,3]
%t = transpose(%r) Perm=[1,0]
%s = slice(%t) Start=[1,0] Count=[2,2] Step=[1,1]
%s.1 = dequantize(%s) Scale=0.5 Zero=3
%y = unary(%s.1) Fn=neg
return %y`},
		{"a concatenation of bytes and floats", x + `%z = input f32[1,2,1]
%c = concat(%d, %z) Axis=2
%y = quantize(%c) Scale=0.25 Hi=255 To=u8
return %y`, `
%d = dequantize(%x) Scale=0.5 Zero=3
%y = quantize(%d) Scale=0.25 Hi=255 To=u8
%y.1 = quantize(%z) Scale=0.25 Hi=255 To=u8
%y.2 = concat(%y, %y.1) Axis=2
return %y.2`},
		{"not a concatenation that something else reads", x + `%c = concat(%d, %d) Axis=2
%y = quantize(%c) Scale=0.25 Hi=255 To=u8
return %y, %c`, "same"},
	})
}

func TestTables(t *testing.T) {
	g, err := ir.Parse(`graph t
%x = input u8[3]
%d = dequantize(%x) Scale=0.5 Zero=128
%s = unary(%d) Fn=sigmoid
%q = quantize(%s) Scale=0.00390625 Hi=255 To=u8
%m = intbinary(%x, %q) Fn=mul ScaleA=1 ScaleB=0.00390625 ZeroA=128 Zero=100 Hi=255 To=u8
%e = dequantize(%m) Scale=0.25 Zero=100
%k = quantize(%e) Scale=0.25 Zero=100 Hi=255 To=u8
%n = intbinary(%k, %x) Fn=add ScaleA=1 ScaleB=1 Hi=255 To=u8
%z = input u8[3]
%y = intbinary(%k, %z) Fn=add ScaleA=1 ScaleB=1 Hi=255 To=u8
%f = dequantize(%q) Scale=0.00390625
return %n, %y, %f
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := tabulate(g); err != nil {
		t.Fatal(err)
	}
	text := g.String()
	// The sigmoid, SiLU and the sum with x are tables of x; the quantisation that changes nothing is gone.
	for part, count := range map[string]int{"lookup(%x,": 3, " = quantize": 0, "intbinary(%m, %z)": 1, " = dequantize": 1, "unary": 0} {
		if n := strings.Count(text, part); n != count {
			t.Errorf("%d times %q, want %d, in\n%s", n, part, count, text)
		}
	}
}
