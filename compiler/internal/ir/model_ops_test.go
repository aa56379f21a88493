package ir

// everyModelOp has each operator that stands for a whole layer or model.
const everyModelOp = `graph models
%x = input f32[3,2,8]
%r = const f32[2,8] {1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16}
%h = const f32[2,2] {1 2 3 4}
%p = const f32[6] {1 2 3 4 5 6}
%y, %s, %c = recurrent(%x, %r, %h, %h, %p) Cell=lstm F=sigmoid G=tanh H=affine(2,1) Clip=0.5 Reverse=true Coupled=true Lens=[3,1] : f32[3,2,2], f32[2,2], f32[2,2]
%f = reshape(%y) Shape=[3,4] : f32[3,4]
%t = const i32[3,4] {2 3 2 0 -1 0 1 0 -1 1 1 0}
%v = const f32[3] {0.5 1 2}
%o = const i32[1] {0}
%b = const f32[2] {0 1}
%e = trees(%f, %t, %v, %o, %b) Aggregate=sum : f32[3,2]
%k = classify(%e) Labels=[7,-3] Above=0.5 : i64[3]
return %y, %s, %c, %k
`
