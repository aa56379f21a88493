package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // windows have zones, and a hub in a small container has no data of them

	"github.com/danielgtaylor/huma/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/trace"
)

type newDeployment struct {
	Body struct {
		Release  string          `json:"release" maxLength:"127" example:"digits@1.2.0"`
		To       string          `json:"to" maxLength:"4096" example:"layer=device,site=a" doc:"selector; all: every node"`
		Plan     fleet.Plan      `json:"plan,omitempty" required:"false"`
		Bindings []fleet.Binding `json:"bindings,omitempty" required:"false" maxItems:"64"`
	}
}

type one[T any] struct{ Body T }

type idPath struct {
	ID string `path:"id" maxLength:"63"`
}

type command struct {
	ID      string `path:"id" maxLength:"63"`
	Command string `path:"command" enum:"pause,resume,abort,rollback"`
	Body    struct {
		Reason string `json:"reason,omitempty" required:"false" maxLength:"500"`
	}
}

func (s *Server) registerFleet() {
	huma.Register(s.api, op("deploy", http.MethodPost, "/v1/deployments", fleet.Deployer,
		"Deploy a release to the nodes that a selector chooses", fails(404, 409)), s.deploy)
	huma.Register(s.api, op("deployments", http.MethodGet, "/v1/deployments", fleet.Viewer, "Deployments, the oldest first"),
		func(ctx context.Context, _ *struct{}) (*list[fleet.Deployment], error) {
			return all(ctx, s.cfg.Store.Deployments)
		})
	huma.Register(s.api, op("rollouts", http.MethodGet, "/v1/rollouts", fleet.Viewer, "Rollouts, the oldest first"),
		func(ctx context.Context, _ *struct{}) (*list[fleet.Rollout], error) {
			return all(ctx, s.cfg.Store.Rollouts)
		})
	huma.Register(s.api, op("rollout", http.MethodGet, "/v1/rollouts/{id}", fleet.Viewer, "A rollout with its history", fails(404)),
		func(ctx context.Context, in *idPath) (*one[fleet.Rollout], error) {
			e, err := s.cfg.Store.Rollouts.Get(ctx, in.ID)
			if err != nil {
				return nil, fail(ctx, err)
			}
			return &one[fleet.Rollout]{e.Value}, nil
		})
	huma.Register(s.api, op("rollout-command", http.MethodPost, "/v1/rollouts/{id}/{command}", fleet.Deployer,
		"Pause, resume, abort or roll back a rollout", fails(404, 409)), s.command)
}

// deploymentID sorts by time and is not guessed twice.
func deploymentID(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.Replace(now.UTC().Format("20060102-150405.000"), ".", "", 1) + "-" + hex.EncodeToString(b[:])
}

func (s *Server) deploy(ctx context.Context, in *newDeployment) (*one[fleet.Deployment], error) {
	asking(ctx).on = in.Body.Release
	ref, err := fleet.ParseRef(in.Body.Release)
	if err != nil {
		return nil, fail(ctx, err)
	}
	to, err := fleet.ParseSelector(in.Body.To)
	if err != nil {
		return nil, fail(ctx, err)
	}
	if err := in.Body.Plan.Check(); err != nil {
		return nil, fail(ctx, err)
	}
	now := s.cfg.Now().UTC()
	if w := in.Body.Plan.Window; w != nil {
		if err := w.Resolve(now); err != nil {
			return nil, fail(ctx, err)
		}
	}
	rel, err := s.cfg.Store.Releases.Get(ctx, fleet.ReleaseKey(ref))
	if errors.Is(err, state.ErrNotFound) {
		err = fmt.Errorf("release %s: %w: nobody published it, or the signed list no longer has it", ref, state.ErrNotFound)
	}
	if err != nil {
		return nil, fail(ctx, err)
	}
	if err := checkBindings(rel.Value, in.Body.Bindings); err != nil {
		return nil, fail(ctx, err)
	}
	d := fleet.Deployment{
		ID: deploymentID(now), Release: ref, Digest: rel.Value.Digest, Size: rel.Value.Size, To: to,
		Plan: in.Body.Plan, Binding: in.Body.Bindings, By: asking(ctx).name, At: now, Trace: trace.Parent(ctx),
	}
	if err := s.done(ctx, "deploy", ref.String()+" to "+to.String()+" as "+d.ID); err != nil {
		return nil, err
	}
	// The deployment comes first: a rollout without one would have nothing to do, and the controller makes
	// the rollout that a hub did not come to write.
	if _, err := s.cfg.Store.Deployments.Create(ctx, d.ID, d); err != nil {
		return nil, fail(ctx, err)
	}
	s.cfg.Wake()
	return &one[fleet.Deployment]{d}, nil
}

// checkBindings says early what every node would refuse.
func checkBindings(r fleet.Release, bindings []fleet.Binding) error {
	if err := fleet.CheckBindings(bindings); err != nil { // circles too, which a node does not look for
		return err
	}
	for _, b := range bindings {
		if r.Manifest == nil || len(r.Manifest.Functions) == 0 {
			continue // the node knows the functions
		}
		if _, ok := r.Manifest.Function(b.Call); !ok {
			return fmt.Errorf("%w: binding %s: %s has no function %s", fleet.ErrInvalid, b.Name, r.Ref, b.Call)
		}
	}
	return nil
}

func (s *Server) command(ctx context.Context, in *command) (*one[fleet.Rollout], error) {
	if _, err := s.cfg.Store.Rollouts.Get(ctx, in.ID); err != nil {
		return nil, fail(ctx, err)
	}
	if err := s.done(ctx, in.Command, in.ID); err != nil {
		return nil, err
	}
	r, err := s.cfg.Rollouts.Command(ctx, in.ID, in.Command, asking(ctx).name, in.Body.Reason)
	if err != nil {
		return nil, fail(ctx, err)
	}
	s.cfg.Wake()
	return &one[fleet.Rollout]{r}, nil
}

// all lists a bucket.
func all[T any](ctx context.Context, b *state.Bucket[T]) (*list[T], error) {
	entries, err := b.List(ctx)
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &list[T]{Body: make([]T, len(entries))}
	for i, e := range entries {
		out.Body[i] = e.Value
	}
	return out, nil
}
