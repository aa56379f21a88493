package oci

import (
	"context"
	"fmt"
	"io"
	"time"
)

// watchdog ends a transfer in which nothing moved for maxStall: a connection that is only kept open has no end of its own.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func watch(ctx context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{ctx: ctx, cancel: cancel}
	// Questions before and after the transfer and their repetitions have a bound of their own each; 5 of them fit.
	w.timer = time.AfterFunc(5*maxStall, func() { cancel(fmt.Errorf("the registry stands still since %v", maxStall)) })
	return ctx, w
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain prefers the reason of the watchdog to "context canceled".
func (w *watchdog) explain(ref Ref, err error) error {
	if cause := context.Cause(w.ctx); cause != nil && w.ctx.Err() != nil && cause != w.ctx.Err() {
		return fmt.Errorf("%s: %w", ref, cause)
	}
	return explain(ref, err)
}

// meter tells how far a reader is.
type meter struct {
	w           *watchdog // nil: nobody waits for it
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.done += int64(n)
	if m.w != nil && n > 0 {
		m.w.timer.Reset(maxStall)
	}
	if m.tell != nil && n > 0 {
		m.tell(m.done, m.total)
	}
	return n, err
}
