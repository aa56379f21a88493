// Package nodecmd is the command that makes a machine a node, for isomer and for isomer-node, which has nothing
// else.
package nodecmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/isomer-iot/isomer/cmd/internal/systemd"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/node/local"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// Flags are what the user said.
type Flags struct {
	Data, Join, Via string
	Hosts           []string // under which an edge's devices reach it
	NATS, MQTT      string   // an edge's listeners
	Enrol           string
	HomeAssistant   string // an edge's broker of Home Assistant
	HAPrefix        string
	Memory          int64
	Deadline        time.Duration
	Instances       int
	Insecure        bool
	Verbose         bool
	Bindings        string // file of the owner's own bindings
	Listen, Socket  string // of the local API
}

// Edge runs an edge until ctx ends.
type Edge func(ctx context.Context, f Flags, c node.Config, say io.Writer) error

// Export sends a node's metrics somewhere until stop.
type Export func(ctx context.Context, name string, g prometheus.Gatherer) (stop func(), err error)

// Trace makes the tracer of a node's spans, nil where nobody wants them, and what ends it.
type Trace func(ctx context.Context, name string) (t trace.Tracer, stop func(), err error)

// DataDefault is a node's folder where --data does not say another.
const DataDefault = "isomer-node"

// New makes the command. edge nil: this program cannot be an edge. export nil: its metrics are at the local API alone. traces nil: it
// makes no spans.
func New(version string, edge Edge, export Export, traces Trace) *cobra.Command {
	var f Flags
	c := &cobra.Command{
		Use:   "node",
		Short: "Make this machine a node of a fleet, and run its modules",
		Long: `Join a fleet with a token of "isomer enroll", and run what the fleet wants on this node. The first start needs
--join; later ones find who they are in the folder, and serve what ran last before there is any network.

Programs on this machine call modules over --listen or --socket: POST /v1/modules/NAME/call/FUNCTION, GET
/v1/modules, /v1/status, /healthz, /metrics. Bindings need no program: docs/fleet.md.

A device may go through an edge: --via NAME where it can reach the hub to join, --via HOST:PORT (the edge's
enrolment port) where it cannot.`,
		Example: `  isomer node --join isomer-join-eyJoIjpb…
  isomer node --join isomer-join-eyJoIjpb… --via gw1
  isomer node --data /var/lib/isomer
  isomer node --listen 127.0.0.1:8600 --socket /run/isomer/isomer.sock
  curl --data-binary @frame.jpg http://127.0.0.1:8600/v1/modules/digits/call/read`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c, f, version, edge, export, traces) },
	}
	flags := c.Flags()
	flags.StringVar(&f.Data, "data", DataDefault, "`FOLDER` of the node")
	flags.StringVar(&f.Join, "join", "", "join `TOKEN`; - reads it from stdin, which other processes do not see")
	flags.StringVar(&f.Via, "via", "", "go through the edge of this `NAME`, or at HOST:PORT")
	flags.Int64Var(&f.Memory, "memory", 0, "limit of each module's memory in `MIB` (default 256)")
	flags.DurationVar(&f.Deadline, "timeout", 0, "how long a call may take (default 30s)")
	flags.IntVar(&f.Instances, "instances", 1, "calls that a module serves at once")
	flags.StringVar(&f.Bindings, "bindings", "", "`FILE` (YAML or JSON) that connects modules to subjects, timers, folders and paths, beside what the hub wants; read again when it changes")
	flags.StringVar(&f.Listen, "listen", "", "`ADDRESS` on loopback of the local API, such as 127.0.0.1:8600; default: off")
	flags.StringVar(&f.Socket, "socket", "", "`PATH` of a Unix socket of the local API, for the agent's user and group; default: off")
	flags.BoolVarP(&f.Verbose, "verbose", "v", false, "tell more of what happens")
	if edge != nil {
		flags.StringSliceVar(&f.Hosts, "host", nil, "host `NAME` or address under which an edge's devices reach it; default: this machine's")
		flags.StringVar(&f.NATS, "nats", ":4222", "an edge's `ADDRESS` for devices")
		flags.StringVar(&f.MQTT, "mqtt", "", "an edge's `ADDRESS` for MQTT 3.1.1; default: off")
		flags.StringVar(&f.Enrol, "enrol", ":8444", "an edge's `ADDRESS` where devices join that cannot reach the hub; empty: off")
		flags.StringVar(&f.HomeAssistant, "home-assistant", "", "an edge shows its nodes in Home Assistant, whose broker is mqtt://USER@HOST or mqtts://…, or \"self\": its own --mqtt; the password is ISOMER_MQTT_PASSWORD (`URL`)")
		flags.StringVar(&f.HAPrefix, "home-assistant-prefix", "", "Home Assistant's discovery `PREFIX` (default homeassistant; with self app/NAME/homeassistant)")
		flags.BoolVar(&f.Insecure, "insecure", false, "no TLS at an edge's listeners: for trying out on one machine")
	}
	return c
}

func run(c *cobra.Command, f Flags, version string, edge Edge, export Export, traces Trace) error {
	ctx, say := c.Context(), c.ErrOrStderr()
	if len(f.Hosts) == 0 {
		f.Hosts = hosts()
	}
	if f.Join != "" {
		if err := join(ctx, c, f); err != nil {
			return err
		}
	}
	id, err := node.LoadIdentity(f.Data)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if f.Verbose {
		level = slog.LevelDebug
	}
	cfg := node.Config{
		Dir: f.Data, Identity: id, Version: version, Memory: f.Memory << 20, Deadline: f.Deadline, Instances: f.Instances,
		Log:      slog.NewTextHandler(say, &slog.HandlerOptions{Level: level}),
		Bindings: f.Bindings, DecodeBindings: decodeBindings, Local: local.Listen{Address: f.Listen, Socket: f.Socket},
	}
	if traces != nil {
		t, stop, err := traces(ctx, id.Enrolment.Node)
		if err != nil {
			return err
		}
		defer stop() // last, so that the spans of the end go too
		cfg.Trace = t
	}
	fmt.Fprintf(say, "node %s, %s, in %s\n", id.Enrolment.Node, id.Enrolment.Layer, f.Data)
	if id.Enrolment.Layer == fleet.Edge {
		if edge == nil {
			return errors.New("this program cannot be an edge: it has no broker; use isomer node")
		}
		return edge(ctx, f, cfg, say)
	}
	a, err := node.New(ctx, cfg)
	if err != nil {
		return err
	}
	if export != nil {
		stop, err := export(ctx, id.Enrolment.Node, a.Gatherer())
		if err != nil {
			a.Close()
			return err
		}
		defer stop()
	}
	told := Tell(ctx, a)
	err = a.Run(ctx)
	a.Close()
	<-told
	return err
}

// Tell tells the service manager, where there is one, how the agent is until ctx ends; the channel closes then.
func Tell(ctx context.Context, a *node.Agent) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		systemd.Serve(ctx, a.Summary, func(context.Context) error {
			a.Summary() // takes every lock of the agent: where one hangs, so does this
			return nil
		})
	}()
	return done
}

// decodeBindings reads YAML, of which JSON is a part.
func decodeBindings(b []byte) ([]fleet.LocalBinding, error) {
	var loose any
	if err := yaml.Unmarshal(b, &loose); err != nil {
		return nil, err
	}
	if loose == nil {
		return nil, nil // an empty file
	}
	b, err := json.Marshal(loose)
	if err != nil {
		return nil, err
	}
	return fleet.DecodeLocalBindings(b)
}

func join(ctx context.Context, c *cobra.Command, f Flags) error {
	text := f.Join
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 64<<10))
		if err != nil {
			return err
		}
		text = string(b)
	}
	token, err := fleet.ParseJoinToken(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	id, err := node.Join(ctx, f.Data, token, node.JoinOptions{Via: f.Via, Addresses: f.Hosts})
	if err != nil {
		return err
	}
	if token.Root == "" {
		fmt.Fprintln(c.ErrOrStderr(), "the token names no signing key: this node believes the one that the hub gave it")
	}
	fmt.Fprintf(c.ErrOrStderr(), "joined as %s; who it is stands in %s\n", id.Enrolment.Node, filepath.Join(f.Data, "identity.json"))
	return nil
}

// hosts are this machine's names and addresses.
func hosts() []string {
	var out []string
	if name, err := os.Hostname(); err == nil {
		out = append(out, strings.ToLower(name))
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			out = append(out, ip.IP.String())
		}
	}
	return append(out, "localhost", "127.0.0.1")
}
