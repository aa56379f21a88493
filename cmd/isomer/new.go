package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/guest"
)

// projectName fits a Go module, a crate and an npm package at once.
var projectName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

func newCommand(std streams) *cobra.Command {
	var lang, example string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a module in Go, C, Rust or AssemblyScript",
		Long: `Write a small project into the new folder NAME: a function that works, the SDK that it needs, golden cases
in isomer.json and a README. "isomer build NAME" makes a module of it, "isomer dev NAME" one at each save.

The example meter is one function of JSON; station is everything that a module can do: pictures, state that
outlives a version, and what a host lends.`,
		Example: `  isomer new meter --lang go
  isomer build meter
  isomer call meter/meter.wasm total --json '[250, 750]'`,
		Args: operands("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			dir, name := args[0], filepath.Base(args[0])
			if !projectName.MatchString(name) {
				return usage(c, "%q: a name is lower-case letters, digits, _ and -, and begins with a letter", name)
			}
			if !slices.Contains(guest.Languages(), lang) {
				return usage(c, "--lang %s: want one of %s", lang, strings.Join(guest.Languages(), ", "))
			}
			files := guest.Project(lang, example, name, sdkVersion())
			if files == nil {
				return usage(c, "--example %s: want one of %s", example, strings.Join(guest.Examples(), ", "))
			}
			if info, err := os.Stat(dir); err == nil && !info.IsDir() {
				return hint(fmt.Errorf("%s: a file of this name is there", dir), "remove it, or choose another name")
			} else if errors.Is(err, fs.ErrNotExist) {
				if _, err := os.Lstat(dir); err == nil {
					return hint(fmt.Errorf("%s: a symbolic link to what does not exist", dir), "remove it, or choose another name")
				}
			}
			if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
				return hint(fmt.Errorf("%s: the folder is not empty", dir), "choose another name")
			}
			for _, path := range slices.Sorted(maps.Keys(files)) {
				to := filepath.Join(dir, filepath.FromSlash(path))
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					return err
				}
				if err := writeFile(c.Context(), to, []byte(files[path])); err != nil {
					return err
				}
			}
			next := "isomer build " + dir
			if lang == "as" {
				next = "npm install --prefix " + dir + " && " + next
			}
			_, err := fmt.Fprintf(std.out, "wrote %s; next: %s\n", dir, next)
			return err
		},
	}
	c.Flags().StringVar(&lang, "lang", "go", "`LANGUAGE` of the project: go, c, rust or as (AssemblyScript)")
	c.Flags().StringVar(&example, "example", "meter", "`EXAMPLE` that the project begins with: meter or station")
	return c
}

// sdkVersion is this program's version where it is a released one. The SDK lies in the project's vendor
// folder, so that a version that no registry knows builds too.
func sdkVersion() string {
	v := buildVersion().Version
	if !strings.HasPrefix(v, "v") || strings.Contains(v, "+") {
		return "v0.0.0"
	}
	return v
}
