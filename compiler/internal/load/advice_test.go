package load

import (
	"fmt"
	"strings"
	"testing"
)

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		node Unsupported
		want string
	}{
		{Unsupported{Op: "Reshape", Reason: "input 1 (s) is computed while the model runs; it must be a constant", Fix: "shape"}, "--fix shape=…"},
		{Unsupported{Op: "Reshape", Reason: "input 1 (s) is computed while the model runs; it must be a constant"}, "fixed shapes"},
		{Unsupported{Op: "NonZero", Reason: "input 0 (Greater_1) is computed while the model runs; it must be a constant"}, "NonMaxSuppression"},
		{Unsupported{Op: "BatchNormalization", Reason: "training mode"}, "model.eval()"},
		{Unsupported{Op: "StringNormalizer", Reason: "elements that are strings"}, "text into numbers"},
		{Unsupported{Op: "RandomNormal", Reason: "no such operator in this compiler"}, "randomness"},
		{Unsupported{Op: "SequenceMap", Reason: "a sequence of 3 tensors"}, "lists"},
		{Unsupported{Op: "Loop", Reason: "whether it goes on is computed while the model runs"}, "tracing"},
		{Unsupported{Op: "com.microsoft.Frob", Reason: "no such operator in this compiler"}, "ORT_ENABLE_BASIC"},
		{Unsupported{Op: "my.lab.Frob", Reason: "no such operator in this compiler"}, "exporter's own"},
		{Unsupported{Op: "ai.onnx.ml.Frob", Reason: "no such operator in this compiler"}, "docs/operators.md"},
		{Unsupported{Op: "Resize", Reason: `mode "lanczos"`}, "another setting"},
	} {
		if got := c.node.Advice(); !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: advice %q, want one with %q", c.node.Op, c.node.Reason, got, c.want)
		}
	}
}

// The text of a model with a million nodes that do not compile stays one that a person can scroll through.
func TestUnsupportedErrorIsBounded(t *testing.T) {
	var e UnsupportedError
	for i := range 2 * maxListed {
		e.Nodes = append(e.Nodes, Unsupported{Node: fmt.Sprint("n", i), Op: "Frob", Reason: "no such operator"})
	}
	text := e.Error()
	if n := strings.Count(text, "Frob"); n != maxListed || !strings.Contains(text, fmt.Sprintf("and %d more", maxListed)) {
		t.Errorf("%d nodes are listed, want %d and the number of the rest", n, maxListed)
	}
}
