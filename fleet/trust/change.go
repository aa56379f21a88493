package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/isomer-iot/isomer/fleet"
)

// Change is new metadata on its way to the hub: a root, or targets, or both. Where more than one person has to sign, its
// Encode goes round as a file and each calls Explain and Sign, until Missing is empty.
type Change struct {
	Files Files
}

// Empty reports whether there is nothing to do.
func (c *Change) Empty() bool { return len(c.Files) == 0 }

type changeDoc struct {
	Kind  string `json:"isomer-change"` // version of this form
	Files Files  `json:"files"`
}

// Encode is the change as a file. It holds no secret.
func (c *Change) Encode() ([]byte, error) {
	return json.MarshalIndent(changeDoc{"1", c.Files}, "", " ")
}

// DecodeChange reads what Encode writes. Nothing is verified yet.
func DecodeChange(b []byte) (*Change, error) {
	if len(b) > 2*(MaxRoot+MaxTargets) {
		return nil, tampered("a change of %d bytes is too large", len(b))
	}
	var doc changeDoc
	if err := json.Unmarshal(b, &doc); err != nil || doc.Kind != "1" {
		return nil, tampered("this is no file of a change")
	}
	c := &Change{doc.Files}
	if _, _, err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// read returns the root and the targets of the change, each nil where it has none.
func (c *Change) read() (root *rootDoc, targets *targetsDoc, err error) {
	if err := c.Files.check(); err != nil {
		return nil, nil, err
	}
	for name, b := range c.Files {
		role, n, _ := parseName(name)
		var have int64
		switch {
		case role == metadata.ROOT && root == nil:
			if root, err = readRoot(b); err == nil {
				have = root.Signed.Version
			}
		case role == metadata.TARGETS && targets == nil:
			if targets, err = readTargets(b); err == nil {
				have = targets.Signed.Version
			}
		default:
			err = tampered("a change has one root and one targets at most")
		}
		if err != nil {
			return nil, nil, failure(name, err)
		}
		if have != n {
			return nil, nil, tampered("%s holds version %d", name, have)
		}
	}
	return root, targets, nil
}

// Merge adds the signatures of other, a copy of the same change that somebody else signed.
func (c *Change) Merge(other *Change) error {
	root, targets, err := c.read()
	if err != nil {
		return err
	}
	root2, targets2, err := other.read()
	if err != nil {
		return err
	}
	if (root == nil) != (root2 == nil) || (targets == nil) != (targets2 == nil) {
		return fmt.Errorf("%w: these are two different changes", ErrConflict)
	}
	merged := Files{}
	if root != nil {
		if err := merge(merged, metadata.ROOT, root.Signed.Version, root, root2); err != nil {
			return err
		}
	}
	if targets != nil {
		if err := merge(merged, metadata.TARGETS, targets.Signed.Version, targets, targets2); err != nil {
			return err
		}
	}
	c.Files = merged
	return nil
}

// sameContent compares what two documents say, their signatures aside.
func sameContent[T metadata.Roles](a, b *metadata.Metadata[T]) (bool, error) {
	sa, err := json.Marshal(a.Signed)
	if err != nil {
		return false, err
	}
	sb, err := json.Marshal(b.Signed)
	return bytes.Equal(sa, sb), err
}

func merge[T metadata.Roles](into Files, role string, version int64, a, b *metadata.Metadata[T]) error {
	name := fileName(role, version)
	equal, err := sameContent(a, b)
	if err != nil {
		return err
	}
	if !equal {
		return fmt.Errorf("%s: %w: these are two different changes", name, ErrConflict)
	}
	for _, s := range b.Signatures {
		if !slices.ContainsFunc(a.Signatures, func(h metadata.Signature) bool { return h.KeyID == s.KeyID }) {
			a.Signatures = append(a.Signatures, s)
		}
	}
	into[name], err = encode(a)
	return err
}

// parties are who has to sign a change: the root before it and the root after it, which may be the same.
type parties struct {
	before, after *rootDoc // before is nil for the first root
	root          *rootDoc // of the change, or nil
	targets       *targetsDoc
	present       *targetsDoc // before the change, or nil
}

// parties reads a change against the copy of this folder, and refuses one that does not follow it.
func (k *Keys) parties(c *Change) (parties, error) {
	var p parties
	var err error
	if len(k.meta) > 0 {
		if p.before, p.present, err = k.meta.signed(); err != nil {
			return p, err
		}
	}
	if p.root, p.targets, err = c.read(); err != nil {
		return p, err
	}
	p.after = p.before
	if p.root != nil {
		p.after = p.root
		var have int64
		if p.before != nil {
			have = p.before.Signed.Version
		}
		if err := follows(metadata.ROOT, p.root.Signed.Version, have); err != nil {
			return p, err
		}
	}
	if p.after == nil {
		return p, fmt.Errorf("%w: this folder has no root and neither has the change: adopt the hub's first", ErrNoMetadata)
	}
	if p.targets != nil {
		var have int64
		if p.present != nil {
			have = p.present.Signed.Version
		}
		return p, follows(metadata.TARGETS, p.targets.Signed.Version, have)
	}
	return p, nil
}

func follows(role string, n, have int64) error {
	switch {
	case n == have+1:
		return nil
	case n <= have:
		return fmt.Errorf("%s: %w: this folder has version %d", fileName(role, n), ErrRollback, have)
	}
	return fmt.Errorf("%s: %w: this folder has version %d: adopt the hub's first", fileName(role, n), ErrConflict, have)
}

// Missing says which signatures a change still needs; none means that it can be uploaded.
func (k *Keys) Missing(c *Change) ([]string, error) {
	p, err := k.parties(c)
	if err != nil {
		return nil, err
	}
	var out []string
	need := func(root *rootDoc, role, what string, doc any) {
		have, want := len(signers(root, role, doc)), root.Signed.Roles[role].Threshold
		if have < want {
			out = append(out, fmt.Sprintf("%s: %d of %d signatures of the %s keys", what, have, want, role))
		}
	}
	if p.root != nil {
		name := fileName(metadata.ROOT, p.root.Signed.Version)
		if p.before != nil {
			need(p.before, metadata.ROOT, name+", by the root before it", p.root)
		}
		need(p.root, metadata.ROOT, name, p.root)
	}
	if p.targets != nil {
		need(p.after, metadata.TARGETS, fileName(metadata.TARGETS, p.targets.Signed.Version), p.targets)
	}
	return out, nil
}

// Sign adds the signatures that the keys of this folder may give and that are not there yet, and returns how
// many. Show Explain first: whoever signs answers for it.
func (k *Keys) Sign(c *Change) (int, error) {
	p, err := k.parties(c)
	if err != nil {
		return 0, err
	}
	files := maps.Clone(c.Files)
	total := 0
	if p.root != nil {
		n, err := sign(k, files, metadata.ROOT, p.root.Signed.Version, p.root, p.before, p.after)
		if err != nil {
			return 0, err
		}
		total += n
	}
	if p.targets != nil {
		n, err := sign(k, files, metadata.TARGETS, p.targets.Signed.Version, p.targets, p.after)
		if err != nil {
			return 0, err
		}
		total += n
	}
	c.Files = files
	return total, nil
}

// sign signs doc with each key of the folder that one of roots names for role.
func sign[T metadata.Roles](k *Keys, files Files, role string, version int64, doc *metadata.Metadata[T], roots ...*rootDoc) (int, error) {
	n := 0
	for _, f := range k.files {
		may, has := false, false
		for _, root := range roots {
			if root != nil && slices.Contains(root.Signed.Roles[role].KeyIDs, f.id) {
				may = true
				has = has || slices.Contains(signers(root, role, doc), f.id)
			}
		}
		if !may || has {
			continue
		}
		s, err := k.unlock(f)
		if err != nil {
			return 0, err
		}
		doc.Signatures = slices.DeleteFunc(doc.Signatures, func(s metadata.Signature) bool { return s.KeyID == f.id })
		if _, err := doc.Sign(s.signer); err != nil {
			return 0, fmt.Errorf("%w: %s: %w", ErrKey, f.path, err)
		}
		n++
	}
	name := fileName(role, version)
	b, err := encode(doc)
	if err == nil && int64(len(b)) > maxSize[role] {
		err = fmt.Errorf("%s: %d bytes, at most %d are allowed: retire releases or keep fewer", name, len(b), maxSize[role])
	}
	files[name] = b
	return n, err
}

// Commit makes a change that the hub took the copy of this folder.
func (k *Keys) Commit(c *Change) error {
	if c.Empty() {
		return nil
	}
	missing, err := k.Missing(c)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrUnsigned, strings.Join(missing, "; "))
	}
	next := Files{}
	for name, b := range k.meta {
		if role, _, _ := parseName(name); role == metadata.ROOT || c.Files.newest(metadata.TARGETS) == 0 {
			next[name] = b
		}
	}
	maps.Copy(next, c.Files)
	if _, _, err := next.signed(); err != nil {
		return err
	}
	return k.writeMetadata(next)
}

// Adopt takes over what the hub has, which others may have signed: roots that follow the copy's, and targets that
// are not older. Where the folder has no root yet it believes the hub's: compare the Fingerprint with the others.
func (k *Keys) Adopt(hub Files) error {
	if err := hub.check(); err != nil {
		return err
	}
	next, err := k.adoptRoots(hub)
	if err != nil {
		return err
	}
	b, err := hub.currentTargets()
	if err != nil {
		return err
	}
	m, err := readTargets(b)
	if err != nil {
		return failure("targets", err)
	}
	n := m.Signed.Version
	next[fileName(metadata.TARGETS, n)] = b
	if _, _, err := next.signed(); err != nil {
		return err
	}
	if have := k.meta.newest(metadata.TARGETS); n < have {
		return fmt.Errorf("targets: %w: the hub is at %d and this folder at %d", ErrRollback, n, have)
	} else if n == have {
		own, err := readTargets(k.meta[fileName(metadata.TARGETS, n)])
		if err != nil {
			return failure("targets", err)
		}
		if equal, err := sameContent(own, m); err != nil || !equal { // signatures may differ in number and order
			return errors.Join(err, fmt.Errorf("targets %d: %w: the hub has another one than this folder", n, ErrConflict))
		}
	}
	return k.writeMetadata(next)
}

// adoptRoots joins the roots of the hub and of the copy, which must agree.
func (k *Keys) adoptRoots(hub Files) (Files, error) {
	next := Files{}
	for name, b := range hub {
		if role, _, _ := parseName(name); role == metadata.ROOT {
			next[name] = b
		}
	}
	for name, b := range k.meta {
		if role, _, _ := parseName(name); role != metadata.ROOT {
			continue
		}
		if next[name] != nil && !bytes.Equal(next[name], b) {
			return nil, fmt.Errorf("%s: %w: the hub has another one than this folder", name, ErrConflict)
		}
		next[name] = b
	}
	if theirs, own := hub.newest(metadata.ROOT), k.meta.newest(metadata.ROOT); theirs < own {
		return nil, fmt.Errorf("root: %w: the hub is at %d and this folder at %d", ErrRollback, theirs, own)
	}
	return next, nil
}

// currentTargets are those that the timestamp leads to, or the newest where there is no timestamp.
func (f Files) currentTargets() ([]byte, error) {
	if f[TimestampFile] != nil {
		_, _, targets, err := f.named()
		return targets, err
	}
	if b := f[fileName(metadata.TARGETS, f.newest(metadata.TARGETS))]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%w: no targets among the files", ErrNoMetadata)
}

// Explain says in lines for people what a change does to what is current.
func (k *Keys) Explain(c *Change) ([]string, error) {
	p, err := k.parties(c)
	if err != nil {
		return nil, err
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.root != nil {
		say("root %d, valid until %s", p.root.Signed.Version, day(p.root.Signed.Expires))
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			now := p.root.Signed.Roles[role]
			if p.before == nil {
				say("  %s: %d of these keys: %s", role, now.Threshold, short(now.KeyIDs))
				continue
			}
			was := p.before.Signed.Roles[role]
			if was.Threshold != now.Threshold {
				say("  %s: %d signatures instead of %d", role, now.Threshold, was.Threshold)
			}
			if d := without(now.KeyIDs, was.KeyIDs); len(d) > 0 {
				say("  %s: adds %s", role, short(d))
			}
			if d := without(was.KeyIDs, now.KeyIDs); len(d) > 0 {
				say("  %s: removes %s", role, short(d))
			}
		}
	}
	if p.targets != nil {
		say("targets %d, valid until %s", p.targets.Signed.Version, day(p.targets.Signed.Expires))
		was, now := listed(p.present), listed(p.targets)
		for _, t := range now {
			if i := slices.IndexFunc(was, func(o Target) bool { return o.Ref == t.Ref }); i < 0 {
				say("  adds %s, %d bytes, SHA-256 %s", t.Ref, t.Size, t.Digest)
			} else if was[i].Digest != t.Digest {
				say("  CHANGES %s to %d bytes, SHA-256 %s", t.Ref, t.Size, t.Digest)
			}
		}
		for _, ref := range dropped(was, now) {
			say("  drops %s", ref)
		}
	}
	return out, nil
}

// Drops are the releases that the change takes out of the list.
func (k *Keys) Drops(c *Change) ([]fleet.Ref, error) {
	p, err := k.parties(c)
	if err != nil || p.targets == nil {
		return nil, err
	}
	return dropped(listed(p.present), listed(p.targets)), nil
}

func dropped(was, now []Target) (out []fleet.Ref) {
	for _, t := range was {
		if !slices.ContainsFunc(now, func(n Target) bool { return n.Ref == t.Ref }) {
			out = append(out, t.Ref)
		}
	}
	return out
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func short(ids []string) string {
	var s []string
	for _, id := range ids {
		s = append(s, id[:min(8, len(id))])
	}
	return strings.Join(s, ", ")
}

// unsignedRoot is a copy of the newest root with the next version and a new date.
func (k *Keys) unsignedRoot(from *rootDoc) (*rootDoc, error) {
	b, err := encode(from)
	if err != nil {
		return nil, err
	}
	m, err := metadata.Root().FromBytes(b)
	if err != nil {
		return nil, err
	}
	m.Signed.Version++
	m.Signed.Expires = k.now().Add(orDefault(k.o.RootLife, RootLife))
	stamp(&m.Signed.UnrecognizedFields, k.now())
	m.Signatures = []metadata.Signature{}
	return m, nil
}

func (k *Keys) unsignedTargets(from *targetsDoc) (*targetsDoc, error) {
	b, err := encode(from)
	if err != nil {
		return nil, err
	}
	m, err := metadata.Targets().FromBytes(b)
	if err != nil {
		return nil, err
	}
	m.Signed.Version++
	m.Signed.Expires = k.now().Add(orDefault(k.o.TargetsLife, TargetsLife))
	stamp(&m.Signed.UnrecognizedFields, k.now())
	m.Signatures = []metadata.Signature{}
	return m, nil
}

func stamp(fields *map[string]any, now time.Time) {
	if *fields == nil {
		*fields = map[string]any{}
	}
	(*fields)[signedAt] = now.Format(time.RFC3339)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// propose makes a change of the documents, each nil where it is not part of it, and signs it with this folder's keys.
func (k *Keys) propose(root *rootDoc, targets *targetsDoc) (*Change, error) {
	c := &Change{Files{}}
	var err error
	if root != nil {
		if c.Files[fileName(metadata.ROOT, root.Signed.Version)], err = encode(root); err != nil {
			return nil, err
		}
	}
	if targets != nil {
		if c.Files[fileName(metadata.TARGETS, targets.Signed.Version)], err = encode(targets); err != nil {
			return nil, err
		}
	}
	n, err := k.Sign(c)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: none of the keys in this folder may sign it", ErrKey)
	}
	return c, err
}
