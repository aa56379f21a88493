//go:build wasmtime

package wasmtime_test

import (
	"testing"

	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/engine/wasmtime"
)

func TestContract(t *testing.T) { enginetest.Run(t, open) }

func open(t *testing.T) engine.Engine {
	t.Helper()
	e, err := wasmtime.New()
	if err != nil {
		t.Fatal(err)
	}
	return e
}
