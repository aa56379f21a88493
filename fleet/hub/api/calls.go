package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

type call struct {
	Module   string  `path:"module" maxLength:"63"`
	Function string  `path:"function" maxLength:"255"`
	Node     string  `query:"node" maxLength:"63" doc:"the node that answers"`
	Layer    string  `query:"layer" doc:"or any one node of this layer"`
	Seconds  float64 `query:"seconds" default:"10" minimum:"0.01" maximum:"120" doc:"how long to wait"`
	Type     string  `header:"Content-Type" doc:"application/json, image/jpeg, image/png, or application/octet-stream"`

	body []byte
}

// Resolve reads the body itself: huma takes a raw body for required, and functions of no input have none.
func (c *call) Resolve(ctx huma.Context) []error {
	r, w := unwrap(ctx)
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return []error{err}
	}
	if math.IsNaN(c.Seconds) { // which is below no minimum
		return []error{&huma.ErrorDetail{Location: "query.seconds", Message: "want a number of seconds, such as 10", Value: "NaN"}}
	}
	var err error
	c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	if _, more := errors.AsType[*http.MaxBytesError](err); more {
		return []error{fail(ctx.Context(), fmt.Errorf("%w: the input of a call has at most %d bytes", ErrTooLarge, maxCall))}
	}
	if err != nil {
		return []error{fmt.Errorf("body: %w", err)}
	}
	return nil
}

func (s *Server) registerCalls() {
	huma.Register(s.api, op("call", http.MethodPost, "/v1/call/{module}/{function}", fleet.Deployer,
		"Call a function on a node and return its answer", fails(404, 413, 502, 504)), s.call)
	s.describeBody("/v1/call/{module}/{function}", "the input; a function of no input needs none",
		"application/octet-stream", "application/json", "image/jpeg", "image/png")
}

// describeBody adds to the document what an operation that reads its body itself takes. huma would read and
// validate it if it knew beforehand.
func (s *Server) describeBody(path, words string, types ...string) {
	item := s.api.OpenAPI().Paths[path]
	o := item.Post
	if item.Put != nil {
		o = item.Put
	}
	o.RequestBody = &huma.RequestBody{Description: words, Content: map[string]*huma.MediaType{}}
	for _, t := range types {
		o.RequestBody.Content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
}

// subject is where the call goes.
func (c *call) subject() (string, error) {
	if err := fleet.CheckName("module", c.Module); err != nil {
		return "", err
	}
	if c.Function == "" || strings.ContainsAny(c.Function, ".*> \t\r\n") {
		return "", fmt.Errorf("%w: function %q cannot be called from afar", fleet.ErrInvalid, c.Function)
	}
	if (c.Node == "") == (c.Layer == "") {
		return "", fmt.Errorf("%w: say either node or layer", fleet.ErrInvalid)
	}
	if c.Node != "" {
		return fleet.CallSubject(c.Node, c.Module, c.Function), fleet.CheckNode(c.Node)
	}
	layer, err := fleet.ParseLayer(c.Layer)
	return fleet.AnyCallSubject(layer, c.Module, c.Function), err
}

func (s *Server) call(ctx context.Context, in *call) (*huma.StreamResponse, error) {
	subject, err := in.subject()
	if err != nil {
		return nil, fail(ctx, err)
	}
	if err := s.done(ctx, "call", subject); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Seconds*float64(time.Second)))
	defer cancel()
	header := map[string][]string{}
	if in.Type != "" {
		header[fleet.EncodingHeader] = []string{in.Type}
	}
	ctx, span := s.cfg.Trace.Start(ctx, "call "+in.Module+"."+in.Function, trace.Client, slog.String("messaging.destination.name", subject))
	got, body, err := s.cfg.Nodes.Call(ctx, subject, trace.Inject(ctx, header), in.body)
	if errors.Is(err, ErrNoNode) {
		err = fmt.Errorf("%w to %s %s: %s", ErrNoNode, in.Module, in.Function, in.silent())
	}
	if why := first(got, fleet.ErrorHeader); why != "" {
		span.End(errors.New(why))
	} else {
		span.End(err)
	}
	if err != nil {
		return nil, fail(ctx, err)
	}
	if why := first(got, fleet.ErrorHeader); why != "" {
		asking(ctx).why = why
		return nil, huma.Error502BadGateway(why)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		kind := first(got, fleet.EncodingHeader)
		if kind == "" {
			kind = "application/octet-stream"
		}
		ctx.SetHeader("Content-Type", kind)
		ctx.SetHeader("X-Content-Type-Options", "nosniff")
		for _, h := range []string{fleet.NodeHeader, fleet.ReleaseHeader, fleet.DigestHeader, fleet.TookHeader} {
			if v := first(got, h); v != "" {
				ctx.SetHeader(h, v)
			}
		}
		ctx.SetStatus(http.StatusOK)
		_, _ = ctx.BodyWriter().Write(body) // the client is gone where this fails
	}}, nil
}

// silent says why nobody may have answered.
func (c *call) silent() string {
	if c.Node != "" {
		return c.Node + " is offline, is no node of this fleet, or has no such module"
	}
	return "no node of layer " + c.Layer + " that is online has such a module"
}

func first(h map[string][]string, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}
