package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
)

func nodesCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	c := &cobra.Command{
		Use:     "nodes [SELECTOR|NODE]",
		Short:   "List the nodes of the fleet, or show one",
		Long:    "List the nodes that a selector chooses, or show one by its name: what it runs and was asked to run, its calls,\nbindings and problems.",
		Example: "  isomer nodes\n  isomer nodes dev7\n  isomer nodes layer=device,site=a|b --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "all" && fleet.CheckNode(args[0]) == nil {
				return showNode(c.Context(), std, &f, args[0], asJSON)
			}
			sel := fleet.Selector{}
			if len(args) == 1 {
				var err error
				if sel, err = fleet.ParseSelector(args[0]); err != nil {
					return err
				}
			}
			hub, err := f.client()
			if err != nil {
				return err
			}
			nodes, err := hub.Nodes(c.Context(), sel)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, nodes)
			}
			t := newTable(std.out)
			t.row("NODE", "LAYER", "LABELS", "STATE", "HEARD", "MODULES")
			for _, n := range nodes {
				heard := "never"
				if n.Heard != nil {
					heard = ago(*n.Heard)
				}
				t.row(n.Node, n.Layer, orDash(n.Labels.String()), nodeState(n), heard, modulesText(n))
			}
			if len(nodes) == 0 {
				fmt.Fprintln(std.err, "no node; isomer enroll lets one in")
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// showNode prints all that a node reported of itself; as JSON it is a list of one, so that scripts read one form.
func showNode(ctx context.Context, std streams, f *hubFlags, name string, asJSON bool) error {
	hub, err := f.client()
	if err != nil {
		return err
	}
	n, err := hub.Node(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(std.out, []fleet.NodeView{n})
	}
	t := newTable(std.out)
	t.row("node", n.Node)
	t.row("layer", n.Layer)
	t.row("labels", orDash(n.Labels.String()))
	t.row("state", nodeState(n))
	if n.Heard != nil {
		t.row("heard", ago(*n.Heard))
	}
	if r := n.Report; r != nil {
		t.row("through", cmp.Or(r.Via, "the hub"))
		t.row("agent", fmt.Sprintf("%s, %s, %s/%s, since %s", r.Agent, r.Engine, r.OS, r.Arch, r.Started.Local().Format(time.DateTime)))
		for _, p := range r.Problems {
			t.row("problem", p)
		}
		if len(r.Saving) > 0 {
			t.row("saving", strings.Join(r.Saving, ", "))
		}
		for _, m := range r.Modules {
			moduleRows(t, m)
		}
	}
	return t.flush()
}

func moduleRows(t table, m fleet.ModuleReport) {
	text := fmt.Sprintf("%s (%.12s), %s", refText(m.Release), m.Digest, m.State)
	if m.Release.IsZero() {
		text = "nothing serves, " + string(m.State)
	}
	if m.Desired != m.Release && !m.Desired.IsZero() {
		text += " " + m.Desired.String()
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	t.row("module "+m.Name, text)
	if s := m.Stats; s.Calls > 0 {
		t.row("", fmt.Sprintf("%d calls, %d failed, p50 %.2f ms, p95 %.2f ms", s.Calls, s.Failed, s.P50/1000, s.P95/1000))
	}
	for _, b := range m.Bindings {
		text := fmt.Sprintf("binding %s: %d received, %d answered, %d retried, %d dead, %d dropped, %d unsent, %d waiting",
			b.Name, b.Received, b.Answered, b.Retried, b.Dead, b.Dropped, b.Unsent, b.Waiting)
		if b.Problem != "" {
			text += "; does not work: " + b.Problem
		}
		t.row("", text)
	}
}

func nodeState(n fleet.NodeView) string {
	switch {
	case n.Revoked:
		return "revoked"
	case n.Key == "":
		return "invited"
	case !n.Online:
		return "offline"
	case n.Report != nil && len(n.Report.Problems) > 0:
		return "problem"
	}
	return "online"
}
