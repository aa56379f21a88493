package wasm

// Atomic instructions of the threads proposal, prefix 0xFE.
const (
	MemoryAtomicNotify     Op = prefixAtomic + 0x00
	MemoryAtomicWait32     Op = prefixAtomic + 0x01
	MemoryAtomicWait64     Op = prefixAtomic + 0x02
	AtomicFence            Op = prefixAtomic + 0x03
	I32AtomicLoad          Op = prefixAtomic + 0x10
	I64AtomicLoad          Op = prefixAtomic + 0x11
	I32AtomicLoad8U        Op = prefixAtomic + 0x12
	I32AtomicLoad16U       Op = prefixAtomic + 0x13
	I64AtomicLoad8U        Op = prefixAtomic + 0x14
	I64AtomicLoad16U       Op = prefixAtomic + 0x15
	I64AtomicLoad32U       Op = prefixAtomic + 0x16
	I32AtomicStore         Op = prefixAtomic + 0x17
	I64AtomicStore         Op = prefixAtomic + 0x18
	I32AtomicStore8        Op = prefixAtomic + 0x19
	I32AtomicStore16       Op = prefixAtomic + 0x1a
	I64AtomicStore8        Op = prefixAtomic + 0x1b
	I64AtomicStore16       Op = prefixAtomic + 0x1c
	I64AtomicStore32       Op = prefixAtomic + 0x1d
	I32AtomicRmwAdd        Op = prefixAtomic + 0x1e
	I64AtomicRmwAdd        Op = prefixAtomic + 0x1f
	I32AtomicRmw8AddU      Op = prefixAtomic + 0x20
	I32AtomicRmw16AddU     Op = prefixAtomic + 0x21
	I64AtomicRmw8AddU      Op = prefixAtomic + 0x22
	I64AtomicRmw16AddU     Op = prefixAtomic + 0x23
	I64AtomicRmw32AddU     Op = prefixAtomic + 0x24
	I32AtomicRmwSub        Op = prefixAtomic + 0x25
	I64AtomicRmwSub        Op = prefixAtomic + 0x26
	I32AtomicRmw8SubU      Op = prefixAtomic + 0x27
	I32AtomicRmw16SubU     Op = prefixAtomic + 0x28
	I64AtomicRmw8SubU      Op = prefixAtomic + 0x29
	I64AtomicRmw16SubU     Op = prefixAtomic + 0x2a
	I64AtomicRmw32SubU     Op = prefixAtomic + 0x2b
	I32AtomicRmwAnd        Op = prefixAtomic + 0x2c
	I64AtomicRmwAnd        Op = prefixAtomic + 0x2d
	I32AtomicRmw8AndU      Op = prefixAtomic + 0x2e
	I32AtomicRmw16AndU     Op = prefixAtomic + 0x2f
	I64AtomicRmw8AndU      Op = prefixAtomic + 0x30
	I64AtomicRmw16AndU     Op = prefixAtomic + 0x31
	I64AtomicRmw32AndU     Op = prefixAtomic + 0x32
	I32AtomicRmwOr         Op = prefixAtomic + 0x33
	I64AtomicRmwOr         Op = prefixAtomic + 0x34
	I32AtomicRmw8OrU       Op = prefixAtomic + 0x35
	I32AtomicRmw16OrU      Op = prefixAtomic + 0x36
	I64AtomicRmw8OrU       Op = prefixAtomic + 0x37
	I64AtomicRmw16OrU      Op = prefixAtomic + 0x38
	I64AtomicRmw32OrU      Op = prefixAtomic + 0x39
	I32AtomicRmwXor        Op = prefixAtomic + 0x3a
	I64AtomicRmwXor        Op = prefixAtomic + 0x3b
	I32AtomicRmw8XorU      Op = prefixAtomic + 0x3c
	I32AtomicRmw16XorU     Op = prefixAtomic + 0x3d
	I64AtomicRmw8XorU      Op = prefixAtomic + 0x3e
	I64AtomicRmw16XorU     Op = prefixAtomic + 0x3f
	I64AtomicRmw32XorU     Op = prefixAtomic + 0x40
	I32AtomicRmwXchg       Op = prefixAtomic + 0x41
	I64AtomicRmwXchg       Op = prefixAtomic + 0x42
	I32AtomicRmw8XchgU     Op = prefixAtomic + 0x43
	I32AtomicRmw16XchgU    Op = prefixAtomic + 0x44
	I64AtomicRmw8XchgU     Op = prefixAtomic + 0x45
	I64AtomicRmw16XchgU    Op = prefixAtomic + 0x46
	I64AtomicRmw32XchgU    Op = prefixAtomic + 0x47
	I32AtomicRmwCmpxchg    Op = prefixAtomic + 0x48
	I64AtomicRmwCmpxchg    Op = prefixAtomic + 0x49
	I32AtomicRmw8CmpxchgU  Op = prefixAtomic + 0x4a
	I32AtomicRmw16CmpxchgU Op = prefixAtomic + 0x4b
	I64AtomicRmw8CmpxchgU  Op = prefixAtomic + 0x4c
	I64AtomicRmw16CmpxchgU Op = prefixAtomic + 0x4d
	I64AtomicRmw32CmpxchgU Op = prefixAtomic + 0x4e
)

// atomicOps is indexed by the number after the prefix 0xFE.
var atomicOps = [...]opInfo{
	MemoryAtomicNotify & subMask:     {name: "memory.atomic.notify", imm: immMem, align: 2, sig: "ii:i"},
	MemoryAtomicWait32 & subMask:     {name: "memory.atomic.wait32", imm: immMem, align: 2, sig: "iiI:i"},
	MemoryAtomicWait64 & subMask:     {name: "memory.atomic.wait64", imm: immMem, align: 3, sig: "iII:i"},
	AtomicFence & subMask:            {name: "atomic.fence", imm: immZero, sig: ":"},
	I32AtomicLoad & subMask:          {name: "i32.atomic.load", imm: immMem, align: 2, sig: "i:i"},
	I64AtomicLoad & subMask:          {name: "i64.atomic.load", imm: immMem, align: 3, sig: "i:I"},
	I32AtomicLoad8U & subMask:        {name: "i32.atomic.load8_u", imm: immMem, sig: "i:i"},
	I32AtomicLoad16U & subMask:       {name: "i32.atomic.load16_u", imm: immMem, align: 1, sig: "i:i"},
	I64AtomicLoad8U & subMask:        {name: "i64.atomic.load8_u", imm: immMem, sig: "i:I"},
	I64AtomicLoad16U & subMask:       {name: "i64.atomic.load16_u", imm: immMem, align: 1, sig: "i:I"},
	I64AtomicLoad32U & subMask:       {name: "i64.atomic.load32_u", imm: immMem, align: 2, sig: "i:I"},
	I32AtomicStore & subMask:         {name: "i32.atomic.store", imm: immMem, align: 2, sig: "ii:"},
	I64AtomicStore & subMask:         {name: "i64.atomic.store", imm: immMem, align: 3, sig: "iI:"},
	I32AtomicStore8 & subMask:        {name: "i32.atomic.store8", imm: immMem, sig: "ii:"},
	I32AtomicStore16 & subMask:       {name: "i32.atomic.store16", imm: immMem, align: 1, sig: "ii:"},
	I64AtomicStore8 & subMask:        {name: "i64.atomic.store8", imm: immMem, sig: "iI:"},
	I64AtomicStore16 & subMask:       {name: "i64.atomic.store16", imm: immMem, align: 1, sig: "iI:"},
	I64AtomicStore32 & subMask:       {name: "i64.atomic.store32", imm: immMem, align: 2, sig: "iI:"},
	I32AtomicRmwAdd & subMask:        {name: "i32.atomic.rmw.add", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwAdd & subMask:        {name: "i64.atomic.rmw.add", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8AddU & subMask:      {name: "i32.atomic.rmw8.add_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16AddU & subMask:     {name: "i32.atomic.rmw16.add_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8AddU & subMask:      {name: "i64.atomic.rmw8.add_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16AddU & subMask:     {name: "i64.atomic.rmw16.add_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32AddU & subMask:     {name: "i64.atomic.rmw32.add_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwSub & subMask:        {name: "i32.atomic.rmw.sub", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwSub & subMask:        {name: "i64.atomic.rmw.sub", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8SubU & subMask:      {name: "i32.atomic.rmw8.sub_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16SubU & subMask:     {name: "i32.atomic.rmw16.sub_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8SubU & subMask:      {name: "i64.atomic.rmw8.sub_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16SubU & subMask:     {name: "i64.atomic.rmw16.sub_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32SubU & subMask:     {name: "i64.atomic.rmw32.sub_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwAnd & subMask:        {name: "i32.atomic.rmw.and", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwAnd & subMask:        {name: "i64.atomic.rmw.and", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8AndU & subMask:      {name: "i32.atomic.rmw8.and_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16AndU & subMask:     {name: "i32.atomic.rmw16.and_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8AndU & subMask:      {name: "i64.atomic.rmw8.and_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16AndU & subMask:     {name: "i64.atomic.rmw16.and_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32AndU & subMask:     {name: "i64.atomic.rmw32.and_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwOr & subMask:         {name: "i32.atomic.rmw.or", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwOr & subMask:         {name: "i64.atomic.rmw.or", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8OrU & subMask:       {name: "i32.atomic.rmw8.or_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16OrU & subMask:      {name: "i32.atomic.rmw16.or_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8OrU & subMask:       {name: "i64.atomic.rmw8.or_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16OrU & subMask:      {name: "i64.atomic.rmw16.or_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32OrU & subMask:      {name: "i64.atomic.rmw32.or_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwXor & subMask:        {name: "i32.atomic.rmw.xor", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwXor & subMask:        {name: "i64.atomic.rmw.xor", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8XorU & subMask:      {name: "i32.atomic.rmw8.xor_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16XorU & subMask:     {name: "i32.atomic.rmw16.xor_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8XorU & subMask:      {name: "i64.atomic.rmw8.xor_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16XorU & subMask:     {name: "i64.atomic.rmw16.xor_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32XorU & subMask:     {name: "i64.atomic.rmw32.xor_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwXchg & subMask:       {name: "i32.atomic.rmw.xchg", imm: immMem, align: 2, sig: "ii:i"},
	I64AtomicRmwXchg & subMask:       {name: "i64.atomic.rmw.xchg", imm: immMem, align: 3, sig: "iI:I"},
	I32AtomicRmw8XchgU & subMask:     {name: "i32.atomic.rmw8.xchg_u", imm: immMem, sig: "ii:i"},
	I32AtomicRmw16XchgU & subMask:    {name: "i32.atomic.rmw16.xchg_u", imm: immMem, align: 1, sig: "ii:i"},
	I64AtomicRmw8XchgU & subMask:     {name: "i64.atomic.rmw8.xchg_u", imm: immMem, sig: "iI:I"},
	I64AtomicRmw16XchgU & subMask:    {name: "i64.atomic.rmw16.xchg_u", imm: immMem, align: 1, sig: "iI:I"},
	I64AtomicRmw32XchgU & subMask:    {name: "i64.atomic.rmw32.xchg_u", imm: immMem, align: 2, sig: "iI:I"},
	I32AtomicRmwCmpxchg & subMask:    {name: "i32.atomic.rmw.cmpxchg", imm: immMem, align: 2, sig: "iii:i"},
	I64AtomicRmwCmpxchg & subMask:    {name: "i64.atomic.rmw.cmpxchg", imm: immMem, align: 3, sig: "iII:I"},
	I32AtomicRmw8CmpxchgU & subMask:  {name: "i32.atomic.rmw8.cmpxchg_u", imm: immMem, sig: "iii:i"},
	I32AtomicRmw16CmpxchgU & subMask: {name: "i32.atomic.rmw16.cmpxchg_u", imm: immMem, align: 1, sig: "iii:i"},
	I64AtomicRmw8CmpxchgU & subMask:  {name: "i64.atomic.rmw8.cmpxchg_u", imm: immMem, sig: "iII:I"},
	I64AtomicRmw16CmpxchgU & subMask: {name: "i64.atomic.rmw16.cmpxchg_u", imm: immMem, align: 1, sig: "iII:I"},
	I64AtomicRmw32CmpxchgU & subMask: {name: "i64.atomic.rmw32.cmpxchg_u", imm: immMem, align: 2, sig: "iII:I"},
}
