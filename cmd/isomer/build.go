package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
)

// buildFlags are the compiler's options as the command line spells them.
type buildFlags struct {
	output, labels, fit string
	report, config      string
	mean, std           numbers
	dims, fixed         []string
	weights             string
	asJSON              bool
	check               checkFlags
	tune                tuneFlags
	opt                 compiler.Options
}

func buildCommand(std streams) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build MODEL",
		Short: "Compile an ONNX or TensorFlow Lite model, or a project of a module, to a module",
		Long: `Compile an ONNX model, with weights files beside it if it has any, or a TensorFlow Lite model to one
WebAssembly module that imports nothing. A model that classifies pictures gets functions that take a picture of any size and answer
with the most probable classes; every model gets "run", which takes its tensors.

A folder with an isomer.json, as "isomer new" writes it, is built with the compiler of its language, and its
cases are run.`,
		Example: `  isomer build model.onnx -o model.wasm
  isomer build mobilenetv2.onnx --labels labels.txt --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  isomer build encoder.onnx --dim batch=1 --dim seq=128
  isomer build squeeze.onnx --fix axes=0,2`,
		Args: operands("MODEL"),
		RunE: func(c *cobra.Command, args []string) error {
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				return f.buildProject(c, std, args[0])
			}
			return f.build(c, std, args[0])
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "write the module to this `FILE` (default: the model's name, .wasm)")
	flags.StringVar(&f.opt.Name, "name", "", "`NAME` of the module (default: the file's)")
	flags.StringVar(&f.opt.Version, "version", "", "`VERSION` of the module, such as 1.4.0")
	flags.StringVar(&f.labels, "labels", "", "`FILE` of class names, line n is class n")
	flags.Var(&f.mean, "mean", "`R,G,B` to subtract from a picture's scaled channels, or one value (default: ImageNet's; 0 for grey, or with --std alone)")
	flags.Var(&f.std, "std", "`R,G,B` to divide them by then, or one value (default: ImageNet's; 1 for grey, or with --mean alone)")
	flags.Float64Var(&f.opt.Scale, "scale", 0, "`FACTOR` for a picture's bytes, first of all (default 1/255)")
	flags.StringVar(&f.fit, "fit", "", "how pictures of another shape `FIT`: cover, contain or stretch (default cover)")
	flags.IntVar(&f.opt.Top, "top", 0, "answer with the `N` most probable classes (default 5)")
	flags.StringArrayVar(&f.dims, "dim", nil, "extent of a symbolic dimension, `NAME=N`; may be repeated")
	flags.StringArrayVar(&f.fixed, "fix", nil, "give an input of the model its `NAME=VALUES` now, such as axes=0,2: for shapes, axes and counts; one value fills the input; may be repeated")
	flags.IntVar(&f.opt.Budget, "budget", 0, "compute at most `N` elements from constants, beyond what the weights pay for (default 33554432); for models that make weights out of nothing")
	flags.StringVar(&f.weights, "weights", "", "carry the weights as `TYPE`: f32, or int8 for a module of a quarter of the size (default f32)")
	flags.StringVar(&f.opt.StopAfter, "stop-after", "", "compile without the passes behind this `PASS`, to find one that is wrong")
	flags.StringVar(&f.report, "report", "", "write a page with the graph, the cost of each layer and the memory to this HTML `FILE`")
	flags.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	flags.StringVar(&f.config, "config", "", "take settings that are not given here from this `FILE` (default: model.yaml beside the model, if there is one)")
	f.check.add(c)
	f.tune.add(c)
	return c
}

func (f *buildFlags) build(c *cobra.Command, std streams, model string) error {
	config, err := configure(c, f.config, model)
	if err != nil {
		return err
	}
	if config != "" {
		fmt.Fprintf(std.err, "note: settings from %s\n", config)
	}
	if err := f.options(c); err != nil {
		return err
	}
	if err := f.check.valid(c); err != nil {
		return err
	}
	if err := f.tune.valid(c); err != nil {
		return err
	}
	output := f.output
	if output == "" {
		output = trimExt(filepath.Base(model)) + ".wasm"
	}
	if err := f.distinct(c, model, config, output); err != nil {
		return err
	}
	tiles, err := f.tune.read(output)
	if err != nil {
		return err
	}
	show := newProgress(std)
	defer show.clear()
	var took time.Duration
	compile := func(tiles map[string]compiler.Tile, progress func(string)) (*compiler.Module, error) {
		start := time.Now()
		defer func() { took = time.Since(start) }()
		opt := f.opt
		opt.Tiles, opt.Progress = tiles, progress
		return await(c.Context(), func() (*compiler.Module, error) { return compiler.CompileFile(model, opt) })
	}
	m, err := compile(tiles.Tiles, show.stage)
	if err == nil && f.tune.on {
		if err := f.tune.extend(c, show, &tiles, output, compile); err != nil {
			return err
		}
		m, err = compile(tiles.Tiles, nil)
	}
	if err != nil {
		show.clear()
		return f.failed(std, model, err)
	}
	var ch *checked
	if f.check.on {
		if ch, err = f.checkModule(c, model, m, show); err != nil {
			show.clear()
			return err
		}
	}
	if err := writeFile(c.Context(), output, m.Bytes); err != nil {
		return err
	}
	show.stage("measure")
	e := expect(c.Context(), m.Stats)
	show.clear()
	for _, n := range f.notes(m.Stats) {
		fmt.Fprintln(std.err, "note:", n)
	}
	r := newBuildResult(output, m, took, e)
	r.Check = ch
	if f.report != "" {
		if err := r.writeReport(c.Context(), f.report, m, e); err != nil {
			return err
		}
	}
	if f.asJSON {
		return writeJSON(std.out, r)
	}
	return r.print(std.out)
}

// distinct refuses to write over what is read, or one result over another.
func (f *buildFlags) distinct(c *cobra.Command, model, config, output string) error {
	type file struct{ what, path string }
	taken := []file{{"model", model}, {"settings", config}, {"labels", f.labels}}
	for _, path := range f.check.cases {
		taken = append(taken, file{"case", path})
	}
	written := []file{{"module", output}, {"report", f.report}}
	if profile := f.tune.path(output); f.tune.on {
		written = append(written, file{"profile", profile})
	} else {
		taken = append(taken, file{"profile", profile})
	}
	for _, w := range written {
		for _, t := range taken {
			if w.path != "" && t.path != "" && same(w.path, t.path) {
				return usage(c, "the %s would replace the %s %s", w.what, t.what, t.path)
			}
		}
		taken = append(taken, w)
	}
	return nil
}

// notes are what the module does that its maker may not have meant.
func (f *buildFlags) notes(s compiler.Stats) []string {
	var notes []string
	if s.Assumed {
		notes = append(notes, "pictures are normalised with ImageNet's mean and std; give the model's own with --mean and --std")
	}
	if s.Image != nil {
		// The largest byte after scaling. A mean beyond it makes every picture a dark one.
		white := 255 * s.Image.Scale
		if beyond := slices.Max(append([]float64{0}, s.Image.Mean...)); beyond > white {
			notes = append(notes, fmt.Sprintf("a mean of %g is beyond what pictures have after scaling, 0 to %g; for a mean and std of bytes give --scale 1", beyond, white))
		}
	}
	return notes
}

// numbers is a flag of numbers with commas between them.
type numbers []float64

func (n *numbers) Set(s string) error {
	*n = nil
	for part := range strings.SplitSeq(s, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("want numbers with commas between them")
		}
		*n = append(*n, v)
	}
	return nil
}

func (n *numbers) String() string {
	parts := make([]string, len(*n))
	for i, v := range *n {
		parts[i] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strings.Join(parts, ",")
}

// Type is what pflag would show in the help.
func (n *numbers) Type() string { return "numbers" }

// options completes the compiler's options from the flags that need reading.
func (f *buildFlags) options(c *cobra.Command) error {
	given := c.Flags().Changed
	for _, n := range []struct {
		flag string
		bad  bool
	}{{"scale", !(f.opt.Scale > 0 && f.opt.Scale <= math.MaxFloat64)}, {"top", f.opt.Top < 1}, {"budget", f.opt.Budget < 1}} {
		if given(n.flag) && n.bad {
			return usage(c, "--%s must be a number above 0", n.flag)
		}
	}
	f.opt.Mean, f.opt.Std, f.opt.Fit = f.mean, f.std, abi.Fit(f.fit)
	switch f.opt.Fit {
	case "", abi.FitCover, abi.FitContain, abi.FitStretch:
	default:
		return usage(c, "--fit %s: want cover, contain or stretch", f.fit)
	}
	f.opt.Weights = compiler.Weights(f.weights)
	switch f.opt.Weights {
	case "", compiler.WeightsF32, compiler.WeightsInt8:
	default:
		return usage(c, "--weights %s: want f32 or int8", f.weights)
	}
	for _, d := range f.dims {
		name, value, ok := strings.Cut(d, "=")
		n, err := strconv.Atoi(value)
		if !ok || name == "" || err != nil || n < 1 {
			return usage(c, "--dim %s: want NAME=N, such as batch=1", d)
		}
		if f.opt.Dims == nil {
			f.opt.Dims = map[string]int{}
		}
		f.opt.Dims[name] = n
	}
	if err := f.fixInputs(c); err != nil {
		return err
	}
	if f.labels != "" {
		var err error
		if f.opt.Labels, err = readLabels(f.labels); err != nil {
			return err
		}
	}
	return nil
}

// fixInputs reads --fix.
func (f *buildFlags) fixInputs(c *cobra.Command) error {
	for _, text := range f.fixed {
		// Names of inputs may have a "=" in them, values never.
		at := strings.LastIndex(text, "=")
		var values numbers
		if at < 1 || values.Set(text[at+1:]) != nil {
			return usage(c, "--fix %s: want NAME=VALUES, such as axes=0,2", text)
		}
		name := text[:at]
		if _, twice := f.opt.Fixed[name]; twice {
			return usage(c, "--fix %s is given twice", name)
		}
		if f.opt.Fixed == nil {
			f.opt.Fixed = map[string][]float64{}
		}
		f.opt.Fixed[name] = values
	}
	return nil
}

// readLabels reads one name a line. Line ends of Windows and empty lines at the end are not part of it.
func readLabels(path string) ([]string, error) {
	b, err := readRegular(path, maxText)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, hint(fmt.Errorf("%s: the labels are not UTF-8 text", path), "give a text file with one class name a line")
	}
	text := strings.TrimPrefix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\ufeff")
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil, hint(fmt.Errorf("%s: no labels", path), "give a text file with one class name a line")
	}
	return strings.Split(text, "\n"), nil
}

// trimExt is a path without the extension of its file.
func trimExt(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) }

// same reports whether two paths are one regular file, or would be once it is written.
func same(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return ia.Mode().IsRegular() && os.SameFile(ia, ib)
	}
	pa, errA := filepath.Abs(a)
	pb, errB := filepath.Abs(b)
	return errA == nil && errB == nil && pa == pb
}

// failed makes the compiler's error fit a terminal, and with --json lists every node for a script.
func (f *buildFlags) failed(std streams, model string, err error) error {
	if u, ok := errors.AsType[*compiler.UnsupportedError](err); ok {
		if f.asJSON {
			if err := writeJSON(std.out, unsupportedJSON(model, u)); err != nil {
				return err
			}
		}
		return fixHint(&unsupported{model: model, cause: u}, u)
	}
	if !strings.Contains(err.Error(), model) {
		err = fmt.Errorf("%s: %w", model, err)
	}
	if u, ok := errors.AsType[*compiler.UnboundError](err); ok && len(u.Dims) > 0 {
		var flags []string
		for _, d := range u.Dims {
			name, _, _ := strings.Cut(d, " ")
			flags = append(flags, "--dim "+name+"=1")
		}
		slices.Sort(flags)
		return hint(err, "give each an extent, such as %s", strings.Join(slices.Compact(flags), " "))
	}
	return err
}

// fixHint names the inputs that must be known at compile time, where each node needs nothing else.
func fixHint(err error, u *compiler.UnsupportedError) error {
	var flags []string
	for _, n := range u.Nodes {
		if n.Fix == "" {
			return err
		}
		flags = append(flags, "--fix "+n.Fix+"=…")
	}
	slices.Sort(flags)
	return hint(err, "fix it with %s", strings.Join(slices.Compact(flags), " "))
}

// unsupported shows an UnsupportedError by operator: an exporter that uses one uses it a hundred times.
type unsupported struct {
	model string
	cause *compiler.UnsupportedError
}

func (e *unsupported) Unwrap() error { return e.cause }

func (e *unsupported) Error() string {
	type group struct{ op, reason, advice string }
	places := map[group][]string{}
	var order []group
	for _, n := range e.cause.Nodes {
		g := group{n.Op, n.Reason, n.Advice()}
		if places[g] == nil {
			order = append(order, g)
		}
		places[g] = append(places[g], n.Node)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s cannot be compiled:", e.model, plural(len(e.cause.Nodes), "node"))
	const shown, groups = 3, 30 // nodes of a group, and groups
	for _, g := range order[:min(len(order), groups)] {
		at := places[g]
		fmt.Fprintf(&b, "\n%s: %s; at %s", g.op, g.reason, strings.Join(at[:min(len(at), shown)], ", "))
		if len(at) > shown {
			fmt.Fprintf(&b, " and %d more", len(at)-shown)
		}
		fmt.Fprintf(&b, "\n  → %s", g.advice)
	}
	if more := len(order) - groups; more > 0 {
		fmt.Fprintf(&b, "\nand %d more of other kinds", more)
	}
	return b.String()
}

func unsupportedJSON(model string, u *compiler.UnsupportedError) any {
	type node struct {
		Node   string `json:"node"`
		Op     string `json:"op"`
		Reason string `json:"reason"`
		Advice string `json:"advice"`
		Fix    string `json:"fix,omitempty"` // the input that --fix would give a value
	}
	nodes := make([]node, len(u.Nodes))
	for i, n := range u.Nodes {
		nodes[i] = node{n.Node, n.Op, n.Reason, n.Advice(), n.Fix}
	}
	return map[string]any{"file": model, "error": "unsupported", "unsupported": nodes}
}
