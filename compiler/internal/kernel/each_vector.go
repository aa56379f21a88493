package kernel

import "github.com/isomer-iot/isomer/wasm"

// vector returns the code that computes step neighbours at once from the addresses in p, nil if there is
// none for the types or the operands lie apart.
func (e *eacher) vector() (body func(p []wasm.Local), step int) {
	st := e.strides(MaxDims - 1)
	if st[0] != e.To.Size() {
		return nil, 1
	}
	for i := range e.vals {
		if s := st[i+1]; s != 0 && s != e.operand(i).Size() {
			return nil, 1
		}
	}
	size := e.T.Size()
	if op, ok := maskOps[e.Fn]; ok && e.T == F32 {
		return e.compare(op), lanes
	}
	if op, ok := intOps[e.Fn]; ok && e.T == I32 {
		return e.lanewise(op, wasm.V128Load32Splat), lanes
	}
	if op, ok := bitOps[e.Fn]; ok && size == 1 {
		return e.lanewise(op, wasm.V128Load8Splat), vec
	}
	switch {
	case e.Fn == "where" && size == 4:
		return e.choose, lanes
	case e.Fn == "not" && e.T == Bool:
		return func(p []wasm.Local) {
			e.c.Get(p[0])
			e.operandVector(p, 0, wasm.V128Load8Splat)
			e.c.Op(wasm.I8x16Eq).V128(ones).Op(wasm.V128And).Store(wasm.V128Store, 0)
		}, vec
	case e.Fn == "cast" && st[1] != 0:
		if push := e.convertVector(); push != nil {
			return func(p []wasm.Local) {
				e.c.Get(p[0])
				push(p[1])
				e.c.Store(wasm.V128Store, 0)
			}, lanes
		}
	}
	return nil, 1
}

// ones are sixteen bytes of true.
var ones = [16]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}

var (
	maskOps = map[string]wasm.Op{"eq": wasm.F32x4Eq, "lt": wasm.F32x4Lt, "le": wasm.F32x4Le}
	intOps  = map[string]wasm.Op{"add": wasm.I32x4Add, "sub": wasm.I32x4Sub, "mul": wasm.I32x4Mul,
		"min": wasm.I32x4MinS, "max": wasm.I32x4MaxS}
	bitOps = map[string]wasm.Op{"and": wasm.V128And, "or": wasm.V128Or, "xor": wasm.V128Xor}
)

// operandVector pushes a vector of operand i, or its one element in every lane. The function not takes
// a zero vector with it to compare.
func (e *eacher) operandVector(p []wasm.Local, i int, splat wasm.Op) {
	if e.Fn == "not" {
		splatInt(e.c, 0)
	}
	if e.strides(MaxDims - 1)[i+1] == 0 {
		e.c.Get(p[i+1]).Load(splat, 0)
	} else {
		e.c.Get(p[i+1]).Load(wasm.V128Load, 0)
	}
}

func (e *eacher) lanewise(op, splat wasm.Op) func(p []wasm.Local) {
	return func(p []wasm.Local) {
		e.c.Get(p[0])
		e.operandVector(p, 0, splat)
		e.operandVector(p, 1, splat)
		e.c.Op(op).Store(wasm.V128Store, 0)
	}
}

// compare stores the lowest byte of each lane of a mask, as 0 or 1.
func (e *eacher) compare(op wasm.Op) func(p []wasm.Local) {
	return func(p []wasm.Local) {
		c := e.c
		c.Get(p[0])
		e.operandVector(p, 0, wasm.V128Load32Splat)
		e.operandVector(p, 1, wasm.V128Load32Splat)
		c.Op(op)
		splatInt(c, 0)
		c.Shuffle([16]byte{0, 4, 8, 12, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16}).Lane(wasm.I32x4ExtractLane, 0)
		c.I32(0x01010101).Op(wasm.I32And).Store(wasm.I32Store, 0)
	}
}

// spreadBytes pushes four bytes as lanes of i32.
func spreadBytes(c *wasm.Code, p wasm.Local, signed bool) {
	c.Get(p).Load(wasm.V128Load32Zero, 0)
	if signed {
		c.Op(wasm.I16x8ExtendLowI8x16S, wasm.I32x4ExtendLowI16x8S)
	} else {
		c.Op(wasm.I16x8ExtendLowI8x16U, wasm.I32x4ExtendLowI16x8U)
	}
}

// choose picks lanes by the bytes of the condition.
func (e *eacher) choose(p []wasm.Local) {
	c := e.c
	c.Get(p[0])
	e.operandVector(p, 1, wasm.V128Load32Splat)
	e.operandVector(p, 2, wasm.V128Load32Splat)
	if e.strides(MaxDims - 1)[1] == 0 {
		c.Get(p[1]).Load(wasm.V128Load8Splat, 0)
	} else {
		spreadBytes(c, p[1], false)
	}
	splatInt(c, 0)
	c.Op(wasm.I32x4Ne, wasm.V128Bitselect).Store(wasm.V128Store, 0)
}

// convertVector returns the code that pushes four converted elements.
func (e *eacher) convertVector() func(p wasm.Local) {
	c := e.c
	switch narrow := e.T.Size() == 1; {
	case narrow && e.To == F32:
		return func(p wasm.Local) { spreadBytes(c, p, e.T.signed()); c.Op(wasm.F32x4ConvertI32x4S) }
	case narrow && e.To == I32:
		return func(p wasm.Local) { spreadBytes(c, p, e.T.signed()) }
	case e.T == I32 && e.To == F32:
		return func(p wasm.Local) { c.Get(p).Load(wasm.V128Load, 0).Op(wasm.F32x4ConvertI32x4S) }
	case e.T == F32 && e.To == I32:
		return func(p wasm.Local) { c.Get(p).Load(wasm.V128Load, 0).Op(wasm.I32x4TruncSatF32x4S) }
	}
	return nil
}
