//go:build wasmtime

package wasmtime

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/isomer-iot/isomer/engine"
)

// code is a compiled module. wasmtime counts references, so an instance outlives its code.
type code struct {
	host   *host
	engine *wasmtime.Engine
	module *wasmtime.Module
	linker *wasmtime.Linker
	cfg    engine.CompileConfig
	needs  engine.Needs
	funcs  []engine.FuncExport // ordered by name
	memory *string             // the name under which it is exported
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
	done := map[engine.Import]bool{}
	for k, i := range c.needs.Imports {
		if done[i] || i.Kind != "func" {
			continue
		}
		done[i] = true
		t, call := hostType(c.needs.Signatures[k]), c.lend(k)
		if f, ok := wasiFunc(i); ok {
			t, call = f.wasmType(), f.callback(i.Name)
		}
		if t == nil {
			continue // no host function has this type
		}
		if err := c.linker.FuncNew(i.Module, i.Name, t, call); err != nil {
			return plain(err)
		}
	}
	return nil
}

// link checks every import.
func (c *code) link(cfg engine.InstanceConfig) ([]engine.HostFunc, error) {
	host, err := c.needs.Resolve(cfg.Host, func(i engine.Import) bool {
		_, ok := wasiFunc(i)
		return ok && cfg.WASI != nil
	})
	asksWASI := slices.ContainsFunc(c.needs.Imports, func(i engine.Import) bool { return i.Module == preview1 })
	if link, ok := err.(*engine.LinkError); ok && asksWASI && cfg.WASI == nil {
		link.Hint = "WASI is not granted"
	}
	return host, err
}

func (c *code) Instantiate(ctx context.Context, cfg engine.InstanceConfig) (engine.Instance, error) {
	host, err := c.link(cfg)
	if err != nil {
		return nil, err
	}
	i := newInstance(c, newWASI(cfg.WASI))
	i.host = host
	err = i.guard(ctx, func() error {
		var err error
		i.inst, err = c.linker.Instantiate(i.store, c.module)
		return err
	})
	if err != nil {
		at := "instantiation"
		// A segment that does not fit traps too, but in no function.
		if t := (*wasmtime.Trap)(nil); errors.As(err, &t) && len(t.Frames()) > 0 || i.stopped() || i.wasi.ended() || i.failed != nil {
			at = "start section"
		}
		cause := i.failure("start section", ctx, err)
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
