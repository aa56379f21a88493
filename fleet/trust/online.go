package trust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Online are a hub's keys for snapshot and timestamp. They make the developer's list fresh and can add
// nothing to it: who steals them can hold back news, for as long as a timestamp lives and from the moment on
// when the developer rotates them (Rotation.Online) not even that.
//
// Its methods take the current files and return new ones; storing them by compare-and-set is the caller's.
type Online struct {
	// Life of a timestamp. 0: TimestampLife.
	Life time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time

	pairs []pair // the newest last; a root decides which of them sign
}

type pair struct {
	Snapshot  []byte `json:"snapshot"` // seeds of Ed25519 keys
	Timestamp []byte `json:"timestamp"`
}

// OnlineKeys are the public halves, hexadecimal, which the developer puts into the root.
type OnlineKeys struct {
	Snapshot  string `json:"snapshot"`
	Timestamp string `json:"timestamp"`
}

// maxPairs: the one in use, the next, and as many forgotten attempts.
const maxPairs = 8

// NewOnline makes keys.
func NewOnline() (*Online, error) {
	o := &Online{}
	return o, o.Rotate()
}

// Rotate makes a further pair of keys, whose public halves Public then returns. Both pairs sign, as the root
// wants it, until Prune.
func (o *Online) Rotate() error {
	if len(o.pairs) >= maxPairs {
		return fmt.Errorf("%w: %d pairs wait already; let the developer take one into the root, or prune", ErrKey, len(o.pairs))
	}
	snapshot, err := newSeed()
	if err != nil {
		return err
	}
	timestamp, err := newSeed()
	if err != nil {
		return err
	}
	o.pairs = append(o.pairs, pair{snapshot, timestamp})
	return nil
}

func newSeed() ([]byte, error) {
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return k.Seed(), nil
}

// ParseOnline reads what Encode wrote.
func ParseOnline(b []byte) (*Online, error) {
	o := &Online{}
	if err := json.Unmarshal(b, &o.pairs); err != nil {
		return nil, fmt.Errorf("%w: the hub's signing keys cannot be read: %w", ErrKey, err)
	}
	if len(o.pairs) == 0 || len(o.pairs) > maxPairs {
		return nil, fmt.Errorf("%w: the hub has %d pairs of signing keys, want 1 to %d", ErrKey, len(o.pairs), maxPairs)
	}
	for _, p := range o.pairs {
		if len(p.Snapshot) != ed25519.SeedSize || len(p.Timestamp) != ed25519.SeedSize {
			return nil, fmt.Errorf("%w: a signing key of the hub has another length than %d bytes", ErrKey, ed25519.SeedSize)
		}
	}
	return o, nil
}

// Encode is the private keys as bytes: a secret.
func (o *Online) Encode() ([]byte, error) { return json.Marshal(o.pairs) }

// Public are the public halves of the newest pair.
func (o *Online) Public() OnlineKeys {
	p := o.pairs[len(o.pairs)-1]
	return OnlineKeys{publicOf(p.Snapshot), publicOf(p.Timestamp)}
}

func publicOf(seed []byte) string {
	return hex.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

// Prune forgets the pairs that the root of current does not name, but for the newest where it waits to be taken in.
func (o *Online) Prune(current Files) error {
	v, err := current.chain(never)
	if err != nil {
		return err
	}
	var keep []pair
	for i, p := range o.pairs {
		in := false
		for role, seed := range map[string][]byte{metadata.SNAPSHOT: p.Snapshot, metadata.TIMESTAMP: p.Timestamp} {
			k, err := newSigner(seed)
			if err != nil {
				return err
			}
			in = in || k.in(v.set.Root, role)
		}
		if in || i == len(o.pairs)-1 {
			keep = append(keep, p)
		}
	}
	o.pairs = keep
	return nil
}

func (o *Online) now() time.Time {
	if o.Now != nil {
		return o.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

func (o *Online) life() time.Duration {
	if o.Life > 0 {
		return o.Life
	}
	return TimestampLife
}

// Resign returns the files with a fresh timestamp, and a fresh snapshot where that is due or its keys
// changed. Call it every ResignEvery, and once after a start.
func (o *Online) Resign(current Files) (Files, error) {
	v, err := current.chain(never)
	if err != nil {
		return nil, err
	}
	_, snapshot, targets, err := current.named()
	if err != nil {
		return nil, err
	}
	return o.publish(current, v.set.Root, snapshot, targets)
}

// publish adds the snapshot and timestamp for targets, and drops what no node asks for any more.
// snapshot is the last one; nil: there is none.
func (o *Online) publish(current Files, root *rootDoc, snapshot, targets []byte) (Files, error) {
	now := o.now()
	tg, err := readTargets(targets)
	if err != nil {
		return nil, failure("targets", err)
	}
	next := maps.Clone(current)
	next[fileName(metadata.TARGETS, tg.Signed.Version)] = targets

	snapshot, err = o.snapshotFor(root, snapshot, targets, tg.Signed.Version, now)
	if err != nil {
		return nil, err
	}
	sn, err := readSnapshot(snapshot)
	if err != nil {
		return nil, failure("snapshot", err)
	}
	next[fileName(metadata.SNAPSHOT, sn.Signed.Version)] = snapshot

	var last int64
	if b := current[TimestampFile]; b != nil {
		old, err := readTimestamp(b)
		if err != nil {
			return nil, failure(TimestampFile, err)
		}
		last = old.Signed.Version
	}
	ts := metadata.Timestamp(now.Add(o.life()))
	ts.Signed.Version = after(last, now)
	ts.Signed.Meta["snapshot.json"] = metaFile(sn.Signed.Version, snapshot)
	if next[TimestampFile], err = signWith(root, metadata.TIMESTAMP, ts, o.seeds(metadata.TIMESTAMP)); err != nil {
		return nil, err
	}
	next.drop(metadata.SNAPSHOT, sn.Signed.Version)
	next.drop(metadata.TARGETS, tg.Signed.Version)
	// What nodes would refuse is never published, whatever led to it.
	if _, err := next.view(); err != nil {
		return nil, fmt.Errorf("what would be published does not verify: %w", err)
	}
	return next, nil
}

// snapshotFor is the old snapshot where it still serves, or a new one.
func (o *Online) snapshotFor(root *rootDoc, old, targets []byte, version int64, now time.Time) ([]byte, error) {
	var last int64
	if old != nil {
		m, err := readSnapshot(old)
		if err != nil {
			return nil, failure("snapshot", err)
		}
		last = m.Signed.Version
		meta := m.Signed.Meta["targets.json"]
		// A snapshot has to outlive the timestamp that names it.
		if meta.Version == version && meta.VerifyLengthHashes(targets) == nil &&
			m.Signed.Expires.After(now.Add(o.life())) && root.VerifyDelegate(metadata.SNAPSHOT, m) == nil {
			return old, nil
		}
	}
	m := metadata.Snapshot(now.Add(2 * o.life()))
	m.Signed.Version = after(last, now)
	m.Signed.Meta["targets.json"] = metaFile(version, targets)
	return signWith(root, metadata.SNAPSHOT, m, o.seeds(metadata.SNAPSHOT))
}

// after is the version that follows last. It is no smaller than the time in seconds, so that a hub restored
// from an old backup does not sign versions that nodes have seen already and would refuse.
func after(last int64, now time.Time) int64 { return max(last+1, now.Unix()) }

func metaFile(version int64, b []byte) *metadata.MetaFiles {
	h := sha256.Sum256(b)
	return &metadata.MetaFiles{Version: version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": h[:]}}
}

// drop removes the versions of role that came before the last two: a node in the middle of a refresh may
// still ask for the one that a timestamp named a moment ago.
func (f Files) drop(role string, newest int64) {
	var previous int64
	for name := range f {
		if r, v, err := parseName(name); err == nil && r == role && v < newest {
			previous = max(previous, v)
		}
	}
	for name := range f {
		if r, v, err := parseName(name); err == nil && r == role && v != newest && v != previous {
			delete(f, name)
		}
	}
}

func (o *Online) seeds(role string) [][]byte {
	var s [][]byte
	for _, p := range o.pairs {
		if role == metadata.SNAPSHOT {
			s = append(s, p.Snapshot)
		} else {
			s = append(s, p.Timestamp)
		}
	}
	return s
}

// signWith signs doc with those of the seeds that root names for role, and encodes it.
func signWith[T metadata.Roles](root *rootDoc, role string, doc *metadata.Metadata[T], seeds [][]byte) ([]byte, error) {
	for _, seed := range seeds {
		k, err := newSigner(seed)
		if err != nil {
			return nil, err
		}
		if k.in(root, role) {
			if _, err := doc.Sign(k.signer); err != nil {
				return nil, err
			}
		}
	}
	if err := root.VerifyDelegate(role, doc); err != nil {
		return nil, fmt.Errorf("%w: root %d gives the role %s to keys that this hub does not have", ErrKey, root.Signed.Version, role)
	}
	return encode(doc)
}

func encode[T metadata.Roles](doc *metadata.Metadata[T]) ([]byte, error) {
	b, err := doc.ToBytes(true)
	return append(b, '\n'), err
}

// signer is a private key ready to sign.
type signer struct {
	id     string
	signer signature.Signer
	public string
}

func newSigner(seed []byte) (signer, error) {
	private := ed25519.NewKeyFromSeed(seed)
	s, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		return signer{}, err
	}
	k, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return signer{}, err
	}
	id, err := k.ID()
	return signer{id, s, k.Value.PublicKey}, err
}

// in reports whether root lets the key sign for role.
func (s signer) in(root *rootDoc, role string) bool {
	r := root.Signed.Roles[role]
	if r == nil {
		return false
	}
	for _, id := range r.KeyIDs {
		if id == s.id {
			return true
		}
	}
	return false
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func same(a, b []byte) bool { return a != nil && bytes.Equal(a, b) }
