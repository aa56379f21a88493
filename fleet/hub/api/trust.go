package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trust"
)

type trustFiles struct {
	Body map[string][]byte `doc:"TUF metadata by file name"`
}

type digestPath struct {
	Digest string `path:"digest" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the module"`
}

// upload reads the body as it comes: a module is never in memory whole.
type upload struct {
	Digest string `path:"digest" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 of the module"`
	body   io.Reader
	size   int64
}

// Resolve keeps the body's reader for the operation.
func (u *upload) Resolve(ctx huma.Context) []error {
	r, w := unwrap(ctx)
	u.body, u.size = &steady{r: r.Body, c: http.NewResponseController(w)}, r.ContentLength
	return nil
}

// steady gives up on a body that stands still.
type steady struct {
	r io.Reader
	c *http.ResponseController
}

func (s *steady) Read(p []byte) (int, error) {
	if err := s.c.SetReadDeadline(time.Now().Add(progress)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := s.r.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: nothing came for %v", ErrRefused, progress)
	}
	return n, err
}

func unwrap(ctx huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(ctx) }

func (s *Server) registerTrust() {
	huma.Register(s.api, op("trust", http.MethodGet, "/v1/trust", fleet.Viewer, "The TUF metadata"),
		func(ctx context.Context, _ *struct{}) (*trustFiles, error) {
			files, err := s.cfg.Registry.Trust(ctx)
			if err != nil {
				return nil, fail(ctx, err)
			}
			return &trustFiles{files}, nil
		})
	huma.Register(s.api, op("trust-put", http.MethodPut, "/v1/trust", fleet.Deployer,
		"Add metadata that the developer's keys signed; what it lists anew are releases", fails(403, 409)), s.putTrust)
	huma.Register(s.api, op("online-keys", http.MethodGet, "/v1/trust-keys", fleet.Viewer,
		"The hub's public keys for snapshot and timestamp, which the root lists"),
		func(context.Context, *struct{}) (*one[trust.OnlineKeys], error) {
			return &one[trust.OnlineKeys]{s.cfg.Registry.OnlineKeys()}, nil
		})
	huma.Register(s.api, op("module-put", http.MethodPut, "/v1/modules/{digest}", fleet.Deployer,
		"Upload a module's file", fails(403, 413)), s.putModule)
	s.describeBody("/v1/modules/{digest}", "the module's bytes", "application/wasm")
	huma.Register(s.api, op("module", http.MethodGet, "/v1/modules/{digest}", fleet.Viewer,
		"A module's file; ranges are served", fails(404)), s.module)
	huma.Register(s.api, op("releases", http.MethodGet, "/v1/releases", fleet.Viewer, "Releases, by name and version"),
		func(ctx context.Context, _ *struct{}) (*list[fleet.Release], error) {
			return all(ctx, s.cfg.Store.Releases)
		})
}

func (s *Server) putTrust(ctx context.Context, in *trustFiles) (*list[fleet.Release], error) {
	names := ""
	for name := range in.Body {
		names += name + " "
	}
	if err := s.done(ctx, "trust-put", fmt.Sprintf("%.200s", names)); err != nil {
		return nil, err
	}
	releases, err := s.cfg.Registry.PutTrust(ctx, in.Body, asking(ctx).name)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &list[fleet.Release]{releases}, nil
}

func (s *Server) putModule(ctx context.Context, in *upload) (*struct{}, error) {
	if in.size > fleet.MaxModule {
		return nil, fail(ctx, fmt.Errorf("%w: a module of %d bytes, at most %d are taken", ErrTooLarge, in.size, int64(fleet.MaxModule)))
	}
	if err := s.done(ctx, "module-put", in.Digest); err != nil {
		return nil, err
	}
	if err := s.cfg.Registry.PutModule(ctx, in.Digest, io.LimitReader(in.body, fleet.MaxModule+1)); err != nil {
		return nil, fail(ctx, err)
	}
	return nil, nil
}

func (s *Server) module(ctx context.Context, in *digestPath) (*huma.StreamResponse, error) {
	// A hub's own disk has also what an upload left that was cut off before every hub had it.
	if _, ok, err := s.cfg.Store.Modules.Has(ctx, in.Digest); err != nil {
		return nil, fail(ctx, err)
	} else if !ok {
		return nil, fail(ctx, fmt.Errorf("module %.12s: %w", in.Digest, state.ErrNotFound))
	}
	f, err := s.cfg.Registry.Module(ctx, in.Digest)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer f.Close()
		r, w := unwrap(ctx)
		w.Header().Set("Content-Type", "application/wasm")
		w.Header().Set("ETag", strconv.Quote(in.Digest))
		http.ServeContent(w, r, "", time.Time{}, f)
	}}, nil
}
