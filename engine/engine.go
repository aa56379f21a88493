// Package engine is the seam between the bridge and a WebAssembly engine: compile, instantiate,
// call, memory, errors, and nothing else.
//
// Use engine to put another WebAssembly engine under the bridge (and enginetest to prove it right);
// never to call modules, for which package isomer exists. engine/wazero is the engine that the
// bridge uses by default.
//
// Compatibility: v0, these interfaces may change until 1.0.
package engine

import "context"

// Engine compiles modules. Its methods may be called from several goroutines.
type Engine interface {
	// Name identifies engine and mode, such as "wazero" or "wazero-interpreter".
	Name() string
	// Compile decodes, validates and compiles bin. Errors: *CompileError, or *LimitError where the
	// module asks for more memory than cfg allows. bin may be reused after it returns.
	Compile(ctx context.Context, bin []byte, cfg CompileConfig) (Code, error)
	// Close releases the engine. Close every Code before.
	Close() error
}

// CompileConfig holds what an engine has to know before it makes machine code.
type CompileConfig struct {
	// MaxPages is the ceiling of each instance's memory in pages of 64 KiB. 0, or more than
	// MaxPages can be: MaxPages.
	MaxPages uint32
	// Interruptible makes Func.Call look at its context about once each millisecond and return a
	// *LimitError when that has ended; a shorter call may not look at all. It costs nothing on entry and
	// in loops whose turns can be counted beforehand; other loops become 5 % slower, the tightest 60 %
	// (package meter). Without it no one looks at contexts while the guest runs, and a garbage
	// collection waits for a guest in machine code to return.
	Interruptible bool
}

// MaxPages is the largest memory that a host handles: one page less than 4 GiB, so that a size in
// bytes fits 32 bits. A module may ask for that page as well: package abi takes 65536 in a manifest.
const MaxPages = 65535

// Code is a compiled module. Its methods may be called from several goroutines.
type Code interface {
	// Funcs lists the exported functions, ordered by name.
	Funcs() []FuncExport
	// Imports lists what the module imports, in the module's order.
	Imports() []Import
	// Instantiate makes an instance, runs the start section, then _initialize where it is exported.
	// Errors: *LinkError with every import that is not there, *StartError for a trap on the way,
	// *LimitError where the context ended meanwhile.
	Instantiate(ctx context.Context, cfg InstanceConfig) (Instance, error)
	// Close releases the code. Instances made from it must be closed before.
	Close() error
}

// InstanceConfig says what an instance is granted. The zero value grants nothing.
type InstanceConfig struct {
	// WASI grants wasi_snapshot_preview1; nil denies it.
	WASI *WASI
	// Host is what the module may import beside WASI. A module that imports anything else is refused.
	Host []HostFunc
}

// Instance is one sandbox. It belongs to one goroutine at a time.
type Instance interface {
	// Func is the exported function called name, or nil. Look it up once: the Func carries the
	// stack that makes calls free of allocation.
	Func(name string) Func
	// Memory is the exported memory, or nil.
	Memory() Memory
	// Global is the value of an exported global as its bits, i32 in the low half.
	Global(name string) (uint64, bool)
	// Close releases the instance. Closing twice is no error.
	Close() error
}

// Func is an exported function of one instance.
type Func interface {
	// Call runs the function. stack holds the parameters and afterwards the results, as bits, and
	// has room for the longer of the two; of an i32 or f32 the lower half counts. It allocates nothing
	// unless it fails. After a *TrapError
	// or *LimitError the instance may only be closed.
	Call(ctx context.Context, stack []uint64) error
}

// Memory is an instance's linear memory.
type Memory interface {
	// Bytes is the whole memory, not a copy. It is valid until the guest runs or Grow is called.
	Bytes() []byte
	// Grow adds pages and returns the former size in pages, or false where the ceiling forbids it.
	Grow(pages uint32) (before uint32, ok bool)
}

// ValType is a value type with the number that the binary format gives it.
type ValType byte

// The value types that cross the border.
const (
	I32 ValType = 0x7f
	I64 ValType = 0x7e
	F32 ValType = 0x7d
	F64 ValType = 0x7c
)

func (t ValType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	}
	return "unsupported type"
}

// Signature is a function's type.
type Signature struct{ Params, Results []ValType }

func (s Signature) String() string { return typeList(s.Params) + " -> " + typeList(s.Results) }

// Is reports whether s takes params values and gives results values, all of them i32: the shape of
// every function that handles addresses.
func (s Signature) Is(params, results int) bool {
	if len(s.Params) != params || len(s.Results) != results {
		return false
	}
	for _, t := range s.Params {
		if t != I32 {
			return false
		}
	}
	for _, t := range s.Results {
		if t != I32 {
			return false
		}
	}
	return true
}

func typeList(ts []ValType) string {
	out := []byte{'('}
	for i, t := range ts {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, t.String()...)
	}
	return string(append(out, ')'))
}

// FuncExport is an exported function.
type FuncExport struct {
	Name string
	Signature
}

// Import is something that a module needs from outside.
type Import struct {
	Module, Name string
	Kind         string // "func", "table", "memory", "global" or "tag"
}

func (i Import) String() string { return i.Kind + " " + i.Module + "." + i.Name }
