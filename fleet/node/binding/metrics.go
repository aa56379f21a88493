package binding

import "github.com/prometheus/client_golang/prometheus"

// Series of bindings, at most seven for each.
var (
	inputs = prometheus.NewDesc("isomer_binding_inputs_total", "Inputs of bindings: received, answered, dead (failed for good), dropped (no room), unsent (answers that no connection took); retried counts calls.",
		[]string{"module", "binding", "local", "result"}, nil)
	waits  = prometheus.NewDesc("isomer_binding_waiting", "Inputs that wait or are worked on.", []string{"module", "binding", "local"}, nil)
	unsent = prometheus.NewDesc("isomer_telemetry_waiting", "Messages that wait on disk for a connection.", nil, nil)
	lost   = prometheus.NewDesc("isomer_telemetry_lost_total", "Messages on disk that gave way to newer ones.", nil, nil)
)

var _ prometheus.Collector = (*Runner)(nil)

// Describe is for prometheus.Collector.
func (r *Runner) Describe(ch chan<- *prometheus.Desc) {
	ch <- inputs
	ch <- waits
	ch <- unsent
	ch <- lost
}

// Collect is for prometheus.Collector.
func (r *Runner) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	for k, b := range r.bound {
		s := b.report(k)
		own := "false"
		if k.local {
			own = "true"
		}
		for _, c := range []struct {
			result string
			n      uint64
		}{{"received", s.Received}, {"answered", s.Answered}, {"retried", s.Retried}, {"dead", s.Dead}, {"dropped", s.Dropped}, {"unsent", s.Unsent}} {
			ch <- prometheus.MustNewConstMetric(inputs, prometheus.CounterValue, float64(c.n), k.module, k.name, own, c.result)
		}
		ch <- prometheus.MustNewConstMetric(waits, prometheus.GaugeValue, float64(s.Waiting), k.module, k.name, own)
	}
	r.mu.Unlock()
	n, gone := r.spool.waiting()
	ch <- prometheus.MustNewConstMetric(unsent, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(lost, prometheus.CounterValue, float64(gone))
}
