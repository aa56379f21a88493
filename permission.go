package isomer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// Publisher takes what modules publish. Publish may be called from several goroutines; the subject is
// one that was granted, and payload is its own to keep. The text of an error reaches the guest.
type Publisher interface {
	Publish(ctx context.Context, subject string, payload []byte) error
}

// HTTPConfig says how requests of modules are sent. The zero value works.
type HTTPConfig struct {
	// Timeout bounds one fetch with its redirects. 0: 30 s. A fetch also ends when nine tenths are over
	// of what its call has left of a deadline, so that the guest can still answer.
	Timeout time.Duration
	// MaxBody bounds the bodies of request and response in bytes. 0: 4 MiB.
	MaxBody int64
	// TLS is for servers whose certificates the system does not know, or that ask for one. nil: the
	// system's. It is not to be changed afterwards.
	TLS *tls.Config
}

// grants are what the options allow. The zero value allows nothing.
type grants struct {
	list     []abi.Permission // every grant in the form that manifests have
	log      *slog.Logger
	kv       Store
	publish  []publishGrant
	dirs     []engine.Dir
	http     HTTPConfig
	fetcher  *fetcher // nil: no host is allowed
	rehearse bool     // everything that is declared is allowed, and nothing is real
}

type publishGrant struct {
	pattern string
	to      Publisher
}

// complete makes what the options together need.
func (g *grants) complete() {
	if g.rehearse || slices.ContainsFunc(g.list, func(p abi.Permission) bool { return p.Kind == abi.PermHTTP }) {
		g.fetcher = newFetcher(g.http)
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
}

// allow adds a grant; the same one twice is a mistake that would hide which counts.
func (g *grants) allow(p abi.Permission) error {
	if slices.Contains(g.list, p) {
		return fmt.Errorf("%w: %s is allowed twice", ErrOption, p)
	}
	g.list = append(g.list, p)
	return nil
}

// allowed parses and adds KIND:ARG.
func (g *grants) allowed(kind abi.PermissionKind, arg string) (abi.Permission, error) {
	p, err := abi.ParsePermission(string(kind) + ":" + arg)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrOption, err)
	}
	return p, g.allow(p)
}

// AllowLog writes what modules log to l, with the attributes module and version. A message has at most
// 64 KiB, and what is not UTF-8 in it is replaced. How many a second is up to l.
func AllowLog(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return fmt.Errorf("%w: AllowLog: logger is nil", ErrOption)
		}
		o.grants.log = l
		return o.grants.allow(abi.Permission{Kind: abi.PermLog})
	}
}

// AllowClock lets modules read the real time, through isomer:host/clock and through WASI, and sleep through
// WASI. Without it WASI's clock is the same in each instance, so that a module computes the same everywhere.
func AllowClock() Option {
	return func(o *options) error { return o.grants.allow(abi.Permission{Kind: abi.PermClock}) }
}

// AllowRandom gives modules real randomness, through isomer:host/random and through WASI. Without it WASI's is the
// same in each instance.
func AllowRandom() Option {
	return func(o *options) error { return o.grants.allow(abi.Permission{Kind: abi.PermRandom}) }
}

// AllowKV lets modules keep keys and values in s, each module under its name: a new version finds what the
// old one kept, and so does a module of another origin that has its name. Modules that must not read
// each other's values get stores of their own.
func AllowKV(s Store) Option {
	return func(o *options) error {
		if s == nil {
			return fmt.Errorf("%w: AllowKV: store is nil", ErrOption)
		}
		o.grants.kv = s
		return o.grants.allow(abi.Permission{Kind: abi.PermKV})
	}
}

// AllowHTTP lets modules send requests to these hosts: HOST for the ports of http and https, or HOST:PORT. A
// name stands for itself alone, without wildcards; redirects are followed to these hosts alone. Whom a name leads to
// is up to DNS. Proxies that the environment names are not used. May be given several times.
func AllowHTTP(hosts ...string) Option {
	return func(o *options) error {
		if len(hosts) == 0 {
			return fmt.Errorf("%w: AllowHTTP: no host", ErrOption)
		}
		for _, h := range hosts {
			if _, err := o.grants.allowed(abi.PermHTTP, h); err != nil {
				return err
			}
		}
		return nil
	}
}

// WithHTTP changes how the requests of AllowHTTP are sent.
func WithHTTP(c HTTPConfig) Option {
	return func(o *options) error {
		switch {
		case c.Timeout < 0:
			return fmt.Errorf("%w: HTTP timeout of %v, want 0 (%v) or more", ErrOption, c.Timeout, defaultHTTPTimeout)
		case c.MaxBody < 0:
			return fmt.Errorf("%w: HTTP bodies of %d bytes, want 0 (%d) or more", ErrOption, c.MaxBody, defaultMaxBody)
		}
		o.grants.http = c
		return nil
	}
}

// AllowPublish lets modules publish to these subjects through p. A subject has tokens with dots between them; "*"
// stands for one token, ">" at the end for one or more. May be given several times; the first whose subject matches is
// used.
func AllowPublish(p Publisher, subjects ...string) Option {
	return func(o *options) error {
		switch {
		case p == nil:
			return fmt.Errorf("%w: AllowPublish: publisher is nil", ErrOption)
		case len(subjects) == 0:
			return fmt.Errorf("%w: AllowPublish: no subject", ErrOption)
		}
		for _, s := range subjects {
			perm, err := o.grants.allowed(abi.PermPublish, s)
			if err != nil {
				return err
			}
			o.grants.publish = append(o.grants.publish, publishGrant{perm.Arg, p})
		}
		return nil
	}
}

// AllowRead lets WASI modules read the files below hostDir, which they see as guestPath, such as
// "/data". They cannot write, nor leave it by links. May be given several times.
func AllowRead(guestPath, hostDir string) Option {
	return func(o *options) error {
		perm, err := o.grants.allowed(abi.PermRead, guestPath)
		if err != nil {
			return err
		}
		abs, err := filepath.Abs(hostDir)
		if err != nil || hostDir == "" {
			return fmt.Errorf("%w: AllowRead(%q): directory %q: %w", ErrOption, guestPath, hostDir, errors.Join(err, os.ErrInvalid))
		}
		st, err := os.Stat(abs)
		if err == nil && !st.IsDir() {
			err = errors.New("not a directory")
		}
		if err != nil {
			return fmt.Errorf("%w: AllowRead(%q): %w", ErrOption, guestPath, err)
		}
		o.grants.dirs = append(o.grants.dirs, engine.Dir{Guest: perm.Arg, Host: abs})
		return nil
	}
}

// WithRehearsal runs a module as its golden cases are run, for tools that build modules: what its manifest
// lists, or what it imports without one, is allowed, and nothing of it is real. Keys and values are forgotten
// with the instance, what is published is dropped, requests are answered with an error, directories are not there;
// time and randomness are the same each time. Log lines go where AllowLog says.
func WithRehearsal() Option {
	return func(o *options) error { o.grants.rehearse = true; return nil }
}

// PermissionError lists everything that a module wants and does not get.
type PermissionError struct{ Missing []MissingPermission }

// MissingPermission is one thing that a module wants and does not get.
type MissingPermission struct {
	// Permission is what is missing; its Arg is empty where an import alone tells of it.
	Permission abi.Permission
	// Import is the first import that needs it; empty where the manifest alone asks for it.
	Import string
	// Undeclared: the module has a manifest that does not list it, so that no grant would help.
	Undeclared bool
	// Ungranted: the host does not grant it.
	Ungranted bool
}

// Hint says what to do about it.
func (p MissingPermission) Hint() string {
	var todo []string
	if p.Undeclared {
		todo = append(todo, fmt.Sprintf("list %q in the permissions of the module's manifest", p.placeholder("%s:%s")))
	}
	if p.Ungranted {
		todo = append(todo, fmt.Sprintf("allow it with %s / %s", p.option(), p.Flag()))
	}
	return strings.Join(todo, ", and ")
}

// placeholder is the permission with something in the place of what is not known.
func (p MissingPermission) placeholder(format string) string {
	arg := p.Permission.Arg
	if arg == "" {
		switch p.Permission.Kind {
		case abi.PermHTTP:
			arg = "HOST"
		case abi.PermPublish:
			arg = "SUBJECT"
		default:
			return string(p.Permission.Kind)
		}
	}
	return fmt.Sprintf(format, p.Permission.Kind, arg)
}

// Flag is what the command's user adds.
func (p MissingPermission) Flag() string {
	flag := "--allow " + p.placeholder("%s=%s")
	switch p.Permission.Kind {
	case abi.PermKV, abi.PermRead:
		flag += "=DIR"
	}
	return flag
}

// option is what the program's author adds.
func (p MissingPermission) option() string {
	arg := p.Permission.Arg
	quoted := func(placeholder string) string {
		if arg == "" {
			return placeholder
		}
		return fmt.Sprintf("%q", arg)
	}
	switch p.Permission.Kind {
	case abi.PermLog:
		return "AllowLog(logger)"
	case abi.PermClock:
		return "AllowClock()"
	case abi.PermRandom:
		return "AllowRandom()"
	case abi.PermKV:
		return "AllowKV(store)"
	case abi.PermHTTP:
		return "AllowHTTP(" + quoted("host") + ")"
	case abi.PermPublish:
		return "AllowPublish(publisher, " + quoted("subject") + ")"
	}
	return "AllowRead(" + quoted("path") + ", dir)"
}

func (p MissingPermission) String() string {
	s := p.Permission.String()
	if p.Import != "" {
		s += " (imports " + p.Import + ")"
	}
	return s + ": " + p.Hint()
}

func (e *PermissionError) Error() string {
	lines := make([]string, len(e.Missing))
	for i, p := range e.Missing {
		lines[i] = p.String()
	}
	return fmt.Sprintf("%d not granted:\n%s", len(lines), strings.Join(lines, "\n"))
}

// Unwrap makes errors.Is(err, ErrPermission) true.
func (e *PermissionError) Unwrap() error { return ErrPermission }

// permit compares what r wants with what is granted, and keeps what r may use: with a manifest what that
// lists, otherwise what its imports need and every grant of that kind.
func (g *grants) permit(r *release, imports []engine.Import) error {
	declared, err := r.declared()
	if err != nil {
		return err
	}
	var missing []MissingPermission
	for _, p := range declared {
		if !g.rehearse && !slices.ContainsFunc(g.list, func(have abi.Permission) bool { return have.Covers(p) }) {
			missing = append(missing, MissingPermission{Permission: p, Ungranted: true})
		}
	}
	hasKind := func(list []abi.Permission, kind abi.PermissionKind) bool {
		return slices.ContainsFunc(list, func(p abi.Permission) bool { return p.Kind == kind })
	}
	for _, i := range imports {
		p, ok := abi.HostPermission(i.Module)
		if !ok {
			continue
		}
		name := strings.TrimPrefix(i.String(), "func ")
		want := MissingPermission{Permission: p, Import: name, Undeclared: r.hasManifest && !hasKind(declared, p.Kind), Ungranted: !g.rehearse && !hasKind(g.list, p.Kind)}
		if r.hasManifest && !want.Undeclared {
			want.Ungranted = false // told by the manifest's own line, with the host or subject
			for k := range missing {
				if missing[k].Permission.Kind == p.Kind && missing[k].Import == "" {
					missing[k].Import = name
				}
			}
		}
		told := slices.ContainsFunc(missing, func(m MissingPermission) bool { return m.Permission == p })
		if (want.Undeclared || want.Ungranted) && !told {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		return &PermissionError{Missing: missing}
	}
	r.may = g.list
	switch {
	case r.hasManifest:
		r.may = declared
	case g.rehearse:
		for _, i := range imports {
			if p, ok := abi.HostPermission(i.Module); ok {
				r.may = append(r.may, p)
			}
		}
	}
	return nil
}

// declared are the permissions that the manifest lists.
func (r *release) declared() ([]abi.Permission, error) {
	out := make([]abi.Permission, 0, len(r.manifest.Permissions))
	for _, s := range r.manifest.Permissions {
		p, err := abi.ParsePermission(s)
		if err != nil {
			return nil, err // the manifest was validated
		}
		out = append(out, p)
	}
	return out, nil
}

// allows reports whether r may use a thing of this kind at all.
func (r *release) allows(kind abi.PermissionKind) bool {
	return slices.ContainsFunc(r.may, func(p abi.Permission) bool { return p.Kind == kind })
}
