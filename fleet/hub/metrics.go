package hub

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// What Prometheus gets of a hub, at GET /metrics with a viewer's token. Every hub of a fleet shows the same of the fleet:
//
//	isomer_fleet_nodes{layer,health}              health is ok, failing, offline or silent (joined, never heard)
//	isomer_fleet_running{module,version}          nodes that serve it; the rest beyond 64 pairs is module "other"
//	isomer_fleet_rollouts{phase}
//	isomer_fleet_jetstream_bytes{stream}, …_messages{stream}
//	isomer_fleet_unread                           1 where the state could not be read, and the series above are missing
//
// and of itself:
//
//	isomer_hub_leader                             1 at the hub that leads
//	isomer_hub_connections                        of the embedded server's clients
//	isomer_hub_reports_total{result}              reports of nodes: taken or dropped; at the leader
//	isomer_hub_fetches_total{kind,result}, isomer_hub_fetch_bytes_total{kind}
//	isomer_hub_api_seconds{operation,status}      histogram; status is 2xx, 4xx, …
//
// No label has a node's name, so their number does not grow with the fleet.
const (
	maxPairs   = 64 // of module and version
	maxStreams = 32
	// viewAge is how old what a scrape shows may be: of 5,000 nodes, reading takes 0.1 s of a processor.
	viewAge    = 5 * time.Second
	viewWithin = 10 * time.Second
)

// fetchKinds are what nodes may ask for; whatever else they say is "other".
var fetchKinds = []string{"module", "trust", "desired", "link", "account"}

type counters struct {
	reports, fetches, bytes *prometheus.CounterVec
	api                     *prometheus.HistogramVec
}

func newCounters() *counters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c := &counters{
		reports: counter("isomer_hub_reports_total", "Reports of nodes that this hub took in as leader, or dropped.", "result"),
		fetches: counter("isomer_hub_fetches_total", "Requests of nodes for modules, metadata and desired states.", "kind", "result"),
		bytes:   counter("isomer_hub_fetch_bytes_total", "Bytes that nodes were sent on request.", "kind"),
		api: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "isomer_hub_api_seconds", Help: "Time of requests to the HTTP API.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"operation", "status"}),
	}
	for _, r := range []string{"taken", "dropped"} {
		c.reports.WithLabelValues(r) // a rate needs a zero to start from
	}
	for _, k := range fetchKinds {
		c.fetches.WithLabelValues(k, "ok")
		c.bytes.WithLabelValues(k)
	}
	return c
}

// fetched counts a request of a node.
func (c *counters) fetched(kind string, answer *nats.Msg, err error) {
	if !slices.Contains(fetchKinds, kind) {
		kind = "other"
	}
	if err != nil {
		c.fetches.WithLabelValues(kind, "failed").Inc()
		return
	}
	c.fetches.WithLabelValues(kind, "ok").Inc()
	c.bytes.WithLabelValues(kind).Add(float64(len(answer.Data)))
}

// answered counts a request to the API, whose operations are a fixed list.
func (c *counters) answered(operation string, status int, took time.Duration) {
	class := "other"
	if status >= 100 && status < 600 {
		class = strconv.Itoa(status/100) + "xx"
	}
	c.api.WithLabelValues(operation, class).Observe(took.Seconds())
}

// gatherer has everything that the hub counts.
func (c *counters) gatherer(h *Hub) prometheus.Gatherer {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c.reports, c.fetches, c.bytes, c.api, newOverview(h), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Gatherer has what /metrics shows.
func (h *Hub) Gatherer() prometheus.Gatherer { return h.gatherer }

func (c *counters) handler(reg prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 2 * viewWithin})
}

// overview collects what a hub reads of the state when it is asked.
type overview struct {
	h                                                                     *Hub
	nodes, running, rollouts, bytes, messages, unread, leads, connections *prometheus.Desc

	mu   sync.Mutex
	at   time.Time
	last view
}

// view is the fleet at a moment.
type view struct {
	nodes    map[[2]string]int // layer, health
	running  map[[2]string]int // module, version
	rollouts map[string]int    // by phase
	streams  []stream
}

type stream struct {
	name            string
	bytes, messages uint64
}

func newOverview(h *Hub) *overview {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &overview{
		h:           h,
		nodes:       desc("isomer_fleet_nodes", "Nodes by layer and health.", "layer", "health"),
		running:     desc("isomer_fleet_running", "Nodes that serve a release.", "module", "version"),
		rollouts:    desc("isomer_fleet_rollouts", "Rollouts by phase.", "phase"),
		bytes:       desc("isomer_fleet_jetstream_bytes", "What a stream of the state keeps.", "stream"),
		messages:    desc("isomer_fleet_jetstream_messages", "What a stream of the state keeps.", "stream"),
		unread:      desc("isomer_fleet_unread", "1 where the state cannot be read."),
		leads:       desc("isomer_hub_leader", "1 at the hub that leads."),
		connections: desc("isomer_hub_connections", "Connections to the embedded server."),
	}
}

// Describe is for prometheus.Collector.
func (o *overview) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{o.nodes, o.running, o.rollouts, o.bytes, o.messages, o.unread, o.leads, o.connections} {
		ch <- d
	}
}

// Collect is for prometheus.Collector.
func (o *overview) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	leads := 0.0
	if o.h.lead != nil && o.h.lead.leads.Load() {
		leads = 1
	}
	gauge(o.leads, leads)
	if o.h.broker != nil {
		gauge(o.connections, float64(o.h.broker.Clients()))
	}
	v, err := o.look()
	if err != nil {
		o.h.cfg.Log.Warn("metrics", "error", err)
		gauge(o.unread, 1)
		return
	}
	gauge(o.unread, 0)
	for k, n := range v.nodes {
		gauge(o.nodes, float64(n), k[0], k[1])
	}
	for k, n := range v.running {
		gauge(o.running, float64(n), k[0], k[1])
	}
	for p, n := range v.rollouts {
		gauge(o.rollouts, float64(n), p)
	}
	for _, s := range v.streams {
		gauge(o.bytes, float64(s.bytes), s.name)
		gauge(o.messages, float64(s.messages), s.name)
	}
}

func (o *overview) look() (view, error) {
	o.mu.Lock() // scrapes that come together wait for one reading
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < viewAge {
		return o.last, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), viewWithin)
	defer cancel()
	s := o.h.store
	members, err := s.Members.List(ctx)
	if err != nil {
		return view{}, err
	}
	nodes, err := s.Nodes.List(ctx)
	if err != nil {
		return view{}, err
	}
	rollouts, err := s.Rollouts.List(ctx)
	if err != nil {
		return view{}, err
	}
	v := summarise(time.Now(), members, nodes, rollouts)
	all := s.JetStream().ListStreams(ctx)
	for info := range all.Info() {
		v.streams = append(v.streams, stream{info.Config.Name, info.State.Bytes, info.State.Msgs})
	}
	if err := all.Err(); err != nil {
		return view{}, err
	}
	// The account is the fleet's own; if somebody keeps other streams in it, the largest count.
	slices.SortFunc(v.streams, func(a, b stream) int { return cmp.Compare(b.bytes, a.bytes) })
	v.streams = v.streams[:min(len(v.streams), maxStreams)]
	o.last, o.at = v, time.Now()
	return v, nil
}

// summarise counts a fleet. What is 0 has a series too where the labels' values are known beforehand.
func summarise(now time.Time, members []state.Entry[fleet.Member], reports []state.Entry[fleet.Report], rollouts []state.Entry[fleet.Rollout]) view {
	v := view{nodes: map[[2]string]int{}, running: map[[2]string]int{}, rollouts: map[string]int{}}
	for _, l := range fleet.Layers() {
		for _, h := range []string{"ok", "failing", "offline", "silent"} {
			v.nodes[[2]string{string(l), h}] = 0
		}
	}
	heard := map[string]state.Entry[fleet.Report]{}
	for _, r := range reports {
		heard[r.Key] = r
	}
	for _, m := range members {
		if m.Value.Key == "" || m.Value.Revoked {
			continue // invited, or thrown out
		}
		r, ok := heard[m.Key]
		v.nodes[[2]string{string(m.Value.Layer), health(now, r, ok)}]++
		for _, mod := range r.Value.Modules {
			if mod.Release.Name != "" {
				v.running[[2]string{mod.Release.Name, mod.Release.Version}]++
			}
		}
	}
	v.running = atMost(v.running, maxPairs)
	for _, p := range fleet.Phases() {
		v.rollouts[string(p)] = 0
	}
	for _, r := range rollouts {
		v.rollouts[string(r.Value.Phase)]++
	}
	return v
}

// health says in a word how a node is.
func health(now time.Time, r state.Entry[fleet.Report], heard bool) string {
	switch {
	case !heard:
		return "silent"
	case now.Sub(r.At) > 3*fleet.ReportEvery:
		return "offline"
	case len(r.Value.Problems) > 0:
		return "failing"
	}
	for _, m := range r.Value.Modules {
		if m.State == fleet.Refused || m.State == fleet.Reverted || m.State == fleet.Failed {
			return "failing"
		}
	}
	return "ok"
}

// atMost keeps the pairs that most nodes have, and sums up the others.
func atMost(all map[[2]string]int, most int) map[[2]string]int {
	if len(all) <= most {
		return all
	}
	keys := make([][2]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	out := map[[2]string]int{}
	for i, k := range keys {
		if i < most {
			out[k] = all[k]
		} else {
			out[[2]string{"other", ""}] += all[k]
		}
	}
	return out
}
