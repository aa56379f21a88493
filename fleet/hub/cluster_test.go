package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/client"
	"github.com/isomer-iot/isomer/fleet/hub"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/identity"
)

func TestThreeHubsAreOne(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*hubtest.Patience)
	defer cancel()
	dir := t.TempDir()
	first := filepath.Join(dir, "hub-1", "identity")
	if _, err := identity.Open(first); err != nil {
		t.Fatal(err)
	}
	var cluster []string
	for range 3 {
		cluster = append(cluster, brokertest.Address(t, "127.0.0.1"))
	}
	type started struct {
		i   int
		h   *hub.Hub
		err error
	}
	results := make(chan started)
	for i := range cluster {
		c := hub.Config{
			Dir: filepath.Join(dir, fmt.Sprintf("hub-%d", i+1)), Name: fmt.Sprintf("hub-%d", i+1), API: "127.0.0.1:0", Hosts: []string{"127.0.0.1"},
			Listen: broker.Listen{NATS: "127.0.0.1:0", Leaf: "127.0.0.1:0", Cluster: cluster[i]}, Cluster: "hubs",
		}
		if i > 0 { // each has a copy of the first one's folder
			if err := os.CopyFS(filepath.Join(c.Dir, "identity"), os.DirFS(first)); err != nil {
				t.Fatal(err)
			}
		}
		for j, other := range cluster {
			if i != j {
				c.Routes = append(c.Routes, "nats-route://"+other)
			}
		}
		go func() {
			h, err := hub.Start(ctx, c)
			results <- started{i, h, err}
		}()
	}
	hubs := make([]*hub.Hub, 3)
	for range hubs {
		s := <-results
		if s.err != nil {
			t.Errorf("hub %d: %v", s.i+1, s.err)
			continue
		}
		hubs[s.i] = s.h
		t.Cleanup(s.h.Stop)
	}
	if t.Failed() {
		return
	}
	// One of them made the first token, and it opens each.
	var token string
	for i := range hubs {
		b, err := os.ReadFile(hub.AdminFile(filepath.Join(dir, fmt.Sprintf("hub-%d", i+1))))
		if err != nil {
			continue
		}
		var a hub.Access
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		token = a.Token
	}
	admins := make([]*client.Client, 3)
	for i, h := range hubs {
		var err error
		if admins[i], err = client.New(client.Config{URL: h.URL(), Token: token, CA: h.Fingerprint()}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(what string, do func() error) {
		t.Helper()
		var err error
		for end := time.Now().Add(hubtest.Patience); ; time.Sleep(50 * time.Millisecond) {
			if err = do(); err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	short := func(do func(ctx context.Context) error) func() error {
		return func() error {
			c, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return do(c)
		}
	}
	invite := func(a *client.Client, name string) func() error {
		return short(func(ctx context.Context) error {
			_, err := a.Invite(ctx, client.Invitation{Name: name, Layer: fleet.Device})
			return err
		})
	}
	known := func(a *client.Client, name string) func() error {
		return short(func(ctx context.Context) error {
			_, err := a.Node(ctx, name)
			return err
		})
	}
	for i, a := range admins {
		try("an invitation", invite(a, fmt.Sprintf("dev%d", i)))
	}
	// Whichever is lost, the others go on with all that was acknowledged.
	hubs[0].Stop()
	for _, a := range admins[1:] {
		for i := range 3 {
			try("a node that was invited", known(a, fmt.Sprintf("dev%d", i)))
		}
		try("an invitation by those that are left", invite(a, "dev9"))
		try("a node that was invited then", known(a, "dev9"))
	}
}
