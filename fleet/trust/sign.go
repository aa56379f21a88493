package trust

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Setup is what a fleet's trust begins with. The keys of the folder take part in both roles.
type Setup struct {
	// Online are the hub's public keys. Required.
	Online OnlineKeys
	// Root and Targets are public keys of further people.
	Root, Targets []string
	// RootThreshold and TargetsThreshold are how many have to sign. 0: 1.
	RootThreshold, TargetsThreshold int
}

// Init makes the first root and an empty list of releases.
func (k *Keys) Init(s Setup) (*Change, error) {
	if len(k.meta) > 0 {
		return nil, fmt.Errorf("%w: this folder has a root already; rotate it", ErrConflict)
	}
	root := metadata.Root(k.now().Add(orDefault(k.o.RootLife, RootLife)))
	stamp(&root.Signed.UnrecognizedFields, k.now())
	own := k.Public()
	for _, r := range []struct {
		role      string
		keys      []string
		threshold int
	}{
		{metadata.ROOT, slices.Concat(own.Root, s.Root), s.RootThreshold},
		{metadata.TARGETS, slices.Concat(own.Targets, s.Targets), s.TargetsThreshold},
		{metadata.SNAPSHOT, []string{s.Online.Snapshot}, 1},
		{metadata.TIMESTAMP, []string{s.Online.Timestamp}, 1},
	} {
		if err := setRole(root, r.role, r.keys, r.threshold); err != nil {
			return nil, err
		}
	}
	targets := metadata.Targets(k.now().Add(orDefault(k.o.TargetsLife, TargetsLife)))
	stamp(&targets.Signed.UnrecognizedFields, k.now())
	return k.propose(root, targets)
}

// setRole gives a role exactly these keys; threshold 0 leaves it as it is.
func setRole(root *rootDoc, role string, keys []string, threshold int) error {
	for _, id := range slices.Clone(root.Signed.Roles[role].KeyIDs) {
		if err := root.Signed.RevokeKey(id, role); err != nil {
			return err
		}
	}
	for _, public := range keys {
		key, err := publicKey(public)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrKey, role, err)
		}
		if err := root.Signed.AddKey(key, role); err != nil {
			return err
		}
	}
	r := root.Signed.Roles[role]
	if threshold > 0 {
		r.Threshold = threshold
	}
	if r.Threshold > len(r.KeyIDs) {
		return fmt.Errorf("%w: role %s wants %d signatures and has %d keys", ErrKey, role, r.Threshold, len(r.KeyIDs))
	}
	return nil
}

func (k *Keys) current() (*rootDoc, *targetsDoc, error) {
	if len(k.meta) == 0 {
		return nil, nil, fmt.Errorf("%w: this folder has no root: init, or adopt the hub's", ErrNoMetadata)
	}
	return k.meta.signed()
}

// AddTarget signs a release. keep is how many releases of its name the list has afterwards at most, the newest by
// order of signing; 0 keeps all. Nodes refuse what the list no longer has. A release that is listed with the
// same digest gives an empty change, with another one ErrTaken: what a version is never changes.
func (k *Keys) AddTarget(ref fleet.Ref, digest string, size int64, keep int) (*Change, error) {
	if err := ref.Check(); err != nil {
		return nil, err
	}
	if err := fleet.CheckDigest(digest); err != nil {
		return nil, err
	}
	if size < 1 || size > fleet.MaxModule {
		return nil, fmt.Errorf("%w: release %s has %d bytes, want 1 to %d", fleet.ErrInvalid, ref, size, int64(fleet.MaxModule))
	}
	_, present, err := k.current()
	if err != nil {
		return nil, err
	}
	if t, err := (view{targets: present}).find(ref); err == nil {
		if t.Digest == digest && t.Size == size {
			return &Change{Files{}}, nil
		}
		return nil, fmt.Errorf("release %s %w with SHA-256 %s: give the new file another version", ref, ErrTaken, t.Digest)
	}
	next, err := k.unsignedTargets(present)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(digest)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(custom{ref.Name, ref.Version, next.Signed.Version})
	if err != nil {
		return nil, err
	}
	raw := json.RawMessage(doc)
	next.Signed.Targets[targetPath(ref)] = &metadata.TargetFiles{
		Length: size, Hashes: metadata.Hashes{"sha256": b}, Custom: &raw, Path: targetPath(ref),
	}
	kept := 0
	for _, t := range listed(next) {
		if t.Ref.Name != ref.Name {
			continue
		}
		if kept++; keep > 0 && kept > keep {
			delete(next.Signed.Targets, targetPath(t.Ref))
		}
	}
	return k.propose(nil, next)
}

// Retire takes releases out of the list: no node installs them any more.
func (k *Keys) Retire(refs ...fleet.Ref) (*Change, error) {
	_, present, err := k.current()
	if err != nil {
		return nil, err
	}
	next, err := k.unsignedTargets(present)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if next.Signed.Targets[targetPath(ref)] == nil {
			return nil, fmt.Errorf("release %s: %w", ref, ErrUnknownRelease)
		}
		delete(next.Signed.Targets, targetPath(ref))
	}
	return k.propose(nil, next)
}

// Renew signs root or targets again, unchanged, with a new date of expiry.
func (k *Keys) Renew(root, targets bool) (*Change, error) {
	r, t, err := k.current()
	if err != nil {
		return nil, err
	}
	var nr *rootDoc
	var nt *targetsDoc
	if root {
		if nr, err = k.unsignedRoot(r); err != nil {
			return nil, err
		}
	}
	if targets {
		if nt, err = k.unsignedTargets(t); err != nil {
			return nil, err
		}
	}
	return k.propose(nr, nt)
}

// Rotation says which keys change. After a theft of a targets key rotate the hub's keys as well: only
// so do nodes forget versions that the thief may have made up.
type Rotation struct {
	// NewRoot and NewTargets replace the keys of this folder by new ones. The old files stay in the folder:
	// the old root keys sign the new root. They are worth nothing once the hub took it, and may be deleted.
	NewRoot, NewTargets bool
	// Add are public keys, Remove public keys or their ids.
	AddRoot, RemoveRoot, AddTargets, RemoveTargets []string
	// 0: as it is.
	RootThreshold, TargetsThreshold int
	// Online replaces the hub's keys; nil: they stay.
	Online *OnlineKeys
}

// Rotate makes the next root, signed by the keys of the one before and its own, and signs the list again where its
// keys changed.
func (k *Keys) Rotate(r Rotation) (*Change, error) {
	before, present, err := k.current()
	if err != nil {
		return nil, err
	}
	root, err := k.unsignedRoot(before)
	if err != nil {
		return nil, err
	}
	if err := k.rotateRole(root, metadata.ROOT, r.NewRoot, r.AddRoot, r.RemoveRoot, r.RootThreshold); err != nil {
		return nil, err
	}
	if err := k.rotateRole(root, metadata.TARGETS, r.NewTargets, r.AddTargets, r.RemoveTargets, r.TargetsThreshold); err != nil {
		return nil, err
	}
	if r.Online != nil {
		if err := setRole(root, metadata.SNAPSHOT, []string{r.Online.Snapshot}, 1); err != nil {
			return nil, err
		}
		if err := setRole(root, metadata.TIMESTAMP, []string{r.Online.Timestamp}, 1); err != nil {
			return nil, err
		}
	}
	var targets *targetsDoc
	was, now := before.Signed.Roles[metadata.TARGETS], root.Signed.Roles[metadata.TARGETS]
	if was.Threshold != now.Threshold || len(without(was.KeyIDs, now.KeyIDs))+len(without(now.KeyIDs, was.KeyIDs)) > 0 {
		if targets, err = k.unsignedTargets(present); err != nil {
			return nil, err
		}
	}
	return k.propose(root, targets)
}

func (k *Keys) rotateRole(root *rootDoc, role string, fresh bool, add, remove []string, threshold int) error {
	var keys []string
	drop := slices.Clone(remove)
	if fresh {
		for _, f := range k.files {
			if f.role == role {
				drop = append(drop, f.public)
			}
		}
	}
	for _, id := range root.Signed.Roles[role].KeyIDs {
		public := root.Signed.Keys[id].Value.PublicKey
		i := slices.IndexFunc(drop, func(s string) bool { return s == public || s == id })
		if i < 0 {
			keys = append(keys, public)
		}
	}
	for _, s := range remove {
		if !slices.ContainsFunc(root.Signed.Roles[role].KeyIDs, func(id string) bool {
			return s == id || s == root.Signed.Keys[id].Value.PublicKey
		}) {
			return fmt.Errorf("%w: %.16s is no key of the role %s", ErrKey, s, role)
		}
	}
	if fresh {
		f, err := k.generate(role)
		if err != nil {
			return err
		}
		keys = append(keys, f.public)
	}
	return setRole(root, role, append(keys, add...), threshold)
}
