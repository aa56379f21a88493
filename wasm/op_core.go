package wasm

// Core instructions of one byte, with sign extension, reference types and tail calls.
const (
	Unreachable        Op = 0x00
	Nop                Op = 0x01
	Block              Op = 0x02
	Loop               Op = 0x03
	If                 Op = 0x04
	Else               Op = 0x05
	End                Op = 0x0b
	Br                 Op = 0x0c
	BrIf               Op = 0x0d
	BrTable            Op = 0x0e
	Return             Op = 0x0f
	Call               Op = 0x10
	CallIndirect       Op = 0x11
	ReturnCall         Op = 0x12
	ReturnCallIndirect Op = 0x13
	Drop               Op = 0x1a
	Select             Op = 0x1b
	SelectT            Op = 0x1c
	LocalGet           Op = 0x20
	LocalSet           Op = 0x21
	LocalTee           Op = 0x22
	GlobalGet          Op = 0x23
	GlobalSet          Op = 0x24
	TableGet           Op = 0x25
	TableSet           Op = 0x26
	I32Load            Op = 0x28
	I64Load            Op = 0x29
	F32Load            Op = 0x2a
	F64Load            Op = 0x2b
	I32Load8S          Op = 0x2c
	I32Load8U          Op = 0x2d
	I32Load16S         Op = 0x2e
	I32Load16U         Op = 0x2f
	I64Load8S          Op = 0x30
	I64Load8U          Op = 0x31
	I64Load16S         Op = 0x32
	I64Load16U         Op = 0x33
	I64Load32S         Op = 0x34
	I64Load32U         Op = 0x35
	I32Store           Op = 0x36
	I64Store           Op = 0x37
	F32Store           Op = 0x38
	F64Store           Op = 0x39
	I32Store8          Op = 0x3a
	I32Store16         Op = 0x3b
	I64Store8          Op = 0x3c
	I64Store16         Op = 0x3d
	I64Store32         Op = 0x3e
	MemorySize         Op = 0x3f
	MemoryGrow         Op = 0x40
	I32Const           Op = 0x41
	I64Const           Op = 0x42
	F32Const           Op = 0x43
	F64Const           Op = 0x44
	I32Eqz             Op = 0x45
	I32Eq              Op = 0x46
	I32Ne              Op = 0x47
	I32LtS             Op = 0x48
	I32LtU             Op = 0x49
	I32GtS             Op = 0x4a
	I32GtU             Op = 0x4b
	I32LeS             Op = 0x4c
	I32LeU             Op = 0x4d
	I32GeS             Op = 0x4e
	I32GeU             Op = 0x4f
	I64Eqz             Op = 0x50
	I64Eq              Op = 0x51
	I64Ne              Op = 0x52
	I64LtS             Op = 0x53
	I64LtU             Op = 0x54
	I64GtS             Op = 0x55
	I64GtU             Op = 0x56
	I64LeS             Op = 0x57
	I64LeU             Op = 0x58
	I64GeS             Op = 0x59
	I64GeU             Op = 0x5a
	F32Eq              Op = 0x5b
	F32Ne              Op = 0x5c
	F32Lt              Op = 0x5d
	F32Gt              Op = 0x5e
	F32Le              Op = 0x5f
	F32Ge              Op = 0x60
	F64Eq              Op = 0x61
	F64Ne              Op = 0x62
	F64Lt              Op = 0x63
	F64Gt              Op = 0x64
	F64Le              Op = 0x65
	F64Ge              Op = 0x66
	I32Clz             Op = 0x67
	I32Ctz             Op = 0x68
	I32Popcnt          Op = 0x69
	I32Add             Op = 0x6a
	I32Sub             Op = 0x6b
	I32Mul             Op = 0x6c
	I32DivS            Op = 0x6d
	I32DivU            Op = 0x6e
	I32RemS            Op = 0x6f
	I32RemU            Op = 0x70
	I32And             Op = 0x71
	I32Or              Op = 0x72
	I32Xor             Op = 0x73
	I32Shl             Op = 0x74
	I32ShrS            Op = 0x75
	I32ShrU            Op = 0x76
	I32Rotl            Op = 0x77
	I32Rotr            Op = 0x78
	I64Clz             Op = 0x79
	I64Ctz             Op = 0x7a
	I64Popcnt          Op = 0x7b
	I64Add             Op = 0x7c
	I64Sub             Op = 0x7d
	I64Mul             Op = 0x7e
	I64DivS            Op = 0x7f
	I64DivU            Op = 0x80
	I64RemS            Op = 0x81
	I64RemU            Op = 0x82
	I64And             Op = 0x83
	I64Or              Op = 0x84
	I64Xor             Op = 0x85
	I64Shl             Op = 0x86
	I64ShrS            Op = 0x87
	I64ShrU            Op = 0x88
	I64Rotl            Op = 0x89
	I64Rotr            Op = 0x8a
	F32Abs             Op = 0x8b
	F32Neg             Op = 0x8c
	F32Ceil            Op = 0x8d
	F32Floor           Op = 0x8e
	F32Trunc           Op = 0x8f
	F32Nearest         Op = 0x90
	F32Sqrt            Op = 0x91
	F32Add             Op = 0x92
	F32Sub             Op = 0x93
	F32Mul             Op = 0x94
	F32Div             Op = 0x95
	F32Min             Op = 0x96
	F32Max             Op = 0x97
	F32Copysign        Op = 0x98
	F64Abs             Op = 0x99
	F64Neg             Op = 0x9a
	F64Ceil            Op = 0x9b
	F64Floor           Op = 0x9c
	F64Trunc           Op = 0x9d
	F64Nearest         Op = 0x9e
	F64Sqrt            Op = 0x9f
	F64Add             Op = 0xa0
	F64Sub             Op = 0xa1
	F64Mul             Op = 0xa2
	F64Div             Op = 0xa3
	F64Min             Op = 0xa4
	F64Max             Op = 0xa5
	F64Copysign        Op = 0xa6
	I32WrapI64         Op = 0xa7
	I32TruncF32S       Op = 0xa8
	I32TruncF32U       Op = 0xa9
	I32TruncF64S       Op = 0xaa
	I32TruncF64U       Op = 0xab
	I64ExtendI32S      Op = 0xac
	I64ExtendI32U      Op = 0xad
	I64TruncF32S       Op = 0xae
	I64TruncF32U       Op = 0xaf
	I64TruncF64S       Op = 0xb0
	I64TruncF64U       Op = 0xb1
	F32ConvertI32S     Op = 0xb2
	F32ConvertI32U     Op = 0xb3
	F32ConvertI64S     Op = 0xb4
	F32ConvertI64U     Op = 0xb5
	F32DemoteF64       Op = 0xb6
	F64ConvertI32S     Op = 0xb7
	F64ConvertI32U     Op = 0xb8
	F64ConvertI64S     Op = 0xb9
	F64ConvertI64U     Op = 0xba
	F64PromoteF32      Op = 0xbb
	I32ReinterpretF32  Op = 0xbc
	I64ReinterpretF64  Op = 0xbd
	F32ReinterpretI32  Op = 0xbe
	F64ReinterpretI64  Op = 0xbf
	I32Extend8S        Op = 0xc0
	I32Extend16S       Op = 0xc1
	I64Extend8S        Op = 0xc2
	I64Extend16S       Op = 0xc3
	I64Extend32S       Op = 0xc4
	RefNull            Op = 0xd0
	RefIsNull          Op = 0xd1
	RefFunc            Op = 0xd2
)

// Instructions behind the prefix 0xFC: saturating truncation, bulk memory, tables.
const (
	I32TruncSatF32S Op = prefixMisc + 0x00
	I32TruncSatF32U Op = prefixMisc + 0x01
	I32TruncSatF64S Op = prefixMisc + 0x02
	I32TruncSatF64U Op = prefixMisc + 0x03
	I64TruncSatF32S Op = prefixMisc + 0x04
	I64TruncSatF32U Op = prefixMisc + 0x05
	I64TruncSatF64S Op = prefixMisc + 0x06
	I64TruncSatF64U Op = prefixMisc + 0x07
	MemoryInit      Op = prefixMisc + 0x08
	DataDrop        Op = prefixMisc + 0x09
	MemoryCopy      Op = prefixMisc + 0x0a
	MemoryFill      Op = prefixMisc + 0x0b
	TableInit       Op = prefixMisc + 0x0c
	ElemDrop        Op = prefixMisc + 0x0d
	TableCopy       Op = prefixMisc + 0x0e
	TableGrow       Op = prefixMisc + 0x0f
	TableSize       Op = prefixMisc + 0x10
	TableFill       Op = prefixMisc + 0x11
)

// coreOps is indexed by the opcode byte.
var coreOps = [...]opInfo{
	Unreachable:        {name: "unreachable"},
	Nop:                {name: "nop", sig: ":"},
	Block:              {name: "block", imm: immBlock},
	Loop:               {name: "loop", imm: immBlock},
	If:                 {name: "if", imm: immBlock},
	Else:               {name: "else"},
	End:                {name: "end"},
	Br:                 {name: "br", imm: immLabel},
	BrIf:               {name: "br_if", imm: immLabel},
	BrTable:            {name: "br_table", imm: immLabels},
	Return:             {name: "return"},
	Call:               {name: "call", imm: immIndex},
	CallIndirect:       {name: "call_indirect", imm: immTypeTable},
	ReturnCall:         {name: "return_call", imm: immIndex},
	ReturnCallIndirect: {name: "return_call_indirect", imm: immTypeTable},
	Drop:               {name: "drop"},
	Select:             {name: "select"},
	SelectT:            {name: "select_t", imm: immTypes},
	LocalGet:           {name: "local.get", imm: immIndex},
	LocalSet:           {name: "local.set", imm: immIndex},
	LocalTee:           {name: "local.tee", imm: immIndex},
	GlobalGet:          {name: "global.get", imm: immIndex},
	GlobalSet:          {name: "global.set", imm: immIndex},
	TableGet:           {name: "table.get", imm: immIndex},
	TableSet:           {name: "table.set", imm: immIndex},
	I32Load:            {name: "i32.load", imm: immMem, align: 2, sig: "i:i"},
	I64Load:            {name: "i64.load", imm: immMem, align: 3, sig: "i:I"},
	F32Load:            {name: "f32.load", imm: immMem, align: 2, sig: "i:f"},
	F64Load:            {name: "f64.load", imm: immMem, align: 3, sig: "i:F"},
	I32Load8S:          {name: "i32.load8_s", imm: immMem, sig: "i:i"},
	I32Load8U:          {name: "i32.load8_u", imm: immMem, sig: "i:i"},
	I32Load16S:         {name: "i32.load16_s", imm: immMem, align: 1, sig: "i:i"},
	I32Load16U:         {name: "i32.load16_u", imm: immMem, align: 1, sig: "i:i"},
	I64Load8S:          {name: "i64.load8_s", imm: immMem, sig: "i:I"},
	I64Load8U:          {name: "i64.load8_u", imm: immMem, sig: "i:I"},
	I64Load16S:         {name: "i64.load16_s", imm: immMem, align: 1, sig: "i:I"},
	I64Load16U:         {name: "i64.load16_u", imm: immMem, align: 1, sig: "i:I"},
	I64Load32S:         {name: "i64.load32_s", imm: immMem, align: 2, sig: "i:I"},
	I64Load32U:         {name: "i64.load32_u", imm: immMem, align: 2, sig: "i:I"},
	I32Store:           {name: "i32.store", imm: immMem, align: 2, sig: "ii:"},
	I64Store:           {name: "i64.store", imm: immMem, align: 3, sig: "iI:"},
	F32Store:           {name: "f32.store", imm: immMem, align: 2, sig: "if:"},
	F64Store:           {name: "f64.store", imm: immMem, align: 3, sig: "iF:"},
	I32Store8:          {name: "i32.store8", imm: immMem, sig: "ii:"},
	I32Store16:         {name: "i32.store16", imm: immMem, align: 1, sig: "ii:"},
	I64Store8:          {name: "i64.store8", imm: immMem, sig: "iI:"},
	I64Store16:         {name: "i64.store16", imm: immMem, align: 1, sig: "iI:"},
	I64Store32:         {name: "i64.store32", imm: immMem, align: 2, sig: "iI:"},
	MemorySize:         {name: "memory.size", imm: immIndex, sig: ":i"},
	MemoryGrow:         {name: "memory.grow", imm: immIndex, sig: "i:i"},
	I32Const:           {name: "i32.const", imm: immI32, sig: ":i"},
	I64Const:           {name: "i64.const", imm: immI64, sig: ":I"},
	F32Const:           {name: "f32.const", imm: immF32, sig: ":f"},
	F64Const:           {name: "f64.const", imm: immF64, sig: ":F"},
	I32Eqz:             {name: "i32.eqz", sig: "i:i"},
	I32Eq:              {name: "i32.eq", sig: "ii:i"},
	I32Ne:              {name: "i32.ne", sig: "ii:i"},
	I32LtS:             {name: "i32.lt_s", sig: "ii:i"},
	I32LtU:             {name: "i32.lt_u", sig: "ii:i"},
	I32GtS:             {name: "i32.gt_s", sig: "ii:i"},
	I32GtU:             {name: "i32.gt_u", sig: "ii:i"},
	I32LeS:             {name: "i32.le_s", sig: "ii:i"},
	I32LeU:             {name: "i32.le_u", sig: "ii:i"},
	I32GeS:             {name: "i32.ge_s", sig: "ii:i"},
	I32GeU:             {name: "i32.ge_u", sig: "ii:i"},
	I64Eqz:             {name: "i64.eqz", sig: "I:i"},
	I64Eq:              {name: "i64.eq", sig: "II:i"},
	I64Ne:              {name: "i64.ne", sig: "II:i"},
	I64LtS:             {name: "i64.lt_s", sig: "II:i"},
	I64LtU:             {name: "i64.lt_u", sig: "II:i"},
	I64GtS:             {name: "i64.gt_s", sig: "II:i"},
	I64GtU:             {name: "i64.gt_u", sig: "II:i"},
	I64LeS:             {name: "i64.le_s", sig: "II:i"},
	I64LeU:             {name: "i64.le_u", sig: "II:i"},
	I64GeS:             {name: "i64.ge_s", sig: "II:i"},
	I64GeU:             {name: "i64.ge_u", sig: "II:i"},
	F32Eq:              {name: "f32.eq", sig: "ff:i"},
	F32Ne:              {name: "f32.ne", sig: "ff:i"},
	F32Lt:              {name: "f32.lt", sig: "ff:i"},
	F32Gt:              {name: "f32.gt", sig: "ff:i"},
	F32Le:              {name: "f32.le", sig: "ff:i"},
	F32Ge:              {name: "f32.ge", sig: "ff:i"},
	F64Eq:              {name: "f64.eq", sig: "FF:i"},
	F64Ne:              {name: "f64.ne", sig: "FF:i"},
	F64Lt:              {name: "f64.lt", sig: "FF:i"},
	F64Gt:              {name: "f64.gt", sig: "FF:i"},
	F64Le:              {name: "f64.le", sig: "FF:i"},
	F64Ge:              {name: "f64.ge", sig: "FF:i"},
	I32Clz:             {name: "i32.clz", sig: "i:i"},
	I32Ctz:             {name: "i32.ctz", sig: "i:i"},
	I32Popcnt:          {name: "i32.popcnt", sig: "i:i"},
	I32Add:             {name: "i32.add", sig: "ii:i"},
	I32Sub:             {name: "i32.sub", sig: "ii:i"},
	I32Mul:             {name: "i32.mul", sig: "ii:i"},
	I32DivS:            {name: "i32.div_s", sig: "ii:i"},
	I32DivU:            {name: "i32.div_u", sig: "ii:i"},
	I32RemS:            {name: "i32.rem_s", sig: "ii:i"},
	I32RemU:            {name: "i32.rem_u", sig: "ii:i"},
	I32And:             {name: "i32.and", sig: "ii:i"},
	I32Or:              {name: "i32.or", sig: "ii:i"},
	I32Xor:             {name: "i32.xor", sig: "ii:i"},
	I32Shl:             {name: "i32.shl", sig: "ii:i"},
	I32ShrS:            {name: "i32.shr_s", sig: "ii:i"},
	I32ShrU:            {name: "i32.shr_u", sig: "ii:i"},
	I32Rotl:            {name: "i32.rotl", sig: "ii:i"},
	I32Rotr:            {name: "i32.rotr", sig: "ii:i"},
	I64Clz:             {name: "i64.clz", sig: "I:I"},
	I64Ctz:             {name: "i64.ctz", sig: "I:I"},
	I64Popcnt:          {name: "i64.popcnt", sig: "I:I"},
	I64Add:             {name: "i64.add", sig: "II:I"},
	I64Sub:             {name: "i64.sub", sig: "II:I"},
	I64Mul:             {name: "i64.mul", sig: "II:I"},
	I64DivS:            {name: "i64.div_s", sig: "II:I"},
	I64DivU:            {name: "i64.div_u", sig: "II:I"},
	I64RemS:            {name: "i64.rem_s", sig: "II:I"},
	I64RemU:            {name: "i64.rem_u", sig: "II:I"},
	I64And:             {name: "i64.and", sig: "II:I"},
	I64Or:              {name: "i64.or", sig: "II:I"},
	I64Xor:             {name: "i64.xor", sig: "II:I"},
	I64Shl:             {name: "i64.shl", sig: "II:I"},
	I64ShrS:            {name: "i64.shr_s", sig: "II:I"},
	I64ShrU:            {name: "i64.shr_u", sig: "II:I"},
	I64Rotl:            {name: "i64.rotl", sig: "II:I"},
	I64Rotr:            {name: "i64.rotr", sig: "II:I"},
	F32Abs:             {name: "f32.abs", sig: "f:f"},
	F32Neg:             {name: "f32.neg", sig: "f:f"},
	F32Ceil:            {name: "f32.ceil", sig: "f:f"},
	F32Floor:           {name: "f32.floor", sig: "f:f"},
	F32Trunc:           {name: "f32.trunc", sig: "f:f"},
	F32Nearest:         {name: "f32.nearest", sig: "f:f"},
	F32Sqrt:            {name: "f32.sqrt", sig: "f:f"},
	F32Add:             {name: "f32.add", sig: "ff:f"},
	F32Sub:             {name: "f32.sub", sig: "ff:f"},
	F32Mul:             {name: "f32.mul", sig: "ff:f"},
	F32Div:             {name: "f32.div", sig: "ff:f"},
	F32Min:             {name: "f32.min", sig: "ff:f"},
	F32Max:             {name: "f32.max", sig: "ff:f"},
	F32Copysign:        {name: "f32.copysign", sig: "ff:f"},
	F64Abs:             {name: "f64.abs", sig: "F:F"},
	F64Neg:             {name: "f64.neg", sig: "F:F"},
	F64Ceil:            {name: "f64.ceil", sig: "F:F"},
	F64Floor:           {name: "f64.floor", sig: "F:F"},
	F64Trunc:           {name: "f64.trunc", sig: "F:F"},
	F64Nearest:         {name: "f64.nearest", sig: "F:F"},
	F64Sqrt:            {name: "f64.sqrt", sig: "F:F"},
	F64Add:             {name: "f64.add", sig: "FF:F"},
	F64Sub:             {name: "f64.sub", sig: "FF:F"},
	F64Mul:             {name: "f64.mul", sig: "FF:F"},
	F64Div:             {name: "f64.div", sig: "FF:F"},
	F64Min:             {name: "f64.min", sig: "FF:F"},
	F64Max:             {name: "f64.max", sig: "FF:F"},
	F64Copysign:        {name: "f64.copysign", sig: "FF:F"},
	I32WrapI64:         {name: "i32.wrap_i64", sig: "I:i"},
	I32TruncF32S:       {name: "i32.trunc_f32_s", sig: "f:i"},
	I32TruncF32U:       {name: "i32.trunc_f32_u", sig: "f:i"},
	I32TruncF64S:       {name: "i32.trunc_f64_s", sig: "F:i"},
	I32TruncF64U:       {name: "i32.trunc_f64_u", sig: "F:i"},
	I64ExtendI32S:      {name: "i64.extend_i32_s", sig: "i:I"},
	I64ExtendI32U:      {name: "i64.extend_i32_u", sig: "i:I"},
	I64TruncF32S:       {name: "i64.trunc_f32_s", sig: "f:I"},
	I64TruncF32U:       {name: "i64.trunc_f32_u", sig: "f:I"},
	I64TruncF64S:       {name: "i64.trunc_f64_s", sig: "F:I"},
	I64TruncF64U:       {name: "i64.trunc_f64_u", sig: "F:I"},
	F32ConvertI32S:     {name: "f32.convert_i32_s", sig: "i:f"},
	F32ConvertI32U:     {name: "f32.convert_i32_u", sig: "i:f"},
	F32ConvertI64S:     {name: "f32.convert_i64_s", sig: "I:f"},
	F32ConvertI64U:     {name: "f32.convert_i64_u", sig: "I:f"},
	F32DemoteF64:       {name: "f32.demote_f64", sig: "F:f"},
	F64ConvertI32S:     {name: "f64.convert_i32_s", sig: "i:F"},
	F64ConvertI32U:     {name: "f64.convert_i32_u", sig: "i:F"},
	F64ConvertI64S:     {name: "f64.convert_i64_s", sig: "I:F"},
	F64ConvertI64U:     {name: "f64.convert_i64_u", sig: "I:F"},
	F64PromoteF32:      {name: "f64.promote_f32", sig: "f:F"},
	I32ReinterpretF32:  {name: "i32.reinterpret_f32", sig: "f:i"},
	I64ReinterpretF64:  {name: "i64.reinterpret_f64", sig: "F:I"},
	F32ReinterpretI32:  {name: "f32.reinterpret_i32", sig: "i:f"},
	F64ReinterpretI64:  {name: "f64.reinterpret_i64", sig: "I:F"},
	I32Extend8S:        {name: "i32.extend8_s", sig: "i:i"},
	I32Extend16S:       {name: "i32.extend16_s", sig: "i:i"},
	I64Extend8S:        {name: "i64.extend8_s", sig: "I:I"},
	I64Extend16S:       {name: "i64.extend16_s", sig: "I:I"},
	I64Extend32S:       {name: "i64.extend32_s", sig: "I:I"},
	RefNull:            {name: "ref.null", imm: immRefType},
	RefIsNull:          {name: "ref.is_null"},
	RefFunc:            {name: "ref.func", imm: immIndex},
}

// miscOps is indexed by the number after the prefix 0xFC.
var miscOps = [...]opInfo{
	I32TruncSatF32S & subMask: {name: "i32.trunc_sat_f32_s", sig: "f:i"},
	I32TruncSatF32U & subMask: {name: "i32.trunc_sat_f32_u", sig: "f:i"},
	I32TruncSatF64S & subMask: {name: "i32.trunc_sat_f64_s", sig: "F:i"},
	I32TruncSatF64U & subMask: {name: "i32.trunc_sat_f64_u", sig: "F:i"},
	I64TruncSatF32S & subMask: {name: "i64.trunc_sat_f32_s", sig: "f:I"},
	I64TruncSatF32U & subMask: {name: "i64.trunc_sat_f32_u", sig: "f:I"},
	I64TruncSatF64S & subMask: {name: "i64.trunc_sat_f64_s", sig: "F:I"},
	I64TruncSatF64U & subMask: {name: "i64.trunc_sat_f64_u", sig: "F:I"},
	MemoryInit & subMask:      {name: "memory.init", imm: immTwoIndices, sig: "iii:"},
	DataDrop & subMask:        {name: "data.drop", imm: immIndex, sig: ":"},
	MemoryCopy & subMask:      {name: "memory.copy", imm: immTwoIndices, sig: "iii:"},
	MemoryFill & subMask:      {name: "memory.fill", imm: immIndex, sig: "iii:"},
	TableInit & subMask:       {name: "table.init", imm: immTwoIndices, sig: "iii:"},
	ElemDrop & subMask:        {name: "elem.drop", imm: immIndex, sig: ":"},
	TableCopy & subMask:       {name: "table.copy", imm: immTwoIndices, sig: "iii:"},
	TableGrow & subMask:       {name: "table.grow", imm: immIndex},
	TableSize & subMask:       {name: "table.size", imm: immIndex, sig: ":i"},
	TableFill & subMask:       {name: "table.fill", imm: immIndex},
}
