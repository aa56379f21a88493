package compiler

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// odd are the integers that break what was not thought of.
var odd = []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, -1, -2, -3, -7, 1 << 14, 1 << 20, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}

// mutate changes one thing in m: an extent, an attribute, a constant, an operator, who reads what.
func mutate(m *onnx.Model, r *rand.Rand) {
	some := func() int64 {
		if r.IntN(3) > 0 {
			return odd[r.IntN(10)]
		}
		return odd[r.IntN(len(odd))]
	}
	g := m.Graph
	node := g.Nodes[r.IntN(len(g.Nodes))]
	switch r.IntN(9) {
	case 0:
		in := g.Inputs[r.IntN(len(g.Inputs))]
		in.Shape[r.IntN(len(in.Shape))].Value = some()
	case 1, 2:
		if len(node.Attrs) == 0 {
			node.Attrs = append(node.Attrs, integer([]string{"axis", "keepdims", "group", "ceil_mode", "count_include_pad", "transB", "size"}[r.IntN(7)], some()))
			return
		}
		a := node.Attrs[r.IntN(len(node.Attrs))]
		a.I = some()
		if len(a.Ints) > 0 {
			a.Ints[r.IntN(len(a.Ints))] = some()
		}
		if a.Type == onnx.AttrString {
			a.S = []byte([]string{"SAME_UPPER", "SAME_LOWER", "VALID", "linear", "nearest", "half_pixel", "asymmetric", "edge", "wrap", "reflect", "constant", "CRD"}[r.IntN(12)])
		}
	case 3:
		name := []string{"strides", "dilations", "pads", "kernel_shape", "axes", "perm", "output_padding"}[r.IntN(7)]
		if node.Attr(name) == nil {
			v := make([]int64, []int{1, 2, 3, 4}[r.IntN(4)])
			for i := range v {
				v[i] = odd[r.IntN(5)]
			}
			node.Attrs = append(node.Attrs, ints(name, v...))
		}
	case 4, 5:
		if len(g.Initializers) == 0 {
			return
		}
		t := g.Initializers[r.IntN(len(g.Initializers))]
		if t.DType == onnx.I64 && len(t.Raw) > 0 {
			binary.LittleEndian.PutUint64(t.Raw[8*r.IntN(len(t.Raw)/8):], uint64(some()))
			return
		}
		if len(t.Dims) == 0 {
			return
		}
		t.Dims[r.IntN(len(t.Dims))] = odd[r.IntN(9)]
		n := int64(4)
		for _, d := range t.Dims {
			n *= d
		}
		t.Raw = make([]byte, n*int64(t.DType.Bits()/8)/4)
	case 6:
		ops := []string{"Relu", "Exp", "Neg", "Flatten", "Softmax", "GlobalMaxPool", "Transpose", "Identity", "ReduceMax", "Add", "MatMul", "Concat", "MaxPool", "AveragePool", "Squeeze", "Unsqueeze", "Split", "Mul", "DepthToSpace", "InstanceNormalization", "Shape", "Tile", "Expand", "Slice", "Gather"}
		node.OpType = ops[r.IntN(len(ops))]
	case 7:
		if len(node.Inputs) > 0 {
			names := slices.Concat(node.Inputs, g.Nodes[0].Inputs, g.Nodes[r.IntN(len(g.Nodes))].Outputs)
			node.Inputs[r.IntN(len(node.Inputs))] = names[r.IntN(len(names))]
		}
	case 8:
		m.Opsets[""] = []int64{1, 6, 9, 11, 13, 18, 21}[r.IntN(7)]
	}
}

// TestMutatedNets breaks sound models in small ways: each is refused, or computes what the reference
// evaluation does.
func TestMutatedNets(t *testing.T) {
	sound := 0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 5))
		all := soundNets()
		names := []string{}
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		name := names[r.IntN(len(names))]
		m := all[name].Model
		for range 1 + r.IntN(3) {
			mutate(m, r)
		}
		for _, c := range m.Graph.Initializers {
			for i := 0; c.DType == onnx.F32 && i+4 <= len(c.Raw); i += 4 {
				binary.LittleEndian.PutUint32(c.Raw[i:], math.Float32bits(r.Float32()+0.1))
			}
		}
		t.Run(fmt.Sprint(seed, " ", name), func(t *testing.T) {
			mod, err := compile(m, Options{})
			if err != nil {
				return
			}
			if mod.Stats.MACs > 1e6 || mod.Stats.Arena > 1<<20 || len(mod.Bytes) > 1<<20 {
				return // sound, and too slow to compare
			}
			sound++
			ref, in, want := reference(t, m, Options{})
			if want == nil { // an index of the seeded input is outside its axis: the module traps
				return
			}
			got := instantiate(t, mod.Bytes).infer(in, ref.Out)
			for i := range want {
				same(t, ref.Out[i].Name, got[i], want[i], 1e-3)
			}
			checkArena(t, mod, in, ref.Out)
		})
	}
	if sound < 100 {
		t.Errorf("only %d of the mutated models are sound: the mutations are too rough", sound)
	}
	t.Logf("%d of the mutated models are sound", sound)
}
