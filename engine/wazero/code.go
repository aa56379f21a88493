package wazero

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/isomer-iot/isomer/engine"
)

// code is a compiled module in its own runtime.
type code struct {
	host     *host
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	cfg      engine.CompileConfig
	needs    engine.Needs
	ownCache wazero.CompilationCache // where the shared one could not be used

	wasi    sync.Once
	wasiErr error
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

// link checks every import and provides WASI where it is granted and asked for.
func (c *code) link(ctx context.Context, cfg engine.InstanceConfig) error {
	const preview1 = wasi_snapshot_preview1.ModuleName
	if len(c.needs.Imports) == 0 {
		return nil
	}
	var have map[string]api.FunctionDefinition
	asksWASI := slices.ContainsFunc(c.needs.Imports, func(i engine.Import) bool { return i.Module == preview1 })
	if asksWASI && cfg.WASI != nil {
		// Once for all instances: a caller that gives up must not decide for the others.
		c.wasi.Do(func() { _, c.wasiErr = wasi_snapshot_preview1.Instantiate(context.WithoutCancel(ctx), c.runtime) })
		if c.wasiErr != nil {
			return c.wasiErr
		}
		have = c.runtime.Module(preview1).ExportedFunctionDefinitions()
	}
	var missing []engine.Import
	for _, i := range c.needs.Imports {
		if i.Module == preview1 && i.Kind == "func" && have[i.Name] != nil {
			continue
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return nil
	}
	err := &engine.LinkError{Missing: missing}
	if asksWASI && cfg.WASI == nil {
		err.Hint = "WASI is not granted"
	}
	return err
}

func (c *code) Instantiate(ctx context.Context, cfg engine.InstanceConfig) (engine.Instance, error) {
	if err := c.link(ctx, cfg); err != nil {
		return nil, err
	}
	mc := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithStdout(io.Discard).WithStderr(io.Discard)
	if w := cfg.WASI; w != nil {
		if w.Stdout != nil {
			mc = mc.WithStdout(w.Stdout)
		}
		if w.Stderr != nil {
			mc = mc.WithStderr(w.Stderr)
		}
	}
	mod, err := c.instantiate(ctx, mc)
	if err != nil {
		return nil, err
	}
	inst := &instance{mod: mod}
	if len(c.compiled.ExportedMemories()) > 0 {
		inst.mem = &memory{m: mod.Memory()}
	}
	if init := inst.Func("_initialize"); init != nil {
		if err := init.Call(ctx, make([]uint64, 1)); err != nil {
			_ = inst.Close()
			return nil, &engine.StartError{Func: "_initialize", Cause: err}
		}
	}
	return inst, nil
}

func (c *code) instantiate(ctx context.Context, mc wazero.ModuleConfig) (mod api.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			mod, err = nil, &engine.StartError{Func: "instantiation", Cause: fmt.Errorf("panic in the engine: %v", r)}
		}
	}()
	mod, err = c.runtime.InstantiateModule(ctx, c.compiled, mc)
	if err == nil {
		return mod, nil
	}
	if cause := callError("start section", ctx, err); isStart(err) {
		return nil, &engine.StartError{Func: "start section", Cause: cause}
	}
	// What is left is a data or element segment outside its memory or table, or a wrong import type.
	return nil, &engine.StartError{Func: "instantiation", Cause: err}
}

// isStart tells a start section that failed from segments that do not fit. wazero has no typed
// error for either; it names the function for the first.
func isStart(err error) bool {
	var exit *sys.ExitError
	return errors.As(err, &exit) || strings.HasPrefix(err.Error(), "start function[")
}
