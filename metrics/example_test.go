package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/metrics"
)

// One collector for the process, given to each module that is opened.
func ExampleCollector() {
	ctx := context.Background()
	c := metrics.NewCollector()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	defer srv.Close()

	m, err := isomer.New(ctx, guest("1.0.0"), isomer.WithObserver(c))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Call(ctx, "echo", []byte("hello")); err != nil {
		log.Fatal(err)
	}

	res, err := http.Get(srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "isomer_calls_total") {
			fmt.Print(line)
		}
	}
	// Output: isomer_calls_total{function="echo",module="kit",result="ok",version="1.0.0"} 1
}
