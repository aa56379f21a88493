package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// guestResult is what "build --json" prints for a project.
type guestResult struct {
	File   string `json:"file"`
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	Cases  int    `json:"cases"`
}

// buildProject is "isomer build" of a folder.
func (f *buildFlags) buildProject(c *cobra.Command, std streams, dir string) error {
	var wrong error
	c.Flags().Visit(func(given *pflag.Flag) {
		switch given.Name {
		case "output", "name", "version", "json":
		default:
			wrong = usage(c, "--%s is for models, and %s is a folder", given.Name, dir)
		}
	})
	if wrong != nil {
		return wrong
	}
	p, err := readProject(dir)
	if err != nil {
		return err
	}
	if f.opt.Name != "" {
		p.Name = f.opt.Name
	}
	if f.opt.Version != "" {
		p.Version = f.opt.Version
	}
	output := f.output
	if output == "" {
		output = filepath.Join(dir, p.Name+".wasm")
	}
	b, err := buildGuest(c.Context(), std, dir, p, nil)
	if err != nil {
		return err
	}
	if err := writeFile(c.Context(), output, b.bin); err != nil {
		return err
	}
	sum := sha256.Sum256(b.bin)
	r := guestResult{output, p.Name, len(b.bin), hex.EncodeToString(sum[:]), len(b.cases)}
	if f.asJSON {
		return writeJSON(std.out, r)
	}
	_, err = fmt.Fprintf(std.out, "%s: %s, %s passed\n", r.File, size(r.Bytes), plural(r.Cases, "case"))
	return err
}
