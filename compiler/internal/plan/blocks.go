package plan

import (
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// Block is a part of the arena that one value holds for a while, for reports.
type Block struct {
	Name          string
	Address, Size int // bytes, with the room around the value
	// First and Last are the steps between which it holds the value: step 0 takes the inputs, step i+1
	// is node i, and one more step gives the outputs.
	First, Last int
}

// Blocks lists the blocks of the arena in the order in which they are taken. g is the graph that New
// planned. A view is a part of the life of the value that it shows.
func (p *Plan) Blocks(g *ir.Graph) []Block {
	var list []Block
	at := map[*ir.Value]int{}
	take := func(v *ir.Value, step int) {
		l, planned := p.layouts[v]
		if !planned {
			return
		}
		at[v] = len(list)
		room := placed{v, l.Halo}
		b := Block{Name: v.Name, Address: l.Address, Size: room.padded().Elems() * v.Type.DType.Size(), First: step, Last: step}
		for i := range len(l.Halo) / 2 {
			b.Address -= l.Halo[i] * l.Strides[i+1]
		}
		list = append(list, b)
	}
	use := func(v *ir.Value, step int) {
		for p.alias[v] != nil {
			v = p.alias[v]
		}
		if i, ok := at[v]; ok {
			list[i].Last = step
		}
	}
	for _, v := range g.In {
		take(v, 0)
	}
	for i, n := range g.Nodes {
		for _, v := range n.In {
			use(v, i+1)
		}
		for _, v := range n.Out {
			if p.alias[v] == nil {
				take(v, i+1)
			}
		}
		if s := p.scratch[n]; s != nil {
			take(s, i+1)
		}
	}
	for _, v := range g.Out {
		use(v, len(g.Nodes)+1)
	}
	return slices.Clip(list)
}
