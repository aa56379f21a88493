package meter

import "github.com/isomer-iot/isomer/wasm"

// counted is a loop whose number of turns can be read off:
//
//	i32.const n; local.set k; loop … local.get k; i32.const -1; i32.add; local.set k; local.get k; br_if 0; end
//
// where nothing else writes k and no other branch leads to the head. Nothing but the instruction in front
// of a loop leads into it, so k begins at n; it is one less at each way back, which is not taken at 0. So the
// turns are n at most, whatever the body does, and their cost is that of straight code. Package compiler's
// kernels are such loops.
type counted struct {
	loop   uint32 // index in writer.loops
	depth  int    // of its block in writer.open
	local  uint32
	n      uint32
	writes int // of local inside
	backs  int // branches to its head
}

const (
	// straightest bounds what loops that are paid for as straight code add to the run that they stand in:
	// code of a few bytes may turn very often, and nobody looks before the run is over. It is the batch of the
	// interpreter.
	straightest = 1 << 16
	// mostCounted bounds how many counted loops are followed at once, since each write is compared with each.
	mostCounted = 8
)

// recent is the last instructions that measure has seen, newest first.
type recent [6]wasm.Instr

func (r *recent) add(in *wasm.Instr) {
	copy(r[1:], r[:])
	r[0] = *in
	r[0].Labels = nil // which the decoder uses again
}

// entered begins to follow a loop that has just been opened, if it may be a counted one.
func (w *writer) entered(r *recent, loop uint32) {
	set, n := &r[0], &r[1]
	if len(w.counted) < mostCounted && set.Op == wasm.LocalSet && n.Op == wasm.I32Const && uint32(n.Value) > 0 {
		w.counted = append(w.counted, counted{loop: loop, depth: len(w.open) - 1, local: set.Index, n: uint32(n.Value)})
	}
}

// follow notes what in does to the loops that are followed.
func (w *writer) follow(in *wasm.Instr) {
	switch in.Op {
	case wasm.LocalSet, wasm.LocalTee:
		for k := range w.counted {
			if w.counted[k].local == in.Index {
				w.counted[k].writes++
			}
		}
	case wasm.Br, wasm.BrIf:
		w.branch(in.Index)
	case wasm.BrTable:
		for _, l := range in.Labels {
			w.branch(l)
		}
	}
}

func (w *writer) branch(label uint32) {
	for k := range w.counted {
		if c := &w.counted[k]; uint64(c.depth)+uint64(label) == uint64(len(w.open)-1) {
			c.backs++
		}
	}
}

// left ends a block at depth. If that was a counted loop, and into has room, into pays for it.
func (w *writer) left(r *recent, depth int, into *uint32) {
	last := len(w.counted) - 1
	if last < 0 || w.counted[last].depth != depth {
		return
	}
	c := w.counted[last]
	w.counted = w.counted[:last]
	if c.writes != 1 || c.backs != 1 || !r.countsDown(c.local) {
		return
	}
	total := uint64(c.n) * uint64(w.loops[c.loop])
	if total+uint64(*into) > straightest {
		return
	}
	*into += uint32(total)
	w.static[c.loop] = true
}

// countsDown reports whether the last instructions take one from local and go back to the head unless it is 0.
func (r *recent) countsDown(local uint32) bool {
	if r[0].Op != wasm.BrIf || r[0].Index != 0 {
		return false
	}
	at := 1
	switch {
	case r[1].Op == wasm.LocalTee && r[1].Index == local:
		at = 2
	case r[1].Op == wasm.LocalGet && r[1].Index == local && r[2].Op == wasm.LocalSet && r[2].Index == local:
		at = 3
	default:
		return false
	}
	add, one, get := &r[at], &r[at+1], &r[at+2]
	down := add.Op == wasm.I32Add && int32(one.Value) == -1 || add.Op == wasm.I32Sub && int32(one.Value) == 1
	return down && one.Op == wasm.I32Const && get.Op == wasm.LocalGet && get.Index == local
}
