package trust

import (
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// view is metadata that was verified together: the newest root and, where they were there, the rest.
type view struct {
	root      *rootDoc
	timestamp *timestampDoc
	snapshot  *snapshotDoc
	targets   *targetsDoc
}

// The zero time is after no date of expiry: with it, signatures, hashes and versions alone are verified.
var never time.Time

// verifier is go-tuf's trusted set, given only documents that the readers of document.go took.
type verifier struct {
	set *trustedmetadata.TrustedMetadata
}

// newVerifier begins with a root that the caller trusts; it must be signed by its own keys.
func newVerifier(root []byte, now time.Time) (*verifier, error) {
	what := "root"
	m, err := readRoot(root)
	if err != nil {
		return nil, failure(what, err)
	}
	set, err := trustedmetadata.New(root)
	if err != nil {
		return nil, failure(fmt.Sprintf("root %d", m.Signed.Version), err)
	}
	set.RefTime = now
	return &verifier{set}, nil
}

// next takes the following root, signed by the keys of the one before and by its own.
func (v *verifier) next(b []byte) error {
	what := fileName(metadata.ROOT, v.set.Root.Signed.Version+1)
	if _, err := readRoot(b); err != nil {
		return failure(what, err)
	}
	_, err := v.set.UpdateRoot(b)
	return failure(what, err)
}

func (v *verifier) timestamp(b []byte) error {
	if _, err := readTimestamp(b); err != nil {
		return failure(TimestampFile, err)
	}
	_, err := v.set.UpdateTimestamp(b)
	return failure(TimestampFile, err)
}

// snapshot takes a snapshot; known says that its hash was checked when it was taken first.
func (v *verifier) snapshot(b []byte, known bool) error {
	m, err := readSnapshot(b)
	if err != nil {
		return failure("snapshot", err)
	}
	_, err = v.set.UpdateSnapshot(b, known)
	return failure(fileName(metadata.SNAPSHOT, m.Signed.Version), err)
}

// targets takes a list. It may be large, so it is decoded once, by go-tuf, after prepare made that safe.
func (v *verifier) targets(b []byte) error {
	what := fileName(metadata.TARGETS, v.set.Snapshot.Signed.Meta["targets.json"].Version)
	if err := prepare(metadata.TARGETS, b); err != nil {
		return failure(what, err)
	}
	m, err := v.set.UpdateTargets(b)
	if err != nil {
		return failure(what, err)
	}
	if err := checkTargets(m); err != nil {
		delete(v.set.Targets, metadata.TARGETS)
		return failure(what, err)
	}
	return nil
}

func (v *verifier) view() view {
	return view{v.set.Root, v.set.Timestamp, v.set.Snapshot, v.set.Targets[metadata.TARGETS]}
}

// complete verifies timestamp, snapshot and targets under root, their dates aside.
func complete(root, timestamp, snapshot, targets []byte) (view, error) {
	v, err := newVerifier(root, never)
	if err != nil {
		return view{}, err
	}
	return v.rest(timestamp, snapshot, targets)
}

func (v *verifier) rest(timestamp, snapshot, targets []byte) (view, error) {
	if err := v.timestamp(timestamp); err != nil {
		return view{}, err
	}
	if err := v.snapshot(snapshot, false); err != nil {
		return view{}, err
	}
	if err := v.targets(targets); err != nil {
		return view{}, err
	}
	return v.view(), nil
}

// expired names the first file whose time is over at now.
func (v view) expired(now time.Time) error {
	for _, f := range []struct {
		what, hint string
		at         time.Time
	}{
		{fmt.Sprintf("root %d", v.root.Signed.Version), "the developer has to renew it", v.root.Signed.Expires},
		{fmt.Sprintf("timestamp %d", v.timestamp.Signed.Version), "nothing fresh came from the hub since", v.timestamp.Signed.Expires},
		{fmt.Sprintf("snapshot %d", v.snapshot.Signed.Version), "nothing fresh came from the hub since", v.snapshot.Signed.Expires},
		{fmt.Sprintf("targets %d", v.targets.Signed.Version), "the developer has to renew it", v.targets.Signed.Expires},
	} {
		if now.After(f.at) {
			return fmt.Errorf("%s: %w on %s, and it is %s: %s", f.what, ErrExpired, day(f.at), day(now), f.hint)
		}
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// verifyTargets is the check of one targets document under a root, version and dates aside.
func verifyTargets(root *rootDoc, m *targetsDoc) error {
	return failure(fileName(metadata.TARGETS, m.Signed.Version), root.VerifyDelegate(metadata.TARGETS, m))
}

// RoleInfo describes one role for people.
type RoleInfo struct {
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`
	Threshold int       `json:"threshold"`
	Keys      []string  `json:"keys"`               // ids of the keys that may sign
	SignedBy  []string  `json:"signedBy,omitempty"` // ids of those that did
}

// Info describes verified metadata for people.
type Info struct {
	Root      RoleInfo `json:"root"`
	Targets   RoleInfo `json:"targets"`
	Snapshot  RoleInfo `json:"snapshot"`
	Timestamp RoleInfo `json:"timestamp"`
	Releases  []Target `json:"releases"` // by name, the newest of a name first
}

func (v view) info() Info {
	role := func(name string, version int64, expires time.Time, doc any) RoleInfo {
		r := v.root.Signed.Roles[name]
		return RoleInfo{version, expires, r.Threshold, slices.Clone(r.KeyIDs), signers(v.root, name, doc)}
	}
	i := Info{Releases: listed(v.targets)}
	i.Root = role(metadata.ROOT, v.root.Signed.Version, v.root.Signed.Expires, v.root)
	if v.targets != nil {
		i.Targets = role(metadata.TARGETS, v.targets.Signed.Version, v.targets.Signed.Expires, v.targets)
	}
	if v.snapshot != nil {
		i.Snapshot = role(metadata.SNAPSHOT, v.snapshot.Signed.Version, v.snapshot.Signed.Expires, v.snapshot)
	}
	if v.timestamp != nil {
		i.Timestamp = role(metadata.TIMESTAMP, v.timestamp.Signed.Version, v.timestamp.Signed.Expires, v.timestamp)
	}
	return i
}

// Inspect verifies the files of a hub as they stand, their dates aside, and describes them.
func (f Files) Inspect() (Info, error) {
	v, err := f.view()
	if err != nil {
		return Info{}, err
	}
	return v.info(), nil
}

// view verifies a complete set from the hub: root by root from the first that is there, and what the timestamp names.
func (f Files) view() (view, error) {
	v, err := f.chain(never)
	if err != nil {
		return view{}, err
	}
	ts, sn, tg, err := f.named()
	if err != nil {
		return view{}, err
	}
	return v.rest(ts, sn, tg)
}

// chain verifies the roots among the files, from the oldest on.
func (f Files) chain(now time.Time) (*verifier, error) {
	last := f.newest(metadata.ROOT)
	if last == 0 {
		return nil, fmt.Errorf("%w: no root among the files", ErrNoMetadata)
	}
	first := last
	for f[fileName(metadata.ROOT, first-1)] != nil {
		first--
	}
	v, err := newVerifier(f[fileName(metadata.ROOT, first)], now)
	if err != nil {
		return nil, err
	}
	if v.set.Root.Signed.Version != first {
		return nil, fmt.Errorf("%w: %s holds version %d", ErrTampered, fileName(metadata.ROOT, first), v.set.Root.Signed.Version)
	}
	for n := first + 1; n <= last; n++ {
		if err := v.next(f[fileName(metadata.ROOT, n)]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// named are the timestamp, and the snapshot and targets that it names.
func (f Files) named() (timestamp, snapshot, targets []byte, err error) {
	timestamp = f[TimestampFile]
	if timestamp == nil {
		return nil, nil, nil, fmt.Errorf("%w: no timestamp among the files", ErrNoMetadata)
	}
	ts, err := readTimestamp(timestamp)
	if err != nil {
		return nil, nil, nil, failure(TimestampFile, err)
	}
	name := fileName(metadata.SNAPSHOT, ts.Signed.Meta["snapshot.json"].Version)
	if snapshot = f[name]; snapshot == nil {
		return nil, nil, nil, fmt.Errorf("%w: %s, which the timestamp names", ErrNotFound, name)
	}
	sn, err := readSnapshot(snapshot)
	if err != nil {
		return nil, nil, nil, failure(name, err)
	}
	name = fileName(metadata.TARGETS, sn.Signed.Meta["targets.json"].Version)
	if targets = f[name]; targets == nil {
		return nil, nil, nil, fmt.Errorf("%w: %s, which the snapshot names", ErrNotFound, name)
	}
	return timestamp, snapshot, targets, nil
}

// Root is the root with this SHA-256, hexadecimal, for a node that wants no other; the newest where sha256 is empty.
func (f Files) Root(sha256 string) ([]byte, error) {
	if sha256 == "" {
		if b := f[fileName(metadata.ROOT, f.newest(metadata.ROOT))]; b != nil {
			return b, nil
		}
		return nil, fmt.Errorf("%w: no root among the files", ErrNoMetadata)
	}
	for name, b := range f {
		if role, _, err := parseName(name); err == nil && role == metadata.ROOT && sum(b) == sha256 {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: no root with SHA-256 %.64s", ErrNotFound, sha256)
}

// Fingerprint is the SHA-256 of the newest root, hexadecimal: what a join token pins and people compare.
func (f Files) Fingerprint() (string, error) {
	b, err := f.Root("")
	if err != nil {
		return "", err
	}
	return sum(b), nil
}
