// Package binding feeds a node's modules: what arrives on subjects, as files, by the clock or over the local API is
// given to a function, and its answer is published, written or returned. Use it inside an agent, as fleet/node does;
// a program that calls modules itself needs none of it.
//
// Delivery: a message of a subject is worked on at most once per call that succeeds, and lost only where a full queue
// drops it, which is counted; a file at least once, and once where neither power nor process fails between the answer
// and the file's removal. Messages of one subject keep their order, retries included. What no call answered becomes a
// dead letter. Telemetry waits on disk while there is no connection.
package binding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// Answer is what a module answered.
type Answer struct {
	Body     []byte
	Encoding string // MIME type
	Release  string // name@version
}

// Config describes a Runner. Node, Layer, Dir, Call and Missing are required.
type Config struct {
	Node  string
	Layer fleet.Layer
	// Dir is the node's folder: files/ is what folders and files of bindings are below, bindings/ what is remembered.
	Dir  string
	Call func(ctx context.Context, module, function, encoding string, body []byte) (Answer, error)
	// Missing reports whether a call failed since its module or function is not there, as for a moment while a release
	// and its bindings change.
	Missing func(error) bool
	Log     *slog.Logger     // nil: silent
	Disk    disk.FS          // nil: disk.OS
	Now     func() time.Time // nil: time.Now
	Trace   trace.Tracer     // nil: no spans
	Changed func()           // nil; called when a binding begins or ceases to work
}

// Errors of Serve.
var (
	ErrNoBinding = errors.New("no binding has this path")
	ErrFull      = errors.New("the binding's queue is full")
	ErrStopped   = errors.New("the node stops")
)

const (
	defaultParallel = 4
	defaultQueue    = 64
	queueBytes      = 8 << 20
	// stopPatience is how long Close lets inputs that wait be worked on.
	stopPatience = 5 * time.Second
)

// Runner runs the bindings of a node.
type Runner struct {
	cfg   Config
	spool *spool
	boot  string
	ids   atomic.Uint64

	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex // guards what follows
	bound  map[key]*bound
	closed bool
	nc     *nats.Conn
	ended  sync.WaitGroup // of what was stopped

	writing sync.Mutex // of files: two answers may go to the same
}

// key names a binding on this node.
type key struct {
	local        bool
	module, name string
}

func (k key) compare(o key) int {
	if k.local != o.local { // the owner's last: what the hub wants is known to go together
		if k.local {
			return 1
		}
		return -1
	}
	return cmp.Or(strings.Compare(k.module, o.module), strings.Compare(k.name, o.name))
}

func (k key) String() string {
	if k.local {
		return "local." + k.module + "." + k.name
	}
	return k.module + "." + k.name
}

// New makes a runner without bindings.
func New(c Config) (*Runner, error) {
	c.Trace = trace.Or(c.Trace)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Disk == nil {
		c.Disk = disk.OS{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	r := &Runner{cfg: c, bound: map[key]*bound{}, boot: nats.NewInbox()[len(nats.InboxPrefix):]}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.spool = newSpool(c.Disk, filepath.Join(c.Dir, "bindings", "unsent"), c.Log)
	return r, nil
}

// definition is a binding as it is at present.
type definition struct {
	fleet.Binding
	key key
}

// Set makes list the bindings of a module that the hub wants; nil: none. What is the same goes on untouched; where the
// source stays and the rest changes, what waits is worked on by the new binding.
func (r *Runner) Set(module string, list []fleet.Binding) {
	wanted := map[key]fleet.Binding{}
	for _, b := range list {
		wanted[key{false, module, b.Name}] = b
	}
	r.set(func(k key) bool { return !k.local && k.module == module }, wanted)
}

// SetLocal makes list the bindings that the node's owner wants.
func (r *Runner) SetLocal(list []fleet.LocalBinding) {
	wanted := map[key]fleet.Binding{}
	for _, b := range list {
		wanted[key{true, b.Module, b.Name}] = b.Binding
	}
	r.set(func(k key) bool { return k.local }, wanted)
}

func (r *Runner) set(mine func(key) bool, wanted map[key]fleet.Binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	gone := map[key]*bound{}
	for k, b := range r.bound {
		if _, ok := wanted[k]; mine(k) && !ok {
			gone[k] = b
		}
	}
	for k := range gone {
		delete(r.bound, k)
	}
	changed := len(gone) > 0
	planned := r.plan(wanted)
	for k, want := range wanted {
		b := r.bound[k]
		if b == nil { // perhaps another name for the same: nothing that waits is lost
			for old, candidate := range gone {
				if was := candidate.def.Load(); old.module == k.module && was.Source() == want.Source() && sameSource(candidate.asked, want) {
					b = candidate
					delete(gone, old)
					break
				}
			}
		}
		if b == nil {
			b = newBound(r)
		} else if reflect.DeepEqual(b.asked, want) && b.def.Load().key == k {
			continue
		}
		changed = true
		r.bound[k] = b
		b.asked = want
		r.apply(b, k, want, planned)
	}
	for _, b := range gone { // after those that take their place listen
		r.end(b)
	}
	for _, k := range slices.SortedFunc(maps.Keys(r.bound), key.compare) {
		if b := r.bound[k]; b.source == nil { // what stood in its way may be gone
			r.apply(b, k, b.asked, nil)
		}
	}
	if changed {
		r.cfg.Changed()
	}
}

// apply makes b what is wanted, beside what is planned in the same change. The caller holds r.mu.
func (r *Runner) apply(b *bound, k key, want fleet.Binding, planned map[key]fleet.Binding) {
	own, err := r.resolve(k, want)
	if err == nil {
		err = r.circle(k, own, planned)
	}
	if err == nil && own.Path != "" {
		for other, o := range r.bound {
			if d := o.def.Load(); o != b && d != nil && o.source != nil && d.Path == own.Path {
				err = fmt.Errorf("path %s is that of binding %s", own.Path, other)
			}
		}
	}
	b.problem(err)
	before := b.def.Swap(&definition{own, k})
	b.queue.limit(orDefault(own.Queue, defaultQueue), orDefault(own.Parallel, defaultParallel))
	if err != nil {
		b.cfgLog(k, err)
		r.endSource(b)
		return
	}
	if b.source != nil && sameSource(before.Binding, own) {
		return
	}
	old := b.source
	b.source = r.start(b, own)
	if old != nil { // after the new one listens: a message between the two would be lost
		r.ended.Go(old.stop)
	}
}

// resolve is the binding as it is on this node.
func (r *Runner) resolve(k key, want fleet.Binding) (fleet.Binding, error) {
	folder, file := want.Folder, want.File
	if k.local {
		for _, p := range []*string{&want.Folder, &want.File} {
			if filepath.IsAbs(*p) {
				*p = strings.TrimLeft(*p, "/")
			}
		}
	}
	own, err := want.For(r.cfg.Node, r.cfg.Layer)
	if err != nil {
		return own, err
	}
	for _, p := range []struct {
		to     *string
		wanted string
	}{{&own.Folder, folder}, {&own.File, file}} {
		if *p.to == "" {
			continue
		}
		if k.local && filepath.IsAbs(p.wanted) {
			*p.to = "/" + *p.to
		} else {
			*p.to = filepath.Join(r.cfg.Dir, "files", filepath.FromSlash(*p.to))
		}
	}
	return own, nil
}

func sameSource(a, b fleet.Binding) bool {
	return a.Subject == b.Subject && a.Every == b.Every && slices.Equal(a.At, b.At) && a.Folder == b.Folder && a.Done == b.Done && a.Path == b.Path &&
		(a.Subject == "" || a.Full == b.Full && a.Queue == b.Queue)
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

// start begins to listen. The caller holds r.mu.
func (r *Runner) start(b *bound, own fleet.Binding) source {
	switch own.Source() {
	case "subject":
		return newSubject(r, b, own)
	case "folder":
		return newFolder(r, b, own)
	case "path":
		return path{}
	}
	return newTimer(r, b, own)
}

// source feeds a bound's queue.
type source interface {
	// stop ends it: what it has taken is pushed before stop returns.
	stop()
}

// path is fed by Serve.
type path struct{}

func (path) stop() {}

// end stops a binding; what waits is still worked on. The caller holds r.mu.
func (r *Runner) end(b *bound) {
	s := b.source
	b.source = nil
	r.ended.Go(func() {
		if s != nil {
			s.stop()
		}
		b.queue.close()
	})
}

func (r *Runner) endSource(b *bound) {
	if s := b.source; s != nil {
		b.source = nil
		r.ended.Go(s.stop)
	}
}

// Connect gives the runner its connection, which comes back by itself when it is lost.
func (r *Runner) Connect(nc *nats.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nc = nc
	for _, b := range r.bound {
		if s, ok := b.source.(*subject); ok {
			s.listen(nc)
		}
	}
}

// Connected sends what waits on disk. The agent says so at each connection.
func (r *Runner) Connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if nc := r.nc; nc != nil && !r.closed {
		r.ended.Go(func() { r.spool.flush(nc) })
	}
}

func (r *Runner) conn() *nats.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nc
}

// Serve gives an input to the binding with the path, and waits for its answer.
func (r *Runner) Serve(ctx context.Context, at, encoding string, body []byte) (Answer, error) {
	r.mu.Lock()
	var found *bound
	for _, b := range r.bound {
		if d := b.def.Load(); d.Path == at && b.source != nil {
			found = b
		}
	}
	r.mu.Unlock()
	if found == nil {
		return Answer{}, fmt.Errorf("%w: %s", ErrNoBinding, at)
	}
	type result struct {
		Answer
		err error
	}
	answered := make(chan result, 1)
	it := &item{
		order: randomOrder(r), from: at, encoding: encoding, body: body, size: len(body), trace: trace.Parent(ctx), ctx: ctx, asked: true,
		ended: func(a Answer, err error) { answered <- result{a, err} },
	}
	found.received.Add(1)
	if err := found.queue.push(ctx, it, found.def.Load().Full != fleet.FullDropOldest); err != nil {
		found.dropped.Add(1)
		return Answer{}, err
	}
	select {
	case got := <-answered:
		return got.Answer, got.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// randomOrder is an order of its own: requests wait for no other.
func randomOrder(r *Runner) string { return fmt.Sprintf("#%d", r.ids.Add(1)) }

// HasPath reports whether a binding has the path.
func (r *Runner) HasPath(at string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bound {
		if b.source != nil && b.def.Load().Path == at {
			return true
		}
	}
	return false
}

// Report is what the bindings of a module did, by name.
func (r *Runner) Report(module string) []fleet.BindingReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []fleet.BindingReport
	for k, b := range r.bound {
		if k.module == module {
			out = append(out, b.report(k))
		}
	}
	slices.SortFunc(out, func(a, b fleet.BindingReport) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Close stops all bindings. What waits is worked on for up to 5 s; what is left then becomes a dead letter.
func (r *Runner) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	for k, b := range r.bound {
		delete(r.bound, k)
		r.end(b)
	}
	r.mu.Unlock()
	patience := time.AfterFunc(stopPatience, r.stop)
	defer patience.Stop()
	r.ended.Wait()
	r.stop()
}
