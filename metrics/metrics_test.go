package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/metrics"
)

func guest(version string) []byte {
	return enginetest.Guest{Version: version, Manifest: &abi.Manifest{Name: "kit", Version: version}}.Build()
}

func open(t testing.TB, c *metrics.Collector, version string, opts ...isomer.Option) *isomer.Module {
	t.Helper()
	m, err := isomer.New(context.Background(), guest(version), append(opts, isomer.WithObserver(c))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// scraper serves c over HTTP and returns what a scrape gets, one series a key.
func scraper(t *testing.T, c *metrics.Collector) func() map[string]string {
	reg := prometheus.NewPedanticRegistry() // compares what Collect sends with what Describe said
	reg.MustRegister(c)
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(srv.Close)
	return func() map[string]string {
		t.Helper()
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %v: %s", res.Status, err, body)
		}
		series := map[string]string{}
		for line := range strings.Lines(string(body)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
				series[name] = value
			}
		}
		return series
	}
}

func want(t *testing.T, got map[string]string, wanted map[string]string) {
	t.Helper()
	for name, value := range wanted {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

func TestScrape(t *testing.T) {
	ctx := context.Background()
	c := metrics.NewCollector()
	scrape := scraper(t, c)
	m := open(t, c, "1.0.0", isomer.WithInstances(2))
	for range 3 {
		if _, err := m.Call(ctx, "echo", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, fn := range []string{"fail", "trap", "recurse", "invented by the caller", "average"} {
		if _, err := m.Call(ctx, fn, nil); err == nil {
			t.Errorf("%s did not fail", fn)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m.Call(gone, "echo", nil); err == nil {
		t.Error("a call whose context ended did not fail")
	}
	got := scrape()
	calls := func(version, fn, result string) string {
		return fmt.Sprintf(`isomer_calls_total{function=%q,module="kit",result=%q,version=%q}`, fn, result, version)
	}
	want(t, got, map[string]string{
		calls("1.0.0", "echo", "ok"):                                              "3",
		calls("1.0.0", "echo", "canceled"):                                        "1",
		calls("1.0.0", "fail", "app"):                                             "1",
		calls("1.0.0", "trap", "trap"):                                            "1",
		calls("1.0.0", "recurse", "limit"):                                        "1",
		calls("1.0.0", "average", "argument"):                                     "1",
		calls("1.0.0", "", "no_function"):                                         "1",
		`isomer_call_seconds_count{function="echo",module="kit",version="1.0.0"}`: "4",
		`isomer_swaps_total{module="kit",result="swapped",version="1.0.0"}`:       "0",
	})
	if got[`isomer_memory_bytes{module="kit",version="1.0.0"}`] == "0" {
		t.Error("no memory")
	}
	if idle, busy := got[`isomer_instances{module="kit",state="idle",version="1.0.0"}`], got[`isomer_instances{module="kit",state="busy",version="1.0.0"}`]; idle == "" || busy == "" {
		t.Errorf("%s instances idle, %s busy", idle, busy)
	}

	// A swap, a refusal and a rollback.
	if err := m.Swap(ctx, guest("2.0.0")); err != nil {
		t.Fatal(err)
	}
	if err := m.Swap(ctx, []byte("no module")); err == nil {
		t.Fatal("not refused")
	}
	if _, err := m.Call(ctx, "echo", nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	got = scrape()
	want(t, got, map[string]string{
		calls("1.0.0", "echo", "ok"):                                                       "3", // kept: the last calls before the swap are not lost
		calls("2.0.0", "echo", "ok"):                                                       "1",
		`isomer_swaps_total{module="kit",result="swapped",version="1.0.0"}`:                "1",
		`isomer_swaps_total{module="kit",result="refused",version="1.0.0"}`:                "0",
		`isomer_swaps_total{module="kit",result="swapped",version="2.0.0"}`:                "0",
		`isomer_swaps_total{module="kit",result="refused",version="2.0.0"}`:                "1",
		`isomer_swaps_total{module="kit",result="rolled_back",version="2.0.0"}`:            "1",
		`isomer_instances{module="kit",state="idle",version="2.0.0"}`:                      "",
		`isomer_instances{module="kit",state="busy",version="1.0.0"}`:                      "0",
		`isomer_call_seconds_bucket{function="echo",module="kit",version="2.0.0",le="10"}`: "1",
	})

	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	scrape() // notices
	for name := range scrape() {
		t.Errorf("%s after Close", name)
	}
}

// Versions come and go without end; series must not.
func TestSeriesAreBounded(t *testing.T) {
	ctx := context.Background()
	c := metrics.NewCollector()
	scrape := scraper(t, c)
	m := open(t, c, "0.0.1")
	other := open(t, c, "0.0.1") // the same release: its series stay
	most := 0
	for v := 2; v < 30; v++ {
		for range 2 {
			if _, err := m.Call(ctx, "echo", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Call(ctx, fmt.Sprint("made up ", v), nil); err == nil {
				t.Fatal("not refused")
			}
		}
		if err := m.Swap(ctx, guest(fmt.Sprintf("0.0.%d", v))); err != nil {
			t.Fatal(err)
		}
		if n := len(scrape()); v > 15 {
			if most == 0 {
				most = n
			}
			if n != most {
				t.Fatalf("%d series at version %d, %d before", n, v, most)
			}
		}
	}
	got := scrape()
	want(t, got, map[string]string{
		`isomer_calls_total{function="echo",module="kit",result="ok",version="0.0.1"}`:  "2",
		`isomer_calls_total{function="echo",module="kit",result="ok",version="0.0.5"}`:  "",
		`isomer_calls_total{function="echo",module="kit",result="ok",version="0.0.28"}`: "2",
	})
	_ = other
}

// A scrape, calls and swaps at the same time: for the race detector.
func TestScrapeDuringCallsAndSwaps(t *testing.T) {
	ctx := context.Background()
	c := metrics.NewCollector()
	scrape := scraper(t, c)
	m := open(t, c, "1", isomer.WithInstances(2))
	stop := make(chan struct{})
	var calls sync.WaitGroup
	counts := make([]int, 3)
	for k := range counts {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := m.Call(ctx, "echo", []byte("x")); err != nil {
					t.Error(err)
					return
				}
				counts[k]++
			}
		})
	}
	for v := 2; v < 7; v++ {
		scrape()
		if err := m.Swap(ctx, guest(fmt.Sprint(v))); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	calls.Wait()
	total := 0.0
	for name, value := range scrape() {
		if strings.HasPrefix(name, "isomer_calls_total") {
			var n float64
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Error(err)
			}
			total += n
		}
	}
	if made := counts[0] + counts[1] + counts[2]; int(total) != made {
		t.Errorf("%v calls counted, %d made", total, made)
	}
}

func TestNames(t *testing.T) {
	c := metrics.NewCollector()
	m := open(t, c, "1")
	if _, err := m.Call(context.Background(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.CollectAndLint(c)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkCall is what a call costs when it is counted.
func BenchmarkCall(b *testing.B) {
	run := func(name string, opts ...isomer.Option) {
		b.Run(name, func(b *testing.B) {
			m, err := isomer.New(context.Background(), guest("1"), opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			in := make([]byte, 100)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				if out, err = m.CallInto(context.Background(), out, "echo", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("without")
	run("counted", isomer.WithObserver(metrics.NewCollector()))
}

// TestFileNameOfAnyBytes opens a module whose name comes from a file's: client_golang panics at labels
// that are not UTF-8.
func TestFileNameOfAnyBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kit\xff\n.wasm")
	if err := os.WriteFile(path, enginetest.Guest{Version: "1"}.Build(), 0o600); err != nil {
		t.Skipf("this file system has no such names: %v", err)
	}
	c := metrics.NewCollector()
	m, err := isomer.Open(context.Background(), path, isomer.WithObserver(c))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const name = "kit\uFFFD\uFFFD"
	if m.Name() != name {
		t.Errorf("the module's name is %q, want %q", m.Name(), name)
	}
	series := `isomer_instances{module="` + name + `",state="idle",version="` + m.Version() + `"}`
	if got := scraper(t, c)(); got[series] != "1" {
		t.Errorf("no %s in %v", series, got)
	}
}
