package tflite

// convert writes the ONNX nodes of one operator.
type convert func(*operator)

// simple is an operator of n operands that ONNX has under another name.
func simple(op string, n int) convert {
	return func(o *operator) {
		var in []string
		for i := range n {
			in = append(in, o.x(i))
		}
		o.give(0, o.do(op, in))
	}
}

// elementwise is one of two operands and a fused activation.
func elementwise(op string) convert {
	return func(o *operator) { o.give(0, o.activated(o.do(op, []string{o.x(0), o.x(1)}), 0)) }
}

// bounded is a clip.
func bounded(lo, hi float32) convert {
	return func(o *operator) { o.give(0, o.clip(o.x(0), lo, hi)) }
}

// listed is one of x and a list of integers that is known now.
func listed(op string) convert {
	return func(o *operator) { o.give(0, o.do(op, []string{o.x(0), o.ints(o.base, o.list(1)...)})) }
}

// names are the operators by their number in the schema, those among them that are converted or that an
// error is likely to name.
var names = map[int]string{
	0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE",
	6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP", 8: "FLOOR", 9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION", 12: "L2_POOL_2D",
	13: "LOCAL_RESPONSE_NORMALIZATION", 14: "LOGISTIC", 16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU",
	20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 24: "RNN", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH",
	27: "SVDF", 28: "TANH", 34: "PAD", 35: "UNIDIRECTIONAL_SEQUENCE_RNN", 36: "GATHER", 37: "BATCH_TO_SPACE_ND",
	38: "SPACE_TO_BATCH_ND", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE",
	44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 46: "BIDIRECTIONAL_SEQUENCE_RNN", 47: "EXP", 48: "TOPK_V2",
	49: "SPLIT", 50: "LOG_SOFTMAX", 51: "DELEGATE", 52: "BIDIRECTIONAL_SEQUENCE_LSTM", 53: "CAST", 54: "PRELU", 55: "MAXIMUM",
	56: "ARG_MAX", 57: "MINIMUM", 58: "LESS", 59: "NEG", 60: "PADV2", 61: "GREATER", 62: "GREATER_EQUAL", 63: "LESS_EQUAL",
	64: "SELECT", 65: "SLICE", 66: "SIN", 67: "TRANSPOSE_CONV", 68: "SPARSE_TO_DENSE", 69: "TILE", 70: "EXPAND_DIMS",
	71: "EQUAL", 72: "NOT_EQUAL", 73: "LOG", 74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW", 79: "ARG_MIN",
	80: "FAKE_QUANT", 81: "REDUCE_PROD", 82: "REDUCE_MAX", 83: "PACK", 84: "LOGICAL_OR", 85: "ONE_HOT", 86: "LOGICAL_AND",
	87: "LOGICAL_NOT", 88: "UNPACK", 89: "REDUCE_MIN", 90: "FLOOR_DIV", 91: "REDUCE_ANY", 92: "SQUARE", 93: "ZEROS_LIKE",
	94: "FILL", 95: "FLOOR_MOD", 96: "RANGE", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE",
	100: "MIRROR_PAD", 101: "ABS", 102: "SPLIT_V", 103: "UNIQUE", 104: "CEIL", 105: "REVERSE_V2", 106: "ADD_N",
	107: "GATHER_ND", 108: "COS", 109: "WHERE", 110: "RANK", 111: "ELU", 114: "QUANTIZE", 116: "ROUND", 117: "HARD_SWISH",
	118: "IF", 119: "WHILE", 120: "NON_MAX_SUPPRESSION_V4", 121: "NON_MAX_SUPPRESSION_V5", 122: "SCATTER_ND",
	123: "SELECT_V2", 124: "DENSIFY", 126: "BATCH_MATMUL", 128: "CUMSUM", 129: "CALL_ONCE", 130: "BROADCAST_TO",
	131: "RFFT2D", 132: "CONV_3D", 142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE", 145: "BROADCAST_ARGS",
	150: "GELU", 152: "RELU_0_TO_1", 158: "SIGN", 206: "STABLEHLO_COMPOSITE",
}

// converters are the conversions by number.
var converters = map[int]convert{}

// byName are the conversions, as people know them.
var byName = map[string]convert{
	"CONV_2D": conv2D, "DEPTHWISE_CONV_2D": depthwise, "TRANSPOSE_CONV": transposeConv, "FULLY_CONNECTED": fullyConnected,
	"BATCH_MATMUL": batchMatMul, "AVERAGE_POOL_2D": pool2D("AveragePool"), "MAX_POOL_2D": pool2D("MaxPool"),

	"ADD": elementwise("Add"), "SUB": elementwise("Sub"), "MUL": elementwise("Mul"), "DIV": elementwise("Div"),
	"MAXIMUM": simple("Max", 2), "MINIMUM": simple("Min", 2), "POW": simple("Pow", 2),
	"ADD_N":              func(o *operator) { o.give(0, o.do("Sum", o.all())) },
	"SQUARED_DIFFERENCE": func(o *operator) { d := o.do("Sub", o.all()); o.give(0, o.do("Mul", []string{d, d})) },

	"RELU": simple("Relu", 1), "RELU6": bounded(0, 6), "RELU_N1_TO_1": bounded(-1, 1), "RELU_0_TO_1": bounded(0, 1),
	"LEAKY_RELU": func(o *operator) { o.give(0, o.do("LeakyRelu", []string{o.x(0)}, float("alpha", o.opt.float(0)))) },
	"PRELU":      simple("PRelu", 2), "ELU": simple("Elu", 1), "HARD_SWISH": simple("HardSwish", 1),
	"GELU": func(o *operator) {
		how := "none"
		if o.opt.bool(0) {
			how = "tanh"
		}
		o.give(0, o.do("Gelu", []string{o.x(0)}, text("approximate", how)))
	},
	"LOGISTIC": simple("Sigmoid", 1), "TANH": simple("Tanh", 1), "SOFTMAX": softmax,
	"LOG_SOFTMAX":      func(o *operator) { o.give(0, o.do("LogSoftmax", []string{o.x(0)}, integer("axis", -1))) },
	"L2_NORMALIZATION": l2Norm,

	"SQRT": simple("Sqrt", 1), "EXP": simple("Exp", 1), "LOG": simple("Log", 1), "ABS": simple("Abs", 1), "NEG": simple("Neg", 1),
	"SIN": simple("Sin", 1), "COS": simple("Cos", 1), "FLOOR": simple("Floor", 1), "CEIL": simple("Ceil", 1),
	"ROUND": simple("Round", 1), "SIGN": simple("Sign", 1),
	"SQUARE": func(o *operator) { x := o.x(0); o.give(0, o.do("Mul", []string{x, x})) },
	"RSQRT":  func(o *operator) { o.give(0, o.do("Reciprocal", []string{o.do("Sqrt", []string{o.x(0)})})) },

	"EQUAL": simple("Equal", 2), "LESS": simple("Less", 2), "LESS_EQUAL": simple("LessOrEqual", 2),
	"GREATER": simple("Greater", 2), "GREATER_EQUAL": simple("GreaterOrEqual", 2),
	"NOT_EQUAL":   func(o *operator) { o.give(0, o.do("Not", []string{o.do("Equal", o.all())})) },
	"LOGICAL_AND": simple("And", 2), "LOGICAL_OR": simple("Or", 2), "LOGICAL_NOT": simple("Not", 1), "SELECT": choose, "SELECT_V2": simple("Where", 3),

	"MEAN": reduce("ReduceMean"), "SUM": reduce("ReduceSum"), "REDUCE_MAX": reduce("ReduceMax"),
	"REDUCE_MIN": reduce("ReduceMin"), "REDUCE_PROD": reduce("ReduceProd"),
	"ARG_MAX": extreme("ArgMax"), "ARG_MIN": extreme("ArgMin"), "TOPK_V2": topK,

	"RESHAPE": reshape, "SQUEEZE": squeeze, "EXPAND_DIMS": listed("Unsqueeze"), "TRANSPOSE": transpose,
	"CONCATENATION": concatenation, "PACK": pack, "UNPACK": unpack, "SPLIT": split, "SPLIT_V": splitV, "SLICE": slice,
	"STRIDED_SLICE": stridedSlice, "TILE": listed("Tile"), "BROADCAST_TO": listed("Expand"), "GATHER": gather,
	"GATHER_ND": func(o *operator) { o.give(0, o.do("GatherND", []string{o.x(0), o.raw(1)})) },
	"FILL":      func(o *operator) { o.give(0, o.do("Expand", []string{o.x(1), o.ints(o.base, o.list(0)...)})) },
	"PAD":       pad("constant"), "PADV2": pad("constant"), "MIRROR_PAD": pad("reflect"),
	"RESIZE_BILINEAR": resize("linear", 2), "RESIZE_NEAREST_NEIGHBOR": resize("nearest", 0),
	"SPACE_TO_DEPTH": blocks("SpaceToDepth"), "DEPTH_TO_SPACE": blocks("DepthToSpace"),

	"SHAPE":    func(o *operator) { o.as(0, o.do("Shape", []string{o.raw(0)})) },
	"CAST":     func(o *operator) { o.as(0, o.x(0)) },
	"QUANTIZE": func(o *operator) { o.give(0, o.x(0)) },
	// Of f16 it is a cast, which computing in f32 makes a view.
	"DEQUANTIZE": func(o *operator) { o.as(0, o.x(0)) },
}

func init() {
	numbers := map[string]int{}
	for n, name := range names {
		numbers[name] = n
	}
	for name, c := range byName {
		converters[numbers[name]] = c
	}
}
