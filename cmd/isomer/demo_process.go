package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/node"
)

// demoPatience bounds each wait for a process; a swap takes well under a second.
const demoPatience = 60 * time.Second

// demoEvent is a line that a process of the demo writes.
type demoEvent struct {
	Access *hub.Access `json:"access,omitempty"` // the hub serves
	Pages  string      `json:"pages,omitempty"`  // and there its pages, if they are wanted
	Joined bool        `json:"joined,omitempty"`
	Report *nodeReport `json:"report,omitempty"` // in the end, and when it is asked
}

// demoProcess is a process of the demo, seen from its parent.
type demoProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan demoEvent
}

var errDemoEnded = errors.New("the process ended before its time")

// startDemoProcess starts this same program as another process. It ends when its stdin does, so that nothing is
// left behind even if the parent is killed.
func startDemoProcess(stderr io.Writer, args ...string) (*demoProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &demoProcess{cmd: exec.Command(self, args...), events: make(chan demoEvent, 64)}
	p.cmd.Args[0] = os.Args[0] // the name that this program was called by
	p.cmd.Stderr = stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.events)
		dec := json.NewDecoder(out)
		for {
			var e demoEvent
			if dec.Decode(&e) != nil {
				return
			}
			p.events <- e
		}
	}()
	return p, nil
}

func (p *demoProcess) next(ctx context.Context, want func(demoEvent) bool) (demoEvent, error) {
	late := time.After(demoPatience)
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return e, errDemoEnded
			}
			if want(e) {
				return e, nil
			}
		case <-late:
			return demoEvent{}, fmt.Errorf("nothing within %v", demoPatience)
		case <-ctx.Done():
			return demoEvent{}, ctx.Err()
		}
	}
}

// finish lets the node end its work and returns its report.
func (p *demoProcess) finish(ctx context.Context) (nodeReport, error) {
	p.stdin.Close()
	e, err := p.next(ctx, func(e demoEvent) bool { return e.Report != nil })
	if err != nil {
		return nodeReport{}, err
	}
	return *e.Report, p.cmd.Wait()
}

// soFar asks a node that goes on for its report.
func (p *demoProcess) soFar(ctx context.Context) (nodeReport, error) {
	if _, err := io.WriteString(p.stdin, "report\n"); err != nil {
		return nodeReport{}, err
	}
	e, err := p.next(ctx, func(e demoEvent) bool { return e.Report != nil })
	if err != nil {
		return nodeReport{}, err
	}
	return *e.Report, nil
}

// kill ends a process that is still there; after finish it does nothing.
func (p *demoProcess) kill() {
	if p != nil && p.cmd.ProcessState == nil {
		p.stdin.Close()
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// untilParentEnds is a context that ends with stdin. A line of it asks for a report.
func untilParentEnds(c *cobra.Command, std streams) (ctx context.Context, asked <-chan struct{}, end context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.Context())
	lines := make(chan struct{}, 1)
	go func() {
		for in := bufio.NewScanner(std.in); in.Scan(); {
			lines <- struct{}{}
		}
		cancel()
	}()
	return ctx, lines, cancel
}

// loopback takes any free port.
const loopback = "127.0.0.1:0"

// demoHubCommand is the demo's hub. It is hidden: the demo starts it.
func demoHubCommand(std streams) *cobra.Command {
	var pages bool
	c := &cobra.Command{
		Use: "demo-hub FOLDER", Hidden: true, Args: operands("FOLDER"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, _, cancel := untilParentEnds(c, std)
			defer cancel()
			local := ""
			if pages {
				local = loopback // a browser does not know the fleet's CA
			}
			h, err := hub.Start(ctx, hub.Config{
				Dir: args[0], API: loopback, Local: local, Listen: broker.Listen{NATS: loopback, Leaf: loopback}, Hosts: []string{"127.0.0.1"}, Version: buildVersion().Version,
			})
			if err != nil {
				return err
			}
			defer h.Stop()
			b, err := os.ReadFile(hub.AdminFile(args[0]))
			if err != nil {
				return err
			}
			var a hub.Access
			if err := json.Unmarshal(b, &a); err != nil {
				return err
			}
			if err := json.NewEncoder(std.out).Encode(demoEvent{Access: &a, Pages: h.LocalURL()}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
	}
	c.Flags().BoolVar(&pages, "pages", false, "serve browsers on this machine")
	return c
}

// demoNodeCommand is one node of the demo: an agent, or an edge, and a core application beside it that reads a
// meter's frames with whatever module the fleet wants. It is hidden: the demo starts it.
func demoNodeCommand(std streams) *cobra.Command {
	var via string
	var rate int
	c := &cobra.Command{
		Use: "demo-node FOLDER TOKEN", Hidden: true, Args: operands("FOLDER", "TOKEN"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, asked, cancel := untilParentEnds(c, std)
			defer cancel()
			token, err := fleet.ParseJoinToken(args[1])
			if err != nil {
				return err
			}
			id, err := node.Join(ctx, args[0], token, node.JoinOptions{Via: via, Addresses: []string{"127.0.0.1"}})
			if err != nil {
				return err
			}
			agent, run, end, err := demoAgent(ctx, args[0], id)
			if err != nil {
				return err
			}
			defer end()
			out := json.NewEncoder(std.out)
			if err := out.Encode(demoEvent{Joined: true}); err != nil {
				return err
			}
			app, err := newCoreApp(id.Enrolment, agent)
			if err != nil {
				return err
			}
			// The agent goes on until the application has read its last frame.
			working, stop := context.WithCancel(context.WithoutCancel(ctx))
			done := make(chan error, 1)
			go func() { done <- run(working) }()
			tell := func() error {
				report := app.report()
				return out.Encode(demoEvent{Report: &report})
			}
			err = app.run(ctx, rate, asked, tell)
			stop()
			return errors.Join(<-done, err, tell())
		},
	}
	c.Flags().StringVar(&via, "via", "", "edge")
	c.Flags().IntVar(&rate, "rate", 10, "frames a second")
	return c
}

func demoAgent(ctx context.Context, folder string, id node.Identity) (agent *node.Agent, run func(context.Context) error, end func(), err error) {
	c := node.Config{Dir: filepath.Clean(folder), Identity: id, Version: buildVersion().Version}
	if id.Enrolment.Layer != fleet.Edge {
		agent, err = node.New(ctx, c)
		if err != nil {
			return nil, nil, nil, err
		}
		return agent, agent.Run, agent.Close, nil
	}
	e, err := edge.Start(ctx, edge.Config{Node: c, Listen: broker.Listen{NATS: loopback}, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		return nil, nil, nil, err
	}
	return e.Agent(), e.Run, e.Close, nil
}
