// Package trust decides what a fleet may run, by signatures that no hub can make. Use Keys on a developer's
// machine to sign releases, Online on a hub to keep the signed list fresh, and Client on a node to learn
// which releases are signed; never believe a hub, an edge or a store of files instead of asking Client.
//
// It is TUF (The Update Framework, specification 1.0.31) with the signing and verification of go-tuf. Root
// and targets keys stay with the developer, or with several developers of whom a threshold must sign;
// snapshot and timestamp keys are the hub's. A release name@version is the target name/version.wasm.
//
//	developer: Keys.Init, AddTarget, Retire, Rotate, Renew → Change → (Sign by others) → upload
//	hub:       Online.Accept(current, upload) → new files; Online.Resign every hour
//	node:      Client.Refresh; Client.Target(ref) → digest and size of what may be fetched and run
//
// Compatibility: v0, names may change until 1.0; metadata is TUF's and stays readable.
package trust

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What errors of this package unwrap to. Their text says which file, which version and what to do.
var (
	// ErrRollback: metadata that is older than what was seen before.
	ErrRollback = errors.New("older than what is already trusted")
	// ErrExpired: metadata whose time is over; or no fresh metadata for longer than its life.
	ErrExpired = errors.New("expired")
	// ErrUnsigned: too few good signatures by the keys that the role has.
	ErrUnsigned = errors.New("not signed by the keys that may")
	// ErrTampered: bytes that are not what was signed: wrong hash or length, too large, or no metadata at all.
	ErrTampered = errors.New("not what was signed")
	// ErrUnknownRelease: the signed list does not have the release: it was never signed, or is retired.
	ErrUnknownRelease = errors.New("not in the signed list of releases")
	// ErrNoMetadata: nothing was verified yet, so nothing is known.
	ErrNoMetadata = errors.New("no verified metadata")
	// ErrNotFound: a file that the other side does not have. A Fetcher returns it, or fs.ErrNotExist.
	ErrNotFound = errors.New("no such metadata file")
	// ErrConflict: another change was first, or versions are not one after the other; fetch and sign again.
	ErrConflict = errors.New("does not follow what is current")
	// ErrTaken: a version that is signed with another digest; what a version is never changes.
	ErrTaken = errors.New("is signed already")
	// ErrStore: what was verified could not be kept on disk; it counts until the process ends.
	ErrStore = errors.New("cannot keep the metadata")
	// ErrKey: a private key that is missing, unreadable or locked.
	ErrKey = errors.New("key")
)

// How long metadata lives by default.
const (
	// RootLife: two years, because a root is renewed by people with keys from a safe.
	RootLife = 2 * 365 * 24 * time.Hour
	// TargetsLife: one year without any publishing; each publishing begins it anew.
	TargetsLife = 365 * 24 * time.Hour
	// TimestampLife: 30 days, longer than the longest planned outage of the hub: a node that hears nothing
	// for so long installs nothing new, and goes on running what it has. Whoever takes over a network can
	// hold back news for so long at most. The hub signs anew every hour (ResignEvery).
	TimestampLife = 30 * 24 * time.Hour
	// ResignEvery is how often a hub is to call Online.Resign.
	ResignEvery = time.Hour
)

// How large metadata may be, in bytes. Each file fits one NATS message of the default 1 MiB.
const (
	MaxRoot      = 64 << 10
	MaxTimestamp = 8 << 10
	MaxSnapshot  = 8 << 10
	// MaxTargets holds about 3,000 releases of 300 bytes.
	MaxTargets = 900 << 10

	maxRoots = 1024 // versions of a root, in all: 85 years of a rotation every month
	maxChain = 4 << 20
)

// maxRootStep is how many roots one refresh follows, as go-tuf has it; the next refresh goes on. Tests lower it.
var maxRootStep int64 = 256

// MaxFile is how large the file may be; 0 where the name is none of a metadata file.
func MaxFile(name string) int64 {
	role, _, err := parseName(name)
	if err != nil {
		return 0
	}
	return maxSize[role]
}

var maxSize = map[string]int64{
	metadata.ROOT: MaxRoot, metadata.TIMESTAMP: MaxTimestamp, metadata.SNAPSHOT: MaxSnapshot, metadata.TARGETS: MaxTargets,
}

// Target is a release in the signed list.
type Target struct {
	Ref    fleet.Ref `json:"ref"`
	Digest string    `json:"digest"` // SHA-256, lower-case hexadecimal
	Size   int64     `json:"size"`   // bytes
	// Since is the version of the list that had it first: of two releases of a name, the newer has the greater.
	Since int64 `json:"since"`
}

// TimestampFile is the only file without a version in its name; the others are 3.root.json,
// 17.snapshot.json, 5.targets.json.
const TimestampFile = "timestamp.json"

func fileName(role string, version int64) string {
	if role == metadata.TIMESTAMP {
		return TimestampFile
	}
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}

// parseName reads what fileName writes, and nothing else: a name may come from somebody else's upload.
func parseName(name string) (role string, version int64, err error) {
	if name == TimestampFile {
		return metadata.TIMESTAMP, 0, nil
	}
	v, rest, _ := strings.Cut(name, ".")
	role, isJSON := strings.CutSuffix(rest, ".json")
	version, err = strconv.ParseInt(v, 10, 64)
	if err != nil || version < 1 || !isJSON || role == metadata.TIMESTAMP || maxSize[role] == 0 || fileName(role, version) != name {
		return "", 0, fmt.Errorf("%w: %.80q is no name of a metadata file", ErrTampered, name)
	}
	return role, version, nil
}

// Files are metadata files by name, such as "timestamp.json" and "3.root.json".
type Files map[string][]byte

// newest is the highest version of role among the files, 0 where there is none.
func (f Files) newest(role string) int64 {
	var most int64
	for name := range f {
		if r, v, err := parseName(name); err == nil && r == role {
			most = max(most, v)
		}
	}
	return most
}

// Order is the names in the order in which they are to be written one by one: whoever reads while they are written
// finds what the timestamp names. Pack avoids the question.
func (f Files) Order() []string {
	rank := map[string]int{metadata.TARGETS: 0, metadata.SNAPSHOT: 1, metadata.ROOT: 2, metadata.TIMESTAMP: 3}
	return slices.SortedFunc(maps.Keys(f), func(a, b string) int {
		ra, va, _ := parseName(a)
		rb, vb, _ := parseName(b)
		if d := rank[ra] - rank[rb]; d != 0 {
			return d
		}
		return int(min(1, max(-1, va-vb)))
	})
}

// maxPacked is what Pack makes at most: it fits a NATS message of 1 MiB with its headers.
const maxPacked = 1000 << 10

// Pack puts all files into one value, compressed, so that a store replaces them at once by one
// compare-and-set. A set with 3,000 releases has about 350 kB.
func (f Files) Pack() ([]byte, error) {
	doc, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(doc); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() > maxPacked {
		return nil, fmt.Errorf("metadata: %d bytes packed, %d are allowed: retire releases", b.Len(), maxPacked)
	}
	return b.Bytes(), nil
}

// Unpack reads what Pack writes. Its memory is bounded whatever the bytes are.
func Unpack(b []byte) (Files, error) {
	const most = 12 << 20 // of JSON: base64 of the root chain, and of two versions of the others
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: packed metadata: %w", ErrTampered, err)
	}
	doc, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("%w: packed metadata: %w", ErrTampered, err)
	}
	if len(doc) > most {
		return nil, fmt.Errorf("%w: packed metadata has more than %d bytes", ErrTampered, most)
	}
	return decodeFiles(doc)
}

// decodeFiles reads a JSON object of files, and refuses names and sizes that metadata does not have.
func decodeFiles(doc []byte) (Files, error) {
	var f Files
	if err := json.Unmarshal(doc, &f); err != nil {
		return nil, fmt.Errorf("%w: metadata files: %w", ErrTampered, err)
	}
	return f, f.check()
}

func (f Files) check() error {
	for name, b := range f {
		if _, _, err := parseName(name); err != nil {
			return err
		}
		if int64(len(b)) > MaxFile(name) {
			return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrTampered, name, len(b), MaxFile(name))
		}
	}
	return nil
}

// failure wraps an error of go-tuf in the sentinel that it stands for, with what was looked at.
func failure(what string, err error) error {
	kind := ErrTampered
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRollback) || errors.Is(err, ErrTampered) || errors.Is(err, ErrExpired) || errors.Is(err, ErrUnsigned):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		kind = ErrExpired
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		kind = ErrUnsigned
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		kind = ErrRollback
	}
	return fmt.Errorf("%s: %w: %w", what, kind, err)
}
