package otlp_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isomer-iot/isomer/cmd/isomer/internal/otlp"
)

// collector is an OTLP endpoint that keeps the bodies of what it is sent.
type collector struct {
	mu     sync.Mutex
	bodies map[string]string // by path
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies[r.URL.Path] += string(b)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestMetricsReachTheCollector(t *testing.T) {
	c := &collector{bodies: map[string]string{}}
	srv := httptest.NewServer(c)
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "site=roof")
	reg := prometheus.NewRegistry()
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "isomer_calls_total", Help: "Calls."}, []string{"module"})
	reg.MustRegister(calls)
	calls.WithLabelValues("digits").Add(3)
	stop, err := otlp.Start(t.Context(), "isomer-node", "dev1", "1.2.3", reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil { // which exports once more
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, want := range []string{"isomer_calls_total", "digits", "isomer-node", "dev1", "1.2.3", "roof"} {
		if !strings.Contains(c.bodies["/v1/metrics"], want) {
			t.Errorf("%q is not in what came to /v1/metrics, %d bytes", want, len(c.bodies["/v1/metrics"]))
		}
	}
}

func TestNothingIsExportedUnlessAsked(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	stop, err := otlp.Start(t.Context(), "isomer-hub", "hub-1", "", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestACollectorThatIsAwayIsAnErrorAtTheEnd(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	reg := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "up"})
	reg.MustRegister(up)
	stop, err := otlp.Start(t.Context(), "isomer-hub", "hub-1", "", reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), "OpenTelemetry export") {
		t.Errorf("no error: %v", err)
	}
}
