package wasm

import (
	"fmt"
	"slices"
)

// ValType is the type of a value, as its byte in the binary format.
type ValType byte

const (
	I32       ValType = 0x7F
	I64       ValType = 0x7E
	F32       ValType = 0x7D
	F64       ValType = 0x7C
	V128      ValType = 0x7B
	FuncRef   ValType = 0x70
	ExternRef ValType = 0x6F
)

// Valid reports whether t is one of the constants above.
func (t ValType) Valid() bool {
	switch t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return true
	}
	return false
}

// IsRef reports whether t is a reference type.
func (t ValType) IsRef() bool { return t == FuncRef || t == ExternRef }

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
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return fmt.Sprintf("valtype(0x%02x)", byte(t))
}

// FuncType is a function signature.
type FuncType struct {
	Params, Results []ValType
}

// Equal compares operand by operand; nil and empty are the same.
func (t FuncType) Equal(u FuncType) bool {
	return slices.Equal(t.Params, u.Params) && slices.Equal(t.Results, u.Results)
}

// String gives "(i32 i32) -> f32"; several results are in parentheses, none is "()".
func (t FuncType) String() string {
	if len(t.Results) == 1 {
		return typeList(t.Params) + " -> " + t.Results[0].String()
	}
	return typeList(t.Params) + " -> " + typeList(t.Results)
}

func typeList(types []ValType) string {
	b := []byte{'('}
	for i, t := range types {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, t.String()...)
	}
	return string(append(b, ')'))
}

// Limits is the size of a memory in pages of 64 KiB or of a table in elements. Max counts only if
// HasMax is set. Shared memories belong to the threads proposal.
type Limits struct {
	Min, Max uint32
	HasMax   bool
	Shared   bool
}

// TableType is the type of a table.
type TableType struct {
	Elem   ValType
	Limits Limits
}

// GlobalType is the type of a global.
type GlobalType struct {
	Type    ValType
	Mutable bool
}

// Kind says what an import or export is.
type Kind byte

const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

func (k Kind) String() string {
	switch k {
	case KindFunc:
		return "func"
	case KindTable:
		return "table"
	case KindMemory:
		return "memory"
	case KindGlobal:
		return "global"
	}
	return fmt.Sprintf("kind(%d)", byte(k))
}
