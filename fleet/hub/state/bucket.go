package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
)

// Bucket keeps values of one type by key. Its methods may be called from several goroutines.
type Bucket[T any] struct {
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	raw bool // T is []byte and is kept as it is

	replicas int
}

func bucket[T any](s *Store, kv jetstream.KeyValue) *Bucket[T] {
	return &Bucket[T]{js: s.js, kv: kv, replicas: s.replicas}
}

// Entry is a value with its key. Deleted entries, which only Watch sees, have a zero Value.
type Entry[T any] struct {
	Key      string
	Value    T
	Revision uint64
	At       time.Time // when it was written, by the server's clock
	Deleted  bool
}

// Get returns the entry, ErrNotFound where there is none.
func (b *Bucket[T]) Get(ctx context.Context, key string) (Entry[T], error) {
	e, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) && b.replicas > 1 {
		return b.ofLeader(ctx, key)
	}
	if err != nil {
		return Entry[T]{}, b.fail(key, err)
	}
	return b.decode(e)
}

// Latest is Get for who decides by what it reads: in a cluster it asks the server that leads, which has heard of every
// write that was acknowledged.
func (b *Bucket[T]) Latest(ctx context.Context, key string) (Entry[T], error) {
	if b.replicas > 1 {
		return b.ofLeader(ctx, key)
	}
	return b.Get(ctx, key)
}

// ofLeader reads from the server that leads the bucket's stream. Any replica answers a get, also one that has not heard of
// a write that was acknowledged just now: a node would be refused whose token another hub made a moment ago.
func (b *Bucket[T]) ofLeader(ctx context.Context, key string) (Entry[T], error) {
	got, err := lastOfLeader(ctx, b.js, "KV_"+b.kv.Bucket(), "$KV."+b.kv.Bucket()+"."+key)
	if err == nil && (bytes.Contains(got.Header, []byte("KV-Operation")) || bytes.Contains(got.Header, []byte("Nats-Marker-Reason"))) {
		err = jetstream.ErrKeyDeleted
	}
	if err != nil {
		return Entry[T]{}, b.fail(key, err)
	}
	d := Entry[T]{Key: key, Revision: got.Sequence, At: got.Time}
	if b.raw {
		d.Value = any(got.Data).(T)
	} else if err := json.Unmarshal(got.Data, &d.Value); err != nil {
		return d, b.fail(key, fmt.Errorf("what is stored cannot be read: %w", err))
	}
	return d, nil
}

// Create writes a key that does not exist, and returns its revision; ErrConflict where it does.
func (b *Bucket[T]) Create(ctx context.Context, key string, v T) (uint64, error) {
	return b.write(key, v, func(data []byte) (uint64, error) { return b.kv.Create(ctx, key, data) })
}

// Update writes a key that still has the revision; ErrConflict where it changed or is gone.
func (b *Bucket[T]) Update(ctx context.Context, key string, v T, revision uint64) (uint64, error) {
	return b.write(key, v, func(data []byte) (uint64, error) { return b.kv.Update(ctx, key, data, revision) })
}

// Put writes a key whatever it was.
func (b *Bucket[T]) Put(ctx context.Context, key string, v T) (uint64, error) {
	return b.write(key, v, func(data []byte) (uint64, error) { return b.kv.Put(ctx, key, data) })
}

// Change reads the key, lets edit change the value and writes it by compare-and-set, again where somebody
// was first. An error of edit ends it and is returned as it is.
func (b *Bucket[T]) Change(ctx context.Context, key string, edit func(*T) error) (T, error) {
	for {
		e, err := b.Get(ctx, key)
		if err != nil {
			return e.Value, err
		}
		if err := edit(&e.Value); err != nil {
			return e.Value, err
		}
		if _, err = b.Update(ctx, key, e.Value, e.Revision); !errors.Is(err, ErrConflict) {
			return e.Value, err
		}
		if ctx.Err() != nil {
			return e.Value, b.fail(key, ctx.Err())
		}
	}
}

func (b *Bucket[T]) write(key string, v T, write func([]byte) (uint64, error)) (uint64, error) {
	data, err := b.encode(v)
	if err != nil {
		return 0, b.fail(key, err)
	}
	rev, err := write(data)
	if err != nil {
		return 0, b.fail(key, err)
	}
	return rev, nil
}

// Write is a value for a key, to be written if the key still has the revision; 0: if it does not exist.
type Write[T any] struct {
	Value    T
	Revision uint64
}

// UpdateAll writes many keys by compare-and-set, several at a time: one after the other 5,000 would wait for
// as many answers. Keys that changed meanwhile are left as they are and come back in conflicts; the errors of
// others are joined.
func (b *Bucket[T]) UpdateAll(ctx context.Context, writes map[string]Write[T]) (conflicts []string, err error) {
	var errs []error
	err = b.publishAll(ctx, func(yield func(key string, v T, opts ...jetstream.PublishOpt) bool) {
		for key, w := range writes {
			if !yield(key, w.Value, jetstream.WithExpectLastSequencePerSubject(w.Revision)) {
				return
			}
		}
	}, func(key string, err error) {
		if err = b.fail(key, err); errors.Is(err, ErrConflict) {
			conflicts = append(conflicts, key)
			return
		}
		errs = append(errs, err)
	})
	return conflicts, errors.Join(append(errs, err)...)
}

// PutAll writes many keys whatever they were, several at a time. It returns the errors joined; keys that are
// not named there were written.
func (b *Bucket[T]) PutAll(ctx context.Context, values map[string]T) error {
	var errs []error
	err := b.publishAll(ctx, func(yield func(key string, v T, opts ...jetstream.PublishOpt) bool) {
		for key, v := range values {
			if !yield(key, v) {
				return
			}
		}
	}, func(key string, err error) { errs = append(errs, b.fail(key, err)) })
	return errors.Join(append(errs, err)...)
}

// publishAll publishes what each yields without waiting in between, then waits for all answers, and tells
// failed of those that are none. Its own error is the end of ctx.
func (b *Bucket[T]) publishAll(ctx context.Context, each func(yield func(key string, v T, opts ...jetstream.PublishOpt) bool), failed func(key string, err error)) error {
	type pending struct {
		key string
		ack jetstream.PubAckFuture
	}
	var waiting []pending
	each(func(key string, v T, opts ...jetstream.PublishOpt) bool {
		data, err := b.encode(v)
		var ack jetstream.PubAckFuture
		if err == nil {
			ack, err = b.js.PublishMsgAsync(&nats.Msg{Subject: "$KV." + b.kv.Bucket() + "." + key, Data: data}, opts...)
		}
		if err != nil {
			failed(key, err)
		} else {
			waiting = append(waiting, pending{key, ack})
		}
		return ctx.Err() == nil
	})
	for _, p := range waiting {
		select {
		case <-p.ack.Ok():
		case err := <-p.ack.Err():
			failed(p.key, err)
		case <-ctx.Done():
			return b.fail(p.key, ctx.Err())
		}
	}
	return ctx.Err()
}

// Delete removes a key. That there is none is no error.
func (b *Bucket[T]) Delete(ctx context.Context, key string) error {
	if err := b.kv.Delete(ctx, key); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return b.fail(key, err)
	}
	return nil
}

// DeleteAt removes a key that still has the revision; ErrConflict where it changed.
func (b *Bucket[T]) DeleteAt(ctx context.Context, key string, revision uint64) error {
	if err := b.kv.Delete(ctx, key, jetstream.LastRevision(revision)); err != nil {
		return b.fail(key, err)
	}
	return nil
}

// List returns all entries by key.
func (b *Bucket[T]) List(ctx context.Context) ([]Entry[T], error) {
	w, err := b.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, b.fail("", err)
	}
	defer w.Stop()
	var all []Entry[T]
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil, b.fail("", errors.Join(ctx.Err(), nats.ErrConnectionClosed))
			case e == nil:
				slices.SortFunc(all, func(x, y Entry[T]) int { return strings.Compare(x.Key, y.Key) })
				return all, nil
			}
			d, err := b.decode(e)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		case <-ctx.Done():
			return nil, b.fail("", ctx.Err())
		}
	}
}

// Watch calls change for each entry there is, then caughtUp once, then change for each that changes, until
// ctx ends or the watch breaks; it always returns an error. Entries that cannot be read are reported by an
// entry with Deleted set, since a value that nobody understands is none.
func (b *Bucket[T]) Watch(ctx context.Context, change func(Entry[T]), caughtUp func()) error {
	w, err := b.kv.WatchAll(ctx)
	if err != nil {
		return b.fail("", err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return b.fail("", errors.Join(ctx.Err(), nats.ErrConnectionClosed))
			case e == nil:
				caughtUp()
				continue
			}
			d, err := b.decode(e)
			if err != nil {
				d = Entry[T]{Key: e.Key(), Revision: e.Revision(), At: e.Created(), Deleted: true}
			}
			change(d)
		case <-ctx.Done():
			return b.fail("", ctx.Err())
		}
	}
}

func (b *Bucket[T]) encode(v T) ([]byte, error) {
	if b.raw {
		return any(v).([]byte), nil
	}
	return json.Marshal(v)
}

func (b *Bucket[T]) decode(e jetstream.KeyValueEntry) (Entry[T], error) {
	d := Entry[T]{Key: e.Key(), Revision: e.Revision(), At: e.Created(), Deleted: e.Operation() != jetstream.KeyValuePut}
	if d.Deleted {
		return d, nil
	}
	if b.raw {
		d.Value = any(e.Value()).(T)
		return d, nil
	}
	if err := json.Unmarshal(e.Value(), &d.Value); err != nil {
		return d, b.fail(d.Key, fmt.Errorf("what is stored cannot be read: %w", err))
	}
	return d, nil
}

// fail names the bucket and the key, and turns the client's errors into the package's.
func (b *Bucket[T]) fail(key string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted), errors.Is(err, jetstream.ErrMsgNotFound):
		err = ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch), wrongSequence(err):
		err = ErrConflict
	case errors.Is(err, jetstream.ErrInvalidKey):
		err = fmt.Errorf("%w: %w", ErrNotFound, err) // no such key can exist
	}
	if key == "" {
		return fmt.Errorf("%s: %w", b.kv.Bucket(), err)
	}
	if noun := nouns[b.kv.Bucket()]; noun != "" && errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s %s: %w", noun, key, err)
	}
	return fmt.Errorf("%s %s: %w", b.kv.Bucket(), key, err)
}

// nouns are what people call an entry of the buckets whose keys they type.
var nouns = map[string]string{
	fleet.MembersBucket: "node", fleet.ReleasesBucket: "release", fleet.DeploymentsBucket: "deployment", fleet.RolloutsBucket: "rollout",
}

// wrongSequence is a publish that expected another revision.
func wrongSequence(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
