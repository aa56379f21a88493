package compiler

import (
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestConformance runs every ONNX backend case that the compiler takes and compares the module's
// outputs with the case's. Which cases are refused stands in testdata/onnx-refused.txt with the
// reason, so that a case can neither fall out nor come in unseen.
func TestConformance(t *testing.T) {
	root := data(t, "onnx")
	refused := map[string]bool{}
	list, err := os.ReadFile(filepath.Join("testdata", "onnx-refused.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(list), "\n") {
		if name, _, _ := strings.Cut(line, " "); name != "" && name != "#" {
			refused[name] = true
		}
	}
	dirs, err := filepath.Glob(filepath.Join(root, "*", "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases in %s: %v", root, err)
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			m, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			mod, err := compile(m, Options{})
			if err != nil {
				if !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrUnbound) {
					t.Fatalf("neither compiled nor named unsupported: %v", err)
				}
				if !refused[name] {
					t.Fatalf("refused, and not in the list: %v", err)
				}
				return
			}
			if refused[name] {
				t.Fatal("it is in the list of refused cases and compiles: take it out")
			}
			ref, err := load.Model(m, load.Options{})
			if err != nil {
				t.Fatal(err)
			}
			sets, _ := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
			for _, set := range sets {
				runCase(t, mod, ref.Graph, set)
			}
		})
	}
}

func runCase(t *testing.T, mod *Module, g *ir.Graph, set string) {
	t.Helper()
	read := func(pattern string) []*ir.Tensor {
		files, _ := filepath.Glob(filepath.Join(set, pattern))
		sort.Strings(files)
		var out []*ir.Tensor
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			p, err := onnx.ParseTensor(b)
			if err != nil {
				t.Fatal(err)
			}
			x, err := load.Tensor(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, x)
		}
		return out
	}
	in, want := read("input_*.pb"), read("output_*.pb")
	got := instantiate(t, mod.Bytes).infer(in[:min(len(in), len(g.In))], g.Out)
	eval, err := g.Eval(in[:min(len(in), len(g.In))]...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		agree(t, "reference evaluation of "+g.Out[i].Name, eval[i].F, want[i].F, 1e-4)
		agree(t, g.Out[i].Name, got[i].F, want[i].F, 1e-4)
	}
}
