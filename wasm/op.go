package wasm

import "fmt"

// Op is one instruction. Instructions of one byte have their opcode as value; prefixed ones have the
// prefix in bits 16 to 23 and the number after the prefix below.
type Op uint32

const (
	prefixMisc   Op = 0xFC << 16
	prefixSIMD   Op = 0xFD << 16
	prefixAtomic Op = 0xFE << 16

	subMask = 0xFFFF
)

// immKind is what follows an opcode.
type immKind uint8

const (
	immNone       immKind = iota
	immBlock              // block type
	immLabel              // label depth
	immLabels             // vector of label depths, default depth
	immIndex              // one index
	immTwoIndices         // two indices
	immTypeTable          // type index, table index
	immTypes              // vector of value types
	immRefType            // reference type
	immMem                // alignment exponent, offset
	immMemLane            // alignment exponent, offset, lane
	immLane               // lane
	immI32                // signed LEB128
	immI64                // signed LEB128
	immF32                // 4 bytes
	immF64                // 8 bytes
	immV128               // 16 bytes
	immShuffle            // 16 lanes, each below 32
	immZero               // a reserved zero byte
)

// opInfo describes one instruction. The signature has a letter for each operand, a colon, and a letter
// for each result: i, I, f, F and v are i32, i64, f32, f64 and v128. It is empty where the types depend
// on the context.
type opInfo struct {
	name  string
	imm   immKind
	align uint8
	sig   string
}

func (op Op) info() *opInfo {
	var table []opInfo
	switch op &^ subMask {
	case 0:
		table = coreOps[:]
	case prefixMisc:
		table = miscOps[:]
	case prefixSIMD:
		table = simdOps[:]
	case prefixAtomic:
		table = atomicOps[:]
	}
	if i := int(op & subMask); i < len(table) && table[i].name != "" {
		return &table[i]
	}
	return nil
}

// Known reports whether op is in the opcode table.
func (op Op) Known() bool { return op.info() != nil }

// String gives the name of the text format, such as "f32x4.mul". The select that lists its types is
// "select_t", so that each instruction has a name of its own.
func (op Op) String() string {
	if info := op.info(); info != nil {
		return info.name
	}
	if op > subMask {
		return fmt.Sprintf("op(0x%02x 0x%x)", uint32(op>>16), uint32(op&subMask))
	}
	return fmt.Sprintf("op(0x%02x)", uint32(op))
}

// Align gives the natural alignment of a load, store or atomic access as exponent of two, 0 for
// instructions that access no memory.
func (op Op) Align() uint32 {
	if info := op.info(); info != nil {
		return uint32(info.align)
	}
	return 0
}

// Feature names the proposal that brought op, "" for the first version of WebAssembly.
func (op Op) Feature() string {
	switch op &^ subMask {
	case prefixMisc:
		switch sub := op & subMask; {
		case sub <= I64TruncSatF64U&subMask:
			return FeatureTruncSat
		case sub <= TableCopy&subMask:
			return FeatureBulkMemory
		}
		return FeatureRefTypes
	case prefixSIMD:
		if op >= I8x16RelaxedSwizzle {
			return FeatureRelaxedSIMD
		}
		return FeatureSIMD
	case prefixAtomic:
		return FeatureThreads
	}
	switch op {
	case I32Extend8S, I32Extend16S, I64Extend8S, I64Extend16S, I64Extend32S:
		return FeatureSignExt
	case SelectT, TableGet, TableSet, RefNull, RefIsNull, RefFunc:
		return FeatureRefTypes
	case ReturnCall, ReturnCallIndirect:
		return FeatureTailCall
	}
	return ""
}

// appendOp writes the opcode.
func appendOp(b []byte, op Op) []byte {
	if op <= 0xFF {
		return append(b, byte(op))
	}
	return appendU32(append(b, byte(op>>16)), uint32(op&subMask))
}

// lanes is the number of lanes that the lane immediate of op may name, 0 if op has none.
func (op Op) lanes() byte {
	info := op.info()
	if info == nil {
		return 0
	}
	switch info.imm {
	case immMemLane:
		return 16 >> info.align
	case immLane:
		switch info.name[:5] {
		case "i8x16":
			return 16
		case "i16x8":
			return 8
		case "i32x4", "f32x4":
			return 4
		}
		return 2
	}
	return 0
}
