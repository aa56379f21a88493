package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

// remoteFlags are those of a call on a node of the fleet.
type remoteFlags struct {
	hub     hubFlags
	on      string
	timeout time.Duration
	verbose bool
}

func (f *remoteFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.on, "on", "", "call the fleet's module on `node=NAME` or on any node of layer=LAYER")
	c.Flags().DurationVar(&f.timeout, "wait", 10*time.Second, "how long to wait for a node's answer")
	c.Flags().BoolVar(&f.verbose, "verbose", false, "say which node and release answered, and how long it took there")
	f.hub.add(c)
}

// where reads --on.
func (f *remoteFlags) where() (node string, layer fleet.Layer, err error) {
	key, value, _ := strings.Cut(f.on, "=")
	switch key {
	case "node":
		return value, "", fleet.CheckNode(value)
	case "layer":
		layer, err = fleet.ParseLayer(value)
		return "", layer, err
	}
	return "", "", fmt.Errorf("%w: --on %q: want node=NAME or layer=LAYER", fleet.ErrInvalid, f.on)
}

// callOn calls a module on a node. Pictures go as they are: size and preparation are the module's business, and the
// node decodes them.
func (f *callFlags) callOn(c *cobra.Command, std streams, module, function string) error {
	node, layer, err := f.remote.where()
	if err != nil {
		return err
	}
	call := client.Call{Module: module, Function: function, Node: node, Layer: layer, Timeout: f.remote.timeout}
	given := c.Flags().Changed
	switch {
	case given("image"):
		if call.Body, err = readInput(c.Context(), std, f.image); err != nil {
			return err
		}
		if call.Type = http.DetectContentType(call.Body); call.Type != "image/jpeg" && call.Type != "image/png" {
			return hint(fmt.Errorf("%s is no JPEG or PNG", f.image), "nodes take these; convert it first")
		}
	case given("json"):
		if call.Body, err = readJSON(f.json, `quote it for the shell, such as --json '{"key": 1}'`); err != nil {
			return err
		}
		call.Type = "application/json"
	case given("args"):
		if call.Body, err = readJSON("["+f.args+"]", "give numbers with commas between them, such as --args 1,2.5"); err != nil {
			return err
		}
		call.Type = "application/json"
	case given("input"):
		if call.Body, err = readInput(c.Context(), std, f.input); err != nil {
			return err
		}
	}
	hub, err := f.remote.hub.client()
	if err != nil {
		return err
	}
	got, err := hub.Call(c.Context(), call)
	if err != nil {
		return err
	}
	if f.remote.verbose {
		fmt.Fprintln(std.err, plain(fmt.Sprintf("%s with %s (%.12s) in %v", got.Node, got.Release, got.Digest, got.Took)))
	}
	if f.output != "" {
		return writeFile(c.Context(), f.output, got.Body)
	}
	if got.Type != "application/json" {
		if specs := outputsOf(c.Context(), hub, got.Release, function); specs != nil {
			if b, err := tensorsJSON(got.Body, specs); err == nil { // the bytes are the node's word
				_, err = fmt.Fprintf(std.out, "%s\n", b)
				return err
			}
		}
	}
	switch {
	case got.Type == "application/json" && (!std.outTerminal || answer{body: got.Body}.text()): // the type is the node's word
		_, err = fmt.Fprintf(std.out, "%s\n", got.Body)
		return err
	case std.outTerminal:
		return hint(errors.New("the answer is "+size(len(got.Body))+", not text"), "write it to a file with --output FILE")
	}
	_, err = std.out.Write(got.Body)
	return err
}

// outputsOf are the tensors that a function of a release answers with, as its manifest has them; nil where it answers with
// something else, or the release is no longer known.
func outputsOf(ctx context.Context, hub *client.Client, release, function string) []abi.TensorSpec {
	releases, err := hub.Releases(ctx)
	if err != nil {
		return nil
	}
	for _, r := range releases {
		if r.Ref.String() != release || r.Manifest == nil {
			continue
		}
		for _, fn := range r.Manifest.Functions {
			if fn.Name == function && fn.Convention == abi.Tensors {
				return r.Manifest.Outputs
			}
		}
	}
	return nil
}
