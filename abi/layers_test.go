package abi

import (
	"reflect"
	"strings"
	"testing"
)

func TestLayersRoundTrip(t *testing.T) {
	layers := []Layer{
		{Function: 3, Name: "conv", Op: "conv", MACs: 9, Kernels: []string{"fill", "gemm_1x2x3"}, Output: []int{1, 2}},
		{Function: 4, Name: "softmax", Op: "softmax"},
	}
	payload, err := EncodeLayers(layers)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeLayers(payload)
	if err != nil || !reflect.DeepEqual(got, layers) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := DecodeLayers([]byte("[{")); err == nil || !strings.Contains(err.Error(), LayersSection) {
		t.Error(err)
	}
}

// Who reads the list adds the counts up and prints the shapes.
func TestLayersThatLie(t *testing.T) {
	for _, payload := range []string{
		`[{"name":"l","macs":-1}]`,
		`[{"name":"k","macs":9223372036854775807},{"name":"l","macs":1}]`,
		`[{"name":"l","output":[1,-1]}]`,
	} {
		if _, err := DecodeLayers([]byte(payload)); err == nil || !strings.Contains(err.Error(), `"l"`) {
			t.Errorf("%.80s: %v", payload, err)
		}
	}
}
