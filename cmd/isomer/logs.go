package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
)

// logText is a line of a node's log, plain: each word of it is the node's, or its guest's.
func logText(l fleet.LogLine) string {
	who := l.Module
	if who == "" {
		who = "agent"
	}
	return line(fmt.Sprintf("%s %-5s %s: %s", l.At.Local().Format(time.DateTime), l.Level, who, l.Message))
}

func logsCommand(std streams) *cobra.Command {
	var f hubFlags
	var follow, asJSON bool
	c := &cobra.Command{
		Use:   "logs NODE",
		Short: "Show what a node and its modules logged",
		Long: `Show the lines that the node keeps in memory, the newest last. With --follow further lines come as they are
written; a node that nobody follows sends none.`,
		Example: "  isomer logs -f dev7",
		Args:    operands("NODE"),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			err = hub.Logs(c.Context(), args[0], follow, func(l fleet.LogLine) {
				if asJSON {
					b, _ := json.Marshal(l)
					fmt.Fprintf(std.out, "%s\n", b)
					return
				}
				fmt.Fprintln(std.out, logText(l))
			})
			if follow && c.Context().Err() != nil {
				return nil // Ctrl-C is how one stops following
			}
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "stay, and show lines as they come")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return c
}
