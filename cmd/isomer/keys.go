package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// keysFlags choose the developer's keys.
type keysFlags struct {
	dir       string
	encrypted bool
}

func (f *keysFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "keys", os.Getenv("ISOMER_KEYS"), "`FOLDER` of the signing keys (or ISOMER_KEYS); default: isomer/keys in the user's configuration")
}

func (f *keysFlags) folder() (string, error) {
	if f.dir != "" {
		return f.dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hint(err, "set HOME, or say --keys FOLDER")
	}
	return filepath.Join(dir, "isomer", "keys"), nil
}

// passphrase asks on a terminal, or takes ISOMER_PASSPHRASE.
func passphrase(std streams) func() ([]byte, error) {
	return func() ([]byte, error) {
		if p := os.Getenv("ISOMER_PASSPHRASE"); p != "" {
			return []byte(p), nil
		}
		if !std.inTerminal {
			return nil, hint(errors.New("the signing keys are encrypted"), "set ISOMER_PASSPHRASE, or run this on a terminal")
		}
		fmt.Fprint(std.err, "passphrase of the signing keys: ")
		p, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(std.err)
		return p, err
	}
}

// open opens the keys.
func (f *keysFlags) open(std streams) (*trust.Keys, error) {
	dir, err := f.folder()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, hint(fmt.Errorf("no signing keys in %s", dir), "isomer keys init makes them, --keys names another folder")
	}
	return trust.OpenKeys(dir, trust.KeysOptions{Passphrase: passphrase(std)})
}

// openBoth opens the hub and the developer's keys.
func openBoth(std streams, h *hubFlags, k *keysFlags) (*client.Client, *trust.Keys, error) {
	hub, err := h.client()
	if err != nil {
		return nil, nil, err
	}
	keys, err := k.open(std)
	return hub, keys, err
}

// openCurrent is openBoth, with the keys' copy brought up to what the hub has.
func openCurrent(c *cobra.Command, std streams, h *hubFlags, k *keysFlags) (*client.Client, *trust.Keys, error) {
	hub, keys, err := openBoth(std, h, k)
	if err == nil {
		err = adopt(c, hub, keys)
	}
	return hub, keys, err
}

// adopt brings the keys' copy up to what the hub has.
func adopt(c *cobra.Command, hub *client.Client, keys *trust.Keys) error {
	files, err := hub.Trust(c.Context())
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	err = keys.Adopt(files)
	if errors.Is(err, trust.ErrRollback) {
		return hint(err, "was this hub restored from a backup? isomer keys restore brings it what it lacks")
	}
	return err
}

// upload brings a change to the hub where it has all its signatures, and otherwise writes it to a file for the others to sign.
func upload(c *cobra.Command, std streams, hub *client.Client, keys *trust.Keys, change *trust.Change, file string) (done bool, err error) {
	if change.Empty() {
		fmt.Fprintln(std.err, "nothing to sign: the hub has it already")
		return true, nil
	}
	missing, err := keys.Missing(change)
	if err != nil {
		return false, err
	}
	if len(missing) > 0 {
		b, err := change.Encode()
		if err != nil {
			return false, err
		}
		if err := writeFile(c.Context(), file, b); err != nil {
			return false, err
		}
		fmt.Fprintf(std.err, "%s needs more signatures: %s\n", file, strings.Join(missing, "; "))
		fmt.Fprintf(std.err, "the others run: isomer keys sign %s; then: isomer keys upload %s\n", file, file)
		return false, nil
	}
	if _, err := hub.PutTrust(c.Context(), change.Files); err != nil {
		if e, ok := errors.AsType[*client.Error](err); ok && strings.Contains(e.Message, "keys that this hub does not have") {
			return false, hint(err, "if this hub has new keys, as after a theft, sign for them: isomer keys rotate --online; if it is another fleet's, name yours with --hub")
		}
		return false, err
	}
	return true, keys.Commit(change)
}

func keysCommand(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make, show and rotate the keys that sign releases",
		Long: `The keys that sign releases stay with the developers; no hub has them. What they did not sign no node runs,
whatever becomes of the hub.`,
		Example: "  isomer keys init\n  isomer keys show\n  isomer keys rotate --targets",
		Args:    noSuchCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(keysInitCommand(std), keysShowCommand(std), keysRotateCommand(std), keysSignCommand(std), keysUploadCommand(std), keysRestoreCommand(std))
	return c
}

func keysInitCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var roots, targets []string
	var rootThreshold, targetsThreshold int
	var out string
	c := &cobra.Command{
		Use: "init", Short: "Make the signing keys and begin the fleet's list of releases",
		Long: `Make a root key and a targets key, and give the hub the first signed list. Other developers' public keys
(isomer keys show) may be added, and a threshold of how many have to sign.`,
		Example: "  isomer keys init\n  isomer keys init --root-key 5f2c… --root-threshold 2 --encrypt",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := k.folder()
			if err != nil {
				return err
			}
			hub, err := h.client()
			if err != nil {
				return err
			}
			snapshot, timestamp, err := hub.OnlineKeys(c.Context())
			if err != nil {
				return err
			}
			if files, err := hub.Trust(c.Context()); err != nil || len(files) > 0 {
				return errors.Join(err, hint(errors.New("this fleet has signing keys already"), "isomer keys show compares them; their owner adds others with isomer keys rotate"))
			}
			var o trust.KeysOptions
			if k.encrypted {
				o.Passphrase = passphrase(std)
			}
			keys, err := trust.OpenKeys(dir, trust.KeysOptions{Passphrase: passphrase(std)})
			if err != nil {
				if keys, err = trust.CreateKeys(dir, o); err != nil {
					return err
				}
			}
			change, err := keys.Init(trust.Setup{
				Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}, Root: roots, Targets: targets,
				RootThreshold: rootThreshold, TargetsThreshold: targetsThreshold,
			})
			if err != nil {
				return err
			}
			done, err := upload(c, std, hub, keys, change, out)
			if err != nil || !done {
				return err
			}
			print, err := keys.Fingerprint()
			if err != nil {
				return err
			}
			fmt.Fprintf(std.err, "keys in %s: keep a copy where only you reach it, since without them nothing can be released\n", dir)
			_, err = fmt.Fprintf(std.out, "%s\n", print)
			return err
		},
	}
	h.add(c)
	k.add(c)
	c.Flags().BoolVar(&k.encrypted, "encrypt", false, "encrypt the keys with a passphrase")
	c.Flags().StringSliceVar(&roots, "root-key", nil, "public root `KEY` of another developer")
	c.Flags().StringSliceVar(&targets, "targets-key", nil, "public targets `KEY` of another developer")
	c.Flags().IntVar(&rootThreshold, "root-threshold", 1, "how many root keys must sign a new root")
	c.Flags().IntVar(&targetsThreshold, "targets-threshold", 1, "how many targets keys must sign a release")
	c.Flags().StringVar(&out, "out", "change.json", "`FILE` for the others to sign, where one signature is not enough")
	return c
}

func keysShowCommand(std streams) *cobra.Command {
	var k keysFlags
	c := &cobra.Command{
		Use: "show", Short: "Show public keys, and what is signed with them", Example: "  isomer keys show", Args: operands(),
		RunE: func(*cobra.Command, []string) error {
			keys, err := k.open(std)
			if err != nil {
				return err
			}
			info, err := keys.Info()
			if err != nil && !errors.Is(err, trust.ErrNoMetadata) {
				return err
			}
			print, _ := keys.Fingerprint() // none before init
			return writeJSON(std.out, map[string]any{"public": keys.Public(), "fingerprint": print, "metadata": info})
		},
	}
	k.add(c)
	return c
}

func keysRotateCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var r trust.Rotation
	var renew, online bool
	var out string
	c := &cobra.Command{
		Use: "rotate", Short: "Replace, add or remove signing keys, or renew what expires",
		Long: `Sign a new root. Nodes follow by themselves, however long they were away. After a theft of a targets key
say --targets --online: only so do nodes forget versions that the thief may have made up. After a theft of the hub's
keys remove identity/online.json of every hub, start one, copy its new file to the others, and say --online.`,
		Example: "  isomer keys rotate --online\n  isomer keys rotate --targets\n  isomer keys rotate --add-targets 5f2c… --targets-threshold 2\n  isomer keys rotate --renew",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			hub, keys, err := openCurrent(c, std, &h, &k)
			if err != nil {
				return err
			}
			var change *trust.Change
			if renew {
				change, err = keys.Renew(true, true)
			} else {
				if online {
					snapshot, timestamp, err := hub.OnlineKeys(c.Context())
					if err != nil {
						return err
					}
					r.Online = &trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}
				}
				change, err = keys.Rotate(r)
			}
			if err != nil {
				return err
			}
			done, err := upload(c, std, hub, keys, change, out)
			if err == nil && done {
				fmt.Fprintln(std.err, "the hub has the new root; nodes take it with their next refresh")
			}
			return err
		},
	}
	h.add(c)
	k.add(c)
	flags := c.Flags()
	flags.BoolVar(&r.NewRoot, "root", false, "replace this folder's root key")
	flags.BoolVar(&r.NewTargets, "targets", false, "replace this folder's targets key")
	flags.BoolVar(&online, "online", false, "take the hub's present keys for snapshot and timestamp")
	flags.BoolVar(&renew, "renew", false, "sign root and list again with new dates of expiry, and change nothing else")
	flags.StringSliceVar(&r.AddRoot, "add-root", nil, "add a public root `KEY`")
	flags.StringSliceVar(&r.RemoveRoot, "remove-root", nil, "remove a root `KEY` or its id")
	flags.StringSliceVar(&r.AddTargets, "add-targets", nil, "add a public targets `KEY`")
	flags.StringSliceVar(&r.RemoveTargets, "remove-targets", nil, "remove a targets `KEY` or its id")
	flags.IntVar(&r.RootThreshold, "root-threshold", 0, "how many root keys must sign; 0: as it is")
	flags.IntVar(&r.TargetsThreshold, "targets-threshold", 0, "how many targets keys must sign; 0: as it is")
	flags.StringVar(&out, "out", "change.json", "`FILE` for the others to sign, where one signature is not enough")
	return c
}

// readChange reads a change that goes round for signatures.
func readChange(c *cobra.Command, std streams, file string) (*trust.Change, error) {
	b, err := readInput(c.Context(), std, file)
	if err != nil {
		return nil, err
	}
	return trust.DecodeChange(b)
}

func keysSignCommand(std streams) *cobra.Command {
	var k keysFlags
	c := &cobra.Command{
		Use: "sign FILE", Short: "Add your signatures to a change that somebody else made",
		Long:    "Say what the change does, and sign it with the keys of this folder. Whoever signs answers for it.",
		Example: "  isomer keys sign change.json", Args: operands("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			keys, err := k.open(std)
			if err != nil {
				return err
			}
			change, err := readChange(c, std, args[0])
			if err != nil {
				return err
			}
			words, err := keys.Explain(change)
			if err != nil {
				return err
			}
			for _, line := range words {
				fmt.Fprintln(std.err, line)
			}
			n, err := keys.Sign(change)
			if err != nil {
				return err
			}
			b, err := change.Encode()
			if err != nil {
				return err
			}
			missing, err := keys.Missing(change)
			if err != nil {
				return err
			}
			fmt.Fprintf(std.err, "%s added; missing: %s\n", plural(n, "signature"), orDash(strings.Join(missing, "; ")))
			return writeFile(c.Context(), args[0], b)
		},
	}
	k.add(c)
	return c
}

func keysUploadCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	c := &cobra.Command{
		Use: "upload FILE", Short: "Bring a change that has all its signatures to the hub",
		Example: "  isomer keys upload change.json", Args: operands("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			hub, keys, err := openBoth(std, &h, &k)
			if err != nil {
				return err
			}
			change, err := readChange(c, std, args[0])
			if err != nil {
				return err
			}
			_, err = upload(c, std, hub, keys, change, args[0])
			return err
		},
	}
	h.add(c)
	k.add(c)
	return c
}
