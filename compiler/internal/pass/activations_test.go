package pass

import "testing"

func TestActivationsGetTheirNames(t *testing.T) {
	const x = "\n%x = input f32[2,3]\n"
	const half, one, root = "%h = const f32[1] {0.5}\n", "%o = const f32[1] {1}\n", "%r = const f32[1,1] {1.4142135}\n"
	const named = "%y = unary(%x) Fn="
	expect(t, nameActivations, "", []rewrite{
		{"silu", x + "%s = unary(%x) Fn=sigmoid\n%y = binary(%x, %s) Fn=mul\nreturn %y", named + "silu\nreturn %y"},
		{"silu, the gate first, which has another reader", x + "%s = unary(%x) Fn=sigmoid\n%y = binary(%s, %x) Fn=mul\nreturn %y, %s",
			"%s = unary(%x) Fn=sigmoid\n" + named + "silu\nreturn %y, %s"},
		{"hardswish", x + "%s = unary(%x) Fn=hardsigmoid P=[0.16666667,0.5]\n%y = binary(%x, %s) Fn=mul\nreturn %y", named + "hardswish\nreturn %y"},
		{"hardswish from a clip", x + `%k = const f32[1] {3}
%l = const f32[1] {6}
%a = binary(%k, %x) Fn=add
%c = unary(%a) Fn=clip P=[0,6]
%m = binary(%x, %c) Fn=mul
%y = binary(%m, %l) Fn=div
return %y`, named + "hardswish\nreturn %y"},
		{"gelu, halved last", x + half + one + root + `%u = binary(%x, %r) Fn=div
%e = unary(%u) Fn=erf
%a = binary(%e, %o) Fn=add
%m = binary(%x, %a) Fn=mul
%y = binary(%m, %h) Fn=mul
return %y`, named + "gelu\nreturn %y"},
		{"gelu, halved first", x + half + one + root + `%b = binary(%h, %x) Fn=mul
%u = binary(%x, %r) Fn=div
%e = unary(%u) Fn=erf
%a = binary(%o, %e) Fn=add
%y = binary(%b, %a) Fn=mul
return %y`, named + "gelu\nreturn %y"},
		{"gelu by tanh", x + half + one + `%k = const f32[1] {0.044715}
%q = const f32[1] {0.7978846}
%x2 = binary(%x, %x) Fn=mul
%x3 = binary(%x2, %x) Fn=mul
%c = binary(%k, %x3) Fn=mul
%s = binary(%x, %c) Fn=add
%u = binary(%s, %q) Fn=mul
%e = unary(%u) Fn=tanh
%a = binary(%e, %o) Fn=add
%b = binary(%x, %h) Fn=mul
%y = binary(%b, %a) Fn=mul
return %y`, named + "gelutanh\nreturn %y"},
		{"mish", x + "%p = unary(%x) Fn=softplus\n%s = unary(%p) Fn=tanh\n%y = binary(%x, %s) Fn=mul\nreturn %y", named + "mish\nreturn %y"},
		{"not the gate of another value", x + "%z = unary(%x) Fn=neg\n%s = unary(%z) Fn=sigmoid\n%y = binary(%x, %s) Fn=mul\nreturn %y", "same"},
		{"not a gate of one value", x + "%w = input f32[1,1]\n%s = unary(%w) Fn=sigmoid\n%y = binary(%x, %s) Fn=mul\nreturn %y", "same"},
		{"not another hardsigmoid", x + "%s = unary(%x) Fn=hardsigmoid P=[0.2,0.5]\n%y = binary(%x, %s) Fn=mul\nreturn %y", "same"},
		{"not gelu without its half", x + one + root + `%u = binary(%x, %r) Fn=div
%e = unary(%u) Fn=erf
%a = binary(%e, %o) Fn=add
%y = binary(%x, %a) Fn=mul
return %y`, "same"},
		{"not an output with more axes", x + "%o = const f32[1,1,1] {1}\n%s = unary(%x) Fn=sigmoid\n%m = binary(%x, %s) Fn=mul\n%y = binary(%m, %o) Fn=mul\nreturn %y",
			"%o = const f32[1,1,1] {1}\n%m = unary(%x) Fn=silu\n%y = binary(%m, %o) Fn=mul\nreturn %y"},
	})
}
