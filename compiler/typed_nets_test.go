package compiler

import "github.com/isomer-iot/isomer/compiler/internal/onnx"

// typedNets are sound nets of operators of other element types, of indices, and of formulas, for the
// fuzzer and the mutations.
func typedNets() map[string]net {
	cast := func(to onnx.DType) *onnx.Attribute { return integer("to", int64(to)) }
	return map[string]net{
		"compare": newNet(2, 3, 4).weights("w", 4).op("Less x w > a").op("Equal x x > b").op("Xor a b > c").op("Not c > d").op("Where d x w > e").
			op("IsNaN e > f").op("Cast f > g", cast(onnx.U8)).op("GreaterOrEqual w x > h").op("Cast h > i", cast(onnx.U8)).op("Add g i > y"),
		"bits": newNet(2, 5).op("Cast x > a", cast(onnx.I32)).op("BitwiseNot a > b").op("BitwiseAnd a b > c").op("Cast c > d", cast(onnx.U16)).
			op("BitShift d d > e", text("direction", "LEFT")).op("Mod e e > y"),
		"curves of one": newNet(2, 3).op("Sin x > a").op("Atan a > b").op("Cosh b > c").op("Acosh c > d").op("Asinh d > e").op("Atanh b > f").op("Pow c f > g").op("Mod g e > y", integer("fmod", 1)),
		"places": newNet(3, 7).op("ArgMax x > a", integer("axis", 1)).op("GatherElements x a > b", integer("axis", 1)).op("Squeeze a > c").
			op("OneHot c d v > e").list("d", 7).weights("v", 2).op("CumSum e ax > f").list("ax", 1).op("Mul f b > y"),
		"topk": newNet(2, 6).list("k", 3).op("TopK x k > v i", integer("axis", 1)).op("Cast i > f", cast(onnx.F32)).op("Sub v f > y"),
		"scatter": newNet(4, 3).op("Cast x > i", cast(onnx.I64)).op("ScatterElements x i x > a", integer("axis", 1), text("reduction", "add")).
			list("p", 0, 2).list("q", 2, 1).op("Reshape p q > r").list("h", 0, 0).list("f", 2, 3).op("Slice a h f > b").op("ScatterND x r b > c", text("reduction", "mul")).op("GatherND c r > y"),
		"masks": newNet(2, 4, 4).op("Trilu x > a", integer("upper", 0)).op("EyeLike e > f").weights("e", 4, 4).op("Mul a f > b").list("l", 3, 1).
			op("ReverseSequence b l > c", integer("time_axis", 1), integer("batch_axis", 0)).op("Compress c m > y", integer("axis", 2)).list("m", 1, 0, 1),
		"forms": newNet(2, 4, 6).op("Hardmax x > a").op("LpNormalization x > b", integer("p", 1)).op("Add a b > c").op("Shrink c > d").op("Celu d > e").op("Swish e > f").
			op("GroupNormalization f s s > g", integer("num_groups", 2)).weights("s", 4).op("RMSNormalization g w > h").weights("w", 6).op("ReduceLogSumExp h > i", ints("axes", 1)).op("ReduceProd i > y"),
		"einsum": newNet(2, 3, 4).weights("w", 4, 5).op("Einsum x w > a", text("equation", "bij,jk->bki")).op("Einsum a > y", text("equation", "...ij->...i")),
		"deep": newNet(1, 2, 4, 4, 4).weights("w", 3, 2, 2, 2, 2).op("Conv x w > a").op("MaxPool a > b", ints("kernel_shape", 2, 2, 2)).op("AveragePool b > c", ints("kernel_shape", 2, 1, 2)).
			weights("u", 3, 2, 2, 2, 2).op("ConvTranspose c u > d", ints("strides", 2, 1, 2)).op("LpPool d > y", ints("kernel_shape", 2, 2, 2)),
		"own weights": newNet(1, 2, 5, 5).input("w", 4, 2, 3, 3).op("Conv x w > a", ints("pads", 1, 1, 1, 1)).input("u", 4, 2, 2, 2).op("ConvTranspose a u > y", integer("group", 2)),
		"unpool":      newNet(1, 2, 4, 4).op("MaxPool x > v i", ints("kernel_shape", 2, 2), ints("strides", 2, 2)).op("MaxUnpool v i > y", ints("kernel_shape", 2, 2), ints("strides", 2, 2)),
		"cubic":       newNet(1, 1, 4, 5).list("e").list("s", 1, 1, 3, 7).op("Resize x e e s > y", text("mode", "cubic"), integer("antialias", 1)),
		"grid":        newNet(1, 2, 4, 4).input("g", 1, 3, 2, 2).op("GridSample x g > y", text("padding_mode", "reflection"), text("mode", "bicubic")),
		"regions":     newNet(1, 2, 6, 6).input("r", 3, 4).list("b", 0, 0, 0).op("RoiAlign x r b > y", integer("output_height", 2), integer("output_width", 3), integer("sampling_ratio", 2)),
		"moved taps": newNet(2, 4, 5, 4).weights("w", 6, 2, 2, 3).input("o", 2, 24, 4, 2).weights("b", 6).input("m", 2, 12, 4, 2).
			op("DeformConv x w o b m > y", integer("group", 2), integer("offset_group", 2)),
		"bins":  newNet(2, 3, 6, 7).weights("r", 3, 5).op("Abs r > s").op("MaxRoiPool x s > y", ints("pooled_shape", 2, 3)),
		"grams": newNet(2, 9).op("Round x > r").op("Cast r > i", cast(onnx.I64)).op("TfIdfVectorizer i > y", text("mode", "TF"), ints("pool_int64s", 0, 1, -1, 0, 1, 1, 0), ints("ngram_counts", 0, 3), ints("ngram_indexes", 2, 0, 1, 4, 3), integer("min_gram_length", 1), integer("max_gram_length", 2), integer("max_skip_count", 2)),
		"lists": newNet(5, 3).list("two", 2).op("SplitToSequence x > l", integer("keepdims", 0)).op("SequenceAt l two > a").op("SequenceInsert l a two > m").
			op("SequenceErase m > k").op("ConcatFromSequence k > y", integer("axis", -1), integer("new_axis", 1)),
		"small floats": newNet(3, 7).op("Cast x > a", cast(onnx.F8E5M2)).op("Cast a > y", cast(onnx.F8E4M3FN), integer("saturate", 0)),
		"sums along":   newNet(2, 3, 4).op("Relu x > r").op("ReduceMax r > m", integer("keepdims", 0)).op("Cast m > i", cast(onnx.I64)).list("two", 2).op("Min i two > a").op("CumSum x a > y", integer("reverse", 1)),
		"states": newNet(1, 4, 6).weights("w", 4, 1, 3).op("CausalConvWithState x w > c s", text("activation", "silu")).op("LinearAttention c x x > l n", integer("q_num_heads", 2), integer("kv_num_heads", 2), text("update_rule", "linear")).
			op("ReduceSum n > r").op("Add l r > y"),
		"nibbles": newNet(2, 8).op("Cast x > a", cast(onnx.I4)).op("Cast a > b", cast(onnx.F32)).op("Cast b > y", cast(onnx.U4)),
		"loss": newNet(3, 5).list("t", 1, 4, 0).weights("w", 5).op("SoftmaxCrossEntropyLoss x t w > a p", integer("ignore_index", 0)).op("NegativeLogLikelihoodLoss p t > b").
			op("Add a b > y"),
		"heads":  newNet(2, 4, 6).op("Attention x x x > a", integer("q_num_heads", 3), integer("kv_num_heads", 3), integer("is_causal", 1)).weights("c", 2, 4, 1).op("RotaryEmbedding a c c > y", integer("num_heads", 3)),
		"blocks": newNet(1, 8, 6).list("i", 3, 4).list("k", 2, 2).op("Col2Im x i k > y"),
		"pads":   newNet(2, 3).list("s", 5, 2).op("CenterCropPad x s > a").list("p", 1, 0, 0, 1).input("v", 1).op("Pad a p v > y"),
	}
}
