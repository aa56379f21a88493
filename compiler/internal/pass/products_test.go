package pass

import "testing"

func TestProductsTakeTransposesIn(t *testing.T) {
	const head = `
%q = input f32[1,5,2,3]
%k = input f32[1,6,2,3]
%c = const f32[6] {0 0 0 0 0 0}
%s = const f32[] {4}
`
	expect(t, products, "", []rewrite{
		{"the scores of attention", head + `%a = transpose(%q) Perm=[0,2,1,3]
%b = transpose(%k) Perm=[0,2,3,1]
%p = matmul(%a, %b, %c)
%y = binary(%p, %s) Fn=div
return %y`, `%y = product(%q, %k, %c) A=[0,2,1,3] B=[0,2,3,1] Act=affine(0.25,0)
return %y`},
		{"a result that is turned", head + `%b = transpose(%k) Perm=[0,2,3,1]
%a = transpose(%q) Perm=[0,2,1,3]
%p = matmul(%a, %b, %c)
%y = transpose(%p) Perm=[0,2,1,3]
return %y`, `%y = product(%q, %k, %c) A=[0,2,1,3] B=[0,2,3,1] Y=[0,2,1,3]
return %y`},
		{"a factor, and a transpose behind it", head + `%b = transpose(%k) Perm=[0,2,3,1]
%a = transpose(%q) Perm=[0,2,1,3]
%p = matmul(%a, %b, %c)
%m = binary(%s, %p) Fn=mul
%y = transpose(%m) Perm=[0,2,1,3]
return %y`, `%y = product(%q, %k, %c) A=[0,2,1,3] B=[0,2,3,1] Y=[0,2,1,3] Act=affine(4,0)
return %y`},
		{"not over another reader, nor what moves rows' elements apart", `
%q = input f32[1,2,3,5]
%k = input f32[1,2,3,6]
%c = const f32[6] {0 0 0 0 0 0}
%a = transpose(%q) Perm=[0,1,3,2]
%p = matmul(%a, %k, %c)
%z = transpose(%p) Perm=[0,1,3,2]
%y = transpose(%p) Perm=[1,0,2,3]
return %y, %z`, `%a = transpose(%q) Perm=[0,1,3,2]
%p = product(%a, %k, %c)
%z = transpose(%p) Perm=[0,1,3,2]
%y = transpose(%p) Perm=[1,0,2,3]
return %y, %z`},
		{"not the quotient of a constant", head + `%b = transpose(%k) Perm=[0,2,3,1]
%a = transpose(%q) Perm=[0,2,1,3]
%p = matmul(%a, %b, %c)
%y = binary(%s, %p) Fn=div
return %y`, `%p = product(%q, %k, %c) A=[0,2,1,3] B=[0,2,3,1]
%y = binary(%s, %p) Fn=div
return %y`},
		{"not a product of few rows, nor one with constants", `
%x = input f32[3,4]
%z = input f32[4,4]
%w = const f32[4,4] rand(1)
%c = const f32[4] {0 0 0 0}
%a = matmul(%x, %z, %c)
%y = matmul(%z, %w, %c)
return %a, %y`, "same"},
	})
}
