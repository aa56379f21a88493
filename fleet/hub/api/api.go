// Package api is the hub's HTTP interface: JSON over HTTP with bearer tokens, described by the OpenAPI
// document that it serves at /openapi.json. Use it in a hub; the command isomer and the dashboard are its
// clients.
//
// Each operation names the role that it needs. Whatever changes something, and whatever is refused, is in
// the audit log before the answer is given.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/feed"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// Config is what the API speaks for. All fields are needed unless they say otherwise.
type Config struct {
	Store    *state.Store
	Registry Registry
	Gate     Gatekeeper
	Rollouts Commander
	Nodes    Caller
	Version  string       // of Isomer
	Metrics  http.Handler // at /metrics, for viewers; nil: none
	// Observe is told of each request that was answered; nil: nobody is.
	Observe func(operation string, status int, took time.Duration)
	Log     *slog.Logger
	Trace   trace.Tracer     // makes spans of requests that change something, and of calls; nil: none
	Now     func() time.Time // nil: time.Now
	// Wake is called after a deployment or a rollout changed, so that the controller looks at once; nil: it
	// finds out by itself.
	Wake func()
}

// Registry keeps modules and the metadata that says who signed them.
type Registry interface {
	// PutModule keeps the module that r gives; its SHA-256 must be digest.
	PutModule(ctx context.Context, digest string, r io.Reader) error
	// Module opens a module; state.ErrNotFound where it is not kept.
	Module(ctx context.Context, digest string) (io.ReadSeekCloser, error)
	// Trust returns the TUF metadata by file name.
	Trust(ctx context.Context) (map[string][]byte, error)
	// PutTrust takes new metadata that the developer's keys signed, and returns the releases that it lists
	// anew. by is who uploaded it.
	PutTrust(ctx context.Context, files map[string][]byte, by string) ([]fleet.Release, error)
	// OnlineKeys are the hub's own public keys, which the developer's root must list.
	OnlineKeys() trust.OnlineKeys
}

// Gatekeeper lets nodes into the fleet and throws them out.
type Gatekeeper interface {
	// Invite makes a join token for the member; the secret is returned once and not kept.
	Invite(ctx context.Context, m fleet.Member, lasts time.Duration) (secret string, err error)
	// Redeem lets a node in; ErrRefused in every case that is the node's fault.
	Redeem(ctx context.Context, r fleet.EnrolRequest) (fleet.Enrolment, error)
	// Revoke throws a node out, for good.
	Revoke(ctx context.Context, node string) error
	// Fingerprint is the SHA-256 of the CA's certificate, hexadecimal; empty where the system's roots hold.
	Fingerprint() string
	// Addresses are the base URLs under which nodes reach the API.
	Addresses() []string
}

// Commander moves rollouts by hand: command is pause, resume, abort or rollback. fleet.ErrInvalid is a command
// that the rollout's phase does not allow.
type Commander interface {
	Command(ctx context.Context, id, command, who, reason string) (fleet.Rollout, error)
}

// Caller reaches nodes.
type Caller interface {
	// Call sends a message to a subject and returns the answer; ErrNoNode where nobody listens there.
	Call(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error)
	// Subscribe delivers telemetry of a node until ctx ends.
	Subscribe(ctx context.Context, subject string, deliver func(subject string, data []byte)) error
}

// Limits of the server. A client that is slower, larger or more than that is cut off.
const (
	maxHeader     = 32 << 10
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxConns      = 4096
	maxBody       = 1 << 20 // of JSON
	maxCall       = 8 << 20 // of a call, as MaxPayload of the broker
	bodyTimeout   = 30 * time.Second
	// progress is how long an upload may stand still.
	progress = 30 * time.Second
)

// Server serves the API.
type Server struct {
	cfg  Config
	api  huma.API
	mux  *http.ServeMux
	tls  *http.Server // for listeners with TLS: it changes its server's configuration
	bare *http.Server
	deny *strikes
	feed *feed.Feed
}

// New makes the server; Serve starts it.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Trace = trace.Or(cfg.Trace)
	if cfg.Wake == nil {
		cfg.Wake = func() {}
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), deny: newStrikes(cfg.Now), feed: feed.New(cfg.Store, cfg.Now)}
	c := huma.DefaultConfig("Isomer hub", cfg.Version)
	c.Info.Description = "The control plane of a fleet. Every operation but /healthz, /v1/version and /v1/enrol needs a token: Authorization: Bearer TOKEN."
	c.DocsPath = ""    // its page would load scripts from other hosts
	c.SchemasPath = "" // they are in the document
	c.CreateHooks = nil
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	s.api = humago.New(s.mux, c)
	if cfg.Observe != nil {
		s.api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
			began := time.Now()
			next(ctx)
			cfg.Observe(ctx.Operation().OperationID, ctx.Status(), time.Since(began))
		})
	}
	s.api.UseMiddleware(s.admit, s.traced)
	s.registerSystem()
	s.registerTrust()
	s.registerFleet()
	s.registerNodes()
	s.registerCalls()
	s.registerWatch()
	s.tls, s.bare = s.server(), s.server()
	return s
}

func (s *Server) server() *http.Server {
	return &http.Server{
		Handler: s.mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// schemaName keeps the package of the bridge's contract apart from the fleet's, which has names in common.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == "github.com/isomer-iot/isomer/abi" {
		return "Module" + name
	}
	return name
}

// traced makes a span of each request that changes something or calls a node, in the trace of who asks. Looking is not worth one:
// the dashboard does it each second.
func (s *Server) traced(ctx huma.Context, next func(huma.Context)) {
	if ctx.Method() == http.MethodGet || ctx.Method() == http.MethodHead {
		next(ctx)
		return
	}
	o := ctx.Operation()
	in := trace.With(ctx.Context(), ctx.Header(trace.Header))
	in, span := s.cfg.Trace.Start(in, "api "+o.OperationID, trace.Server, slog.String("http.request.method", o.Method), slog.String("http.route", o.Path))
	next(huma.WithContext(ctx, in))
	var err error
	if ctx.Status() >= http.StatusInternalServerError {
		err = errors.New(http.StatusText(ctx.Status()))
	}
	span.Set(slog.Int("http.response.status_code", ctx.Status()))
	span.End(err)
}

// Handle serves a handler beside the API, such as the dashboard.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Handler is the API without a listener, for tests.
func (s *Server) Handler() http.Handler { return s.mux }

// Document is the OpenAPI document as JSON.
func (s *Server) Document() ([]byte, error) { return s.api.OpenAPI().MarshalJSON() }

// Serve answers on l until Shutdown, and returns http.ErrServerClosed then. secure nil: without TLS. One listener may be
// served with TLS and one without.
func (s *Server) Serve(l net.Listener, secure *tls.Config) error {
	l = bounded(l, MaxConns())
	if secure == nil {
		return s.bare.Serve(l)
	}
	s.tls.TLSConfig = secure
	return s.tls.ServeTLS(l, "", "")
}

// Shutdown stops listening and waits for the requests that run until ctx ends, then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	end := func(h *http.Server) error {
		err := h.Shutdown(ctx)
		if err != nil {
			_ = h.Close()
		}
		return err
	}
	secured := make(chan error, 1)
	go func() { secured <- end(s.tls) }()
	return errors.Join(end(s.bare), <-secured)
}
