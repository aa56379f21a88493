package ir

import "reflect"

// Operators that stand for whole layers or models, beside the list in text.go.
func init() {
	for _, op := range []Op{Trees{}, Classify{}, Quantize{}, Dequantize{}, IntConv{}, IntBinary{}, Lookup{}, NonMaxSuppression{}} {
		ops[op.Name()] = reflect.TypeOf(op)
	}
}
