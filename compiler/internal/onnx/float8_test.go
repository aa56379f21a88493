package onnx

import (
	"math"
	"testing"
)

// Codes and their values as the papers on the formats list them.
func TestFloat8Codes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		typ  DType
		code byte
		want float32
	}{
		{F8E4M3FN, 0x7e, 448}, {F8E4M3FN, 0x01, 1. / 512}, {F8E4M3FN, 0x38, 1}, {F8E4M3FN, 0xb8, -1}, {F8E4M3FN, 0x7f, nan}, {F8E4M3FN, 0x78, 256},
		{F8E4M3FNUZ, 0x7f, 240}, {F8E4M3FNUZ, 0x40, 1}, {F8E4M3FNUZ, 0x80, nan}, {F8E4M3FNUZ, 0x01, 1. / 1024},
		{F8E5M2, 0x7b, 57344}, {F8E5M2, 0x7c, inf}, {F8E5M2, 0xfc, -inf}, {F8E5M2, 0x7d, nan}, {F8E5M2, 0x01, 1. / 65536},
		{F8E5M2FNUZ, 0x7f, 57344}, {F8E5M2FNUZ, 0x80, nan}, {F8E5M2FNUZ, 0x40, 1},
	} {
		got, err := (&Tensor{DType: c.typ, Raw: []byte{c.code}}).Float32s()
		if err != nil || got[0] != c.want && !(math.IsNaN(float64(got[0])) && math.IsNaN(float64(c.want))) {
			t.Errorf("%v %#x is %v, %v, want %v", c.typ, c.code, got, err, c.want)
		}
	}
	got, err := (&Tensor{DType: F4E2M1, Dims: []int64{3}, Raw: []byte{0xf1, 0x05}}).Float32s()
	if err != nil || got[0] != 0.5 || got[1] != -6 || got[2] != 3 {
		t.Errorf("f4e2m1: %v, %v", got, err)
	}
}
