package oci

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// Prefixes of references.
const (
	registryPrefix = "oci://"
	layoutPrefix   = "oci-layout:"
)

// Ref names an artifact: in a registry, or in an OCI layout, which is a folder.
type Ref struct {
	Registry   string // host and port; "" for a layout
	Repository string
	Layout     string // the folder; "" for a registry
	Tag        string // one of Tag and Digest
	Digest     string // "sha256:…"
}

// IsRef reports whether s is meant as a reference, and not as a file's name.
func IsRef(s string) bool {
	return strings.HasPrefix(s, registryPrefix) || strings.HasPrefix(s, layoutPrefix)
}

var (
	tagForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseRef reads "oci://registry/repository:tag" and "oci-layout:folder:tag"; "@sha256:…" in place of the tag is that
// artifact and no other.
func ParseRef(s string) (Ref, error) {
	if rest, ok := strings.CutPrefix(s, layoutPrefix); ok {
		return parseLayout(s, rest)
	}
	rest, ok := strings.CutPrefix(s, registryPrefix)
	if !ok {
		return Ref{}, fmt.Errorf("%w: %q: it begins with %s or %s", ErrRef, s, registryPrefix, layoutPrefix)
	}
	have, err := registry.ParseReference(rest)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %q: %w", ErrRef, s, err)
	}
	r := Ref{Registry: have.Registry, Repository: have.Repository}
	if err := r.setReference(s, have.Reference); err != nil {
		return Ref{}, err
	}
	return r, nil
}

func parseLayout(s, rest string) (Ref, error) {
	var r Ref
	var reference string
	if at := strings.LastIndex(rest, "@"); at >= 0 && digestForm.MatchString(rest[at+1:]) {
		r.Layout, reference = rest[:at], rest[at+1:]
	} else if colon := strings.LastIndexByte(rest, ':'); colon >= 0 {
		r.Layout, reference = rest[:colon], rest[colon+1:]
	} else {
		r.Layout = rest
	}
	if r.Layout == "" {
		return Ref{}, fmt.Errorf("%w: %q: the folder is missing", ErrRef, s)
	}
	if strings.ContainsAny(reference, `/\`) { // C:\layout, or a colon within a folder's name
		reference = ""
	}
	if err := r.setReference(s, reference); err != nil {
		return Ref{}, err
	}
	return r, nil
}

// setReference refuses a missing tag: what "latest" is, changes behind the back of whoever left it out.
func (r *Ref) setReference(s, reference string) error {
	switch {
	case reference == "":
		return fmt.Errorf("%w: %q: the tag is missing, such as %s:1.0.0", ErrRef, s, s)
	case digestForm.MatchString(reference):
		r.Digest = reference
	case strings.Contains(reference, ":"):
		return fmt.Errorf("%w: %q: digests are sha256: and 64 hexadecimal digits", ErrRef, s)
	case tagForm.MatchString(reference):
		r.Tag = reference
	default:
		return fmt.Errorf("%w: %q: %q is no tag", ErrRef, s, reference)
	}
	return nil
}

func (r Ref) reference() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Tag
}

// String is the form that ParseRef reads.
func (r Ref) String() string {
	sep := ":"
	if r.Digest != "" {
		sep = "@"
	}
	if r.Layout != "" {
		return layoutPrefix + r.Layout + sep + r.reference()
	}
	return registryPrefix + r.Registry + "/" + r.Repository + sep + r.reference()
}

// local reports whether the registry is on this machine, by its name: one that only resolves there today may lead
// elsewhere tomorrow.
func (r Ref) local() bool {
	host := r.Registry
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// exists reports whether a layout is there: opening one for writing would make it.
func (r Ref) exists() error {
	info, err := os.Stat(r.Layout)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is a file; an OCI layout is a folder", ErrRef, r.Layout)
	}
	return nil
}
