//go:build wasmtime

package isomer_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/wasmtime"
)

// TestMain runs the suite on one wasmtime engine that all modules share.
func TestMain(m *testing.M) {
	e, err := wasmtime.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	onEngine = []isomer.Option{isomer.WithEngine(e)}
	code := m.Run()
	if err := e.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
