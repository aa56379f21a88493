package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/node/binding"
	"github.com/isomer-iot/isomer/fleet/node/local"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/metrics"
)

// prepare makes what feeds the modules.
func (a *Agent) prepare() error {
	a.metrics = metrics.NewCollector()
	var err error
	a.bindings, err = binding.New(binding.Config{
		Trace: a.cfg.Trace,
		Node:  a.node, Layer: a.cfg.Identity.Enrolment.Layer, Dir: a.cfg.Dir, Log: a.log, Disk: a.cfg.Disk, Now: a.now, Changed: a.changed,
		Call: a.callBound,
		Missing: func(err error) bool {
			o := isomer.OutcomeOf(err)
			return errors.Is(err, ErrNoModule) || o == isomer.OutcomeNoFunction || o == isomer.OutcomeClosed
		},
	})
	return err
}

// open lets the owner's bindings and programs on this machine in, once every module has had its start.
func (a *Agent) open() (err error) {
	if a.cfg.Bindings != "" {
		_, err := a.readBindings(nil)
		a.problem("bindings", err) // a node whose file was spoilt starts all the same: nobody may be near
	}
	if !a.cfg.Local.Wanted() {
		return nil
	}
	a.local, err = local.Serve(a.cfg.Local, local.Config{Node: localNode{a}, Metrics: a.Gatherer(), Log: a.log})
	return err
}

// Gatherer has what the local API's /metrics shows.
func (a *Agent) Gatherer() prometheus.Gatherer {
	reg := prometheus.NewRegistry()
	reg.MustRegister(a.metrics, a.bindings, newFigures(a), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

func (a *Agent) callBound(ctx context.Context, module, function, encoding string, body []byte) (binding.Answer, error) {
	got, err := a.Call(ctx, module, function, encoding, body)
	return binding.Answer{Body: got.Body, Encoding: got.Encoding, Release: got.Release}, err
}

// maxBindingsFile bounds the owner's file.
const maxBindingsFile = 1 << 20

// readBindings takes the owner's bindings from their file, unless it is as it was.
func (a *Agent) readBindings(before []byte) ([]byte, error) {
	f, err := os.Open(a.cfg.Bindings)
	if err != nil {
		return before, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBindingsFile+1))
	if err != nil {
		return before, err
	}
	if before != nil && bytes.Equal(b, before) {
		return before, nil
	}
	if len(b) > maxBindingsFile {
		return before, fmt.Errorf("%w: %s has more than %d bytes", fleet.ErrInvalid, a.cfg.Bindings, maxBindingsFile)
	}
	decode := a.cfg.DecodeBindings
	if decode == nil {
		decode = fleet.DecodeLocalBindings
	}
	list, err := decode(b)
	if err != nil {
		return before, fmt.Errorf("%s: %w", a.cfg.Bindings, err)
	}
	a.bindings.SetLocal(list)
	return b, nil
}

// bindingsEvery is how often the owner's file is looked at: a stat, no read.
const bindingsEvery = time.Second

// followBindings takes changes of the owner's file.
func (a *Agent) followBindings(ctx context.Context) {
	if a.cfg.Bindings == "" {
		return
	}
	tick := time.NewTicker(bindingsEvery)
	defer tick.Stop()
	var have []byte
	stamp := ""
	for {
		now := ""
		if info, err := os.Stat(a.cfg.Bindings); err == nil {
			now = strconv.FormatInt(info.ModTime().UnixNano(), 10) + ":" + strconv.FormatInt(info.Size(), 10)
		}
		if now != stamp || now == "" {
			var err error
			have, err = a.readBindings(have)
			a.problem("bindings", err)
			stamp = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// localNode is what the local API shows of the agent.
type localNode struct{ a *Agent }

func (n localNode) Call(ctx context.Context, module, function, encoding string, body []byte) (local.Answer, error) {
	got, err := n.a.traced(ctx, trace.Server, module, function, encoding, body)
	return local.Answer{Body: got.Body, Encoding: got.Encoding, Release: got.Release, Digest: got.Digest, Took: got.Took}, err
}

func (n localNode) HasPath(path string) bool { return n.a.bindings.HasPath(path) }

func (n localNode) Feed(ctx context.Context, path, encoding string, body []byte) (local.Answer, error) {
	began := time.Now()
	got, err := n.a.bindings.Serve(ctx, path, encoding, body)
	return local.Answer{Body: got.Body, Encoding: got.Encoding, Release: got.Release, Took: time.Since(began)}, err
}

// Code is an error's number as HTTP has it.
func (n localNode) Code(err error) int {
	if errors.Is(err, binding.ErrFull) || errors.Is(err, binding.ErrStopped) {
		return 503
	}
	if errors.Is(err, binding.ErrNoBinding) {
		return 404
	}
	c, convErr := strconv.Atoi(code(err))
	if convErr != nil {
		return 500
	}
	return c
}

func (n localNode) Status() local.Status {
	nc := n.a.conn()
	return local.Status{Report: n.a.describe(), Connected: nc != nil && nc.IsConnected()}
}

func (n localNode) Modules() []local.Module {
	var out []local.Module
	for _, m := range n.a.describe().Modules {
		v := local.Module{Name: m.Name, State: m.State, Reason: m.Reason, Release: m.Release.String(), Digest: m.Digest, Functions: []local.Function{}}
		if m.Release.IsZero() {
			v.Release = ""
		}
		if mod := n.a.Module(m.Name); mod != nil {
			v.Serves, v.Digest = true, mod.Digest()
			for _, f := range mod.Functions() {
				in, out := f.Encodings()
				v.Functions = append(v.Functions, local.Function{
					Name: f.Name, Picture: f.Convention == abi.Image || f.Convention == abi.WasmtubeImage, Input: string(in), Output: string(out),
				})
			}
			slices.SortFunc(v.Functions, func(x, y local.Function) int { return bytes.Compare([]byte(x.Name), []byte(y.Name)) })
		}
		out = append(out, v)
	}
	return out
}

// LocalAddress is where the local API listens over TCP; empty: it does not.
func (a *Agent) LocalAddress() string {
	if a.local == nil {
		return ""
	}
	return a.local.Addr()
}
