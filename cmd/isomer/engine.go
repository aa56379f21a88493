package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// The names of engines, as --engine takes them.
const (
	engineWazero   = "wazero"
	engineInterp   = "interp"
	engineWasmtime = "wasmtime"
)

// newWasmtime is nil in a build without the tag wasmtime.
var newWasmtime func() (engine.Engine, error)

func engineFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "engine", engineWazero, "run the module on this `ENGINE`: wazero, interp (wazero's interpreter) or wasmtime")
}

// openEngine makes the engine of that flag. Close it after the module.
func openEngine(c *cobra.Command, name string) (engine.Engine, error) {
	switch name {
	case engineWazero:
		return wazero.New()
	case engineInterp:
		return wazero.New(wazero.WithInterpreter())
	case engineWasmtime:
		if newWasmtime == nil {
			return nil, hint(errors.New("this build has no engine wasmtime"), "build with -tags wasmtime")
		}
		return newWasmtime()
	}
	return nil, usage(c, "--engine %q: want wazero, interp or wasmtime", name)
}
