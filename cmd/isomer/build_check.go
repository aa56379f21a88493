package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// checkFlags say how a compiled model is checked.
type checkFlags struct {
	on     bool
	cases  []string
	random int
	golden int
	tol    float64
}

func (f *checkFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.on, "check", false, "run the module and compare it with the reference evaluation; store golden cases")
	flags.StringArrayVar(&f.cases, "case", nil, "check with this `CASE`: a picture, x.npy, x.pb, NAME=x.npy,…, or a folder with input_0.pb and output_0.pb; may be repeated; implies --check")
	flags.IntVar(&f.random, "random", 1, "check with `N` random inputs, always the same")
	flags.IntVar(&f.golden, "golden", 2, "store up to `N` golden cases of at most 64 kB each")
	flags.Float64Var(&f.tol, "tolerance", 0, "let floats differ by `T` times max(1, |want|) (default 0.001; with int8 weights and for quantised models the root mean square counts, 0.4 of the values')")
}

// maxRandom bounds the random inputs: each has a line in the table.
const maxRandom = 1_000_000

// goldenBytes bounds a golden case: manifests are read whole at each load, as base64 in JSON.
const goldenBytes = 64 << 10

// goldenSide is what pictures are shrunk to for a golden case: 12 kB.
const goldenSide = 64

// tolerance is what may differ. Sums in another order differ by some 1e-6 of their terms, a network's layers
// by some 1e-5: 1e-3 is far from that and far below what a wrong kernel makes. With weights of 8 bits the
// weights themselves are off by up to 1/254, and a value between two steps may be rounded to the other one:
// there the root mean square of the differences counts, 0.4 of that of the values (MobileNetV2: quantised 0.14 to 0.23, int8 weights 0.10 to 0.12; a
// wrong kernel makes more than 1), and integers may be two steps off.
type tolerance struct {
	value float64
	rms   bool
	steps float64
}

// valid refuses flags that are wrong or mean nothing.
func (f *checkFlags) valid(c *cobra.Command) error {
	f.on = f.on || len(f.cases) > 0
	given := c.Flags().Changed
	switch {
	case f.random < 0 || f.random > maxRandom:
		return usage(c, "--random %d: want 0 to %d", f.random, maxRandom)
	case f.golden < 0:
		return usage(c, "--golden must not be negative")
	case given("tolerance") && !(f.tol > 0 && f.tol <= math.MaxFloat64):
		return usage(c, "--tolerance must be a number above 0")
	}
	for _, name := range []string{"random", "golden", "tolerance"} {
		if given(name) && !f.on {
			return usage(c, "--%s is about a check: give --check or --case as well", name)
		}
	}
	if f.on && f.random == 0 && len(f.cases) == 0 {
		return usage(c, "--random 0 leaves nothing to check: give a --case")
	}
	return nil
}

// quantised reports whether an operator computes with bytes, or makes them.
func quantised(o compiler.OperatorCount) bool {
	return slices.ContainsFunc([]string{"Quantize", "DequantizeLinear", "QLinear", "QGemm", "ConvInteger", "MatMulInteger"}, func(part string) bool {
		return strings.Contains(o.Op, part)
	})
}

func (f *checkFlags) tolerance(c *cobra.Command, m *compiler.Module, w compiler.Weights) tolerance {
	t := tolerance{value: 1e-3}
	if slices.ContainsFunc(m.Stats.Operators, quantised) || w == compiler.WeightsInt8 {
		t = tolerance{0.4, true, 2}
	}
	if c.Flags().Changed("tolerance") {
		t.value = f.tol
	}
	return t
}

// checkResult is what came of one case.
type checkResult struct {
	Case        string       `json:"case"`
	Differences []difference `json:"outputs"`
	Given       bool         `json:"given,omitempty"` // compared with outputs that were given too
}

// checked is what "build --json" tells of the check.
type checked struct {
	Cases       []checkResult `json:"cases"`
	Golden      int           `json:"golden"`
	GoldenBytes int           `json:"goldenBytes"` // of the file
	Notes       []string      `json:"notes,omitempty"`
}

// checkError is a module that does not compute what its model does.
type checkError struct{ text string }

func (e *checkError) Error() string { return e.text }

// checkModule compares the module with the reference evaluation and puts golden cases into its manifest.
func (f *buildFlags) checkModule(c *cobra.Command, model string, m *compiler.Module, show *progress) (*checked, error) {
	ctx := c.Context()
	show.stage("check")
	ref, err := await(ctx, func() (*compiler.Reference, error) { return compiler.ReferenceFile(model, f.opt) })
	if err != nil {
		return nil, err
	}
	given, err := f.check.read(m.Manifest, ref)
	if err != nil {
		return nil, err
	}
	e, err := wazero.New()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	opts := []isomer.Option{isomer.WithEngine(e), isomer.WithDeadline(0), isomer.WithMemoryLimit(4096 << 20)}
	mod, err := isomer.New(ctx, m.Bytes, opts...)
	if err != nil {
		return nil, err
	}
	defer mod.Close()
	out := &checked{}
	k := checker{ref: ref, mod: mod, manifest: m.Manifest, tol: f.check.tolerance(c, m, f.opt.Weights), show: show}
	var golden []abi.Golden
	for i := range len(given) + f.check.random {
		var one modelCase
		if i < len(given) {
			one = given[i]
		} else if one, err = randomCase(i-len(given), m.Manifest, ref); err != nil { // one at a time: there may be many
			return nil, err
		}
		r, err := k.compare(ctx, one)
		if err != nil {
			return nil, err
		}
		out.Cases = append(out.Cases, r)
		if len(golden) == f.check.golden {
			continue
		}
		g, why, err := k.golden(ctx, one)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out.Notes = append(out.Notes, why)
			continue
		}
		golden = append(golden, g)
	}
	return out, out.store(ctx, m, golden, opts)
}

// store puts the golden cases into the module, and lets the bridge's gate run them.
func (out *checked) store(ctx context.Context, m *compiler.Module, golden []abi.Golden, opts []isomer.Option) error {
	if len(golden) == 0 {
		return nil
	}
	before := len(m.Bytes)
	m.Manifest.Golden = golden
	bin, err := withManifest(m.Bytes, m.Manifest)
	if err != nil {
		return err
	}
	gated, err := isomer.New(ctx, bin, opts...)
	if err != nil {
		return err
	}
	m.Bytes = bin
	out.Golden, out.GoldenBytes = len(golden), len(bin)-before
	m.Stats.Module.Manifest += out.GoldenBytes
	return gated.Close()
}

// read gives the cases: those given first, since golden cases are taken from the front.
func (f *checkFlags) read(m abi.Manifest, ref *compiler.Reference) ([]modelCase, error) {
	var cases []modelCase
	for _, text := range f.cases {
		c, err := readCase(text, m)
		if err != nil {
			return nil, err
		}
		if err := c.prepare(ref); err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// randomCase is the n-th random input, always the same.
func randomCase(n int, m abi.Manifest, ref *compiler.Reference) (modelCase, error) {
	c := modelCase{name: fmt.Sprintf("random %d", n+1)}
	if m.Image == nil {
		c.inputs = ref.Random(uint64(n))
		return c, nil
	}
	c.image = randomPicture(uint64(n))
	return c, c.prepare(ref)
}

// randomPicture is small, since it becomes a golden case: 3 kB.
func randomPicture(seed uint64) *isomer.Image {
	r := rand.New(rand.NewPCG(seed, 3))
	p := isomer.Image{Width: 32, Height: 32, RGB: make([]byte, 32*32*3)}
	for i := range p.RGB {
		p.RGB[i] = byte(r.Uint32())
	}
	return &p
}

// shrunk is every n-th pixel of a picture, so that it fits goldenSide. The module prepares any size.
func shrunk(p isomer.Image) isomer.Image {
	n := (max(p.Width, p.Height) + goldenSide - 1) / goldenSide
	if n <= 1 {
		return p
	}
	out := isomer.Image{Width: max(p.Width/n, 1), Height: max(p.Height/n, 1)}
	for y := range out.Height {
		for x := range out.Width {
			at := 3 * (min(y*n, p.Height-1)*p.Width + min(x*n, p.Width-1))
			out.RGB = append(out.RGB, p.RGB[at:at+3]...)
		}
	}
	return out
}

// checker compares one module with its reference.
type checker struct {
	ref      *compiler.Reference
	mod      *isomer.Module
	manifest abi.Manifest
	tol      tolerance
	show     *progress
}

func (k *checker) compare(ctx context.Context, c modelCase) (checkResult, error) {
	r := checkResult{Case: c.name, Given: c.outputs != nil}
	k.show.stage("check " + c.name)
	want, err := await(ctx, func() ([][]byte, error) { return k.ref.Eval(ctx, c.inputs, nil) })
	if errors.Is(err, compiler.ErrInput) {
		return r, hint(fmt.Errorf("%s: %w", c.name, err), "give an input that the model takes with --case, and --random 0")
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	raw, err := k.mod.Call(ctx, abi.ExportRun, slices.Concat(c.inputs...))
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.name, err)
	}
	got, err := apart(raw, k.manifest.Outputs)
	if err != nil {
		return r, err
	}
	for _, side := range []struct {
		name string
		want [][]byte
	}{{"the reference evaluation", want}, {"the case", c.outputs}} {
		if side.want == nil {
			continue
		}
		for i, spec := range k.manifest.Outputs {
			d := compareTensor(spec, got[i], side.want[i], k.tol)
			if !(d.Over <= 1) {
				return r, &checkError{fmt.Sprintf("%s: output %q differs from %s: element %d is %.7g, want %.7g (%.3g times the tolerance)",
					c.name, spec.Name, side.name, d.At, d.Got, d.Want, d.Over)}
			}
			r.Differences = append(r.Differences, d)
		}
	}
	if c.image == nil {
		return r, nil
	}
	return r, k.classified(ctx, c, numbersOf(want[0], abi.F32))
}

// classified compares the answer about a picture with the network's first output for what the reference
// prepared of it.
func (k *checker) classified(ctx context.Context, c modelCase, want []float64) error {
	body, err := k.mod.CallImage(ctx, imageFunction(k.manifest), *c.image)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	var answer struct {
		Top []struct {
			Index       int
			Logit       *float64
			Probability float64
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Top) == 0 {
		return hint(fmt.Errorf("%s: the module answers %.80q", c.name, body), "classes that are all NaN have no order: check --scale, --mean and --std")
	}
	largest := 1.
	if k.tol.rms {
		for _, v := range want {
			largest = max(largest, math.Abs(v))
		}
	}
	for place, t := range answer.Top {
		got := t.Probability
		if t.Logit != nil {
			got = *t.Logit
		}
		if t.Index < 0 || t.Index >= len(want) {
			return &checkError{fmt.Sprintf("%s: the module answers class %d of %d", c.name, t.Index, len(want))}
		}
		if !(math.Abs(got-want[t.Index]) <= k.tol.value*max(largest, math.Abs(want[t.Index]))) {
			return &checkError{fmt.Sprintf("%s: class %d has %.7g, the reference evaluation %.7g", c.name, t.Index, got, want[t.Index])}
		}
		if top := want[best(want)]; place == 0 && top-want[t.Index] > k.tol.value*max(largest, math.Abs(top)) {
			return &checkError{fmt.Sprintf("%s: the first class is %d, of the reference evaluation %d", c.name, t.Index, best(want))}
		}
	}
	return nil
}

// imageFunction is the function that takes a picture.
func imageFunction(m abi.Manifest) string {
	for _, f := range m.Functions {
		if f.Convention == abi.Image {
			return f.Name
		}
	}
	return ""
}

// golden makes a golden case of the module's own answer, which the contract promises to be the same bytes on
// each engine; or says why not.
func (k *checker) golden(ctx context.Context, c modelCase) (g abi.Golden, why string, err error) {
	if c.image != nil {
		p := shrunk(*c.image)
		g = abi.Golden{Function: imageFunction(k.manifest), Input: p.RGB, Width: p.Width, Height: p.Height}
		g.Output, err = k.mod.CallImage(ctx, g.Function, p)
		return g, "", err
	}
	g = abi.Golden{Function: abi.ExportRun, Input: slices.Concat(c.inputs...)}
	if g.Output, err = k.mod.Call(ctx, abi.ExportRun, g.Input); err != nil {
		return g, "", err
	}
	if n := len(g.Input) + len(g.Output); n > goldenBytes {
		return g, fmt.Sprintf("%s is no golden case: %s are beyond %s", c.name, size(n), size(goldenBytes)), nil
	}
	outputs, err := apart(g.Output, k.manifest.Outputs)
	if err != nil {
		return g, "", err
	}
	for i, spec := range k.manifest.Outputs {
		if slices.ContainsFunc(numbersOf(outputs[i], spec.DType), math.IsNaN) {
			return g, c.name + " is no golden case: engines may write NaN in other bits", nil
		}
	}
	return g, "", nil
}

// apart cuts the bytes of outputs that stand one after the other.
func apart(b []byte, specs []abi.TensorSpec) ([][]byte, error) {
	var out [][]byte
	for _, s := range specs {
		n, err := s.ByteSize()
		if err != nil || n > len(b) {
			return nil, fmt.Errorf("output %q: %d bytes are left, want %d", s.Name, len(b), n)
		}
		out, b = append(out, b[:n]), b[n:]
	}
	return out, nil
}

// rows are the lines of the table.
func (out *checked) rows() [][2]string {
	var rows [][2]string
	for _, c := range out.Cases {
		var parts []string
		for _, d := range c.Differences {
			part := fmt.Sprintf("%s differs by %.2g, relative %.2g", d.Output, d.Abs, d.Rel)
			if d.SameBest {
				part += ", largest element agrees"
			}
			parts = append(parts, part)
		}
		rows = append(rows, [2]string{"checked", c.Case + ": " + strings.Join(parts[:min(len(parts), 3)], "; ")})
	}
	if out.Golden > 0 {
		rows = append(rows, [2]string{"golden", fmt.Sprintf("%s, %s of the file", plural(out.Golden, "case"), size(out.GoldenBytes))})
	}
	for _, n := range out.Notes {
		rows = append(rows, [2]string{"golden", n})
	}
	return rows
}
