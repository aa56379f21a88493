package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/cmd/internal/nodecmd"
	"github.com/isomer-iot/isomer/cmd/isomer/internal/otlp"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/homeassistant"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trace/oteltrace"
)

func nodeCommand(streams) *cobra.Command {
	return nodecmd.New(buildVersion().Version, runEdge, exportNode, traceNode)
}

// exportNode sends a node's metrics to an OpenTelemetry collector where the environment names one. isomer-node has no
// room for it.
func exportNode(ctx context.Context, name string, g prometheus.Gatherer) (func(), error) {
	stop, err := otlp.Start(ctx, "isomer-node", name, buildVersion().Version, g)
	if err != nil {
		return nil, err
	}
	return warn(os.Stderr, stop), nil
}

// traceNode sends a node's spans to the same collector.
func traceNode(ctx context.Context, name string) (trace.Tracer, func(), error) {
	t, stop, err := oteltrace.Start(ctx, "isomer-node", name, buildVersion().Version)
	return t, warn(os.Stderr, stop), err
}

// warn is stop, whose error is told.
func warn(to io.Writer, stop func() error) func() {
	return func() {
		if err := stop(); err != nil {
			fmt.Fprintln(to, "warning:", err)
		}
	}
}

// runEdge serves a gateway's devices beside its own agent.
func runEdge(ctx context.Context, f nodecmd.Flags, c node.Config, say io.Writer) error {
	e, err := edge.Start(ctx, edge.Config{
		Node: c, Listen: broker.Listen{NATS: f.NATS, MQTT: f.MQTT}, Enrol: f.Enrol, Hosts: f.Hosts, Insecure: f.Insecure,
		HomeAssistant: homeassistant.Config{Broker: f.HomeAssistant, Password: os.Getenv("ISOMER_MQTT_PASSWORD"), Prefix: f.HAPrefix},
	})
	if err != nil {
		return portHint(err, "--nats :4223 and --enrol :8445 choose others, as beside a hub on the same machine")
	}
	defer e.Close()
	fmt.Fprintf(say, "devices connect to %s\n", strings.Join(e.Addresses(), " "))
	if at := e.EnrolAddress(); at != "" {
		fmt.Fprintf(say, "and join at %s where they cannot reach the hub\n", at)
	}
	stop, err := exportNode(ctx, c.Identity.Enrolment.Node, e.Agent().Gatherer())
	if err != nil {
		return err
	}
	defer stop()
	told := nodecmd.Tell(ctx, e.Agent())
	err = e.Run(ctx)
	<-told
	return err
}
