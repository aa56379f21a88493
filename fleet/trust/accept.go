package trust

import (
	"fmt"
	"maps"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// clockSlack is how far a developer's clock may be ahead of the hub's. Nodes take the time of signing as
// a time that has passed, so one from the future is stopped here.
const clockSlack = 24 * time.Hour

// Accept takes what a developer uploads, roots and targets, and returns the new files with snapshot and
// timestamp signed. Nothing of the upload is believed: each new root must follow the one before and carry
// its signatures and its own, targets must have the next version and the signatures of the newest root. The first
// upload has 1.root.json and targets; a hub that lost its state takes the whole chain and any version of targets.
//
// Files that are there already, byte for byte, are passed over, so an upload may be repeated. current is
// not changed.
func (o *Online) Accept(current, upload Files) (Files, error) {
	if err := upload.check(); err != nil {
		return nil, err
	}
	for name := range upload {
		if role, _, _ := parseName(name); role != metadata.ROOT && role != metadata.TARGETS {
			return nil, fmt.Errorf("%w: %s is the hub's to sign; upload roots and targets", ErrTampered, name)
		}
	}
	now := o.now()
	next := maps.Clone(current)
	if next == nil {
		next = Files{}
	}
	root, err := acceptRoots(next, upload, now)
	if err != nil {
		return nil, err
	}
	if err := o.hasKeys(root); err != nil {
		return nil, err
	}
	var snapshot, targets []byte
	if current[TimestampFile] != nil {
		if _, snapshot, targets, err = current.named(); err != nil {
			return nil, err
		}
	}
	newest, err := acceptTargets(root, targets, upload, now)
	if err != nil {
		return nil, err
	}
	if same(newest, targets) && len(next) == len(current) {
		return next, nil // all of it was here
	}
	return o.publish(next, root, snapshot, newest)
}

// acceptRoots adds the roots of upload to files and returns the newest.
func acceptRoots(files, upload Files, now time.Time) (*rootDoc, error) {
	var v *verifier
	var err error
	last := files.newest(metadata.ROOT)
	if last > 0 {
		if v, err = files.chain(now); err != nil {
			return nil, fmt.Errorf("the hub's own files: %w", err)
		}
	} else {
		b := upload[fileName(metadata.ROOT, 1)]
		if b == nil {
			return nil, fmt.Errorf("%w: the hub has no root yet, and the upload has no 1.root.json", ErrConflict)
		}
		if v, err = newVerifier(b, now); err != nil {
			return nil, err
		}
		if v.set.Root.Signed.Version != 1 {
			return nil, tampered("1.root.json holds version %d", v.set.Root.Signed.Version)
		}
		files[fileName(metadata.ROOT, 1)] = b
	}
	most := upload.newest(metadata.ROOT)
	for name, b := range upload {
		role, n, _ := parseName(name)
		if have := files[name]; role == metadata.ROOT && n <= last && !same(have, b) {
			return nil, fmt.Errorf("%s: %w: the hub is at root %d", name, ErrRollback, last)
		}
	}
	for n := v.set.Root.Signed.Version + 1; n <= most; n++ {
		name := fileName(metadata.ROOT, n)
		b := upload[name]
		if b == nil {
			return nil, fmt.Errorf("%s: %w: %s is missing before it", fileName(metadata.ROOT, most), ErrConflict, name)
		}
		if err := v.next(b); err != nil {
			return nil, err
		}
		files[name] = b
	}
	root := v.set.Root
	if now.After(root.Signed.Expires) {
		return nil, fmt.Errorf("root %d: %w on %s", root.Signed.Version, ErrExpired, day(root.Signed.Expires))
	}
	return root, checkSigned(fileName(metadata.ROOT, root.Signed.Version), signedTime(root.Signed.UnrecognizedFields), now)
}

func checkSigned(name string, at, now time.Time) error {
	if at.After(now.Add(clockSlack)) {
		return fmt.Errorf("%s: %w: signed on %s, and the hub has %s: set the clock and sign again", name, ErrConflict, day(at), day(now))
	}
	return nil
}

// hasKeys refuses a root under which the hub could sign nothing.
func (o *Online) hasKeys(root *rootDoc) error {
	for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		have := 0
		for _, seed := range o.seeds(role) {
			k, err := newSigner(seed)
			if err != nil {
				return err
			}
			if k.in(root, role) {
				have++
			}
		}
		if have < root.Signed.Roles[role].Threshold {
			return fmt.Errorf("%w: root %d gives the role %s to keys that this hub does not have: sign a root with the hub's public keys",
				ErrConflict, root.Signed.Version, role)
		}
	}
	return nil
}

// acceptTargets returns the targets to publish: those of the upload, or the present ones where it has none.
func acceptTargets(root *rootDoc, present []byte, upload Files, now time.Time) ([]byte, error) {
	var have int64
	if present != nil {
		m, err := readTargets(present)
		if err != nil {
			return nil, fmt.Errorf("the hub's own files: %w", failure("targets", err))
		}
		have = m.Signed.Version
	}
	newest, newer := present, 0
	for name := range upload {
		if role, n, _ := parseName(name); role == metadata.TARGETS && n > have {
			newer++
		}
	}
	if newer > 1 {
		return nil, fmt.Errorf("targets: %w: the upload has %d new lists, want one", ErrConflict, newer)
	}
	for name, b := range upload {
		role, n, _ := parseName(name)
		switch {
		case role != metadata.TARGETS || n == have && same(b, present):
			continue
		case n < have:
			return nil, fmt.Errorf("%s: %w: the hub is at targets %d", name, ErrRollback, have)
		case n == have:
			return nil, fmt.Errorf("%s: %w: another one of this version was first", name, ErrConflict)
		}
		// A gap after what is present is a hub that came back from an older backup: developers' copies hold what a hub took before.
		newest = b
		m, err := readTargets(b)
		if err != nil {
			return nil, failure(name, err)
		}
		if m.Signed.Version != n {
			return nil, tampered("%s holds version %d", name, m.Signed.Version)
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%w: the hub has no targets yet, and the upload has none", ErrConflict)
	}
	m, err := readTargets(newest)
	if err != nil {
		return nil, failure("targets", err)
	}
	name := fileName(metadata.TARGETS, m.Signed.Version)
	if err := verifyTargets(root, m); err != nil {
		if same(newest, present) {
			return nil, fmt.Errorf("root %d has other keys for targets: upload targets %d signed by them along with it: %w",
				root.Signed.Version, have+1, err)
		}
		return nil, err
	}
	// What is published already may have expired since: a new root is taken all the same, and targets follow.
	if now.After(m.Signed.Expires) && !same(newest, present) {
		return nil, fmt.Errorf("%s: %w on %s", name, ErrExpired, day(m.Signed.Expires))
	}
	return newest, checkSigned(name, signedTime(m.Signed.UnrecognizedFields), now)
}
