package hub_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/hub"
)

func TestABrowserOnThisMachineNeedsNoCertificate(t *testing.T) {
	t.Parallel()
	any := "127.0.0.1:0"
	config := hub.Config{Dir: filepath.Join(t.TempDir(), "hub"), API: any, Listen: broker.Listen{NATS: any, Leaf: any}, Hosts: []string{"127.0.0.1"}}

	for _, open := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "127.0.0.1"} {
		config.Local = open
		h, err := hub.Start(t.Context(), config)
		if err == nil {
			h.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), "without TLS") {
			t.Errorf("%q: error %v", open, err)
		}
	}

	config.Local = any
	h, err := hub.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	if !strings.HasPrefix(h.URL(), "https://") || !strings.HasPrefix(h.LocalURL(), "http://127.0.0.1:") {
		t.Errorf("it serves at %s and %s", h.URL(), h.LocalURL())
	}
	r, err := http.Get(h.LocalURL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusNoContent {
		t.Errorf("status %d (%v)", r.StatusCode, err)
	}
}
