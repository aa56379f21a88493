// Command isomer builds, inspects, calls and serves modules. Use it by hand and in scripts; from Go, use
// the packages isomer and compiler, never this command. Output goes to stdout, talk to stderr; commands
// whose output a script would read have --json. Exit status: 0 success, 1 failure, 2 wrong usage.
//
// v0: commands, flags and JSON fields may change until 1.0.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// streams are the three ends of the command, so that tests and terminals look the same to it.
type streams struct {
	in          io.Reader
	out, err    io.Writer
	inTerminal  bool // in is a terminal: nobody waits for what is typed
	outTerminal bool // out is a terminal: no binary output
	errTerminal bool // err is a terminal: progress may be drawn
}

func main() {
	os.Exit(run())
}

func run() int {
	// The first signal ends the work in an orderly way; the second one, no longer caught, kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return execute(ctx, os.Args[1:], streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	})
}

func execute(ctx context.Context, args []string, std streams) int {
	root := newRoot(std)
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	return report(std.err, root.ExecuteContext(ctx))
}

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "isomer",
		Short: "One WebAssembly module on every layer of an IoT system",
		Long: `Isomer compiles machine-learning models to WebAssembly modules and runs the same module on
device, mobile, edge and cloud, replaced while everything keeps running.`,
		Example: `  isomer build model.onnx -o model.wasm
  isomer call model.wasm classify --image photo.jpg`,
		Args:          noSuchCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, // report prints them, in two lines
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%w", err) })
	root.AddCommand(
		newCommand(std),
		buildCommand(std),
		benchCommand(std),
		inspectCommand(std),
		callCommand(std),
		demoCommand(std),
		demoHubCommand(std),
		demoNodeCommand(std),
		devCommand(std),
		pullCommand(std),
		pushCommand(std),
		runCommand(std),
		typesCommand(std),
		versionCommand(std),
	)
	root.AddCommand(fleetCommands(std)...)
	return root
}
