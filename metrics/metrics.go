// Package metrics shows what modules do to Prometheus.
//
// Use metrics to count and time the calls of modules and to see their swaps, instances and memory;
// never to follow a single call (package tracing does), nor to read figures inside the process
// (Module.Stats has them).
//
//	c := metrics.NewCollector()
//	prometheus.MustRegister(c)
//	m, err := isomer.Open(ctx, "digits.wasm", isomer.WithObserver(c))
//
// One collector serves any number of modules. The series:
//
//	isomer_calls_total{module,version,function,result}    result is an isomer.Outcome: ok, app, trap, limit, …
//	isomer_call_seconds{module,version,function}          histogram, the wait for an instance included
//	isomer_swaps_total{module,version,result}             result is swapped, rolled_back or refused
//	isomer_instances{module,version,state}                state is idle or busy, of the version that serves
//	isomer_memory_bytes{module,version}                   WebAssembly memory of these instances
//
// The version of a swap is the one that served before it: which was replaced, rolled away from, or serves
// on because the new one was refused. What a refused module says of itself is in no label.
//
// Their number is bounded. Instances and memory have series for the version that serves alone. Counters
// stay for the last 8 releases that a module served with, so that a scrape after a swap still sees the
// last calls of the old version, and a rollback goes on counting; those of older releases end. A
// function that the module does not have, whose name is the caller's invention, is counted as function
// "" with the result no_function. The series of a module end when it is closed.
//
// Compatibility: v0, the API may change until 1.0; the names above will not.
package metrics

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isomer-iot/isomer"
)

// keptReleases is how many releases of a module keep their counters.
const keptReleases = 8

// endedReleases is how many releases that ended are remembered, so that a call that ran across all those
// swaps does not bring its series back.
const endedReleases = 64

// buckets go from a raw call (0.2 µs in the bridge, a few µs with JSON) over pictures (ms) to models on
// small devices (0.6 s for MobileNetV2 on a Raspberry Pi 4) in steps of 1, 2.5, 5 per decade where
// most calls are.
var buckets = []float64{
	1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4,
	1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
}

// Collector is a prometheus.Collector that observes modules: give it to isomer.WithObserver of each.
type Collector struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	swaps   *prometheus.CounterVec

	instances, memory *prometheus.Desc

	series atomic.Pointer[map[key]*series] // replaced as a whole, under mu: calls read it without a lock
	mu     sync.Mutex
	served map[*isomer.Module][]release // newest last
	ended  []release                    // the series of these ended, newest last
}

// key is what the series of one function have in common.
type key struct{ module, version, function string }

type release struct{ module, version string }

// series keeps the counters of one function, which would otherwise be looked up by their labels for
// each call (150 ns).
type series struct {
	seconds prometheus.Observer
	calls   sync.Map // isomer.Outcome to prometheus.Counter
	ok      prometheus.Counter
}

var (
	_ prometheus.Collector = (*Collector)(nil)
	_ isomer.EventObserver = (*Collector)(nil)
)

// NewCollector is a collector without modules.
func NewCollector() *Collector {
	c := &Collector{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isomer_calls_total", Help: "Calls that ended, by how they ended.",
		}, []string{"module", "version", "function", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "isomer_call_seconds", Help: "Time of a call as the caller sees it, the wait for an instance included.", Buckets: buckets,
		}, []string{"module", "version", "function"}),
		swaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "isomer_swaps_total", Help: "Modules that were to replace this one, by what came of it.",
		}, []string{"module", "version", "result"}),
		instances: prometheus.NewDesc("isomer_instances", "Instances of the version that serves.", []string{"module", "version", "state"}, nil),
		memory:    prometheus.NewDesc("isomer_memory_bytes", "WebAssembly memory of the instances, each as it was after its last call.", []string{"module", "version"}, nil),
		served:    map[*isomer.Module][]release{},
	}
	c.series.Store(&map[key]*series{})
	return c
}

// CallBegan is for isomer.Observer.
func (c *Collector) CallBegan(ctx context.Context, _ isomer.CallInfo) context.Context { return ctx }

// CallEnded is for isomer.Observer.
func (c *Collector) CallEnded(_ context.Context, call isomer.CallInfo) {
	if call.Module == "" {
		return // closed: nothing serves
	}
	k := key{call.Module, call.Version, call.Function}
	if call.Convention == "" {
		k.function = ""
	}
	s := (*c.series.Load())[k]
	if s == nil {
		if s = c.add(k); s == nil {
			return
		}
	}
	s.seconds.Observe(call.Took.Seconds())
	if call.Err == nil {
		s.ok.Inc()
		return
	}
	o := isomer.OutcomeOf(call.Err)
	n, found := s.calls.Load(o)
	if !found {
		n, _ = s.calls.LoadOrStore(o, c.calls.WithLabelValues(k.module, k.version, k.function, string(o)))
	}
	n.(prometheus.Counter).Inc()
}

// add makes the series of k; nil: its release ended.
func (c *Collector) add(k key) *series {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.series.Load()
	if s := old[k]; s != nil {
		return s
	}
	if slices.Contains(c.ended, release{k.module, k.version}) {
		return nil
	}
	s := &series{
		seconds: c.seconds.WithLabelValues(k.module, k.version, k.function),
		ok:      c.calls.WithLabelValues(k.module, k.version, k.function, string(isomer.OutcomeOK)),
	}
	next := make(map[key]*series, len(old)+1)
	for k, s := range old {
		next[k] = s
	}
	next[k] = s
	c.series.Store(&next)
	return s
}

// ModuleEvent is for isomer.EventObserver.
func (c *Collector) ModuleEvent(m *isomer.Module, e isomer.Event) {
	result := ""
	switch e.Kind {
	case isomer.Loaded:
	case isomer.Swapped:
		result = "swapped"
	case isomer.RolledBack:
		result = "rolled_back"
	case isomer.Refused:
		result = "refused"
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if result != "" {
		list := c.served[m]
		if len(list) == 0 {
			return // refused at the start: nothing ever served
		}
		before := list[len(list)-1]
		c.swaps.WithLabelValues(before.module, before.version, result).Inc()
	}
	if e.Kind == isomer.Refused {
		return
	}
	c.serves(m, release{e.Module, e.Version})
	// All three exist from the beginning: a rate needs a zero to start from.
	for _, r := range []string{"swapped", "rolled_back", "refused"} {
		c.swaps.WithLabelValues(e.Module, e.Version, r)
	}
}

// serves notes that m serves with r, and ends the series of what is too old. The caller holds c.mu.
func (c *Collector) serves(m *isomer.Module, r release) {
	list := slices.DeleteFunc(c.served[m], func(have release) bool { return have == r })
	list = append(list, r)
	c.ended = slices.DeleteFunc(c.ended, func(old release) bool { return old == r })
	if len(list) > keptReleases {
		c.served[m] = list[1:]
		c.forget(list[0])
		return
	}
	c.served[m] = list
}

// forget ends the series of r if no module knows it any more. The caller holds c.mu.
func (c *Collector) forget(r release) {
	for _, list := range c.served {
		if slices.Contains(list, r) {
			return
		}
	}
	if c.ended = append(c.ended, r); len(c.ended) > endedReleases {
		c.ended = c.ended[1:]
	}
	labels := prometheus.Labels{"module": r.module, "version": r.version}
	c.calls.DeletePartialMatch(labels)
	c.seconds.DeletePartialMatch(labels)
	c.swaps.DeletePartialMatch(labels)
	next := map[key]*series{}
	for k, s := range *c.series.Load() {
		if k.module != r.module || k.version != r.version {
			next[k] = s
		}
	}
	c.series.Store(&next)
}

// Describe is for prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	c.calls.Describe(ch)
	c.seconds.Describe(ch)
	c.swaps.Describe(ch)
	ch <- c.instances
	ch <- c.memory
}

// Collect is for prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	type gauges struct{ idle, busy, memory float64 }
	c.mu.Lock()
	sums := map[release]gauges{} // two modules may serve the same release
	for m, list := range c.served {
		s := m.Stats()
		if s.Generation == 0 { // closed
			delete(c.served, m)
			for _, r := range list {
				c.forget(r)
			}
			continue
		}
		r := release{s.Name, s.Version}
		g := sums[r]
		g.idle += float64(s.Idle)
		g.busy += float64(s.Instances - s.Idle)
		g.memory += float64(s.MemoryBytes)
		sums[r] = g
	}
	c.mu.Unlock()
	for r, g := range sums {
		ch <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, g.idle, r.module, r.version, "idle")
		ch <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, g.busy, r.module, r.version, "busy")
		ch <- prometheus.MustNewConstMetric(c.memory, prometheus.GaugeValue, g.memory, r.module, r.version)
	}
	c.calls.Collect(ch)
	c.seconds.Collect(ch)
	c.swaps.Collect(ch)
}
