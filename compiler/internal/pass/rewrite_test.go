package pass

import (
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// rewrite is a graph before and after a pass. after leaves out what the pass does not change: inputs
// and constants, unless they are new, and types. "same" stands for the graph before.
type rewrite struct{ name, before, after string }

func expect(t *testing.T, run func(*ir.Graph) error, head string, cases []rewrite) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// Constants come before both, each where the text form prints it: before its first use.
			parse := func(text string) *ir.Graph {
				g, err := ir.Parse("graph g\n" + head + text)
				if err != nil {
					t.Fatalf("%v in\n%s", err, head+text)
				}
				return g
			}
			got := parse(c.before)
			want := got.String()
			if c.after != "same" {
				inputs := ""
				for line := range strings.Lines(c.before) {
					if strings.Contains(line, " = input ") || strings.Contains(line, " = const ") {
						inputs += line
					}
				}
				want = parse(inputs + c.after).String()
			}
			if err := run(got); err != nil {
				t.Fatal(err)
			}
			if err := got.Verify(); err != nil {
				t.Error(err)
			}
			if got.String() != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestTransposesSink(t *testing.T) {
	expect(t, sinkTransposes, "", []rewrite{
		{"two that cancel", `
%x = input f32[1,2,3,4]
%l = transpose(%x) Perm=[0,2,3,1]
%y = transpose(%l) Perm=[0,3,1,2]
%z = unary(%y) Fn=neg
return %z`, `
%z = unary(%x) Fn=neg
return %z`},
		{"an output is no input", `
%x = input f32[1,2,3,4]
%l = transpose(%x) Perm=[0,2,3,1]
%y = transpose(%l) Perm=[0,3,1,2]
return %y`, `
%y = transpose(%x) Perm=[0,1,2,3]
return %y`},
		{"two that do not cancel", `
%x = input f32[2,3,4]
%l = transpose(%x) Perm=[1,2,0]
%y = transpose(%l) Perm=[1,2,0]
return %y`, `
%y = transpose(%x) Perm=[2,0,1]
return %y`},
		{"through a choice of places, whose list stays", `
%x = input f32[1,2,3,4]
%i = const i64[4] {0 0 1 1}
%l = transpose(%x) Perm=[0,3,1,2]
%g = gather(%l, %i) Axis=2
%y = transpose(%g) Perm=[0,2,3,1]
return %y`, `
%i = const i64[4] {0 0 1 1}
%y = gather(%x, %i) Axis=1
return %y`},
		{"not through one that changes the axes", `
%x = input f32[1,2,3,4]
%i = const i64[] {1}
%l = transpose(%x) Perm=[0,3,1,2]
%y = gather(%l, %i) Axis=2
return %y`, "same"},
		{"through unary, which keeps the outputs' names", `
%x = input f32[1,2,3,4]
%t = transpose(%x) Perm=[0,2,3,1]
%u = unary(%t) Fn=neg
%y = transpose(%u) Perm=[0,3,1,2]
return %y, %u`, `
%y = unary(%x) Fn=neg
%u = transpose(%y) Perm=[0,2,3,1]
return %y, %u`},
		{"through binary with constants that broadcast, on either side", `
%x = input f32[1,2,3,2]
%t = transpose(%x) Perm=[0,3,1,2]
%c = const f32[2,1,1] {5 6}
%b = binary(%c, %t) Fn=sub
%d = const f32[3] {7 8 9}
%e = binary(%b, %d) Fn=mul
%f = const f32[] {3}
%y = binary(%e, %f) Fn=div
return %y`, `
%c = const f32[1,1,1,2] {5 6}
%b = binary(%c, %x) Fn=sub
%d = const f32[1,1,3,1] {7 8 9}
%e = binary(%b, %d) Fn=mul
%f = const f32[1,1,1,1] {3}
%y = binary(%e, %f) Fn=div
%y.1 = transpose(%y) Perm=[0,3,1,2]
return %y.1`},
		{"not where a constant adds axes", `
%x = input f32[2,3]
%t = transpose(%x) Perm=[1,0]
%c = const f32[2,1,1] {5 6}
%y = binary(%c, %t) Fn=sub
return %y`, "same"},
		{"through binary of two that agree, one broadcast", `
%x = input f32[2,3]
%z = input f32[2,1]
%t = transpose(%x) Perm=[1,0]
%u = transpose(%z) Perm=[1,0]
%y = binary(%u, %t) Fn=sub
return %y`, `
%y = binary(%z, %x) Fn=sub
%y.1 = transpose(%y) Perm=[1,0]
return %y.1`},
		{"not through binary where one operand went another way", `
%x = input f32[2,2]
%z = input f32[2,2]
%t = transpose(%x) Perm=[1,0]
%y = binary(%z, %t) Fn=sub
return %y`, "same"},
		{"through concat, slice, pad and reduce", `
%x = input f32[1,4,5,2]
%t = transpose(%x) Perm=[0,3,1,2]
%c = const f32[1,1,2,5] {1 2 3 4 5 6 7 8 9 10}
%h = slice(%t) Start=[0,0,0,0] Count=[1,2,2,5] Step=[1,1,1,1]
%a = concat(%h, %c) Axis=1
%s = slice(%a) Start=[0,2,1,4] Count=[1,2,2,3] Step=[1,-1,-1,-2]
%p = pad(%s) Pads=[0,1,2,3,4,5,6,7] Value=1.5
%r = reduce(%p) Fn=max Axes=[1,3]
return %r`, `
%h = slice(%x) Start=[0,0,0,0] Count=[1,2,5,2] Step=[1,1,1,1]
%c = const f32[1,2,5,1] {1 2 3 4 5 6 7 8 9 10}
%a = concat(%h, %c) Axis=3
%s = slice(%a) Start=[0,1,4,2] Count=[1,2,3,2] Step=[1,-1,-2,-1]
%p = pad(%s) Pads=[0,2,3,1,4,6,7,5] Value=1.5
%r = reduce(%p) Fn=max Axes=[2,3]
%r.1 = transpose(%r) Perm=[0,3,1,2]
return %r.1`},
		{"another reader keeps the transpose", `
%x = input f32[2,3]
%t = transpose(%x) Perm=[1,0]
%u = unary(%t) Fn=neg
%s = softmax(%t)
return %u, %s`, `
%t = transpose(%x) Perm=[1,0]
%u = unary(%x) Fn=neg
%u.1 = transpose(%u) Perm=[1,0]
%s = softmax(%t)
return %u.1, %s`},
		{"not through what has a last axis", `
%x = input f32[2,3]
%t = transpose(%x) Perm=[1,0]
%s = softmax(%t)
%y = reshape(%s) Shape=[6]
return %y`, "same"},
	})
}

func TestReshapesMerge(t *testing.T) {
	expect(t, mergeReshapes, "", []rewrite{
		{"views of views, and transposes that only move axes of 1", `
%x = input f32[1,3,1,4]
%t = transpose(%x) Perm=[0,2,1,3]
%a = reshape(%t) Shape=[3,4]
%b = reshape(%a) Shape=[12]
%y = unary(%b) Fn=neg
return %y`, `
%b = reshape(%x) Shape=[12]
%y = unary(%b) Fn=neg
return %y`},
		{"one that changes nothing goes", `
%x = input f32[3,4]
%a = reshape(%x) Shape=[12]
%b = reshape(%a) Shape=[3,4]
%y = unary(%b) Fn=neg
return %y`, `
%y = unary(%x) Fn=neg
return %y`},
		{"an output keeps its own", `
%x = input f32[3,4]
%a = reshape(%x) Shape=[12]
%b = reshape(%a) Shape=[3,4]
return %b`, `
%b = reshape(%x) Shape=[3,4]
return %b`},
		{"a transpose that moves elements stays", `
%x = input f32[1,3,1,4]
%y = transpose(%x) Perm=[0,3,2,1]
return %y`, "same"},
	})
}

func TestDeadNodesGo(t *testing.T) {
	expect(t, removeDead, "", []rewrite{{"a chain that ends nowhere", `
%x = input f32[1]
%a = unary(%x) Fn=neg
%b = unary(%a) Fn=exp
%d = binary(%b, %b) Fn=add
%y = unary(%a) Fn=abs
return %y`, `
%a = unary(%x) Fn=neg
%y = unary(%a) Fn=abs
return %y`}})
}
