// Package node is the agent of a node: it runs the modules that a hub wants on it, as far as the developer's
// signature allows, and serves them to whoever calls. Use it to make a program a node of a fleet, as "isomer
// node" does.
//
// A node works without any network: it starts with what ran last. It believes neither hub nor edge: what it runs
// was signed by a key that its identity names, is whole, and passed its own golden cases here. A release that
// fails, at its gate, in its first calls or by taking the agent down, gives way to the one before.
package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/node/binding"
	"github.com/isomer-iot/isomer/fleet/node/local"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trust"
	"github.com/isomer-iot/isomer/metrics"
)

// Config describes an agent. Dir and Identity are required.
type Config struct {
	Dir      string // of the node: identity.json, state.json, trust/, blobs/, modules/, cache/, kv/
	Identity Identity
	Version  string       // of Isomer, for reports
	Log      slog.Handler // nil: silent; the agent keeps the last lines for "isomer logs" in any case
	// Engine runs the modules. nil: wazero with a cache of machine code in Dir.
	Engine     engine.Engine
	EngineName string // for reports; empty: wazero
	// Memory is the limit of each instance in bytes, Deadline of each call. 0: the bridge's defaults.
	Memory   int64
	Deadline time.Duration
	// Instances of each module. 0: 1.
	Instances int
	// Connect makes the connection to NATS. nil: by Identity. An edge connects to its own broker.
	Connect func(opts ...nats.Option) (*nats.Conn, error)
	// From is whom the agent asks for what it fetches: "hub", or an edge. Empty: by Identity. An edge asks itself, so that
	// what its devices need as well leaves the hub once.
	From string
	// Addresses are where an edge's devices connect, for its reports.
	Addresses []string
	// Bindings is a file with the owner's own bindings, a list of fleet.LocalBinding; it is read again when it changes. Empty: none.
	Bindings string
	// DecodeBindings reads the file. nil: fleet.DecodeLocalBindings, of JSON.
	DecodeBindings func([]byte) ([]fleet.LocalBinding, error)
	// Local is where programs on this machine call modules. The zero value: nowhere.
	Local local.Listen
	// Disk is what the agent writes to. nil: disk.OS.
	Disk disk.FS
	// Trace makes spans of calls, bindings and updates. nil: none; traces of others are passed on.
	Trace trace.Tracer
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Agent runs modules on a node.
type Agent struct {
	cfg    Config
	node   string
	log    *slog.Logger
	lines  *lines
	blobs  *blob.Store
	trust  *trust.Client
	engine engine.Engine
	kv     isomer.Store
	boot   string
	booted bool // mem holds what state.json said

	saving sync.Mutex
	mu     sync.Mutex // guards what follows
	mem    memory
	keep   map[string]*keeper
	nc     *nats.Conn
	src    *Source
	// heard is the revision of the newest desired state of this connection.
	heard    uint64
	passed   time.Time // at least, as certificates told (learnTime)
	problems map[string]string
	services map[string]*service

	bindings *binding.Runner
	local    *local.Server // nil: none
	metrics  *metrics.Collector

	dirty    chan struct{} // something changed that a report tells
	fresh    chan struct{} // a desired state should be asked for
	refusals *fleet.Quota
	sequence atomic.Uint64
	verified atomic.Int64 // when the signed list was last brought up to date
	started  time.Time
	running  sync.WaitGroup
}

// New prepares an agent and serves what ran last. Run connects it; Close ends it.
func New(ctx context.Context, c Config) (_ *Agent, err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.EngineName == "" {
		c.EngineName = "wazero"
	}
	c.Trace = trace.Or(c.Trace)
	if c.Disk == nil {
		c.Disk = disk.OS{}
	}
	a := &Agent{
		cfg: c, node: c.Identity.Enrolment.Node, keep: map[string]*keeper{}, problems: map[string]string{},
		services: map[string]*service{}, dirty: make(chan struct{}, 1), fresh: make(chan struct{}, 1),
		started: c.Now().UTC(), boot: randomText(), refusals: fleet.NewQuota(2, 20, c.Now),
	}
	a.lines = newLines(c.Log, a.node, a.now)
	a.log = slog.New(a.lines)
	defer func() {
		if err != nil {
			a.close(false)
		}
	}()
	if err := disk.MkdirAll(c.Disk, filepath.Join(c.Dir, "modules"), 0o755); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if a.blobs, err = blob.OpenOn(c.Disk, filepath.Join(c.Dir, "blobs")); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	a.trust, err = trust.OpenClient(trust.ClientOptions{
		Store: trust.OnDisk(c.Disk, filepath.Join(c.Dir, "trust")), Root: c.Identity.Enrolment.Root, Pin: c.Identity.RootPin,
		Fetch: trust.FetchFunc(a.fetchTrust), Now: c.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if a.kv, err = isomer.NewDirStore(filepath.Join(c.Dir, "kv")); err != nil {
		a.problem("kv", err)
	}
	a.engine = c.Engine
	if a.engine == nil {
		if a.engine, err = wazero.New(wazero.WithCacheDir(filepath.Join(c.Dir, "cache"))); err != nil {
			a.problem("cache", err) // starts are slower without it
			if a.engine, err = wazero.New(); err != nil {
				return nil, fmt.Errorf("node: %w", err)
			}
		}
	}
	if err := a.prepare(); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	a.bootAll(ctx)
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	return a, nil
}

// bootAll serves every module that is linked.
func (a *Agent) bootAll(ctx context.Context) {
	mem, err := loadMemory(a.cfg.Dir)
	a.problem("state", err)
	unclean := !mem.Clean
	mem.Clean = false
	a.mem, a.booted = mem, true
	names, err := os.ReadDir(filepath.Join(a.cfg.Dir, "modules"))
	a.problem("modules", err)
	for _, e := range names {
		if fleet.CheckName("module", e.Name()) == nil && a.mem.Modules[e.Name()] == nil {
			a.mem.Modules[e.Name()] = &record{}
		}
	}
	for name, rec := range a.mem.Modules {
		a.keep[name] = newKeeper(a, name, rec)
	}
	// Counted before anything is opened: what takes the agent down has been counted then.
	for _, k := range a.keep {
		if unclean {
			k.ended()
		}
	}
	if err := a.remember(); err != nil {
		a.log.Warn("state", "error", err)
	}
	for _, k := range a.keep {
		k.boot(ctx)
	}
	a.event("started", "", fleet.Ref{}, "")
}

func (a *Agent) now() time.Time { return a.cfg.Now() }

// problem remembers that something concerns the node as a whole, or that it is over (nil).
func (a *Agent) problem(what string, err error) {
	a.mu.Lock()
	before := a.problems[what]
	if err == nil {
		delete(a.problems, what)
	} else {
		a.problems[what] = what + ": " + err.Error()
	}
	same := before == a.problems[what]
	a.mu.Unlock()
	if !same {
		if err != nil {
			a.log.Error("problem", "with", what, "error", err)
		}
		a.changed()
	}
}

// remember writes state.json. A disk that does not take it is a problem that the hub hears of.
func (a *Agent) remember() error {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	out := memory{Modules: map[string]*record{}, Clean: a.mem.Clean}
	keepers := make([]*keeper, 0, len(a.keep))
	for _, k := range a.keep {
		keepers = append(keepers, k)
	}
	a.mu.Unlock()
	for _, k := range keepers {
		k.mu.Lock()
		rec := *k.rec
		rec.Bad = slices.Clone(rec.Bad)
		k.mu.Unlock()
		out.Modules[k.name] = &rec
	}
	err := disk.Write(a.cfg.Disk, filepath.Join(a.cfg.Dir, memoryFile), mustJSON(out), 0o600)
	a.problem("disk", err)
	return err
}

func (a *Agent) forget(name string) {
	a.mu.Lock()
	delete(a.keep, name)
	a.mu.Unlock()
	if err := a.remember(); err != nil {
		a.log.Warn("state", "error", err)
	}
	a.changed()
}

// options are those under which every module runs here: what it may do beyond computing is the node's to grant,
// whatever the hub wants.
func (a *Agent) options(name string) []isomer.Option {
	opts := []isomer.Option{
		isomer.WithEngine(a.engine), isomer.WithLogger(slog.New(slog.DiscardHandler)),
		isomer.AllowLog(slog.New(a.lines.of(name))), isomer.AllowClock(), isomer.AllowRandom(),
		isomer.AllowPublish(publisher{a}, a.ownSubjects()...), isomer.WithOutput(a.lines.writer(name)),
	}
	if a.kv != nil {
		opts = append(opts, isomer.AllowKV(a.kv))
	}
	if a.cfg.Memory > 0 {
		opts = append(opts, isomer.WithMemoryLimit(a.cfg.Memory))
	}
	if a.cfg.Deadline > 0 {
		opts = append(opts, isomer.WithDeadline(a.cfg.Deadline))
	}
	if a.cfg.Instances > 0 {
		opts = append(opts, isomer.WithInstances(a.cfg.Instances))
	}
	return opts
}

// ownSubjects are what modules on this node may publish to.
func (a *Agent) ownSubjects() []string {
	var out []string
	for _, first := range fleet.OwnSubjects() {
		out = append(out, first+"."+a.node+".>")
	}
	return append(out, fleet.TelemetrySubject(a.node, fleet.MetricSubject))
}

// publisher sends what modules publish.
type publisher struct{ a *Agent }

func (p publisher) Publish(ctx context.Context, subject string, payload []byte) error {
	nc := p.a.conn()
	if nc == nil {
		return errors.New("not connected")
	}
	return nc.PublishMsg(&nats.Msg{Subject: subject, Header: trace.Inject(ctx, nil), Data: payload})
}

func (a *Agent) fetchTrust(ctx context.Context, file string, most int64) ([]byte, error) {
	src := a.source()
	if src == nil {
		return nil, errors.New("not connected")
	}
	return src.Fetch(ctx, file, most)
}

// target is what the signed list says of a release. The list is fetched anew where it does not have it.
func (a *Agent) target(ctx context.Context, ref fleet.Ref) (string, int64, error) {
	digest, size, err := a.trust.Target(ref)
	if err == nil {
		return digest, size, nil
	}
	if refreshed := a.refresh(ctx); refreshed != nil {
		return "", 0, fmt.Errorf("%s: %w", ref, refreshed)
	}
	return a.trust.Target(ref)
}

// refresh fetches the signed list anew. What is not to be believed is told to the hub, which may be the victim as well.
func (a *Agent) refresh(ctx context.Context) error {
	err := a.trust.Refresh(ctx)
	for _, not := range []error{trust.ErrTampered, trust.ErrUnsigned, trust.ErrRollback, trust.ErrExpired} {
		if errors.Is(err, not) {
			a.Refused("signed list", err.Error())
			break
		}
	}
	if err == nil {
		a.verified.Store(a.now().Unix())
	}
	return err
}

// Refused tells the hub's audit log of something that this node refused, a few times a minute at most.
func (a *Agent) Refused(what, reason string) {
	missed, ok := a.refusals.Take(what + " " + reason)
	if !ok {
		return
	}
	if missed > 0 {
		reason += fmt.Sprintf(" (and %d others)", missed)
	}
	a.event(fleet.Denied, what, fleet.Ref{}, reason)
}

// collect removes the files of modules that are neither current nor previous nor desired.
func (a *Agent) collect() {
	needed := map[string]bool{}
	a.mu.Lock()
	for _, k := range a.keep {
		needed[linked(k.current())], needed[linked(k.previous())] = true, true
		k.mu.Lock()
		needed[k.rec.Previous.Digest] = true
		if k.want != nil {
			needed[k.want.Digest] = true
		}
		k.mu.Unlock()
	}
	a.mu.Unlock()
	if _, err := a.blobs.Collect(func(d string) bool { return needed[d] }, 0); err != nil {
		a.log.Warn("old modules", "error", err)
	}
}

// take brings the node to a desired state.
func (a *Agent) take(ctx context.Context, d fleet.Desired) {
	wanted := map[string]bool{}
	for i := range d.Modules {
		m := &d.Modules[i]
		wanted[m.Release.Name] = true
		a.mu.Lock()
		k := a.keep[m.Release.Name]
		if k == nil {
			k = newKeeper(a, m.Release.Name, &record{})
			a.keep[m.Release.Name] = k
			a.startKeeper(ctx, k)
		}
		a.mu.Unlock()
		k.setWant(m)
	}
	a.mu.Lock()
	var rest []*keeper
	for name, k := range a.keep {
		if !wanted[name] {
			rest = append(rest, k)
		}
	}
	a.mu.Unlock()
	for _, k := range rest {
		k.setWant(nil)
	}
}

func (a *Agent) startKeeper(ctx context.Context, k *keeper) { a.running.Go(func() { k.run(ctx) }) }

// Module is the module called name while it serves, for programs that call it in the same process; nil: it does
// not. It is replaced under the same *isomer.Module, and closed when the hub no longer wants it.
func (a *Agent) Module(name string) *isomer.Module {
	a.mu.Lock()
	k := a.keep[name]
	a.mu.Unlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mod
}

// Modules are the names of the modules that serve.
func (a *Agent) Modules() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for name, k := range a.keep {
		k.mu.Lock()
		if k.mod != nil {
			out = append(out, name)
		}
		k.mu.Unlock()
	}
	slices.Sort(out)
	return out
}

// Run connects the agent and works until ctx ends. It returns nil then, and an error only where the node cannot
// be one at all, such as with credentials that nobody can read.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	for _, k := range a.keep {
		a.startKeeper(ctx, k)
	}
	a.mu.Unlock()
	nc, err := a.connect()
	if err != nil {
		return fmt.Errorf("node %s: %w", a.node, err)
	}
	defer func() {
		a.running.Wait()
		a.bindings.Close()
		nc.Close()
	}()
	a.mu.Lock()
	a.nc, a.src = nc, NewSource(nc, cmp.Or(a.cfg.From, a.cfg.Identity.Source()))
	keepers := make([]*keeper, 0, len(a.keep))
	for _, k := range a.keep {
		keepers = append(keepers, k)
	}
	a.mu.Unlock()
	for _, k := range keepers {
		if a.Module(k.name) != nil {
			if err := a.offer(k); err != nil {
				a.log.Warn("calls from afar", "module", k.name, "error", err)
			}
		}
	}
	if err := a.serveLogs(); err != nil {
		return err
	}
	a.bindings.Connect(nc)
	a.running.Go(func() { a.followBindings(ctx) })
	a.running.Go(func() { a.reporting(ctx) })
	a.running.Go(func() { a.following(ctx) })
	a.running.Go(func() { a.aging(ctx) })
	<-ctx.Done()
	return nil
}

// aging looks after what time does: releases prove themselves, the signed list is kept fresh.
func (a *Agent) aging(ctx context.Context) {
	proof, resign := time.NewTicker(proofEvery), time.NewTicker(trust.ResignEvery)
	defer proof.Stop()
	defer resign.Stop()
	for {
		select {
		case <-proof.C:
			a.prove()
		case <-resign.C:
			if err := a.refresh(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("signed list", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) prove() {
	changed := false
	a.mu.Lock()
	for _, k := range a.keep {
		changed = k.proven() || changed
	}
	a.mu.Unlock()
	if !changed {
		return // state.json is on flash
	}
	if err := a.remember(); err != nil {
		a.log.Warn("state", "error", err)
	}
}

// Close ends the agent in order: it reports a last time, closes the modules after their calls, and remembers that
// it ended so. Run must have returned, or not have been called.
func (a *Agent) Close() { a.close(true) }

// close ends the agent. A start that failed is no stop in order: it counts as an end, as what a release does may be its cause.
func (a *Agent) close(clean bool) {
	a.running.Wait()
	if a.local != nil {
		a.local.Close()
	}
	if a.bindings != nil {
		a.bindings.Close()
	}
	a.mu.Lock()
	keepers := a.keep
	a.mem.Clean = clean
	a.mu.Unlock()
	for _, k := range keepers {
		k.mu.Lock()
		m := k.mod
		k.mod = nil
		k.mu.Unlock()
		if m != nil {
			if err := m.Close(); err != nil {
				a.log.Warn("module "+k.name, "error", err)
			}
		}
		k.serves.rest()
	}
	if a.engine != nil && a.cfg.Engine == nil {
		_ = a.engine.Close()
	}
	if a.booted { // otherwise it would replace records that were never read
		if err := a.remember(); err != nil {
			a.log.Warn("state", "error", err)
		}
	}
}

// lookAgain is how often the desired state is asked for though nothing was heard: a message may be lost while a
// link comes and goes.
const lookAgain = time.Minute

// describe is what a report says of the machine.
func (a *Agent) describe() fleet.Report {
	id := a.cfg.Identity.Enrolment
	r := fleet.Report{
		Node: a.node, Layer: id.Layer, Labels: id.Labels, Via: id.Via, Boot: a.boot, At: a.now().UTC(), Started: a.started,
		Agent: a.cfg.Version, Engine: a.cfg.EngineName, OS: runtime.GOOS, Arch: runtime.GOARCH, Address: a.cfg.Addresses,
		Modules: []fleet.ModuleReport{},
	}
	a.mu.Lock()
	for _, p := range a.problems {
		r.Problems = append(r.Problems, p)
	}
	for _, k := range a.keep {
		r.Modules = append(r.Modules, k.report())
	}
	a.mu.Unlock()
	for i := range r.Modules { // without the lock: a binding that logs needs it
		r.Modules[i].Bindings = a.bindings.Report(r.Modules[i].Name)
	}
	slices.Sort(r.Problems)
	slices.SortFunc(r.Modules, func(x, y fleet.ModuleReport) int { return strings.Compare(x.Name, y.Name) })
	return r
}

// event tells the hub that something happened.
func (a *Agent) event(kind, module string, ref fleet.Ref, reason string) {
	var attrs []any
	if module != "" {
		attrs = append(attrs, "module", module, "release", ref.String())
	}
	if reason != "" {
		attrs = append(attrs, "reason", reason)
	}
	a.log.Info(kind, attrs...)
	nc := a.conn()
	if nc == nil {
		return
	}
	b, err := json.Marshal(fleet.NodeEvent{Node: a.node, Kind: kind, Module: module, Release: ref, Reason: reason, At: a.now().UTC()})
	if err == nil {
		err = nc.Publish(fleet.TelemetrySubject(a.node, fleet.EventSubject), b)
	}
	if err != nil {
		a.log.Debug("event", "error", err)
	}
}
