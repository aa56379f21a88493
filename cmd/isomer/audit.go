package main

import (
	"time"

	"github.com/spf13/cobra"
)

func auditCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	var limit int
	var since time.Duration
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Show who did what in the fleet, and what was refused",
		Example: "  isomer audit --since 24h",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			entries, err := hub.Audit(c.Context(), from, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, entries)
			}
			t := newTable(std.out)
			t.row("TIME", "WHO", "FROM", "WHAT", "ON", "RESULT", "REASON")
			for _, e := range entries {
				t.row(e.At.Local().Format(time.DateTime), e.Who, e.From, e.What, orDash(e.On), e.Result, e.Reason)
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().IntVar(&limit, "limit", 100, "at most so many entries, the newest")
	c.Flags().DurationVar(&since, "since", 0, "only entries of this last while; 0: all")
	return c
}
