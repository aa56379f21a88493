package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

func releasesCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	c := &cobra.Command{
		Use:     "releases",
		Short:   "List the signed modules that can be deployed, or remove some",
		Example: "  isomer releases --json\n  isomer releases rm digits@1.0.0",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			releases, err := hub.Releases(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, releases)
			}
			t := newTable(std.out)
			t.row("RELEASE", "SIZE", "DIGEST", "CASES", "SIGNED BY", "PUBLISHED", "BY")
			for _, r := range releases {
				signed := "–"
				if len(r.SignedBy) > 0 {
					signed = fmt.Sprintf("%.12s", r.SignedBy[0])
					if more := len(r.SignedBy) - 1; more > 0 {
						signed += fmt.Sprintf(" and %d more", more)
					}
				}
				t.row(r.Ref, size(r.Size), r.Digest[:12], r.Cases, signed, ago(r.At), r.By)
			}
			if len(releases) == 0 {
				fmt.Fprintln(std.err, "no release; isomer publish FILE --as NAME@VERSION makes one")
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(releasesRemoveCommand(std))
	return c
}

func releasesRemoveCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var out string
	var force bool
	c := &cobra.Command{
		Use:   "rm NAME@VERSION...",
		Short: "Take releases out of the signed list",
		Long: `Sign a list without these releases. No node installs them any more, and the hub removes a module that no release
has after a week. A release that is deployed, or that a node runs, stays: deploy another first. --force removes it
all the same, as for one that nobody of you signed: no node installs it anew, and those that run it return to what was
deployed before, or go on with it where there is nothing else, until another release is deployed.`,
		Example: "  isomer releases rm digits@1.0.0 digits@1.1.0",
		Args:    atLeastOne("NAME@VERSION"),
		RunE: func(c *cobra.Command, args []string) error {
			var refs []fleet.Ref
			for _, a := range args {
				ref, err := fleet.ParseRef(a)
				if err != nil {
					return usage(c, "%w", err)
				}
				refs = append(refs, ref)
			}
			hub, err := h.client()
			if err != nil {
				return err
			}
			if !force {
				if err := unused(c, hub, refs); err != nil {
					return err
				}
			}
			keys, err := k.open(std)
			if err != nil {
				return err
			}
			if err := adopt(c, hub, keys); err != nil {
				return err
			}
			change, err := keys.Retire(refs...)
			if err != nil {
				return err
			}
			done, err := upload(c, std, hub, keys, change, out)
			if err == nil && done {
				fmt.Fprintf(std.err, "removed %s\n", strings.Join(args, ", "))
			}
			return err
		},
	}
	h.add(c)
	k.add(c)
	c.Flags().BoolVar(&force, "force", false, "also what is deployed")
	c.Flags().StringVar(&out, "out", "change.json", "`FILE` for the others to sign, where one signature is not enough")
	return c
}

// atLeastOne requires one argument or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(c, "%s is missing", name)
		}
		return nil
	}
}

// unused refuses releases that a deployment stands for or that nodes have, saying which and where.
func unused(c *cobra.Command, hub *client.Client, refs []fleet.Ref) error {
	why, err := uses(c, hub, refs)
	if err != nil || len(why) == 0 {
		return err
	}
	if more := len(why) - 10; more > 0 {
		why = append(why[:10], fmt.Sprintf("and %d more", more))
	}
	return hint(errors.New("still in use:\n"+strings.Join(why, "\n")), "deploy another release of it first; --force removes it all the same")
}

// uses says in words where releases are needed.
func uses(c *cobra.Command, hub *client.Client, refs []fleet.Ref) (why []string, err error) {
	deployments, err := hub.Deployments(c.Context())
	if err != nil {
		return nil, err
	}
	rollouts, err := hub.Rollouts(c.Context())
	if err != nil {
		return nil, err
	}
	phases := map[string]fleet.Phase{}
	for _, r := range rollouts {
		phases[r.Deployment] = r.Phase
	}
	nodes, err := hub.Nodes(c.Context(), fleet.Selector{})
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		for _, d := range deployments {
			if d.Release == ref && stands(d, deployments, phases) {
				why = append(why, fmt.Sprintf("%s is deployed to %s: %s, %s", ref, d.To, d.ID, phases[d.ID]))
			}
		}
		for _, n := range nodes {
			if n.Report == nil || n.Revoked {
				continue
			}
			for _, m := range n.Report.Modules {
				if m.Release == ref || m.Desired == ref {
					why = append(why, fmt.Sprintf("%s is on node %s, heard of %s", ref, n.Node, heard(n)))
				}
			}
		}
	}
	return why, nil
}

func heard(n fleet.NodeView) string {
	if n.Heard == nil {
		return "never"
	}
	return ago(*n.Heard)
}

// stands reports whether a deployment decides what some node runs: it was not taken back, and no newer one that is
// complete chooses all of its nodes.
func stands(d fleet.Deployment, all []fleet.Deployment, phases map[string]fleet.Phase) bool {
	if p := phases[d.ID]; p == fleet.RolledBack || p == fleet.Superseded {
		return false
	}
	for _, o := range all {
		covers := o.To.String() == d.To.String() || o.To.String() == fleet.Selector{}.String()
		if o.Release.Name == d.Release.Name && o.ID > d.ID && phases[o.ID] == fleet.Completed && covers {
			return false
		}
	}
	return true
}
