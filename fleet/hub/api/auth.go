package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// caller is who asks, and what about: the operation adds On, and the audit log gets all of it.
type caller struct {
	name string
	role fleet.Role
	key  string // of the token, in the bucket access
	from string // address without port
	on   string
	why  string // of a refusal
}

type callerKey struct{}

// asking is the caller of the request. Every operation has one, since admit puts it there.
func asking(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// HashToken is the key under which the bucket access keeps an API token: the SHA-256 of its text.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// roleOf is what an operation asks of its caller; empty: nothing.
func roleOf(op *huma.Operation) fleet.Role {
	role, _ := op.Metadata["role"].(fleet.Role)
	return role
}

// audited are operations whose outcome goes to the audit log: those that change something. Refusals go there
// whatever the operation.
func audited(op *huma.Operation) bool {
	return op.Method != http.MethodGet && op.Method != http.MethodHead
}

// admit checks the token against the operation's role, and writes the audit log.
func (s *Server) admit(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	who := &caller{name: "nobody", from: hostOf(ctx.RemoteAddr()), on: object(ctx)}
	if s.deny.barred(who.from) {
		ctx.SetHeader("Retry-After", "1")
		_ = huma.WriteErr(s.api, ctx, http.StatusTooManyRequests, "too many refused attempts from this address; try again in a second")
		return
	}
	status, why := s.check(ctx, op, who)
	if status != 0 {
		if status != http.StatusServiceUnavailable { // the caller's fault, and not the hub's
			s.deny.strike(who.from)
		}
		s.record(ctx.Context(), op, who, "refused", why)
		if status == http.StatusUnauthorized {
			ctx.SetHeader("WWW-Authenticate", `Bearer realm="isomer"`)
		}
		_ = huma.WriteErr(s.api, ctx, status, why)
		return
	}
	next(huma.WithValue(ctx, callerKey{}, who))
	switch code := ctx.Status(); {
	case code >= 400 && code < 500 && code != http.StatusNotFound || code >= 400 && audited(op):
		if roleOf(op) == "" {
			s.deny.strike(who.from)
		}
		s.record(ctx.Context(), op, who, "refused", who.why)
	}
}

// object is what the path of a request is about, such as the node of /v1/nodes/dev7, so that a refusal says what it was of.
func object(ctx huma.Context) string {
	var parts []string
	for _, p := range ctx.Operation().Parameters {
		if p.In != "path" {
			continue
		}
		part := ctx.Param(p.Name)
		if len(part) > 128 { // nothing was checked yet
			part = part[:128]
		}
		parts = append(parts, part)
	}
	return strings.ToValidUTF8(strings.Join(parts, " "), "")
}

// done writes to the audit log that the operation is about to be carried out on an object, before it is, so
// that nothing happens unrecorded. Its error stops the operation.
func (s *Server) done(ctx context.Context, what, on string) error {
	who := asking(ctx)
	who.on = on
	err := s.cfg.Store.Audit(ctx, fleet.AuditEntry{At: s.cfg.Now().UTC(), Who: who.name, From: who.from, What: what, On: on, Result: "done"})
	if err != nil {
		return huma.Error503ServiceUnavailable("the audit log cannot be written, and without it nothing is changed: " + err.Error())
	}
	return nil
}

// check finds out who asks; status 0 lets them in.
func (s *Server) check(ctx huma.Context, op *huma.Operation, who *caller) (status int, why string) {
	needs := roleOf(op)
	if needs == "" {
		return 0, ""
	}
	token, ok := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized, "this needs a token: Authorization: Bearer TOKEN"
	}
	who.key = HashToken(token)
	a, status, why := s.access(ctx.Context(), who.key)
	if status != 0 {
		return status, why
	}
	who.name, who.role = a.Name, a.Role
	if !who.role.Allows(needs) {
		return http.StatusForbidden, "this needs the role " + string(needs) + ", and the token of " + who.name + " has " + string(who.role)
	}
	return 0, ""
}

// access is what the token of that key may do now; status is 0 where it is good.
func (s *Server) access(ctx context.Context, key string) (a state.Access, status int, why string) {
	e, err := s.cfg.Store.Access.Get(ctx, key)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return a, http.StatusUnauthorized, "the token is unknown or was taken back"
	case err != nil:
		return a, http.StatusServiceUnavailable, "tokens cannot be looked up: " + err.Error()
	case !e.Value.Expires.IsZero() && s.cfg.Now().After(e.Value.Expires):
		return a, http.StatusUnauthorized, "the token expired at " + e.Value.Expires.Format(time.RFC3339)
	}
	return e.Value, 0, ""
}

// stillMay tells streams, which last longer than a token may, that theirs was taken back or expired. Where tokens cannot
// be looked up for now, the stream goes on.
func (s *Server) stillMay(ctx context.Context) error {
	if _, status, why := s.access(ctx, asking(ctx).key); status == http.StatusUnauthorized {
		return errors.New(why)
	}
	return nil
}

// record writes a refusal to the audit log; where that fails, to the hub's own log.
func (s *Server) record(ctx context.Context, op *huma.Operation, who *caller, result, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if len(why) > 512 {
		why = why[:512]
	}
	e := fleet.AuditEntry{At: s.cfg.Now().UTC(), Who: who.name, From: who.from, What: op.OperationID, On: who.on, Result: result, Reason: why}
	if err := s.cfg.Store.Audit(ctx, e); err != nil {
		s.cfg.Log.Error("audit log", "entry", e, "error", err)
	}
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// strikes slow down who guesses tokens: an address with more than maxStrikes refusals in a second waits for
// the next one, so that neither guesses nor the audit log's disk run away.
type strikes struct {
	mu     sync.Mutex
	now    func() time.Time
	second int64
	count  map[string]int
}

const (
	maxStrikes   = 20
	maxStrangers = 10_000 // addresses remembered; beyond, all newcomers wait
)

func newStrikes(now func() time.Time) *strikes {
	return &strikes{now: now, count: map[string]int{}}
}

func (s *strikes) turn() {
	if sec := s.now().Unix(); sec != s.second {
		s.second = sec
		clear(s.count)
	}
}

func (s *strikes) strike(from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	if len(s.count) < maxStrangers || s.count[from] > 0 {
		s.count[from]++
	}
}

func (s *strikes) barred(from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	return s.count[from] >= maxStrikes || len(s.count) >= maxStrangers && s.count[from] == 0
}

// op describes an operation; role "" lets everybody in.
func op(id, method, path string, role fleet.Role, summary string, more ...func(*huma.Operation)) huma.Operation {
	o := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout, RejectUnknownQueryParameters: true,
		Metadata: map[string]any{"role": role}, Errors: []int{400, 422, 429, 500, 503},
		Tags: []string{strings.Split(strings.TrimPrefix(path, "/v1/"), "/")[0]},
	}
	if role != "" {
		o.Security = []map[string][]string{{"token": {}}}
		o.Description = "Needs the role " + string(role) + "."
		o.Errors = append(o.Errors, 401, 403)
	}
	for _, f := range more {
		f(&o)
	}
	slices.Sort(o.Errors)
	return o
}

// fails adds statuses to those that an operation may answer.
func fails(status ...int) func(*huma.Operation) {
	return func(o *huma.Operation) { o.Errors = append(o.Errors, status...) }
}

// fail turns an error of the hub into an answer, and remembers it for the audit log.
func fail(ctx context.Context, err error) error {
	asking(ctx).why = err.Error()
	switch {
	case errors.Is(err, state.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrTooLarge):
		return huma.NewError(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, state.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, fleet.ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, ErrRefused):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, ErrNoNode):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error504GatewayTimeout(err.Error())
	}
	return huma.Error500InternalServerError(err.Error())
}

// Errors that the parts behind the API return.
var (
	// ErrRefused is a request that is well-formed and not allowed: a spent join token, metadata with a wrong signature.
	ErrRefused = errors.New("refused")
	// ErrTooLarge is a body that is larger than what the operation takes.
	ErrTooLarge = errors.New("too large")
	// ErrNoNode is a call that no node answers.
	ErrNoNode = errors.New("no node answers")
)
