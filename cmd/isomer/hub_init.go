package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet/hub"
)

func hubInitCommand(std streams) *cobra.Command {
	var data string
	var names []string
	var insecure bool
	c := &cobra.Command{
		Use:   "init",
		Short: "Make a fleet's authority, and the files of an external NATS cluster",
		Long: `Make the fleet's certificate authority and identities in the hub's folder, which "isomer hub" otherwise does at
its first start. For each --server a folder is written with what a nats-server of an external cluster needs:
its configuration, the operator's claims, the accounts, and a TLS key with a certificate of the fleet's CA.
Doing it again keeps the authority, and makes the servers' certificates anew.`,
		Example: `  isomer hub init --server n1.example.com --server n2.example.com --server n3.example.com
  isomer hub init --server a=192.0.2.1`,
		Args: operands(),
		RunE: func(*cobra.Command, []string) error {
			var servers []hub.Server
			for _, s := range names {
				one, err := hub.ParseServer(s)
				if err != nil {
					return err
				}
				servers = append(servers, one)
			}
			folders, err := hub.InitServers(data, servers, insecure)
			if err != nil {
				return err
			}
			fmt.Fprintf(std.err, "the fleet's authority is in %s; keep a copy, and keep it secret\n", filepath.Join(data, "identity"))
			if len(servers) == 0 {
				fmt.Fprintf(std.err, "next: isomer hub --data %s\n", data)
				return nil
			}
			urls, scheme := "", "tls"
			if insecure {
				scheme = "nats"
			}
			for i, s := range servers {
				fmt.Fprintf(std.err, "copy %s to %s and start there, in it: nats-server -c nats.conf\n", folders[i], s.Host)
				if i > 0 {
					urls += ","
				}
				urls += scheme + "://" + s.Host
			}
			fmt.Fprintf(std.err, "they listen on 4222 for hubs and nodes, 7422 for edges, 6222 for each other\nthen, on each hub (another hub gets a copy of identity/ and its own --name):\n")
			more := ""
			if insecure {
				more = " --insecure"
			}
			fmt.Fprintf(std.out, "isomer hub --data %s --nats %s%s\n", data, urls, more)
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&data, "data", hubDataDefault, "`FOLDER` of the hub")
	flags.StringSliceVar(&names, "server", nil, "`HOST` of a server, or NAME=HOST")
	flags.BoolVar(&insecure, "insecure", false, "no TLS: for trying out on one machine")
	return c
}
