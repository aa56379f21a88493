package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

// TestDashboardOfManyNodes is the figure "dashboard with 5,000 nodes" with ISOMER_NODES=5000; without it some hundred, to see that it
// works. What it measures it prints; it fails for what is wrong, never for what is slow.
func TestDashboardOfManyNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("it drives a browser (-short)")
	}
	task := map[string]any{"web": filepath.Join("..", "web"), "chromium": needDashboardTools(t), "views": 3, "seconds": 2}
	n := nodesWanted(t, 200)
	if n >= 1000 {
		task["views"], task["seconds"] = 9, 15
	}
	h := newHubProcess(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	var mu sync.Mutex
	wanted := map[string]fleet.Desired{}
	nodes := h.simulateAll(ctx, n, func(node string, d fleet.Desired) {
		mu.Lock()
		defer mu.Unlock()
		wanted[node] = d
	})
	h.publish("meter@1.0.0", enginetest.Guest{Version: "1"}.Build())
	d, err := h.admin.Deploy(ctx, client.Deployment{Release: hubtest.Ref(t, "meter@1.0.0"), To: "all"})
	check(t, err)
	hubtest.Wait(t, "the rollout's end", func() bool {
		r, err := h.admin.Rollout(ctx, d.ID)
		return err == nil && r.Phase == fleet.Completed
	})

	var a hub.Access
	b, err := os.ReadFile(hub.AdminFile(h.dir))
	check(t, err)
	check(t, json.Unmarshal(b, &a))
	task["url"], task["token"], task["nodes"] = a.URL, a.Token, n
	in, err := json.Marshal(task)
	check(t, err)
	c := exec.CommandContext(ctx, "node", filepath.Join("browser", "dashboard_scale.mjs"))
	var said bytes.Buffer
	c.Stdin, c.Stderr = bytes.NewReader(in), &said
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	var sent atomic.Int64
	began := time.Now()
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		t.Logf("%d nodes: %s", n, lines.Text())
		if seen == 0 {
			began = time.Now()
			working.Go(func() {
				// As many as 5,000 nodes send at one report in 10 s; each says what it runs.
				for tick := time.Tick(10 * time.Millisecond); ctx.Err() == nil; <-tick {
					for range 5 {
						s := nodes[int(sent.Add(1))%n]
						mu.Lock()
						d := wanted[s.name]
						mu.Unlock()
						_ = s.report(d)
					}
				}
			})
		}
	}
	rest, _ := io.ReadAll(out)
	if err := c.Wait(); err != nil || len(rest) > 0 {
		t.Fatalf("%v %s\n%s", err, rest, said.Bytes())
	}
	t.Logf("%.0f reports a second were sent; the hub has %.0f MB", float64(sent.Load())/time.Since(began).Seconds(), h.rss())
}

// needDashboardTools skips the test, with the reason, where what drives the dashboard is not there; otherwise it is Chromium's path.
func needDashboardTools(t *testing.T) (chromium string) {
	t.Helper()
	chromium = findChromium()
	var missing []string
	if chromium == "" {
		missing = append(missing, "Chromium (apt-get install chromium)")
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing = append(missing, "Node.js")
	}
	if !fileExists(filepath.Join("..", "web", "node_modules", "playwright-core", "package.json")) {
		missing = append(missing, "playwright-core (cd web && npm ci --ignore-scripts)")
	}
	if len(missing) > 0 {
		t.Skipf("the dashboard's tests need %s", strings.Join(missing, ", "))
	}
	return chromium
}
