package wasm

// OpShape is what tests need to know about an instruction to build a function around it.
type OpShape struct {
	Op              Op
	Params, Results []ValType
	Immediates      []byte // all zero, of the right length
	Typed           bool   // operand types do not depend on the context
	Memory          bool   // a load, store or atomic access
	Lanes           byte   // how many lanes it chooses from, 0 without a lane
}

// AllOps lists the opcode table.
func AllOps() []OpShape {
	var list []OpShape
	for _, t := range []struct {
		prefix Op
		ops    []opInfo
	}{{0, coreOps[:]}, {prefixMisc, miscOps[:]}, {prefixSIMD, simdOps[:]}, {prefixAtomic, atomicOps[:]}} {
		for i, info := range t.ops {
			if info.name != "" {
				list = append(list, shape(t.prefix|Op(i), info))
			}
		}
	}
	return list
}

func shape(op Op, info opInfo) OpShape {
	s := OpShape{Op: op, Typed: info.sig != ""}
	types := map[rune]ValType{'i': I32, 'I': I64, 'f': F32, 'F': F64, 'v': V128}
	to := &s.Params
	for _, letter := range info.sig {
		if letter == ':' {
			to = &s.Results
			continue
		}
		*to = append(*to, types[letter])
	}
	sizes := map[immKind]int{
		immBlock: 1, immLabel: 1, immLabels: 2, immIndex: 1, immTwoIndices: 2, immTypeTable: 2, immTypes: 2,
		immRefType: 1, immMem: 2, immMemLane: 3, immLane: 1, immI32: 1, immI64: 1, immF32: 4, immF64: 8,
		immV128: 16, immShuffle: 16, immZero: 1,
	}
	s.Immediates = make([]byte, sizes[info.imm])
	s.Lanes = op.lanes()
	if info.imm == immMem || info.imm == immMemLane {
		s.Memory = true
		s.Immediates[0] = info.align
	}
	return s
}

// AppendOp writes an opcode.
func AppendOp(b []byte, op Op) []byte { return appendOp(b, op) }
