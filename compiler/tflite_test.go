package compiler

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/tflite"
)

// tfliteFile is a file that testdata/tflite/generate.py wrote.
func tfliteFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "tflite", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tfliteFloats(t testing.TB, name string) []float32 {
	b := tfliteFile(t, name)
	f := make([]float32, len(b)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return f
}

// A module computes what the interpreter of TensorFlow Lite does: floats to rounding, integers to one step.
func TestTFLiteMatchesItsInterpreter(t *testing.T) {
	for _, c := range []struct {
		name string
		tol  float64
	}{
		{"net.f32", 1e-6}, {"net.f16", 1e-6}, {"net.int8", 1.01 / 256},
		{"parts.f32", 1e-5}, {"parts.int8", 0.035}, // its result is between 0 and 8: a step is 0.03
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parse(tfliteFile(t, c.name+".tflite"))
			if err != nil {
				t.Fatal(err)
			}
			checkModel(t, m, Options{}, c.tol)

			mod, err := CompileFile(filepath.Join("testdata", "tflite", c.name+".tflite"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if mod.Manifest.Name != c.name {
				t.Errorf("the module is called %q", mod.Manifest.Name)
			}
			ref, _, _ := reference(t, m, Options{})
			in, out := ir.NewTensor(ref.In[0].Type), ir.NewTensor(ref.Out[0].Type)
			in.F, out.F = tfliteFloats(t, c.name+".x"), tfliteFloats(t, c.name+".y")
			got := instantiate(t, mod.Bytes).infer([]*ir.Tensor{in}, ref.Out)[0]
			same(t, "the result", got, out, c.tol)
			if strings.HasPrefix(c.name, "net") && (mod.Manifest.Image == nil || mod.Manifest.Image.Width != 10) {
				t.Errorf("the model takes pictures, the manifest says %+v", mod.Manifest.Image)
			}
		})
	}
}

// What TensorFlow Lite quantised computes with bytes, and nothing is turned between channels first and
// last while it runs.
func TestTFLiteIntegersStayIntegers(t *testing.T) {
	mod, err := Compile(tfliteFile(t, "net.int8.tflite"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, l := range mod.Stats.Layers {
		count[l.Op]++
	}
	if count["intconv"] != 4 || count["intbinary"] != 1 || count["conv"]+count["binary"]+count["matmul"]+count["transpose"] > 0 {
		t.Errorf("layers are %v, want four intconv and one intbinary", count)
	}
}

func TestTFLiteUnsupported(t *testing.T) {
	_, err := Compile(tfliteFile(t, "beyond.tflite"), Options{})
	u, ok := errors.AsType[*UnsupportedError](err)
	if !ok || !errors.Is(err, ErrUnsupported) {
		t.Fatal(err)
	}
	text := ""
	for _, n := range u.Nodes {
		text += n.Op + ": " + n.Reason + "; " + n.Advice() + "\n"
	}
	for _, want := range []string{"tflite.CUMSUM: no such operator", "tflite.MIRROR_PAD: symmetric padding", "docs/tflite.md"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// Damaged files give an error of their kind.
func TestTFLiteDamaged(t *testing.T) {
	whole := tfliteFile(t, "net.int8.tflite")
	for n := 8; n < len(whole); n += 1 + n/16 {
		if _, err := Compile(whole[:n], Options{}); err == nil {
			t.Errorf("the first %d bytes of %d compile", n, len(whole))
		}
	}
	if _, err := Compile(whole[:100], Options{}); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "malformed TensorFlow Lite") {
		t.Error(err)
	}
	if !tflite.Is(whole) {
		t.Error("not known as TensorFlow Lite")
	}
}
