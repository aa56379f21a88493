package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet/oci"
)

// registryFlags say how a registry is reached.
type registryFlags struct {
	plain  bool
	config string
}

func (f *registryFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.plain, "plain-http", false, "HTTP instead of HTTPS, to a registry on this machine")
	c.Flags().StringVar(&f.config, "registry-config", "", "`FILE` with credentials, as docker login writes it (default: Docker's)")
}

func (f *registryFlags) options() oci.Options {
	return oci.Options{PlainHTTP: f.plain, DockerConfig: f.config, MaxBytes: maxModule}
}

const artifactForms = `oci://REGISTRY/REPOSITORY:TAG, or oci-layout:FOLDER:TAG for an OCI layout on disk`

func pushCommand(std streams) *cobra.Command {
	var f registryFlags
	var annotations []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "push FILE ARTIFACT",
		Short: "Store a module in an OCI registry",
		Long: `Store a module in an OCI registry, as the CNCF's Wasm OCI artifact that wkg, wasmCloud and containerd read.
ARTIFACT is ` + artifactForms + `.
Credentials are those of docker login. The same module makes the same digest whenever it is pushed. Nothing is signed:
what nodes run is signed by isomer publish.`,
		Example: "  isomer push digits.wasm oci://ghcr.io/acme/digits:1.2.0\n  isomer push digits.wasm oci-layout:./layout:1.2.0",
		Args:    operands("FILE", "ARTIFACT"),
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := oci.ParseRef(args[1])
			if err != nil {
				return usage(c, "%w", err)
			}
			o := f.options()
			o.Annotations = map[string]string{}
			for _, a := range annotations {
				k, v, ok := strings.Cut(a, "=")
				if !ok || k == "" {
					return usage(c, "--annotation %q: it is KEY=VALUE", a)
				}
				o.Annotations[k] = v
			}
			bin, err := readInput(c.Context(), std, args[0])
			if err != nil {
				return err
			}
			p := newPercent(std, "pushing")
			o.Progress = p.show
			a, err := oci.Push(c.Context(), ref, bin, o)
			p.clear()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, a)
			}
			note := ""
			if a.Present {
				note = ", which was there already"
			}
			_, err = fmt.Fprintf(std.err, "%s is %s%s\n%s\n", plain(a.Ref), size(a.Size), note, a.Digest)
			return err
		},
	}
	f.add(c)
	c.Flags().StringArrayVar(&annotations, "annotation", nil, "add `KEY=VALUE` to the manifest; may be given several times")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func pullCommand(std streams) *cobra.Command {
	var f registryFlags
	var out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "pull ARTIFACT -o FILE",
		Short: "Fetch a module from an OCI registry",
		Long: `Fetch a module from an OCI registry, and check its digest. ARTIFACT is ` + artifactForms + `;
@sha256:DIGEST in place of :TAG is that artifact and no other. A registry can move a tag: who must have one certain
module names its digest.`,
		Example: "  isomer pull oci://ghcr.io/acme/digits:1.2.0 -o digits.wasm",
		Args:    operands("ARTIFACT"),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return usage(c, "-o is missing: the file to write")
			}
			bin, a, err := pullModule(c, std, f, args[0])
			if err != nil {
				return err
			}
			if err := writeFile(c.Context(), out, bin); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, map[string]any{"file": out, "artifact": a})
			}
			fmt.Fprintf(std.err, "%s: %s, module %s\n%s\n", plain(out), size(a.Size), a.Module[:12], a.Digest)
			for _, k := range slices.Sorted(maps.Keys(a.Annotations)) {
				fmt.Fprintf(std.err, "  %s: %s\n", plain(k), plain(a.Annotations[k]))
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write; required")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// pullModule fetches what an argument names, showing how far it is.
func pullModule(c *cobra.Command, std streams, f registryFlags, name string) ([]byte, oci.Artifact, error) {
	ref, err := oci.ParseRef(name)
	if err != nil {
		return nil, oci.Artifact{}, usage(c, "%w", err)
	}
	p := newPercent(std, "pulling")
	defer p.clear()
	o := f.options()
	o.Progress = p.show
	return oci.Pull(c.Context(), ref, o)
}

// percent shows how far a transfer is, in one line of a terminal.
type percent struct {
	w     io.Writer // nil: nobody watches
	verb  string
	last  time.Time
	drawn bool
}

func newPercent(std streams, verb string) *percent {
	p := &percent{verb: verb}
	if std.errTerminal {
		p.w = std.err
	}
	return p
}

func (p *percent) show(done, total int64) {
	if p.w == nil || total <= 0 || time.Since(p.last) < 100*time.Millisecond && done < total {
		return
	}
	p.last, p.drawn = time.Now(), true
	fmt.Fprintf(p.w, "%s%s %d %% of %s", eraseLine, p.verb, 100*done/total, size(total))
}

func (p *percent) clear() {
	if p.drawn {
		fmt.Fprint(p.w, eraseLine)
		p.drawn = false
	}
}
