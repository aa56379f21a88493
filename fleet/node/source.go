package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
	"github.com/isomer-iot/isomer/fleet/trace"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// ErrNotThere is something that the hub or edge does not have, perhaps not yet.
var ErrNotThere = errors.New("not there")

// ErrGone is something that the hub had and will not have again. It is an ErrNotThere.
var ErrGone = fmt.Errorf("%w any more", ErrNotThere)

// Source is where a node fetches: the hub, or the edge that it goes through. Nothing that comes from it is
// believed before it was verified.
type Source struct {
	nc   *nats.Conn
	from string // "hub" or the edge's name
}

// NewSource fetches over nc from the hub ("hub") or an edge.
func NewSource(nc *nats.Conn, from string) *Source { return &Source{nc: nc, from: from} }

// answerPatience bounds the wait for one answer: the other side may have to fetch it first.
const answerPatience = 30 * time.Second

// Ask sends one fetch request; kind and what are as in fleet.FetchSubject.
func (s *Source) Ask(ctx context.Context, kind, what string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	request := &nats.Msg{Subject: fleet.FetchSubject(s.from, kind, what), Header: trace.Inject(ctx, nil), Data: body}
	msg, err := s.nc.RequestMsgWithContext(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("%s %.20s from %s: %w", kind, what, s.from, err)
	}
	if why := msg.Header.Get(fleet.ErrorHeader); why != "" {
		code, text, _ := strings.Cut(why, " ")
		err := errors.New(text)
		switch code {
		case fleet.CodeNotFound:
			err = fmt.Errorf("%w: %s", ErrNotThere, text)
		case fleet.CodeGone:
			err = fmt.Errorf("%w: %s", ErrGone, text)
		}
		return nil, fmt.Errorf("%s %.20s from %s: %w", kind, what, s.from, err)
	}
	return msg, nil
}

// Fetch brings a file of TUF metadata.
func (s *Source) Fetch(ctx context.Context, file string, _ int64) ([]byte, error) {
	msg, err := s.Ask(ctx, "trust", fleet.TrustKey(file), nil)
	if errors.Is(err, ErrNotThere) {
		return nil, trust.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return msg.Data, nil
}

// Desired brings a node's desired state; ErrNotThere where the hub has written none since its start.
func (s *Source) Desired(ctx context.Context, node string) (*nats.Msg, error) {
	return s.Ask(ctx, "desired", node, nil)
}

// Module brings a module into the store, from where an interrupted transfer stopped. progress, if not nil, gets
// the bytes that are there after each chunk.
func (s *Source) Module(ctx context.Context, to *blob.Store, digest string, size int64, progress func(int64)) error {
	if to.Has(digest) {
		return nil
	}
	w, err := to.Write(digest, size)
	if err != nil {
		return err
	}
	defer w.Close()
	for w.Offset() < size {
		want := fleet.ChunkRequest{Offset: w.Offset(), Length: int(min(fleet.MaxChunk, size-w.Offset()))}
		msg, err := s.Ask(ctx, "module", digest, want.Encode())
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(msg.Header.Get(fleet.SizeHeader), 10, 64); err != nil || n != size {
			return fmt.Errorf("module %.12s: %w: %s says it has %q bytes, the signed list %d", digest, blob.ErrDamaged, s.from, msg.Header.Get(fleet.SizeHeader), size)
		}
		if len(msg.Data) == 0 || len(msg.Data) > want.Length {
			return fmt.Errorf("module %.12s: %w: %d bytes came where 1 to %d were asked for", digest, blob.ErrDamaged, len(msg.Data), want.Length)
		}
		if _, err := w.Write(msg.Data); err != nil {
			return err
		}
		if progress != nil {
			progress(w.Offset())
		}
	}
	return w.Commit()
}
