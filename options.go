package isomer

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// Option changes how Open and New make a Module. No options work.
type Option func(*options) error

type options struct {
	engine     engine.Engine
	instances  int
	queue      int
	maxPages   uint32
	deadline   time.Duration
	gateLimit  time.Duration
	maxOutput  int
	cacheDir   string
	watch      bool
	events     []func(Event)
	observers  []Observer
	out        io.Writer
	grants     grants
	wanted     []string // functions
	eventOrder *sync.Mutex
	shadow     *Shadow // nil: off
	historyDir string
}

const (
	defaultInstances = 1
	defaultQueue     = 1024
	defaultMemory    = 256 << 20
	defaultMaxOutput = 64 << 20
	// maxInstances is what one machine word of free marks holds (pool.free).
	maxInstances = 64
)

func newOptions(opts []Option) (options, error) {
	o := options{
		instances: defaultInstances, queue: defaultQueue, maxPages: defaultMemory / abi.PageSize,
		maxOutput: defaultMaxOutput, deadline: defaultDeadline, gateLimit: defaultGateLimit, watch: true, eventOrder: new(sync.Mutex),
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return options{}, err
		}
	}
	if o.engine != nil && o.cacheDir != "" {
		return options{}, fmt.Errorf("%w: WithCacheDir belongs to the default engine; give the directory to the engine of WithEngine", ErrOption)
	}
	o.grants.complete()
	return o, nil
}

// WithEngine runs the module on e, which may serve several modules and is closed by its owner after
// them. Default: a wazero engine of the Module's own.
func WithEngine(e engine.Engine) Option {
	return func(o *options) error {
		if e == nil {
			return fmt.Errorf("%w: engine is nil", ErrOption)
		}
		o.engine = e
		return nil
	}
}

// WithInstances serves n calls in parallel, each in an instance with its own memory. Default 1, at
// most 64.
//
// A swap that carries state (isomer_save and isomer_restore on both sides) holds every instance until
// the last running call has ended, at most 30 s: callers wait meanwhile. Bound calls with WithDeadline
// where that is too long. Modules without state are swapped without any of this.
func WithInstances(n int) Option {
	return func(o *options) error {
		if n < 1 || n > maxInstances {
			return fmt.Errorf("%w: %d instances, want 1 to %d", ErrOption, n, maxInstances)
		}
		o.instances = n
		return nil
	}
}

// WithQueue lets n calls wait for an instance; the next one gets ErrBusy. Default 1024; 0: none
// waits. While a swap carries state all calls go to the queue: see WithInstances.
func WithQueue(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("%w: queue of %d, want 0 or more", ErrOption, n)
		}
		o.queue = n
		return nil
	}
}

// WithMemoryLimit is the ceiling of each instance's memory in bytes, rounded down to pages of
// 64 KiB. Default 256 MiB. A manifest may lower it, not raise it.
func WithMemoryLimit(bytes int64) Option {
	return func(o *options) error {
		if bytes < abi.PageSize {
			return fmt.Errorf("%w: memory limit of %d bytes, want at least %d", ErrOption, bytes, abi.PageSize)
		}
		o.maxPages = uint32(min(bytes/abi.PageSize, engine.MaxPages))
		return nil
	}
}

// WithDeadline stops a call whose guest runs for longer than d, with a *LimitError, and so does the end of
// the call's context. Default 30 s. The time runs from when the engine first looks, about a millisecond after
// the guest began. Code that can be stopped costs nothing on entry and in the kernels of compiled models, in other
// loops ≈ 5 % (docs/decisions.md).
//
// 0 switches all of this off: then a call that never returns keeps its instance and a processor, and soon
// the whole process, since no garbage collection can begin while it runs. Only for modules that you know.
func WithDeadline(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("%w: deadline of %v, want 0 or more", ErrOption, d)
		}
		o.deadline = d
		return nil
	}
}

// WithGateLimit bounds how long a module may take for its start, its golden cases and the state that it is
// given, together, before it serves: default 30 s. It is refused when they are not done. 0: no limit but
// that of WithDeadline for each call. With WithDeadline(0) nothing can be stopped and it bounds nothing.
func WithGateLimit(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("%w: gate limit of %v, want 0 or more", ErrOption, d)
		}
		o.gateLimit = d
		return nil
	}
}

// WithMaxOutput refuses outputs of more than n bytes with a *LimitError. Default 64 MiB.
func WithMaxOutput(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("%w: output limit of %d bytes, want at least 1", ErrOption, n)
		}
		o.maxOutput = n
		return nil
	}
}

// WithCacheDir keeps machine code in dir, so that the next process opens the module without
// compiling it. Whoever can write there can run code in this process. Default: nothing is written.
func WithCacheDir(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return fmt.Errorf("%w: cache directory is empty", ErrOption)
		}
		o.cacheDir = dir
		return nil
	}
}

// WithWatch says whether Open keeps the module current with its file. Default true.
func WithWatch(on bool) Option {
	return func(o *options) error { o.watch = on; return nil }
}

// WithEvents calls f for each event, one at a time, in the goroutine where it happened. f must not
// call Swap, Rollback or Close of the same Module, which wait for it. May be given several times.
func WithEvents(f func(Event)) Option {
	return func(o *options) error {
		if f == nil {
			return fmt.Errorf("%w: events go to nil", ErrOption)
		}
		o.events = append(o.events, f)
		return nil
	}
}

// WithLogger writes each event to l: as a warning where it has an Err, otherwise as information.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return fmt.Errorf("%w: logger is nil", ErrOption)
		}
		o.events = append(o.events, func(e Event) { e.log(l) })
		return nil
	}
}

// WithOutput sends what a WASI module writes to stdout and stderr to w. Default: discarded, and with it the
// words of a panic: without them a TrapError says "unreachable" and no more.
func WithOutput(w io.Writer) Option {
	return func(o *options) error {
		if w == nil {
			return fmt.Errorf("%w: output goes to nil", ErrOption)
		}
		o.out = &lockedWriter{w: w}
		return nil
	}
}

// lockedWriter lets several instances write to one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// WithFunctions names functions that the core application calls. A module without one of them is refused, at
// open and at each swap, instead of failing each call. May be given several times. Default: none.
func WithFunctions(names ...string) Option {
	return func(o *options) error {
		if len(names) == 0 || slices.Contains(names, "") {
			return fmt.Errorf("%w: functions %q, want names", ErrOption, names)
		}
		o.wanted = append(o.wanted, names...)
		return nil
	}
}
