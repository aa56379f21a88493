package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/oci"
	"github.com/isomer-iot/isomer/fleet/trust"
)

func publishCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var registry registryFlags
	var as, out string
	var keep int
	var untried, asJSON bool
	c := &cobra.Command{
		Use:   "publish FILE|ARTIFACT --as NAME@VERSION",
		Short: "Sign a module and make it a release",
		Long: `Try the module on its golden cases, upload it, and sign its digest as a release with the keys of this
machine. Nodes run it once it is deployed. What a version is never changes: another module needs another
version. The list keeps the newest releases of a name; nodes refuse those that fell out of it.
ARTIFACT is a module in an OCI registry or layout, as isomer pull has it.`,
		Example: "  isomer publish digits.wasm --as digits@1.2.0\n  isomer publish oci://ghcr.io/acme/digits:1.2.0 --as digits@1.2.0",
		Args:    operands("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := fleet.ParseRef(as)
			if err != nil {
				return usage(c, "--as: %w", err)
			}
			var bin []byte
			if oci.IsRef(args[0]) {
				bin, _, err = pullModule(c, std, registry, args[0])
			} else {
				bin, err = readInput(c.Context(), std, args[0])
			}
			if err != nil {
				return err
			}
			if !untried {
				m, err := isomer.New(c.Context(), bin, isomer.WithRehearsal())
				if err != nil {
					return hint(err, "a node would refuse it too; --untried publishes it all the same")
				}
				if err := m.Close(); err != nil {
					return err
				}
			}
			hub, keys, err := openCurrent(c, std, &h, &k)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(bin)
			digest := hex.EncodeToString(sum[:])
			if have, err := hub.HasModule(c.Context(), digest); err != nil {
				return err
			} else if !have {
				if err := hub.PutModule(c.Context(), digest, int64(len(bin)), uploading(std, bin)); err != nil {
					return err
				}
			}
			change, err := keys.AddTarget(ref, digest, int64(len(bin)), keep)
			if err != nil {
				return err
			}
			if err := warnOfDrops(c, std, hub, keys, change); err != nil {
				return err
			}
			done, err := upload(c, std, hub, keys, change, out)
			if err != nil || !done {
				return err
			}
			if asJSON {
				return writeJSON(std.out, map[string]any{"release": ref.String(), "digest": digest, "size": len(bin)})
			}
			_, err = fmt.Fprintf(std.err, "%s is %s, %s; isomer deploy %s --to SELECTOR brings it to nodes\n", ref, digest[:12], size(len(bin)), ref)
			return err
		},
	}
	h.add(c)
	k.add(c)
	registry.add(c)
	c.Flags().StringVar(&as, "as", "", "`NAME@VERSION` of the release; required")
	c.Flags().IntVar(&keep, "keep", 5, "how many releases of the name stay in the list; 0: all")
	c.Flags().BoolVar(&untried, "untried", false, "do not run the golden cases here, as for modules that need what this machine lacks")
	c.Flags().StringVar(&out, "out", "change.json", "`FILE` for the others to sign, where one signature is not enough")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// warnOfDrops says which releases fall out of the list though something needs them: nodes refuse them from then on.
func warnOfDrops(c *cobra.Command, std streams, hub *client.Client, keys *trust.Keys, change *trust.Change) error {
	if change.Empty() {
		return nil
	}
	refs, err := keys.Drops(change)
	if err != nil || len(refs) == 0 {
		return err
	}
	why, err := uses(c, hub, refs)
	for _, w := range why {
		fmt.Fprintf(std.err, "note: it falls out of the list, and %s; --keep keeps more\n", w)
	}
	return err
}

// uploading shows on a terminal how far an upload is.
func uploading(std streams, bin []byte) io.Reader {
	r := bytes.NewReader(bin)
	if !std.errTerminal || len(bin) < 1<<20 {
		return r
	}
	return &uploadProgress{r: r, w: std.err, total: len(bin)}
}

type uploadProgress struct {
	r     *bytes.Reader
	w     io.Writer
	total int
	last  time.Time
}

func (p *uploadProgress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if done := p.total - p.r.Len(); time.Since(p.last) > 100*time.Millisecond || errors.Is(err, io.EOF) {
		p.last = time.Now()
		fmt.Fprintf(p.w, "\ruploading %d %%", 100*done/p.total)
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(p.w)
		}
	}
	return n, err
}
