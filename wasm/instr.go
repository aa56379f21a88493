package wasm

import "iter"

// Instr is one decoded instruction. Fields that its kind of immediate does not use are zero.
type Instr struct {
	Op     Op
	Offset int // in the body

	// Index is the local, global, function, table, memory, segment or type index, or the depth of
	// a label. Index2 is the second index of memory.copy, memory.init, table.copy, table.init and
	// of call_indirect (its table).
	Index, Index2 uint32

	// Loads, stores and atomic accesses.
	Align     uint32 // exponent of two
	MemOffset uint32
	Memory    uint32

	Lane   byte
	Value  uint64    // bits of a constant; an i32 is sign extended
	V128   [16]byte  // a vector constant, or the lanes of a shuffle
	Block  BlockType // of block, loop and if
	Labels []uint32  // of br_table, the default last
	Types  []ValType // of select_t and ref.null

	namesMemory bool // Memory is written out, which only multi-memory allows, even for memory 0
}

// BlockType is the type of a block as in the format: a type index if it is not negative, else the
// code of a value type or BlockEmpty.
type BlockType int64

// BlockEmpty is the type of a block that takes and leaves nothing.
const BlockEmpty BlockType = -64

// Result gives the type of the one result, if the block has exactly one and no parameter and says so
// without a type index.
func (b BlockType) Result() (ValType, bool) {
	if t := ValType(b & 0x7F); b < 0 && b >= -64 && t.Valid() {
		return t, true
	}
	return 0, false
}

// TypeIndex gives the index of the block's type, if it has one.
func (b BlockType) TypeIndex() (uint32, bool) { return uint32(b), b >= 0 }

// Instructions decodes the body of a function or a constant expression, with the final end. It checks
// immediates, the nesting of blocks and the depth of labels, but no operand types and no indices. An
// error is the last thing yielded; its offset is relative to the body.
func Instructions(body []byte) iter.Seq2[Instr, error] {
	return func(yield func(Instr, error) bool) {
		d := newInstrReader(reader{b: body, section: "code"})
		var in Instr
		for d.next(&in) {
			if !yield(in, nil) {
				return
			}
		}
		if err := d.error(); err != nil {
			yield(Instr{}, err)
		}
	}
}

// instrReader decodes an expression up to the end that closes it.
type instrReader struct {
	reader
	open []Op // Block, Loop, If or Else of each open block; the expression itself is a Block
}

func newInstrReader(r reader) instrReader { return instrReader{reader: r, open: []Op{Block}} }

// next gives false at the end and after an error.
func (d *instrReader) next(in *Instr) bool {
	if d.err != nil {
		return false
	}
	if len(d.open) == 0 {
		d.end("the final end")
		return false
	}
	*in = Instr{Offset: d.pos}
	in.Op = d.opcode()
	info := in.Op.info()
	if d.err == nil && info == nil {
		d.failAt(in.Offset, "unknown instruction %v", in.Op)
	}
	if d.err != nil {
		return false
	}
	d.immediates(in, info)
	d.nest(in)
	return d.err == nil
}

func (d *instrReader) opcode() Op {
	b := d.byte("an instruction")
	if b < 0xFC || b > 0xFE {
		return Op(b)
	}
	sub := d.u32("an opcode")
	if sub > subMask {
		d.fail("unknown instruction 0x%02x 0x%x", b, sub)
		return 0
	}
	return Op(b)<<16 | Op(sub)
}

func (d *instrReader) immediates(in *Instr, info *opInfo) {
	switch info.imm {
	case immBlock:
		in.Block = d.blockType()
	case immLabel:
		in.Index = d.label()
	case immLabels:
		n := d.count("labels", 1)
		in.Labels = make([]uint32, 0, n+1)
		for range n + 1 {
			in.Labels = append(in.Labels, d.label())
			if d.err != nil {
				return
			}
		}
	case immIndex:
		in.Index = d.u32("an index")
	case immTwoIndices, immTypeTable:
		in.Index = d.u32("an index")
		in.Index2 = d.u32("an index")
	case immTypes:
		n := d.count("types", 1)
		in.Types = make([]ValType, n)
		for i := range in.Types {
			in.Types[i] = d.valType("a type of select")
		}
	case immRefType:
		in.Types = []ValType{d.refType("the type of ref.null")}
	case immMem:
		d.memArg(in, info)
	case immMemLane:
		d.memArg(in, info)
		d.lane(in)
	case immLane:
		d.lane(in)
	case immI32:
		in.Value = uint64(d.signed("an i32 constant", 32))
	case immI64:
		in.Value = uint64(d.signed("an i64 constant", 64))
	case immF32:
		in.Value = uint64(d.fixed32("an f32 constant"))
	case immF64:
		in.Value = d.fixed64("an f64 constant")
	case immV128:
		copy(in.V128[:], d.take(16, "a v128 constant"))
	case immShuffle:
		copy(in.V128[:], d.take(16, "the lanes of a shuffle"))
		for _, l := range in.V128 {
			if l >= 32 {
				d.failAt(in.Offset, "shuffle of lane %d", l)
			}
		}
	case immZero:
		if d.byte("a reserved byte") != 0 {
			d.failAt(in.Offset, "the byte behind %v is not 0", in.Op)
		}
	}
}

func (d *instrReader) blockType() BlockType {
	start := d.pos
	b := BlockType(d.signed("a block type", 33))
	if _, ok := b.Result(); d.err == nil && b < 0 && b != BlockEmpty && !ok {
		d.failAt(start, "block type %d", int64(b))
	}
	return b
}

func (d *instrReader) label() uint32 {
	start := d.pos
	l := d.u32("a label")
	if d.err == nil && uint64(l) >= uint64(len(d.open)) {
		d.failAt(start, "branch to label %d inside %d blocks", l, len(d.open))
	}
	return l
}

const memArgMemory = 0x40 // flag: the alignment is followed by a memory index (multi-memory)

func (d *instrReader) memArg(in *Instr, info *opInfo) {
	in.Align = d.u32("an alignment")
	if in.Align&memArgMemory != 0 {
		in.Align &^= memArgMemory
		in.namesMemory = true
		in.Memory = d.u32("a memory index")
	}
	if d.err == nil && in.Align > uint32(info.align) {
		d.failAt(in.Offset, "%v aligned to 2^%d, its natural alignment is 2^%d", in.Op, in.Align, info.align)
	}
	in.MemOffset = d.u32("an offset")
}

func (d *instrReader) lane(in *Instr) {
	in.Lane = d.byte("a lane")
	if d.err == nil && in.Lane >= in.Op.lanes() {
		d.failAt(in.Offset, "lane %d of %v", in.Lane, in.Op)
	}
}

// nest keeps track of open blocks.
func (d *instrReader) nest(in *Instr) {
	switch in.Op {
	case Block, Loop, If:
		d.open = append(d.open, in.Op)
	case Else:
		if top := len(d.open) - 1; d.open[top] == If {
			d.open[top] = Else
		} else {
			d.failAt(in.Offset, "else outside of an if")
		}
	case End:
		d.open = d.open[:len(d.open)-1]
	}
}
