package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
)

func tokensCommand(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "tokens",
		Short:   "Make, list and take back API tokens",
		Example: "  isomer tokens create ci --role deployer --lasts 2160h > ci.token\n  isomer tokens revoke ci",
		Args:    noSuchCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(tokensListCommand(std), tokensCreateCommand(std), tokensRevokeCommand(std))
	return c
}

func tokensListCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List API tokens, without their secrets", Example: "  isomer tokens list", Args: operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			tokens, err := hub.Tokens(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, tokens)
			}
			t := newTable(std.out)
			t.row("NAME", "ROLE", "MADE", "BY", "EXPIRES", "ID")
			for _, k := range tokens {
				expires := "never"
				if k.Expires != nil {
					expires = k.Expires.Local().Format(time.DateTime)
				}
				t.row(k.Name, k.Role, ago(k.At), k.By, expires, k.ID[:12])
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func tokensCreateCommand(std streams) *cobra.Command {
	var f hubFlags
	var role string
	var lasts time.Duration
	c := &cobra.Command{
		Use: "create NAME", Short: "Make an API token and print it, this once",
		Long: `Make an API token. A viewer looks; a deployer also publishes, deploys, calls and moves rollouts; an admin
also enrols and revokes nodes, and makes tokens.`,
		Example: "  isomer tokens create ci --role deployer > ci.token", Args: operands("NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			token, err := hub.MakeToken(c.Context(), args[0], fleet.Role(role), lasts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(std.out, token)
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&role, "role", string(fleet.Viewer), "viewer, deployer or admin")
	c.Flags().DurationVar(&lasts, "lasts", 0, "how long it can be used; 0: until it is taken back")
	return c
}

func tokensRevokeCommand(std streams) *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use: "revoke NAME|ID", Short: "Take API tokens back, by name or the beginning of the ID",
		Example: "  isomer tokens revoke ci", Args: operands("NAME|ID"),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			tokens, err := hub.Tokens(c.Context())
			if err != nil {
				return err
			}
			gone := 0
			for _, k := range tokens {
				if k.Name == args[0] || len(args[0]) >= 8 && strings.HasPrefix(k.ID, args[0]) {
					if err := hub.DropToken(c.Context(), k.ID); err != nil {
						return err
					}
					gone++
				}
			}
			if gone == 0 {
				return hint(errors.New("no token "+args[0]), "isomer tokens list shows them")
			}
			_, err = fmt.Fprintf(std.err, "%s taken back\n", plural(gone, "token"))
			return err
		},
	}
	f.add(c)
	return c
}
