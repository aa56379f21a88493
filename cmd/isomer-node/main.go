// Command isomer-node is the agent of a device, and nothing else: no compiler, no hub, no broker. Use it where
// isomer is too large; it takes the flags of "isomer node".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/isomer-iot/isomer/cmd/internal/nodecmd"
)

func main() {
	// The first signal ends the work in an orderly way; the second one, no longer caught, kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	c := nodecmd.New(version, nil, nil, nil)
	c.Use = "isomer-node"
	err := c.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\nhint: run \"isomer-node --help\"\n", err)
		os.Exit(1)
	}
}
