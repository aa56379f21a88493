package pass

import "github.com/isomer-iot/isomer/compiler/internal/ir"

// readers knows who reads each value, so that a value takes another's place in the time that its readers
// need. Looking through the whole graph each time took minutes for 100,000 nodes.
type readers struct {
	graph *ir.Graph
	nodes map[*ir.Value][]*ir.Node // may list nodes that are no longer in the graph
	outs  map[*ir.Value][]int      // places among the graph's outputs
}

func readersOf(g *ir.Graph) *readers {
	r := &readers{g, make(map[*ir.Value][]*ir.Node, len(g.Nodes)), map[*ir.Value][]int{}}
	r.add(g.Nodes...)
	for i, v := range g.Out {
		r.outs[v] = append(r.outs[v], i)
	}
	return r
}

// add tells of nodes that are new in the graph.
func (r *readers) add(nodes ...*ir.Node) {
	for _, n := range nodes {
		for _, v := range n.In {
			r.nodes[v] = append(r.nodes[v], n)
		}
	}
}

// isOut reports whether v is an output of the graph.
func (r *readers) isOut(v *ir.Value) bool { return len(r.outs[v]) > 0 }

// replace makes every reader of old, the graph's outputs among them, read new.
func (r *readers) replace(old, new *ir.Value) {
	if old == new {
		return
	}
	for _, n := range r.nodes[old] {
		for i, v := range n.In {
			if v == old {
				n.In[i] = new
			}
		}
	}
	for _, i := range r.outs[old] {
		r.graph.Out[i] = new
	}
	r.nodes[new] = append(r.nodes[new], r.nodes[old]...)
	r.outs[new] = append(r.outs[new], r.outs[old]...)
	delete(r.nodes, old)
	delete(r.outs, old)
}

// rename lets new take the place of old, its name included: outputs keep theirs.
func (r *readers) rename(old, new *ir.Value) {
	new.Name = old.Name
	r.replace(old, new)
}
