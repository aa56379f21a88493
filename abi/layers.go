package abi

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// LayersSection is the name of the custom section that lists the layers of a compiled network, for tools
// that measure or draw them. Nothing else reads it; a module works as well without it.
const LayersSection = "isomer.layers"

// Layer is one operation of a compiled network: a function without parameters and results that computes
// its output from values in memory. ExportRun calls the layers in their order.
type Layer struct {
	// Function is the index of the layer's function in the module.
	Function uint32 `json:"function"`
	// Name is the name of the model's node, Op the operation that computes it.
	Name string `json:"name"`
	Op   string `json:"op"`
	// MACs is the number of multiply-adds of one run, which may be beyond an int of a 32-bit host.
	MACs int64 `json:"macs,omitempty"`
	// Kernels are the distinct kernels that it calls, in their order.
	Kernels []string `json:"kernels,omitempty"`
	// Output is the shape of its first result.
	Output []int `json:"output,omitempty"`
}

// EncodeLayers returns the content of the section LayersSection.
func EncodeLayers(layers []Layer) ([]byte, error) { return json.Marshal(layers) }

// DecodeLayers reads the content of the section LayersSection. Its numbers add up: no count or extent is
// negative, and the multiply-adds of all layers fit an int64. The indices of functions are not checked.
func DecodeLayers(payload []byte) ([]Layer, error) {
	var layers []Layer
	if err := json.Unmarshal(payload, &layers); err != nil {
		return nil, fmt.Errorf("section %s: %w", LayersSection, err)
	}
	left := int64(math.MaxInt64)
	for i, l := range layers {
		if l.MACs < 0 || l.MACs > left {
			return nil, fmt.Errorf("section %s: layer %d, %q: %d multiply-adds", LayersSection, i, l.Name, l.MACs)
		}
		left -= l.MACs
		if slices.ContainsFunc(l.Output, func(n int) bool { return n < 0 }) {
			return nil, fmt.Errorf("section %s: layer %d, %q: an output of the shape %.80s", LayersSection, i, l.Name, fmt.Sprint(l.Output))
		}
	}
	return layers, nil
}
