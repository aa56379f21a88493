package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/enrol"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/internal/fetch"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// supply answers the fetch requests of nodes: chunks of modules, TUF metadata, desired states. What a node
// may ask for is the broker's business: its permissions name its own desired state alone.
type supply struct {
	store    *state.Store
	registry *registry.Registry
	counts   *counters
	log      *slog.Logger
	trace    trace.Tracer
}

// supplyPatience bounds the work for one request.
const supplyPatience = 20 * time.Second

// serve answers until stop. Hubs of a cluster share the requests.
func (s *supply) serve(nc *nats.Conn) (stop func(), err error) {
	return fetch.Service{
		From: "hub", Queue: "hub", Workers: 8, // requests wait for the disk, not for a processor
		Patience: supplyPatience, Find: s.find, Log: s.log, Trace: s.trace,
		Code: func(err error) string {
			switch {
			case errors.Is(err, errRevoked):
				return fleet.CodeGone
			case errors.Is(err, state.ErrNotFound):
				return fleet.CodeNotFound
			}
			return ""
		},
	}.Serve(nc)
}

// errRevoked is the desired state of a node that was thrown out.
var errRevoked = errors.New("the node was revoked")

func (s *supply) find(ctx context.Context, kind, what string, body []byte) (*nats.Msg, error) {
	answer, err := s.look(ctx, kind, what, body)
	s.counts.fetched(kind, answer, err)
	return answer, err
}

func (s *supply) look(ctx context.Context, kind, what string, body []byte) (*nats.Msg, error) {
	switch kind {
	case "module":
		if err := fleet.CheckDigest(what); err != nil {
			return nil, err
		}
		f, err := s.registry.Module(ctx, what)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return fetch.Chunk(f, body)
	case "trust":
		b, err := s.registry.File(ctx, what)
		return &nats.Msg{Data: b}, err
	case "desired":
		e, err := s.store.Desired.Get(ctx, what)
		if errors.Is(err, state.ErrNotFound) {
			if m, merr := s.store.Members.Get(ctx, what); merr == nil && m.Value.Revoked {
				err = fmt.Errorf("%s: %w", what, errRevoked)
			}
		}
		if err != nil {
			return nil, err
		}
		return document(e)
	case "link": // an edge says that its link is up
		return &nats.Msg{}, s.store.Linked(ctx, what)
	case "account":
		e, err := s.store.Account.Get(ctx, what)
		if err != nil {
			return nil, err
		}
		return document(e)
	}
	return nil, fmt.Errorf("%w: kind %q is none of module, trust, desired, account, link", fleet.ErrInvalid, kind)
}

// revision says which revision an answer has, in the header in which republished messages have it.
func revision(n uint64) nats.Header {
	return nats.Header{fleet.RevisionHeader: {strconv.FormatUint(n, 10)}}
}

// document is an entry as a message, such as the bucket's own republishing makes it.
func document[T any](e state.Entry[T]) (*nats.Msg, error) {
	b, err := json.Marshal(e.Value)
	if err != nil {
		return nil, err
	}
	return &nats.Msg{Data: b, Header: revision(e.Revision)}, nil
}

// serveEnrolment answers requests that edges pass on for devices which cannot reach the hub's API.
func serveEnrolment(nc *nats.Conn, desk *enrol.Desk, store *state.Store, log *slog.Logger) error {
	_, err := nc.QueueSubscribe(fleet.EnrolSubject, "hub", func(m *nats.Msg) {
		if !fleet.AnswersTo(m.Reply) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), supplyPatience)
		defer cancel()
		entry := fleet.AuditEntry{At: time.Now().UTC(), Who: "nobody", From: "an edge", What: "enrol", Result: "refused"}
		var request fleet.EnrolRequest
		var answer fleet.Enrolment
		err := json.Unmarshal(m.Data, &request)
		if err == nil {
			answer, err = desk.Redeem(ctx, request)
		}
		out := &nats.Msg{}
		if err == nil {
			entry.Who, entry.On, entry.Result = "node "+answer.Node, answer.Node, "done"
			out.Data, err = json.Marshal(answer)
		}
		if err != nil {
			entry.Reason = err.Error()
			out = &nats.Msg{Header: nats.Header{fleet.ErrorHeader: {err.Error()}}}
		}
		if err := store.Audit(ctx, entry); err != nil {
			log.Error("audit log", "entry", entry, "error", err)
			return // and so no answer: nobody comes in unrecorded
		}
		if err := m.RespondMsg(out); err != nil {
			log.Debug("enrolment", "error", err)
		}
	})
	if err != nil {
		return fmt.Errorf("enrolment: %w", err)
	}
	return nil
}
