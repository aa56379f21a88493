package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

// callFlags are the inputs of a call, of which one is given.
type callFlags struct {
	json, image, input, args string
	size, output             string
	host                     hostFlags
	remote                   remoteFlags
}

func callCommand(std streams) *cobra.Command {
	var f callFlags
	c := &cobra.Command{
		Use:   "call FILE|MODULE [FUNCTION]",
		Short: "Call one function of a module",
		Long: `Call one function of a module and print its answer.

The input is JSON, a picture (JPEG, PNG, GIF, WebP, BMP, or raw RGB bytes with --size), the bytes of a
file, or numbers for a function of numbers; "-" reads it from stdin. Functions of tensors take their
inputs as raw little-endian bytes, one tensor after the other, and print JSON, or write the raw bytes of
their outputs with --output. A command, which is a whole WASI program, gets the input as its stdin, by default
isomer's own, and its stdout is the answer; FUNCTION may be left out.

With --on the module is the fleet's, by its name, and a node answers.

` + allowHelp,
		Example: `  isomer call model.wasm classify --image photo.jpg
  isomer call model.wasm run --input x.f32 --output y.f32
  isomer call meter/meter.wasm total --json '[250, 750]'
  isomer call math.wasm add --args 1,2
  echo to be or not to be | isomer call words.wasm
  isomer call digits classify --on node=dev7 --image frame.jpg
  isomer call station.wasm poll --allow log --allow kv=state --allow http=api.example.com`,
		Args: callOperands,
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf(c, "json", "image", "input", "args"); err != nil {
				return err
			}
			if f.remote.on == "" {
				return f.call(c, std, args)
			}
			if len(args) != 2 {
				return usage(c, "with --on say MODULE and FUNCTION")
			}
			return f.callOn(c, std, args[0], args[1])
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.json, "json", "", "input as JSON `TEXT`")
	flags.StringVar(&f.image, "image", "", "input from a picture `FILE`")
	flags.StringVar(&f.input, "input", "", "input as the bytes of a `FILE`")
	flags.StringVar(&f.args, "args", "", "`NUMBERS` for a function of numbers, such as 1,2.5")
	flags.StringVar(&f.size, "size", "", "`WxH` in pixels, when the picture is raw RGB")
	flags.StringVar(&f.output, "output", "", "write the answer's bytes to a `FILE`")
	f.host.add(c)
	f.remote.add(c)
	return c
}

// oneOf refuses more than one of these flags.
func oneOf(c *cobra.Command, names ...string) error {
	given := slices.DeleteFunc(names, func(n string) bool { return !c.Flags().Changed(n) })
	if len(given) > 1 {
		return usage(c, "--%s and --%s are both an input", given[0], given[1])
	}
	return nil
}

func (f *callFlags) call(c *cobra.Command, std streams, args []string) error {
	e, opts, err := f.host.open(c, std, false)
	if err != nil {
		return err
	}
	defer e.Close()
	m, err := isomer.Open(c.Context(), args[0], append(opts, isomer.WithWatch(false))...)
	if err != nil {
		return err
	}
	defer m.Close()
	fn, err := choose(c, m, args[1:])
	if err != nil {
		return err
	}
	input, image, err := f.read(c, std, m, fn)
	if err != nil {
		return err
	}
	a, err := await(c.Context(), func() (answer, error) { return ask(c.Context(), m, fn, input, image) })
	if err != nil {
		return err
	}
	return f.write(c.Context(), std, a)
}

// await runs work and stops waiting for it when ctx ends: a compilation that nothing interrupts does not keep
// the process from ending.
func await[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := work()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// find gives the description of a function.
func find(m *isomer.Module, name string) (abi.Function, error) {
	have := m.Functions()
	var names []string
	for _, f := range have {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return abi.Function{}, &isomer.NoFunctionError{Function: name, Module: m.Name() + "@" + m.Version(), Have: names}
}

func takesImage(f abi.Function) bool {
	return f.Convention == abi.Image || f.Convention == abi.WasmtubeImage
}

// imageSpec is the size that the module works at, nil where its manifest has none.
func imageSpec(m *isomer.Module) *abi.ImageSpec {
	manifest, _ := m.Manifest()
	return manifest.Image
}

// read gives the input or the image that the function takes.
func (f *callFlags) read(c *cobra.Command, std streams, m *isomer.Module, fn abi.Function) ([]byte, *isomer.Image, error) {
	given := c.Flags().Changed
	switch {
	case takesImage(fn) && !given("image"):
		return nil, nil, hint(errors.New(fn.Name+" takes a picture"), "pass one with --image FILE")
	case given("image") && !takesImage(fn):
		return nil, nil, hint(fmt.Errorf("%s takes no picture", fn.Name), "%s", inputAdvice(fn))
	case given("image"):
		p, err := readPicture(c.Context(), std, f.image, f.size, imageSpec(m))
		return nil, &p, err
	case given("json"):
		b, err := readJSON(f.json, `quote it for the shell, such as --json '{"key": 1}'`)
		return b, nil, err
	case given("args"):
		if fn.Convention != abi.Scalar {
			return nil, nil, hint(fmt.Errorf("%s is not a function of numbers", fn.Name), "%s", inputAdvice(fn))
		}
		b, err := readJSON("["+f.args+"]", "give numbers with commas between them, such as --args 1,2.5")
		return b, nil, err
	case given("input"):
		b, err := readInput(c.Context(), std, f.input)
		return b, nil, err
	case fn.Convention == abi.Command && !std.inTerminal:
		b, err := readInput(c.Context(), std, "-")
		return b, nil, err
	}
	return nil, nil, nil
}

// inputAdvice says how to pass the input of a function.
func inputAdvice(fn abi.Function) string {
	switch in, _ := fn.Encodings(); {
	case fn.Convention == abi.Scalar:
		return "pass numbers with --args, such as --args 1,2.5"
	case in == abi.JSON:
		return "pass JSON with --json"
	case in == abi.ImageRGB:
		return "pass a picture with --image FILE"
	}
	return "pass bytes with --input FILE"
}

func (f *callFlags) write(ctx context.Context, std streams, a answer) error {
	if f.output != "" {
		return writeFile(ctx, f.output, a.body)
	}
	if a.tensors == nil && a.encoding != abi.JSON {
		if std.outTerminal && a.text() {
			_, err := fmt.Fprintf(std.out, "%s\n", bytes.TrimSuffix(a.body, []byte("\n")))
			return err
		}
		if std.outTerminal {
			return hint(fmt.Errorf("the answer is %s of %s, not text", size(len(a.body)), a.encoding), "write it to a file with --output FILE")
		}
		_, err := std.out.Write(a.body)
		return err
	}
	b, err := a.json()
	if err != nil {
		return hint(err, "take the bytes as they are with --output FILE")
	}
	_, err = fmt.Fprintf(std.out, "%s\n", b)
	return err
}
