package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer"
)

// get waits for an answer of the server that the command starts.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: answerTime}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRunMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kit.wasm")
	replace(t, path, kit(1))
	ctx, stop := context.WithCancel(t.Context())
	s := begin(t, ctx, "run", path, "--watch", "--json", "--metrics", "localhost:0")
	url := ""
	for timeout := time.After(answerTime); url == ""; {
		select {
		case e := <-s.events:
			if e.Event == "metrics" {
				url = e.URL
			}
		case <-timeout:
			t.Fatal("the address is not said")
		}
	}
	// A scrape may come between the event and its count.
	has := func(lines ...string) {
		t.Helper()
		missing := func(page string) []string {
			return slices.DeleteFunc(slices.Clone(lines), func(want string) bool { return strings.Contains(page, want+"\n") })
		}
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			code, page := get(t, url)
			if code != http.StatusOK {
				t.Fatalf("%d: %s", code, page)
			}
			left := missing(page)
			if len(left) == 0 {
				return
			}
			if time.Since(begin) > answerTime {
				t.Fatalf("no %q in\n%s", left, page)
			}
		}
	}
	healthy := func(version string) {
		t.Helper()
		code, body := get(t, strings.TrimSuffix(url, "metrics")+"healthz")
		var h struct{ Status, Module, Version string }
		if err := json.Unmarshal([]byte(body), &h); err != nil || code != http.StatusOK || h.Status != "ok" || h.Version != version {
			t.Errorf("%d %s %v", code, body, err)
		}
	}
	s.ask("echo 1")
	s.ask("refuse")
	has(`isomer_calls_total{function="echo",module="kit",result="ok",version="1.0.0"} 1`,
		`isomer_calls_total{function="refuse",module="kit",result="app",version="1.0.0"} 1`,
		`isomer_swaps_total{module="kit",result="swapped",version="1.0.0"} 0`,
		`isomer_instances{module="kit",state="idle",version="1.0.0"} 1`)
	healthy("1.0.0")

	replace(t, path, kit(2))
	s.wait(isomer.Swapped)
	s.ask("echo 2")
	replace(t, path, []byte("no module at all"))
	s.wait(isomer.Refused)
	has(`isomer_calls_total{function="echo",module="kit",result="ok",version="1.0.0"} 1`,
		`isomer_calls_total{function="echo",module="kit",result="ok",version="2.0.0"} 1`,
		`isomer_swaps_total{module="kit",result="swapped",version="1.0.0"} 1`,
		`isomer_swaps_total{module="kit",result="refused",version="2.0.0"} 1`,
		`isomer_instances{module="kit",state="idle",version="2.0.0"} 1`)
	healthy("2.0.0")

	stop()
	s.end()
	if c, err := net.DialTimeout("tcp", strings.Split(url, "/")[2], time.Second); err == nil {
		_ = c.Close()
		t.Error("the port is open after the end")
	}
}

func TestRunMetricsPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "kit.wasm")
	replace(t, path, kit(1))
	var said strings.Builder
	code := execute(t.Context(), []string{"run", path, "--metrics", l.Addr().String()}, streams{in: strings.NewReader(""), out: io.Discard, err: &said})
	if want := fmt.Sprintf("error: --metrics: %s is in use\nhint: ", l.Addr()); code != exitFailure || !strings.HasPrefix(said.String(), want) {
		t.Errorf("%d: %s", code, said.String())
	}
	said.Reset()
	code = execute(t.Context(), []string{"run", path, "--metrics", "nowhere at all"}, streams{in: strings.NewReader(""), out: io.Discard, err: &said})
	if code != exitFailure || !strings.Contains(said.String(), "hint: an address is") {
		t.Errorf("%d: %s", code, said.String())
	}
}
