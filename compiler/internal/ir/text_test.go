package ir

import (
	"strings"
	"testing"
)

// everyOp has each operator with each of its attributes.
const everyOp = `graph every
%x = input f32[1,4,4,2]
%n = unary(%x) Fn=clip P=[-0.5,+Inf] : f32[1,4,4,2]
%w = const f32[3,3,2,2] rand(1)
%b = const f32[2] {1 -2.5}
%c = conv(%n, %w, %b, %x) Strides=[1,1] Dilations=[1,1] Pads=[1,1,1,1] Group=1 Act=leakyrelu(0.1) : f32[1,4,4,2]
%p = pool(%c) Fn=avg Kernel=[2,2] Strides=[2,2] Dilations=[1,1] Pads=[0,1,0,1] Ceil=true CountPad=true : f32[1,2,3,2]
%t = transpose(%p) Perm=[0,3,1,2] : f32[1,2,2,3]
%d = pad(%t) Pads=[0,0,1,0,0,0,0,1] Value=-1 : f32[1,2,3,4]
%s = slice(%d) Start=[0,1,2,0] Count=[1,2,3,2] Step=[1,-1,-1,2] : f32[1,2,3,2]
%l = concat(%s, %s) Axis=3 : f32[1,2,3,4]
%i = const i64[2] {0 -1}
%g = gather(%l, %i) Axis=2 : f32[1,2,2,4]
%r = reduce(%g) Fn=mean Axes=[1,2] : f32[1,1,1,4]
%e = expand(%r) Shape=[1,1,3,4] : f32[1,1,3,4]
%v = reshape(%e) Shape=[3,4] : f32[3,4]
%k = const f32[4,2] {1 2 3 4 5 6 7 8}
%m = matmul(%v, %k, %b) Act=hardsigmoid(0.2,0.5) : f32[3,2]
%q = binary(%m, %b) Fn=sub : f32[3,2]
%o = softmax(%q) : f32[3,2]
%z = cast(%o) To=i32 : i32[3,2]
%f = const f32[] {0.25}
%h = binary(%f, %o) Fn=div : f32[3,2]
%a = const f32[3] {1 2 3}
%u = product(%h, %q, %a) A=[0,1] B=[1,0] Y=[0,1] Act=affine(0.5,0) : f32[3,3]
%y = layernorm(%u, %a, %a) Eps=0.125 : f32[3,3]
return %o, %z, %y
`

// TestTextRoundTrips parses what it prints; the elements of large constants are not part of the text.
func TestTextRoundTrips(t *testing.T) {
	for name := range ops {
		if !strings.Contains(everyOp+everyModelOp+everyIndexOp, name+"(") {
			t.Errorf("no %s in the graphs of this test", name)
		}
	}
	for _, text := range []string{everyOp, everyModelOp, everyIndexOp} {
		roundTrip(t, text)
	}
}

func roundTrip(t *testing.T, every string) {
	t.Helper()
	g, err := Parse(every)
	if err != nil {
		t.Fatal(err)
	}
	text := g.String()
	if want := strings.NewReplacer(" rand(1)", "", " rand(2)", "").Replace(every); text != want {
		t.Errorf("printed\n%s\nwant\n%s", text, want)
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if again.String() != text {
		t.Errorf("printed again\n%s\nfirst\n%s", again, text)
	}
}

func TestTextNamesAreUnique(t *testing.T) {
	x := &Value{Name: "a b,c", Type: Of(F32, 2)}
	n, err := NewNode("a\tb(c", Unary{Fn: "abs"}, x)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewNode("a b c", Unary{Fn: "neg"}, n.Out[0])
	if err != nil {
		t.Fatal(err)
	}
	g := &Graph{Name: "two\nwords", In: []*Value{x}, Out: m.Out, Nodes: []*Node{n, m}}
	want := "graph two_words\n%a_b_c = input f32[2]\n%a_b_c.1 = unary(%a_b_c) Fn=abs : f32[2]\n%a_b_c.2 = unary(%a_b_c.1) Fn=neg : f32[2]\nreturn %a_b_c.2\n"
	if g.String() != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
}

func TestFillIsSeeded(t *testing.T) {
	a, b, c := NewTensor(Of(F32, 9)), NewTensor(Of(F32, 9)), NewTensor(Of(F32, 9))
	Fill(a, 1)
	Fill(b, 1)
	Fill(c, 2)
	for i := range a.F {
		if a.F[i] != b.F[i] || a.F[i] == c.F[i] || a.F[i] < -1 || a.F[i] > 1 {
			t.Fatalf("%v, %v, %v", a.F, b.F, c.F)
		}
	}
}

func TestTextErrors(t *testing.T) {
	for text, want := range map[string]string{
		"%x : f32[2]":                                                     `line 1: "%x : f32[2]" is no statement`,
		"%x = input f31[2]":                                               `no element type "f31"`,
		"%x = input f32[-2]":                                              `"-2" is no extent`,
		"%x = input f32[a]":                                               `"a" is no extent`,
		"%x = const f32[2] {1}":                                           `1 elements for f32[2]`,
		"%x = const f32[1] {a}":                                           `invalid syntax`,
		"%x = const f32[1] rand(-1)":                                      `invalid syntax`,
		"%y = unary(%x) Fn=abs":                                           `no value "%x"`,
		"return %y":                                                       `no value "%y"`,
		"%x = input f32[2]\n%y = blur(%x)":                                `line 2: no operator "blur"`,
		"%x = input f32[2]\n%y = unary(%x) Gn=abs":                        `unary has no attribute "Gn"`,
		"%x = input f32[2]\n%y = unary(%x) Fn=abs : f32[3]":               `unary gives f32[2], not f32[3]`,
		"%x = input f32[2]\n%y, %z = unary(%x) Fn=abs":                    `unary has 1 outputs`,
		"%x = input f32[2]\n%y = unary(%x) Fn=clip P=[1]":                 `1 parts, wants 2`,
		"%x = input f32[2]\n%y = cast(%x) To=f16":                         `no element type "f16"`,
		"%x = input f32[2]\n%y = transpose(%x) Perm=[a]":                  `attribute Perm`,
		"%x = input f32[1,1]\n%y = matmul(%x, %x, %x) Act=clip(1)":        `clip takes 2 parameters, got 1`,
		"%x = input f32[1,1]\n%y = matmul(%x, %x, %x) Act=leakyrelu(a)":   `parameter "a"`,
		"%x = input f32[1,1]\n%y = matmul(%x, %x, %x) Act=blur":           `no function "blur"`,
		"%x = input f32[1,1]\n%y = unary(%x, %x) Fn=abs":                  `takes 1 inputs, got 2`,
		"# a comment\n\n%x = input f32[2]\n%y = reshape(%x) Shape=[3]\n#": `line 4: reshape: 2 elements of [2] do not fill [3]`,
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", text, err, want)
		}
	}
}
