package conformance

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

// TestAHubThatIsKilledGoesOn kills the hub at random moments of two rollouts, a good one and a bad one, and starts
// it again: both end as they should, and no node is ever asked for anything that nobody deployed. ISOMER_KILLS says how
// often each is hit.
func TestAHubThatIsKilledGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a hub a dozen times (-short)")
	}
	kills := 4
	if s := os.Getenv("ISOMER_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	h := newHubProcess(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var mu sync.Mutex
	runs := map[string]string{} // node → version
	allowed := map[string]bool{}
	heard := func(node string, d fleet.Desired) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range d.Modules {
			if !allowed[m.Release.Version] {
				t.Errorf("%s is to run %s, which was not deployed", node, m.Release)
			}
			runs[node] = m.Release.Version
		}
	}
	nodes := make([]*simulated, 12)
	for i := range nodes {
		var err error
		if nodes[i], err = h.simulate(ctx, fmt.Sprintf("dev%d", i), x509.NewCertPool(), heard); err != nil {
			t.Fatal(err)
		}
		defer nodes[i].nc.Close()
	}
	deploy := func(version string) fleet.Deployment {
		t.Helper()
		mu.Lock()
		allowed[version] = true
		mu.Unlock()
		h.publish("meter@"+version, enginetest.Guest{Version: version}.Build())
		d, err := h.admin.Deploy(ctx, client.Deployment{Release: hubtest.Ref(t, "meter@"+version), To: "all", Plan: fleet.Plan{
			Waves: []fleet.Share{{Count: 1}, {Percent: 25}, {Percent: 50}, {Percent: 75}}, Concurrency: 2, Soak: fleet.Duration(200 * time.Millisecond),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// end kills the hub again and again, then lets the rollout end.
	end := func(id string) fleet.Rollout {
		t.Helper()
		for range kills {
			time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
			h.kill()
			h.start()
		}
		for {
			r, err := h.admin.Rollout(ctx, id)
			if err == nil && r.Phase.Ended() {
				return r
			}
			if e, ok := errors.AsType[*client.Error](err); err != nil && (!ok || e.Status != 404) {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	everyone := func(version string) {
		t.Helper()
		hubtest.Wait(t, "version "+version+" everywhere", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, s := range nodes {
				if runs[s.name] != version {
					return false
				}
			}
			return true
		})
	}

	if r := end(deploy("1").ID); r.Phase != fleet.Completed || r.Updated != len(nodes) {
		t.Fatalf("the rollout is %s with %d nodes: %+v", r.Phase, r.Updated, r.History)
	}
	everyone("1")
	bad := deploy("2")
	for i, s := range nodes { // half of them refuse it
		if i%2 == 0 {
			s.mu.Lock()
			s.bad = bad.ID
			s.mu.Unlock()
		}
	}
	r := end(bad.ID)
	if r.Phase != fleet.RolledBack {
		t.Errorf("the bad rollout is %s: %+v", r.Phase, r.History)
	}
	everyone("1")
	for i := 1; i < len(r.History); i++ {
		if r.History[i].From != r.History[i-1].To || r.History[i].Reason == "" {
			t.Errorf("the history has a gap at %d: %+v", i, r.History)
		}
	}
}
