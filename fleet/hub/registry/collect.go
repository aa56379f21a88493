package registry

import (
	"context"
	"errors"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trust"
)

// Modules that no release has are removed: from a hub's disk after cacheGrace, since they can be fetched again, and from
// the object store, where they are gone for good, after storeGrace. A developer may upload today and sign tomorrow, and
// where several have to sign that takes days.
const (
	collectEvery = time.Hour
	cacheGrace   = 24 * time.Hour
	storeGrace   = 7 * 24 * time.Hour
)

// CollectCache keeps the hub's own disk free of what no release has, until ctx ends.
func (r *Registry) CollectCache(ctx context.Context) error {
	return r.every(ctx, func(ctx context.Context) error { return r.SweepCache(ctx, cacheGrace) })
}

// CollectStore does the same with the object store. One hub at a time has to.
func (r *Registry) CollectStore(ctx context.Context) error {
	return r.every(ctx, func(ctx context.Context) error { return r.SweepStore(ctx, storeGrace) })
}

func (r *Registry) every(ctx context.Context, sweep func(context.Context) error) error {
	for {
		select {
		case <-time.After(collectEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("modules that no release has", "error", err)
		}
	}
}

// SweepCache removes from the hub's disk the modules that no release has and that came before grace.
func (r *Registry) SweepCache(ctx context.Context, grace time.Duration) error {
	wanted, err := r.wanted(ctx)
	if err != nil {
		return err
	}
	freed, err := r.cache.Collect(wanted, grace)
	if freed > 0 {
		r.log.Info("modules that no release has are removed from this hub's disk", "bytes", freed)
	}
	return err
}

// SweepStore removes them from the object store. One that is signed at this very moment is put back by PutTrust.
func (r *Registry) SweepStore(ctx context.Context, grace time.Duration) error {
	have, err := r.store.Modules.List(ctx)
	if err != nil {
		return err
	}
	wanted, err := r.wanted(ctx) // after the list: what was signed in between is wanted
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range have {
		if wanted(m.Digest) || time.Since(m.At) < grace {
			continue
		}
		if err := r.store.Modules.Delete(ctx, m.Digest); err != nil {
			errs = append(errs, err)
			continue
		}
		r.log.Info("a module that no release has is removed", "digest", m.Digest, "bytes", m.Size, "uploaded", m.At)
	}
	return errors.Join(errs...)
}

// wanted tells modules that releases have, or that some node is to run, from others.
func (r *Registry) wanted(ctx context.Context) (func(digest string) bool, error) {
	digests := map[string]bool{}
	files, _, err := r.latest(ctx)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		var info trust.Info
		if info, err = files.Inspect(); err != nil {
			return nil, err
		}
		for _, t := range info.Releases {
			digests[t.Digest] = true
		}
	}
	desired, err := r.store.Desired.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range desired {
		for _, m := range e.Value.Modules {
			digests[m.Digest] = true
		}
	}
	return func(d string) bool { return digests[d] }, nil
}

// ensure puts back what others removed between its check and the signed list that names it: modules, and records, which are
// written in any case, so that who is about to remove one finds it changed.
func (r *Registry) ensure(ctx context.Context, made []fleet.Release) error {
	for _, rel := range made {
		if _, err := r.store.Releases.Put(ctx, fleet.ReleaseKey(rel.Ref), rel); err != nil {
			return err
		}
		_, ok, err := r.store.Modules.Has(ctx, rel.Digest)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		f, err := r.cache.Open(rel.Digest)
		if err != nil {
			return err
		}
		err = r.store.Modules.Put(ctx, rel.Digest, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
