package wasm

import (
	"fmt"
	"maps"
	"slices"
)

// Names of features beyond the first version of WebAssembly, as Module.Features gives them and as
// toolchains write them.
const (
	FeatureSIMD           = "simd128"
	FeatureRelaxedSIMD    = "relaxed-simd"
	FeatureBulkMemory     = "bulk-memory"
	FeatureSignExt        = "sign-ext"
	FeatureMutableGlobals = "mutable-globals"
	FeatureTruncSat       = "nontrapping-fptoint"
	FeatureMultiValue     = "multi-value"
	FeatureRefTypes       = "reference-types"
	FeatureTailCall       = "tail-call"
	FeatureThreads        = "threads"
	FeatureExtendedConst  = "extended-const"
	FeatureMultiMemory    = "multi-memory"
)

// Features names what the module uses beyond the first version of WebAssembly, sorted. It decodes
// every body, and fails on instructions that this package does not know.
func (m *Module) Features() ([]string, error) {
	f := featureSet{m: m, set: map[string]bool{}}
	f.declarations()
	f.segments()
	for i := range m.Funcs {
		for _, g := range m.Funcs[i].Locals {
			f.valType(g.Type)
		}
		if err := f.code(m.Funcs[i].Body); err != nil {
			index := m.imported(KindFunc) + uint32(i)
			return nil, fmt.Errorf("function %d %q: %w", index, m.Names.FuncName(index), err)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return slices.Sorted(maps.Keys(f.set)), nil
}

type featureSet struct {
	m   *Module
	set map[string]bool
	err error // the first bad constant expression; Decode lets none through
}

func (f *featureSet) addIf(cond bool, name string) {
	if cond {
		f.set[name] = true
	}
}

func (f *featureSet) valType(t ValType) {
	f.addIf(t == V128, FeatureSIMD)
	f.addIf(t.IsRef(), FeatureRefTypes)
}

func (f *featureSet) declarations() {
	m := f.m
	for i := range m.Types {
		for _, t := range m.Types[i].Params {
			f.valType(t)
		}
		for _, t := range m.Types[i].Results {
			f.valType(t)
		}
		f.addIf(len(m.Types[i].Results) > 1, FeatureMultiValue)
	}
	memories, tables := len(m.Memories), len(m.Tables)
	for i := range m.Imports {
		switch im := &m.Imports[i]; im.Kind {
		case KindMemory:
			memories++
			f.addIf(im.Memory.Shared, FeatureThreads)
		case KindTable:
			tables++
			f.addIf(im.Table.Elem != FuncRef, FeatureRefTypes)
		case KindGlobal:
			f.valType(im.Global.Type)
			f.addIf(im.Global.Mutable, FeatureMutableGlobals)
		}
	}
	f.addIf(memories > 1, FeatureMultiMemory)
	f.addIf(tables > 1, FeatureRefTypes)
	for _, l := range m.Memories {
		f.addIf(l.Shared, FeatureThreads)
	}
	for _, t := range m.Tables {
		f.addIf(t.Elem != FuncRef, FeatureRefTypes)
	}
	imported := m.imported(KindGlobal)
	for _, x := range m.Exports {
		if x.Kind == KindGlobal && x.Index >= imported && int(x.Index-imported) < len(m.Globals) {
			f.addIf(m.Globals[x.Index-imported].Mutable, FeatureMutableGlobals)
		}
	}
	for i := range m.Globals {
		f.valType(m.Globals[i].Type)
		f.constExpr(m.Globals[i].Init)
	}
}

func (f *featureSet) segments() {
	m := f.m
	f.addIf(m.DataCount, FeatureBulkMemory)
	for i := range m.Data {
		f.addIf(m.Data[i].Flags&SegPassive != 0, FeatureBulkMemory)
		f.addIf(m.Data[i].Memory != 0, FeatureMultiMemory)
		f.constExpr(m.Data[i].Offset)
	}
	for i := range m.Elems {
		s := &m.Elems[i]
		f.addIf(s.Flags&SegPassive != 0 && s.Flags&SegExplicit == 0, FeatureBulkMemory)
		declared := s.Flags&SegPassive != 0 && s.Flags&SegExplicit != 0
		f.addIf(declared || s.Flags&SegExprs != 0 || s.Table != 0, FeatureRefTypes)
		f.constExpr(s.Offset)
		for _, x := range s.Exprs {
			f.constExpr(x)
		}
	}
}

func (f *featureSet) constExpr(x ConstExpr) {
	if _, plain := x.I32(); plain || x == nil {
		return
	}
	d, in := newInstrReader(reader{b: x}), Instr{}
	for d.next(&in) {
		switch in.Op {
		case I32Add, I32Sub, I32Mul, I64Add, I64Sub, I64Mul:
			f.set[FeatureExtendedConst] = true
		default:
			f.op(in.Op)
		}
	}
	if d.err != nil && f.err == nil {
		f.err = fmt.Errorf("constant expression: %w", d.err)
	}
}

// op skips the map for instructions of the first version, which most are.
func (f *featureSet) op(op Op) {
	if name := op.Feature(); name != "" {
		f.set[name] = true
	}
}

func (f *featureSet) code(body []byte) error {
	d, in := newInstrReader(reader{b: body, section: SectionCode.String()}), Instr{}
	for d.next(&in) {
		f.op(in.Op)
		switch in.Op {
		case Block, Loop, If:
			_, multi := in.Block.TypeIndex()
			f.addIf(multi, FeatureMultiValue)
			if t, ok := in.Block.Result(); ok {
				f.valType(t)
			}
		case CallIndirect, ReturnCallIndirect:
			f.addIf(in.Index2 != 0, FeatureRefTypes)
		case MemorySize, MemoryGrow, MemoryFill:
			f.addIf(in.Index != 0, FeatureMultiMemory)
		case MemoryCopy:
			f.addIf(in.Index != 0 || in.Index2 != 0, FeatureMultiMemory)
		case MemoryInit:
			f.addIf(in.Index2 != 0, FeatureMultiMemory)
		default:
			f.addIf(in.namesMemory, FeatureMultiMemory)
		}
	}
	return d.error()
}
