package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/internal/fetch"
	"github.com/isomer-iot/isomer/fleet/internal/seldom"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// cache answers the fetch requests of the edge's devices: from the hub where the link is up, otherwise from what
// it has. A module comes from the hub once.
type cache struct {
	dir   string
	name  string
	nc    *nats.Conn
	hub   *node.Source
	blobs *blob.Store
	log   *slog.Logger
	trace trace.Tracer

	writing sync.Mutex // one writer of files at a time

	loads singleflight.Group // of modules, by digest
	life  context.Context    // ends with the cache
	end   context.CancelFunc
	stop  func() // ends the fetch service; nil: it did not begin

	mu      sync.Mutex
	devices map[string]desired // that asked here, by name
}

// desired is a device's desired state as the hub sent it.
type desired struct {
	data     []byte
	revision uint64 // of the hub's bucket; 0: not known, older than any
}

// heard is the desired state in a message of the hub.
func heard(m *nats.Msg) desired {
	revision, _ := strconv.ParseUint(m.Header.Get(fleet.RevisionHeader), 10, 64)
	return desired{m.Data, revision}
}

const (
	// hubPatience bounds the wait for the hub where the cache can answer instead.
	hubPatience = 2 * time.Second
	// collectEvery is how often modules that no device wants are removed, collectGrace how long they stay.
	collectEvery = 10 * time.Minute
	collectGrace = 24 * time.Hour
)

func newCache(dir, name string, nc *nats.Conn, log *slog.Logger, t trace.Tracer) (*cache, error) {
	c := &cache{
		dir: filepath.Join(dir, "relay"), name: name, nc: nc, hub: node.NewSource(nc, "hub"), log: seldom.Logger(log),
		devices: map[string]desired{}, trace: trace.Or(t),
	}
	c.life, c.end = context.WithCancel(context.Background())
	var err error
	if c.blobs, err = blob.Open(filepath.Join(c.dir, "modules")); err != nil {
		return nil, err
	}
	for _, sub := range []string{"trust", "desired"} {
		if err := disk.MkdirAll(disk.OS{}, filepath.Join(c.dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("edge %s: %w", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(c.dir, "desired"))
	if err != nil {
		return nil, fmt.Errorf("edge %s: %w", name, err)
	}
	for _, e := range entries {
		device, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || fleet.CheckNode(device) != nil {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(c.dir, "desired", e.Name())); err == nil {
			if _, err := fleet.DecodeDesired(b); err == nil {
				c.devices[device] = desired{data: b}
			}
		}
	}
	return c, nil
}

// parallel is how many requests are answered at once; the others wait.
const parallel = 16

func (c *cache) serve() (err error) {
	c.stop, err = fetch.Service{
		From: c.name, Workers: parallel, Patience: 25 * time.Second, Find: c.find, Log: c.log, Trace: c.trace,
		Code: func(err error) string {
			switch {
			case errors.Is(err, node.ErrGone):
				return fleet.CodeGone
			case errors.Is(err, node.ErrNotThere):
				return fleet.CodeNotFound
			}
			return ""
		},
	}.Serve(c.nc)
	if err != nil {
		return fmt.Errorf("edge %s: %w", c.name, err)
	}
	// What the hub tells a device passes through here; it is kept for the time without the link.
	_, err = c.nc.Subscribe(fleet.DesiredSubject("*"), func(m *nats.Msg) {
		device := strings.TrimPrefix(m.Subject, fleet.DesiredSubject(""))
		c.mu.Lock()
		_, known := c.devices[device]
		c.mu.Unlock()
		switch {
		case known && len(m.Data) == 0: // the bucket's mark of a deletion
			c.forget(device)
		case known:
			c.keep(device, heard(m))
		}
	})
	return err
}

// close ends what the cache does. The connection is the caller's.
func (c *cache) close() {
	c.end()
	if c.stop != nil {
		c.stop()
	}
}

func (c *cache) find(ctx context.Context, kind, what string, body []byte) (*nats.Msg, error) {
	switch kind {
	case "module":
		return c.chunk(ctx, what, body)
	case "trust":
		return c.trust(ctx, what)
	case "desired":
		return c.desired(ctx, what)
	}
	return nil, fmt.Errorf("%w: kind %q is none of module, trust, desired", fleet.ErrInvalid, kind)
}

// chunk answers from the disk, after the whole module came from the hub.
func (c *cache) chunk(ctx context.Context, digest string, request []byte) (*nats.Msg, error) {
	if _, err := fleet.DecodeChunkRequest(request); err != nil {
		return nil, err // before it costs a download
	}
	f, err := c.blobs.Open(digest)
	if errors.Is(err, fs.ErrNotExist) {
		if err := c.fill(ctx, digest); err != nil {
			return nil, err
		}
		f, err = c.blobs.Open(digest)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return fetch.Chunk(f, request)
}

// loadPatience bounds a download; what came of it stays for the next attempt.
const loadPatience = 10 * time.Minute

// begin brings a module from the hub, once however many devices ask: whoever asked first may go away. The transfer belongs to the
// trace of that one.
func (c *cache) begin(digest, traceparent string) <-chan singleflight.Result {
	return c.loads.DoChan(digest, func() (any, error) {
		if c.blobs.Has(digest) { // the one before ended between a look at the disk and this
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(c.life, loadPatience)
		defer cancel()
		ctx, span := c.trace.Start(trace.With(ctx, traceparent), "cache module", trace.Client, slog.String("isomer.digest", digest))
		err := c.load(ctx, digest)
		span.End(err)
		if err != nil {
			c.log.Debug("module", "digest", digest, "error", err) // the devices ask, and hear of it
		}
		return nil, err
	})
}

func (c *cache) fill(ctx context.Context, digest string) error {
	select {
	case r := <-c.begin(digest, trace.Parent(ctx)):
		return r.Err
	case <-ctx.Done():
		return fmt.Errorf("module %.12s is still on its way: %w", digest, ctx.Err())
	}
}

func (c *cache) load(ctx context.Context, digest string) error {
	// Outside of the trace: a span of the first chunk alone stands for the transfer.
	msg, err := c.hub.Ask(trace.Without(ctx), "module", digest, fleet.ChunkRequest{Length: 1}.Encode())
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(msg.Header.Get(fleet.SizeHeader), 10, 64)
	if err != nil || size <= 0 || size > fleet.MaxModule {
		return fmt.Errorf("%w: module %.12s: the hub says it has %q bytes", fleet.ErrInvalid, digest, msg.Header.Get(fleet.SizeHeader))
	}
	return c.hub.Module(ctx, c.blobs, digest, size, nil)
}

// trust answers with the hub's newest file, or with the last one that it sent.
func (c *cache) trust(ctx context.Context, key string) (*nats.Msg, error) {
	if strings.ContainsAny(key, "/\\") || len(key) > 64 {
		return nil, fmt.Errorf("%w: metadata file %.70q", fleet.ErrInvalid, key)
	}
	file := filepath.Join(c.dir, "trust", key)
	ctx, cancel := context.WithTimeout(ctx, hubPatience)
	defer cancel()
	msg, err := c.hub.Ask(ctx, "trust", key, nil)
	if err == nil {
		if old, rerr := os.ReadFile(file); rerr != nil || string(old) != string(msg.Data) {
			if werr := c.write(file, msg.Data); werr != nil {
				c.log.Warn("signed list", "error", werr)
			}
		}
		return &nats.Msg{Data: msg.Data}, nil
	}
	if errors.Is(err, node.ErrNotThere) {
		return nil, err
	}
	b, rerr := os.ReadFile(file)
	if errors.Is(rerr, fs.ErrNotExist) {
		return nil, fmt.Errorf("metadata %s: %w: the hub cannot be reached, and it never came by", key, node.ErrNotThere)
	}
	return &nats.Msg{Data: b}, rerr
}

// desired answers with the hub's newest desired state of a device, or with the last one that came by.
func (c *cache) desired(ctx context.Context, device string) (*nats.Msg, error) {
	if err := fleet.CheckNode(device); err != nil {
		return nil, err
	}
	c.mu.Lock()
	last, known := c.devices[device]
	if !known {
		c.devices[device] = desired{} // from now on what is meant for it is kept
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, hubPatience)
	defer cancel()
	msg, err := c.hub.Desired(ctx, device)
	if err == nil {
		d := heard(msg)
		c.keep(device, d)
		return d.message(""), nil
	}
	if errors.Is(err, node.ErrGone) {
		c.forget(device)
		return nil, err
	}
	if len(last.data) > 0 {
		return last.message(""), nil
	}
	return nil, err
}

func (d desired) message(subject string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: d.data}
	if d.revision > 0 {
		m.Header = nats.Header{fleet.RevisionHeader: {strconv.FormatUint(d.revision, 10)}}
	}
	return m
}

// keep remembers a device's desired state, unless a newer one came by, and begins to fetch what it names.
func (c *cache) keep(device string, d desired) {
	state, err := fleet.DecodeDesired(d.data)
	if err != nil || state.Node != device {
		return // the device says so itself
	}
	c.mu.Lock()
	old, known := c.devices[device]
	newer := known && d.revision >= old.revision // else it was revoked meanwhile, or an answer came after what was published since
	if newer {
		c.devices[device] = d
	}
	c.mu.Unlock()
	if !newer || string(old.data) == string(d.data) {
		return
	}
	if err := c.write(filepath.Join(c.dir, "desired", device+".json"), d.data); err != nil {
		c.log.Warn("desired state", "device", device, "error", err)
	}
	for _, m := range state.Modules {
		if !c.blobs.Has(m.Digest) {
			c.begin(m.Digest, m.Trace)
		}
	}
}

// forget drops a device that was revoked.
func (c *cache) forget(device string) {
	c.mu.Lock()
	delete(c.devices, device)
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := disk.Remove(disk.OS{}, filepath.Join(c.dir, "desired", device+".json")); err != nil {
		c.log.Warn("desired state", "device", device, "error", err)
	}
}

// refresh asks for the desired state of every device, and tells those whose changed: what the hub published
// while the link was down reached nobody.
func (c *cache) refresh(ctx context.Context) bool {
	c.mu.Lock()
	names := slices.Collect(maps.Keys(c.devices)) // with the edge's own agent
	for name, d := range c.devices {
		c.devices[name] = desired{data: d.data} // a hub that was restored counts its revisions anew
	}
	c.mu.Unlock()
	all := true
	for _, name := range names {
		msg, err := c.hub.Desired(ctx, name)
		if errors.Is(err, node.ErrGone) {
			c.forget(name)
		}
		if errors.Is(err, node.ErrNotThere) {
			continue
		}
		if err != nil {
			c.log.Warn("desired state", "device", name, "error", err)
			all = false
			continue
		}
		d := heard(msg)
		c.keep(name, d)
		if err := c.nc.PublishMsg(d.message(fleet.DesiredSubject(name))); err != nil {
			all = false
		}
	}
	return all
}

// collecting removes modules that no device wants.
func (c *cache) collecting(ctx context.Context) {
	for {
		select {
		case <-time.After(collectEvery):
		case <-ctx.Done():
			return
		}
		wanted := map[string]bool{}
		c.mu.Lock()
		for _, d := range c.devices {
			var state fleet.Desired
			if json.Unmarshal(d.data, &state) == nil {
				for _, m := range state.Modules {
					wanted[m.Digest] = true
				}
			}
		}
		c.mu.Unlock()
		freed, err := c.blobs.Collect(func(d string) bool { return wanted[d] }, collectGrace)
		if freed > 0 || err != nil {
			c.log.Info("modules that no device wants", "freed", freed, "error", err)
		}
	}
}

// accountClaims reads what the hub's bucket of the account holds.
func accountClaims(data []byte) (string, error) {
	var a struct {
		JWT string `json:"jwt"`
	}
	if err := json.Unmarshal(data, &a); err != nil || a.JWT == "" {
		return "", fmt.Errorf("%w: account claims cannot be read", fleet.ErrInvalid)
	}
	return a.JWT, nil
}

// write replaces a file of the cache, durably. Several requests may bring the same one at once.
func (c *cache) write(path string, b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return disk.Write(disk.OS{}, path, b, 0o600)
}
