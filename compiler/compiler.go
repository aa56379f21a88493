// Package compiler turns a neural network in ONNX or TensorFlow Lite form into one WebAssembly module
// that computes it. Use it in a build step or a server to make modules for the bridge; never to run
// them: that is the work of package isomer or of any other WebAssembly engine.
//
// The module imports nothing, follows the contract of docs/abi.md and needs the SIMD instructions of
// WebAssembly 2.0. The same model and options give the same bytes. v0: the API and the code that is
// generated may change until 1.0.
package compiler

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/emit"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/load"
	"github.com/isomer-iot/isomer/compiler/internal/onnx"
	"github.com/isomer-iot/isomer/compiler/internal/pass"
)

var (
	// ErrNotModel says that the input is no ONNX model.
	ErrNotModel = onnx.ErrNotModel
	// ErrMalformed says that the file is damaged or cut off.
	ErrMalformed = onnx.ErrMalformed
	// ErrModel says that the model contradicts itself, such as shapes that do not add up.
	ErrModel = load.ErrModel
	// ErrUnsupported says that the model uses what the compiler does not compile. The error is an
	// *UnsupportedError where nodes are to blame.
	ErrUnsupported = load.ErrUnsupported
	// ErrUnbound says that a symbolic dimension needs Options.Dims. The error is an *UnboundError.
	ErrUnbound = load.ErrUnbound
	// ErrOptions says that an option is wrong or does not fit the model.
	ErrOptions = errors.New("bad compile option")
)

// UnsupportedError lists every node that cannot be compiled.
type UnsupportedError = load.UnsupportedError

// UnboundError lists every symbolic dimension without an extent.
type UnboundError = load.UnboundError

// ImageNetMean and ImageNetStd are the usual normalisation of colour pictures for networks trained on
// ImageNet, on values between 0 and 1.
var (
	ImageNetMean = []float64{0.485, 0.456, 0.406}
	ImageNetStd  = []float64{0.229, 0.224, 0.225}
)

// Weights is how a module carries its weights.
type Weights string

// The forms of weights.
const (
	WeightsF32  Weights = "f32"
	WeightsInt8 Weights = "int8"
)

// Options say how to compile. The zero value compiles.
type Options struct {
	// Name and Version identify the module in its manifest. Default: the graph's name, no version.
	Name, Version string
	// Dims gives symbolic dimensions their extent, such as {"seq": 128}. A leading batch dimension
	// is 1 unless it is named here.
	Dims map[string]int
	// Fixed gives inputs of the model their values now, such as {"axes": {0, 2}}: for shapes, axes and
	// counts, which must be known at compile time. One value fills the whole input. They are no inputs
	// of the module.
	Fixed map[string][]float64
	// Budget bounds what is computed from constants when compiling, beyond what the weights pay for, in
	// elements: a small file could ask for any amount. Default: 2^25. A model that makes its weights out
	// of nothing (ConstantOfShape) needs as many as they are, a few times.
	Budget int
	// Labels are the names of the classes, for models that classify pictures.
	Labels []string
	// Mean and Std normalise each channel of a picture: x' = (x·Scale - Mean) / Std. One or three
	// values. Default: ImageNetMean and ImageNetStd for colour, 0 and 1 for grey.
	Mean, Std []float64
	// Scale is applied to the bytes of a picture first. Default: 1/255.
	Scale float64
	// Fit says how a picture of another shape becomes the input's. Default: abi.FitCover.
	Fit abi.Fit
	// Top is the number of classes in a result. Default: 5.
	Top int
	// Golden are cases to store in the manifest, which hosts run before a module serves.
	Golden []abi.Golden
	// Weights says how the module carries the weights of convolutions and products: WeightsF32, or
	// WeightsInt8, a quarter of the size, which the module makes f32 again when it is instantiated.
	// Speed and memory of an instance stay as they are; each weight is off by up to 1/254 of the
	// largest of its output channel. Default: WeightsF32.
	Weights Weights
	// Tiles gives kernels their tiles by name (Layer.Kernel), as measured for an engine; others are left to the
	// compiler. Names that the model does not have are ignored, so that models can share what was measured.
	Tiles map[string]Tile
	// StopAfter names the pass after which to stop and compile what there is, to find the pass that
	// breaks a model. Default: run all.
	StopAfter string
	// Progress, if set, is told the stage that begins: "read", "load", "optimise", "generate".
	Progress func(stage string)
}

// Module is a compiled model.
type Module struct {
	Bytes    []byte
	Manifest abi.Manifest
	Stats    Stats
}

// CompileFile compiles the model at path: ONNX, with external data beside it, or TensorFlow Lite. The module is
// named after the file unless Options.Name is set.
func CompileFile(path string, opt Options) (*Module, error) {
	opt.progress("read")
	m, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if opt.Name == "" {
		opt.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return compile(m, opt)
}

// Compile compiles an ONNX model that carries its own weights, or a TensorFlow Lite model.
func Compile(model []byte, opt Options) (*Module, error) {
	opt.progress("read")
	m, err := parse(model)
	if err != nil {
		return nil, err
	}
	return compile(m, opt)
}

// largeWeights is from how many bytes of weights on memory is given back between reading a model and
// generating code, in some milliseconds: of a model of 1.5 GB a fifth of the peak.
const largeWeights = 256 << 20

func (o Options) progress(stage string) {
	if o.Progress != nil {
		o.Progress(stage)
	}
}

func compile(m *onnx.Model, opt Options) (*Module, error) {
	if strconv.IntSize < 64 {
		return nil, fmt.Errorf("%w: compiling on a 32-bit system; compile on another and copy the module, it is the same everywhere", ErrUnsupported)
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	opt.progress("load")
	res, err := load.Model(m, load.Options{Dims: opt.Dims, Fixed: opt.Fixed, Budget: opt.Budget})
	if errors.Is(err, load.ErrFixed) {
		err = fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(opt.Dims)) {
		if _, ok := res.Bound[name]; !ok {
			return nil, fmt.Errorf("%w: the model has no dimension %q to bind", ErrOptions, name)
		}
	}
	g := res.Graph
	if opt.Name == "" {
		opt.Name = g.Name
	}
	e := emit.Options{Name: moduleName(opt.Name), Version: opt.Version, Labels: opt.Labels, Top: opt.Top, Golden: opt.Golden, Int8: opt.Weights == WeightsInt8, Blocks: blocks(opt.Tiles)}
	if e.Top == 0 {
		e.Top = 5
	}
	assumed := false
	if e.Image, assumed, err = image(g, opt); err != nil {
		return nil, err
	}
	if e.Image == nil && e.Labels == nil {
		e.Labels = res.Labels
	}
	nodes := newCensus(m.Graph, g)
	if 4*parameters(g) > largeWeights {
		debug.FreeOSMemory() // nothing refers to the file any more
	}
	opt.progress("optimise")
	if err := pass.Run(g, opt.StopAfter); err != nil {
		return nil, err
	}
	opt.progress("generate")
	out, err := emit.Module(g, e)
	if err != nil {
		return nil, err
	}
	st, err := stats(g, nodes, out)
	if err != nil {
		return nil, err
	}
	st.Bound, st.Image, st.Assumed = res.Bound, out.Manifest.Image, assumed
	return &Module{Bytes: out.Bytes, Manifest: out.Manifest, Stats: st}, nil
}

// check refuses what no model can be compiled with.
func (o Options) check() error {
	var passes []string
	for _, p := range pass.List {
		passes = append(passes, p.Name)
	}
	for i, values := range [][]float64{o.Mean, o.Std, {o.Scale}} {
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%w: %s must be finite, got %v", ErrOptions, []string{"mean", "std", "scale"}[i], v)
			}
		}
	}
	switch {
	case o.Budget < 0:
		return fmt.Errorf("%w: budget must not be negative, got %d", ErrOptions, o.Budget)
	case o.Top < 0:
		return fmt.Errorf("%w: top must not be negative, got %d", ErrOptions, o.Top)
	case o.Fit != "" && o.Fit != abi.FitCover && o.Fit != abi.FitContain && o.Fit != abi.FitStretch:
		return fmt.Errorf("%w: fit %q is none of %s, %s, %s", ErrOptions, o.Fit, abi.FitCover, abi.FitContain, abi.FitStretch)
	case o.Weights != "" && o.Weights != WeightsF32 && o.Weights != WeightsInt8:
		return fmt.Errorf("%w: weights %q are none of %s, %s", ErrOptions, o.Weights, WeightsF32, WeightsInt8)
	case o.StopAfter != "" && !slices.Contains(passes, o.StopAfter):
		return fmt.Errorf("%w: no pass %q; there are %s", ErrOptions, o.StopAfter, strings.Join(passes, ", "))
	}
	return checkTiles(o.Tiles)
}

// moduleName keeps the characters that a manifest's name allows.
func moduleName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 128 && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._-", r)) {
			return r
		}
		return '-'
	}, s)
	s = strings.TrimLeft(s, "._-")
	if s == "" {
		return "model"
	}
	return s[:min(len(s), 128)]
}

// image decides whether the model classifies pictures, and how they are prepared: one input of
// [1, C, H, W] or [1, H, W, C] with one or three channels, and one vector as first output.
func image(g *ir.Graph, opt Options) (*emit.Image, bool, error) {
	asked := opt.Labels != nil || opt.Mean != nil || opt.Std != nil || opt.Scale != 0 || opt.Fit != ""
	im, why := picture(g)
	if why != "" {
		if asked {
			return nil, false, fmt.Errorf("%w: labels and image preparation need a model that classifies pictures; %s", ErrOptions, why)
		}
		return nil, false, nil
	}
	if n := g.Out[0].Type.Shape.Elems(); opt.Labels != nil && len(opt.Labels) != n {
		return nil, false, fmt.Errorf("%w: %d labels for %d classes", ErrOptions, len(opt.Labels), n)
	}
	im.Scale, im.Fit = opt.Scale, opt.Fit
	if im.Scale == 0 {
		im.Scale = 1. / 255
	}
	if im.Fit == "" {
		im.Fit = abi.FitCover
	}
	mean, std := []float64{0}, []float64{1}
	assumed := opt.Mean == nil && opt.Std == nil && im.Channels == 3
	if assumed {
		mean, std = ImageNetMean, ImageNetStd
	}
	var err error
	if im.Mean, err = channels("mean", opt.Mean, mean); err != nil {
		return nil, false, err
	}
	if im.Std, err = channels("std", opt.Std, std); err != nil {
		return nil, false, err
	}
	if slices.Contains(im.Std, 0) {
		return nil, false, fmt.Errorf("%w: std must not be 0, got %v", ErrOptions, im.Std)
	}
	return im, assumed, nil
}

// channels returns three values from one or three.
func channels(name string, v, absent []float64) ([]float64, error) {
	if v == nil {
		v = absent
	}
	switch len(v) {
	case 1:
		return slices.Repeat(v, 3), nil
	case 3:
		return v, nil
	}
	return nil, fmt.Errorf("%w: %s takes 1 or 3 values, got %d", ErrOptions, name, len(v))
}

// picture reads the size of the picture that the model takes, or says why it takes none.
func picture(g *ir.Graph) (*emit.Image, string) {
	if len(g.In) != 1 || len(g.Out) < 1 {
		return nil, fmt.Sprintf("this one has %d inputs", len(g.In))
	}
	for _, v := range []*ir.Value{g.In[0], g.Out[0]} {
		if v.Type.DType != ir.F32 {
			return nil, fmt.Sprintf("%q is %v", v.Name, v.Type)
		}
	}
	s, o := g.In[0].Type.Shape, g.Out[0].Type.Shape
	if len(s) != 4 || s[0] != 1 {
		return nil, fmt.Sprintf("its input is %v", s)
	}
	if len(o) == 0 || o[len(o)-1] != o.Elems() && o[min(1, len(o)-1)] != o.Elems() || o.Elems() < 2 {
		return nil, fmt.Sprintf("its output is %v", o)
	}
	im := &emit.Image{}
	switch {
	case s[1] == 3 || s[1] == 1:
		im.Channels, im.Height, im.Width = s[1], s[2], s[3]
	case s[3] == 3 || s[3] == 1:
		im.Channels, im.Height, im.Width, im.ChannelsLast = s[3], s[1], s[2], true
	default:
		return nil, fmt.Sprintf("its input is %v", s)
	}
	return im, ""
}
