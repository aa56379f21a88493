package hub_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
)

func TestAHubShowsItsFleetToPrometheus(t *testing.T) {
	t.Parallel()
	r := hubtest.New(t)
	pem, err := os.ReadFile(filepath.Join(r.Dir, "hub", "identity", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer web.CloseIdleConnections()
	get := func(token string) (int, string) {
		req, err := http.NewRequestWithContext(r.Ctx, http.MethodGet, r.Hub.URL()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if code, _ := get(""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	viewer, err := r.Admin.MakeToken(r.Ctx, "prometheus", fleet.Viewer, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A member that was never heard, and one that runs a release.
	for _, name := range []string{"dev1", "dev2"} {
		if _, err := r.Hub.Store().Members.Create(r.Ctx, name, fleet.Member{Node: name, Layer: fleet.Device, Key: "U" + name}); err != nil {
			t.Fatal(err)
		}
	}
	report := fleet.Report{Node: "dev1", Layer: fleet.Device, Modules: []fleet.ModuleReport{{Name: "meter", State: fleet.Running, Release: hubtest.Ref(t, "meter@1.0.0")}}}
	if _, err := r.Hub.Store().Nodes.Put(r.Ctx, "dev1", report); err != nil {
		t.Fatal(err)
	}
	var got string
	hubtest.Wait(t, "the lease", func() bool {
		var code int
		if code, got = get(viewer); code != http.StatusOK {
			t.Fatalf("%d %s", code, got)
		}
		return strings.Contains(got, "isomer_hub_leader 1\n")
	})
	for _, want := range []string{
		`isomer_fleet_nodes{health="ok",layer="device"} 1`, `isomer_fleet_nodes{health="silent",layer="device"} 1`, `isomer_fleet_nodes{health="ok",layer="edge"} 0`,
		`isomer_fleet_running{module="meter",version="1.0.0"} 1`, `isomer_fleet_rollouts{phase="completed"} 0`, `isomer_fleet_unread 0`,
		`isomer_fleet_jetstream_messages{stream="KV_members"} 2`, `isomer_hub_connections `, `isomer_hub_fetch_bytes_total{kind="module"} 0`,
		`isomer_hub_api_seconds_count{operation="token",status="2xx"} 1`, `isomer_hub_reports_total{result="taken"} 0`, "go_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	if strings.Contains(got, "dev1") {
		t.Error("a label has a node's name")
	}
}
