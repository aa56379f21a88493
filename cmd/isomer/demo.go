package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/examples/meter"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// demoNodes are the nodes of the demo, a process each. The devices reach the hub through the edge alone.
var demoNodes = []struct {
	name  string
	layer fleet.Layer
	via   string
}{
	{"cloud", fleet.Cloud, ""}, {"edge", fleet.Edge, ""},
	{"device-1", fleet.Device, "edge"}, {"device-2", fleet.Device, "edge"}, {"device-3", fleet.Device, "edge"},
}

// demoModule is the module's name in the demo's fleet.
const demoModule = "digits"

func demoCommand(std streams) *cobra.Command {
	var asJSON, show bool
	var phase time.Duration
	var rate int
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole fleet on this machine: one module on every layer, replaced while calls run",
		Long: `Compile a network that reads the digits of a utility meter from ONNX to WebAssembly, start a hub, an edge,
three devices behind it and a node in the cloud, a process each, and sign and deploy the module to all of
them. Each reads the frames of a camera with it while version 2 is rolled out by way of a canary, and a
version 3 whose answers are wrong is stopped there and taken back. In the end every call and every answer
of every layer is compared. Everything listens on loopback alone and lives in a folder of the system's temporary
files, which is removed at the end, also after Ctrl-C or SIGTERM; only a demo that is killed leaves it behind.

With --open a page in your browser becomes a node too, on the mobile layer, and the dashboard shows the fleet; the demo
then goes on until Ctrl-C. Without a screen, Chromium runs the page where it is installed.`,
		Example: "  isomer demo\n  isomer demo --open\n  isomer demo --phase 10s --json",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			if phase < 100*time.Millisecond || phase > time.Hour {
				return usage(c, "--phase must be between 100ms and 1h, got %v", phase)
			}
			if rate < 1 || rate > 1000 {
				return usage(c, "--rate must be between 1 and 1000, got %d", rate)
			}
			return runDemo(c.Context(), std, demoOptions{phase, rate, show}, func(r *demoReport) error {
				var err error
				if asJSON {
					err = writeJSON(std.out, r)
				} else {
					err = r.print(std.out)
				}
				return errors.Join(err, r.verdict())
			})
		},
	}
	c.Flags().BoolVar(&show, "open", false, "show the dashboard, add a browser as a node, and go on until Ctrl-C")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().DurationVar(&phase, "phase", 3*time.Second, "how long version 1, version 2 and version 2 after the bad version 3 serve, each")
	c.Flags().IntVar(&rate, "rate", 10, "frames that each node reads in a second; six calls a frame")
	return c
}

// demo is a fleet on this machine.
type demo struct {
	ctx   context.Context
	std   streams
	dir   string
	say   func(format string, args ...any)
	hub   *demoProcess
	nodes []*demoProcess
	admin *client.Client
	keys  *trust.Keys

	web, token string       // of the hub's pages, with --open
	phone      *browserNode // nil without --open
	chromium   *demoProcess // that runs the phone's page where there is no screen
}

// demoOptions are the demo's flags.
type demoOptions struct {
	phase time.Duration
	rate  int
	open  bool
}

// runDemo is the whole story, told on stderr as it happens. done is given what it found.
func runDemo(ctx context.Context, std streams, o demoOptions, done func(*demoReport) error) error {
	d := &demo{ctx: ctx, std: std, say: func(format string, args ...any) { fmt.Fprintf(std.err, format+"\n", args...) }}
	versions, err := demoModules(d.say)
	if err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "isomer-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	defer func() {
		d.closeBrowser()
		for _, p := range append(d.nodes, d.hub) {
			p.kill()
		}
	}()
	if err := d.startHub(o.open); err != nil {
		return err
	}
	if err := d.startNodes(o.rate); err != nil {
		return err
	}
	if o.open {
		if err := d.open(); err != nil {
			return err
		}
	}
	d.say("%d nodes read %d frames a second each, and have no module yet", len(demoNodes), o.rate)

	r := &demoReport{}
	for i, v := range versions {
		ro, err := d.release(v, d.plan(i))
		if err != nil {
			return err
		}
		r.Rollouts = append(r.Rollouts, ro)
		if d.phone != nil {
			if err := d.phone.readFrames(ctx); err != nil {
				return err
			}
		}
		if err := sleep(ctx, o.phase); err != nil {
			return err
		}
	}
	for i, p := range d.nodes {
		ask := p.finish
		if o.open {
			ask = p.soFar
		}
		l, err := ask(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", demoNodes[i].name, err)
		}
		r.Nodes = append(r.Nodes, l)
	}
	if d.phone != nil {
		r.Nodes = append(r.Nodes, d.phone.result())
	}
	r.compare()
	if err := done(r); err != nil || !o.open {
		return err
	}
	d.say("\nthe fleet goes on until Ctrl-C; the dashboard: %s/#/login/%s", d.web, d.token)
	<-ctx.Done()
	return nil
}

// plan is how version i goes to the nodes: the first to all at once, the others by way of one node.
func (d *demo) plan(i int) fleet.Plan {
	noLatency := 0.0 // six processes share this machine: a slow call says nothing about the release
	plan := fleet.Plan{Soak: fleet.Duration(500 * time.Millisecond), Gate: fleet.Gate{Slower: &noLatency}}
	if i > 0 {
		plan.Waves = []fleet.Share{{Count: 1}}
	}
	if d.phone != nil { // a tab that is closed must not hold up the others
		plan.Patience, plan.Offline = fleet.Duration(20*time.Second), new(float64)
		*plan.Offline = 1
	}
	return plan
}

// startHub starts the hub, and makes the developer's keys.
func (d *demo) startHub(pages bool) error {
	folder := filepath.Join(d.dir, "hub")
	var err error
	if d.hub, err = startDemoProcess(d.std.err, "demo-hub", folder, fmt.Sprintf("--pages=%v", pages)); err != nil {
		return fmt.Errorf("cannot start the hub: %w", err)
	}
	e, err := d.hub.next(d.ctx, func(e demoEvent) bool { return e.Access != nil })
	if err != nil {
		return fmt.Errorf("the hub: %w", err)
	}
	d.web, d.token = e.Pages, e.Access.Token
	if d.admin, err = client.New(client.Config{URL: e.Access.URL, Token: e.Access.Token, CA: e.Access.CA}); err != nil {
		return err
	}
	if d.keys, err = trust.CreateKeys(filepath.Join(d.dir, "keys"), trust.KeysOptions{}); err != nil {
		return err
	}
	snapshot, timestamp, err := d.admin.OnlineKeys(d.ctx)
	if err != nil {
		return err
	}
	d.say("the hub serves on %s; the developer has signing keys, which the hub has not", e.Access.URL)
	return d.sign(d.keys.Init(trust.Setup{Online: trust.OnlineKeys{Snapshot: snapshot, Timestamp: timestamp}}))
}

// sign brings a signed change to the hub.
func (d *demo) sign(c *trust.Change, err error) error {
	if err != nil {
		return err
	}
	if _, err := d.admin.PutTrust(d.ctx, c.Files); err != nil {
		return err
	}
	return d.keys.Commit(c)
}

// startNodes lets every node join, and waits until the hub hears of it.
func (d *demo) startNodes(rate int) error {
	for _, n := range demoNodes {
		token, err := d.invite(n.name, n.layer)
		if err != nil {
			return err
		}
		p, err := startDemoProcess(d.std.err, "demo-node", filepath.Join(d.dir, n.name), token.String(), "--via", n.via, "--rate", fmt.Sprint(rate))
		if err != nil {
			return fmt.Errorf("cannot start %s: %w", n.name, err)
		}
		d.nodes = append(d.nodes, p)
		if _, err := p.next(d.ctx, func(e demoEvent) bool { return e.Joined }); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		// The hub must hear of the edge before devices can ask where it is.
		if err := d.awaitNode(n.name, demoPatience); err != nil {
			return err
		}
		way := ""
		if n.via != "" {
			way = " through the " + n.via
		}
		d.say("  %-8s joined as %s%s", n.name, n.layer, way)
	}
	return nil
}

// invite makes a join token that pins the developer's root.
func (d *demo) invite(name string, layer fleet.Layer) (fleet.JoinToken, error) {
	token, err := d.admin.Invite(d.ctx, client.Invitation{Name: name, Layer: layer, Labels: fleet.Labels{"site": "demo"}})
	if err != nil {
		return token, err
	}
	token.Root, err = d.keys.Fingerprint()
	return token, err
}

// awaitNode waits until the hub hears of a node.
func (d *demo) awaitNode(name string, patience time.Duration) error {
	for late := time.Now().Add(patience); ; {
		if v, err := d.admin.Node(d.ctx, name); err == nil && v.Online {
			return nil
		}
		if err := sleep(d.ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(late) {
			return fmt.Errorf("the hub heard nothing of %s within %v", name, patience)
		}
	}
}

// release signs a version, deploys it to every node, and tells how the rollout goes.
func (d *demo) release(v *compiler.Module, plan fleet.Plan) (fleet.Rollout, error) {
	ref := fleet.Ref{Name: demoModule, Version: v.Manifest.Version}
	sum := sha256.Sum256(v.Bytes)
	digest := hex.EncodeToString(sum[:])
	if err := d.admin.PutModule(d.ctx, digest, int64(len(v.Bytes)), bytes.NewReader(v.Bytes)); err != nil {
		return fleet.Rollout{}, err
	}
	if err := d.sign(d.keys.AddTarget(ref, digest, int64(len(v.Bytes)), 0)); err != nil {
		return fleet.Rollout{}, err
	}
	made, err := d.admin.Deploy(d.ctx, client.Deployment{Release: ref, To: "all", Plan: plan})
	if err != nil {
		return fleet.Rollout{}, err
	}
	d.say("%s is signed and deployed to all nodes:", ref)
	r, err := follow(d.ctx, d.std, d.admin, made.ID)
	if _, ended := errors.AsType[*rolloutError](err); ended {
		return r, nil // the verdict says whether it should have ended so
	}
	return r, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// demoModules compiles the versions of the meter's model. Each carries golden cases, whose answers ONNX Runtime
// gave, so that a node tries it before it serves. Version 3 is what a mix-up in the build makes: the network of version 1 with
// the cases of version 2.
func demoModules(say func(string, ...any)) ([]*compiler.Module, error) {
	cases, err := meter.Cases()
	if err != nil {
		return nil, err
	}
	models := meter.Models()
	mixed := models[0]
	mixed.Version = "3.0.0"
	var out []*compiler.Module
	for _, model := range append(models, mixed) {
		answers := model.Version
		if model.Version == mixed.Version {
			answers = models[1].Version
		}
		began := time.Now()
		m, err := compiler.Compile(model.ONNX, compiler.Options{
			Name: model.Name, Version: model.Version, Labels: meter.Labels(),
			Mean: meter.Mean[:], Std: meter.Std[:], Scale: meter.Scale,
			Golden: golden(cases, answers),
		})
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", model.Name, model.Version, err)
		}
		out = append(out, m)
		say("compiled %s@%s: %s of ONNX to %s of WebAssembly in %d ms", model.Name, model.Version,
			size(len(model.ONNX)), size(len(m.Bytes)), time.Since(began).Milliseconds())
	}
	return out, nil
}

// golden turns the crops that have the model's input size into cases for its tensors.
func golden(cases []meter.Case, version string) []abi.Golden {
	var out []abi.Golden
	for _, c := range cases {
		logits := c.Logits[version]
		if c.Picture.Width != meter.Side || c.Picture.Height != meter.Side || logits == nil {
			continue
		}
		g := abi.Golden{Function: abi.ExportRun, Tolerance: 1e-3}
		for channel := range 3 { // the tensor is channels first, the picture pixel by pixel
			for i := channel; i < len(c.Picture.RGB); i += 3 {
				x := (float64(c.Picture.RGB[i])*meter.Scale - meter.Mean[channel]) / meter.Std[channel]
				g.Input = binary.LittleEndian.AppendUint32(g.Input, math.Float32bits(float32(x)))
			}
		}
		for _, v := range logits {
			g.Output = binary.LittleEndian.AppendUint32(g.Output, math.Float32bits(v))
		}
		out = append(out, g)
	}
	return out[:min(len(out), 2)]
}
