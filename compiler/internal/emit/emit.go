// Package emit writes the module: the calls of each layer, the runtime around them (allocation,
// image preparation, result) and the manifest. Use Module on a planned graph. Internal to the
// compiler; it promises no compatibility.
package emit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
	"github.com/isomer-iot/isomer/wasm"
)

// Options name the module and say what surrounds the network.
type Options struct {
	Name, Version string
	Labels        []string
	// Image asks for the functions that take a picture. The graph then has one f32 input of one or
	// three channels and, as first output, one value for each class.
	Image  *Image
	Top    int // classes that a result lists
	Golden []abi.Golden
	// Int8 makes the module carry weights as int8, and expand them when it is instantiated.
	Int8 bool
	// Blocks gives kernels their blocks by name; under EveryKernel for those not named.
	Blocks map[string]kernel.Block
}

// EveryKernel is the key of Options.Blocks for kernels without one of their own.
const EveryKernel = "*"

// Image is the preparation of a picture.
type Image struct {
	abi.ImageSpec
	ChannelsLast bool // the input is [1, H, W, C] instead of [1, C, H, W]
	Channels     int  // 3, or 1 for grey
}

// Layer is what a kernel call costs, for reports.
type Layer struct {
	Name, Op, Kernel string
	MACs             int
}

// Result is a finished module.
type Result struct {
	Bytes    []byte
	Manifest abi.Manifest
	Layers   []Layer
	Kernels  int // distinct kernel functions
	Arena    int // bytes of activations
	Consts   int // bytes of weights and tables
	Plan     *plan.Plan
}

// Module compiles g.
func Module(g *ir.Graph, opt Options) (*Result, error) {
	p, err := plan.New(g, opt.free(g))
	if err != nil {
		return nil, err
	}
	p.Consts.Int8 = opt.Int8
	res := &Result{Arena: p.Arena, Plan: p}
	low := &lowerer{plan: p}
	w := &writer{graph: g, plan: p, opt: opt, module: &wasm.Module{}, kernels: map[kernel.Kernel]uint32{}}
	for _, n := range g.Nodes {
		before := len(low.calls)
		if err := low.node(n); err != nil {
			return nil, fmt.Errorf("%q (%s): %w", n.Name, n.Op.Name(), err)
		}
		calls := low.calls[before:]
		res.Layers = append(res.Layers, layer(n, calls))
		w.layer(n, res.Layers[len(res.Layers)-1], calls)
	}
	w.run()
	if opt.Image != nil {
		w.classifier()
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	if res.Manifest, err = w.manifest(); err != nil {
		return nil, err
	}
	res.Kernels, res.Consts = len(w.kernels), p.Consts.Size()
	payload, err := res.Manifest.Encode()
	if err != nil {
		return nil, err
	}
	w.module.AddCustom(abi.ManifestSection, payload)
	if payload, err = abi.EncodeLayers(w.layers); err != nil {
		return nil, err
	}
	w.module.AddCustom(abi.LayersSection, payload)
	res.Bytes = w.module.Encode()
	return res, nil
}

// wasmtubeIndex is where hosts of the Wasmtube convention write their arguments.
const wasmtubeIndex = 42

// free is the room before the inputs that a picture of the network's size needs at wasmtubeIndex, and
// the result that takes its place.
func (o Options) free(g *ir.Graph) int {
	if o.Image == nil {
		return 0
	}
	return wasmtubeIndex + max(3*o.Image.Width*o.Image.Height, o.reportBytes(g)) - plan.ArenaBase
}

func layer(n *ir.Node, calls []call) Layer {
	l := Layer{Name: n.Name, Op: n.Op.Name()}
	if len(calls) > 0 {
		l.Kernel = calls[len(calls)-1].kernel.Name()
	}
	if m, ok := n.Op.(interface{ MACs(in, out []ir.Type) int }); ok {
		var in []ir.Type
		for _, v := range n.In {
			in = append(in, v.Type)
		}
		l.MACs = m.MACs(in, []ir.Type{n.Out[0].Type})
	}
	return l
}

// writer collects the module while its functions are written.
type writer struct {
	graph   *ir.Graph
	plan    *plan.Plan
	opt     Options
	module  *wasm.Module
	kernels map[kernel.Kernel]uint32
	layers  []abi.Layer
	runFunc uint32
	heap    uint32
	hasHeap bool
	scratch int // bytes of zeroed memory used beyond the constants
}

func i32s(n int) []wasm.ValType {
	t := make([]wasm.ValType, n)
	for i := range t {
		t[i] = wasm.I32
	}
	return t
}

// kernel returns the function of k, written once for all layers that share it.
func (w *writer) kernel(k kernel.Kernel) uint32 {
	if f, ok := w.kernels[k]; ok {
		return f
	}
	made := k
	if b, ok := w.opt.Blocks[k.Name()]; ok {
		made = kernel.With(k, b)
	} else if b, ok := w.opt.Blocks[EveryKernel]; ok {
		made = kernel.With(k, b)
	}
	typ, code := kernel.New(made)
	f := w.module.AddFunc(k.Name(), typ, code)
	w.kernels[k] = f
	return f
}

// layer writes the function that computes the result of n, if that takes any call.
func (w *writer) layer(n *ir.Node, l Layer, calls []call) {
	if len(calls) == 0 {
		return
	}
	var names []string
	c := wasm.NewCode()
	for _, call := range calls {
		f := w.kernel(call.kernel)
		for _, a := range call.args {
			c.I32(int32(a))
		}
		c.Call(f)
		if name := call.kernel.Name(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	name := layerName(n)
	w.layers = append(w.layers, abi.Layer{
		Function: w.module.AddFunc(name, wasm.FuncType{}, c),
		Name:     name, Op: l.Op, MACs: int64(l.MACs), Kernels: names, Output: n.Out[0].Type.Shape,
	})
}

// layerName is the node's name as a module may carry it: the model's file may hold any bytes, of any length.
func layerName(n *ir.Node) string {
	const longest = 256
	name := strings.ToValidUTF8(n.Name, "\uFFFD")
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	if name == "" {
		return n.Op.Name()
	}
	return name
}

// run writes the function that computes the outputs from the inputs.
func (w *writer) run() {
	c := wasm.NewCode()
	for _, l := range w.layers {
		c.Call(l.Function)
	}
	w.runFunc = w.module.AddFunc(abi.ExportRun, wasm.FuncType{}, c)
	w.module.Export(abi.ExportRun, wasm.KindFunc, w.runFunc)
}

// reserve sets n bytes of zeroed memory aside beyond the constants and returns their address.
func (w *writer) reserve(n int) int {
	at := w.plan.Consts.End() + w.scratch
	w.scratch += (n + plan.Align - 1) / plan.Align * plan.Align
	return at
}

// finish adds what depends on the final size of the constants: memory, globals, data, allocator.
func (w *writer) finish() error {
	const slack = 2 * plan.Align // vectors may be loaded beyond the last value
	base := w.plan.Consts.End() + w.scratch + slack
	if base > 1<<31-1<<20 {
		return fmt.Errorf("weights and activations need %d bytes; a 32-bit memory holds %d", base, 1<<31-1)
	}
	m := w.module
	m.AddMemory(uint32(base+slack+abi.PageSize-1)/abi.PageSize, 0)
	m.Export(abi.ExportMemory, wasm.KindMemory, 0)
	for i, v := range w.graph.In {
		m.Export(abi.InputGlobal(i), wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(int32(w.plan.Of(v).Address))))
	}
	for i, v := range w.graph.Out {
		m.Export(abi.OutputGlobal(i), wasm.KindGlobal, m.AddGlobal(wasm.I32, false, wasm.ConstI32(int32(w.plan.Of(v).Address))))
	}
	w.allocator(int32(base))
	w.plan.Consts.Segments(func(at int, data []byte) { m.AddData(int32(at), data) })
	w.expand()
	return nil
}

func (w *writer) manifest() (abi.Manifest, error) {
	features, err := w.module.Features()
	if err != nil {
		return abi.Manifest{}, err
	}
	m := abi.Manifest{
		Name: w.opt.Name, Version: w.opt.Version, Labels: w.opt.Labels,
		Functions: []abi.Function{{Name: abi.ExportRun, Convention: abi.Tensors, Doc: "computes output_0… from input_0…"}},
		Features:  features,
		Golden:    w.opt.Golden,
		Memory:    &abi.MemorySpec{MinPages: uint32(w.module.Memories[0].Min)},
	}
	for i, v := range w.graph.In {
		m.Inputs = append(m.Inputs, abi.TensorSpec{Name: v.Name, Global: abi.InputGlobal(i), DType: abi.DType(v.Type.DType.String()), Shape: v.Type.Shape})
	}
	for i, v := range w.graph.Out {
		m.Outputs = append(m.Outputs, abi.TensorSpec{Name: v.Name, Global: abi.OutputGlobal(i), DType: abi.DType(v.Type.DType.String()), Shape: v.Type.Shape})
	}
	if w.opt.Image != nil {
		m.Image = &w.opt.Image.ImageSpec
		m.Functions = append(m.Functions,
			abi.Function{Name: ExportClassify, Convention: abi.Image, Output: abi.JSON, Doc: "the most likely classes of a picture"},
			abi.Function{Name: ExportPredict, Convention: abi.WasmtubeImage, Output: abi.JSON, Doc: "classify for hosts of the Wasmtube convention"})
	}
	return m, nil
}
