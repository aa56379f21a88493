// Package wasm reads and writes the WebAssembly binary format: use it to generate a module, to look
// into one, or to set a custom section; never to run one, nor to decide whether a module of somebody
// else is safe to run: both are the engine's task.
//
// It covers the core format 2.0 (multi-value, reference types, bulk memory, fixed-width SIMD), tail
// calls and extended constant expressions, and reads relaxed SIMD and threads. Sections and types of
// later proposals (exceptions, garbage collection, 64-bit memories) are refused. It imports the
// standard library only.
//
// Compatibility: v0, anything may change until 1.0.
package wasm

import (
	"fmt"
	"slices"
)

// PageSize is the unit of memory limits, in bytes.
const PageSize = 65536

// Module is a module in memory. The zero value is an empty module, ready to build on. Index spaces are
// as in the format: imports of a kind come first.
//
// Methods that build panic on programmer errors, such as a function body whose labels do not fit;
// Decode never panics.
type Module struct {
	Types    []FuncType
	Imports  []Import
	Funcs    []Func
	Tables   []TableType
	Memories []Limits
	Globals  []Global
	Exports  []Export
	Start    *uint32
	Elems    []Elem
	Data     []Data
	Customs  []Custom

	// Names holds what the name section says, nil if there is none or it does not parse. Encode
	// writes a decoded name section back byte for byte unless Names was changed.
	Names *Names

	// DataCount asks for the data count section, which memory.init and data.drop need.
	DataCount bool

	// sizeWidth is the width of each section's size as decoded, 0 for the shortest. Linkers pad
	// it (Go's to 5 bytes); keeping it keeps the digest of a module that was only read.
	sizeWidth [maxSection + 1]uint8
}

// Import is one import; Kind says which of the fields after it counts.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         uint32 // type index
	Table        TableType
	Memory       Limits
	Global       GlobalType
}

// Func is a function defined in the module. Body is its expression including the final end.
type Func struct {
	Type   uint32
	Locals []LocalGroup
	Body   []byte
}

// LocalGroup is a run of locals of one type.
type LocalGroup struct {
	Count uint32
	Type  ValType
}

// Global is a global defined in the module.
type Global struct {
	GlobalType
	Init ConstExpr
}

// Export is one export; Index is in the index space of Kind.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
}

// Segment flags, as in the binary format.
const (
	SegPassive  = 1 // not active: applied by memory.init or table.init
	SegExplicit = 2 // with SegPassive: declarative; without: an explicit memory or table index
	SegExprs    = 4 // elements are expressions, not function indices
)

// Elem is an element segment. Offset and Table count for active segments.
type Elem struct {
	Flags  uint32
	Table  uint32
	Offset ConstExpr
	Type   ValType
	Funcs  []uint32
	Exprs  []ConstExpr
}

// Data is a data segment. Offset and Memory count for active segments. Nobody copies Bytes before
// Encode, so they may not change until then.
type Data struct {
	Flags  uint32
	Memory uint32
	Offset ConstExpr
	Bytes  []byte
}

// Custom is a custom section. It stands behind the section After, or before all others if After is 0;
// customs with the same After keep their order.
type Custom struct {
	Name    string
	Payload []byte
	After   SectionID

	sizeWidth uint8
}

// AddType gives the index of t, added if no equal type is there.
func (m *Module) AddType(t FuncType) uint32 {
	for i := range m.Types {
		if m.Types[i].Equal(t) {
			return uint32(i)
		}
	}
	m.Types = append(m.Types, FuncType{slices.Clone(t.Params), slices.Clone(t.Results)})
	return uint32(len(m.Types) - 1)
}

// imported counts the imports of a kind.
func (m *Module) imported(k Kind) uint32 {
	n := uint32(0)
	for i := range m.Imports {
		if m.Imports[i].Kind == k {
			n++
		}
	}
	return n
}

// ImportFunc imports a function and gives its index. Imports come before the functions of the module,
// so it panics after AddFunc or DeclareFunc.
func (m *Module) ImportFunc(module, name string, t FuncType) uint32 {
	if len(m.Funcs) > 0 {
		panic(fmt.Sprintf("wasm: import %s.%s after functions were added", module, name))
	}
	m.Imports = append(m.Imports, Import{Module: module, Name: name, Kind: KindFunc, Type: m.AddType(t)})
	index := m.imported(KindFunc) - 1
	m.nameFunc(index, name)
	return index
}

// AddFunc adds a function and gives its index, which counts imported functions. The name goes to the
// name section, where profilers and stack traces find it; "" gives none. It panics if code's
// parameters are not those of t or a block is open.
func (m *Module) AddFunc(name string, t FuncType, code *Code) uint32 {
	index := m.DeclareFunc(name, t)
	m.DefineFunc(index, code)
	return index
}

// DeclareFunc reserves the index of a function whose code comes later, so that functions can call
// each other in any order. Until DefineFunc its body traps.
func (m *Module) DeclareFunc(name string, t FuncType) uint32 {
	m.Funcs = append(m.Funcs, Func{Type: m.AddType(t), Body: []byte{byte(Unreachable), byte(End)}})
	index := m.imported(KindFunc) + uint32(len(m.Funcs)) - 1
	m.nameFunc(index, name)
	return index
}

// DefineFunc gives a declared function its code; code may be reused afterwards.
func (m *Module) DefineFunc(index uint32, code *Code) {
	i := int(index) - int(m.imported(KindFunc))
	if i < 0 || i >= len(m.Funcs) {
		panic(fmt.Sprintf("wasm: function %d is not declared", index))
	}
	f := &m.Funcs[i]
	if want := m.Types[f.Type].Params; !slices.Equal(code.params, want) {
		panic(fmt.Sprintf("wasm: function %d has parameters %s, its code %s",
			index, typeList(want), typeList(code.params)))
	}
	f.Locals, f.Body = code.finish()
	if code.dataCount {
		m.DataCount = true
	}
	if len(code.names) > 0 {
		m.names().setLocals(index, code.names)
	}
}

// FuncType gives the type of the function with this index, imported or not.
func (m *Module) FuncType(index uint32) (t FuncType, ok bool) {
	typ, n := uint32(0), index
	for i := range m.Imports {
		if m.Imports[i].Kind != KindFunc {
			continue
		}
		if n == 0 {
			typ, ok = m.Imports[i].Type, true
			break
		}
		n--
	}
	if !ok && uint64(n) < uint64(len(m.Funcs)) {
		typ, ok = m.Funcs[n].Type, true
	}
	if !ok || uint64(typ) >= uint64(len(m.Types)) {
		return FuncType{}, false
	}
	return m.Types[typ], true
}

// Export exports a function, table, memory or global.
func (m *Module) Export(name string, kind Kind, index uint32) {
	m.Exports = append(m.Exports, Export{name, kind, index})
}

// Exported finds an export by name.
func (m *Module) Exported(name string) (Export, bool) {
	for _, e := range m.Exports {
		if e.Name == name {
			return e, true
		}
	}
	return Export{}, false
}

// AddGlobal adds a global and gives its index, which counts imported globals.
func (m *Module) AddGlobal(t ValType, mutable bool, init ConstExpr) uint32 {
	m.Globals = append(m.Globals, Global{GlobalType{t, mutable}, init})
	return m.imported(KindGlobal) + uint32(len(m.Globals)) - 1
}

// AddMemory adds a memory of minPages to maxPages pages and gives its index; maxPages 0 sets no upper limit.
func (m *Module) AddMemory(minPages, maxPages uint32) uint32 {
	m.Memories = append(m.Memories, Limits{Min: minPages, Max: maxPages, HasMax: maxPages != 0})
	return m.imported(KindMemory) + uint32(len(m.Memories)) - 1
}

// AddData adds bytes that instantiation writes to memory 0 at offset, and gives the segment's index. It
// keeps bytes without a copy.
func (m *Module) AddData(offset int32, bytes []byte) uint32 {
	m.Data = append(m.Data, Data{Offset: ConstI32(offset), Bytes: bytes})
	return uint32(len(m.Data) - 1)
}

// AddPassiveData adds bytes for memory.init and gives the segment's index.
func (m *Module) AddPassiveData(bytes []byte) uint32 {
	m.Data = append(m.Data, Data{Flags: SegPassive, Bytes: bytes})
	return uint32(len(m.Data) - 1)
}

// AddTable adds a table that holds these functions from element 0 on, for call_indirect, and gives
// its index.
func (m *Module) AddTable(funcs ...uint32) uint32 {
	n := uint32(len(funcs))
	m.Tables = append(m.Tables, TableType{FuncRef, Limits{Min: n, Max: n, HasMax: true}})
	index := m.imported(KindTable) + uint32(len(m.Tables)) - 1
	elem := Elem{Table: index, Offset: ConstI32(0), Type: FuncRef, Funcs: funcs}
	if index > 0 {
		elem.Flags = SegExplicit
	}
	m.Elems = append(m.Elems, elem)
	return index
}

// AddCustom adds a custom section at the end of the module.
func (m *Module) AddCustom(name string, payload []byte) {
	m.Customs = append(m.Customs, Custom{Name: name, Payload: payload, After: SectionData})
}

// Custom gives the payload of the first custom section with this name.
func (m *Module) Custom(name string) (payload []byte, ok bool) {
	for i := range m.Customs {
		if m.Customs[i].Name == name {
			return m.Customs[i].Payload, true
		}
	}
	return nil, false
}
