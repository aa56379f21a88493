package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/feed"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// beat is sent when nothing happens, so that either side notices a dead connection.
const beat = 15 * time.Second

// The library's deadline for a write, 5 s, is set at one event and ends an idle stream of HTTP/2 before the next.
func init() { sse.WriteTimeout = 3 * beat }

// Beat says that the connection lives.
type Beat struct {
	At time.Time `json:"at"`
}

// Problem ends a stream: the client begins again.
type Problem struct {
	Message string `json:"message"`
}

type logsQuery struct {
	Name   string `path:"name" maxLength:"63"`
	Follow bool   `query:"follow" doc:"stay, and send lines as they come"`
}

// Resolve refuses a name of several parts: it goes into the subject of a request to the node, where "dev7.digits" would
// have the module's function "logs" called, which a viewer may not.
func (q *logsQuery) Resolve(huma.Context) []error {
	if err := fleet.CheckNode(q.Name); err != nil {
		return []error{&huma.ErrorDetail{Location: "path.name", Message: err.Error(), Value: q.Name}}
	}
	return nil
}

func (s *Server) registerWatch() {
	sse.Register(s.api, op("rollout-watch", http.MethodGet, "/v1/rollouts/{id}/watch", fleet.Viewer,
		"A rollout at each of its changes, until it ends", fails(404), s.before(s.knowsRollout)),
		map[string]any{"rollout": fleet.Rollout{}, "beat": Beat{}, "problem": Problem{}}, s.watchRollout)
	sse.Register(s.api, op("watch", http.MethodGet, "/v1/watch", fleet.Viewer,
		"The fleet: everything once, then what changes, a few times a second"),
		map[string]any{"changes": feed.Batch{}, "hub": About{}, "beat": Beat{}, "problem": Problem{}}, s.watchFleet)
	sse.Register(s.api, op("logs", http.MethodGet, "/v1/nodes/{name}/logs", fleet.Viewer,
		"What a node and its modules logged", fails(404), s.before(s.knowsNode)),
		map[string]any{"log": fleet.LogLine{}, "beat": Beat{}, "problem": Problem{}}, s.logs)
}

// before has an operation whose answer is a stream say what is wrong while there still is a status to say it with.
func (s *Server) before(look func(huma.Context) error) func(*huma.Operation) {
	return func(o *huma.Operation) {
		o.Middlewares = append(o.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
			err := look(ctx)
			if err == nil {
				next(ctx)
				return
			}
			status := http.StatusInternalServerError
			if e, ok := errors.AsType[huma.StatusError](fail(ctx.Context(), err)); ok {
				status = e.GetStatus()
			}
			_ = huma.WriteErr(s.api, ctx, status, err.Error())
		})
	}
}

// knowsRollout also takes a deployment whose rollout the controller has still to write.
func (s *Server) knowsRollout(ctx huma.Context) error {
	id := ctx.Param("id")
	_, err := s.cfg.Store.Rollouts.Get(ctx.Context(), id)
	if errors.Is(err, state.ErrNotFound) {
		_, err = s.cfg.Store.Deployments.Get(ctx.Context(), id)
	}
	return err
}

func (s *Server) knowsNode(ctx huma.Context) error {
	name := ctx.Param("name")
	if fleet.CheckNode(name) != nil {
		return nil // the query says so itself
	}
	_, err := s.cfg.Store.Members.Get(ctx.Context(), name)
	return err
}

// About is what a page has to know of the hub before it shows the fleet.
type About struct {
	Version string     `json:"version"`
	Name    string     `json:"name"` // of the token that asks
	Role    fleet.Role `json:"role"`
	// Silent is for how many milliseconds a node may be unheard before it counts as offline.
	Silent int64 `json:"silent"`
}

func (s *Server) watchFleet(ctx context.Context, _ *struct{}, send sse.Sender) {
	who := asking(ctx)
	if send.Data(About{s.cfg.Version, who.name, who.role, (3 * fleet.ReportEvery).Milliseconds()}) != nil {
		return
	}
	look := s.feed.Follow()
	defer look.Close()
	pace := time.NewTicker(feed.Every)
	defer pace.Stop()
	ready, beaten := false, time.Now()
	for {
		waiting, done := context.WithTimeout(ctx, beat)
		b, err := look.Next(waiting)
		done()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			_ = send.Data(Problem{err.Error()})
			return
		case err == nil:
			if send.Data(b) != nil {
				return
			}
			ready = ready || b.Ready
		}
		if time.Since(beaten) >= beat {
			beaten = time.Now()
			if err := s.stillMay(ctx); err != nil {
				_ = send.Data(Problem{err.Error()})
				return
			}
			if send.Data(Beat{s.cfg.Now().UTC()}) != nil {
				return
			}
		}
		if ready { // until then as fast as it goes
			select {
			case <-pace.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *Server) watchRollout(ctx context.Context, in *idPath, send sse.Sender) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan fleet.Rollout, 16)
	gone := make(chan error, 1)
	go func() {
		gone <- s.cfg.Store.Rollouts.Watch(ctx, func(e state.Entry[fleet.Rollout]) {
			if e.Key == in.ID && !e.Deleted {
				select {
				case changes <- e.Value:
				case <-ctx.Done():
				}
			}
		}, func() {})
	}()
	for {
		select {
		case r := <-changes:
			if send.Data(r) != nil || r.Phase.Ended() {
				return
			}
		case <-time.After(beat):
			if err := s.stillMay(ctx); err != nil {
				_ = send.Data(Problem{err.Error()})
				return
			}
			if send.Data(Beat{s.cfg.Now().UTC()}) != nil {
				return
			}
		case err := <-gone:
			_ = send.Data(Problem{err.Error()})
			return
		}
	}
}

// logs asks the node for what it keeps in memory and, to follow, to publish what comes; asking again before
// that runs out keeps it publishing. A node that nobody watches sends nothing but warnings.
func (s *Server) logs(ctx context.Context, in *logsQuery, send sse.Sender) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan fleet.LogLine, 1024)
	if in.Follow {
		err := s.cfg.Nodes.Subscribe(ctx, fleet.TelemetrySubject(in.Name, fleet.LogSubject), func(_ string, data []byte) {
			var l fleet.LogLine
			if json.Unmarshal(data, &l) == nil {
				select {
				case lines <- l:
				default: // the client is too slow: it misses lines, and the hub's memory stays bounded
				}
			}
		})
		if err != nil {
			_ = send.Data(Problem{err.Error()})
			return
		}
	}
	ask := func(request fleet.LogRequest) ([]fleet.LogLine, error) {
		b, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		actx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, body, err := s.cfg.Nodes.Call(actx, fleet.LogsSubject(in.Name), nil, b)
		if errors.Is(err, ErrNoNode) {
			err = fmt.Errorf("%w: %s is offline", ErrNoNode, in.Name)
		}
		if err != nil {
			return nil, err
		}
		var kept []fleet.LogLine
		return kept, json.Unmarshal(body, &kept)
	}
	kept, err := ask(fleet.LogRequest{Follow: in.Follow})
	if err != nil {
		_ = send.Data(Problem{err.Error()})
		return
	}
	for _, l := range kept {
		if send.Data(l) != nil {
			return
		}
	}
	again := time.NewTicker(fleet.LogFollow / 2)
	defer again.Stop()
	for in.Follow {
		select {
		case l := <-lines:
			err = send.Data(l)
		case <-again.C:
			if err := s.stillMay(ctx); err != nil {
				_ = send.Data(Problem{err.Error()})
				return
			}
			if _, lost := ask(fleet.LogRequest{Follow: true, Brief: true}); lost != nil {
				_ = send.Data(Problem{lost.Error()})
			}
			err = send.Data(Beat{s.cfg.Now().UTC()})
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
