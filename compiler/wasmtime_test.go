//go:build wasmtime

package compiler

import "github.com/isomer-iot/isomer/engine/wasmtime"

func init() { engines = append(engines, engineUnderTest{name: "wasmtime", open: wasmtime.New}) }
