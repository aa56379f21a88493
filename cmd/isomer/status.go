package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
)

// layerStatus is one layer of the fleet.
type layerStatus struct {
	Layer    fleet.Layer    `json:"layer"`
	Nodes    int            `json:"nodes"`
	Online   int            `json:"online"`
	Problems int            `json:"problems"`
	Running  map[string]int `json:"running"` // nodes by release
}

type fleetStatus struct {
	Layers []layerStatus   `json:"layers"`
	Active []fleet.Rollout `json:"rollouts"` // that have not ended
}

func statusCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show the fleet at a glance: layers, releases, rollouts under way",
		Example: "  isomer status\n  isomer status --json",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			nodes, err := hub.Nodes(c.Context(), fleet.Selector{})
			if err != nil {
				return err
			}
			rollouts, err := hub.Rollouts(c.Context())
			if err != nil {
				return err
			}
			s := summarise(nodes, rollouts)
			if asJSON {
				return writeJSON(std.out, s)
			}
			t := newTable(std.out)
			t.row("LAYER", "NODES", "ONLINE", "PROBLEMS", "RUNNING")
			for _, l := range s.Layers {
				var running []string
				for _, ref := range slices.Sorted(maps.Keys(l.Running)) {
					running = append(running, fmt.Sprintf("%s on %d", ref, l.Running[ref]))
				}
				t.row(l.Layer, l.Nodes, l.Online, l.Problems, orDash(strings.Join(running, ", ")))
			}
			for _, r := range s.Active {
				t.row()
				t.row("rollout", r.Deployment, r.Release, r.Phase, fmt.Sprintf("wave %s, %d of %d nodes", waveText(r), r.Updated, r.Chosen))
			}
			if len(s.Layers) == 0 {
				fmt.Fprintln(std.err, "no node; isomer enroll lets one in")
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func summarise(nodes []fleet.NodeView, rollouts []fleet.Rollout) fleetStatus {
	s := fleetStatus{Layers: []layerStatus{}, Active: []fleet.Rollout{}}
	for _, layer := range fleet.Layers() {
		l := layerStatus{Layer: layer, Running: map[string]int{}}
		for _, n := range nodes {
			if n.Layer != layer || n.Revoked {
				continue
			}
			l.Nodes++
			switch nodeState(n) {
			case "online":
				l.Online++
			case "problem":
				l.Online++
				l.Problems++
			}
			if n.Report == nil {
				continue
			}
			for _, m := range n.Report.Modules {
				if !m.Release.IsZero() {
					l.Running[m.Release.String()]++
				}
			}
		}
		if l.Nodes > 0 {
			s.Layers = append(s.Layers, l)
		}
	}
	for _, r := range rollouts {
		if !r.Phase.Ended() {
			s.Active = append(s.Active, r)
		}
	}
	return s
}
