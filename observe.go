package isomer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/isomer-iot/isomer/abi"
)

// Observer is told about each call, in the goroutine that calls: packages metrics and tracing have one
// each. It must be safe for concurrent use, and quick, since the caller waits for it.
type Observer interface {
	// CallBegan comes before a call looks for an instance. The call goes on under the context that it
	// returns, ctx or one made from it, which host functions that the module calls get too. What c says
	// about the module may change until the call is admitted: a swap may come between.
	CallBegan(ctx context.Context, c CallInfo) context.Context
	// CallEnded gets the context that CallBegan of the same Observer returned.
	CallEnded(ctx context.Context, c CallInfo)
}

// EventObserver is an Observer that gets events too, as WithEvents does, with the Module that they are
// about. The first event of a Module that serves is Loaded.
type EventObserver interface {
	Observer
	ModuleEvent(m *Module, e Event)
}

// CallInfo is what an Observer sees of a call.
type CallInfo struct {
	// Module, Version, Digest and Generation are of the module that served the call; where the call was
	// not admitted, of the one that serves others. Empty: the Module is closed.
	Module, Version, Digest string
	Generation              uint64

	Function   string         // as the caller spelled it
	Convention abi.Convention // empty: the module has no such function
	Input      int            // bytes given to the guest

	// The rest is known to CallEnded.
	Output int           // bytes taken from the guest
	Waited time.Duration // for an instance; of Took
	Took   time.Duration
	Err    error // nil, or what the caller gets
}

// Outcome says in one word how a call ended.
type Outcome string

// The outcomes of a call.
const (
	OutcomeOK         Outcome = "ok"
	OutcomeApp        Outcome = "app"         // the function said no
	OutcomeTrap       Outcome = "trap"        // the guest died
	OutcomeLimit      Outcome = "limit"       // deadline, memory, stack or output
	OutcomeArgument   Outcome = "argument"    // input that does not fit the function
	OutcomeResult     Outcome = "result"      // a result that its encoding cannot hold
	OutcomeNoFunction Outcome = "no_function" // the module does not have it
	OutcomeBusy       Outcome = "busy"        // the queue was full
	OutcomeCanceled   Outcome = "canceled"    // the context ended before an instance was free
	OutcomeClosed     Outcome = "closed"
	OutcomeOther      Outcome = "other"
)

// OutcomeOf is the outcome of a call that returned err. An error that some caller wrapped is found too.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeOK
	}
	var app *AppError
	var trap *TrapError
	var limit *LimitError
	switch { // the three kinds first: their causes may match what follows
	case errors.As(err, &app):
		return OutcomeApp
	case errors.As(err, &limit):
		return OutcomeLimit
	case errors.As(err, &trap):
		return OutcomeTrap
	case errors.Is(err, ErrArgument):
		return OutcomeArgument
	case errors.Is(err, ErrResult):
		return OutcomeResult
	case errors.Is(err, ErrNoFunction):
		return OutcomeNoFunction
	case errors.Is(err, ErrBusy):
		return OutcomeBusy
	case errors.Is(err, ErrClosed):
		return OutcomeClosed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return OutcomeCanceled
	}
	return OutcomeOther
}

// WithObserver tells o about each call, and about events where it is an EventObserver. May be given
// several times; each gets the context that the one before it returned. Without one a call pays for
// one comparison.
func WithObserver(o Observer) Option {
	return func(opts *options) error {
		if o == nil {
			return fmt.Errorf("%w: observer is nil", ErrOption)
		}
		opts.observers = append(opts.observers, o)
		return nil
	}
}

// observation is a call that someone looks at.
type observation struct {
	observers []Observer
	contexts  []context.Context // of each observer
	two       [2]context.Context
	began     time.Time
	info      CallInfo
}

// begin admits a call of fn with in bytes of input. end must follow where it succeeds.
func (m *Module) begin(ctx context.Context, fn string, in int) (call, error) {
	if m.opts.observers == nil {
		return m.admit(ctx, fn)
	}
	o := &observation{observers: m.opts.observers, began: time.Now(), info: CallInfo{Function: fn, Input: in}}
	if g := m.current.Load(); g != nil {
		o.about(g, g.release.lookup(fn))
	}
	o.contexts = o.two[:0]
	for _, obs := range o.observers {
		if next := obs.CallBegan(ctx, o.info); next != nil {
			ctx = next
		}
		o.contexts = append(o.contexts, ctx)
	}
	c, err := m.admit(ctx, fn)
	o.info.Waited = time.Since(o.began)
	if err != nil {
		o.end(err)
		return call{}, err
	}
	o.about(c.g, c.f)
	c.seen = o
	return c, nil
}

func (o *observation) about(g *generation, f *function) {
	r := g.release
	o.info.Module, o.info.Version, o.info.Digest, o.info.Generation = r.name, r.version, r.digest, g.number
	if f != nil {
		o.info.Convention = f.Convention
	}
}

func (o *observation) end(err error) {
	o.info.Took, o.info.Err = time.Since(o.began), err
	for k := len(o.observers) - 1; k >= 0; k-- {
		o.observers[k].CallEnded(o.contexts[k], o.info)
	}
}

// end gives the instance back and returns the error for the caller; out is the bytes of the answer.
func (c *call) end(err error, out int) error {
	err = c.release(err)
	if c.seen != nil {
		c.seen.info.Output = out
		c.seen.end(err)
	}
	return err
}
