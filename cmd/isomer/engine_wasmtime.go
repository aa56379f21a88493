//go:build wasmtime

package main

import "github.com/isomer-iot/isomer/engine/wasmtime"

func init() { newWasmtime = wasmtime.New }
