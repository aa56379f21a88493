// Package plan decides where everything lies in memory: the layout of each value, the arena that they
// share, and the constants. It alone owns addresses; use New once the passes have run. Internal to
// the compiler; it promises no compatibility.
//
// Memory of a compiled module, from address 0: 64 unused bytes, the arena, the constants, and after
// them the heap. The arena comes first and the inputs end it, because hosts of the Wasmtube
// convention write a picture from address 42 on: it then lies in a part of the arena that is free
// until the network runs, as long as New is told to make it.
package plan

import (
	"fmt"
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// ArenaBase is the address of the arena.
const ArenaBase = 64

// Align is the alignment of every buffer and constant: one vector.
const Align = 16

// maxBytes bounds the whole memory: addresses must stay positive as i32, so that kernels may step
// back over padding.
const maxBytes = math.MaxInt32

// Layout says where a value lies.
type Layout struct {
	Address int   // of the first element
	Strides []int // bytes between neighbours along each axis
	Shape   ir.Shape
	DType   ir.DType
	Halo    Halo
}

// Halo is the number of zero elements around the spatial axes of a channels-last value: before each
// spatial axis, then after each; empty if there is no room.
type Halo []int

// Dense reports whether the elements follow each other without gaps.
func (l Layout) Dense() bool { return len(l.Halo) == 0 }

// Plan is the memory of one graph.
type Plan struct {
	layouts map[*ir.Value]Layout
	alias   map[*ir.Value]*ir.Value
	scratch map[*ir.Node]*ir.Value
	Arena   int // bytes
	Consts  *Consts
}

// New plans g, in which every convolution with padding reads a value that pass.CanHalo holds for. At
// least free bytes of the arena lie before the inputs.
func New(g *ir.Graph, free int) (*Plan, error) {
	p := &Plan{layouts: map[*ir.Value]Layout{}, alias: map[*ir.Value]*ir.Value{}, scratch: map[*ir.Node]*ir.Value{}}
	halos := halos(g)
	bufs := p.buffers(g, halos)
	for _, b := range bufs {
		if err := b.value.padded().Check(); err != nil {
			return nil, fmt.Errorf("%q with the padding around it: %w", b.value.v.Name, err)
		}
	}
	p.Arena = place(bufs)
	inputs := 0
	for _, b := range bufs {
		if b.input {
			inputs = max(inputs, b.offset+b.size)
		}
	}
	p.Arena = max(p.Arena, inputs+up(free, Align))
	if p.Arena > maxBytes {
		return nil, fmt.Errorf("the activations need %d bytes; a 32-bit memory holds %d", p.Arena, maxBytes)
	}
	for _, b := range bufs {
		b.value.address(p, ArenaBase+p.Arena-b.offset-b.size)
	}
	p.Consts = &Consts{base: up(ArenaBase+p.Arena+Align, Align), seen: map[string]int{}}
	return p, nil
}

// Of returns the layout of v; constants are laid out dense, on first use.
func (p *Plan) Of(v *ir.Value) Layout {
	if v.Const != nil {
		return dense(v.Type, p.Consts.Tensor(v.Const))
	}
	if root, ok := p.alias[v]; ok {
		return dense(v.Type, p.Of(root).Address)
	}
	return p.layouts[v]
}

// Scratch is the address of the memory that the kernel of n has to itself, see [ir.Scratcher].
func (p *Plan) Scratch(n *ir.Node) int { return p.layouts[p.scratch[n]].Address }

// IsView reports whether v shares the buffer of another value.
func (p *Plan) IsView(v *ir.Value) bool { return p.alias[v] != nil }

func dense(t ir.Type, address int) Layout {
	return Layout{Address: address, Strides: Dense(t), Shape: t.Shape, DType: t.DType}
}

// Dense are the byte strides of a tensor without gaps.
func Dense(t ir.Type) []int {
	st := t.Shape.Strides()
	for i := range st {
		st[i] *= t.DType.Size()
	}
	return st
}

// halos is the room that each value needs around it for the convolutions that read it.
func halos(g *ir.Graph) map[*ir.Value]Halo {
	m := map[*ir.Value]Halo{}
	for _, n := range g.Nodes {
		c, ok := n.Op.(ir.Conv)
		if !ok || !slices.ContainsFunc(c.Pads, func(p int) bool { return p > 0 }) {
			continue
		}
		v := n.In[0]
		if m[v] == nil {
			m[v] = make(Halo, len(c.Pads))
		}
		for i, p := range c.Pads {
			m[v][i] = max(m[v][i], p)
		}
	}
	return m
}

// buffer is a block of the arena, in use from the step first to the step last.
type buffer struct {
	value       placed
	size        int
	first, last int
	input       bool
	offset      int     // from the arena's end
	over        *buffer // whose place it may take, lead bytes before it
	lead        int
}

type placed struct {
	v    *ir.Value
	halo Halo
}

// padded is the shape of the block that holds v with its halo.
func (b placed) padded() ir.Shape {
	s := slices.Clone(b.v.Type.Shape)
	n := len(b.halo) / 2
	for i := range n {
		s[i+1] += b.halo[i] + b.halo[n+i]
	}
	return s
}

func (b placed) address(p *Plan, at int) {
	l := dense(ir.Type{DType: b.v.Type.DType, Shape: b.padded()}, at)
	l.Shape, l.Halo = b.v.Type.Shape, b.halo
	for i := range len(b.halo) / 2 {
		l.Address += b.halo[i] * l.Strides[i+1]
	}
	p.layouts[b.v] = l
}

// buffers lists the blocks with their lifetimes. A reshape is a view of its input, unless its output
// wants room around it.
func (p *Plan) buffers(g *ir.Graph, halos map[*ir.Value]Halo) []*buffer {
	byRoot := map[*ir.Value]*buffer{}
	var list []*buffer
	root := func(v *ir.Value) *ir.Value {
		for p.alias[v] != nil {
			v = p.alias[v]
		}
		return v
	}
	add := func(v *ir.Value, step int, input bool) {
		b := &buffer{value: placed{v, halos[v]}, first: step, last: step, input: input}
		b.size = up(b.value.padded().Elems()*v.Type.DType.Size(), Align)
		byRoot[v] = b
		list = append(list, b)
	}
	for _, v := range g.In {
		add(v, 0, true)
	}
	for i, n := range g.Nodes {
		for _, v := range n.In {
			if v.Const == nil {
				byRoot[root(v)].last = i + 1
			}
		}
		_, reshape := n.Op.(ir.Reshape)
		if reshape && halos[n.Out[0]] == nil && n.In[0].Const == nil {
			p.alias[n.Out[0]] = n.In[0]
			continue
		}
		for _, v := range n.Out {
			add(v, i+1, false)
		}
		if len(n.Out) == 1 {
			p.share(n, byRoot[n.Out[0]], byRoot, root)
		}
		if s, ok := n.Op.(ir.Scratcher); ok {
			v := &ir.Value{Name: n.Name + ".scratch", Type: ir.Of(ir.F32, up(s.Scratch(typesOf(n.In)), 4)/4)}
			p.scratch[n] = v
			add(v, i+1, false)
		}
	}
	for _, v := range g.Out {
		byRoot[root(v)].last = len(g.Nodes) + 1
	}
	return list
}

func typesOf(vs []*ir.Value) []ir.Type {
	ts := make([]ir.Type, len(vs))
	for i, v := range vs {
		ts[i] = v.Type
	}
	return ts
}

// place gives each buffer its offset and returns the arena's size: the largest first, each in the
// smallest gap that it fits among those whose lifetime overlaps its own.
func place(bufs []*buffer) int {
	order := slices.Clone(bufs)
	slices.SortStableFunc(order, func(a, b *buffer) int {
		if a.input != b.input { // inputs end the arena
			if a.input {
				return -1
			}
			return 1
		}
		return b.size - a.size
	})
	total := 0
	steps := 0
	for _, b := range order {
		steps = max(steps, b.last)
	}
	done := make(schedule, steps/bucketSteps+1)
	looked := 0
	for _, b := range order {
		if looked > maxLooks {
			b.offset = total
			total += b.size
			continue
		}
		best, bestGap, end := -1, math.MaxInt, 0
		spans, n := done.beside(b)
		looked += n
		for _, t := range spans {
			if gap := t.from - end; gap >= b.size && gap < bestGap {
				best, bestGap = end, gap
			}
			end = max(end, t.to)
		}
		if best < 0 {
			best = end
		}
		b.offset = best
		total = max(total, b.offset+b.size)
		for k := b.first / bucketSteps; k <= b.last/bucketSteps; k++ {
			done[k] = append(done[k], b)
		}
	}
	return total
}

// bucketSteps is how many steps share a bucket of a schedule. Most buffers live for two or three
// steps; looking through all of them is quadratic: 4.2 s for a chain of 50,000 nodes, where buckets
// take 0.04 s for 100,000.
const bucketSteps = 16

// maxLooks bounds the search for gaps; what is left then lies above all else. MobileNetV2 takes some thousand
// looks and a chain of 60,000 nodes four million, but as many buffers that are all in use at once square that.
const maxLooks = 1 << 26

// schedule lists the placed buffers by the steps at which they are in use.
type schedule [][]*buffer

// span is a part of the arena, as offsets from its end.
type span struct{ from, to int }

// beside returns what buffers in use while b is keep from it, by offset, and how many it looked at.
func (s schedule) beside(b *buffer) (list []span, looked int) {
	from, to := b.first/bucketSteps, b.last/bucketSteps
	for k := from; k <= to; k++ {
		looked += 1 + len(s[k])
		for _, o := range s[k] {
			again := k > from && o.first/bucketSteps < k // was in the bucket before
			if !again && o.last >= b.first && b.last >= o.first {
				list = append(list, taken(b, o))
			}
		}
	}
	slices.SortFunc(list, func(a, b span) int { return a.from - b.from })
	return list, looked
}

func up(n, to int) int { return (n + to - 1) / to * to }
