//go:build wasmtime

package wasmtime

// #include "call.h"
import "C"

import (
	"math"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
)

// hostType is the type of a host function for wasmtime, nil where none can have it.
func hostType(s engine.Signature) *wasmtime.FuncType {
	kinds := map[engine.ValType]wasmtime.ValKind{
		engine.I32: wasmtime.KindI32, engine.I64: wasmtime.KindI64, engine.F32: wasmtime.KindF32, engine.F64: wasmtime.KindF64,
	}
	types := func(ts []engine.ValType) ([]*wasmtime.ValType, bool) {
		out := make([]*wasmtime.ValType, len(ts))
		for k, t := range ts {
			kind, ok := kinds[t]
			if !ok {
				return nil, false
			}
			out[k] = wasmtime.NewValType(kind)
		}
		return out, true
	}
	params, ok := types(s.Params)
	results, ok2 := types(s.Results)
	if !ok || !ok2 {
		return nil
	}
	return wasmtime.NewFuncType(params, results)
}

// lookAfter is how many host calls are made between two looks at the context.
const lookAfter = 64

// batch is how many instructions run between two looks at the context: 0.1 to 1 ms of them.
const batch = 1 << 21

// refill is the meter's: it ends the call whose context has ended.
func refill(caller *wasmtime.Caller, _ []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
	if i := caller.Data().(*instance); !i.goesOn() {
		return nil, wasmtime.NewTrap("stopped by the host")
	}
	return []wasmtime.Val{wasmtime.ValI64(batch)}, nil
}

// goesOn reports whether nobody has stopped the call under way.
func (i *instance) goesOn() bool {
	if err := i.ctx.Err(); err != nil && i.failed == nil && i.code.cfg.Interruptible {
		i.failed = engine.Stopped(err)
	}
	return i.failed == nil
}

// lend is the function behind an import, in whichever instance calls it.
func (c *code) lend(k int) func(*wasmtime.Caller, []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
	sig := c.needs.Signatures[k]
	words := max(len(sig.Params), len(sig.Results))
	return func(caller *wasmtime.Caller, args []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
		i := caller.Data().(*instance)
		i.welcome(caller)
		// The meter counts a host call for a few instructions, however long it takes.
		if i.lent++; i.lent%lookAfter == 0 && !i.goesOn() {
			return nil, wasmtime.NewTrap("stopped by the host")
		}
		stack := make([]uint64, words)
		for k, t := range sig.Params {
			stack[k] = bits(t, args[k])
		}
		err := i.host[k].Lend(i.ctx, i, stack)
		if i.caller = nil; i.failed == nil {
			i.failed = err
		}
		if i.failed != nil {
			return nil, wasmtime.NewTrap("stopped by the host")
		}
		out := make([]wasmtime.Val, len(sig.Results))
		for k, t := range sig.Results {
			out[k] = value(t, stack[k])
		}
		return out, nil
	}
}

// welcome lets the host see the instance as it is now.
func (i *instance) welcome(caller *wasmtime.Caller) {
	if i.inst == nil {
		i.caller = caller
		if name := i.code.memory; name != nil && i.mem == nil {
			if x := caller.GetExport(*name); x != nil {
				i.bindMemory(x.Memory())
				x.Close()
			}
		}
	}
	if i.mem != nil {
		C.isomer_view(i.c)
		i.look()
	}
}

func bits(t engine.ValType, v wasmtime.Val) uint64 {
	switch t {
	case engine.I32:
		return uint64(uint32(v.I32()))
	case engine.I64:
		return uint64(v.I64())
	case engine.F32:
		return uint64(math.Float32bits(v.F32()))
	}
	return math.Float64bits(v.F64())
}

func value(t engine.ValType, v uint64) wasmtime.Val {
	switch t {
	case engine.I32:
		return wasmtime.ValI32(int32(v))
	case engine.I64:
		return wasmtime.ValI64(int64(v))
	case engine.F32:
		return wasmtime.ValF32(math.Float32frombits(uint32(v)))
	}
	return wasmtime.ValF64(math.Float64frombits(v))
}
