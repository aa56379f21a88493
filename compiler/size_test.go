package compiler

import (
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer/abi"
)

// TestMobileNetSizes holds the sizes that are promised for MobileNetV2 1.0/224 in f32: the arena, the module
// beyond its weights, and the memory of an instance beyond them when it has classified a photo.
func TestMobileNetSizes(t *testing.T) {
	for _, c := range []struct {
		file string
		opt  Options
		size int // of the module, beyond the weights that it carries; 0: TestInt8Weights has it
	}{
		{"mobilenetv2.onnx", Options{}, 150_000},
		{"mobilenetv2.onnx", Options{Weights: WeightsInt8}, 0},
	} {
		mod, err := CompileFile(filepath.Join(data(t, "mobilenetv2"), c.file), c.opt)
		if err != nil {
			t.Fatal(err)
		}
		weights := 4 * mod.Stats.Parameters
		if mod.Stats.Arena > 6_000_000 {
			t.Errorf("the arena has %d bytes, want at most 6 MB", mod.Stats.Arena)
		}
		if more := len(mod.Bytes) - weights; c.size > 0 && more > c.size {
			t.Errorf("the module has %d bytes beyond its weights, want at most %d", more, c.size)
		}
		g := instantiate(t, mod.Bytes)
		if n := int(g.mod.Memory().Size()); n != int(mod.Manifest.Memory.MinPages)*abi.PageSize {
			t.Errorf("the instance has %d bytes, the manifest says %d pages", n, mod.Manifest.Memory.MinPages)
		}
		g.classify(512, 343, noise(512, 343))
		more := int(g.mod.Memory().Size()) - weights
		if more > 8_000_000 {
			t.Errorf("an instance has %d bytes beyond the weights, want at most 8 MB", more)
		}
		t.Logf("arena %d bytes, module weights + %d, instance weights + %d", mod.Stats.Arena, len(mod.Bytes)-weights, more)
	}
}

// A quantised model is carried in a byte for each weight, also with zero points that are not 0.
func TestQuantisedMobileNetSize(t *testing.T) {
	mod, err := CompileFile(data(t, "mobilenetv2/mobilenetv2_qdq.onnx"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(mod.Bytes); n > 3_800_000 {
		t.Errorf("the module has %d bytes, want at most 3.8 MB", n)
	}
}
