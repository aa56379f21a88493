package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// pb writes protobuf messages for the tests; the package itself has no writer.
type pb []byte

func (p pb) int(num protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(p, num, protowire.VarintType), uint64(v))
}

func (p pb) str(num protowire.Number, v string) pb {
	return protowire.AppendString(protowire.AppendTag(p, num, protowire.BytesType), v)
}

func (p pb) msg(num protowire.Number, v pb) pb { return p.str(num, string(v)) }

func (p pb) float(num protowire.Number, v float32) pb {
	return protowire.AppendFixed32(protowire.AppendTag(p, num, protowire.Fixed32Type), math.Float32bits(v))
}

func (p pb) double(num protowire.Number, v float64) pb {
	return protowire.AppendFixed64(protowire.AppendTag(p, num, protowire.Fixed64Type), math.Float64bits(v))
}

func (p pb) packedInts(num protowire.Number, vs ...int64) pb {
	var body []byte
	for _, v := range vs {
		body = protowire.AppendVarint(body, uint64(v))
	}
	return p.str(num, string(body))
}

func (p pb) packedFloats(num protowire.Number, vs ...float32) pb {
	var body []byte
	for _, v := range vs {
		body = protowire.AppendFixed32(body, math.Float32bits(v))
	}
	return p.str(num, string(body))
}

// tensorPB is a TensorProto of that type and shape without data.
func tensorPB(name string, d DType, dims ...int64) pb {
	return pb{}.packedInts(1, dims...).int(2, int64(d)).str(8, name)
}

// nodePB is a node with one input and one output.
func nodePB(op, in, out string) pb { return pb{}.str(1, in).str(2, out).str(4, op) }

// valuePB is a ValueInfoProto of an f32 tensor.
func valuePB(name string, dims ...pb) pb {
	var shape pb
	for _, d := range dims {
		shape = shape.msg(1, d)
	}
	return pb{}.str(1, name).msg(2, pb{}.msg(1, pb{}.int(1, int64(F32)).msg(2, shape)))
}

// modelPB is a model of opset 17 around a graph.
func modelPB(graph pb) pb {
	return pb{}.int(1, 8).str(2, "test").msg(7, graph).msg(8, pb{}.str(1, "").int(2, 17))
}

// smallModel has one of everything that the reader knows.
func smallModel() pb {
	then := pb{}.str(2, "then").msg(1, nodePB("Relu", "x", "y")).msg(12, valuePB("y"))
	attrs := nodePB("Conv", "x", "h").
		msg(5, pb{}.str(1, "alpha").float(2, 0.5).int(20, int64(AttrFloat))).
		msg(5, pb{}.str(1, "group").int(3, 1).int(20, int64(AttrInt))).
		msg(5, pb{}.str(1, "auto_pad").str(4, "SAME_UPPER").int(20, int64(AttrString))).
		msg(5, pb{}.str(1, "scales").packedFloats(7, 1, 2).int(20, int64(AttrFloats))).
		msg(5, pb{}.str(1, "pads").packedInts(8, 0, -1, 1, 1).int(20, int64(AttrInts))).
		msg(5, pb{}.str(1, "keys").str(9, "a").str(9, "b").int(20, int64(AttrStrings))).
		msg(5, pb{}.str(1, "value").msg(5, tensorPB("", F32, 1).packedFloats(4, 7)).int(20, int64(AttrTensor)))
	graph := pb{}.str(2, "g").
		msg(1, attrs).
		msg(1, nodePB("If", "c", "y").msg(5, pb{}.str(1, "then_branch").msg(6, then).int(20, int64(AttrGraph)))).
		msg(5, tensorPB("w", F32, 2, 2).str(9, string(make([]byte, 16)))).
		msg(5, tensorPB("n", I64, 2).packedInts(7, 3, -4)).
		msg(15, pb{}.msg(1, tensorPB("s", F32, 1).packedFloats(4, 1)).msg(2, tensorPB("", I64, 1).packedInts(7, 5)).packedInts(3, 9)).
		msg(11, valuePB("x", pb{}.str(2, "batch"), pb{}.int(1, 3), pb{}, pb{}.int(1, -1))).
		msg(12, valuePB("y")).
		msg(13, valuePB("h"))
	fn := pb{}.str(1, "Twice").str(10, "local").str(4, "x").str(5, "y").str(6, "axis").
		msg(7, nodePB("Add", "x", "y").msg(5, pb{}.str(1, "axis").str(21, "axis").int(20, int64(AttrInt)))).
		msg(9, pb{}.int(2, 17)).
		msg(11, pb{}.str(1, "beta").float(2, 1))
	return modelPB(graph).msg(14, pb{}.str(1, "k").str(2, "v")).msg(25, fn).str(9999, "a field of the future")
}
