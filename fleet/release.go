package fleet

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// Ref names a release: "digits@1.4.0".
type Ref struct {
	Name    string // of the module in the fleet, as CheckName wants it
	Version string // 1 to 63 bytes of letters, digits, '.', '-', '_' and '+', beginning with a letter or digit
}

// ParseRef reads "name@version".
func ParseRef(s string) (Ref, error) {
	name, version, ok := strings.Cut(s, "@")
	if !ok {
		return Ref{}, invalid("release %q: want name@version, such as digits@1.4.0", s)
	}
	r := Ref{Name: name, Version: version}
	return r, r.Check()
}

// Check says what is wrong with the reference.
func (r Ref) Check() error {
	if err := CheckName("module", r.Name); err != nil {
		return err
	}
	if r.Version == "" || len(r.Version) > maxName {
		return invalid("release %s: a version has 1 to %d bytes", r, maxName)
	}
	for i, c := range []byte(r.Version) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || i > 0 && strings.IndexByte(".-_+", c) >= 0 {
			continue
		}
		return invalid("release %s: a version has letters, digits, '.', '-', '_' and '+', beginning with a letter or digit", r)
	}
	return nil
}

// String is "name@version", and nothing for no release.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Name + "@" + r.Version
}

// IsZero is true of no release.
func (r Ref) IsZero() bool { return r == Ref{} }

// MarshalText writes "name@version", and nothing for no release.
func (r Ref) MarshalText() ([]byte, error) {
	if r.IsZero() {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (r *Ref) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Ref{}
		return nil
	}
	got, err := ParseRef(string(b))
	*r = got
	return err
}

// CheckDigest says whether s is a SHA-256 in lower-case hexadecimal.
func CheckDigest(s string) error {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || strings.ToLower(s) != s {
		return invalid("digest %.70q is no SHA-256 in lower-case hexadecimal", s)
	}
	return nil
}

// Release is a module that was signed and published.
type Release struct {
	Ref    Ref    `json:"ref"`
	Digest string `json:"digest"` // SHA-256 of the module, lower-case hexadecimal
	Size   int64  `json:"size"`   // bytes
	// Manifest is the module's own without its golden cases; nil: it has none.
	Manifest *abi.Manifest `json:"manifest,omitempty"`
	Cases    int           `json:"cases"`     // golden cases in the module
	SignedBy []string      `json:"signedBy"`  // ids of the keys that signed the metadata which lists it
	By       string        `json:"by"`        // who uploaded it, by the name of the token
	At       time.Time     `json:"published"` // by the hub's clock
}
