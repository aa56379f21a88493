package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

type nodeQuery struct {
	Selector string `query:"selector" default:"all" maxLength:"4096" doc:"such as layer=device,site=a"`
}

type namePath struct {
	Name string `path:"name" maxLength:"63"`
}

type invitation struct {
	Body struct {
		Name   string         `json:"name" maxLength:"63"`
		Layer  fleet.Layer    `json:"layer" enum:"device,mobile,edge,cloud"`
		Labels fleet.Labels   `json:"labels,omitempty" required:"false"`
		Lasts  fleet.Duration `json:"lasts,omitempty" required:"false" doc:"how long the token can be used; default 24h"`
	}
}

type invited struct {
	Body struct {
		Secret string   `json:"secret" doc:"shown this once"`
		CA     string   `json:"ca" doc:"SHA-256 of the fleet's CA certificate"`
		Hubs   []string `json:"hubs"`
	}
}

// lastingJoin is how long a join token can be used unless somebody says otherwise: a working day and the
// next morning.
const lastingJoin = 24 * time.Hour

func (s *Server) registerNodes() {
	huma.Register(s.api, op("nodes", http.MethodGet, "/v1/nodes", fleet.Viewer, "The nodes that a selector chooses, by name"), s.nodes)
	huma.Register(s.api, op("node", http.MethodGet, "/v1/nodes/{name}", fleet.Viewer, "A node", fails(404)), s.node)
	huma.Register(s.api, op("revoke", http.MethodPost, "/v1/nodes/{name}/revoke", fleet.Admin,
		"Throw a node out of the fleet, for good", fails(404)),
		func(ctx context.Context, in *namePath) (*struct{}, error) {
			if _, err := s.cfg.Store.Members.Get(ctx, in.Name); err != nil {
				return nil, fail(ctx, err)
			}
			if err := s.done(ctx, "revoke", in.Name); err != nil {
				return nil, err
			}
			if err := s.cfg.Gate.Revoke(ctx, in.Name); err != nil {
				return nil, fail(ctx, err)
			}
			return nil, nil
		})
	huma.Register(s.api, op("invite", http.MethodPost, "/v1/joins", fleet.Admin,
		"Make a join token, which lets one node in, once", fails(409)), s.invite)
	huma.Register(s.api, op("enrol", http.MethodPost, "/v1/enrol", "",
		"Use a join token: the node sends its secret and its public key", fails(403)), s.enrol)
}

// alive reports whether a report that the hub got at that time makes its node online now.
func (s *Server) alive(at time.Time) bool { return s.cfg.Now().Sub(at) < 3*fleet.ReportEvery }

func (s *Server) view(m fleet.Member, report state.Entry[fleet.Report]) fleet.NodeView {
	n := fleet.NodeView{Member: m}
	if report.Revision > 0 && !report.Deleted {
		n.Online, n.Heard, n.Report = s.alive(report.At) && !m.Revoked, &report.At, &report.Value
	}
	return n
}

func (s *Server) nodes(ctx context.Context, in *nodeQuery) (*list[fleet.NodeView], error) {
	sel, err := fleet.ParseSelector(in.Selector)
	if err != nil {
		return nil, fail(ctx, err)
	}
	members, err := s.cfg.Store.Members.List(ctx)
	if err != nil {
		return nil, fail(ctx, err)
	}
	reports, err := s.cfg.Store.Nodes.List(ctx)
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &list[fleet.NodeView]{Body: []fleet.NodeView{}}
	for _, m := range members {
		if !sel.Matches(m.Value.Node, m.Value.Layer, m.Value.Labels) {
			continue
		}
		at, ok := slices.BinarySearchFunc(reports, m.Key, func(e state.Entry[fleet.Report], key string) int { return cmp.Compare(e.Key, key) })
		var report state.Entry[fleet.Report]
		if ok {
			report = reports[at]
		}
		out.Body = append(out.Body, s.view(m.Value, report))
	}
	return out, nil
}

func (s *Server) node(ctx context.Context, in *namePath) (*one[fleet.NodeView], error) {
	m, err := s.cfg.Store.Members.Get(ctx, in.Name)
	if err != nil {
		return nil, fail(ctx, err)
	}
	report, err := s.cfg.Store.Nodes.Get(ctx, in.Name)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return nil, fail(ctx, err)
	}
	n := s.view(m.Value, report)
	switch d, err := s.cfg.Store.Desired.Get(ctx, in.Name); {
	case err == nil:
		n.Desired = &d.Value
	case !errors.Is(err, state.ErrNotFound):
		return nil, fail(ctx, err)
	}
	return &one[fleet.NodeView]{n}, nil
}

func (s *Server) invite(ctx context.Context, in *invitation) (*invited, error) {
	m := fleet.Member{Node: in.Body.Name, Layer: in.Body.Layer, Labels: in.Body.Labels, By: asking(ctx).name, At: s.cfg.Now().UTC()}
	if err := errors.Join(fleet.CheckNode(m.Node), m.Labels.Check()); err != nil {
		return nil, fail(ctx, err)
	}
	lasts := time.Duration(in.Body.Lasts)
	switch {
	case lasts == 0:
		lasts = lastingJoin
	case lasts < time.Minute || lasts > 30*24*time.Hour:
		return nil, fail(ctx, fmt.Errorf("%w: a join token lasts 1m to 720h, got %v", fleet.ErrInvalid, lasts))
	}
	if err := s.done(ctx, "invite", string(m.Layer)+" "+m.Node); err != nil {
		return nil, err
	}
	secret, err := s.cfg.Gate.Invite(ctx, m, lasts)
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &invited{}
	out.Body.Secret, out.Body.CA, out.Body.Hubs = secret, s.cfg.Gate.Fingerprint(), s.cfg.Gate.Addresses()
	return out, nil
}

func (s *Server) enrol(ctx context.Context, in *struct{ Body fleet.EnrolRequest }) (*one[fleet.Enrolment], error) {
	e, err := s.cfg.Gate.Redeem(ctx, in.Body)
	if err != nil {
		return nil, fail(ctx, err)
	}
	asking(ctx).name = "node " + e.Node
	if err := s.done(ctx, "enrol", e.Node); err != nil {
		return nil, err // the same key may ask again
	}
	return &one[fleet.Enrolment]{e}, nil
}
