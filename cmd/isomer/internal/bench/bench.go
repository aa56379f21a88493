// Package bench measures a compiled network, whole and layer by layer. Use it to see where the time of a
// module goes on an engine; never to call a module for its answer, for which package isomer exists.
//
// Compatibility: internal to the command; it promises none.
package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/wasm"
)

// ErrNoLayers says that a module does not list its layers: Isomer's compiler did not make it, or an older one.
var ErrNoLayers = errors.New("the module does not list its layers (section " + abi.LayersSection + ")")

// Network is a module made ready to be measured: each layer is exported.
type Network struct {
	Bytes  []byte
	Layers []abi.Layer
	Inputs []Input
}

// Input is what one input of the network holds in each run.
type Input struct {
	Global string // that holds its address
	Data   []byte
}

// New makes a compiled module ready. Its inputs are filled from seed: numbers between 0 and 1, and 0 for
// integers, which may be indices.
func New(bin []byte, seed uint64) (*Network, error) {
	m, err := wasm.Decode(bin)
	if err != nil {
		return nil, err
	}
	payload, ok, err := wasm.CustomSection(bin, abi.LayersSection)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNoLayers
	}
	n := &Network{}
	if n.Layers, err = abi.DecodeLayers(payload); err != nil {
		return nil, err
	}
	for i, l := range n.Layers {
		if uint64(l.Function) >= uint64(len(m.Funcs)) || !isLayer(m.Types, m.Funcs[l.Function]) {
			return nil, fmt.Errorf("layer %d, %q: function %d of the module is none that computes a layer", i, l.Name, l.Function)
		}
		m.Export(export(i), wasm.KindFunc, l.Function)
	}
	if payload, ok, err = wasm.CustomSection(bin, abi.ManifestSection); err != nil || !ok {
		return nil, errors.Join(errors.New("the module has no manifest"), err)
	}
	manifest, err := abi.ParseManifest(payload)
	if err != nil {
		return nil, err
	}
	left := uint64(0) // bytes of memory, which the inputs lie in
	for _, l := range m.Memories {
		left += uint64(l.Min) * abi.PageSize
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for _, spec := range manifest.Inputs {
		size, err := spec.ByteSize()
		if err != nil {
			return nil, err
		}
		if uint64(size) > left {
			return nil, fmt.Errorf("input %q has %d bytes, more than the module's memory", spec.Name, size)
		}
		left -= uint64(size)
		n.Inputs = append(n.Inputs, Input{spec.Global, values(spec.DType, size, r)})
	}
	n.Bytes = m.Encode()
	return n, nil
}

func isLayer(types []wasm.FuncType, f wasm.Func) bool {
	return int(f.Type) < len(types) && len(types[f.Type].Params)+len(types[f.Type].Results) == 0
}

// export is the name under which layer i is exported.
func export(i int) string { return "isomer.layer." + strconv.Itoa(i) }

// values fills a tensor of size bytes.
func values(t abi.DType, size int, r *rand.Rand) []byte {
	data := make([]byte, size)
	if t == abi.F32 {
		for at := 0; at+4 <= size; at += 4 {
			binary.LittleEndian.PutUint32(data[at:], math.Float32bits(r.Float32()))
		}
	}
	return data
}

// Times are the times of some runs.
type Times []time.Duration

// Median is the time that half of the runs take at most.
func (t Times) Median() time.Duration {
	s := slices.Sorted(slices.Values(t))
	return s[len(s)/2]
}

// Least is the quickest run: other work on the machine only ever adds.
func (t Times) Least() time.Duration { return slices.Min(t) }

// Measured are the times of a network on one engine.
type Measured struct {
	Engine string
	Run    Times   // of whole runs
	Layers []Times // of each layer, as it comes in a run
}

// In measures n in e: runs whole runs and as many layer by layer, after a tenth of them to warm up. turn, if
// set, is told how far it is.
func In(ctx context.Context, e engine.Engine, n *Network, runs int, turn func(done, of int)) (*Measured, error) {
	code, err := e.Compile(ctx, n.Bytes, engine.CompileConfig{Interruptible: true})
	if err != nil {
		return nil, err
	}
	defer code.Close()
	in, err := code.Instantiate(ctx, engine.InstanceConfig{})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	run := in.Func(abi.ExportRun)
	if run == nil {
		return nil, fmt.Errorf("the module exports no %q", abi.ExportRun)
	}
	layers := make([]engine.Func, len(n.Layers))
	for i := range layers {
		layers[i] = in.Func(export(i))
	}
	m := &Measured{Engine: e.Name(), Layers: make([]Times, len(layers))}
	warm := runs/10 + 1
	for i := range warm + runs {
		if turn != nil {
			turn(i, warm+runs)
		}
		if err := n.feed(in); err != nil {
			return nil, err
		}
		took, err := timed(ctx, run)
		if err != nil {
			return nil, err
		}
		if i >= warm {
			m.Run = append(m.Run, took)
		}
		if err := n.feed(in); err != nil {
			return nil, err
		}
		for k, layer := range layers {
			took, err := timed(ctx, layer)
			if err != nil {
				return nil, err
			}
			if i >= warm {
				m.Layers[k] = append(m.Layers[k], took)
			}
		}
	}
	return m, nil
}

func timed(ctx context.Context, f engine.Func) (time.Duration, error) {
	start := time.Now()
	err := f.Call(ctx, nil)
	return time.Since(start), err
}

// feed writes the inputs, whose place a run uses for other things.
func (n *Network) feed(in engine.Instance) error {
	mem := in.Memory()
	if mem == nil {
		return errors.New("the module exports no memory")
	}
	for _, input := range n.Inputs {
		at, ok := in.Global(input.Global)
		at = uint64(uint32(at))
		if b := mem.Bytes(); !ok || at+uint64(len(input.Data)) > uint64(len(b)) {
			return fmt.Errorf("input %s lies outside the memory", input.Global)
		}
		copy(mem.Bytes()[at:], input.Data)
	}
	return nil
}
