package trust

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Documents are read here before go-tuf sees them, for two reasons. It follows pointers that JSON's null sets (a
// target, a key or a role that is null, a timestamp without snapshot.json: nil pointer, TestHostileDocumentsThatPanic),
// and crypto/ed25519 panics on a public key of another length. And what we never write (delegations, other
// kinds of keys, unhashed files) is refused, so that its handling is nobody's way in.

type (
	rootDoc      = metadata.Metadata[metadata.RootType]
	timestampDoc = metadata.Metadata[metadata.TimestampType]
	snapshotDoc  = metadata.Metadata[metadata.SnapshotType]
	targetsDoc   = metadata.Metadata[metadata.TargetsType]
)

const (
	maxDepth = 12   // of JSON; ours has 6
	maxKeys  = 64   // of a root, and signatures of a document
	maxVer   = 1e15 // of any document; JSON's numbers are exact up to 2^53

	// signedAt is a field of root and targets that TUF leaves to us: when the developer signed. It lifts a
	// node's minimum time, for clocks that begin in 1970.
	signedAt = "x-isomer-signed"
)

var errNull = errors.New("null stands where a value should")

// walk reads the JSON of b once: no null, no key twice in an object, bounded depth, nothing after the end.
func walk(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := walkValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes follow the document")
	}
	return nil
}

func walkValue(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("JSON nests deeper than %d", maxDepth)
	}
	tok, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		if tok == nil {
			return errNull
		}
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("field %.40q is there twice", name)
			}
			seen[name] = true
		}
		if err := walkValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// prepare is what reading any document begins with.
func prepare(role string, b []byte) error {
	if int64(len(b)) > maxSize[role] {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTampered, len(b), maxSize[role])
	}
	if err := walk(b); err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return nil
}

func tampered(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTampered, fmt.Sprintf(format, args...))
}

func checkHead(want, got string, version int64, expires time.Time, signatures []metadata.Signature) error {
	switch {
	case got != want:
		return tampered("it is of type %.20q, want %s", got, want)
	case version < 1 || version > maxVer:
		return tampered("version %d is out of range", version)
	case expires.IsZero() || expires.Year() > 9999:
		return tampered("it has no date of expiry")
	case len(signatures) > maxKeys:
		return tampered("%d signatures, at most %d are allowed", len(signatures), maxKeys)
	}
	return nil
}

// readRoot reads a root and checks its form; its signatures are checked by whoever trusts another.
func readRoot(b []byte) (*rootDoc, error) {
	if err := prepare(metadata.ROOT, b); err != nil {
		return nil, err
	}
	m, err := metadata.Root().FromBytes(b)
	if err != nil {
		return nil, tampered("%v", err)
	}
	s := &m.Signed
	if err := checkHead(metadata.ROOT, s.Type, s.Version, s.Expires, m.Signatures); err != nil {
		return nil, err
	}
	if s.Version > maxRoots {
		return nil, tampered("version %d: a root has at most %d versions", s.Version, maxRoots)
	}
	if !s.ConsistentSnapshot {
		return nil, tampered("it does not use consistent snapshots")
	}
	if len(s.Keys) > maxKeys {
		return nil, tampered("%d keys, at most %d are allowed", len(s.Keys), maxKeys)
	}
	for id, k := range s.Keys {
		if err := checkKey(id, k); err != nil {
			return nil, err
		}
	}
	if len(s.Roles) != len(metadata.TOP_LEVEL_ROLE_NAMES) {
		return nil, tampered("it has %d roles, want %d", len(s.Roles), len(metadata.TOP_LEVEL_ROLE_NAMES))
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := checkRole(name, s); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func checkKey(id string, k *metadata.Key) error {
	if k == nil || k.Type != metadata.KeyTypeEd25519 || k.Scheme != metadata.KeySchemeEd25519 {
		return tampered("key %.16s is no Ed25519 key", id)
	}
	if _, err := parsePublic(k.Value.PublicKey); err != nil {
		return tampered("key %.16s: %v", id, err)
	}
	if want, err := k.ID(); err != nil || want != id {
		return tampered("key %.16s goes under another key's name", id)
	}
	return nil
}

func checkRole(name string, s *metadata.RootType) error {
	r := s.Roles[name]
	if r == nil {
		return tampered("it has no role %s", name)
	}
	if r.Threshold < 1 || r.Threshold > len(r.KeyIDs) {
		return tampered("role %s wants %d signatures of %d keys", name, r.Threshold, len(r.KeyIDs))
	}
	for i, id := range r.KeyIDs {
		if s.Keys[id] == nil || slices.Contains(r.KeyIDs[:i], id) {
			return tampered("role %s names key %.16s, which is missing or twice", name, id)
		}
	}
	return nil
}

// parsePublic reads a public key as people exchange it: 64 hexadecimal digits.
func parsePublic(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil, fmt.Errorf("public key %.70q is not 32 bytes in hexadecimal", s)
	}
	return b, nil
}

// checkMeta wants exactly one file in a snapshot or timestamp, with version, length and SHA-256.
func checkMeta(meta map[string]*metadata.MetaFiles, file string, most int64) error {
	m := meta[file]
	if m == nil || len(meta) != 1 {
		return tampered("it should name %s alone", file)
	}
	if m.Version < 1 || m.Version > maxVer || m.Length < 1 || m.Length > most {
		return tampered("%s: version %d and length %d are out of range", file, m.Version, m.Length)
	}
	if len(m.Hashes) != 1 || len(m.Hashes["sha256"]) != 32 {
		return tampered("%s has no SHA-256", file)
	}
	return nil
}

func readTimestamp(b []byte) (*timestampDoc, error) {
	if err := prepare(metadata.TIMESTAMP, b); err != nil {
		return nil, err
	}
	m, err := metadata.Timestamp().FromBytes(b)
	if err != nil {
		return nil, tampered("%v", err)
	}
	s := &m.Signed
	if err := checkHead(metadata.TIMESTAMP, s.Type, s.Version, s.Expires, m.Signatures); err != nil {
		return nil, err
	}
	return m, checkMeta(s.Meta, "snapshot.json", MaxSnapshot)
}

func readSnapshot(b []byte) (*snapshotDoc, error) {
	if err := prepare(metadata.SNAPSHOT, b); err != nil {
		return nil, err
	}
	m, err := metadata.Snapshot().FromBytes(b)
	if err != nil {
		return nil, tampered("%v", err)
	}
	s := &m.Signed
	if err := checkHead(metadata.SNAPSHOT, s.Type, s.Version, s.Expires, m.Signatures); err != nil {
		return nil, err
	}
	return m, checkMeta(s.Meta, "targets.json", MaxTargets)
}

func readTargets(b []byte) (*targetsDoc, error) {
	if err := prepare(metadata.TARGETS, b); err != nil {
		return nil, err
	}
	m, err := metadata.Targets().FromBytes(b)
	if err != nil {
		return nil, tampered("%v", err)
	}
	return m, checkTargets(m)
}

// checkTargets wants the form that readTargets promises of a decoded list.
func checkTargets(m *targetsDoc) error {
	s := &m.Signed
	if err := checkHead(metadata.TARGETS, s.Type, s.Version, s.Expires, m.Signatures); err != nil {
		return err
	}
	if s.Delegations != nil {
		return tampered("it delegates, which we do not use")
	}
	for path, f := range s.Targets {
		if _, err := readTarget(path, f); err != nil {
			return err
		}
	}
	return nil
}

// custom is what a target says beside its hash and length.
type custom struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Since   int64  `json:"since,omitempty"`
}

func targetPath(r fleet.Ref) string { return r.Name + "/" + r.Version + ".wasm" }

// readTarget reads one entry of the list; the path alone names the release, and custom must agree.
func readTarget(path string, f *metadata.TargetFiles) (Target, error) {
	name, rest, _ := strings.Cut(path, "/")
	version, isWasm := strings.CutSuffix(rest, ".wasm")
	ref := fleet.Ref{Name: name, Version: version}
	if err := ref.Check(); err != nil || !isWasm {
		return Target{}, tampered("target %.150q is not of the form name/version.wasm", path)
	}
	if f == nil || len(f.Hashes) != 1 || len(f.Hashes["sha256"]) != 32 || f.Length < 1 || f.Length > fleet.MaxModule {
		return Target{}, tampered("target %s has no SHA-256, or a length beyond %d", path, int64(fleet.MaxModule))
	}
	var c custom
	if f.Custom != nil {
		if err := json.Unmarshal(*f.Custom, &c); err != nil || c.Name != name || c.Version != version || c.Since < 0 {
			return Target{}, tampered("target %s calls itself %.20q@%.20q", path, c.Name, c.Version)
		}
	}
	return Target{Ref: ref, Digest: hex.EncodeToString(f.Hashes["sha256"]), Size: f.Length, Since: c.Since}, nil
}

// listed are the releases of a list that readTargets took, by name, the newest of a name first.
func listed(m *targetsDoc) []Target {
	if m == nil {
		return nil
	}
	list := make([]Target, 0, len(m.Signed.Targets))
	for path, f := range m.Signed.Targets {
		if t, err := readTarget(path, f); err == nil {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b Target) int {
		if c := strings.Compare(a.Ref.Name, b.Ref.Name); c != 0 {
			return c
		}
		if a.Since != b.Since {
			return int(min(1, max(-1, b.Since-a.Since)))
		}
		return strings.Compare(b.Ref.Version, a.Ref.Version)
	})
	return list
}

// signedTime is when the developer signed, by his clock; zero where the document does not say.
func signedTime(fields map[string]any) time.Time {
	s, _ := fields[signedAt].(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// signers are the keys among those of role in root whose signature under doc, a *metadata.Metadata, is good.
// go-tuf answers only whether a threshold is met, so it is asked key by key.
func signers(root *rootDoc, role string, doc any) []string {
	r := root.Signed.Roles[role]
	if r == nil {
		return nil
	}
	var good []string
	for _, id := range r.KeyIDs {
		one := metadata.Root()
		one.Signed.Keys[id] = root.Signed.Keys[id]
		one.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
		if one.VerifyDelegate(role, doc) == nil {
			good = append(good, id)
		}
	}
	return good
}
