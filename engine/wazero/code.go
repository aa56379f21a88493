package wazero

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
	"github.com/isomer-iot/isomer/engine/wasi"
)

// code is a compiled module in its own runtime.
type code struct {
	host     *host
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	cfg      engine.CompileConfig
	needs    engine.Needs
	shift    *meter.Shift            // of functions in the module as compiled; nil: not metered
	ownCache wazero.CompilationCache // with files; nil: the host's

	outside outside
}

func (c *code) Funcs() []engine.FuncExport {
	defs := c.compiled.ExportedFunctions()
	out := make([]engine.FuncExport, 0, len(defs))
	for name, d := range defs {
		out = append(out, engine.FuncExport{Name: name, Signature: signature(d)})
	}
	slices.SortFunc(out, func(a, b engine.FuncExport) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (c *code) Imports() []engine.Import { return slices.Clone(c.needs.Imports) }

func (c *code) Close() error {
	ctx := context.Background()
	err := errors.Join(c.compiled.Close(ctx), c.runtime.Close(ctx))
	if c.ownCache != nil {
		err = errors.Join(err, c.ownCache.Close(ctx))
	}
	return err
}

// link checks every import and makes what the instance imports from.
func (c *code) link(ctx context.Context, cfg engine.InstanceConfig) (*instance, error) {
	inst := &instance{code: c, funcs: map[string]*function{}}
	if len(c.needs.Imports) == 0 && c.shift == nil {
		return inst, nil
	}
	var err error
	if inst.host, inst.wasi, err = wasi.Link(c.needs, cfg); err != nil {
		return nil, err
	}
	if err := c.outside.open(ctx, c); err != nil {
		_ = inst.wasi.Close()
		return nil, err
	}
	return inst, nil
}

func (c *code) Instantiate(ctx context.Context, cfg engine.InstanceConfig) (engine.Instance, error) {
	inst, err := c.link(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.instantiate(ctx, wazero.NewModuleConfig().WithName("").WithStartFunctions(), inst); err != nil {
		_ = inst.wasi.Close()
		return nil, err
	}
	if init := inst.Func("_initialize"); init != nil {
		if err := init.Call(ctx, make([]uint64, 1)); err != nil {
			_ = inst.Close()
			return nil, &engine.StartError{Func: "_initialize", Cause: err}
		}
	}
	return inst, nil
}

func (c *code) instantiate(ctx context.Context, mc wazero.ModuleConfig, inst *instance) (err error) {
	own := &linear{}
	defer func() {
		if r := recover(); r != nil {
			err = &engine.StartError{Func: "instantiation", Cause: fmt.Errorf("panic in the engine: %v", r)}
		}
		if err != nil {
			own.free()
		}
	}()
	inst.crossing = crossing{i: inst, Context: experimental.WithMemoryAllocator(experimental.WithImportResolver(context.Background(), c.outside.resolve), own)}
	inst.ctx, inst.depth = ctx, 1
	mod, err := c.runtime.InstantiateModule(&inst.crossing, c.compiled, mc)
	inst.ctx, inst.depth = nil, 0
	inst.crossing.Context = context.Background()
	if err == nil {
		inst.bind(mod)
		return nil
	}
	if cause := inst.failure("start section", err); isStart(err) {
		return &engine.StartError{Func: "start section", Cause: cause}
	}
	// What is left is a data or element segment outside its memory or table, or a wrong import type.
	return &engine.StartError{Func: "instantiation", Cause: err}
}

// isStart tells a start section that failed from segments that do not fit. wazero has no typed
// error for either; it names the function for the first.
func isStart(err error) bool {
	var exit *sys.ExitError
	return errors.As(err, &exit) || strings.HasPrefix(err.Error(), "start function[")
}
