package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/trust"
)

func keysRestoreCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var without []string
	c := &cobra.Command{
		Use:   "restore [MODULE...]",
		Short: "Bring the list of this folder to a hub that came back from an older backup",
		Long: `A hub that was restored from a backup has an older list of releases than its developers and nodes. Nodes
go on with what they run and believe nothing that is older, so the hub needs the newer list, and each module in it that
the backup lacks. Releases whose modules nobody has any more are taken out with --without.`,
		Example: "  isomer keys restore digits-1.3.wasm\n  isomer keys restore --without digits@1.3.0",
		RunE: func(c *cobra.Command, args []string) error {
			var refs []fleet.Ref
			for _, s := range without {
				ref, err := fleet.ParseRef(s)
				if err != nil {
					return usage(c, "--without: %w", err)
				}
				refs = append(refs, ref)
			}
			hub, keys, err := openBoth(std, &h, &k)
			if err != nil {
				return err
			}
			for _, file := range args {
				if err := putModule(c, std, hub, file); err != nil {
					return err
				}
			}
			return restoreList(c, std, hub, keys, refs)
		},
	}
	h.add(c)
	k.add(c)
	c.Flags().StringSliceVar(&without, "without", nil, "take `RELEASE` out of the list; may be repeated")
	return c
}

// putModule uploads the module of a file, where the hub has it not.
func putModule(c *cobra.Command, std streams, hub *client.Client, file string) error {
	bin, err := readInput(c.Context(), std, file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(bin)
	digest := hex.EncodeToString(sum[:])
	have, err := hub.HasModule(c.Context(), digest)
	if err != nil || have {
		return err
	}
	if err := hub.PutModule(c.Context(), digest, int64(len(bin)), bytes.NewReader(bin)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// restoreList uploads roots and targets of the folder, without some releases.
func restoreList(c *cobra.Command, std streams, hub *client.Client, keys *trust.Keys, without []fleet.Ref) error {
	files, change := keys.Files(), &trust.Change{}
	if len(without) > 0 {
		var err error
		if change, err = keys.Retire(without...); err != nil {
			return err
		}
		missing, err := keys.Missing(change)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return hint(fmt.Errorf("%w: %s", trust.ErrUnsigned, strings.Join(missing, "; ")), "--without signs a list, which several have to do here; find the modules instead")
		}
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".targets.json") })
		maps.Copy(files, change.Files)
	}
	made, err := hub.PutTrust(c.Context(), files)
	if e, ok := errors.AsType[*client.Error](err); ok && strings.Contains(e.Message, "was not uploaded") {
		return hint(err, "name its file: isomer keys restore MODULE.wasm; or take it out of the list: isomer keys restore --without RELEASE")
	} else if err != nil {
		return err
	}
	if err := keys.Commit(change); err != nil {
		return err
	}
	if len(made) == 0 {
		fmt.Fprintln(std.err, "the hub has this folder's list")
		return nil
	}
	names := make([]string, len(made))
	for i, r := range made {
		names[i] = r.Ref.String()
	}
	fmt.Fprintf(std.err, "the hub knows %s again\n", strings.Join(names, ", "))
	return nil
}
