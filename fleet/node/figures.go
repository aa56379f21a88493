package node

import (
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the agent's own series, beside those of the modules (package metrics) and the bindings:
//
//	isomer_agent_connected                 1 while the link to the edge or the hub is up
//	isomer_agent_desired_revision          of the desired state that was heard last on this connection; 0: none yet
//	isomer_agent_problems                  that concern the node as a whole
//	isomer_agent_verified_seconds          when the signed list was last brought up to date, Unix time; 0: not since the start
//	isomer_agent_disk_bytes{what}          files of the node's folder: modules, cache or other
//	isomer_agent_reports_total
type figures struct {
	a                                                      *Agent
	connected, revision, problems, verified, disk, reports *prometheus.Desc

	mu   sync.Mutex
	at   time.Time
	used map[string]int64
}

// usedAge is how old the sizes of files may be: a walk reads some dozens of directory entries from flash.
const usedAge = 30 * time.Second

func newFigures(a *Agent) *figures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &figures{
		a:         a,
		connected: desc("isomer_agent_connected", "1 while the link to the edge or the hub is up."),
		revision:  desc("isomer_agent_desired_revision", "Revision of the desired state that was heard last."),
		problems:  desc("isomer_agent_problems", "Problems of the node as a whole."),
		verified:  desc("isomer_agent_verified_seconds", "When the signed list of releases was last brought up to date, Unix time."),
		disk:      desc("isomer_agent_disk_bytes", "Bytes of the node's files.", "what"),
		reports:   desc("isomer_agent_reports_total", "Reports that were made."),
	}
}

// Describe is for prometheus.Collector.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.connected, f.revision, f.problems, f.verified, f.disk, f.reports} {
		ch <- d
	}
}

// Collect is for prometheus.Collector.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	f.a.mu.Lock()
	nc, revision, problems := f.a.nc, f.a.heard, len(f.a.problems)
	f.a.mu.Unlock()
	connected := 0.0
	if nc != nil && nc.IsConnected() {
		connected = 1
	}
	gauge(f.connected, connected)
	gauge(f.revision, float64(revision))
	gauge(f.problems, float64(problems))
	gauge(f.verified, float64(f.a.verified.Load()))
	for what, n := range f.usage() {
		gauge(f.disk, float64(n), what)
	}
	ch <- prometheus.MustNewConstMetric(f.reports, prometheus.CounterValue, float64(f.a.sequence.Load()))
}

// usage is how large the node's files are.
func (f *figures) usage() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.used != nil && time.Since(f.at) < usedAge {
		return f.used
	}
	f.used, f.at = map[string]int64{"modules": 0, "cache": 0, "other": 0}, time.Now()
	what := map[string]string{"blobs": "modules", "cache": "cache"}
	_ = filepath.WalkDir(f.a.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go meanwhile
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		kind := "other"
		if rel, err := filepath.Rel(f.a.cfg.Dir, path); err == nil {
			for dir := rel; dir != "."; dir = filepath.Dir(dir) {
				if k := what[dir]; k != "" {
					kind = k
				}
			}
		}
		f.used[kind] += info.Size()
		return nil
	})
	return f.used
}
