package compiler

import (
	"maps"
	"slices"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/emit"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/wasm"
)

// Stats describe what was compiled.
type Stats struct {
	// Operators counts the nodes of the model by operator. Fused are those of them that other layers
	// compute, or that cancelled out; Folded are those whose results are known at compile time, or that
	// do nothing. Each has the most frequent operator first.
	Operators, Fused, Folded []OperatorCount

	Layers     []Layer
	Inputs     []Tensor       // of the module
	Outputs    []Output       // of the module
	Parameters int            // weights of the model
	MACs       int            // multiply-adds of one run
	Arena      int            // bytes of activations
	Consts     int            // bytes of packed weights and tables
	Memory     int            // bytes of an instance's memory: both of them, and the heap it begins with
	Kernels    int            // distinct kernel functions
	Module     Sizes          // of the binary's parts
	Blocks     []Block        // of the arena, in the order in which they are taken
	Bound      map[string]int // symbolic dimensions and the extents that they got
	// Image is how pictures are prepared; nil if the model takes none. Assumed is set if mean and
	// std are the default.
	Image   *abi.ImageSpec
	Assumed bool
}

// OperatorCount is an operator with the number of its nodes.
type OperatorCount struct {
	Op    string `json:"op"`
	Count int    `json:"count"`
}

// Layer is one operation of the compiled network. They run in their order.
type Layer struct {
	Name, Op, Kernel string
	MACs             int
	Kind             Kind
	Attributes       string   // such as "Strides=[2,2] Act=clip(0,6)"
	Fused            []string // operators of the model that it computes beside its own, in order
	Inputs           []Tensor // constants among them
	Outputs          []Tensor
	// Reads are the layers whose results it reads, by index; -1-i is input i of the module.
	Reads []int
	// Weights are the bytes of its constants in memory before packing. Moved are the bytes that it reads
	// and writes if it touches each of its inputs, outputs and constants once; none if it is a view.
	Weights, Moved int
}

// Tensor is a value of the network.
type Tensor struct {
	Name, Type string // the type such as "f32[1,224,224,3]"
	Const      bool
}

// Output is a result of the module.
type Output struct {
	Tensor
	Layer int // that computes it
}

// Sizes are the bytes of a binary's parts. They add up to the file.
type Sizes struct {
	Weights  int `json:"weights"` // data segments
	Code     int `json:"code"`
	Manifest int `json:"manifest"`
	Other    int `json:"other"` // types, exports, names
}

// Block is a part of the arena that one value holds between two steps: step 0 takes the inputs, step
// i+1 is layer i, and one more step gives the outputs. A layer may write its result over a block that it
// is the last to read.
type Block struct {
	Name          string
	Address, Size int // bytes
	First, Last   int
}

// census says what became of the model's nodes. It is taken in three steps, since loading and the
// passes each take some of them away.
type census struct {
	model  []*onnx.Node    // and no more of the model, whose weights may be gigabytes
	loaded map[string]bool // names of the nodes that loading left
}

func newCensus(m *onnx.Graph, g *ir.Graph) census {
	c := census{model: m.Nodes, loaded: map[string]bool{}}
	for _, n := range g.Nodes {
		c.loaded[n.Name] = true
	}
	return c
}

// count fills in what became of each node of the model in g, whose nodes are the layers of s.
func (c census) count(g *ir.Graph, s *Stats) {
	named, made := map[string]int{}, map[string]int{}
	for i, n := range g.Nodes {
		named[n.Name] = i
		for _, v := range n.Out {
			made[v.Name] = i
		}
	}
	all, fused, folded := map[string]int{}, map[string]int{}, map[string]int{}
	home := map[string]int{} // the layer of each value that a fused node reads, by the value's name
	// From the end, so that the reader of a node's result is known before the node.
	for i, n := range slices.Backward(c.model) {
		name, op := load.NodeName(n, i), load.NodeOp(n)
		all[op]++
		if _, layer := named[name]; layer {
			continue
		}
		if !c.loaded[name] {
			folded[op]++
			continue
		}
		fused[op]++
		at, ok := made[name] // the layer has the value of the last node that went into it
		for _, o := range n.Outputs {
			if !ok {
				at, ok = made[o]
			}
			if !ok {
				at, ok = home[o]
			}
		}
		if !ok {
			continue
		}
		s.Layers[at].Fused = append(s.Layers[at].Fused, op)
		for _, in := range n.Inputs {
			home[in] = at
		}
	}
	for i := range s.Layers {
		slices.Reverse(s.Layers[i].Fused)
	}
	s.Operators, s.Fused, s.Folded = counts(all), counts(fused), counts(folded)
}

func counts(m map[string]int) []OperatorCount {
	list := []OperatorCount{}
	for _, op := range slices.Sorted(maps.Keys(m)) {
		list = append(list, OperatorCount{op, m[op]})
	}
	slices.SortStableFunc(list, func(a, b OperatorCount) int { return b.Count - a.Count })
	return list
}

// stats describes the module that out is.
func stats(g *ir.Graph, c census, out *emit.Result) (Stats, error) {
	s := Stats{
		Parameters: parameters(g), Arena: out.Arena, Consts: out.Consts, Kernels: out.Kernels,
		Memory: int(out.Manifest.Memory.MinPages) * abi.PageSize,
	}
	producer := map[*ir.Value]int{}
	for i, v := range g.In {
		producer[v] = -1 - i
		s.Inputs = append(s.Inputs, tensor(v))
	}
	for i, n := range g.Nodes {
		e := out.Layers[i]
		l := Layer{Name: e.Name, Op: e.Op, Kernel: e.Kernel, MACs: e.MACs, Kind: kindOf(n), Attributes: ir.Attributes(n.Op)}
		for _, v := range n.In {
			l.Inputs = append(l.Inputs, tensor(v))
			if v.Const != nil {
				l.Weights += footprint(v)
			} else {
				l.Reads = append(l.Reads, producer[v])
			}
			l.Moved += footprint(v)
		}
		slices.Sort(l.Reads)
		l.Reads = slices.Compact(l.Reads)
		for _, v := range n.Out {
			l.Outputs = append(l.Outputs, tensor(v))
			l.Moved += footprint(v)
			producer[v] = i
		}
		if out.Plan.IsView(n.Out[0]) {
			l.Kind, l.Moved = View, 0
		}
		s.MACs += l.MACs
		s.Layers = append(s.Layers, l)
	}
	for _, v := range g.Out {
		s.Outputs = append(s.Outputs, Output{tensor(v), producer[v]})
	}
	for _, b := range out.Plan.Blocks(g) {
		s.Blocks = append(s.Blocks, Block(b))
	}
	c.count(g, &s)
	var err error
	s.Module, err = sizes(out.Bytes)
	return s, err
}

func tensor(v *ir.Value) Tensor {
	return Tensor{Name: v.Name, Type: v.Type.String(), Const: v.Const != nil}
}

func footprint(v *ir.Value) int { return v.Type.Shape.Elems() * v.Type.DType.Size() }

func sizes(bin []byte) (Sizes, error) {
	z := Sizes{Other: len(bin)}
	sections, err := wasm.Sections(bin)
	for _, s := range sections {
		var part *int
		switch {
		case s.ID == wasm.SectionData:
			part = &z.Weights
		case s.ID == wasm.SectionCode:
			part = &z.Code
		case s.ID == wasm.SectionCustom && s.Name == abi.ManifestSection:
			part = &z.Manifest
		default:
			continue
		}
		*part += s.Size
		z.Other -= s.Size
	}
	return z, err
}

func parameters(g *ir.Graph) int {
	n := 0
	seen := map[*ir.Value]bool{}
	for _, node := range g.Nodes {
		for _, v := range node.In {
			if v.Const != nil && !seen[v] {
				seen[v] = true
				n += v.Type.Shape.Elems()
			}
		}
	}
	return n
}
