package pass

import (
	"slices"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

const product = `
%x = input f32[2,2]
%w = const f32[2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%v = matmul(%x, %w, %b)`

func TestAffineFolds(t *testing.T) {
	expect(t, foldAffine, "", []rewrite{
		{"a chain behind a convolution, constants on either side", `
%x = input f32[1,1,2,2]
%w = const f32[1,1,2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%v = conv(%x, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
%m = binary(%c, %v) Fn=mul
%d = const f32[1,1,1,1] {5}
%n = binary(%m, %d) Fn=sub
%e = const f32[1,2] {2 4}
%o = binary(%n, %e) Fn=div
%y = binary(%c, %o) Fn=add
return %y`, `
%w = const f32[1,1,2,2] {5 50 15 100}
%b = const f32[2] {12.5 148.75}
%y = conv(%x, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
return %y`},
		{"a sum where the weights are computed", `
%x = input f32[2,2]
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%v = matmul(%x, %x, %b)
%y = binary(%v, %c) Fn=add
return %y`, `
%b = const f32[2] {11 102}
%y = matmul(%x, %x, %b)
return %y`},
		{"no product where the weights are computed", `
%x = input f32[2,2]
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%v = matmul(%x, %x, %b)
%y = binary(%v, %c) Fn=mul
return %y`, "same"},
		{"up to the value that has two readers", product + `
%m = binary(%v, %c) Fn=mul
%y = binary(%m, %c) Fn=add
%z = unary(%m) Fn=neg
return %y, %z`, `
%w = const f32[2,2] {10 200 30 400}
%b = const f32[2] {10 200}
%m = matmul(%x, %w, %b)
%y = binary(%m, %c) Fn=add
%z = unary(%m) Fn=neg
return %y, %z`},
		{"not over another reader", product + `
%y = binary(%v, %c) Fn=mul
%z = unary(%v) Fn=neg
return %y, %z`, "same"},
		{"not over an output", product + `
%y = binary(%v, %c) Fn=mul
return %y, %v`, "same"},
		{"not with the constant on the left of a difference", product + "\n%y = binary(%c, %v) Fn=sub\nreturn %y", "same"},
		{"not with the constant divided", product + "\n%y = binary(%c, %v) Fn=div\nreturn %y", "same"},
		{"not a maximum", product + "\n%y = binary(%v, %c) Fn=max\nreturn %y", "same"},
		{"not one value for each row", product + "\n%r = const f32[2,1] {1 2}\n%y = binary(%v, %r) Fn=mul\nreturn %y", "same"},
		{"not one that adds an axis", product + "\n%r = const f32[1,1,1] {2}\n%y = binary(%v, %r) Fn=mul\nreturn %y", "same"},
		{"not behind an activation", `
%x = input f32[2,2]
%w = const f32[2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%v = matmul(%x, %w, %b) Act=exp
%y = binary(%v, %b) Fn=mul
return %y`, "same"},
	})
}

const pointwise = `
%x = input f32[1,2,2,3]
%w = const f32[1,1,3,3] {1 2 3 4 5 6 7 8 9}
%b = const f32[3] {1 2 3}
%v = conv(%x, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1`

func TestEpiloguesFuse(t *testing.T) {
	const attrs = " Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1"
	expect(t, fuseEpilogues, "", []rewrite{
		{"an activation", pointwise + "\n%y = unary(%v) Fn=clip P=[0,6]\nreturn %y",
			"%y = conv(%x, %w, %b)" + attrs + " Act=clip(0,6)\nreturn %y"},
		{"a residual, the convolution on the left", pointwise + "\n%y = binary(%v, %x) Fn=add\nreturn %y",
			"%y = conv(%x, %w, %b, %x)" + attrs + "\nreturn %y"},
		{"a residual, the convolution on the right", pointwise + "\n%y = binary(%x, %v) Fn=add\nreturn %y",
			"%y = conv(%x, %w, %b, %x)" + attrs + "\nreturn %y"},
		{"a residual that is computed later, and an activation behind it", pointwise + `
%u = unary(%x) Fn=exp
%s = binary(%v, %u) Fn=add
%y = unary(%s) Fn=clip P=[0,+Inf]
return %y`, `
%u = unary(%x) Fn=exp
%y = conv(%x, %w, %b, %u)` + attrs + ` Act=clip(0,+Inf)
return %y`},
		{"the later of two convolutions takes the other in", pointwise + `
%u = conv(%x, %w, %b)` + attrs + `
%y = binary(%u, %v) Fn=add
return %y`, `
%v = conv(%x, %w, %b)` + attrs + `
%y = conv(%x, %w, %b, %v)` + attrs + `
return %y`},
		{"one activation of a chain, and then no residual", pointwise + `
%u = unary(%v) Fn=clip P=[0,6]
%t = unary(%u) Fn=clip P=[1,3]
%y = binary(%t, %x) Fn=add
return %y`, `
%u = conv(%x, %w, %b)` + attrs + ` Act=clip(0,6)
%t = unary(%u) Fn=clip P=[1,3]
%y = binary(%t, %x) Fn=add
return %y`},
		{"an activation, and no residual behind it", pointwise + `
%u = unary(%v) Fn=neg
%y = binary(%u, %x) Fn=add
return %y`, `
%u = conv(%x, %w, %b)` + attrs + ` Act=neg
%y = binary(%u, %x) Fn=add
return %y`},
		{"one residual of two", pointwise + `
%s = binary(%v, %x) Fn=add
%y = binary(%s, %x) Fn=add
return %y`, `
%s = conv(%x, %w, %b, %x)` + attrs + `
%y = binary(%s, %x) Fn=add
return %y`},
		{"into a product", `
%x = input f32[3,3]
%b = const f32[3] {1 2 3}
%v = matmul(%x, %x, %b)
%s = binary(%v, %x) Fn=add
%y = unary(%s) Fn=tanh
return %y`, `
%y = matmul(%x, %x, %b, %x) Act=tanh
return %y`},
		{"not over another reader", pointwise + "\n%u = unary(%v) Fn=neg\n%y = binary(%v, %u) Fn=add\nreturn %y", "same"},
		{"not over an output", pointwise + "\n%y = unary(%v) Fn=neg\nreturn %y, %v", "same"},
		{"not with itself", pointwise + "\n%y = binary(%v, %v) Fn=add\nreturn %y", "same"},
		{"not with what broadcasts", pointwise + "\n%r = input f32[3]\n%y = binary(%v, %r) Fn=add\nreturn %y", "same"},
		{"not with a constant", pointwise + "\n%r = const f32[1,2,2,3] {1 2 3 4 5 6 7 8 9 10 11 12}\n%y = binary(%v, %r) Fn=add\nreturn %y", "same"},
		{"not a difference", pointwise + "\n%y = binary(%v, %x) Fn=sub\nreturn %y", "same"},
	})
}

func TestPadsBecomeNodes(t *testing.T) {
	expect(t, explicitPads, "", []rewrite{
		{"before the graph's input, an output and what is dense; not between convolutions", `
%x = input f32[1,2,2,1]
%w = const f32[2,2,1,1] {1 2 3 4}
%b = const f32[1] {1}
%v = conv(%x, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,2,0,1] Group=1
%u = conv(%v, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,1,1,1] Group=1
%s = conv(%u, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,1,0,1] Group=1
%m = softmax(%s)
%y = conv(%m, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,1] Group=1
return %y, %v`, `
%v = pad(%x) Pads=[0,1,2,0,0,0,1,0]
%v.1 = conv(%v, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
%u = pad(%v.1) Pads=[0,1,1,0,0,1,1,0]
%u.1 = conv(%u, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
%s = conv(%u.1, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,1,0,1] Group=1
%m = softmax(%s)
%y = pad(%m) Pads=[0,0,0,0,0,0,1,0]
%y.1 = conv(%y, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
return %y.1, %v.1`},
		{"one axis", `
%x = input f32[1,4,1]
%w = const f32[2,1,1] {1 2}
%b = const f32[1] {1}
%n = unary(%x) Fn=neg
%u = conv(%n, %w, %b) Strides=[1] Dilations=[1] Pads=[1,0] Group=1
%v = conv(%x, %w, %b) Strides=[1] Dilations=[1] Pads=[0,3] Group=1
return %u, %v`, `
%n = unary(%x) Fn=neg
%u = conv(%n, %w, %b) Strides=[1] Dilations=[1] Pads=[1,0] Group=1
%v = pad(%x) Pads=[0,0,0,0,3,0]
%v.1 = conv(%v, %w, %b) Strides=[1] Dilations=[1] Pads=[0,0] Group=1
return %u, %v.1`},
	})
}

const padded = `graph g
%x = input f32[1,2,2,1]
%w = const f32[2,2,1,1] {1 2 3 4}
%b = const f32[1] {1}
%t = transpose(%x) Perm=[0,2,1,3]
%n = unary(%t) Fn=neg
%v = conv(%n, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[1,1,0,0] Group=1
%y = unary(%v) Fn=exp
return %y`

// Run stops where it is told to, but what plan relies on is done.
func TestRunStopsAfter(t *testing.T) {
	var names []string
	for _, p := range List {
		names = append(names, p.Name)
	}
	for _, p := range List {
		g, err := ir.Parse(padded)
		if err != nil {
			t.Fatal(err)
		}
		if err := Run(g, p.Name); err != nil {
			t.Errorf("stop after %s: %v", p.Name, err)
		}
		for _, n := range g.Nodes {
			if c, ok := n.Op.(ir.Conv); ok && c.Pads[0] > 0 && !CanHalo(g, n.In[0]) {
				t.Errorf("stop after %s: a convolution pads what has no room\n%s", p.Name, g)
			}
		}
		if fused := !strings.Contains(g.String(), "Fn=exp"); fused != (slices.Index(names, p.Name) >= slices.Index(names, "epilogues")) {
			t.Errorf("stop after %s: fused is %v", p.Name, fused)
		}
	}
	g, _ := ir.Parse(padded)
	if err := Run(g, "epilogue"); err == nil || !strings.Contains(err.Error(), `no pass "epilogue"`) {
		t.Errorf("stop after a pass that is none: %v", err)
	}
}
