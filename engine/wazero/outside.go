package wazero

import (
	"context"
	"errors"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/meter"
)

// outside is what the instances of a code import. It is made once for all of them: its functions ask
// the calling instance what it was lent.
type outside struct {
	mu      sync.Mutex
	modules map[string]api.Module // by the name in the import
}

// open makes a wazero module for each that the code imports from.
func (o *outside) open(ctx context.Context, c *code) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.modules != nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	rt, needs := c.runtime, &c.needs
	builders := map[string]wazero.HostModuleBuilder{}
	if c.shift != nil {
		b := rt.NewHostModuleBuilder(meter.Module)
		b.NewFunctionBuilder().WithGoModuleFunction(refill(c.host.batch()), nil, []api.ValueType{api.ValueTypeI64}).Export(meter.Refill)
		builders[meter.Module] = b
	}
	done := map[engine.Import]bool{}
	for k, i := range needs.Imports {
		if done[i] {
			continue
		}
		done[i] = true
		if builders[i.Module] == nil {
			builders[i.Module] = rt.NewHostModuleBuilder("host " + i.Module)
		}
		t := needs.Signatures[k]
		builders[i.Module].NewFunctionBuilder().WithGoModuleFunction(lend(k), apiTypes(t.Params), apiTypes(t.Results)).Export(i.Name)
	}
	modules := make(map[string]api.Module, len(builders))
	for name, b := range builders {
		compiled, err := b.Compile(ctx)
		if err != nil {
			return err
		}
		m, err := rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("")) // resolve finds it, no one else
		if err != nil {
			return err
		}
		modules[name] = m
	}
	o.modules = modules
	return nil
}

// resolve is asked by wazero for the module with a name.
func (o *outside) resolve(name string) api.Module {
	if m := o.modules[name]; m != nil {
		return m
	}
	return nil
}

func apiTypes(ts []engine.ValType) []api.ValueType {
	out := make([]api.ValueType, len(ts))
	for i, t := range ts {
		out[i] = api.ValueType(t)
	}
	return out
}

// errOutside ends a call for a reason that instance.failed holds.
var errOutside = errors.New("stopped by the host")

// lookAfter is how many host calls are made between two looks at the context, which take 50 ns each.
const lookAfter = 64

// lend is the function behind an import, in whichever instance calls it.
func lend(k int) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		i := ctx.Value(crossingKey{}).(*instance)
		if i.mod == nil {
			i.bind(mod)
		}
		// The meter counts a host call for a few instructions, however long it takes.
		if i.lent++; i.lent%lookAfter == 0 && i.code.cfg.Interruptible {
			if err := i.ctx.Err(); err != nil && i.failed == nil {
				i.failed = engine.Stopped(err)
				panic(errOutside)
			}
		}
		err := i.host[k].Lend(i.ctx, i, stack)
		if i.failed == nil {
			i.failed = err
		}
		if i.failed != nil {
			panic(errOutside)
		}
	}
}

// batch is how many instructions run between two looks at the context: 0.1 to 1 ms of them.
func (h *host) batch() uint64 {
	if h.interpreter {
		return 1 << 16
	}
	return 1 << 21
}

// refill is the meter's: it ends the call whose context has ended.
func refill(batch uint64) api.GoModuleFunc {
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		i := ctx.Value(crossingKey{}).(*instance)
		if err := i.ctx.Err(); err != nil {
			i.failed = engine.Stopped(err)
			panic(errOutside)
		}
		stack[0] = batch
	}
}

// crossing is the context under which wazero runs the guest. It tells host functions which instance
// calls; wazero looks values up at each call, which in the caller's own context may cost as much as a
// small call (≈ 10 ns a link of the chain).
type crossing struct {
	context.Context
	i *instance
}

type crossingKey struct{}

func (c *crossing) Value(key any) any {
	if _, ok := key.(crossingKey); ok {
		return c.i
	}
	return c.Context.Value(key)
}
