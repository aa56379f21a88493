//go:build wasmtime

package wasmtime

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
	"github.com/isomer-iot/isomer/engine/wasi"
)

// code is a compiled module. wasmtime counts references, so an instance outlives its code.
type code struct {
	engine *wasmtime.Engine
	module *wasmtime.Module
	linker *wasmtime.Linker
	cfg    engine.CompileConfig
	needs  engine.Needs
	funcs  []engine.FuncExport // ordered by name
	memory *string             // the name under which it is exported
	shift  *meter.Shift        // of functions in the module as compiled; nil: not metered
}

func (c *code) Funcs() []engine.FuncExport { return slices.Clone(c.funcs) }

func (c *code) Imports() []engine.Import { return slices.Clone(c.needs.Imports) }

func (c *code) Close() error {
	if c.linker != nil {
		c.linker.Close()
	}
	c.module.Close()
	return nil
}

// makeLinker holds what the module imports; each instance decides what of it is granted.
func (c *code) makeLinker() error {
	c.linker = wasmtime.NewLinker(c.engine)
	if c.shift != nil {
		t := wasmtime.NewFuncType(nil, []*wasmtime.ValType{wasmtime.NewValType(wasmtime.KindI64)})
		if err := c.linker.FuncNew(meter.Module, meter.Refill, t, refill); err != nil {
			return plain(err)
		}
	}
	done := map[engine.Import]bool{}
	for k, i := range c.needs.Imports {
		if done[i] || i.Kind != "func" {
			continue
		}
		done[i] = true
		t := hostType(c.needs.Signatures[k])
		if t == nil {
			continue // no host function has this type
		}
		if err := c.linker.FuncNew(i.Module, i.Name, t, c.lend(k)); err != nil {
			return plain(err)
		}
	}
	return nil
}

func (c *code) Instantiate(ctx context.Context, cfg engine.InstanceConfig) (engine.Instance, error) {
	host, sys, err := wasi.Link(c.needs, cfg)
	if err != nil {
		return nil, err
	}
	i := newInstance(c)
	i.host, i.wasi = host, sys
	err = i.guard(ctx, func() error {
		var err error
		i.inst, err = c.linker.Instantiate(i.store, c.module)
		return err
	})
	if err != nil {
		at := "instantiation"
		// A segment that does not fit traps too, but in no function.
		if t := (*wasmtime.Trap)(nil); errors.As(err, &t) && len(t.Frames()) > 0 || i.failed != nil {
			at = "start section"
		}
		cause := i.failure("start section", err)
		_ = i.Close()
		return nil, &engine.StartError{Func: at, Cause: cause}
	}
	if c.memory != nil && i.mem == nil {
		i.bindMemory(i.inst.GetExport(i.store, *c.memory).Memory())
	}
	if init := i.Func("_initialize"); init != nil {
		if err := init.Call(ctx, make([]uint64, 1)); err != nil {
			_ = i.Close()
			return nil, &engine.StartError{Func: "_initialize", Cause: err}
		}
	}
	return i, nil
}

// export finds an exported function's type.
func (c *code) export(name string) (engine.Signature, bool) {
	at, ok := slices.BinarySearchFunc(c.funcs, name, func(f engine.FuncExport, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return engine.Signature{}, false
	}
	return c.funcs[at].Signature, true
}
