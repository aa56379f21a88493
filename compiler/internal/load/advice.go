package load

import (
	"fmt"
	"strings"
)

// advices say what can be done about a node that cannot be compiled, the first match counts. They are
// for whoever exports the model, so they name what exporters call things.
var advices = []struct {
	when   func(op, reason string) bool
	advice string
}{
	{says("training"), "export the model for inference: model.eval() before torch.onnx.export, or training=TrainingMode.EVAL"},
	{says("string"), "let the host turn text into numbers, and begin the model behind that (onnx.utils.extract_model)"},
	{named("Random", "Bernoulli", "Multinomial"), "a module has no randomness of its own: make the random numbers an input of the model"},
	{says("sequence", "optional"), "export with tensors in place of lists; exporters write a loop over a list of fixed length out"},
	{says("trips", "goes on is computed", "branches give", "never runs"), "export by tracing, with a fixed number of turns and without branches, so that no control flow is left"},
	{named("NonZero", "Compress", "Unique"), "how many elements it gives is decided by the data: end the model before it (onnx.utils.extract_model) and select on the host, or select with NonMaxSuppression or TopK, which compile"},
	{says("computed while the model runs"), "make it a constant of the model: export with fixed shapes, or fold constants first (onnxsim)"},
	{named("tflite."), "write the layer with the operators of docs/tflite.md before the conversion to TensorFlow Lite, or export the model to ONNX"},
	{named("com.microsoft."), "export without the optimiser of ONNX Runtime, or save its model at the level ORT_ENABLE_BASIC"},
	{func(op, _ string) bool { return strings.Contains(op, ".") && !strings.HasPrefix(op, "ai.onnx.") }, "an operator of the exporter's own: export the layer as standard operators, or compute it on the host before or behind the module (onnx.utils.extract_model)"},
	{says("no such operator"), "write the layer with operators of docs/operators.md before the export, or compute it on the host before or behind the module (onnx.utils.extract_model)"},
	{func(string, string) bool { return true }, "export the layer with another setting; docs/operators.md says which are compiled"},
}

func says(words ...string) func(op, reason string) bool {
	return func(_, reason string) bool {
		for _, w := range words {
			if strings.Contains(reason, w) {
				return true
			}
		}
		return false
	}
}

func named(prefixes ...string) func(op, reason string) bool {
	return func(op, _ string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(op, p) {
				return true
			}
		}
		return false
	}
}

// Advice says what could be done about the node.
func (u Unsupported) Advice() string {
	if u.Fix != "" {
		return fmt.Sprintf("give the input %q its value when compiling (Options.Fixed, --fix %s=…)", u.Fix, u.Fix)
	}
	for _, a := range advices {
		if a.when(u.Op, u.Reason) {
			return a.advice
		}
	}
	return ""
}
