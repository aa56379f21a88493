package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func revokeCommand(std streams) *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use:   "revoke NODE",
		Short: "Throw a node out of the fleet, for good",
		Long: `Throw a node out: the hub and every edge close its connections and let it in no more. Its name can be
enrolled again with a new token.`,
		Example: "  isomer revoke dev7",
		Args:    operands("NODE"),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			if err := hub.Revoke(c.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.err, "%s is revoked\n", args[0])
			return err
		},
	}
	f.add(c)
	return c
}
