//go:build wasmtime

package main

import (
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wasmtime"
)

func init() {
	openWasmtime = func() (engine.Engine, error) { return wasmtime.New() }
}
