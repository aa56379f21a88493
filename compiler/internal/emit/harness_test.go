package emit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/fence"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/pass"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// Tolerances, as |got-want| ≤ tol·max(1, |want|).
const (
	// Copies, comparisons and single IEEE operations have one right answer.
	exact = 0
	// Sums of up to about 500 products of values within ±1 in another order than the oracle's: 2⁻²⁴
	// for each addition on partial sums below 10, of which few err in the same direction.
	sums = 2e-5
	// Exponentials and what is made of them: polynomials good to 2 units in the last place of f32,
	// where the oracle computes in f64; cancellation next to zero leaves the absolute error.
	transcendental = 1e-6
)

// bench runs compiled graphs, all in one runtime.
type bench struct {
	t  *testing.T
	rt wazero.Runtime
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t, wazero.NewRuntime(context.Background())}
	t.Cleanup(func() { b.rt.Close(context.Background()) })
	return b
}

// check compiles the graph that text describes, runs it twice on inputs (seeded ones if there are
// none) and compares the outputs with Eval, as it does after each pass. All memory except the constants holds NaN before the
// first run: kernels must neither use what they were not given nor write beyond their outputs.
func (b *bench) check(text string, tol float64, inputs ...*ir.Tensor) {
	b.t.Helper()
	g, err := ir.Parse(text)
	if err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	for i, v := range g.In[min(len(inputs), len(g.In)):] {
		x := ir.NewTensor(v.Type)
		ir.Fill(x, uint64(i)+77)
		inputs = append(inputs, x)
	}
	want, err := g.Eval(inputs...)
	if err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	for _, p := range pass.List {
		before := g.String()
		if err := errors.Join(p.Run(g), g.Verify()); err != nil {
			b.t.Fatalf("pass %s: %v in\n%s", p.Name, err, before)
		}
		same, err := g.Eval(inputs...)
		if err != nil {
			b.t.Fatalf("pass %s: %v in\n%s", p.Name, err, g)
		}
		for i, w := range want {
			if at := differ(same[i], w, tol); at >= 0 {
				b.t.Fatalf("pass %s makes value %d of output %d %v, it was %v, of\n%sit makes\n%s", p.Name, at, i, value(same[i], at), value(w, at), before, g)
			}
		}
	}
	count(g)
	res, err := Module(g, Options{Name: "test"})
	if err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	if !testing.Short() { // as long again as all else
		if err := b.checkLayers(g, res, inputs); err != nil {
			b.t.Fatalf("%v in\n%sas\n%s", err, text, g)
		}
	}
	ctx := context.Background()
	mod, err := b.rt.InstantiateWithConfig(ctx, res.Bytes, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	defer mod.Close(ctx)
	size := mod.Memory().Size()
	mem, _ := mod.Memory().Read(0, size)
	layout, err := plan.New(g, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	owned := b.owned(g, layout, int(size))
	consts := layout.Consts.Base()
	for i := range mem {
		if i < consts || i >= consts+res.Consts {
			mem[i] = 0xff
		}
	}
	address := func(name string) int { return int(mod.ExportedGlobal(name).Get()) }
	for round := range 2 {
		for i, x := range inputs {
			put(mem[address(abi.InputGlobal(i)):], x)
		}
		before := bytes.Clone(mem)
		if _, err := mod.ExportedFunction(abi.ExportRun).Call(ctx); err != nil {
			b.t.Fatalf("run: %v in\n%s", err, text)
		}
		for i := range mem {
			if !owned[i] && mem[i] != before[i] {
				b.t.Fatalf("round %d: byte %d of %d, which belongs to no output, changed; constants are %d to %d; in\n%s",
					round, i, size, consts, consts+res.Consts, text)
			}
		}
		for i, w := range want {
			got := get(mem[address(abi.OutputGlobal(i)):], w.Type)
			if at := differ(got, w, tol); at >= 0 {
				b.t.Fatalf("round %d: output %d, value %d of %d is %v, want %v in\n%sas\n%s", round, i, at, w.Shape.Elems(), value(got, at), value(w, at), text, g)
			}
		}
	}
}

// owned marks the bytes that nodes may write: their outputs, and the room around those that have it.
func (b *bench) owned(g *ir.Graph, p *plan.Plan, size int) []bool {
	m := make([]bool, size)
	for _, n := range g.Nodes {
		if s, ok := n.Op.(ir.Scratcher); ok {
			var in []ir.Type
			for _, v := range n.In {
				in = append(in, v.Type)
			}
			for i := range s.Scratch(in) {
				m[p.Scratch(n)+i] = true
			}
		}
		for _, v := range n.Out {
			r := extent(p.Of(v))
			for i := r.From; i < r.To; i++ {
				m[i] = true
			}
		}
	}
	return m
}

func within(from, to int) fence.Range { return fence.Range{From: int64(from), To: int64(to)} }

// extent is the memory of a value, with the room around it.
func extent(l plan.Layout) fence.Range {
	first, bytes := l.Address, l.DType.Size()*l.Shape.Elems()
	if !l.Dense() {
		for i := range len(l.Halo) / 2 {
			first -= l.Halo[i] * l.Strides[i+1]
		}
		bytes = l.Strides[0] * l.Shape[0]
	}
	return within(first, first+bytes)
}

func put(to []byte, x *ir.Tensor) {
	for i, v := range x.F {
		binary.LittleEndian.PutUint32(to[4*i:], math.Float32bits(v))
	}
	var word [8]byte
	size := x.DType.Size()
	for i, v := range x.I {
		binary.LittleEndian.PutUint64(word[:], uint64(v))
		copy(to[size*i:], word[:size])
	}
}

func get(from []byte, t ir.Type) *ir.Tensor {
	x := ir.NewTensor(t)
	for i := range x.F {
		x.F[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
	}
	size := t.DType.Size()
	for i := range x.I {
		var word [8]byte
		if t.DType.Signed() && from[size*(i+1)-1]&0x80 != 0 {
			word = [8]byte(bytes.Repeat([]byte{0xff}, 8))
		}
		copy(word[:], from[size*i:][:size])
		x.I[i] = int64(binary.LittleEndian.Uint64(word[:]))
	}
	return x
}

// value is element i as it prints.
func value(x *ir.Tensor, i int) any {
	if x.DType.Float() {
		return x.F[i]
	}
	return x.I[i]
}

// differ returns the first place where got is not want within tol·max(1, |want|), or -1. NaN equals
// NaN, and -0 equals 0. Integers agree or differ.
func differ(got, want *ir.Tensor, tol float64) int {
	for i, w := range want.I {
		if got.I[i] != w {
			return i
		}
	}
	for i, w := range want.F {
		g, w := float64(got.F[i]), float64(w)
		if math.IsNaN(w) && math.IsNaN(g) || g == w {
			continue
		}
		if !(math.Abs(g-w) <= tol*max(1, math.Abs(w))) {
			return i
		}
	}
	return -1
}
