package compiler

import (
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
)

// TestConformance runs every ONNX backend case that the compiler takes and compares the module's
// outputs with the case's, on each engine. Which cases are refused stands in conformance/onnx-excluded.txt with the
// reason, so that a case can neither fall out nor come in unseen.
//
// A folder named node, of the ONNX node tests, may stand beside those of the shared data; inputs that
// must be known at compile time, such as axes, are fixed to the case's values.
func TestConformance(t *testing.T) {
	root := data(t, "onnx")
	refused := refusedCases(t)
	dirs, err := filepath.Glob(filepath.Join(root, "*", "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases in %s: %v", root, err)
	}
	sort.Strings(dirs)
	all := eachEngine(t, false)
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			m, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			sets, _ := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
			err = ErrUnsupported
			for _, set := range sets {
				if err = runCase(t, all, m, set); err != nil {
					break
				}
			}
			switch {
			case err == nil && refused[name]:
				t.Fatal("it is in the list of refused cases and passes: take it out")
			case err != nil && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrUnbound):
				t.Fatalf("neither compiled nor named unsupported: %v", err)
			case err != nil && !refused[name]:
				t.Fatalf("refused, and not in the list: %v", err)
			}
		})
	}
	all.inV8()
}

// TestLightNetworks runs whole networks whose weights are all equal. Their input is i/n for element i of n,
// as the ONNX backend tests have it.
func TestLightNetworks(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(data(t, "onnx"), "light", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Skipf("no light networks beside the cases: %v", err)
	}
	// 61, 87 and 143 million weights out of nothing need a budget.
	all := eachEngine(t, true)
	large := map[string]bool{"light_bvlc_alexnet": true, "light_zfnet512": true, "light_vgg19": true}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("minutes of constants")
			}
			m, err := onnx.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			mod, err := compile(m, Options{})
			if err != nil && large[name] {
				mod, err = compile(m, Options{Budget: 1 << 30})
			}
			if err != nil {
				t.Fatal(err)
			}
			compiled := time.Since(began)
			var in []*ir.Tensor
			for _, spec := range mod.Manifest.Inputs {
				x := ir.NewTensor(ir.Of(ir.F32, spec.Shape...))
				for i := range x.F {
					x.F[i] = float32(float64(i) / float64(len(x.F)))
				}
				in = append(in, x)
			}
			var out []*ir.Value
			for _, spec := range mod.Manifest.Outputs {
				out = append(out, &ir.Value{Type: ir.Of(ir.F32, spec.Shape...)})
			}
			got := instantiate(t, mod.Bytes).infer(in, out)
			t.Logf("compiled in %v, %d MB, ran by %v", compiled, len(mod.Bytes)>>20, time.Since(began))
			for i := range got {
				want, tol, err := caseTensor(t, strings.TrimSuffix(file, ".onnx")+"_output_"+strconv.Itoa(i)+".pb")
				if err != nil {
					t.Fatal(err)
				}
				same(t, out[i].Name, got[i], want, tol)
			}
			all.agree(t, mod.Bytes, in, got)
			all.inV8() // modules of half a gigabyte: one at a time
		})
	}
}

func refusedCases(t *testing.T) map[string]bool {
	t.Helper()
	refused := map[string]bool{}
	list, err := os.ReadFile(filepath.Join("..", "conformance", "onnx-excluded.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(list), "\n") {
		if name, _, _ := strings.Cut(line, " "); name != "" && name != "#" {
			refused[name] = true
		}
	}
	return refused
}

// caseTensor is a file of a case; the tolerance follows the type that the case has it in.
func caseTensor(t *testing.T, path string) (*ir.Tensor, float64, error) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := onnx.ParseTensor(b)
	if err != nil {
		t.Fatal(err)
	}
	x, err := load.Tensor(p)
	switch p.DType {
	case onnx.F16:
		return x, 2e-3, err
	case onnx.BF16:
		return x, 1.6e-2, err
	}
	return x, 1e-4, err
}

// runCase compiles m for one set of data and runs it. An error is the compiler's.
func runCase(t *testing.T, all *everywhere, m *onnx.Model, set string) error {
	t.Helper()
	known := map[string]bool{}
	for _, c := range m.Graph.Initializers {
		known[c.Name] = true
	}
	inputs := map[string]*ir.Tensor{}
	at := 0
	for _, in := range m.Graph.Inputs {
		path := filepath.Join(set, "input_"+strconv.Itoa(at)+".pb")
		if _, err := os.Stat(path); err != nil || known[in.Name] {
			continue
		}
		if in.Kind != "tensor" {
			return ErrUnsupported
		}
		at++
		x, _, err := caseTensor(t, path)
		if err != nil {
			return err
		}
		inputs[in.Name] = x
	}
	opt := Options{Fixed: map[string][]float64{}, Dims: map[string]int{}}
	mod, err := compileCase(m, &opt, inputs)
	if err != nil {
		return err
	}
	ref, err := load.Model(m, load.Options{Fixed: opt.Fixed, Dims: opt.Dims})
	if err != nil {
		t.Fatal(err)
	}
	var in []*ir.Tensor
	for _, v := range ref.Graph.In {
		in = append(in, inputs[v.Name])
	}
	eval, err := ref.Graph.Eval(in...)
	if err != nil {
		t.Fatal(err)
	}
	got := instantiate(t, mod.Bytes).infer(in, ref.Graph.Out)
	for i := range got {
		want, tol, err := caseTensor(t, filepath.Join(set, "output_"+strconv.Itoa(i)+".pb"))
		if err != nil {
			return err
		}
		same(t, "reference evaluation of "+ref.Graph.Out[i].Name, eval[i], want, tol)
		same(t, ref.Graph.Out[i].Name, got[i], want, tol)
	}
	all.agree(t, mod.Bytes, in, got)
	checkArena(t, mod, in, ref.Graph.Out)
	return nil
}

// compileCase fixes inputs to the case's values while the compiler asks for them, and gives symbolic
// dimensions the case's extents.
func compileCase(m *onnx.Model, opt *Options, inputs map[string]*ir.Tensor) (*Module, error) {
	for _, in := range m.Graph.Inputs {
		for a, d := range in.Shape {
			if x := inputs[in.Name]; x != nil && !d.Known && a < len(x.Shape) && x.Shape[a] > 0 {
				name := d.Param
				if name == "" {
					name = in.Name + "." + strconv.Itoa(a)
				}
				opt.Dims[name] = x.Shape[a]
			}
		}
	}
	for {
		mod, err := compile(m, *opt)
		var un *UnsupportedError
		if !errors.As(err, &un) {
			return mod, err
		}
		before := len(opt.Fixed)
		for _, n := range un.Nodes {
			x := inputs[n.Fix]
			if n.Fix == "" || x == nil {
				continue
			}
			values := make([]float64, x.Shape.Elems())
			for i := range values {
				if x.DType.Float() {
					values[i] = float64(x.F[i])
				} else {
					values[i] = float64(x.I[i])
				}
			}
			opt.Fixed[n.Fix] = values
		}
		if len(opt.Fixed) == before {
			return nil, err
		}
	}
}
