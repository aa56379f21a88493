// Package pass holds the rewrites between loading and planning. Use Run to bring a loaded graph into
// the form that plan expects; never rely on one pass alone outside its test. Each pass is an ordinary
// function, the list below is their order, and the graph is verified after each. Internal to the
// compiler; it promises no compatibility.
package pass

import (
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// Pass is one named rewrite.
type Pass struct {
	Name string
	Run  func(*ir.Graph) error
	// Needed marks what plan relies on: it runs even where Run is told to stop before it.
	Needed bool
}

// List is every pass in order.
var List = []Pass{
	{Name: "transposes", Run: sinkTransposes},       // layout changes move down until they meet and cancel
	{Name: "reshapes", Run: mergeReshapes},          // what is left of them and only renames axes becomes a view
	{Name: "activations", Run: nameActivations},     // formulas of several operators that are one function
	{Name: "norms", Run: norms},                     // as is the normalisation of a layer
	{Name: "affine", Run: foldAffine},               // batch normalisation goes into the weights before it
	{Name: "integers", Run: integers},               // quantised models compute with bytes where they can
	{Name: "scales", Run: scales},                   // and their sums become floats where they are computed
	{Name: "epilogues", Run: fuseEpilogues},         // residual and activation go into the kernel that computes their input
	{Name: "products", Run: products},               // products of two computed values take and leave their tensors turned
	{Name: "pads", Run: explicitPads, Needed: true}, // padding that no producer can write around its output becomes a node
	{Name: "dead", Run: removeDead},
}

// Run applies the passes in order, up to and with the one named stopAfter, or all if it is empty.
func Run(g *ir.Graph, stopAfter string) error {
	if stopAfter != "" && !slices.ContainsFunc(List, func(p Pass) bool { return p.Name == stopAfter }) {
		return fmt.Errorf("no pass %q", stopAfter)
	}
	stopped := false
	for _, p := range List {
		if stopped && !p.Needed {
			continue
		}
		if err := p.Run(g); err != nil {
			return fmt.Errorf("pass %s: %w", p.Name, err)
		}
		if err := g.Verify(); err != nil {
			return fmt.Errorf("pass %s broke the graph: %w", p.Name, err)
		}
		stopped = stopped || p.Name == stopAfter
	}
	return nil
}

// producers maps each value to the node that computes it.
func producers(g *ir.Graph) map[*ir.Value]*ir.Node {
	m := map[*ir.Value]*ir.Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			m[v] = n
		}
	}
	return m
}

// removeDead drops nodes whose outputs nobody reads.
func removeDead(g *ir.Graph) error {
	live := map[*ir.Value]bool{}
	for _, v := range g.Out {
		live[v] = true
	}
	keep := len(g.Nodes)
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		used := false
		for _, v := range n.Out {
			used = used || live[v]
		}
		if !used {
			continue
		}
		for _, v := range n.In {
			live[v] = true
		}
		keep--
		g.Nodes[keep] = n
	}
	g.Nodes = g.Nodes[keep:]
	return nil
}
