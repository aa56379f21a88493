package pass

import "testing"

func TestNormsGetTheirName(t *testing.T) {
	const head = `
%x = input f32[2,3]
%e = const f32[] {0.5}
%m = reduce(%x) Fn=mean Axes=[1]
%d = binary(%x, %m) Fn=sub
%q = binary(%d, %d) Fn=mul
%v = reduce(%q) Fn=mean Axes=[1]
%s = binary(%v, %e) Fn=add
%r = unary(%s) Fn=sqrt
%n = binary(%d, %r) Fn=div
`
	expect(t, norms, "", []rewrite{
		{"with factors and sums", head + `%w = const f32[3] {1 2 3}
%b = const f32[1,3] {4 5 6}
%k = binary(%w, %n) Fn=mul
%y = binary(%k, %b) Fn=add
return %y`, `%n.scale = const f32[3] {1 2 3}
%n.bias = const f32[3] {4 5 6}
%y = layernorm(%x, %n.scale, %n.bias) Eps=0.5
return %y`},
		{"alone, where something else reads it", head + `%w = const f32[3] {1 2 3}
%y = binary(%w, %n) Fn=mul
return %y, %n`, `%n.scale = const f32[3] {1 1 1}
%n.bias = const f32[3] {0 0 0}
%n = layernorm(%x, %n.scale, %n.bias) Eps=0.5
%w = const f32[3] {1 2 3}
%y = binary(%w, %n) Fn=mul
return %y, %n`},
		{"not over another axis", `
%x = input f32[2,3]
%e = const f32[] {0.5}
%m = reduce(%x) Fn=mean Axes=[0]
%d = binary(%x, %m) Fn=sub
%q = binary(%d, %d) Fn=mul
%v = reduce(%q) Fn=mean Axes=[0]
%s = binary(%v, %e) Fn=add
%r = unary(%s) Fn=sqrt
%y = binary(%d, %r) Fn=div
return %y`, "same"},
		{"not by the mean of something else", `
%x = input f32[2,3]
%z = input f32[2,3]
%e = const f32[] {0.5}
%m = reduce(%z) Fn=mean Axes=[1]
%d = binary(%x, %m) Fn=sub
%q = binary(%d, %d) Fn=mul
%v = reduce(%q) Fn=mean Axes=[1]
%s = binary(%v, %e) Fn=add
%r = unary(%s) Fn=sqrt
%y = binary(%d, %r) Fn=div
return %y`, "same"},
	})
}
