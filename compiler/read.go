package compiler

import (
	"fmt"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/compiler/internal/tflite"
)

// parse reads a model in either format; which one its bytes say.
func parse(model []byte) (*onnx.Model, error) {
	if tflite.Is(model) {
		return tflite.Parse(model)
	}
	return onnx.Parse(model)
}

// readFile reads the model at path, with external data beside it.
func readFile(path string) (*onnx.Model, error) {
	b, err := onnx.ReadBytes(path)
	if err != nil {
		return nil, err
	}
	if !tflite.Is(b) {
		return onnx.ParseAt(path, b)
	}
	m, err := tflite.Parse(b)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return m, err
}
