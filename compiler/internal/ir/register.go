package ir

import "reflect"

// Operators that stand for whole layers or models, beside the list in text.go.
func init() {
	for _, op := range []Op{Trees{}, Classify{}, Quantize{}, Dequantize{}, IntConv{}, IntBinary{}, Lookup{}, Grid{}, OnGrid{}, NonMaxSuppression{}, RoiAlign{}} {
		ops[op.Name()] = reflect.TypeOf(op)
	}
}
