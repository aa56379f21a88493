package emit

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/fence"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
	"github.com/isomer-iot/isomer/wasm"
)

// slack is how far loads may go beyond a row, see package kernel.
const slack = 12

// checkLayers runs the module of g with each access to memory checked: the code of a node reads its inputs,
// its outputs and the constants, and 12 bytes beyond each, and writes its outputs, with the room around
// them, and its scratch, and nothing else.
func (b *bench) checkLayers(g *ir.Graph, res *Result, inputs []*ir.Tensor) error {
	m, err := wasm.Decode(res.Bytes)
	if err != nil {
		return err
	}
	p, err := plan.New(g, 0)
	if err != nil {
		return err
	}
	layers, err := layersOf(m, p, g)
	if err != nil {
		return err
	}
	rules := map[uint32]fence.Rule{}
	for i, n := range g.Nodes {
		if f, ok := layers[i]; ok {
			rules[f] = ruleOf(p, n, res.Consts)
		}
	}
	if err := fence.Rewrite(m, fence.Rule{}, rules); err != nil {
		return err
	}
	ctx := context.Background()
	mod, err := b.rt.InstantiateWithConfig(ctx, m.Encode(), wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return err
	}
	defer mod.Close(ctx)
	mem, _ := mod.Memory().Read(0, mod.Memory().Size())
	for i, x := range inputs {
		put(mem[mod.ExportedGlobal(abi.InputGlobal(i)).Get():], x)
	}
	if _, err = mod.ExportedFunction(abi.ExportRun).Call(ctx); err != nil {
		what := fence.Breach(func(name string) uint64 { return mod.ExportedGlobal(name).Get() })
		return fmt.Errorf("%s: %w\n%s", what, err, memoryOf(p, g))
	}
	return nil
}

// ruleOf is what the code of n may touch.
func ruleOf(p *plan.Plan, n *ir.Node, consts int) fence.Rule {
	base := p.Consts.Base()
	r := fence.Rule{Load: []fence.Range{within(base, base+consts+slack)}}
	mine := []fence.Range{}
	for _, v := range n.Out {
		mine = append(mine, extent(p.Of(v)))
	}
	if s, ok := n.Op.(ir.Scratcher); ok {
		var in []ir.Type
		for _, v := range n.In {
			in = append(in, v.Type)
		}
		at := p.Scratch(n)
		mine = append(mine, within(at, at+s.Scratch(in)))
	}
	r.Store = mine
	for _, v := range n.In {
		if v.Const == nil {
			mine = append(mine, extent(p.Of(v)))
		}
	}
	for _, x := range mine {
		r.Load = append(r.Load, fence.Range{From: x.From, To: x.To + slack})
	}
	return r
}

// layersOf gives the function of each node that has code, by its place in the graph. Where run calls the
// kernels itself, the calls of each node become a function here.
func layersOf(m *wasm.Module, p *plan.Plan, g *ir.Graph) (map[int]uint32, error) {
	low := &lowerer{plan: p}
	var nodes, ends []int // nodes with code, and the number of calls up to and with each
	for i, n := range g.Nodes {
		before := len(low.calls)
		if err := low.node(n); err != nil {
			return nil, err
		}
		if len(low.calls) > before {
			nodes, ends = append(nodes, i), append(ends, len(low.calls))
		}
	}
	e, _ := m.Exported(abi.ExportRun)
	run := &m.Funcs[e.Index]
	var at []int // where each call of run ends
	var calls []uint32
	after := false
	for in, err := range wasm.Instructions(run.Body) {
		if err != nil {
			return nil, err
		}
		if after {
			at = append(at, in.Offset)
		}
		if after = in.Op == wasm.Call; after {
			calls = append(calls, in.Index)
		}
	}
	layers := map[int]uint32{}
	if len(calls) == 0 {
		return layers, nil
	}
	if t, _ := m.FuncType(calls[0]); len(t.Params) == 0 && len(calls) == len(nodes) { // functions of layers take nothing
		for i, f := range calls {
			layers[nodes[i]] = f
		}
		return layers, nil
	}
	if len(calls) != len(low.calls) {
		return nil, fmt.Errorf("run has %d calls, the graph %d kernels of %d nodes", len(calls), len(low.calls), len(nodes))
	}
	from, body, c := 0, run.Body, wasm.NewCode()
	for i, node := range nodes {
		to := at[ends[i]-1]
		f := m.AddFunc("layer", wasm.FuncType{}, wasm.NewCode().Raw(body[from:to]...))
		layers[node], from = f, to
		c.Call(f)
	}
	m.DefineFunc(e.Index, c)
	return layers, nil
}

// memoryOf lists where the values lie, for the message of a breach.
func memoryOf(p *plan.Plan, g *ir.Graph) string {
	s := ""
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			r := extent(p.Of(v))
			s += fmt.Sprintf("%d to %d: %s, %v of %s\n", r.From, r.To, v.Name, v.Type, n.Op.Name())
		}
	}
	return s
}
