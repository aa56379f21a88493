package node_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/fleet/node/local"
)

func TestANodeShowsItselfToPrometheus(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	dir := join(r, "dev1")
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	a, err := node.New(r.Ctx, node.Config{Dir: dir, Identity: id, Version: "test", Local: local.Listen{Socket: socket}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.Ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { stop(); <-done; a.Close() }()
	r.Publish("meter@1.0.0", guest("1", "1"))
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}}
	defer web.CloseIdleConnections()
	res, err := web.Get("http://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"isomer_agent_connected 1\n", "isomer_agent_problems 0\n", `isomer_agent_disk_bytes{what="modules"} `, `isomer_instances{module="meter",`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s", want)
		}
	}
	for _, not := range []string{"isomer_agent_desired_revision 0\n", "isomer_agent_verified_seconds 0\n", "isomer_agent_reports_total 0\n", `isomer_agent_disk_bytes{what="modules"} 0`} {
		if strings.Contains(string(b), not) {
			t.Errorf("it says %s", not)
		}
	}
	if t.Failed() {
		t.Logf("%d %s", res.StatusCode, b)
	}
}
