package compiler

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// constant adds a constant of given bytes.
func (n net) constant(name string, t onnx.DType, raw []byte, dims ...int64) net {
	n.Graph.Initializers = append(n.Graph.Initializers, &onnx.Tensor{Name: name, DType: t, Dims: dims, Raw: raw})
	return n
}

// scales adds a constant of small positive numbers that differ.
func (n net) scales(name string, count int64, dims ...int64) net {
	var raw []byte
	for i := range count {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(0.001+0.0003*float32(i)))
	}
	return n.constant(name, onnx.F32, raw, dims...)
}

// dynamicNet is what quantize_dynamic of ONNX Runtime makes of convolutions, plain and depthwise, a product for
// each matrix of a batch and a layer behind them: each quantises its input over the range that it finds, sums
// integers, and scales the sums by both scales. Weights are u8 with a zero point, or i8 with a scale and a zero
// point for each output channel.
func dynamicNet() net {
	n := newNet(2, 3, 7, 5)
	bytes := func(count int) []byte {
		raw := make([]byte, count)
		for i := range raw {
			raw[i] = byte(i*37 + count)
		}
		return raw
	}
	quantised := func(x, out string) { n.op("DynamicQuantizeLinear " + x + " > " + out + " " + out + ".s " + out + ".z") }
	// sums become floats: of q by weights w, whose scales are s, to y
	scaled := func(q, w, sums, y string) {
		n.op("Cast "+sums+" > "+sums+".f", integer("to", int64(onnx.F32)))
		n.op("Mul " + q + ".s " + w + ".s > " + sums + ".s").op("Mul " + sums + ".f " + sums + ".s > " + y)
	}
	n.constant("w1", onnx.U8, bytes(10*3*3*3), 10, 3, 3, 3).constant("w1.z", onnx.U8, []byte{130}).scales("w1.s", 1)
	n.constant("w2", onnx.I8, bytes(10*9), 10, 1, 3, 3).constant("w2.z", onnx.I8, bytes(10), 10).scales("w2.s", 10, 1, 10, 1, 1)
	n.constant("w3", onnx.I8, bytes(2*20*9), 2, 20, 9).constant("w3.z", onnx.I8, []byte{3}).scales("w3.s", 9, 9)
	n.constant("w4", onnx.U8, bytes(9*11), 9, 11).constant("w4.z", onnx.U8, bytes(11), 11).scales("w4.s", 11, 11)
	n.scales("b1", 10, 1, 10, 1, 1).scales("b4", 11, 11).list("rows", 2, 10, 20).scales("six", 1)

	quantised("x", "q1")
	n.op("ConvInteger q1 w1 q1.z w1.z > c1", ints("pads", 1, 1, 1, 1), ints("strides", 2, 1))
	scaled("q1", "w1", "c1", "d1")
	n.op("Add d1 b1 > e1").op("Relu e1 > r1")
	quantised("r1", "q2")
	n.op("ConvInteger q2 w2 q2.z w2.z > c2", ints("pads", 1, 1, 1, 1), integer("group", 10))
	scaled("q2", "w2", "c2", "d2")
	n.op("Sigmoid d2 > r2").op("Reshape r2 rows > m2")
	quantised("m2", "q3")
	n.op("MatMulInteger q3 w3 q3.z w3.z > c3")
	scaled("q3", "w3", "c3", "d3")
	quantised("d3", "q4")
	n.op("MatMulInteger q4 w4 q4.z w4.z > c4")
	scaled("q4", "w4", "c4", "d4")
	return n.op("Add d4 b4 > y")
}

// TestQuantisedWhileItRuns computes every product with integers, and lets three of the four leave the sums of
// their kernel as floats; those of matrices by matrices turn first.
func TestQuantisedWhileItRuns(t *testing.T) {
	checkModel(t, dynamicNet().Model, Options{}, 2e-2) // a sigmoid beside a half is another byte, which weighs up to 128
	mod, err := Compile(encode(dynamicNet().Model), Options{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, l := range mod.Stats.Layers {
		count[l.Op]++
	}
	if count["intconv"] != 4 || count["conv"]+count["matmul"]+count["product"] > 0 {
		t.Errorf("layers are %v, want 4 intconv and no product of floats", count)
	}
	if count["grid"] != 4 || count["ongrid"] != 4 || count["cast"] > 1 {
		t.Errorf("layers are %v, want 4 grid, 4 ongrid and at most 1 cast", count)
	}
}
