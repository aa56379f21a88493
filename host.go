package isomer

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// purpose is what an instance is made for. It decides what its host functions do: a module that is not
// published yet must leave no traces.
type purpose int

const (
	// serving: everything is what it says.
	serving purpose = iota
	// rehearsing is for golden cases and trial starts: kv is empty at first and forgotten at the end, what is
	// published is dropped, requests are answered with an error, time and randomness are the same each time.
	rehearsing
	// following is for shadows: as rehearsing, but kv begins with what is stored, and time and
	// randomness are real, since the answers are to be those of the module that serves.
	following
)

// lender lends one instance what its module may use.
type lender struct {
	*grants
	r       *release
	purpose purpose
	store   Store
	ticks   uint64           // readings of the rehearsed clock
	random  *abi.FixedRandom // nil: real
}

// processStart is what monotonic counts from.
var processStart = time.Now()

// rehearsalStart is when the rehearsed clock begins, as that of WASI does: 2022-01-01 00:00 UTC.
const rehearsalStart = 1_640_995_200_000_000_000

// instanceConfig is what an instance of r gets for the purpose.
func (m *Module) instanceConfig(r *release, why purpose) engine.InstanceConfig {
	wasi := &engine.WASI{}
	if m.opts.out != nil && why != following { // each line would be there twice
		wasi.Stdout, wasi.Stderr = m.opts.out, m.opts.out
	}
	cfg := engine.InstanceConfig{WASI: wasi}
	if r.pure {
		return cfg
	}
	g := &m.opts.grants
	for _, d := range g.dirs {
		if slices.Contains(r.may, abi.Permission{Kind: abi.PermRead, Arg: d.Guest}) {
			wasi.Dirs = append(wasi.Dirs, d)
		}
	}
	if g.rehearse {
		why = rehearsing
	}
	wasi.Clock = r.allows(abi.PermClock) && why != rehearsing
	wasi.Random = r.allows(abi.PermRandom) && why != rehearsing
	l := &lender{grants: g, r: r, purpose: why, store: g.kv}
	switch why {
	case rehearsing:
		l.store = newOverlay(nil)
		l.random = &abi.FixedRandom{}
	case following:
		l.store = newOverlay(g.kv)
	}
	cfg.Host = l.funcs()
	return cfg
}

// hostCall is one host function. It has the parameters in s and leaves a result there.
type hostCall func(l *lender, ctx context.Context, g abi.Guest, s []uint64) error

// hostTable is every host function with the count of its i32 parameters; those of type i64 have a result of
// that type and no parameter.
var hostTable = []struct {
	kind   abi.PermissionKind
	name   string
	params int
	i64    bool
	call   hostCall
}{
	{abi.PermLog, "log", 3, false, (*lender).writeLog},
	{abi.PermClock, "now", 0, true, (*lender).now},
	{abi.PermClock, "monotonic", 0, true, (*lender).monotonic},
	{abi.PermRandom, "bytes", 2, false, (*lender).randomBytes},
	{abi.PermKV, "get", 3, false, (*lender).kvGet},
	{abi.PermKV, "set", 5, false, (*lender).kvSet},
	{abi.PermKV, "delete", 3, false, (*lender).kvDelete},
	{abi.PermKV, "keys", 3, false, (*lender).kvKeys},
	{abi.PermHTTP, "fetch", 9, false, (*lender).fetch},
	{abi.PermPublish, "publish", 5, false, (*lender).publishMessage},
}

// funcs are the functions that the module may use, as the engine takes them.
func (l *lender) funcs() []engine.HostFunc {
	var out []engine.HostFunc
	for _, h := range hostTable {
		if !l.r.allows(h.kind) {
			continue
		}
		f := engine.HostFunc{Module: abi.HostPrefix + string(h.kind), Name: h.name}
		f.Params = slices.Repeat([]engine.ValType{engine.I32}, h.params)
		if h.i64 {
			f.Results = []engine.ValType{engine.I64}
		}
		f.Call = func(ctx context.Context, in engine.Instance, stack []uint64) error {
			return h.call(l, ctx, guestOf(ctx, in), stack)
		}
		out = append(out, f)
	}
	return out
}

// guestOf is the calling module as package abi wants it.
func guestOf(ctx context.Context, in engine.Instance) abi.Guest {
	return abi.Guest{
		Memory: func() []byte {
			if mem := in.Memory(); mem != nil {
				return mem.Bytes()
			}
			return nil // each address is outside
		},
		Alloc: func(align, n uint32) (uint32, error) {
			realloc := in.Func(abi.ExportRealloc)
			if realloc == nil {
				return 0, fmt.Errorf("%w: it exports no %s for the answer", abi.ErrViolation, abi.ExportRealloc)
			}
			s := []uint64{0, 0, uint64(align), uint64(n)}
			if err := realloc.Call(ctx, s); err != nil {
				return 0, err
			}
			return uint32(s[0]), nil
		},
	}
}

// refuse tells the guest why not. What the guest cannot be told, because it broke the contract or its call
// is over, is returned and ends the call.
func refuse(ctx context.Context, g abi.Guest, ret uint32, err error) error {
	switch {
	case errors.Is(err, abi.ErrViolation):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &engine.LimitError{Limit: engine.Deadline, Detail: "the call was stopped in a host function", Cause: ctx.Err()}
	case ctx.Err() != nil:
		return &engine.LimitError{Limit: engine.Canceled, Detail: "the call was stopped in a host function", Cause: ctx.Err()}
	}
	return g.LeaveError(ret, err.Error())
}

var logLevels = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// writeLog is log(level, ptr, len).
func (l *lender) writeLog(ctx context.Context, g abi.Guest, s []uint64) error {
	level, n := uint32(s[0]), uint32(s[2])
	if level >= uint32(len(logLevels)) {
		return fmt.Errorf("%w: log level %d, want 0 to %d", abi.ErrViolation, level, len(logLevels)-1)
	}
	if !l.log.Enabled(ctx, logLevels[level]) {
		_, err := abi.Span(g.Memory(), uint32(s[1]), n, "message")
		return err
	}
	text, err := g.Text(uint32(s[1]), n, abi.MaxLogLine+1, "message")
	if err != nil {
		return err
	}
	attrs := []slog.Attr{slog.String("module", l.r.name), slog.String("version", l.r.version)}
	if l.purpose != serving {
		attrs = append(attrs, slog.Bool("trial", true))
	}
	l.log.LogAttrs(ctx, logLevels[level], abi.Clean(text, abi.MaxLogLine), attrs...)
	return nil
}

// tick is the next reading of the rehearsed clock: a millisecond later each time.
func (l *lender) tick() uint64 {
	l.ticks++
	return l.ticks * uint64(time.Millisecond)
}

func (l *lender) now(_ context.Context, _ abi.Guest, s []uint64) error {
	if l.purpose == rehearsing {
		s[0] = rehearsalStart + l.tick()
		return nil
	}
	s[0] = uint64(time.Now().UnixNano())
	return nil
}

func (l *lender) monotonic(_ context.Context, _ abi.Guest, s []uint64) error {
	if l.purpose == rehearsing {
		s[0] = l.tick()
		return nil
	}
	s[0] = uint64(time.Since(processStart))
	return nil
}

// randomBytes is bytes(len, ret).
func (l *lender) randomBytes(_ context.Context, g abi.Guest, s []uint64) error {
	n, ret := uint32(s[0]), uint32(s[1])
	if n > abi.MaxRandom {
		return fmt.Errorf("%w: %d random bytes, at most %d in one call", abi.ErrViolation, n, abi.MaxRandom)
	}
	if err := g.Record(ret, abi.ListSize); err != nil {
		return err
	}
	b := make([]byte, n)
	if l.random != nil {
		_, _ = l.random.Read(b)
	} else {
		_, _ = crand.Read(b) // which ends the process rather than fail
	}
	return g.LeaveList(ret, b)
}

// key reads a key, or a prefix of keys.
func key(g abi.Guest, ptr, n uint64, what string) (string, error) {
	k, err := g.Text(uint32(ptr), uint32(n), abi.MaxKey+1, what)
	switch {
	case err != nil:
		return "", err
	case len(k) > abi.MaxKey:
		return "", fmt.Errorf("%s of %d bytes, at most %d are allowed", what, uint32(n), abi.MaxKey)
	case !utf8.ValidString(k):
		return "", fmt.Errorf("%s is not valid UTF-8", what)
	case k == "" && what == "key":
		return "", errors.New("the key is empty")
	}
	return k, nil
}

// kvGet is get(kptr, klen, ret).
func (l *lender) kvGet(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[2])
	if err := g.Record(ret, abi.OptionResultSize); err != nil {
		return err
	}
	k, err := key(g, s[0], s[1], "key")
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	v, ok, err := l.store.Get(ctx, l.r.name, k)
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveOption(ret, v, ok)
}

// kvSet is set(kptr, klen, vptr, vlen, ret).
func (l *lender) kvSet(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[4])
	if err := g.Record(ret, abi.ResultSize); err != nil {
		return err
	}
	k, err := key(g, s[0], s[1], "key")
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	v, err := abi.Span(g.Memory(), uint32(s[2]), uint32(s[3]), "value")
	if err != nil {
		return err
	}
	if len(v) > abi.MaxValue {
		return refuse(ctx, g, ret, fmt.Errorf("value of %d bytes, at most %d are allowed", len(v), abi.MaxValue))
	}
	if err := l.store.Set(ctx, l.r.name, k, v); err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveDone(ret)
}

// kvDelete is delete(kptr, klen, ret).
func (l *lender) kvDelete(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[2])
	if err := g.Record(ret, abi.ResultSize); err != nil {
		return err
	}
	k, err := key(g, s[0], s[1], "key")
	if err == nil {
		err = l.store.Delete(ctx, l.r.name, k)
	}
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveDone(ret)
}

// kvKeys is keys(pptr, plen, ret).
func (l *lender) kvKeys(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[2])
	if err := g.Record(ret, abi.ResultSize); err != nil {
		return err
	}
	prefix, err := key(g, s[0], s[1], "prefix")
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	keys, err := l.store.Keys(ctx, l.r.name, prefix)
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveStrings(ret, keys)
}

// publishMessage is publish(sptr, slen, pptr, plen, ret).
func (l *lender) publishMessage(ctx context.Context, g abi.Guest, s []uint64) error {
	ret := uint32(s[4])
	if err := g.Record(ret, abi.ResultSize); err != nil {
		return err
	}
	subject, err := g.Text(uint32(s[0]), uint32(s[1]), 1<<10, "subject")
	if err != nil {
		return err
	}
	payload, err := abi.Span(g.Memory(), uint32(s[2]), uint32(s[3]), "payload")
	if err != nil {
		return err
	}
	to, err := l.publisher(subject)
	switch {
	case err != nil:
	case len(payload) > abi.MaxPayload:
		err = fmt.Errorf("payload of %d bytes, at most %d are allowed", len(payload), abi.MaxPayload)
	case l.purpose == serving:
		err = to.Publish(ctx, strings.Clone(subject), slices.Clone(payload))
	}
	if err != nil {
		return refuse(ctx, g, ret, err)
	}
	return g.LeaveDone(ret)
}

// publisher is who takes what is published to subject; nil in a trial, where it is dropped.
func (l *lender) publisher(subject string) (Publisher, error) {
	if err := abi.CheckSubject(subject); err != nil {
		return nil, err
	}
	listed := slices.ContainsFunc(l.r.may, func(p abi.Permission) bool {
		return p.Kind == abi.PermPublish && abi.MatchSubject(p.Arg, subject)
	})
	if l.purpose != serving {
		if listed {
			return nil, nil
		}
	} else if at := slices.IndexFunc(l.publish, func(p publishGrant) bool { return abi.MatchSubject(p.pattern, subject) }); listed && at >= 0 {
		return l.publish[at].to, nil
	}
	return nil, fmt.Errorf("subject %q is not allowed", subject)
}
