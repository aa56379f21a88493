package edge_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// What an edge keeps of a device goes when the device is revoked: as it hears of it, and at the next link where it did not.
func TestAnEdgeForgetsRevokedDevices(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	edgeDir := joinEdge(r)
	_, stopEdge := startEdge(t, edgeDir, brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")
	dir := filepath.Join(r.Dir, "dev1")
	if _, err := node.Join(r.Ctx, dir, r.Token("dev1", fleet.Device, nil), node.JoinOptions{Via: "gw1"}); err != nil {
		t.Fatal(err)
	}
	_, stopDevice := startDevice(t, dir)
	online(r, "dev1", "gw1")
	r.Publish("meter@1.0.0", guest("1"))
	r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID)
	kept := filepath.Join(edgeDir, "relay", "desired", "dev1.json")
	was, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Admin.Revoke(r.Ctx, "dev1"); err != nil {
		t.Fatal(err)
	}
	gone := func() bool { _, err := os.Stat(kept); return os.IsNotExist(err) }
	hubtest.Wait(t, "the end of what the edge keeps of the device", gone)
	stopDevice()
	stopEdge()
	if err := os.WriteFile(kept, was, 0o600); err != nil {
		t.Fatal(err)
	}
	startEdge(t, edgeDir, brokertest.Address(t, "127.0.0.1"))
	hubtest.Wait(t, "the end of what it kept while the link was down", gone)
}

// answering counts the goroutines that answer fetch requests in this process: the hub has some too.
func answering() int {
	b := make([]byte, 4<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "internal/fetch.Service.Serve.func")
}

// Not parallel: other tests' hubs and edges would count.
func TestNothingOfAnEdgeIsLeftBehind(t *testing.T) {
	r := hubtest.New(t)
	dir := joinEdge(r)
	before := answering()
	_, stop := startEdge(t, dir, brokertest.Address(t, "127.0.0.1"))
	online(r, "gw1", "")
	if answering() <= before {
		t.Fatal("the edge's workers are not seen")
	}
	stop()
	if after := answering(); after != before {
		t.Errorf("%d goroutines more answer fetch requests", after-before)
	}
	r.Hub.Stop()
	if n := answering(); n != 0 {
		t.Errorf("of the hub %d are left", n)
	}
}
