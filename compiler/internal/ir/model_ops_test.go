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
%q = quantize(%h) Scale=0.5 Zero=3 Hi=255 To=u8 : u8[2,2]
%i = intbinary(%q, %q) Fn=mul ScaleA=0.5 ScaleB=0.25 ZeroA=3 ZeroB=1 Zero=2 Lo=-128 Hi=127 To=i8 : i8[2,2]
%m = reshape(%i) Shape=[1,2,2] : i8[1,2,2]
%w = const i16[1,2,1] {3 -4}
%j = const i32[1] {5}
%l = const f32[1] {0.25}
%n = intconv(%m, %w, %j, %l) Strides=[1] Dilations=[1] Pads=[0,1] Group=1 Zero=2 OutZero=9 Lo=1 Hi=200 To=u8 : u8[1,3,1]
%u = const u8[256] rand(2)
%aa = lookup(%n, %u) : u8[1,3,1]
%d = dequantize(%aa) Scale=0.5 Zero=9 : f32[1,3,1]
%z = reshape(%h) Shape=[1,1,4] : f32[1,1,4]
%a = const f32[1,1,1] {0.5}
%g = nms(%z, %a) Most=1 IoU=0.5 Score=0.25 Center=true : i64[1,3]
%ab, %ac = grid(%d) : f32[], u8[]
%ad = ongrid(%d, %ab, %ac) : u8[1,3,1]
%ae = const i16[1,1,2] {7 -9}
%af = const i32[2] {5 6}
%ag = intconv(%ad, %ae, %af, %b, %ac) Strides=[1] Dilations=[1] Pads=[0,0] Group=1 To=i32 : i32[1,3,2]
%ah = intconv(%ad, %ae, %af, %b, %ac, %ab, %b) Strides=[1] Dilations=[1] Pads=[0,0] Group=1 To=f32 Act=clip(0,6) : f32[1,3,2]
%ra = reshape(%h) Shape=[1,2,2,1] : f32[1,2,2,1]
%rb = const f32[1,4] {0 0 1 2}
%rc = const i64[1] {0}
%rd = roialign(%ra, %rb, %rc) Height=1 Width=2 Scale=0.5 Half=true Samples=2 Max=true : f32[1,1,2,1]
return %y, %s, %c, %k, %d, %g, %ag, %ah, %rd
`
