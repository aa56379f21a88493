package tflite

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

func models(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/tflite/*.tflite")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d models: %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, p := range paths {
		if all[filepath.Base(p)], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Every conversion has a number, or it would stand in the table for nothing.
func TestTableIsWhole(t *testing.T) {
	if len(converters) != len(byName) {
		t.Errorf("%d conversions by number, %d by name", len(converters), len(byName))
	}
	taken := map[string]bool{}
	for _, n := range names {
		if taken[n] {
			t.Errorf("%s has two numbers", n)
		}
		taken[n] = true
	}
}

// The document lists what is converted, and nothing else.
func TestDocumentListsOperators(t *testing.T) {
	b, err := os.ReadFile("../../../docs/tflite.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	said := map[string]bool{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !(r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_') }) {
		said[w] = true
	}
	for name := range byName {
		if !said[name] {
			t.Errorf("docs/tflite.md lacks %s", name)
		}
	}
	for _, name := range names {
		if said[name] && byName[name] == nil {
			t.Errorf("docs/tflite.md has %s, which is not converted", name)
		}
	}
}

// A quantised picture becomes floats at the border of the model.
func TestBorderIsFloats(t *testing.T) {
	m, err := Parse(models(t)["net.int8.tflite"])
	if err != nil {
		t.Fatal(err)
	}
	in, out, last := m.Graph.Inputs[0], m.Graph.Outputs[0], m.Graph.Nodes[len(m.Graph.Nodes)-1]
	if in.DType != onnx.F32 || len(in.Shape) != 4 || in.Shape[3].Value != 3 {
		t.Errorf("input is %+v", in)
	}
	if last.OpType != "DequantizeLinear" || last.Outputs[0] != out.Name {
		t.Errorf("the model ends with %s, its output is %q", last.OpType, out.Name)
	}
}

// A byte may be wrong: an error or another model, never a panic.
func TestDamage(t *testing.T) {
	for name, b := range models(t) {
		bad := append([]byte{}, b...)
		for at := range b {
			if at%5 != 0 || testing.Short() && at%7 != 0 {
				continue
			}
			for _, v := range []byte{^b[at], 0, b[at]} { // the last one heals it
				bad[at] = v
				if _, err := Parse(bad); err != nil && !errors.Is(err, onnx.ErrMalformed) {
					t.Fatalf("%s with byte %d as %d: %v", name, at, v, err)
				}
			}
		}
	}
}

// A list that claims more elements than the file has bytes is refused before room is made for it.
func TestHugeList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for name, b := range models(t) {
		for range 500 {
			bad := append([]byte{}, b...)
			at := random.IntN(len(b)/4) * 4
			binary.LittleEndian.PutUint32(bad[at:], []uint32{1 << 30, 1<<31 - 1, 1<<32 - 1, 1 << 20}[random.IntN(4)])
			m, err := Parse(bad)
			if err == nil && len(m.Graph.Nodes) > len(b) {
				t.Fatalf("%s with a number at byte %d: %d nodes", name, at, len(m.Graph.Nodes))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range models(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			if !errors.Is(err, onnx.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		size := 0
		for _, x := range m.Graph.Initializers {
			size += len(x.Raw)
		}
		if len(m.Graph.Nodes) > len(b)+16 || size > 8*len(b)+1<<16 {
			t.Errorf("%d bytes give %d nodes and %d bytes of constants", len(b), len(m.Graph.Nodes), size)
		}
	})
}
