package isomer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Store keeps keys and values for modules, each module apart from the others. Its methods may be called
// from several goroutines. Keys are 1 to 512 bytes of UTF-8, values at most 1 MiB; the bridge checks both. The text
// of an error reaches the guest, which may handle it: let it tell nothing about the host. NewDirStore and NewMemStore
// make one.
type Store interface {
	// Get returns the value of key; false where there is none.
	Get(ctx context.Context, module, key string) (value []byte, ok bool, err error)
	// Set gives key a value. It keeps value no longer than the call.
	Set(ctx context.Context, module, key string, value []byte) error
	// Delete removes key. That there is none is no error.
	Delete(ctx context.Context, module, key string) error
	// Keys lists the keys that begin with prefix, ordered by their bytes.
	Keys(ctx context.Context, module, prefix string) ([]string, error)
}

// StoreOption changes a store before it exists.
type StoreOption func(*storeLimits) error

type storeLimits struct{ total int64 }

const (
	defaultStoreLimit = 64 << 20
	// storeBlock is what an entry counts at least: a file system gives a file of one byte a block of this
	// size, and a module of single bytes must not fill a card at 4096 times its limit.
	storeBlock = 4096
)

// WithStoreLimit lets each module keep that many bytes. An entry counts with key and value, rounded up
// to 4 KiB. Default 64 MiB.
func WithStoreLimit(bytes int64) StoreOption {
	return func(l *storeLimits) error {
		if bytes < storeBlock {
			return fmt.Errorf("%w: store limit of %d bytes, want at least %d", ErrOption, bytes, storeBlock)
		}
		l.total = bytes
		return nil
	}
}

func newStoreLimits(opts []StoreOption) (storeLimits, error) {
	l := storeLimits{total: defaultStoreLimit}
	for _, opt := range opts {
		if err := opt(&l); err != nil {
			return l, err
		}
	}
	return l, nil
}

// cost is what an entry counts.
func cost(key string, value int64) int64 {
	return (int64(len(key)) + value + storeBlock - 1) / storeBlock * storeBlock
}

// room reports whether an entry of cost after may take the place of one of cost before.
func (l storeLimits) room(used, before, after int64) error {
	// What makes the store smaller is let through: a limit may have been lowered.
	if used-before+after > l.total && after > before {
		return fmt.Errorf("%w: %d of %d bytes are used, %d more are wanted", ErrStoreFull, used, l.total, after-before)
	}
	return nil
}

// NewMemStore makes a Store that is gone with the process.
func NewMemStore(opts ...StoreOption) (Store, error) {
	l, err := newStoreLimits(opts)
	if err != nil {
		return nil, err
	}
	return &memStore{limits: l, modules: map[string]*memSpace{}}, nil
}

type memStore struct {
	limits  storeLimits
	mu      sync.Mutex
	modules map[string]*memSpace
}

type memSpace struct {
	values map[string][]byte
	used   int64
}

func (s *memStore) Get(_ context.Context, module, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if space := s.modules[module]; space != nil {
		v, ok := space.values[key]
		return slices.Clone(v), ok, nil
	}
	return nil, false, nil
}

func (s *memStore) Set(_ context.Context, module, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	space := s.modules[module]
	if space == nil {
		space = &memSpace{values: map[string][]byte{}}
		s.modules[module] = space
	}
	var before int64
	if old, ok := space.values[key]; ok {
		before = cost(key, int64(len(old)))
	}
	after := cost(key, int64(len(value)))
	if err := s.limits.room(space.used, before, after); err != nil {
		return err
	}
	space.values[key] = slices.Clone(value)
	space.used += after - before
	return nil
}

func (s *memStore) Delete(_ context.Context, module, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if space := s.modules[module]; space != nil {
		if old, ok := space.values[key]; ok {
			space.used -= cost(key, int64(len(old)))
			delete(space.values, key)
		}
	}
	return nil
}

func (s *memStore) Keys(_ context.Context, module, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	if space := s.modules[module]; space != nil {
		for k := range space.values {
			if strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// overlay is the Store of one instance in a trial: it reads what is below and never changes it. It
// serves one module, and belongs to one goroutine at a time, as its instance does.
type overlay struct {
	base Store             // nil: nothing is below
	over map[string][]byte // nil: deleted
	used int64
}

func newOverlay(base Store) *overlay { return &overlay{base: base, over: map[string][]byte{}} }

func (o *overlay) Get(ctx context.Context, module, key string) ([]byte, bool, error) {
	v, ok := o.over[key]
	if ok || o.base == nil {
		return v, v != nil, nil
	}
	return o.base.Get(ctx, module, key)
}

func (o *overlay) Set(_ context.Context, _, key string, value []byte) error {
	return o.put(key, append([]byte{}, value...)) // not nil where it is empty
}

func (o *overlay) put(key string, value []byte) error {
	var before int64
	if old, ok := o.over[key]; ok {
		before = cost(key, int64(len(old)))
	}
	after := cost(key, int64(len(value)))
	if err := (storeLimits{defaultStoreLimit}).room(o.used, before, after); err != nil {
		return err
	}
	o.used += after - before
	o.over[key] = value
	return nil
}

func (o *overlay) Delete(_ context.Context, _, key string) error { return o.put(key, nil) }

func (o *overlay) Keys(ctx context.Context, module, prefix string) ([]string, error) {
	var keys []string
	if o.base != nil {
		below, err := o.base.Keys(ctx, module, prefix)
		if err != nil {
			return nil, err
		}
		for _, k := range below {
			if _, ok := o.over[k]; !ok {
				keys = append(keys, k)
			}
		}
	}
	for k, v := range o.over {
		if v != nil && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
