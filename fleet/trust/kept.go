package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A client keeps two records. The set has the verified files, all in one, so that a power cut leaves either
// the old or the new ones and never a mix that does not verify; it is verified from the first root on at each start. The floor
// has versions and the minimum time with a checksum; it stands in where the set is damaged. The set is written
// first: a floor above its set would make the set look old.
const (
	setFile   = "metadata.json"
	floorFile = "floor.json"

	// resave: an hourly timestamp alone does not wear out flash: the set is written when its timestamp is a
	// day older than the newest. The floor, some 700 bytes, is written each time.
	resave = 24 * time.Hour

	maxSet   = (maxChain+MaxTimestamp+MaxSnapshot+MaxTargets)/3*4 + 1<<16 // base64
	maxFloor = 64 << 10
)

// kept is what a client has verified.
type kept struct {
	chain     [][]byte // roots after the one to begin with, in order
	at        int64    // version of the root under which the rest was verified
	timestamp []byte
	snapshot  []byte
	targets   []byte

	newest  []byte   // bytes of the newest root
	root    *rootDoc // the same, read
	running view     // the rest under root at: what may go on running
	fresh   view     // the rest under the newest root; empty where that has not confirmed it
}

func (k kept) clone() kept {
	k.chain = slices.Clone(k.chain)
	return k
}

// add takes a root that was verified. The rest counts as fresh again once it is verified under it.
func (k *kept) add(b []byte, root *rootDoc) error {
	size := len(b)
	for _, c := range k.chain {
		size += len(c)
	}
	if size > maxChain {
		return tampered("the chain of roots has more than %d bytes", maxChain)
	}
	k.chain = append(k.chain, b)
	k.newest, k.root, k.fresh = b, root, view{}
	return nil
}

// setDoc is the set as it is stored.
type setDoc struct {
	Roots     [][]byte `json:"roots,omitempty"`
	At        int64    `json:"at,omitempty"`
	Timestamp []byte   `json:"timestamp,omitempty"`
	Snapshot  []byte   `json:"snapshot,omitempty"`
	Targets   []byte   `json:"targets,omitempty"`
}

// readSet verifies a stored set, beginning with the root in first.
func readSet(b []byte, first kept) (kept, error) {
	var doc setDoc
	if err := json.Unmarshal(b, &doc); err != nil {
		return first, tampered("%v", err)
	}
	v, err := newVerifier(first.newest, never)
	if err != nil {
		return first, err
	}
	k := first
	at := first.newest
	for _, root := range doc.Roots {
		if err := v.next(root); err != nil {
			return first, err
		}
		if err := k.add(root, v.set.Root); err != nil {
			return first, err
		}
		if v.set.Root.Signed.Version == doc.At {
			at = root
		}
	}
	if doc.Targets == nil {
		return k, nil // only roots came so far
	}
	if k.running, err = complete(at, doc.Timestamp, doc.Snapshot, doc.Targets); err != nil {
		return first, err
	}
	if k.running.root.Signed.Version != doc.At {
		return first, tampered("it was verified under root %d, which is not in it", doc.At)
	}
	k.at, k.timestamp, k.snapshot, k.targets = doc.At, doc.Timestamp, doc.Snapshot, doc.Targets
	if k.at == k.root.Signed.Version {
		k.fresh = k.running
	}
	k.confirm()
	return k, nil
}

// confirm makes the rest fresh where the newest root vouches for it: new roots often leave its keys alone.
func (k *kept) confirm() {
	if k.fresh.targets != nil || k.targets == nil {
		return
	}
	if fresh, err := complete(k.newest, k.timestamp, k.snapshot, k.targets); err == nil {
		k.fresh = fresh
	}
}

func (k kept) encode() ([]byte, error) {
	return json.Marshal(setDoc{k.chain, k.at, k.timestamp, k.snapshot, k.targets})
}

// differs reports whether next has to be written over k.
func (k kept) differs(next kept) bool {
	if len(k.chain) != len(next.chain) || k.at != next.at || !bytes.Equal(k.snapshot, next.snapshot) || !bytes.Equal(k.targets, next.targets) {
		return true
	}
	if next.running.timestamp == nil {
		return false
	}
	return k.running.timestamp == nil || next.running.timestamp.Signed.Expires.Sub(k.running.timestamp.Signed.Expires) >= resave
}

// floor is what a client never goes below.
type floor struct {
	Time      time.Time `json:"time"` // it was later than this
	Root      int64     `json:"root"`
	RootSum   string    `json:"rootSha256"` // of that root: whoever has keys of an old root makes another of the same version
	Timestamp mark      `json:"timestamp"`
	Snapshot  mark      `json:"snapshot"`
	Targets   mark      `json:"targets"`
}

// mark is a version, and the keys that vouched for it. It counts as long as those keys could still sign by
// themselves: when they are taken out of the root because they were stolen, the version that a thief made up goes with
// them (fast-forward attack).
type mark struct {
	Version int64    `json:"version"`
	Keys    []string `json:"keys,omitempty"`
}

func (m mark) counts(root *rootDoc, role string) bool {
	r := root.Signed.Roles[role]
	n := 0
	for _, id := range m.Keys {
		if slices.Contains(r.KeyIDs, id) {
			n++
		}
	}
	return n >= r.Threshold
}

func (m mark) check(root *rootDoc, role string, version int64) error {
	if version < m.Version && m.counts(root, role) {
		return fmt.Errorf("%s %d: %w: this node has had version %d", role, version, ErrRollback, m.Version)
	}
	return nil
}

// raise takes a verified version; a mark that no longer counts is replaced.
func (m *mark) raise(root *rootDoc, role string, version int64, doc any) {
	if version > m.Version || !m.counts(root, role) {
		*m = mark{version, signers(root, role, doc)}
	}
}

// raiseRoot takes a root that was verified.
func (f *floor) raiseRoot(k kept) {
	if n := k.root.Signed.Version; n > f.Root {
		f.Root, f.RootSum = n, sum(k.newest)
	}
}

// checkRoot refuses another root of the version that the floor has.
func (f floor) checkRoot(version int64, b []byte) error {
	if version == f.Root && sum(b) != f.RootSum {
		return tampered("%s: this node has had another root of this version", fileName(metadata.ROOT, version))
	}
	return nil
}

// learn raises the floor to what was verified, and to the time now at which it was valid.
func (f *floor) learn(k kept, now time.Time) {
	v := k.fresh
	f.raiseRoot(k)
	f.Timestamp.raise(v.root, metadata.TIMESTAMP, v.timestamp.Signed.Version, v.timestamp)
	f.Snapshot.raise(v.root, metadata.SNAPSHOT, v.snapshot.Signed.Version, v.snapshot)
	f.Targets.raise(v.root, metadata.TARGETS, v.targets.Signed.Version, v.targets)
	for _, t := range []time.Time{now, signedTime(v.root.Signed.UnrecognizedFields), signedTime(v.targets.Signed.UnrecognizedFields)} {
		// Never beyond the expiry of a valid timestamp: that is before the expiry of the next.
		if t.After(v.timestamp.Signed.Expires) {
			t = v.timestamp.Signed.Expires
		}
		if t.After(f.Time) {
			f.Time = t.UTC().Truncate(time.Second)
		}
	}
}

// sealed is a floor with the checksum of its bytes: nobody signs it, and a torn write must show.
type sealed struct {
	Floor json.RawMessage `json:"floor"`
	Sum   string          `json:"sha256"`
}

func (f floor) encode() ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{b, sum(b)})
}

func readFloor(b []byte) (floor, error) {
	var s sealed
	var f floor
	if err := json.Unmarshal(b, &s); err != nil {
		return f, tampered("%v", err)
	}
	if sum(s.Floor) != s.Sum {
		return f, tampered("its checksum is wrong")
	}
	if err := json.Unmarshal(s.Floor, &f); err != nil {
		return floor{}, tampered("%v", err)
	}
	return f, nil
}

// load reads the store. What is damaged is noted and left out.
func (c *Client) load() error {
	b, err := c.read(floorFile, maxFloor)
	if err != nil {
		return err
	}
	if b != nil {
		if c.floor, err = readFloor(b); err != nil {
			c.damage = failure(floorFile, err)
		}
		c.storedFloor = c.floor
	}
	if b, err = c.read(setFile, maxSet); err != nil || b == nil {
		return err
	}
	k, err := readSet(b, c.kept)
	if err == nil {
		err = c.floor.old(k)
	}
	if err != nil {
		c.damage = errors.Join(c.damage, failure(setFile, err))
		return nil
	}
	c.kept, c.stored = k, k
	// A floor that lags or is lost follows the set; the time in it is known from the signatures alone then.
	c.floor.raiseRoot(k)
	if k.fresh.targets != nil {
		c.floor.learn(k, c.floor.Time)
	}
	return nil
}

// old says whether a stored set is older than the floor. Its timestamp may be: see resave.
func (f floor) old(k kept) error {
	n := k.root.Signed.Version
	if n < f.Root {
		return fmt.Errorf("root %d: %w: this node has had root %d", n, ErrRollback, f.Root)
	}
	for i, b := range k.chain {
		if err := f.checkRoot(n-int64(len(k.chain)-1-i), b); err != nil {
			return err
		}
	}
	if k.running.targets == nil {
		return nil
	}
	return errors.Join(f.Snapshot.check(k.root, metadata.SNAPSHOT, k.running.snapshot.Signed.Version),
		f.Targets.check(k.root, metadata.TARGETS, k.running.targets.Signed.Version))
}

// read returns nil for a file that is not there or too large to be ours.
func (c *Client) read(name string, most int64) ([]byte, error) {
	b, err := c.o.Store.Load(name, most)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound):
		return nil, nil
	case errors.Is(err, ErrTampered):
		c.damage = errors.Join(c.damage, failure(name, err))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("trust: %s: %w", name, err)
	}
	return b, nil
}

// keepLocked stores what a refresh found and goes by it. What cannot be stored counts for this process all the same:
// a full or read-only disk is no reason to stay with old metadata.
func (c *Client) keepLocked(k kept, f floor) error {
	c.kept, c.floor = k, f
	if c.stored.differs(k) {
		b, err := k.encode()
		if err == nil {
			err = c.o.Store.Save(setFile, b)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrStore, setFile, err)
		}
		c.stored = k
	}
	if !c.storedFloor.differs(f) {
		return nil
	}
	b, err := f.encode()
	if err == nil {
		err = c.o.Store.Save(floorFile, b)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrStore, floorFile, err)
	}
	c.storedFloor = f
	return nil
}

// differs reports whether next has to be written over f: each version, and the time by the hour.
func (f floor) differs(next floor) bool {
	if next.Time.Sub(f.Time) >= time.Hour {
		return true
	}
	f.Time = next.Time
	return !reflect.DeepEqual(f, next)
}
