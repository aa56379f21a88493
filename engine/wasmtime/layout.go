//go:build wasmtime

package wasmtime

// #include "call.h"
import "C"

import (
	"unsafe"

	"github.com/bytecodealliance/wasmtime-go/v39"
)

// wasmtime-go keeps the C values in unexported fields, and its own call path takes arguments through
// interfaces (see docs/decisions.md for the figures). These are the only places that look inside; each
// type holds the C value first, and a version where a size differs does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(wasmtime.Func{})-unsafe.Sizeof(C.wasmtime_func_t{})]
	_ = [1]struct{}{}[unsafe.Sizeof(wasmtime.Memory{})-unsafe.Sizeof(C.wasmtime_memory_t{})]
	_ = [1]struct{}{}[unsafe.Sizeof(wasmtime.Store{})-2*unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(wasmtime.Trap{})-unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(wasmtime.Error{})-unsafe.Sizeof(uintptr(0))]
	_ = [1]struct{}{}[unsafe.Sizeof(C.isomer_value{})-16]
)

func rawFunc(f *wasmtime.Func) C.wasmtime_func_t { return *(*C.wasmtime_func_t)(unsafe.Pointer(f)) }

func rawMemory(m *wasmtime.Memory) C.wasmtime_memory_t {
	return *(*C.wasmtime_memory_t)(unsafe.Pointer(m))
}

func rawStore(s *wasmtime.Store) *C.wasmtime_store_t {
	return *(**C.wasmtime_store_t)(unsafe.Pointer(s))
}

// takeTrap gives p an owner, who has to close it.
func takeTrap(p *C.wasm_trap_t) *wasmtime.Trap {
	t := new(wasmtime.Trap)
	*(**C.wasm_trap_t)(unsafe.Pointer(t)) = p
	return t
}

// takeError gives p an owner, who has to close it.
func takeError(p *C.wasmtime_error_t) *wasmtime.Error {
	e := new(wasmtime.Error)
	*(**C.wasmtime_error_t)(unsafe.Pointer(e)) = p
	return e
}
