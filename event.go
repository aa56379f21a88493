package isomer

import (
	"log/slog"
	"time"
)

// EventKind says what happened.
type EventKind string

// The kinds of events, in the order of a module's life.
const (
	Detected         EventKind = "detected"          // the file has new content
	Compiled         EventKind = "compiled"          // Took
	Gated            EventKind = "gated"             // all golden cases passed: Cases, Took
	ShadowStarted    EventKind = "shadow started"    // live calls are compared: Cases wanted
	ShadowEnded      EventKind = "shadow ended"      // Cases compared, Differed, Dropped, Took; Err where it says no or could not compare
	StateCarried     EventKind = "state carried"     // Bytes, Took
	StateLost        EventKind = "state lost"        // the old module could not give it, or the new one has no function for it: Err
	Loaded           EventKind = "loaded"            // the first generation serves: Times
	Swapped          EventKind = "swapped"           // a new generation serves: Times
	RolledBack       EventKind = "rolled back"       // the previous module serves; Err where state was not carried
	Drained          EventKind = "drained"           // the old generation's last call ended: Took
	Refused          EventKind = "refused"           // the old generation serves on: Step, Err (*RefusedError)
	InstanceReplaced EventKind = "instance replaced" // a call killed an instance: Err
	InstanceLost     EventKind = "instance lost"     // … and the new one could not be made: Err has both
	FileWaiting      EventKind = "file waiting"      // the file is still being written
	FileRemoved      EventKind = "file removed"      // the module serves on
	Polling          EventKind = "polling"           // file events are not to be had, or not to be trusted: Err says why
	HistoryFailed    EventKind = "history failed"    // WithHistory could not write or read: Err; the module serves all the same
)

// Event is something that happened to a Module outside its calls. Fields that do not belong to the
// kind are zero.
type Event struct {
	Kind       EventKind
	Time       time.Time
	Module     string // name
	Version    string // of the module concerned
	Digest     string // SHA-256, hexadecimal
	Generation uint64 // that serves; for Drained: that ended
	Path       string // of the file, empty for New
	Step       Step
	Took       time.Duration
	Times      SwapTimes
	Cases      int
	Differed   int // of Cases, in a shadow
	Dropped    int // live calls that a shadow was too slow for
	Bytes      int
	Err        error
}

// SwapTimes says where the time of a swap went.
type SwapTimes struct {
	Compile     time.Duration // decode, validate, machine code
	Gate        time.Duration // golden cases, with their own instance
	Shadow      time.Duration // live calls compared
	Instantiate time.Duration // all instances
	Carry       time.Duration // state, with the wait for running calls
	Publish     time.Duration // from one generation to the next
	Total       time.Duration // from the bytes to service
}

// emit tells whoever asked, one event at a time.
func (m *Module) emit(r *release, e Event) {
	if len(m.opts.events) == 0 && m.opts.observers == nil {
		return
	}
	m.opts.eventOrder.Lock()
	defer m.opts.eventOrder.Unlock()
	e.Time, e.Path = time.Now(), m.path
	if r != nil {
		e.Module, e.Version, e.Digest = r.name, r.version, r.digest
	}
	if g := m.current.Load(); g != nil && e.Generation == 0 {
		e.Generation = g.number
	}
	for _, f := range m.opts.events {
		f(e)
	}
	for _, o := range m.opts.observers {
		if o, ok := o.(EventObserver); ok {
			o.ModuleEvent(m, e)
		}
	}
}

func (e Event) log(l *slog.Logger) {
	attrs := []any{"module", e.Module, "version", e.Version, "generation", e.Generation}
	if e.Path != "" {
		attrs = append(attrs, "path", e.Path)
	}
	if len(e.Digest) >= 12 {
		attrs = append(attrs, "sha256", e.Digest[:12])
	}
	if e.Took > 0 {
		attrs = append(attrs, "took", e.Took)
	}
	switch e.Kind {
	case Gated, ShadowStarted:
		attrs = append(attrs, "cases", e.Cases)
	case ShadowEnded:
		attrs = append(attrs, "compared", e.Cases, "differed", e.Differed, "dropped", e.Dropped)
	case StateCarried:
		attrs = append(attrs, "bytes", e.Bytes)
	case Refused:
		attrs = append(attrs, "step", e.Step)
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err)
		l.Warn(string(e.Kind), attrs...)
		return
	}
	l.Info(string(e.Kind), attrs...)
}
