package abi

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PermissionKind is what a permission is about: the word before the colon.
type PermissionKind string

// The kinds. http, publish and read say what exactly behind a colon.
const (
	PermLog     PermissionKind = "log"
	PermClock   PermissionKind = "clock"
	PermRandom  PermissionKind = "random"
	PermKV      PermissionKind = "kv"
	PermHTTP    PermissionKind = "http"
	PermPublish PermissionKind = "publish"
	PermRead    PermissionKind = "read"
)

// kinds says for each kind whether something stands behind the colon, what, and what it allows.
var kinds = map[PermissionKind]struct{ arg, words string }{
	PermLog:     {"", "write to the host's log"},
	PermClock:   {"", "read the real time"},
	PermRandom:  {"", "get real randomness"},
	PermKV:      {"", "keep keys and values on the host"},
	PermHTTP:    {"HOST[:PORT]", "send HTTP requests to "},
	PermPublish: {"SUBJECT", "publish to "},
	PermRead:    {"/PATH", "read the files below "},
}

// Permission is one line of a manifest's permissions, in parts.
type Permission struct {
	Kind PermissionKind
	// Arg is the host, with a port where it is not the scheme's own, the subject with its wildcards, or
	// the folder as the guest sees it. Empty for the other kinds, and for what an import alone tells:
	// that a module sends requests, not where to.
	Arg string
}

func (p Permission) String() string {
	if p.Arg == "" {
		return string(p.Kind)
	}
	return string(p.Kind) + ":" + p.Arg
}

// Words says what the permission lets a module do, for people.
func (p Permission) Words() string {
	words := kinds[p.Kind].words
	if strings.HasSuffix(words, " ") {
		if p.Arg == "" {
			return words + "somewhere, which the module does not name"
		}
		words += p.Arg
	}
	return words
}

// ParsePermission reads a permission as a manifest has it, such as "log" or "http:api.example.com:8443".
// Hosts come back in lower case.
func ParsePermission(s string) (Permission, error) {
	kind, arg, colon := strings.Cut(s, ":")
	k, ok := kinds[PermissionKind(kind)]
	p := Permission{Kind: PermissionKind(kind), Arg: arg}
	switch {
	case !ok:
		return Permission{}, fmt.Errorf("permission %q is none of log, clock, random, kv, http:HOST, publish:SUBJECT, read:/PATH", s)
	case k.arg == "" && colon:
		return Permission{}, fmt.Errorf("permission %q: nothing can stand behind %s", s, kind)
	case k.arg != "" && arg == "":
		return Permission{}, fmt.Errorf("permission %q: want %s:%s", s, kind, k.arg)
	}
	var err error
	switch p.Kind {
	case PermHTTP:
		p.Arg, err = CanonicalHost(arg)
	case PermPublish:
		err = CheckSubjectPattern(arg)
	case PermRead:
		err = CheckGuestPath(arg)
	}
	if err != nil {
		return Permission{}, fmt.Errorf("permission %q: %w", s, err)
	}
	return p, nil
}

// Covers reports whether p, granted, includes what q asks for. Hosts and folders are covered by
// themselves alone, subjects also by wildcards.
func (p Permission) Covers(q Permission) bool {
	if p.Kind != q.Kind {
		return false
	}
	if p.Kind == PermPublish && q.Arg != "" {
		return matchSubject(p.Arg, q.Arg)
	}
	return p.Arg == q.Arg
}

// maxHostLen is the longest name that DNS has.
const maxHostLen = 253

// CanonicalHost checks HOST or HOST:PORT and returns it in the form that is compared: letters in lower
// case, IP addresses in their shortest form, an IPv6 address in brackets. A name is itself alone: it
// covers neither what ends in it nor other ports, and no wildcard stands for several.
func CanonicalHost(s string) (string, error) {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("host %q: no closing bracket", s)
		}
		host, port = s[1:end], s[end+1:]
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", fmt.Errorf("host %q: no IPv6 address within the brackets", s)
		}
		host = "[" + addr.String() + "]"
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, port = s[:i], s[i:]
		}
		if err := checkHostName(host); err != nil {
			return "", fmt.Errorf("host %q: %w", s, err)
		}
		host = strings.ToLower(host)
	}
	if port == "" {
		return host, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16)
	if err != nil || n == 0 || port != ":"+strconv.FormatUint(n, 10) {
		return "", fmt.Errorf("host %q: %q is no port, want 1 to 65535 behind a colon, and an IPv6 address in brackets", s, port)
	}
	return host + port, nil
}

func checkHostName(host string) error {
	if host == "" || len(host) > maxHostLen {
		return fmt.Errorf("%d bytes, want 1 to %d", len(host), maxHostLen)
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return fmt.Errorf("empty between two dots, or a dot at its end")
		}
		for _, r := range label {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			case r == '*':
				return fmt.Errorf("no wildcards: name each host")
			case r > unicode.MaxASCII:
				return fmt.Errorf("%q: write names of other scripts as DNS has them (xn--…)", r)
			default:
				return fmt.Errorf("%q is in no host name; want a name or address without scheme and path", r)
			}
		}
	}
	return nil
}

// maxSubjectLen bounds a subject: brokers index by it.
const maxSubjectLen = 255

// CheckSubject reports what is wrong with a subject to publish to: tokens separated by dots, none empty,
// without white space, control characters and wildcards.
func CheckSubject(s string) error { return checkSubject(s, false) }

// CheckSubjectPattern is CheckSubject for what a permission names, where a token may be "*" for one token
// and the last one ">" for one or more.
func CheckSubjectPattern(s string) error { return checkSubject(s, true) }

func checkSubject(s string, pattern bool) error {
	if s == "" || len(s) > maxSubjectLen {
		return fmt.Errorf("subject of %d bytes, want 1 to %d", len(s), maxSubjectLen)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("subject %q is not valid UTF-8", s)
	}
	rest, more := s, true
	for more {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			return fmt.Errorf("subject %q has an empty token", s)
		case pattern && token == "*", pattern && token == ">" && !more:
			continue
		case pattern && token == ">":
			return fmt.Errorf("subject %q: > is the last token or none", s)
		case strings.ContainsAny(token, "*>"):
			if pattern {
				return fmt.Errorf("subject %q: %q, a wildcard is a token of its own", s, token)
			}
			return fmt.Errorf("subject %q has a wildcard", s)
		case strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
			return fmt.Errorf("subject %q has white space or a control character", s)
		}
	}
	return nil
}

// MatchSubject reports whether subject, which CheckSubject accepts, falls under pattern. A wildcard in
// the first place does not stand for what begins with "$": there brokers keep their own.
func MatchSubject(pattern, subject string) bool {
	return CheckSubject(subject) == nil && matchSubject(pattern, subject)
}

// matchSubject also compares patterns: whether everything under subject is under pattern.
func matchSubject(pattern, subject string) bool {
	if strings.HasPrefix(subject, "$") && !strings.HasPrefix(pattern, "$") {
		return false
	}
	for {
		p, moreP, hasP := strings.Cut(pattern, ".")
		s, moreS, hasS := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case s == ">":
			return false
		case p != "*" && p != s:
			return false
		case hasP != hasS:
			return false
		case !hasP:
			return true
		}
		pattern, subject = moreP, moreS
	}
}

// CheckGuestPath reports what is wrong with a folder as the guest names it: absolute, with slashes, without
// "." and "..".
func CheckGuestPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("path %q: want an absolute one, with slashes", p)
	case path.Clean(p) != p:
		return fmt.Errorf("path %q: want it short, as %q", p, path.Clean(p))
	case len(p) > 4096 || !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("path %q: want at most 4096 bytes of UTF-8 without control characters", p)
	}
	return nil
}
