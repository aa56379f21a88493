package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/metrics"
)

// scrapePatience is how long a scrape that runs may take when the command ends.
const scrapePatience = 5 * time.Second

// metricsServer serves /metrics and /healthz.
type metricsServer struct {
	collector *metrics.Collector
	listener  net.Listener
	server    http.Server
	ended     chan error
}

// listenMetrics takes the address, so that a port in use is found before the module is compiled. A
// port alone is for this machine; ":9090" is for the network, as Prometheus' own programs read it.
func listenMetrics(ctx context.Context, addr string) (*metricsServer, error) {
	if !strings.Contains(addr, ":") {
		addr = net.JoinHostPort("localhost", addr)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hint(fmt.Errorf("--metrics: %s is in use", addr), "choose another port, or --metrics localhost:0 for any that is free")
	case err != nil:
		return nil, hint(fmt.Errorf("--metrics: %w", err), `an address is ":9090" for the network, "localhost:9090" or "9090" for this machine`)
	}
	return &metricsServer{collector: metrics.NewCollector(), listener: l, ended: make(chan error, 1)}, nil
}

// serve answers scrapes of m's figures until close, and says where.
func (s *metricsServer) serve(m *isomer.Module, std io.Writer, asJSON bool) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(s.collector, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { health(w, m) })
	s.server = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.ended <- s.server.Serve(s.listener) }()
	url := "http://" + s.listener.Addr().String() + "/metrics"
	if asJSON {
		b, err := json.Marshal(eventJSON{Event: "metrics", Time: time.Now(), URL: url})
		if err != nil { // no field can fail to encode
			panic(err)
		}
		fmt.Fprintf(std, "%s\n", b)
		return
	}
	fmt.Fprintf(std, "%s metrics on %s\n", time.Now().Format(time.TimeOnly), url)
}

// health is 200 while the module serves. A newer one that was refused is said, and is no reason to
// restart the process: the old one serves on.
func health(w http.ResponseWriter, m *isomer.Module) {
	s := m.Stats()
	answer := struct {
		Status     string `json:"status"`
		Module     string `json:"module,omitempty"`
		Version    string `json:"version,omitempty"`
		Digest     string `json:"digest,omitempty"`
		Generation uint64 `json:"generation,omitempty"`
		Refused    string `json:"refused,omitempty"`
	}{Status: "ok", Module: s.Name, Version: s.Version, Digest: s.Digest, Generation: s.Generation}
	w.Header().Set("Content-Type", "application/json")
	if s.LastRefusal != nil {
		answer.Refused = s.LastRefusal.Error()
	}
	if s.Generation == 0 {
		answer.Status = "closed"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // who asked went away
}

// close lets scrapes that run end.
func (s *metricsServer) close() error {
	if s.server.Handler == nil { // never served
		return s.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if end := <-s.ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("--metrics: %w", end))
	}
	return err
}
