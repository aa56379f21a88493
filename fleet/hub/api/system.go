package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

type version struct {
	Body struct {
		Version string `json:"version"`
	}
}

type tokenView struct {
	ID      string     `json:"id" doc:"SHA-256 of the token"`
	Name    string     `json:"name"`
	Role    fleet.Role `json:"role"`
	By      string     `json:"by"`
	At      time.Time  `json:"at"`
	Expires *time.Time `json:"expires,omitempty"`
}

type newToken struct {
	Body struct {
		Name  string         `json:"name" minLength:"1" maxLength:"63" doc:"who has it, for the audit log"`
		Role  fleet.Role     `json:"role" enum:"viewer,deployer,admin"`
		Lasts fleet.Duration `json:"lasts,omitempty" required:"false" doc:"such as 720h; nothing: it does not expire"`
	}
}

type madeToken struct {
	Body struct {
		Token string `json:"token" doc:"shown this once"`
		ID    string `json:"id"`
	}
}

type auditQuery struct {
	Since time.Time `query:"since" doc:"entries from this time on; default: all"`
	Limit int       `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"at most so many, the newest"`
}

type list[T any] struct{ Body []T }

func (s *Server) registerSystem() {
	huma.Register(s.api, op("version", http.MethodGet, "/v1/version", "", "The hub's version"),
		func(context.Context, *struct{}) (*version, error) {
			v := &version{}
			v.Body.Version = s.cfg.Version
			return v, nil
		})
	huma.Register(s.api, op("healthz", http.MethodGet, "/healthz", "", "Whether the hub can read its state"),
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if _, err := s.cfg.Store.JetStream().AccountInfo(ctx); err != nil {
				return nil, huma.Error503ServiceUnavailable("the hub's state cannot be read: " + err.Error())
			}
			return nil, nil
		})
	huma.Register(s.api, op("tokens", http.MethodGet, "/v1/tokens", fleet.Admin, "API tokens, without their secrets"), s.tokens)
	huma.Register(s.api, op("token", http.MethodPost, "/v1/tokens", fleet.Admin, "Make an API token"), s.makeToken)
	huma.Register(s.api, op("token-revoke", http.MethodDelete, "/v1/tokens/{id}", fleet.Admin, "Take an API token back", fails(404)), s.dropToken)
	huma.Register(s.api, op("audit", http.MethodGet, "/v1/audit", fleet.Admin, "Who did what, the newest last"),
		func(ctx context.Context, in *auditQuery) (*list[fleet.AuditEntry], error) {
			all, err := s.cfg.Store.Audited(ctx, in.Since, in.Limit)
			if err != nil {
				return nil, fail(ctx, err)
			}
			return &list[fleet.AuditEntry]{all}, nil
		})
	if s.cfg.Metrics != nil {
		huma.Register(s.api, op("metrics", http.MethodGet, "/metrics", fleet.Viewer, "Counters for Prometheus"),
			func(context.Context, *struct{}) (*huma.StreamResponse, error) {
				return &huma.StreamResponse{Body: func(ctx huma.Context) {
					r, w := unwrap(ctx)
					s.cfg.Metrics.ServeHTTP(w, r)
				}}, nil
			})
	}
}

func (s *Server) tokens(ctx context.Context, _ *struct{}) (*list[tokenView], error) {
	all, err := s.cfg.Store.Access.List(ctx)
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &list[tokenView]{Body: []tokenView{}}
	for _, e := range all {
		v := tokenView{ID: e.Key, Name: e.Value.Name, Role: e.Value.Role, By: e.Value.By, At: e.Value.At}
		if !e.Value.Expires.IsZero() {
			v.Expires = &e.Value.Expires
		}
		out.Body = append(out.Body, v)
	}
	return out, nil
}

// NewToken is a fresh API token: a word that people and scanners recognise, and 32 random bytes.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "isomer-api-" + hex.EncodeToString(b[:])
}

func (s *Server) makeToken(ctx context.Context, in *newToken) (*madeToken, error) {
	if in.Body.Lasts < 0 {
		return nil, huma.Error422UnprocessableEntity("lasts must not be negative")
	}
	if err := s.done(ctx, "token", in.Body.Name+" "+string(in.Body.Role)); err != nil {
		return nil, err
	}
	now := s.cfg.Now().UTC()
	a := state.Access{Name: in.Body.Name, Role: in.Body.Role, By: asking(ctx).name, At: now}
	if in.Body.Lasts > 0 {
		a.Expires = now.Add(time.Duration(in.Body.Lasts))
	}
	token := NewToken()
	if _, err := s.cfg.Store.Access.Create(ctx, HashToken(token), a); err != nil {
		return nil, fail(ctx, err)
	}
	out := &madeToken{}
	out.Body.Token, out.Body.ID = token, HashToken(token)
	return out, nil
}

func (s *Server) dropToken(ctx context.Context, in *struct {
	ID string `path:"id" minLength:"64" maxLength:"64"`
}) (*struct{}, error) {
	e, err := s.cfg.Store.Access.Get(ctx, in.ID)
	if err != nil {
		return nil, fail(ctx, err)
	}
	if err := s.done(ctx, "token-revoke", e.Value.Name); err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Access.Delete(ctx, in.ID); err != nil {
		return nil, fail(ctx, err)
	}
	return nil, nil
}
