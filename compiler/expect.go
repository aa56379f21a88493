package compiler

import (
	"fmt"
	"time"

	"github.com/isomer-iot/isomer/compiler/internal/emit"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/compiler/internal/pass"
)

// Kind is the work that makes up most of a layer. Layers of one kind go at about one rate.
type Kind string

// The kinds of layers. All but Move count multiply-adds; Move counts bytes.
const (
	Product   Kind = "product"   // a convolution or a product with many rows: it computes
	Vector    Kind = "vector"    // a product with few rows: it waits for its weights
	Depthwise Kind = "depthwise" // a convolution of each channel by itself
	Bytes     Kind = "bytes"     // a product of 8-bit integers
	ByteDepth Kind = "bytedepth" // a depthwise convolution of 8-bit integers
	Move      Kind = "move"      // everything else: it reads and writes
	View      Kind = "view"      // nothing is to be done
)

// fewRows is where a product no longer reuses the weights that it has loaded: the kernels compute four
// rows at once.
const fewRows = 4

func kindOf(n *ir.Node) Kind {
	out := n.Out[0].Type.Shape
	switch op := n.Op.(type) {
	case ir.Conv:
		if op.Group > 1 && op.Group == out[len(out)-1] {
			return Depthwise
		}
		if out[:len(out)-1].Elems() < fewRows {
			return Vector
		}
		return Product
	case ir.MatMul:
		if out[:len(out)-1].Elems() < fewRows {
			return Vector
		}
		return Product
	case ir.IntConv:
		if op.Group > 1 && op.Group == out[len(out)-1] {
			return ByteDepth
		}
		return Bytes
	case ir.Recurrent:
		return Vector
	}
	return Move
}

// Work is how much of its kind's work l does.
func (l Layer) Work() int {
	if l.MACs > 0 {
		return l.MACs
	}
	return l.Moved
}

// Rates are the work that a machine does in one second, by kind.
type Rates map[Kind]float64

// Expect estimates the time of each layer of s from the rates of one machine and engine. It knows
// nothing of how well each shape suits its kernel, so take it for a guess: MobileNetV2 takes 28.5 ms
// where 23 are expected.
func (s Stats) Expect(r Rates) []time.Duration {
	times := make([]time.Duration, len(s.Layers))
	for i, l := range s.Layers {
		kind := l.Kind
		if kind != Move && l.MACs == 0 {
			kind = Move
		}
		if l.Kind == View || r[kind] <= 0 {
			continue
		}
		times[i] = time.Duration(float64(l.Work()) / r[kind] * float64(time.Second))
	}
	return times
}

// Probe is a small module whose function "run" does work of one kind and nothing else, to measure a
// rate with.
type Probe struct {
	Kind   Kind
	Module []byte
	Work   int // of one run
}

// Probes returns a probe for each kind of layer that s has, for [Stats.Expect].
func (s Stats) Probes() ([]Probe, error) {
	need := map[Kind]bool{}
	for _, l := range s.Layers {
		need[l.Kind] = true
	}
	var list []Probe
	for _, kind := range []Kind{Product, Vector, Depthwise, Bytes, ByteDepth, Move} {
		if !need[kind] {
			continue
		}
		p, err := probe(kind)
		if err != nil {
			return nil, fmt.Errorf("probe of %s: %w", kind, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// probe compiles a layer as in the first half of a network for pictures, whose data leave the caches of a
// core.
func probe(kind Kind) (Probe, error) {
	floats := func(group int) ir.Conv {
		return ir.Conv{Strides: []int{1, 1}, Dilations: []int{1, 1}, Pads: make([]int, 4), Group: group}
	}
	integers := func(group int) ir.IntConv {
		return ir.IntConv{Strides: []int{1, 1}, Dilations: []int{1, 1}, Pads: make([]int, 4), Group: group, Hi: 255, To: ir.U8}
	}
	var (
		op    ir.Op
		input ir.Type
		rest  []ir.Type
	)
	switch kind {
	case Product:
		op, input = floats(1), ir.Of(ir.F32, 1, 56, 56, 64)
		rest = []ir.Type{ir.Of(ir.F32, 1, 1, 64, 128), ir.Of(ir.F32, 128)}
	case Vector:
		op, input = ir.MatMul{}, ir.Of(ir.F32, 1, 512)
		rest = []ir.Type{ir.Of(ir.F32, 512, 1024), ir.Of(ir.F32, 1024)}
	case Depthwise:
		op, input = floats(144), ir.Of(ir.F32, 1, 58, 58, 144)
		rest = []ir.Type{ir.Of(ir.F32, 3, 3, 1, 144), ir.Of(ir.F32, 144)}
	case ByteDepth:
		op, input = integers(144), ir.Of(ir.U8, 1, 58, 58, 144)
		rest = []ir.Type{ir.Of(ir.I16, 3, 3, 1, 144), ir.Of(ir.I32, 144), ir.Of(ir.F32, 144)}
	case Bytes:
		op, input = integers(1), ir.Of(ir.U8, 1, 56, 56, 64)
		rest = []ir.Type{ir.Of(ir.I16, 1, 1, 64, 128), ir.Of(ir.I32, 128), ir.Of(ir.F32, 128)}
	default:
		op, input = ir.Binary{Fn: "mul"}, ir.Of(ir.F32, 1, 56, 56, 96)
		rest = []ir.Type{ir.Of(ir.F32, 1, 56, 56, 96)}
	}
	in := []*ir.Value{{Name: "x", Type: input}}
	for i, t := range rest {
		x := ir.NewTensor(t)
		ir.Fill(x, uint64(i))
		in = append(in, ir.ConstValue("c", x))
	}
	n, err := ir.NewNode("y", op, in...)
	if err != nil {
		return Probe{}, err
	}
	g := &ir.Graph{Name: "probe", In: in[:1], Out: n.Out, Nodes: []*ir.Node{n}}
	if err := pass.Run(g, ""); err != nil {
		return Probe{}, err
	}
	out, err := emit.Module(g, emit.Options{Name: "probe"})
	if err != nil {
		return Probe{}, err
	}
	s, err := stats(g, newCensus(&onnx.Graph{}, g), out)
	if err != nil {
		return Probe{}, err
	}
	return Probe{Kind: kind, Module: out.Bytes, Work: s.Layers[0].Work()}, nil
}
