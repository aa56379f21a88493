package wasm

import (
	"cmp"
	"reflect"
	"slices"
)

const nameSection = "name"

// Names is the name section. Lists are in the order of their indices, each index once.
type Names struct {
	Module string
	Funcs  []Name
	Locals []LocalNames
	Rest   []NameSubsection // subsections of proposals, as found
}

// Name names the thing with this index.
type Name struct {
	Index uint32
	Name  string
}

// LocalNames names the locals, parameters first, of one function.
type LocalNames struct {
	Func  uint32
	Names []Name
}

// NameSubsection is a subsection that this package does not read.
type NameSubsection struct {
	ID      byte
	Payload []byte
}

// FuncName gives the name of a function, "" if it has none.
func (n *Names) FuncName(index uint32) string {
	if n == nil {
		return ""
	}
	if i, ok := findName(n.Funcs, index); ok {
		return n.Funcs[i].Name
	}
	return ""
}

func findName(names []Name, index uint32) (int, bool) {
	return slices.BinarySearchFunc(names, index, func(n Name, i uint32) int { return cmp.Compare(n.Index, i) })
}

func setName(names []Name, index uint32, name string) []Name {
	i, ok := findName(names, index)
	if ok {
		names[i].Name = name
		return names
	}
	return slices.Insert(names, i, Name{index, name})
}

func (n *Names) setLocals(fn uint32, names []Name) {
	names = slices.Clone(names)
	i, ok := slices.BinarySearchFunc(n.Locals, fn, func(l LocalNames, f uint32) int { return cmp.Compare(l.Func, f) })
	if ok {
		n.Locals[i].Names = names
		return
	}
	n.Locals = slices.Insert(n.Locals, i, LocalNames{fn, names})
}

func (m *Module) names() *Names {
	if m.Names == nil {
		m.Names = &Names{}
	}
	return m.Names
}

func (m *Module) nameFunc(index uint32, name string) {
	if name != "" {
		n := m.names()
		n.Funcs = setName(n.Funcs, index, name)
	}
}

// SetName names the module in the name section.
func (m *Module) SetName(name string) { m.names().Module = name }

// Subsections of the name section.
const (
	nameModule = 0
	nameFuncs  = 1
	nameLocals = 2
)

// encode gives the payload of the name section.
func (n *Names) encode() []byte {
	var b, sub []byte
	put := func(id byte) {
		b = append(appendU32(append(b, id), uint32(len(sub))), sub...)
		sub = sub[:0]
	}
	if n.Module != "" {
		sub = appendName(sub, n.Module)
		put(nameModule)
	}
	if len(n.Funcs) > 0 {
		sub = appendNameMap(sub, n.Funcs)
		put(nameFuncs)
	}
	if len(n.Locals) > 0 {
		sub = appendU32(sub, uint32(len(n.Locals)))
		for _, l := range n.Locals {
			sub = appendNameMap(appendU32(sub, l.Func), l.Names)
		}
		put(nameLocals)
	}
	for _, r := range n.Rest {
		sub = append(sub, r.Payload...)
		put(r.ID)
	}
	return b
}

func appendNameMap(b []byte, names []Name) []byte {
	b = appendU32(b, uint32(len(names)))
	for _, n := range names {
		b = appendName(appendU32(b, n.Index), n.Name)
	}
	return b
}

func (n *Names) equal(o *Names) bool { return reflect.DeepEqual(n, o) }

// parseNames reads the payload of a name section, nil if it is malformed. The specification lets no
// name section spoil a module, so there is no error to report.
func parseNames(payload []byte) *Names {
	n := &Names{}
	r := reader{b: payload}
	for last := -1; r.ok() && r.left() > 0; {
		id := r.byte("subsection")
		if int(id) <= last {
			return nil
		}
		last = int(id)
		sub := reader{b: r.take(int(r.u32("size")), "subsection")}
		if !r.ok() {
			return nil
		}
		switch id {
		case nameModule:
			n.Module = sub.name("module name")
		case nameFuncs:
			n.Funcs = sub.nameMap()
		case nameLocals:
			n.Locals = sub.localNames()
		default:
			n.Rest = append(n.Rest, NameSubsection{id, sub.b})
			sub.pos = len(sub.b)
		}
		if sub.end("names"); !sub.ok() {
			return nil
		}
	}
	if !r.ok() {
		return nil
	}
	return n
}

// nameMap fails unless indices rise.
func (r *reader) nameMap() []Name {
	names := make([]Name, r.count("names", 2))
	for i := range names {
		names[i] = Name{r.u32("index"), r.name("name")}
		if i > 0 && names[i].Index <= names[i-1].Index {
			r.fail("index %d behind %d", names[i].Index, names[i-1].Index)
		}
		if !r.ok() {
			return nil
		}
	}
	return names
}

func (r *reader) localNames() []LocalNames {
	list := make([]LocalNames, r.count("functions", 2))
	for i := range list {
		list[i] = LocalNames{r.u32("function"), r.nameMap()}
		if i > 0 && list[i].Func <= list[i-1].Func {
			r.fail("function %d behind %d", list[i].Func, list[i-1].Func)
		}
		if !r.ok() {
			return nil
		}
	}
	return list
}
