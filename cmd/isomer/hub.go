package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/cmd/internal/systemd"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/otlp"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/trace/oteltrace"
)

// hubDataDefault is the hub's folder where --data does not say another.
const hubDataDefault = "isomer-hub"

type hubCommandFlags struct {
	data, name, api, local                   string
	nats, leaf, websocket, mqtt, clusterAddr string
	hosts, routes                            []string
	cluster, cert, key, creds                string
	replicas                                 int
	insecure, verbose                        bool
}

func hubCommand(std streams) *cobra.Command {
	var f hubCommandFlags
	c := &cobra.Command{
		Use:   "hub",
		Short: "Run the control plane of a fleet",
		Long: `Run a hub: an embedded NATS server with the fleet's state, and an HTTP API. The first start makes the
fleet: its certificate authority and identities, and an admin's token in admin.json, which the other
commands find when they run beside the folder. Everything is in the folder; killed, a hub goes on where
it was when it is started again.

Several hubs make a cluster: copy the folder identity/ of the first to the others, give each a --name,
--cluster-listen and the --route of the others. One leads, all answer, and state is kept three times.

With URLs in --nats the hub embeds no server and runs on a NATS JetStream cluster of your own, whose servers
"isomer hub init" writes the configuration for. Any number of hubs use the same one, each with a copy of
identity/ and a --name.`,
		Example: `  isomer hub
  isomer hub --data /var/lib/isomer-hub --host hub.example.com
  isomer hub --name hub-2 --cluster-listen :6222 --route nats-route://hub-1.example.com:6222
  isomer hub init --server n1.example.com --server n2.example.com --server n3.example.com
  isomer hub --nats tls://n1.example.com,tls://n2.example.com,tls://n3.example.com`,
		Args: operands(),
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, std) },
	}
	flags := c.Flags()
	flags.StringVar(&f.data, "data", hubDataDefault, "`FOLDER` of the hub")
	flags.StringVar(&f.name, "name", "hub-1", "name of this hub in its cluster")
	flags.StringSliceVar(&f.hosts, "host", nil, "host `NAME` or address under which nodes and people reach the hub; default: this machine's")
	flags.StringVar(&f.api, "listen", ":8443", "`ADDRESS` of the HTTP API")
	flags.StringVar(&f.local, "http", "", "loopback `ADDRESS` of the API and the dashboard without TLS, for a browser on this machine; default: off")
	flags.StringVar(&f.nats, "nats", ":4222", "`ADDRESS` for nodes, or the URLs of an external cluster's servers, with commas")
	flags.StringVar(&f.leaf, "leaf", ":7422", "`ADDRESS` for edges, or the URLs for them at an external cluster (default: its hosts, port 7422)")
	flags.StringVar(&f.creds, "creds", "", "`FILE` with the hub's NATS credentials at an external cluster (default: the hub signs its own)")
	flags.IntVar(&f.replicas, "replicas", 0, "how often state is kept: 1, 3 or 5 (default 3 with three or more servers, otherwise 1)")
	flags.StringVar(&f.websocket, "websocket", "", "`ADDRESS` for browsers beside that of --listen, which lets 2,048 in at /v1/nats; default: off")
	flags.StringVar(&f.mqtt, "mqtt", "", "`ADDRESS` for MQTT 3.1.1; default: off")
	flags.StringVar(&f.clusterAddr, "cluster-listen", "", "`ADDRESS` for the other hubs; default: off")
	flags.StringVar(&f.cluster, "cluster", "isomer", "`NAME` of the cluster of hubs")
	flags.StringSliceVar(&f.routes, "route", nil, "cluster `URL` of another hub")
	flags.StringVar(&f.cert, "cert", "", "`FILE` with the certificate chain (PEM) in place of one by the fleet's own CA")
	flags.StringVar(&f.key, "key", "", "`FILE` with its key (PEM)")
	flags.BoolVar(&f.insecure, "insecure", false, "no TLS: for trying out on one machine")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "tell more of what happens")
	c.AddCommand(hubInitCommand(std))
	return c
}

func (f *hubCommandFlags) run(c *cobra.Command, std streams) error {
	cfg := hub.Config{
		Dir: f.data, Name: f.name, API: f.api, Local: f.local, Hosts: f.hosts, Insecure: f.insecure, Version: buildVersion().Version,
		Listen: broker.Listen{NATS: f.nats, Leaf: f.leaf, WebSocket: f.websocket, MQTT: f.mqtt, Cluster: f.clusterAddr},
		Routes: f.routes, Replicas: f.replicas, Log: talk(std, f.verbose),
	}
	if err := f.external(c, &cfg); err != nil {
		return err
	}
	if f.clusterAddr != "" {
		cfg.Cluster = f.cluster
	} else if len(f.routes) > 0 {
		return usage(c, "--route needs --cluster-listen")
	}
	if (f.cert == "") != (f.key == "") {
		return usage(c, "--cert and --key come together")
	}
	if f.cert != "" {
		cert, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return err
		}
		cfg.Certificate = &cert
	}
	if os.Getenv("GOGC") == "" {
		// Thousands of connections are memory that stays; collecting at half of it in garbage instead of all of it
		// costs little where so little is thrown away.
		debug.SetGCPercent(50)
	}
	traces, stopTraces, err := oteltrace.Start(c.Context(), "isomer-hub", f.name, buildVersion().Version)
	if err != nil {
		return err
	}
	defer warn(std.err, stopTraces)()
	cfg.Trace = traces
	h, err := hub.Start(c.Context(), cfg)
	if err != nil {
		return portHint(err, "--listen, --nats and --leaf choose others")
	}
	defer h.Stop()
	export, err := otlp.Start(c.Context(), "isomer-hub", f.name, buildVersion().Version, h.Gatherer())
	if err != nil {
		return err
	}
	defer warn(std.err, export)()
	t := newTable(std.err)
	t.row("hub", h.URL())
	if local := h.LocalURL(); local != "" {
		t.row("browser", local)
	}
	if e := cfg.External; e != nil {
		t.row("cluster", strings.Join(e.URLs, " "))
	} else {
		t.row("nodes", h.Broker().URL())
		t.row("edges", h.Broker().LeafURL())
	}
	if ca := h.Fingerprint(); ca != "" {
		t.row("CA", ca)
	}
	t.row("token", "in "+hub.AdminFile(f.data))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(std.err, strings.TrimSpace("serving until Ctrl-C; next: isomer keys init"))
	told := make(chan struct{})
	serving, over := context.WithCancel(c.Context())
	go func() {
		defer close(told)
		systemd.Serve(serving, func() string { return "serving at " + h.URL() }, h.Healthy)
	}()
	defer func() { over(); <-told }()
	select {
	case <-c.Context().Done():
		fmt.Fprintln(std.err, "stopping")
		return nil
	case err := <-h.Failed():
		return err
	}
}

// external takes --nats for the servers of an external cluster where it has URLs.
func (f *hubCommandFlags) external(c *cobra.Command, cfg *hub.Config) error {
	if f.replicas != 0 && f.replicas != 1 && f.replicas != 3 && f.replicas != 5 {
		return usage(c, "--replicas %d: want 1, 3 or 5", f.replicas)
	}
	if !strings.Contains(f.nats, "://") {
		if f.creds != "" {
			return usage(c, "--creds is for an external cluster: --nats tls://HOST")
		}
		return nil
	}
	for _, other := range []string{"cluster-listen", "route", "websocket", "mqtt"} {
		if c.Flags().Changed(other) {
			return usage(c, "--%s is for the embedded server, and --nats names an external cluster", other)
		}
	}
	e := &hub.External{URLs: strings.Split(f.nats, ","), Creds: f.creds}
	if c.Flags().Changed("leaf") {
		e.Leaf = strings.Split(f.leaf, ",")
	}
	cfg.External = e
	return nil
}

// talk is the log of a server on stderr.
func talk(std streams, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level}))
}
