package pass
import ("testing";"fmt";"github.com/isomer-iot/isomer/compiler/internal/ir";"strings")
func TestZZ(t *testing.T){
 for _,c:=range []struct{n string; p func(*ir.Graph) error; s string}{
{"cancel",sinkTransposes,`
%x = input f32[1,2,3,4]
%l = transpose(%x) Perm=[0,2,3,1]
%y = transpose(%l) Perm=[0,3,1,2]
%z = unary(%y) Fn=neg
return %z`},
{"cancel to input",sinkTransposes,`
%x = input f32[1,2,3,4]
%l = transpose(%x) Perm=[0,2,3,1]
%y = transpose(%l) Perm=[0,3,1,2]
return %y`},
{"unary",sinkTransposes,`
%x = input f32[1,2,3,4]
%t = transpose(%x) Perm=[0,2,3,1]
%u = unary(%t) Fn=neg
%y = transpose(%u) Perm=[0,3,1,2]
return %y, %u`},
{"binary const",sinkTransposes,`
%x = input f32[1,2,3,2]
%t = transpose(%x) Perm=[0,3,1,2]
%c = const f32[2,1,1] {5 6}
%b = binary(%c, %t) Fn=sub
%d = const f32[3] {7 8 9}
%e = binary(%b, %d) Fn=mul
%f = const f32[] {3}
%y = binary(%e, %f) Fn=div
return %y`},
{"binary rank too high",sinkTransposes,`
%x = input f32[2,3]
%t = transpose(%x) Perm=[1,0]
%c = const f32[2,1,1] {5 6}
%y = binary(%c, %t) Fn=sub
return %y`},
{"two computed",sinkTransposes,`
%x = input f32[2,3]
%z = input f32[2,1]
%t = transpose(%x) Perm=[1,0]
%u = transpose(%z) Perm=[1,0]
%y = binary(%u, %t) Fn=sub
return %y`},
{"differ",sinkTransposes,`
%x = input f32[2,2]
%z = input f32[2,2]
%t = transpose(%x) Perm=[1,0]
%y = binary(%z, %t) Fn=sub
return %y`},
{"move",sinkTransposes,`
%x = input f32[1,4,5,2]
%t = transpose(%x) Perm=[0,3,1,2]
%c = const f32[1,1,4,5]
%a = concat(%t, %c) Axis=1
%s = slice(%a) Start=[0,2,3,4] Count=[1,2,3,3] Step=[1,-1,-1,-2]
%p = pad(%s) Pads=[0,1,2,3,4,5,6,7] Value=1.5
%r = reduce(%p) Fn=max Axes=[1,3]
return %r`},
{"dead other reader",sinkTransposes,`
%x = input f32[2,3]
%t = transpose(%x) Perm=[1,0]
%u = unary(%t) Fn=neg
%s = softmax(%t)
return %u, %s`},
{"reshapes",mergeReshapes,`
%x = input f32[1,3,1,4]
%t = transpose(%x) Perm=[0,2,1,3]
%a = reshape(%t) Shape=[3,4]
%b = reshape(%a) Shape=[12]
%c = reshape(%b) Shape=[1,3,1,4]
%u = unary(%c) Fn=neg
%d = reshape(%u) Shape=[12]
%e = transpose(%x) Perm=[0,3,2,1]
return %d, %e`},
{"affine",foldAffine,`
%x = input f32[1,1,2,2]
%w = const f32[1,1,2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%v = conv(%x, %w, %b) Strides=[1,1] Dilations=[1,1] Pads=[0,0,0,0] Group=1
%c = const f32[2] {10 100}
%m = binary(%c, %v) Fn=mul
%d = const f32[1,1,1,1] {5}
%n = binary(%m, %d) Fn=sub
%e = const f32[1,2] {2 4}
%o = binary(%n, %e) Fn=div
%y = binary(%o, %c) Fn=add
return %y`},
{"affine not",foldAffine,`
%x = input f32[2,2]
%w = const f32[2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%p = matmul(%x, %w, %b)
%y = binary(%c, %p) Fn=sub
%q = matmul(%x, %w, %b)
%z = binary(%q, %c) Fn=mul
%u = unary(%q) Fn=neg
%r = matmul(%x, %w, %b)
%rows = const f32[2,1] {1 2}
%v = binary(%r, %rows) Fn=mul
%s = matmul(%x, %x, %b)
%s2 = binary(%s, %c) Fn=mul
%t = matmul(%x, %x, %b)
%t2 = binary(%t, %c) Fn=add
%k = matmul(%x, %w, %b)
%k2 = binary(%k, %c) Fn=max
return %y, %z, %u, %v, %s2, %t2, %k2`},
{"affine bug",foldAffine,`
%x = input f32[2,2]
%w = const f32[2,2] {1 2 3 4}
%b = const f32[2] {1 2}
%c = const f32[2] {10 100}
%p = matmul(%x, %w, %b)
%m = binary(%p, %c) Fn=mul
%a = binary(%m, %c) Fn=add
%r = unary(%m) Fn=neg
return %a, %r`},
}{
 g,err:=ir.Parse("graph g"+c.s)
 if err!=nil{t.Fatal(c.n,err)}
 err=c.p(g)
 fmt.Println("====",c.n,err,g.Verify()); fmt.Println(strings.TrimSpace(g.String()))
}}
