package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine"
)

// hostFlags are how a module is run, the same in each command that calls one.
type hostFlags struct {
	engine  string
	memory  int // MiB
	timeout time.Duration
	allow   []string
}

func (f *hostFlags) add(c *cobra.Command) {
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "end a call after this `TIME`, such as 10m; 0: never, for modules that you know")
	memoryFlag(c, &f.memory)
	engineFlag(c, &f.engine)
	allowFlag(c, &f.allow)
}

// open makes the engine, to be closed after the module, and the options. asJSON is how the module's log lines
// are written.
func (f *hostFlags) open(c *cobra.Command, std streams, asJSON bool) (engine.Engine, []isomer.Option, error) {
	memory, err := memoryLimit(c, f.memory)
	if err != nil {
		return nil, nil, err
	}
	opts, err := allowOptions(c, f.allow, std, asJSON)
	if err != nil {
		return nil, nil, err
	}
	e, err := openEngine(c, f.engine)
	if err != nil {
		return nil, nil, err
	}
	opts = append(append(opts, (&guestOutput{w: std.err}).options()...), isomer.WithEngine(e), memory, isomer.WithDeadline(f.timeout))
	return e, opts, nil
}

// memoryFlag bounds the memory of an instance, in MiB.
func memoryFlag(c *cobra.Command, mib *int) {
	c.Flags().IntVar(mib, "memory", 256, "let the module have this many `MIB` of memory, up to 4096")
}

// memoryLimit is the option of that flag. Beyond 4 GiB there is no WebAssembly memory.
func memoryLimit(c *cobra.Command, mib int) (isomer.Option, error) {
	if mib < 1 || mib > 4096 {
		return nil, usage(c, "--memory %d: want 1 to 4096 MiB", mib)
	}
	return isomer.WithMemoryLimit(int64(mib) << 20), nil
}
