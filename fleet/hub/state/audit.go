package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
)

// Audit writes an entry, which nobody can delete or change afterwards. It returns when the entry is on the
// disk, so that what it tells of can wait for it.
func (s *Store) Audit(ctx context.Context, e fleet.AuditEntry) error {
	b, err := json.Marshal(e)
	if err == nil {
		_, err = s.js.Publish(ctx, "audit."+e.Result, b)
	}
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// AuditOnce is Audit for an entry that may have been written before, with the same key of letters and digits: it is
// there once. It reports whether it wrote it.
func (s *Store) AuditOnce(ctx context.Context, key string, e fleet.AuditEntry) (bool, error) {
	b, err := json.Marshal(e)
	if err == nil {
		_, err = s.js.Publish(ctx, "audit."+e.Result+"."+key, b, jetstream.WithExpectLastSequencePerSubject(0))
	}
	if wrongSequence(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("audit log: %w", err)
	}
	return true, nil
}

// Audited returns up to limit entries, the newest last, that are not older than since.
func (s *Store) Audited(ctx context.Context, since time.Time, limit int) ([]fleet.AuditEntry, error) {
	str, err := s.js.Stream(ctx, fleet.AuditStream)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	info, err := str.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	first := info.State.FirstSeq
	if n := uint64(limit); info.State.LastSeq >= n && first < info.State.LastSeq-n+1 {
		first = info.State.LastSeq - n + 1
	}
	var out []fleet.AuditEntry
	for seq := first; seq <= info.State.LastSeq && seq > 0; seq++ {
		msg, err := str.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("audit log: entry %d: %w", seq, err)
		}
		var e fleet.AuditEntry
		if err := json.Unmarshal(msg.Data, &e); err != nil {
			return nil, fmt.Errorf("audit log: entry %d cannot be read: %w", seq, err)
		}
		if !msg.Time.Before(since) {
			out = append(out, e)
		}
	}
	return out, nil
}
