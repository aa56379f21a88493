package wasm

import "fmt"

const blockEmpty = 0x40 // the block type without results

func (c *Code) enter(op Op, blockType byte) Label {
	c.buf = append(c.buf, byte(op), blockType)
	c.serial++
	c.open = append(c.open, c.serial)
	return Label{c, len(c.open) - 1, c.serial}
}

func (c *Code) leave() *Code {
	c.open = c.open[:len(c.open)-1]
	c.buf = append(c.buf, byte(End))
	return c
}

// Block runs body; a branch to out leaves the block.
func (c *Code) Block(body func(out Label)) *Code {
	body(c.enter(Block, blockEmpty))
	return c.leave()
}

// BlockOf is a Block that leaves a value of type t, also by a branch to out.
func (c *Code) BlockOf(t ValType, body func(out Label)) *Code {
	body(c.enter(Block, byte(t)))
	return c.leave()
}

// Loop runs body once; a branch to top runs it again.
func (c *Code) Loop(body func(top Label)) *Code {
	body(c.enter(Loop, blockEmpty))
	return c.leave()
}

// LoopOf is a Loop that leaves a value of type t at its end.
func (c *Code) LoopOf(t ValType, body func(top Label)) *Code {
	body(c.enter(Loop, byte(t)))
	return c.leave()
}

// If pops a condition and runs then if it is not 0.
func (c *Code) If(then func()) *Code {
	c.enter(If, blockEmpty)
	then()
	return c.leave()
}

// IfElse pops a condition and runs then if it is not 0, else els.
func (c *Code) IfElse(then, els func()) *Code { return c.ifElse(blockEmpty, then, els) }

// IfElseOf is an IfElse whose arms leave a value of type t.
func (c *Code) IfElseOf(t ValType, then, els func()) *Code { return c.ifElse(byte(t), then, els) }

func (c *Code) ifElse(blockType byte, then, els func()) *Code {
	c.enter(If, blockType)
	then()
	c.buf = append(c.buf, byte(Else))
	els()
	return c.leave()
}

// Range runs body for i = from, from+step, … while it is below to (above, if step is negative). The
// bounds are constants and the test stands at the bottom; a range that is empty emits nothing. After
// the loop i is the first value outside. Body may change i.
func (c *Code) Range(i Local, from, to, step int32, body func()) *Code {
	if step == 0 {
		panic("wasm: Range with step 0")
	}
	less := I32LtS
	if step < 0 {
		less = I32GtS
	}
	c.I32(from).Set(i)
	if (step > 0 && from >= to) || (step < 0 && from <= to) {
		return c
	}
	return c.Loop(func(top Label) {
		body()
		c.Get(i).I32(step).Op(I32Add).Tee(i).I32(to).Op(less).BrIf(top)
	})
}

func (c *Code) depth(l Label) uint32 {
	if l.code != c || l.level >= len(c.open) || c.open[l.level] != l.serial {
		panic(fmt.Sprintf("wasm: branch to a label outside of its block (level %d)", l.level))
	}
	return uint32(len(c.open) - 1 - l.level)
}

// Br branches to l.
func (c *Code) Br(l Label) *Code { return c.index(Br, c.depth(l)) }

// BrIf pops a condition and branches to l if it is not 0.
func (c *Code) BrIf(l Label) *Code { return c.index(BrIf, c.depth(l)) }

// BrTable pops an index and branches to the target with that index, to otherwise if there is none.
func (c *Code) BrTable(otherwise Label, targets ...Label) *Code {
	c.index(BrTable, uint32(len(targets)))
	for _, l := range targets {
		c.buf = appendU32(c.buf, c.depth(l))
	}
	c.buf = appendU32(c.buf, c.depth(otherwise))
	return c
}
