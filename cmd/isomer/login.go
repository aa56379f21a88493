package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

func loginCommand(std streams) *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use:   "login URL",
		Short: "Remember a hub and a token for the commands that follow",
		Long: `Check that the hub takes the token, and keep both in a file that only you can read. The token comes from
stdin unless --token or ISOMER_TOKEN has it. An admin makes tokens with "isomer tokens create".`,
		Example: "  isomer login https://hub.example.com:8443 --ca 5f2c… < token.txt",
		Args:    operands("URL"),
		RunE: func(c *cobra.Command, args []string) error {
			a := hubAccess{URL: args[0], Token: f.token, CA: f.ca}
			if a.Token == "" {
				a.Token = os.Getenv("ISOMER_TOKEN")
			}
			if a.Token == "" {
				b, err := readInput(c.Context(), std, "-")
				if err != nil {
					return err
				}
				a.Token = strings.TrimSpace(string(b))
			}
			if a.Token == "" {
				return hint(errors.New("no token was given"), "pipe it in: isomer login URL < token.txt")
			}
			hub, err := client.New(client.Config{URL: a.URL, Token: a.Token, CA: a.CA})
			if err != nil {
				return err
			}
			if _, err := hub.Nodes(c.Context(), fleet.Selector{{Key: "name", Values: []string{"none"}}}); err != nil {
				return err
			}
			file, err := loginFile()
			if err != nil {
				return err
			}
			if err := writeSecret(file, a); err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.err, "logged in to %s; kept in %s\n", a.URL, file)
			return err
		},
	}
	f.add(c)
	return c
}

// writeSecret keeps v as JSON where only the user can read it.
func writeSecret(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*") // 0600 from the start
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
