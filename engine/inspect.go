package engine

import (
	"errors"
	"fmt"

	"github.com/isomer-iot/isomer/wasm"
)

// Needs is what a module asks of its host before it can run.
type Needs struct {
	Imports    []Import
	Signatures []Signature // of the import with that index, where it is a function
	MinPages   uint32      // initial size of its memory
}

// MaxTableEntries bounds the tables that a module begins with, together, and what each may grow to: 8 MiB
// of references. The format allows 2³² entries, of which a few bytes of module can ask.
const MaxTableEntries = 1 << 20

// maxTables is far beyond what compilers make (1), and bounds what tables can grow to together.
const maxTables = 16

// Admit is what every engine asks before it compiles: bin is sound and fits the ceiling of cfg, whose
// default it fills in. The error is a *LimitError or a *CompileError in the name of the engine. The
// module shares the memory of bin.
func Admit(name string, bin []byte, cfg *CompileConfig) (*wasm.Module, Needs, error) {
	if cfg.MaxPages == 0 || cfg.MaxPages > MaxPages {
		cfg.MaxPages = MaxPages
	}
	m, needs, err := inspect(bin)
	if limit, ok := err.(*LimitError); ok {
		return nil, Needs{}, limit
	}
	if err != nil {
		return nil, Needs{}, &CompileError{Engine: name, Cause: err}
	}
	if needs.MinPages > cfg.MaxPages {
		return nil, Needs{}, &LimitError{Limit: MemorySz, Detail: fmt.Sprintf(
			"the module starts with %d pages of 64 KiB, allowed are %d", needs.MinPages, cfg.MaxPages)}
	}
	return m, needs, nil
}

// Inspect decodes bin strictly and says what it needs. An engine calls it before its own decoder:
// decoders allocate what a module's counts announce (wazero 1.12: 17 GB for a module of 15 bytes,
// which ends the process), and this one believes no count that the remaining bytes cannot hold.
func Inspect(bin []byte) (Needs, error) {
	_, n, err := inspect(bin)
	return n, err
}

func inspect(bin []byte) (*wasm.Module, Needs, error) {
	m, err := wasm.Decode(bin)
	if err != nil {
		return nil, Needs{}, err
	}
	if _, ok := m.Custom("name"); ok && m.Names == nil {
		return nil, Needs{}, errors.New("the name section does not parse")
	}
	var n Needs
	entries := uint64(0)
	for _, t := range m.Tables {
		entries += uint64(t.Limits.Min)
	}
	for _, l := range m.Memories {
		n.MinPages = max(n.MinPages, l.Min)
	}
	for _, i := range m.Imports {
		n.Imports = append(n.Imports, Import{Module: i.Module, Name: i.Name, Kind: i.Kind.String()})
		n.Signatures = append(n.Signatures, Signature{})
		switch i.Kind {
		case wasm.KindFunc:
			t := m.Types[i.Type]
			n.Signatures[len(n.Signatures)-1] = Signature{Params: valTypes(t.Params), Results: valTypes(t.Results)}
		case wasm.KindMemory:
			n.MinPages = max(n.MinPages, i.Memory.Min)
		case wasm.KindTable:
			entries += uint64(i.Table.Limits.Min)
		}
	}
	if entries > MaxTableEntries {
		return nil, Needs{}, &LimitError{Limit: MemorySz, Detail: fmt.Sprintf("tables begin with %d entries, allowed are %d", entries, MaxTableEntries)}
	}
	if len(m.Tables) > maxTables {
		return nil, Needs{}, &LimitError{Limit: MemorySz, Detail: fmt.Sprintf("%d tables, allowed are %d", len(m.Tables), maxTables)}
	}
	return m, n, nil
}

func valTypes(ts []wasm.ValType) []ValType {
	out := make([]ValType, len(ts))
	for i, t := range ts {
		out[i] = ValType(t)
	}
	return out
}
