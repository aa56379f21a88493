package wasm

// The 236 instructions of fixed-width SIMD, prefix 0xFD.
const (
	V128Load                  Op = prefixSIMD + 0x00
	V128Load8x8S              Op = prefixSIMD + 0x01
	V128Load8x8U              Op = prefixSIMD + 0x02
	V128Load16x4S             Op = prefixSIMD + 0x03
	V128Load16x4U             Op = prefixSIMD + 0x04
	V128Load32x2S             Op = prefixSIMD + 0x05
	V128Load32x2U             Op = prefixSIMD + 0x06
	V128Load8Splat            Op = prefixSIMD + 0x07
	V128Load16Splat           Op = prefixSIMD + 0x08
	V128Load32Splat           Op = prefixSIMD + 0x09
	V128Load64Splat           Op = prefixSIMD + 0x0a
	V128Store                 Op = prefixSIMD + 0x0b
	V128Const                 Op = prefixSIMD + 0x0c
	I8x16Shuffle              Op = prefixSIMD + 0x0d
	I8x16Swizzle              Op = prefixSIMD + 0x0e
	I8x16Splat                Op = prefixSIMD + 0x0f
	I16x8Splat                Op = prefixSIMD + 0x10
	I32x4Splat                Op = prefixSIMD + 0x11
	I64x2Splat                Op = prefixSIMD + 0x12
	F32x4Splat                Op = prefixSIMD + 0x13
	F64x2Splat                Op = prefixSIMD + 0x14
	I8x16ExtractLaneS         Op = prefixSIMD + 0x15
	I8x16ExtractLaneU         Op = prefixSIMD + 0x16
	I8x16ReplaceLane          Op = prefixSIMD + 0x17
	I16x8ExtractLaneS         Op = prefixSIMD + 0x18
	I16x8ExtractLaneU         Op = prefixSIMD + 0x19
	I16x8ReplaceLane          Op = prefixSIMD + 0x1a
	I32x4ExtractLane          Op = prefixSIMD + 0x1b
	I32x4ReplaceLane          Op = prefixSIMD + 0x1c
	I64x2ExtractLane          Op = prefixSIMD + 0x1d
	I64x2ReplaceLane          Op = prefixSIMD + 0x1e
	F32x4ExtractLane          Op = prefixSIMD + 0x1f
	F32x4ReplaceLane          Op = prefixSIMD + 0x20
	F64x2ExtractLane          Op = prefixSIMD + 0x21
	F64x2ReplaceLane          Op = prefixSIMD + 0x22
	I8x16Eq                   Op = prefixSIMD + 0x23
	I8x16Ne                   Op = prefixSIMD + 0x24
	I8x16LtS                  Op = prefixSIMD + 0x25
	I8x16LtU                  Op = prefixSIMD + 0x26
	I8x16GtS                  Op = prefixSIMD + 0x27
	I8x16GtU                  Op = prefixSIMD + 0x28
	I8x16LeS                  Op = prefixSIMD + 0x29
	I8x16LeU                  Op = prefixSIMD + 0x2a
	I8x16GeS                  Op = prefixSIMD + 0x2b
	I8x16GeU                  Op = prefixSIMD + 0x2c
	I16x8Eq                   Op = prefixSIMD + 0x2d
	I16x8Ne                   Op = prefixSIMD + 0x2e
	I16x8LtS                  Op = prefixSIMD + 0x2f
	I16x8LtU                  Op = prefixSIMD + 0x30
	I16x8GtS                  Op = prefixSIMD + 0x31
	I16x8GtU                  Op = prefixSIMD + 0x32
	I16x8LeS                  Op = prefixSIMD + 0x33
	I16x8LeU                  Op = prefixSIMD + 0x34
	I16x8GeS                  Op = prefixSIMD + 0x35
	I16x8GeU                  Op = prefixSIMD + 0x36
	I32x4Eq                   Op = prefixSIMD + 0x37
	I32x4Ne                   Op = prefixSIMD + 0x38
	I32x4LtS                  Op = prefixSIMD + 0x39
	I32x4LtU                  Op = prefixSIMD + 0x3a
	I32x4GtS                  Op = prefixSIMD + 0x3b
	I32x4GtU                  Op = prefixSIMD + 0x3c
	I32x4LeS                  Op = prefixSIMD + 0x3d
	I32x4LeU                  Op = prefixSIMD + 0x3e
	I32x4GeS                  Op = prefixSIMD + 0x3f
	I32x4GeU                  Op = prefixSIMD + 0x40
	F32x4Eq                   Op = prefixSIMD + 0x41
	F32x4Ne                   Op = prefixSIMD + 0x42
	F32x4Lt                   Op = prefixSIMD + 0x43
	F32x4Gt                   Op = prefixSIMD + 0x44
	F32x4Le                   Op = prefixSIMD + 0x45
	F32x4Ge                   Op = prefixSIMD + 0x46
	F64x2Eq                   Op = prefixSIMD + 0x47
	F64x2Ne                   Op = prefixSIMD + 0x48
	F64x2Lt                   Op = prefixSIMD + 0x49
	F64x2Gt                   Op = prefixSIMD + 0x4a
	F64x2Le                   Op = prefixSIMD + 0x4b
	F64x2Ge                   Op = prefixSIMD + 0x4c
	V128Not                   Op = prefixSIMD + 0x4d
	V128And                   Op = prefixSIMD + 0x4e
	V128Andnot                Op = prefixSIMD + 0x4f
	V128Or                    Op = prefixSIMD + 0x50
	V128Xor                   Op = prefixSIMD + 0x51
	V128Bitselect             Op = prefixSIMD + 0x52
	V128AnyTrue               Op = prefixSIMD + 0x53
	V128Load8Lane             Op = prefixSIMD + 0x54
	V128Load16Lane            Op = prefixSIMD + 0x55
	V128Load32Lane            Op = prefixSIMD + 0x56
	V128Load64Lane            Op = prefixSIMD + 0x57
	V128Store8Lane            Op = prefixSIMD + 0x58
	V128Store16Lane           Op = prefixSIMD + 0x59
	V128Store32Lane           Op = prefixSIMD + 0x5a
	V128Store64Lane           Op = prefixSIMD + 0x5b
	V128Load32Zero            Op = prefixSIMD + 0x5c
	V128Load64Zero            Op = prefixSIMD + 0x5d
	F32x4DemoteF64x2Zero      Op = prefixSIMD + 0x5e
	F64x2PromoteLowF32x4      Op = prefixSIMD + 0x5f
	I8x16Abs                  Op = prefixSIMD + 0x60
	I8x16Neg                  Op = prefixSIMD + 0x61
	I8x16Popcnt               Op = prefixSIMD + 0x62
	I8x16AllTrue              Op = prefixSIMD + 0x63
	I8x16Bitmask              Op = prefixSIMD + 0x64
	I8x16NarrowI16x8S         Op = prefixSIMD + 0x65
	I8x16NarrowI16x8U         Op = prefixSIMD + 0x66
	F32x4Ceil                 Op = prefixSIMD + 0x67
	F32x4Floor                Op = prefixSIMD + 0x68
	F32x4Trunc                Op = prefixSIMD + 0x69
	F32x4Nearest              Op = prefixSIMD + 0x6a
	I8x16Shl                  Op = prefixSIMD + 0x6b
	I8x16ShrS                 Op = prefixSIMD + 0x6c
	I8x16ShrU                 Op = prefixSIMD + 0x6d
	I8x16Add                  Op = prefixSIMD + 0x6e
	I8x16AddSatS              Op = prefixSIMD + 0x6f
	I8x16AddSatU              Op = prefixSIMD + 0x70
	I8x16Sub                  Op = prefixSIMD + 0x71
	I8x16SubSatS              Op = prefixSIMD + 0x72
	I8x16SubSatU              Op = prefixSIMD + 0x73
	F64x2Ceil                 Op = prefixSIMD + 0x74
	F64x2Floor                Op = prefixSIMD + 0x75
	I8x16MinS                 Op = prefixSIMD + 0x76
	I8x16MinU                 Op = prefixSIMD + 0x77
	I8x16MaxS                 Op = prefixSIMD + 0x78
	I8x16MaxU                 Op = prefixSIMD + 0x79
	F64x2Trunc                Op = prefixSIMD + 0x7a
	I8x16AvgrU                Op = prefixSIMD + 0x7b
	I16x8ExtaddPairwiseI8x16S Op = prefixSIMD + 0x7c
	I16x8ExtaddPairwiseI8x16U Op = prefixSIMD + 0x7d
	I32x4ExtaddPairwiseI16x8S Op = prefixSIMD + 0x7e
	I32x4ExtaddPairwiseI16x8U Op = prefixSIMD + 0x7f
	I16x8Abs                  Op = prefixSIMD + 0x80
	I16x8Neg                  Op = prefixSIMD + 0x81
	I16x8Q15mulrSatS          Op = prefixSIMD + 0x82
	I16x8AllTrue              Op = prefixSIMD + 0x83
	I16x8Bitmask              Op = prefixSIMD + 0x84
	I16x8NarrowI32x4S         Op = prefixSIMD + 0x85
	I16x8NarrowI32x4U         Op = prefixSIMD + 0x86
	I16x8ExtendLowI8x16S      Op = prefixSIMD + 0x87
	I16x8ExtendHighI8x16S     Op = prefixSIMD + 0x88
	I16x8ExtendLowI8x16U      Op = prefixSIMD + 0x89
	I16x8ExtendHighI8x16U     Op = prefixSIMD + 0x8a
	I16x8Shl                  Op = prefixSIMD + 0x8b
	I16x8ShrS                 Op = prefixSIMD + 0x8c
	I16x8ShrU                 Op = prefixSIMD + 0x8d
	I16x8Add                  Op = prefixSIMD + 0x8e
	I16x8AddSatS              Op = prefixSIMD + 0x8f
	I16x8AddSatU              Op = prefixSIMD + 0x90
	I16x8Sub                  Op = prefixSIMD + 0x91
	I16x8SubSatS              Op = prefixSIMD + 0x92
	I16x8SubSatU              Op = prefixSIMD + 0x93
	F64x2Nearest              Op = prefixSIMD + 0x94
	I16x8Mul                  Op = prefixSIMD + 0x95
	I16x8MinS                 Op = prefixSIMD + 0x96
	I16x8MinU                 Op = prefixSIMD + 0x97
	I16x8MaxS                 Op = prefixSIMD + 0x98
	I16x8MaxU                 Op = prefixSIMD + 0x99
	I16x8AvgrU                Op = prefixSIMD + 0x9b
	I16x8ExtmulLowI8x16S      Op = prefixSIMD + 0x9c
	I16x8ExtmulHighI8x16S     Op = prefixSIMD + 0x9d
	I16x8ExtmulLowI8x16U      Op = prefixSIMD + 0x9e
	I16x8ExtmulHighI8x16U     Op = prefixSIMD + 0x9f
	I32x4Abs                  Op = prefixSIMD + 0xa0
	I32x4Neg                  Op = prefixSIMD + 0xa1
	I32x4AllTrue              Op = prefixSIMD + 0xa3
	I32x4Bitmask              Op = prefixSIMD + 0xa4
	I32x4ExtendLowI16x8S      Op = prefixSIMD + 0xa7
	I32x4ExtendHighI16x8S     Op = prefixSIMD + 0xa8
	I32x4ExtendLowI16x8U      Op = prefixSIMD + 0xa9
	I32x4ExtendHighI16x8U     Op = prefixSIMD + 0xaa
	I32x4Shl                  Op = prefixSIMD + 0xab
	I32x4ShrS                 Op = prefixSIMD + 0xac
	I32x4ShrU                 Op = prefixSIMD + 0xad
	I32x4Add                  Op = prefixSIMD + 0xae
	I32x4Sub                  Op = prefixSIMD + 0xb1
	I32x4Mul                  Op = prefixSIMD + 0xb5
	I32x4MinS                 Op = prefixSIMD + 0xb6
	I32x4MinU                 Op = prefixSIMD + 0xb7
	I32x4MaxS                 Op = prefixSIMD + 0xb8
	I32x4MaxU                 Op = prefixSIMD + 0xb9
	I32x4DotI16x8S            Op = prefixSIMD + 0xba
	I32x4ExtmulLowI16x8S      Op = prefixSIMD + 0xbc
	I32x4ExtmulHighI16x8S     Op = prefixSIMD + 0xbd
	I32x4ExtmulLowI16x8U      Op = prefixSIMD + 0xbe
	I32x4ExtmulHighI16x8U     Op = prefixSIMD + 0xbf
	I64x2Abs                  Op = prefixSIMD + 0xc0
	I64x2Neg                  Op = prefixSIMD + 0xc1
	I64x2AllTrue              Op = prefixSIMD + 0xc3
	I64x2Bitmask              Op = prefixSIMD + 0xc4
	I64x2ExtendLowI32x4S      Op = prefixSIMD + 0xc7
	I64x2ExtendHighI32x4S     Op = prefixSIMD + 0xc8
	I64x2ExtendLowI32x4U      Op = prefixSIMD + 0xc9
	I64x2ExtendHighI32x4U     Op = prefixSIMD + 0xca
	I64x2Shl                  Op = prefixSIMD + 0xcb
	I64x2ShrS                 Op = prefixSIMD + 0xcc
	I64x2ShrU                 Op = prefixSIMD + 0xcd
	I64x2Add                  Op = prefixSIMD + 0xce
	I64x2Sub                  Op = prefixSIMD + 0xd1
	I64x2Mul                  Op = prefixSIMD + 0xd5
	I64x2Eq                   Op = prefixSIMD + 0xd6
	I64x2Ne                   Op = prefixSIMD + 0xd7
	I64x2LtS                  Op = prefixSIMD + 0xd8
	I64x2GtS                  Op = prefixSIMD + 0xd9
	I64x2LeS                  Op = prefixSIMD + 0xda
	I64x2GeS                  Op = prefixSIMD + 0xdb
	I64x2ExtmulLowI32x4S      Op = prefixSIMD + 0xdc
	I64x2ExtmulHighI32x4S     Op = prefixSIMD + 0xdd
	I64x2ExtmulLowI32x4U      Op = prefixSIMD + 0xde
	I64x2ExtmulHighI32x4U     Op = prefixSIMD + 0xdf
	F32x4Abs                  Op = prefixSIMD + 0xe0
	F32x4Neg                  Op = prefixSIMD + 0xe1
	F32x4Sqrt                 Op = prefixSIMD + 0xe3
	F32x4Add                  Op = prefixSIMD + 0xe4
	F32x4Sub                  Op = prefixSIMD + 0xe5
	F32x4Mul                  Op = prefixSIMD + 0xe6
	F32x4Div                  Op = prefixSIMD + 0xe7
	F32x4Min                  Op = prefixSIMD + 0xe8
	F32x4Max                  Op = prefixSIMD + 0xe9
	F32x4Pmin                 Op = prefixSIMD + 0xea
	F32x4Pmax                 Op = prefixSIMD + 0xeb
	F64x2Abs                  Op = prefixSIMD + 0xec
	F64x2Neg                  Op = prefixSIMD + 0xed
	F64x2Sqrt                 Op = prefixSIMD + 0xef
	F64x2Add                  Op = prefixSIMD + 0xf0
	F64x2Sub                  Op = prefixSIMD + 0xf1
	F64x2Mul                  Op = prefixSIMD + 0xf2
	F64x2Div                  Op = prefixSIMD + 0xf3
	F64x2Min                  Op = prefixSIMD + 0xf4
	F64x2Max                  Op = prefixSIMD + 0xf5
	F64x2Pmin                 Op = prefixSIMD + 0xf6
	F64x2Pmax                 Op = prefixSIMD + 0xf7
	I32x4TruncSatF32x4S       Op = prefixSIMD + 0xf8
	I32x4TruncSatF32x4U       Op = prefixSIMD + 0xf9
	F32x4ConvertI32x4S        Op = prefixSIMD + 0xfa
	F32x4ConvertI32x4U        Op = prefixSIMD + 0xfb
	I32x4TruncSatF64x2SZero   Op = prefixSIMD + 0xfc
	I32x4TruncSatF64x2UZero   Op = prefixSIMD + 0xfd
	F64x2ConvertLowI32x4S     Op = prefixSIMD + 0xfe
	F64x2ConvertLowI32x4U     Op = prefixSIMD + 0xff
)

// Relaxed SIMD. The host chooses between allowed results, so a module that must give the
// same bytes on each layer may not use them; they are here to be recognised.
const (
	I8x16RelaxedSwizzle           Op = prefixSIMD + 0x100
	I32x4RelaxedTruncF32x4S       Op = prefixSIMD + 0x101
	I32x4RelaxedTruncF32x4U       Op = prefixSIMD + 0x102
	I32x4RelaxedTruncF64x2SZero   Op = prefixSIMD + 0x103
	I32x4RelaxedTruncF64x2UZero   Op = prefixSIMD + 0x104
	F32x4RelaxedMadd              Op = prefixSIMD + 0x105
	F32x4RelaxedNmadd             Op = prefixSIMD + 0x106
	F64x2RelaxedMadd              Op = prefixSIMD + 0x107
	F64x2RelaxedNmadd             Op = prefixSIMD + 0x108
	I8x16RelaxedLaneselect        Op = prefixSIMD + 0x109
	I16x8RelaxedLaneselect        Op = prefixSIMD + 0x10a
	I32x4RelaxedLaneselect        Op = prefixSIMD + 0x10b
	I64x2RelaxedLaneselect        Op = prefixSIMD + 0x10c
	F32x4RelaxedMin               Op = prefixSIMD + 0x10d
	F32x4RelaxedMax               Op = prefixSIMD + 0x10e
	F64x2RelaxedMin               Op = prefixSIMD + 0x10f
	F64x2RelaxedMax               Op = prefixSIMD + 0x110
	I16x8RelaxedQ15mulrS          Op = prefixSIMD + 0x111
	I16x8RelaxedDotI8x16I7x16S    Op = prefixSIMD + 0x112
	I32x4RelaxedDotI8x16I7x16AddS Op = prefixSIMD + 0x113
)

// simdOps is indexed by the number after the prefix 0xFD; the gaps are opcodes that the SIMD proposal dropped.
var simdOps = [...]opInfo{
	V128Load & subMask:                      {name: "v128.load", imm: immMem, align: 4, sig: "i:v"},
	V128Load8x8S & subMask:                  {name: "v128.load8x8_s", imm: immMem, align: 3, sig: "i:v"},
	V128Load8x8U & subMask:                  {name: "v128.load8x8_u", imm: immMem, align: 3, sig: "i:v"},
	V128Load16x4S & subMask:                 {name: "v128.load16x4_s", imm: immMem, align: 3, sig: "i:v"},
	V128Load16x4U & subMask:                 {name: "v128.load16x4_u", imm: immMem, align: 3, sig: "i:v"},
	V128Load32x2S & subMask:                 {name: "v128.load32x2_s", imm: immMem, align: 3, sig: "i:v"},
	V128Load32x2U & subMask:                 {name: "v128.load32x2_u", imm: immMem, align: 3, sig: "i:v"},
	V128Load8Splat & subMask:                {name: "v128.load8_splat", imm: immMem, sig: "i:v"},
	V128Load16Splat & subMask:               {name: "v128.load16_splat", imm: immMem, align: 1, sig: "i:v"},
	V128Load32Splat & subMask:               {name: "v128.load32_splat", imm: immMem, align: 2, sig: "i:v"},
	V128Load64Splat & subMask:               {name: "v128.load64_splat", imm: immMem, align: 3, sig: "i:v"},
	V128Store & subMask:                     {name: "v128.store", imm: immMem, align: 4, sig: "iv:"},
	V128Const & subMask:                     {name: "v128.const", imm: immV128, sig: ":v"},
	I8x16Shuffle & subMask:                  {name: "i8x16.shuffle", imm: immShuffle, sig: "vv:v"},
	I8x16Swizzle & subMask:                  {name: "i8x16.swizzle", sig: "vv:v"},
	I8x16Splat & subMask:                    {name: "i8x16.splat", sig: "i:v"},
	I16x8Splat & subMask:                    {name: "i16x8.splat", sig: "i:v"},
	I32x4Splat & subMask:                    {name: "i32x4.splat", sig: "i:v"},
	I64x2Splat & subMask:                    {name: "i64x2.splat", sig: "I:v"},
	F32x4Splat & subMask:                    {name: "f32x4.splat", sig: "f:v"},
	F64x2Splat & subMask:                    {name: "f64x2.splat", sig: "F:v"},
	I8x16ExtractLaneS & subMask:             {name: "i8x16.extract_lane_s", imm: immLane, sig: "v:i"},
	I8x16ExtractLaneU & subMask:             {name: "i8x16.extract_lane_u", imm: immLane, sig: "v:i"},
	I8x16ReplaceLane & subMask:              {name: "i8x16.replace_lane", imm: immLane, sig: "vi:v"},
	I16x8ExtractLaneS & subMask:             {name: "i16x8.extract_lane_s", imm: immLane, sig: "v:i"},
	I16x8ExtractLaneU & subMask:             {name: "i16x8.extract_lane_u", imm: immLane, sig: "v:i"},
	I16x8ReplaceLane & subMask:              {name: "i16x8.replace_lane", imm: immLane, sig: "vi:v"},
	I32x4ExtractLane & subMask:              {name: "i32x4.extract_lane", imm: immLane, sig: "v:i"},
	I32x4ReplaceLane & subMask:              {name: "i32x4.replace_lane", imm: immLane, sig: "vi:v"},
	I64x2ExtractLane & subMask:              {name: "i64x2.extract_lane", imm: immLane, sig: "v:I"},
	I64x2ReplaceLane & subMask:              {name: "i64x2.replace_lane", imm: immLane, sig: "vI:v"},
	F32x4ExtractLane & subMask:              {name: "f32x4.extract_lane", imm: immLane, sig: "v:f"},
	F32x4ReplaceLane & subMask:              {name: "f32x4.replace_lane", imm: immLane, sig: "vf:v"},
	F64x2ExtractLane & subMask:              {name: "f64x2.extract_lane", imm: immLane, sig: "v:F"},
	F64x2ReplaceLane & subMask:              {name: "f64x2.replace_lane", imm: immLane, sig: "vF:v"},
	I8x16Eq & subMask:                       {name: "i8x16.eq", sig: "vv:v"},
	I8x16Ne & subMask:                       {name: "i8x16.ne", sig: "vv:v"},
	I8x16LtS & subMask:                      {name: "i8x16.lt_s", sig: "vv:v"},
	I8x16LtU & subMask:                      {name: "i8x16.lt_u", sig: "vv:v"},
	I8x16GtS & subMask:                      {name: "i8x16.gt_s", sig: "vv:v"},
	I8x16GtU & subMask:                      {name: "i8x16.gt_u", sig: "vv:v"},
	I8x16LeS & subMask:                      {name: "i8x16.le_s", sig: "vv:v"},
	I8x16LeU & subMask:                      {name: "i8x16.le_u", sig: "vv:v"},
	I8x16GeS & subMask:                      {name: "i8x16.ge_s", sig: "vv:v"},
	I8x16GeU & subMask:                      {name: "i8x16.ge_u", sig: "vv:v"},
	I16x8Eq & subMask:                       {name: "i16x8.eq", sig: "vv:v"},
	I16x8Ne & subMask:                       {name: "i16x8.ne", sig: "vv:v"},
	I16x8LtS & subMask:                      {name: "i16x8.lt_s", sig: "vv:v"},
	I16x8LtU & subMask:                      {name: "i16x8.lt_u", sig: "vv:v"},
	I16x8GtS & subMask:                      {name: "i16x8.gt_s", sig: "vv:v"},
	I16x8GtU & subMask:                      {name: "i16x8.gt_u", sig: "vv:v"},
	I16x8LeS & subMask:                      {name: "i16x8.le_s", sig: "vv:v"},
	I16x8LeU & subMask:                      {name: "i16x8.le_u", sig: "vv:v"},
	I16x8GeS & subMask:                      {name: "i16x8.ge_s", sig: "vv:v"},
	I16x8GeU & subMask:                      {name: "i16x8.ge_u", sig: "vv:v"},
	I32x4Eq & subMask:                       {name: "i32x4.eq", sig: "vv:v"},
	I32x4Ne & subMask:                       {name: "i32x4.ne", sig: "vv:v"},
	I32x4LtS & subMask:                      {name: "i32x4.lt_s", sig: "vv:v"},
	I32x4LtU & subMask:                      {name: "i32x4.lt_u", sig: "vv:v"},
	I32x4GtS & subMask:                      {name: "i32x4.gt_s", sig: "vv:v"},
	I32x4GtU & subMask:                      {name: "i32x4.gt_u", sig: "vv:v"},
	I32x4LeS & subMask:                      {name: "i32x4.le_s", sig: "vv:v"},
	I32x4LeU & subMask:                      {name: "i32x4.le_u", sig: "vv:v"},
	I32x4GeS & subMask:                      {name: "i32x4.ge_s", sig: "vv:v"},
	I32x4GeU & subMask:                      {name: "i32x4.ge_u", sig: "vv:v"},
	F32x4Eq & subMask:                       {name: "f32x4.eq", sig: "vv:v"},
	F32x4Ne & subMask:                       {name: "f32x4.ne", sig: "vv:v"},
	F32x4Lt & subMask:                       {name: "f32x4.lt", sig: "vv:v"},
	F32x4Gt & subMask:                       {name: "f32x4.gt", sig: "vv:v"},
	F32x4Le & subMask:                       {name: "f32x4.le", sig: "vv:v"},
	F32x4Ge & subMask:                       {name: "f32x4.ge", sig: "vv:v"},
	F64x2Eq & subMask:                       {name: "f64x2.eq", sig: "vv:v"},
	F64x2Ne & subMask:                       {name: "f64x2.ne", sig: "vv:v"},
	F64x2Lt & subMask:                       {name: "f64x2.lt", sig: "vv:v"},
	F64x2Gt & subMask:                       {name: "f64x2.gt", sig: "vv:v"},
	F64x2Le & subMask:                       {name: "f64x2.le", sig: "vv:v"},
	F64x2Ge & subMask:                       {name: "f64x2.ge", sig: "vv:v"},
	V128Not & subMask:                       {name: "v128.not", sig: "v:v"},
	V128And & subMask:                       {name: "v128.and", sig: "vv:v"},
	V128Andnot & subMask:                    {name: "v128.andnot", sig: "vv:v"},
	V128Or & subMask:                        {name: "v128.or", sig: "vv:v"},
	V128Xor & subMask:                       {name: "v128.xor", sig: "vv:v"},
	V128Bitselect & subMask:                 {name: "v128.bitselect", sig: "vvv:v"},
	V128AnyTrue & subMask:                   {name: "v128.any_true", sig: "v:i"},
	V128Load8Lane & subMask:                 {name: "v128.load8_lane", imm: immMemLane, sig: "iv:v"},
	V128Load16Lane & subMask:                {name: "v128.load16_lane", imm: immMemLane, align: 1, sig: "iv:v"},
	V128Load32Lane & subMask:                {name: "v128.load32_lane", imm: immMemLane, align: 2, sig: "iv:v"},
	V128Load64Lane & subMask:                {name: "v128.load64_lane", imm: immMemLane, align: 3, sig: "iv:v"},
	V128Store8Lane & subMask:                {name: "v128.store8_lane", imm: immMemLane, sig: "iv:"},
	V128Store16Lane & subMask:               {name: "v128.store16_lane", imm: immMemLane, align: 1, sig: "iv:"},
	V128Store32Lane & subMask:               {name: "v128.store32_lane", imm: immMemLane, align: 2, sig: "iv:"},
	V128Store64Lane & subMask:               {name: "v128.store64_lane", imm: immMemLane, align: 3, sig: "iv:"},
	V128Load32Zero & subMask:                {name: "v128.load32_zero", imm: immMem, align: 2, sig: "i:v"},
	V128Load64Zero & subMask:                {name: "v128.load64_zero", imm: immMem, align: 3, sig: "i:v"},
	F32x4DemoteF64x2Zero & subMask:          {name: "f32x4.demote_f64x2_zero", sig: "v:v"},
	F64x2PromoteLowF32x4 & subMask:          {name: "f64x2.promote_low_f32x4", sig: "v:v"},
	I8x16Abs & subMask:                      {name: "i8x16.abs", sig: "v:v"},
	I8x16Neg & subMask:                      {name: "i8x16.neg", sig: "v:v"},
	I8x16Popcnt & subMask:                   {name: "i8x16.popcnt", sig: "v:v"},
	I8x16AllTrue & subMask:                  {name: "i8x16.all_true", sig: "v:i"},
	I8x16Bitmask & subMask:                  {name: "i8x16.bitmask", sig: "v:i"},
	I8x16NarrowI16x8S & subMask:             {name: "i8x16.narrow_i16x8_s", sig: "vv:v"},
	I8x16NarrowI16x8U & subMask:             {name: "i8x16.narrow_i16x8_u", sig: "vv:v"},
	F32x4Ceil & subMask:                     {name: "f32x4.ceil", sig: "v:v"},
	F32x4Floor & subMask:                    {name: "f32x4.floor", sig: "v:v"},
	F32x4Trunc & subMask:                    {name: "f32x4.trunc", sig: "v:v"},
	F32x4Nearest & subMask:                  {name: "f32x4.nearest", sig: "v:v"},
	I8x16Shl & subMask:                      {name: "i8x16.shl", sig: "vi:v"},
	I8x16ShrS & subMask:                     {name: "i8x16.shr_s", sig: "vi:v"},
	I8x16ShrU & subMask:                     {name: "i8x16.shr_u", sig: "vi:v"},
	I8x16Add & subMask:                      {name: "i8x16.add", sig: "vv:v"},
	I8x16AddSatS & subMask:                  {name: "i8x16.add_sat_s", sig: "vv:v"},
	I8x16AddSatU & subMask:                  {name: "i8x16.add_sat_u", sig: "vv:v"},
	I8x16Sub & subMask:                      {name: "i8x16.sub", sig: "vv:v"},
	I8x16SubSatS & subMask:                  {name: "i8x16.sub_sat_s", sig: "vv:v"},
	I8x16SubSatU & subMask:                  {name: "i8x16.sub_sat_u", sig: "vv:v"},
	F64x2Ceil & subMask:                     {name: "f64x2.ceil", sig: "v:v"},
	F64x2Floor & subMask:                    {name: "f64x2.floor", sig: "v:v"},
	I8x16MinS & subMask:                     {name: "i8x16.min_s", sig: "vv:v"},
	I8x16MinU & subMask:                     {name: "i8x16.min_u", sig: "vv:v"},
	I8x16MaxS & subMask:                     {name: "i8x16.max_s", sig: "vv:v"},
	I8x16MaxU & subMask:                     {name: "i8x16.max_u", sig: "vv:v"},
	F64x2Trunc & subMask:                    {name: "f64x2.trunc", sig: "v:v"},
	I8x16AvgrU & subMask:                    {name: "i8x16.avgr_u", sig: "vv:v"},
	I16x8ExtaddPairwiseI8x16S & subMask:     {name: "i16x8.extadd_pairwise_i8x16_s", sig: "v:v"},
	I16x8ExtaddPairwiseI8x16U & subMask:     {name: "i16x8.extadd_pairwise_i8x16_u", sig: "v:v"},
	I32x4ExtaddPairwiseI16x8S & subMask:     {name: "i32x4.extadd_pairwise_i16x8_s", sig: "v:v"},
	I32x4ExtaddPairwiseI16x8U & subMask:     {name: "i32x4.extadd_pairwise_i16x8_u", sig: "v:v"},
	I16x8Abs & subMask:                      {name: "i16x8.abs", sig: "v:v"},
	I16x8Neg & subMask:                      {name: "i16x8.neg", sig: "v:v"},
	I16x8Q15mulrSatS & subMask:              {name: "i16x8.q15mulr_sat_s", sig: "vv:v"},
	I16x8AllTrue & subMask:                  {name: "i16x8.all_true", sig: "v:i"},
	I16x8Bitmask & subMask:                  {name: "i16x8.bitmask", sig: "v:i"},
	I16x8NarrowI32x4S & subMask:             {name: "i16x8.narrow_i32x4_s", sig: "vv:v"},
	I16x8NarrowI32x4U & subMask:             {name: "i16x8.narrow_i32x4_u", sig: "vv:v"},
	I16x8ExtendLowI8x16S & subMask:          {name: "i16x8.extend_low_i8x16_s", sig: "v:v"},
	I16x8ExtendHighI8x16S & subMask:         {name: "i16x8.extend_high_i8x16_s", sig: "v:v"},
	I16x8ExtendLowI8x16U & subMask:          {name: "i16x8.extend_low_i8x16_u", sig: "v:v"},
	I16x8ExtendHighI8x16U & subMask:         {name: "i16x8.extend_high_i8x16_u", sig: "v:v"},
	I16x8Shl & subMask:                      {name: "i16x8.shl", sig: "vi:v"},
	I16x8ShrS & subMask:                     {name: "i16x8.shr_s", sig: "vi:v"},
	I16x8ShrU & subMask:                     {name: "i16x8.shr_u", sig: "vi:v"},
	I16x8Add & subMask:                      {name: "i16x8.add", sig: "vv:v"},
	I16x8AddSatS & subMask:                  {name: "i16x8.add_sat_s", sig: "vv:v"},
	I16x8AddSatU & subMask:                  {name: "i16x8.add_sat_u", sig: "vv:v"},
	I16x8Sub & subMask:                      {name: "i16x8.sub", sig: "vv:v"},
	I16x8SubSatS & subMask:                  {name: "i16x8.sub_sat_s", sig: "vv:v"},
	I16x8SubSatU & subMask:                  {name: "i16x8.sub_sat_u", sig: "vv:v"},
	F64x2Nearest & subMask:                  {name: "f64x2.nearest", sig: "v:v"},
	I16x8Mul & subMask:                      {name: "i16x8.mul", sig: "vv:v"},
	I16x8MinS & subMask:                     {name: "i16x8.min_s", sig: "vv:v"},
	I16x8MinU & subMask:                     {name: "i16x8.min_u", sig: "vv:v"},
	I16x8MaxS & subMask:                     {name: "i16x8.max_s", sig: "vv:v"},
	I16x8MaxU & subMask:                     {name: "i16x8.max_u", sig: "vv:v"},
	I16x8AvgrU & subMask:                    {name: "i16x8.avgr_u", sig: "vv:v"},
	I16x8ExtmulLowI8x16S & subMask:          {name: "i16x8.extmul_low_i8x16_s", sig: "vv:v"},
	I16x8ExtmulHighI8x16S & subMask:         {name: "i16x8.extmul_high_i8x16_s", sig: "vv:v"},
	I16x8ExtmulLowI8x16U & subMask:          {name: "i16x8.extmul_low_i8x16_u", sig: "vv:v"},
	I16x8ExtmulHighI8x16U & subMask:         {name: "i16x8.extmul_high_i8x16_u", sig: "vv:v"},
	I32x4Abs & subMask:                      {name: "i32x4.abs", sig: "v:v"},
	I32x4Neg & subMask:                      {name: "i32x4.neg", sig: "v:v"},
	I32x4AllTrue & subMask:                  {name: "i32x4.all_true", sig: "v:i"},
	I32x4Bitmask & subMask:                  {name: "i32x4.bitmask", sig: "v:i"},
	I32x4ExtendLowI16x8S & subMask:          {name: "i32x4.extend_low_i16x8_s", sig: "v:v"},
	I32x4ExtendHighI16x8S & subMask:         {name: "i32x4.extend_high_i16x8_s", sig: "v:v"},
	I32x4ExtendLowI16x8U & subMask:          {name: "i32x4.extend_low_i16x8_u", sig: "v:v"},
	I32x4ExtendHighI16x8U & subMask:         {name: "i32x4.extend_high_i16x8_u", sig: "v:v"},
	I32x4Shl & subMask:                      {name: "i32x4.shl", sig: "vi:v"},
	I32x4ShrS & subMask:                     {name: "i32x4.shr_s", sig: "vi:v"},
	I32x4ShrU & subMask:                     {name: "i32x4.shr_u", sig: "vi:v"},
	I32x4Add & subMask:                      {name: "i32x4.add", sig: "vv:v"},
	I32x4Sub & subMask:                      {name: "i32x4.sub", sig: "vv:v"},
	I32x4Mul & subMask:                      {name: "i32x4.mul", sig: "vv:v"},
	I32x4MinS & subMask:                     {name: "i32x4.min_s", sig: "vv:v"},
	I32x4MinU & subMask:                     {name: "i32x4.min_u", sig: "vv:v"},
	I32x4MaxS & subMask:                     {name: "i32x4.max_s", sig: "vv:v"},
	I32x4MaxU & subMask:                     {name: "i32x4.max_u", sig: "vv:v"},
	I32x4DotI16x8S & subMask:                {name: "i32x4.dot_i16x8_s", sig: "vv:v"},
	I32x4ExtmulLowI16x8S & subMask:          {name: "i32x4.extmul_low_i16x8_s", sig: "vv:v"},
	I32x4ExtmulHighI16x8S & subMask:         {name: "i32x4.extmul_high_i16x8_s", sig: "vv:v"},
	I32x4ExtmulLowI16x8U & subMask:          {name: "i32x4.extmul_low_i16x8_u", sig: "vv:v"},
	I32x4ExtmulHighI16x8U & subMask:         {name: "i32x4.extmul_high_i16x8_u", sig: "vv:v"},
	I64x2Abs & subMask:                      {name: "i64x2.abs", sig: "v:v"},
	I64x2Neg & subMask:                      {name: "i64x2.neg", sig: "v:v"},
	I64x2AllTrue & subMask:                  {name: "i64x2.all_true", sig: "v:i"},
	I64x2Bitmask & subMask:                  {name: "i64x2.bitmask", sig: "v:i"},
	I64x2ExtendLowI32x4S & subMask:          {name: "i64x2.extend_low_i32x4_s", sig: "v:v"},
	I64x2ExtendHighI32x4S & subMask:         {name: "i64x2.extend_high_i32x4_s", sig: "v:v"},
	I64x2ExtendLowI32x4U & subMask:          {name: "i64x2.extend_low_i32x4_u", sig: "v:v"},
	I64x2ExtendHighI32x4U & subMask:         {name: "i64x2.extend_high_i32x4_u", sig: "v:v"},
	I64x2Shl & subMask:                      {name: "i64x2.shl", sig: "vi:v"},
	I64x2ShrS & subMask:                     {name: "i64x2.shr_s", sig: "vi:v"},
	I64x2ShrU & subMask:                     {name: "i64x2.shr_u", sig: "vi:v"},
	I64x2Add & subMask:                      {name: "i64x2.add", sig: "vv:v"},
	I64x2Sub & subMask:                      {name: "i64x2.sub", sig: "vv:v"},
	I64x2Mul & subMask:                      {name: "i64x2.mul", sig: "vv:v"},
	I64x2Eq & subMask:                       {name: "i64x2.eq", sig: "vv:v"},
	I64x2Ne & subMask:                       {name: "i64x2.ne", sig: "vv:v"},
	I64x2LtS & subMask:                      {name: "i64x2.lt_s", sig: "vv:v"},
	I64x2GtS & subMask:                      {name: "i64x2.gt_s", sig: "vv:v"},
	I64x2LeS & subMask:                      {name: "i64x2.le_s", sig: "vv:v"},
	I64x2GeS & subMask:                      {name: "i64x2.ge_s", sig: "vv:v"},
	I64x2ExtmulLowI32x4S & subMask:          {name: "i64x2.extmul_low_i32x4_s", sig: "vv:v"},
	I64x2ExtmulHighI32x4S & subMask:         {name: "i64x2.extmul_high_i32x4_s", sig: "vv:v"},
	I64x2ExtmulLowI32x4U & subMask:          {name: "i64x2.extmul_low_i32x4_u", sig: "vv:v"},
	I64x2ExtmulHighI32x4U & subMask:         {name: "i64x2.extmul_high_i32x4_u", sig: "vv:v"},
	F32x4Abs & subMask:                      {name: "f32x4.abs", sig: "v:v"},
	F32x4Neg & subMask:                      {name: "f32x4.neg", sig: "v:v"},
	F32x4Sqrt & subMask:                     {name: "f32x4.sqrt", sig: "v:v"},
	F32x4Add & subMask:                      {name: "f32x4.add", sig: "vv:v"},
	F32x4Sub & subMask:                      {name: "f32x4.sub", sig: "vv:v"},
	F32x4Mul & subMask:                      {name: "f32x4.mul", sig: "vv:v"},
	F32x4Div & subMask:                      {name: "f32x4.div", sig: "vv:v"},
	F32x4Min & subMask:                      {name: "f32x4.min", sig: "vv:v"},
	F32x4Max & subMask:                      {name: "f32x4.max", sig: "vv:v"},
	F32x4Pmin & subMask:                     {name: "f32x4.pmin", sig: "vv:v"},
	F32x4Pmax & subMask:                     {name: "f32x4.pmax", sig: "vv:v"},
	F64x2Abs & subMask:                      {name: "f64x2.abs", sig: "v:v"},
	F64x2Neg & subMask:                      {name: "f64x2.neg", sig: "v:v"},
	F64x2Sqrt & subMask:                     {name: "f64x2.sqrt", sig: "v:v"},
	F64x2Add & subMask:                      {name: "f64x2.add", sig: "vv:v"},
	F64x2Sub & subMask:                      {name: "f64x2.sub", sig: "vv:v"},
	F64x2Mul & subMask:                      {name: "f64x2.mul", sig: "vv:v"},
	F64x2Div & subMask:                      {name: "f64x2.div", sig: "vv:v"},
	F64x2Min & subMask:                      {name: "f64x2.min", sig: "vv:v"},
	F64x2Max & subMask:                      {name: "f64x2.max", sig: "vv:v"},
	F64x2Pmin & subMask:                     {name: "f64x2.pmin", sig: "vv:v"},
	F64x2Pmax & subMask:                     {name: "f64x2.pmax", sig: "vv:v"},
	I32x4TruncSatF32x4S & subMask:           {name: "i32x4.trunc_sat_f32x4_s", sig: "v:v"},
	I32x4TruncSatF32x4U & subMask:           {name: "i32x4.trunc_sat_f32x4_u", sig: "v:v"},
	F32x4ConvertI32x4S & subMask:            {name: "f32x4.convert_i32x4_s", sig: "v:v"},
	F32x4ConvertI32x4U & subMask:            {name: "f32x4.convert_i32x4_u", sig: "v:v"},
	I32x4TruncSatF64x2SZero & subMask:       {name: "i32x4.trunc_sat_f64x2_s_zero", sig: "v:v"},
	I32x4TruncSatF64x2UZero & subMask:       {name: "i32x4.trunc_sat_f64x2_u_zero", sig: "v:v"},
	F64x2ConvertLowI32x4S & subMask:         {name: "f64x2.convert_low_i32x4_s", sig: "v:v"},
	F64x2ConvertLowI32x4U & subMask:         {name: "f64x2.convert_low_i32x4_u", sig: "v:v"},
	I8x16RelaxedSwizzle & subMask:           {name: "i8x16.relaxed_swizzle", sig: "vv:v"},
	I32x4RelaxedTruncF32x4S & subMask:       {name: "i32x4.relaxed_trunc_f32x4_s", sig: "v:v"},
	I32x4RelaxedTruncF32x4U & subMask:       {name: "i32x4.relaxed_trunc_f32x4_u", sig: "v:v"},
	I32x4RelaxedTruncF64x2SZero & subMask:   {name: "i32x4.relaxed_trunc_f64x2_s_zero", sig: "v:v"},
	I32x4RelaxedTruncF64x2UZero & subMask:   {name: "i32x4.relaxed_trunc_f64x2_u_zero", sig: "v:v"},
	F32x4RelaxedMadd & subMask:              {name: "f32x4.relaxed_madd", sig: "vvv:v"},
	F32x4RelaxedNmadd & subMask:             {name: "f32x4.relaxed_nmadd", sig: "vvv:v"},
	F64x2RelaxedMadd & subMask:              {name: "f64x2.relaxed_madd", sig: "vvv:v"},
	F64x2RelaxedNmadd & subMask:             {name: "f64x2.relaxed_nmadd", sig: "vvv:v"},
	I8x16RelaxedLaneselect & subMask:        {name: "i8x16.relaxed_laneselect", sig: "vvv:v"},
	I16x8RelaxedLaneselect & subMask:        {name: "i16x8.relaxed_laneselect", sig: "vvv:v"},
	I32x4RelaxedLaneselect & subMask:        {name: "i32x4.relaxed_laneselect", sig: "vvv:v"},
	I64x2RelaxedLaneselect & subMask:        {name: "i64x2.relaxed_laneselect", sig: "vvv:v"},
	F32x4RelaxedMin & subMask:               {name: "f32x4.relaxed_min", sig: "vv:v"},
	F32x4RelaxedMax & subMask:               {name: "f32x4.relaxed_max", sig: "vv:v"},
	F64x2RelaxedMin & subMask:               {name: "f64x2.relaxed_min", sig: "vv:v"},
	F64x2RelaxedMax & subMask:               {name: "f64x2.relaxed_max", sig: "vv:v"},
	I16x8RelaxedQ15mulrS & subMask:          {name: "i16x8.relaxed_q15mulr_s", sig: "vv:v"},
	I16x8RelaxedDotI8x16I7x16S & subMask:    {name: "i16x8.relaxed_dot_i8x16_i7x16_s", sig: "vv:v"},
	I32x4RelaxedDotI8x16I7x16AddS & subMask: {name: "i32x4.relaxed_dot_i8x16_i7x16_add_s", sig: "vvv:v"},
}
