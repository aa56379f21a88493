// Package fetch is the service that nodes fetch from: what hubs and edges do alike with a request. Use it in both, never in a
// node, which asks (node.Source).
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// Service is what a hub or an edge answers.
type Service struct {
	From  string // "hub", or the edge's name
	Queue string // shared by those that answer the same; empty: each answers
	// Workers is how many requests are worked on at once; waiting more than 1,024 are dropped, and asked again.
	Workers  int
	Patience time.Duration // for one request
	// Find makes the answer. An error of its own for what is not there has the code that Code gives it.
	Find func(ctx context.Context, kind, what string, body []byte) (*nats.Msg, error)
	// Code is the code of an error that fleet does not know, one of fleet.Code….
	Code func(error) string
	Log  *slog.Logger
	// Trace makes a span of each request that is part of a trace; of a module's chunks the first alone, since a transfer has
	// dozens. nil: none.
	Trace trace.Tracer
}

// waiting bounds the requests that no worker has taken.
const waiting = 1024

// Serve answers until stop, which waits for the requests that are worked on.
func (s Service) Serve(nc *nats.Conn) (stop func(), err error) {
	work := make(chan *nats.Msg, waiting)
	ctx, cancel := context.WithCancel(context.Background())
	sub, err := nc.QueueSubscribe(fleet.FetchSubject(s.From, "*", "*"), s.Queue, func(m *nats.Msg) {
		if !fleet.AnswersTo(m.Reply) {
			s.Log.Warn("fetch request that wants its answer elsewhere than at a node's inbox", "subject", m.Subject, "reply", m.Reply)
			return
		}
		select {
		case work <- m:
		default:
			s.Log.Warn("too many fetch requests at once; one is dropped", "subject", m.Subject)
		}
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("fetch service: %w", err)
	}
	var workers sync.WaitGroup
	for range s.Workers {
		workers.Go(func() {
			for {
				select {
				case m := <-work:
					s.answer(ctx, m)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return func() {
		_ = sub.Unsubscribe() // fails where the connection is closed
		cancel()
		workers.Wait()
	}, nil
}

func (s Service) answer(ctx context.Context, m *nats.Msg) {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	parts := strings.Split(m.Subject, ".") // the subscription has four
	ctx, span := s.traced(ctx, m, parts[2], parts[3])
	out, err := s.Find(ctx, parts[2], parts[3], m.Data)
	span.End(err)
	if err != nil {
		code := fleet.CodeInternal
		if errors.Is(err, fleet.ErrInvalid) {
			code = fleet.CodeInvalid
		} else if c := s.Code(err); c != "" {
			code = c
		} else if ctx.Err() == nil {
			s.Log.Warn("fetch request", "subject", m.Subject, "error", err)
		}
		out = &nats.Msg{Header: nats.Header{fleet.ErrorHeader: {code + " " + err.Error()}}}
	}
	if err := m.RespondMsg(out); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.Log.Warn("fetch request", "subject", m.Subject, "error", err)
	}
}

func (s Service) traced(ctx context.Context, m *nats.Msg, kind, what string) (context.Context, trace.Span) {
	ctx = trace.Extract(ctx, m.Header)
	t := trace.Or(s.Trace)
	if r, err := fleet.DecodeChunkRequest(m.Data); trace.Parent(ctx) == "" || kind == "module" && err == nil && r.Offset > 0 {
		t = trace.None{}
	}
	return t.Start(ctx, "fetch "+kind, trace.Server, slog.String("isomer.fetch.from", s.From), slog.String("isomer.fetch.what", what))
}

// Chunk is the part of a module that a request asks for.
func Chunk(f io.ReadSeeker, request []byte) (*nats.Msg, error) {
	r, err := fleet.DecodeChunkRequest(request)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if r.Offset > size {
		return nil, fmt.Errorf("%w: offset %d is beyond the module's %d bytes", fleet.ErrInvalid, r.Offset, size)
	}
	if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, min(int64(r.Length), size-r.Offset))
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return &nats.Msg{Data: b, Header: nats.Header{fleet.SizeHeader: {strconv.FormatInt(size, 10)}}}, nil
}
