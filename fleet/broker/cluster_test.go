package broker_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/broker/brokertest"
	"github.com/isomer-iot/isomer/fleet/hub/state"
	"github.com/isomer-iot/isomer/fleet/identity"
)

func TestAClusterOfThreeSurvivesTheLossOfItsLeader(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := &site{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	var err error
	if s.authority, err = identity.Open(s.dir + "/identity"); err != nil {
		t.Fatal(err)
	}
	s.account = s.authority.Account()
	s.pool.AppendCertsFromPEM([]byte(s.authority.CA()))
	// Hubs of a cluster must know each other's addresses before they start.
	cluster := []string{brokertest.Address(t, "127.0.0.1"), brokertest.Address(t, "127.0.0.1"), brokertest.Address(t, "127.0.0.1")}
	hubs := map[string]*broker.Broker{}
	var urls []string
	for i, own := range cluster {
		var routes []string
		for _, other := range cluster {
			if other != own {
				routes = append(routes, "nats-route://"+other)
			}
		}
		name := fmt.Sprintf("hub-%d", i+1)
		hubs[name] = s.start(broker.Config{
			Name: name, Domain: fleet.Domain, Dir: s.dir + "/" + name, Cluster: "hubs", Routes: routes,
			Listen: broker.Listen{NATS: "127.0.0.1:0", Cluster: own},
		})
		urls = append(urls, hubs[name].URL())
	}
	// A hub's process has its own server; this client has no process, and goes wherever somebody answers.
	u, err := s.authority.Hub("test")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(urls[0], nats.UserJWTAndSeed(u.JWT, string(u.Seed)), nats.Secure(), nats.RootCAs(s.caFile()), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.CustomInboxPrefix("_INBOX_test"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var store *state.Store
	wait(t, "a leader of the cluster", func() bool {
		// A request that nobody leads to answer is lost: each attempt has an end of its own.
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		store, err = state.Open(ctx, nc, state.Options{Replicas: 3})
		return err == nil
	})
	put := func(i int) error {
		c, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := store.Members.Put(c, fmt.Sprintf("dev%d", i), fleet.Member{Node: fmt.Sprintf("dev%d", i), Layer: fleet.Device})
		return err
	}
	for i := range 20 {
		wait(t, "a write", func() bool { return put(i) == nil })
	}
	str, err := store.JetStream().Stream(ctx, "KV_"+fleet.MembersBucket)
	if err != nil {
		t.Fatal(err)
	}
	leader := str.CachedInfo().Cluster.Leader
	if len(str.CachedInfo().Cluster.Replicas) != 2 {
		t.Fatalf("the bucket has %d replicas besides its leader", len(str.CachedInfo().Cluster.Replicas))
	}
	hubs[leader].Stop()
	for i := 20; i < 40; i++ {
		wait(t, "a write without "+leader, func() bool { return put(i) == nil })
	}
	// Everything that was acknowledged is there.
	for i := range 40 {
		wait(t, "what was written", func() bool {
			e, err := store.Members.Get(ctx, fmt.Sprintf("dev%d", i))
			return err == nil && e.Value.Node == fmt.Sprintf("dev%d", i)
		})
	}
	var info *jetstream.StreamInfo
	wait(t, "another leader", func() bool {
		info, err = str.Info(ctx)
		return err == nil && info.Cluster.Leader != "" && info.Cluster.Leader != leader
	})
}
