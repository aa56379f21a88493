//go:build wasmtime

package wasmtime

// #include "call.h"
import "C"

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
)

// WASI is written here, not taken from wasmtime: its own reads the machine's clock and random source,
// and a module has to compute the same on each layer. What succeeds, what it writes, clock and random
// numbers are those of engine/wazero; TestWASIAnswers compares them. The numbers of errors are too,
// except in calls about files, of which there are none.

const preview1 = "wasi_snapshot_preview1"

// Error numbers of WASI.
const (
	success     = 0
	badf        = 8
	fault       = 21
	inval       = 28
	ioError     = 29
	nameTooLong = 37
	nosys       = 52
	notdir      = 54
	notsup      = 58
)

// wasi is what one instance was granted.
type wasi struct {
	outputs    [3]io.Writer // by file descriptor; stdin has none
	wall, mono int64        // ns, what the next reading says
	random     *rand.Rand
	gone       [3]bool // closed file descriptors

	exited   bool
	exitCode uint32
	broken   error // a panic of the host
}

// Clocks begin here and go on by a millisecond a reading.
const (
	firstWall = 1640995200 * 1e9 // 2022-01-01 00:00 UTC
	tick      = 1e6
	seed      = 42
)

func newWASI(grant *engine.WASI) *wasi {
	w := &wasi{wall: firstWall}
	if grant != nil {
		w.outputs[1], w.outputs[2] = grant.Stdout, grant.Stderr
	}
	for fd := 1; fd < len(w.outputs); fd++ {
		if w.outputs[fd] == nil {
			w.outputs[fd] = io.Discard
		}
	}
	return w
}

// ended reports whether the host ended the call: by proc_exit, or because it broke.
func (w *wasi) ended() bool { return w.exited || w.broken != nil }

// open reports whether a file descriptor is one of the three.
func (w *wasi) open(fd uint64) bool { return uint32(fd) < 3 && !w.gone[uint32(fd)] }

// wasiCall does one call on the guest's memory; its parameters are bits.
type wasiCall func(w *wasi, mem []byte, a []uint64) uint32

// wasiImport is a function of WASI: its parameters, i for i32 and I for i64, and what it does.
type wasiImport struct {
	params string
	call   wasiCall
}

func wasiFunc(i engine.Import) (wasiImport, bool) {
	if i.Module != preview1 || i.Kind != "func" {
		return wasiImport{}, false
	}
	f, ok := wasiImports[i.Name]
	return f, ok
}

func (f wasiImport) wasmType() *wasmtime.FuncType {
	params := make([]*wasmtime.ValType, len(f.params))
	for k, p := range f.params {
		params[k] = wasmtime.NewValType(wasmtime.KindI32)
		if p == 'I' {
			params[k] = wasmtime.NewValType(wasmtime.KindI64)
		}
	}
	var results []*wasmtime.ValType
	if f.call != nil {
		results = append(results, wasmtime.NewValType(wasmtime.KindI32))
	}
	return wasmtime.NewFuncType(params, results)
}

// callback is the function as wasmtime calls it.
func (f wasiImport) callback(name string) func(*wasmtime.Caller, []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
	return func(caller *wasmtime.Caller, args []wasmtime.Val) (out []wasmtime.Val, trap *wasmtime.Trap) {
		i := caller.Data().(*instance)
		w := i.wasi
		if f.call == nil { // proc_exit
			w.exited, w.exitCode = true, uint32(args[0].I32())
			return nil, wasmtime.NewTrap("exit")
		}
		defer func() {
			// A writer that panics is the guest's loss, not the process's.
			if r := recover(); r != nil {
				w.broken = fmt.Errorf("panic in %s: %v", name, r)
				out, trap = nil, wasmtime.NewTrap("panic in the host")
			}
		}()
		var bits [9]uint64 // path_open has the most
		for k, p := range f.params {
			if p == 'I' {
				bits[k] = uint64(args[k].I64())
			} else {
				bits[k] = uint64(uint32(args[k].I32()))
			}
		}
		return []wasmtime.Val{wasmtime.ValI32(int32(f.call(w, i.guestMemory(caller), bits[:len(f.params)])))}, nil
	}
}

// guestMemory is the memory during a call.
func (i *instance) guestMemory(caller *wasmtime.Caller) []byte {
	if i.c.has_memory {
		C.isomer_view(i.c)
		i.look()
		return i.view
	}
	if i.code.memory == nil {
		return nil
	}
	x := caller.GetExport(*i.code.memory) // the start section: the instance is not there yet
	if x == nil {
		return nil
	}
	defer x.Close()
	return x.Memory().UnsafeData(caller)
}

// span is a part of memory, nil where it does not lie inside.
func span(mem []byte, ptr, n uint64) []byte {
	if ptr+n > uint64(len(mem)) {
		return nil
	}
	return mem[ptr : ptr+n : ptr+n]
}

func put32(mem []byte, ptr uint64, v uint32) uint32 {
	b := span(mem, ptr, 4)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint32(b, v)
	return success
}

func put64(mem []byte, ptr, v uint64) uint32 {
	b := span(mem, ptr, 8)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint64(b, v)
	return success
}
