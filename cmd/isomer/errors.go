package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/picture"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/oci"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/wasm"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
)

// hinted is an error with a line that says what to do about it.
type hinted struct {
	error
	hint string
	exit int
}

func (e *hinted) Unwrap() error { return e.error }

// portHint says what to do where a port is taken. NATS's server has no other way of saying so than its text.
func portHint(err error, text string) error {
	if strings.Contains(err.Error(), "address already in use") {
		return hint(err, "%s", text)
	}
	return err
}

// hint attaches advice to an error; nil stays nil.
func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{error: err, hint: fmt.Sprintf(format, args...), exit: exitFailure}
}

// usage is an error in how the command was called.
func usage(c *cobra.Command, format string, args ...any) error {
	return &hinted{error: fmt.Errorf(format, args...), hint: fmt.Sprintf("run %q", c.CommandPath()+" --help"), exit: exitUsage}
}

// hints gives the advice for errors that the packages below return, the first match counts. Advice that
// needs more than the error (a name, a list) is attached where the error arises.
var hints = []struct {
	when func(error) bool
	hint string
}{
	{is(context.Canceled), "it was stopped by a signal"},

	{as[*checkError], "this is a fault of the compiler, unless the case's output is wrong, or the model ranks values (TopK, ArgMax, NonMaxSuppression) that are equal but for rounding: --stop-after PASS finds the pass; please report it"},
	{is(compiler.ErrNotModel), "isomer build reads ONNX files and TensorFlow Lite files; export the model to ONNX first"},
	{is(compiler.ErrMalformed), "the file is damaged or cut off: copy or export it again"},
	{is(compiler.ErrModel), "export the model again; the checker of the onnx package says more about it"},
	{is(compiler.ErrUnbound), "give each symbolic dimension an extent, such as --dim batch=1"},
	{is(compiler.ErrUnsupported), "docs/operators.md lists what compiles; --json lists each node"},
	{is(compiler.ErrOptions), `run "isomer build --help" to see the options`},

	// Before the general ones: these carry a cause of their own.
	{as[*engine.LinkError], "modules may import wasi_snapshot_preview1 and what docs/abi.md lists as host functions: build it without the rest"},
	{is(abi.ErrManifest), "the manifest is described in docs/abi.md"},
	{is(wasm.ErrFormat), "a module is a core WebAssembly binary, as isomer build, Rust, C or TinyGo make"},
	{as[*isomer.AppError], "this is the module's own answer to the input"},
	{limited(engine.Deadline), "give it more time with --timeout"},
	{hungry, "let it have more with --memory MIB"},
	{as[*isomer.LimitError], "the module asked for more than its host allows"},
	{as[*isomer.TrapError], "the module broke down on this input; other input may do"},
	{is(isomer.ErrNoFunction), `run "isomer inspect FILE" to see the functions with their inputs`},
	{is(isomer.ErrArgument), `run "isomer inspect FILE" to see what the function takes`},
	{is(isomer.ErrResult), "JSON has no NaN and no infinity; from Go, CallScalar gives such numbers"},
	{is(isomer.ErrRefused), `run "isomer inspect FILE" to look into the module`},
	{is(isomer.ErrOption), `run the command with --help to see its flags`},
	{is(picture.ErrPicture), "pictures are JPEG, PNG, GIF, WebP, BMP, or raw RGB bytes with --size"},

	{is(client.ErrUntrusted), "the address leads to another server than this fleet's hub, or --ca is of another fleet"},
	{is(trust.ErrKey), "isomer keys show says which keys are in the folder; --keys names another"},
	{is(trust.ErrTaken), "isomer releases lists what is signed; a version never changes"},
	{is(trust.ErrConflict), "somebody else signed meanwhile: repeat the command"},
	{is(node.ErrNotJoined), "isomer enroll on the developer's machine prints a token; start with --join TOKEN"},
	{is(fleet.ErrInvalid), "run the command with --help to see what it takes"},

	{is(oci.ErrDenied), "log in with docker login REGISTRY, or name another file of credentials with --registry-config"},
	{is(oci.ErrNotFound), "check the name and the tag; oci://REGISTRY/REPOSITORY:TAG"},
	{is(oci.ErrPlainHTTP), "leave --plain-http out; a registry on this machine is localhost or 127.0.0.1"},
	{is(oci.ErrNotModule), "a module's artifact is what isomer push and wkg write: one layer of type application/wasm"},
	{is(oci.ErrDamaged), "push it again; a registry between may have changed it"},
	{notTLS, "a registry on this machine that speaks HTTP needs --plain-http"},

	{is(homeassistant.ErrConfig), "docs/fleet.md has a section on Home Assistant"},

	{is(client.ErrAway), "is the hub running, and does its address lead there from here? isomer hub --host NAME says under which name it is reached"},

	{is(fs.ErrNotExist), "check the path; it is relative to the current directory"},
	{is(syscall.ENOSPC), "make room on the disk, or write elsewhere"},
	{is(syscall.EROFS), "the file system is read-only, write elsewhere"},
	{is(fs.ErrPermission), "check who may read and write the file and its folder"},
}

// notTLS is what net/http says of a server that answers HTTPS with HTTP; it has no type.
func notTLS(err error) bool {
	return strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

func limited(by engine.Limit) func(error) bool {
	return func(err error) bool {
		l, ok := errors.AsType[*isomer.LimitError](err)
		return ok && l.Limit == by
	}
}

// hungry also finds the limit in a refusal, where the bridge's own LimitError is not around it.
func hungry(err error) bool {
	l, ok := errors.AsType[*engine.LimitError](err)
	return ok && l.Limit == engine.MemorySz
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// report prints an error in two lines and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	exit, advice := exitFailure, ""
	if h, ok := errors.AsType[*hinted](err); ok {
		exit, advice = h.exit, h.hint
	} else if text, ok := permissionHint(err); ok {
		advice = text
	} else if text, ok := hubHint(err); ok {
		advice = text
	} else {
		for _, h := range hints {
			if h.when(err) {
				advice = h.hint
				break
			}
		}
	}
	// Errors that list several things keep their lines, indented under the first.
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i, l := range lines {
		lines[i] = line(l)
	}
	fmt.Fprintf(w, "error: %s\n", strings.Join(lines, "\n  "))
	if advice != "" {
		fmt.Fprintf(w, "hint: %s\n", line(advice))
	}
	return exit
}

// line fits a line of an error to a terminal. A name alone may have megabytes.
func line(s string) string {
	const longest = 4000
	if more := len(s) - longest; more > 0 {
		s = strings.ToValidUTF8(s[:longest], "") + fmt.Sprintf("… and %d bytes more", more)
	}
	return plain(strings.ReplaceAll(s, "\t", "    "))
}

// noSuchCommand refuses arguments of the root command, with the commands that look alike.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usage(c, "no command %q", args[0])
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if alike := c.SuggestionsFor(args[0]); len(alike) > 0 {
		err.(*hinted).hint = fmt.Sprintf("did you mean %q?", c.Name()+" "+alike[0])
	}
	return err
}

// operands requires the arguments named, such as "FILE", "FUNCTION".
func operands(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage(c, "%s is missing", strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return usage(c, "unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
