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
