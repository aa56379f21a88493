package compiler

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// A quantised block as exporters write it, pointwise, depthwise and a residual sum between quantisations,
// computes with bytes from one end to the other, and agrees with what it means.
func TestQuantisedBlockComputesWithBytes(t *testing.T) {
	m := &onnx.Model{IRVersion: 8, Opsets: map[string]int64{"": 17}, Graph: &onnx.Graph{Name: "block"}}
	g := m.Graph
	add := func(name string, dtype onnx.DType, raw []byte, dims ...int64) string {
		g.Initializers = append(g.Initializers, &onnx.Tensor{Name: name, DType: dtype, Dims: dims, Raw: raw})
		return name
	}
	scale := func(name string, v ...float32) string {
		var raw []byte
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		if len(v) == 1 {
			return add(name, onnx.F32, raw)
		}
		return add(name, onnx.F32, raw, int64(len(v)))
	}
	node := func(op, out string, in []string, attrs ...*onnx.Attribute) string {
		g.Nodes = append(g.Nodes, &onnx.Node{OpType: op, Name: out, Inputs: in, Outputs: []string{out}, Attrs: attrs})
		return out
	}
	zero := add("zero", onnx.U8, []byte{7})
	between := func(v string, s float32) string { // quantise and dequantise
		step := scale(v+".scale", s)
		return node("DequantizeLinear", v+".d", []string{node("QuantizeLinear", v+".q", []string{v, step, zero}), step, zero})
	}
	weights := func(name string, dims ...int64) string { // int8, a scale for each output channel
		raw, steps, none := make([]byte, dims[0]*dims[1]*dims[2]*dims[3]), make([]float32, dims[0]), make([]byte, dims[0])
		for i := range raw {
			raw[i] = byte(i * 37)
		}
		for i := range steps {
			steps[i] = 0.001 * float32(i+1)
		}
		q := add(name+".q", onnx.I8, raw, dims...)
		z := add(name+".zero", onnx.I8, none, dims[0])
		return node("DequantizeLinear", name, []string{q, scale(name+".scale", steps...), z}, &onnx.Attribute{Name: "axis", Type: onnx.AttrInt})
	}
	const channels = 12
	g.Inputs = []*onnx.ValueInfo{{Name: "x", Kind: "tensor", DType: onnx.F32, HasShape: true,
		Shape: []onnx.Dim{{Value: 1, Known: true}, {Value: channels, Known: true}, {Value: 7, Known: true}, {Value: 5, Known: true}}}}
	x := between("x", 0.01)
	y := between(node("Conv", "pointwise", []string{x, weights("w1", channels, channels, 1, 1)}), 0.02)
	y = between(node("Conv", "depthwise", []string{y, weights("w2", channels, 1, 3, 3)},
		&onnx.Attribute{Name: "group", Type: onnx.AttrInt, I: channels}, &onnx.Attribute{Name: "pads", Type: onnx.AttrInts, Ints: []int64{1, 1, 1, 1}}), 0.05)
	y = between(node("Add", "sum", []string{x, y}), 0.04)
	g.Outputs = []*onnx.ValueInfo{{Name: y}}

	checkModel(t, m, Options{}, 0.041) // a step of the result
	mod, err := Compile(encode(m), Options{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, l := range mod.Stats.Layers {
		count[l.Op]++
	}
	if count["intconv"] != 2 || count["intbinary"] != 1 || count["conv"]+count["binary"] > 0 {
		t.Errorf("layers are %v, want two intconv and one intbinary", count)
	}
}
