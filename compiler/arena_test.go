package compiler

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/fence"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
	"github.com/isomer-iot/isomer/wasm"
)

// fenced is the module with a check before each access to memory:
//
//   - run reads the arena and the constants, and up to 12 bytes beyond, as package kernel says; it writes
//     the arena alone,
//   - the start function writes the constants, which it makes of bytes,
//   - the functions around the network read and write what run may not: the heap and their own places
//     beyond the constants, and with the Wasmtube convention all from its address 42 to the arena's end.
//
// No function touches the weights when the instance has started, or anything below 42. Package emit
// holds each layer to its own outputs.
func fenced(t testing.TB, mod *Module) []byte {
	t.Helper()
	m, err := wasm.Decode(mod.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	up := func(n int64) int64 { return (n + plan.Align - 1) / plan.Align * plan.Align }
	arena := fence.Range{From: plan.ArenaBase, To: plan.ArenaBase + int64(mod.Stats.Arena)}
	consts := fence.Range{From: up(arena.To + plan.Align), To: up(up(arena.To+plan.Align) + int64(mod.Stats.Consts))}
	beyond := fence.Range{From: consts.To, To: fence.End}
	for _, d := range m.Data {
		from, ok := d.Offset.I32()
		if at := int64(from); !ok || at < consts.From || at+int64(len(d.Bytes)) > consts.To {
			t.Fatalf("a data segment of %d bytes at %d, constants are %v", len(d.Bytes), at, consts)
		}
	}
	const slack = 12
	rules := map[uint32]fence.Rule{}
	set := func(name string, r fence.Rule) {
		if e, ok := m.Exported(name); ok {
			rules[e.Index] = r
		}
	}
	set(abi.ExportRun, fence.Rule{
		Load:  []fence.Range{{From: arena.From, To: consts.To + slack}},
		Store: []fence.Range{arena},
	})
	set("predict", fence.Rule{
		Load:  []fence.Range{{From: 42, To: fence.End}},
		Store: []fence.Range{{From: 42, To: arena.To}, beyond},
	})
	if m.Start != nil {
		rules[*m.Start] = fence.Rule{Load: []fence.Range{{From: consts.From, To: consts.To + slack}}, Store: []fence.Range{consts}}
	}
	around := fence.Rule{Load: []fence.Range{{From: arena.From, To: fence.End}}, Store: []fence.Range{arena, beyond}}
	if err := fence.Rewrite(m, around, rules); err != nil {
		t.Fatal(err)
	}
	return m.Encode()
}

// checkArena runs the module on inputs with its accesses checked, twice, and compares the outputs bit for
// bit with those of the module as it is.
func checkArena(t testing.TB, mod *Module, in []*ir.Tensor, out []*ir.Value) {
	t.Helper()
	plain, checked := instantiate(t, mod.Bytes), instantiate(t, fenced(t, mod))
	for range 2 {
		want := plain.infer(in, out)
		for i, x := range checked.infer(in, out) {
			if string(elements(x)) != string(elements(want[i])) {
				t.Fatalf("output %d differs when accesses are checked", i)
			}
		}
	}
}

// seeded are inputs and places for outputs, as the manifest has them.
func seeded(mod *Module) (in []*ir.Tensor, out []*ir.Value) {
	typ := func(s abi.TensorSpec) ir.Type {
		for d := ir.F32; ; d++ {
			if d.String() == string(s.DType) {
				return ir.Type{DType: d, Shape: s.Shape}
			}
		}
	}
	for i, s := range mod.Manifest.Inputs {
		x := ir.NewTensor(typ(s))
		ir.Fill(x, uint64(i)+1)
		in = append(in, x)
	}
	for _, s := range mod.Manifest.Outputs {
		out = append(out, &ir.Value{Name: s.Name, Type: typ(s)})
	}
	return in, out
}

// TestArenaOfSmallNets: every net of the tests of this package, in both forms of weights, stays in its
// arena; also those that take pictures, of odd sizes.
func TestArenaOfSmallNets(t *testing.T) {
	pictures := 0
	for name, n := range soundNets() {
		for _, weights := range []Weights{WeightsF32, WeightsInt8} {
			t.Run(fmt.Sprint(name, " ", weights), func(t *testing.T) {
				mod, err := Compile(encode(n.Model), Options{Weights: weights})
				if err != nil {
					t.Fatal(err)
				}
				in, out := seeded(mod)
				_, _, want := reference(t, n.Model, Options{})
				if want == nil {
					return // an index outside its axis
				}
				checkArena(t, mod, in, out)
				if mod.Manifest.Image != nil {
					pictures++
					checkPictures(t, mod)
				}
			})
		}
	}
	if pictures == 0 {
		t.Error("none of the nets takes a picture")
	}
}

// checkPictures shows pictures of odd sizes to the module with its accesses checked, in both conventions.
func checkPictures(t testing.TB, mod *Module) {
	t.Helper()
	g, plain := instantiate(t, fenced(t, mod)), instantiate(t, mod.Bytes)
	im := mod.Manifest.Image
	for _, s := range [][2]int{{1, 1}, {1, 9}, {40, 1}, {7, 6}, {3, 2}, {31, 17}, {9, 50}, {200, 3}, {im.Width, im.Height}, {im.Width + 1, im.Height - 1}} {
		if s[1] == 0 {
			continue
		}
		rgb := noise(s[0], s[1])
		if got, want := fmt.Sprint(g.classify(s[0], s[1], rgb)), fmt.Sprint(plain.classify(s[0], s[1], rgb)); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
		if len(rgb) > 3*im.Width*im.Height {
			continue // does not lie before the input
		}
		if got, want := string(g.predict(s[0], s[1], rgb)), string(plain.predict(s[0], s[1], rgb)); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}

func TestArenaOfDigits(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		mod, err := Compile(digits(t, version), Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, out := seeded(mod)
		checkArena(t, mod, in, out)
		if mod.Manifest.Image != nil {
			checkPictures(t, mod)
		}
	}
}

// TestArenaOfMobileNet holds the modules that the figures are about: f32, int8 weights, and quantised.
func TestArenaOfMobileNet(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100 million checked accesses each")
	}
	dir := data(t, "mobilenetv2")
	for _, c := range []struct {
		file string
		opt  Options
	}{{"mobilenetv2.onnx", Options{}}, {"mobilenetv2.onnx", Options{Weights: WeightsInt8}}, {"mobilenetv2_qdq.onnx", Options{}}} {
		t.Run(fmt.Sprint(c.file, " ", c.opt.Weights), func(t *testing.T) {
			mod, err := CompileFile(filepath.Join(dir, c.file), c.opt)
			if err != nil {
				t.Fatal(err)
			}
			in, out := seeded(mod)
			checkArena(t, mod, in, out)
			g := instantiate(t, fenced(t, mod))
			g.classify(225, 223, noise(225, 223))
			g.predict(97, 101, noise(97, 101))
		})
	}
}

// TestFenceHolds: a store one vector beyond the arena is found.
func TestFenceHolds(t *testing.T) {
	m, err := onnx.Parse(encode(newNet(1, 8).op("Exp x > y").Model))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := compile(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mod.Stats.Arena -= 3 * plan.Align // the input and half of the output
	g := instantiate(t, fenced(t, mod))
	if _, err := g.run.Call(t.Context()); err == nil {
		t.Error("the last vector of the arena was written unseen")
	}
	if got := fence.Breach(func(name string) uint64 { return g.mod.ExportedGlobal(name).Get() }); got == "" {
		t.Error("the breach has no description")
	}
}
