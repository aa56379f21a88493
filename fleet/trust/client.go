package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Fetcher brings metadata files from a hub or an edge, which are not believed.
type Fetcher interface {
	// Fetch returns the file, such as "timestamp.json" or "3.root.json". It returns ErrNotFound (or
	// fs.ErrNotExist) where the other side says that it has none, another error where it cannot tell, and
	// should stop reading beyond most bytes.
	Fetch(ctx context.Context, file string, most int64) ([]byte, error)
}

// FetchFunc is a function as a Fetcher.
type FetchFunc func(ctx context.Context, file string, most int64) ([]byte, error)

// Fetch calls the function.
func (f FetchFunc) Fetch(ctx context.Context, file string, most int64) ([]byte, error) {
	return f(ctx, file, most)
}

// refreshTime is how long Refresh takes at most where its context has no deadline.
const refreshTime = time.Minute

// ClientOptions say what a node trusts and where it keeps what it verified.
type ClientOptions struct {
	// Store keeps what was verified, such as DirStore("trust"). Required.
	Store Store
	// Root is the root to begin with, which the node got when it was enrolled. Required.
	Root []byte
	// Pin is the SHA-256 of Root, hexadecimal, from the join token. Empty: Root is believed as it is.
	Pin string
	// Fetch brings new metadata. nil: Refresh fails, the rest works from the store.
	Fetch Fetcher
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Client knows what the developers signed. Its methods may be called from several goroutines.
//
// Time: what is expired is told by the later of the clock and the minimum time, which is kept in the store and grows with each
// refresh; so a clock that restarts in 1970 does not bring old metadata back to life. A wrong clock in the future
// cannot spoil the minimum time: it is never later than the expiry of a timestamp that was valid by it.
//
// Offline: everything is answered from the store. Target wants metadata that has not expired, because it decides about
// something new. Listed does not: what was signed and runs goes on running without any network, for years.
type Client struct {
	o    ClientOptions
	busy chan struct{} // holds one token: one refresh at a time

	mu          sync.Mutex
	kept        kept
	floor       floor
	stored      kept // what the store has
	storedFloor floor
	// damage is what was wrong in the store at the start, nil after the next refresh.
	damage error
	last   time.Time // of the last refresh that went well, by the clock of this process
}

// OpenClient verifies what is in the store from Root on. A damaged or half-written store is no error: the
// node begins at Root again (Status tells), and still takes nothing older than it had, because versions are kept
// a second time. An error is a Root that is not the pinned one or is no root, or a store that cannot be read.
func OpenClient(o ClientOptions) (*Client, error) {
	if o.Store == nil {
		return nil, errors.New("trust: ClientOptions.Store is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pin != "" && sum(o.Root) != o.Pin {
		return nil, fmt.Errorf("root: %w: its SHA-256 is %s and the join token says %s", ErrTampered, sum(o.Root), o.Pin)
	}
	v, err := newVerifier(o.Root, never)
	if err != nil {
		return nil, err
	}
	c := &Client{o: o, busy: make(chan struct{}, 1)}
	c.kept = kept{root: v.set.Root, newest: o.Root}
	c.stored = c.kept
	return c, c.load()
}

// Refresh fetches what is new, verifies it and keeps it. An error leaves what was known before, but for new
// roots, which count from the moment on when they are verified. Without a deadline it takes a minute at most.
func (c *Client) Refresh(ctx context.Context) error {
	if c.o.Fetch == nil {
		return errors.New("trust: ClientOptions.Fetch is not set")
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, refreshTime)
		defer cancel()
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	r := refresh{ctx: ctx, c: c, kept: c.kept.clone(), floor: c.floor, now: c.nowLocked()}
	c.mu.Unlock()
	err := r.run()

	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		r.floor.learn(r.kept, r.now)
		c.damage, c.last = nil, c.o.Now()
	} else {
		r.floor.raiseRoot(r.kept)
		r.kept.confirm()
	}
	return errors.Join(err, c.keepLocked(r.kept, r.floor))
}

// Now is the time by which expiry is told: the later of the clock and the minimum time.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

// nowLocked is the later of the clock and the minimum time.
func (c *Client) nowLocked() time.Time {
	now := c.o.Now().UTC()
	if c.floor.Time.After(now) {
		return c.floor.Time
	}
	return now
}

// Target is the digest and size of a release that may be installed now: the verified list has it, and
// nothing in the chain to it has expired.
func (c *Client) Target(ref fleet.Ref) (digest string, size int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usableLocked(); err != nil {
		return "", 0, fmt.Errorf("release %s: %w", ref, err)
	}
	t, err := c.kept.fresh.find(ref)
	return t.Digest, t.Size, err
}

func (c *Client) usableLocked() error {
	if c.kept.fresh.targets == nil {
		if c.kept.targets != nil {
			return fmt.Errorf("%w: root %d is newer than the list, refresh first", ErrNoMetadata, c.kept.root.Signed.Version)
		}
		return ErrNoMetadata
	}
	return c.kept.fresh.expired(c.nowLocked())
}

// Listed says whether the release, with this digest, is in the list that was verified last, however long ago
// that was: whether a node may go on running what it runs. ErrUnknownRelease: it was retired meanwhile or never
// signed; ErrTampered: the digest is another.
func (c *Client) Listed(ref fleet.Ref, digest string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.running.targets == nil {
		return fmt.Errorf("release %s: %w", ref, ErrNoMetadata)
	}
	t, err := c.kept.running.find(ref)
	if err == nil && t.Digest != digest {
		err = fmt.Errorf("release %s: %w: SHA-256 %.64s, and %s was signed", ref, ErrTampered, digest, t.Digest)
	}
	return err
}

func (v view) find(ref fleet.Ref) (Target, error) {
	path := targetPath(ref)
	f := v.targets.Signed.Targets[path]
	if f == nil || ref.Check() != nil {
		return Target{}, fmt.Errorf("release %s: %w (targets %d)", ref, ErrUnknownRelease, v.targets.Signed.Version)
	}
	return readTarget(path, f)
}

// List is all releases in the list that was verified last, by name, the newest of a name first.
func (c *Client) List() []Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return listed(c.kept.running.targets)
}

// Files are what was verified last, as files to serve: an edge gives them to its devices, also while the hub is
// away. Roots begin at ClientOptions.Root; a device that began with an older one asks the hub. Empty where nothing was verified yet.
func (c *Client) Files() Files {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := Files{}
	k := c.kept
	if k.fresh.targets == nil {
		return f
	}
	newest := k.root.Signed.Version
	f[fileName(metadata.ROOT, newest-int64(len(k.chain)))] = c.o.Root
	for i, b := range k.chain {
		f[fileName(metadata.ROOT, newest-int64(len(k.chain)-1-i))] = b
	}
	f[TimestampFile] = k.timestamp
	f[fileName(metadata.SNAPSHOT, k.fresh.snapshot.Signed.Version)] = k.snapshot
	f[fileName(metadata.TARGETS, k.fresh.targets.Signed.Version)] = k.targets
	return f
}

// Status is what a node knows, for reports.
type Status struct {
	Root, Targets, Snapshot, Timestamp int64     // versions, 0 where there is none
	Fresh                              time.Time // until when new releases may be installed without a refresh
	Refreshed                          time.Time // the last refresh by this process that went well
	MinimumTime                        time.Time
	Problem                            error // why Target would refuse each release; nil: it would not
	Damage                             error // what was found broken in the store at the start; nil after a refresh
}

// Status describes what is known.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Root: c.kept.root.Signed.Version, Refreshed: c.last, MinimumTime: c.floor.Time, Problem: c.usableLocked(), Damage: c.damage}
	if v := c.kept.running; v.targets != nil {
		s.Targets, s.Snapshot, s.Timestamp = v.targets.Signed.Version, v.snapshot.Signed.Version, v.timestamp.Signed.Version
	}
	if v := c.kept.fresh; v.targets != nil {
		s.Fresh = slices.MinFunc([]time.Time{v.root.Signed.Expires, v.timestamp.Signed.Expires, v.snapshot.Signed.Expires, v.targets.Signed.Expires}, time.Time.Compare)
	}
	return s
}

// refresh is one run of the workflow of the specification, section 5.
type refresh struct {
	ctx   context.Context
	c     *Client
	kept  kept
	floor floor
	now   time.Time
	v     *verifier
}

func (r *refresh) run() error {
	if err := r.roots(); err != nil {
		return err
	}
	root := &r.v.set.Root.Signed
	if root.Version < r.floor.Root {
		return fmt.Errorf("root %d: %w: this node has had root %d", root.Version, ErrRollback, r.floor.Root)
	}
	if r.now.After(root.Expires) {
		return fmt.Errorf("root %d: %w on %s, and it is %s: the developer has to renew it", root.Version, ErrExpired, day(root.Expires), day(r.now))
	}
	timestamp, err := r.timestamp()
	if err != nil {
		return err
	}
	if r.unchanged() {
		fresh := r.kept.fresh
		fresh.root, fresh.timestamp = r.v.set.Root, r.v.set.Timestamp
		if err := fresh.expired(r.now); err != nil {
			return err
		}
		r.kept.timestamp, r.kept.at = timestamp, root.Version
		r.kept.fresh, r.kept.running = fresh, fresh
		return nil
	}
	snapshot, err := r.snapshot()
	if err != nil {
		return err
	}
	targets, err := r.targets()
	if err != nil {
		return err
	}
	r.kept.timestamp, r.kept.snapshot, r.kept.targets = timestamp, snapshot, targets
	r.kept.at = root.Version
	r.kept.fresh = r.v.view()
	r.kept.running = r.kept.fresh
	return nil
}

// unchanged reports whether the timestamp names the snapshot that was verified under this very root: then so is all that
// it leads to. Verifying a list of 3,000 releases again takes 0.2 s and 60 MB of garbage, each time nothing is new.
func (r *refresh) unchanged() bool {
	f, meta := r.kept.fresh, r.v.set.Timestamp.Signed.Meta["snapshot.json"]
	return f.targets != nil && f.root.Signed.Version == r.v.set.Root.Signed.Version &&
		meta.Version == f.snapshot.Signed.Version && meta.VerifyLengthHashes(r.kept.snapshot) == nil
}

// fetch gets a file of at most most bytes.
func (r *refresh) fetch(role string, version int64) ([]byte, error) {
	name := fileName(role, version)
	b, err := r.c.o.Fetch.Fetch(r.ctx, name, maxSize[role])
	if err == nil && int64(len(b)) > maxSize[role] {
		err = tampered("%d bytes, at most %d are allowed", len(b), maxSize[role])
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// roots goes from the newest root that is known to the newest that there is, 256 at most in one refresh.
func (r *refresh) roots() error {
	v, err := newVerifier(r.kept.newest, r.now)
	if err != nil {
		return err
	}
	r.v = v
	for range maxRootStep {
		next := v.set.Root.Signed.Version + 1
		if next > maxRoots {
			return nil
		}
		b, err := r.fetch(metadata.ROOT, next)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := v.next(b); err != nil {
			return err
		}
		if err := r.floor.checkRoot(next, b); err != nil {
			return err
		}
		if err := r.kept.add(b, v.set.Root); err != nil {
			return err
		}
	}
	return nil
}

// timestamp returns the bytes of the one to go by: a newer one that was fetched, or the one that was kept.
func (r *refresh) timestamp() ([]byte, error) {
	old := r.kept.timestamp
	if old != nil {
		// An error here is one of three: expired, which is what a refresh is for; or signed by keys that the
		// root no longer has, so that it must not count (recovery from a fast-forward attack).
		_ = r.v.timestamp(old)
	}
	b, err := r.fetch(metadata.TIMESTAMP, 0)
	if err != nil {
		return nil, err
	}
	m, err := readTimestamp(b)
	if err != nil {
		return nil, failure(TimestampFile, err)
	}
	if r.now.After(m.Signed.Expires) && r.v.set.Root.VerifyDelegate(metadata.TIMESTAMP, m) == nil {
		return nil, fmt.Errorf("%s: %w on %s, and it is %s: the other side has no fresh one, or holds it back",
			TimestampFile, ErrExpired, day(m.Signed.Expires), day(r.now))
	}
	if err := r.v.timestamp(b); errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return old, nil
	} else if err != nil {
		return nil, err
	}
	root := r.v.set.Root
	if err := r.floor.Timestamp.check(root, metadata.TIMESTAMP, m.Signed.Version); err != nil {
		return nil, err
	}
	return b, r.floor.Snapshot.check(root, metadata.SNAPSHOT, m.Signed.Meta["snapshot.json"].Version)
}

func (r *refresh) snapshot() ([]byte, error) {
	if old := r.kept.snapshot; old != nil && r.v.snapshot(old, true) == nil {
		return old, nil
	}
	b, err := r.fetch(metadata.SNAPSHOT, r.v.set.Timestamp.Signed.Meta["snapshot.json"].Version)
	if err != nil {
		return nil, err
	}
	return b, r.v.snapshot(b, false)
}

func (r *refresh) targets() ([]byte, error) {
	root, version := r.v.set.Root, r.v.set.Snapshot.Signed.Meta["targets.json"].Version
	if err := r.floor.Targets.check(root, metadata.TARGETS, version); err != nil {
		return nil, err
	}
	if old := r.kept.targets; old != nil && r.v.targets(old) == nil {
		return old, nil
	}
	b, err := r.fetch(metadata.TARGETS, version)
	if err != nil {
		return nil, err
	}
	return b, r.v.targets(b)
}
