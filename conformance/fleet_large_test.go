package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/compiler"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/edge"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
	"github.com/isomer-iot/isomer/wasm"
)

// largeModule is MobileNetV2 where the data is there, otherwise a small module with 14 MB that nothing compresses.
func largeModule(t *testing.T) (bin []byte, what string) {
	t.Helper()
	dir := os.Getenv("ISOMER_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	if model := filepath.Join(dir, "mobilenetv2", "mobilenetv2.onnx"); fileExists(model) {
		built, err := compiler.CompileFile(model, compiler.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return built.Bytes, "MobileNetV2"
	}
	ballast := make([]byte, 14<<20)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(ballast)
	bin, err := wasm.SetCustomSection(enginetest.Guest{Version: "1"}.Build(), "ballast", ballast)
	if err != nil {
		t.Fatal(err)
	}
	return bin, "a guest with ballast"
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestALargeModuleLeavesTheHubOnce publishes a module of 14 MB to a hub, an edge and 10 devices behind it, each an agent
// with its engine and its own folder: all run it, and the edge alone fetched it from the hub, each byte once. It prints
// how long that took from the beginning of the upload.
func TestALargeModuleLeavesTheHubOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it moves 14 MB to 11 nodes (-short)")
	}
	const devices = 10
	r := hubtest.New(t)
	bin, what := largeModule(t)
	dir := filepath.Join(r.Dir, "gw1")
	id, err := node.Join(r.Ctx, dir, r.Token("gw1", fleet.Edge, nil), node.JoinOptions{Addresses: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	e, err := edge.Start(ctx, edge.Config{
		Node: node.Config{Dir: dir, Identity: id, Version: "test"}, Hosts: []string{"127.0.0.1"},
		Listen: broker.Listen{NATS: "127.0.0.1:0"}, Enrol: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	working.Go(func() { defer e.Close(); _ = e.Run(ctx) })
	agents := []*node.Agent{e.Agent()}
	for k := range devices {
		name := fmt.Sprintf("dev%d", k)
		dir := filepath.Join(r.Dir, name)
		id, err := node.Join(r.Ctx, dir, r.Token(name, fleet.Device, nil), node.JoinOptions{Via: e.EnrolAddress()})
		if err != nil {
			t.Fatal(err)
		}
		a, err := node.New(ctx, node.Config{Dir: dir, Identity: id, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		working.Go(func() { defer a.Close(); _ = a.Run(ctx) })
		agents = append(agents, a)
	}
	hubtest.Wait(t, "all nodes online", func() bool {
		nodes, err := r.Admin.Nodes(r.Ctx, fleet.Selector{})
		online := 0
		for _, n := range nodes {
			if n.Online {
				online++
			}
		}
		return err == nil && online == devices+1
	})

	// What is asked of the hub, by who asks and offset.
	var mu sync.Mutex
	asked := map[string]int{}
	digest := hubtest.Digest(bin)
	sub, err := r.Hub.Store().JetStream().Conn().Subscribe(fleet.FetchSubject("hub", "module", digest), func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		who, _, _ := strings.Cut(strings.TrimPrefix(m.Reply, "_INBOX_"), ".")
		if c, err := fleet.DecodeChunkRequest(m.Data); err == nil && c.Length > 1 { // one byte asks for the size
			asked[fmt.Sprintf("%s from %d", who, c.Offset)]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	began := time.Now()
	r.Publish("large@1.0.0", bin)
	uploaded := time.Since(began)
	d := r.Deploy("large@1.0.0", "all", fleet.Plan{})
	if ro := r.Ended(d.ID); ro.Phase != fleet.Completed || ro.Updated != devices+1 {
		t.Fatalf("the rollout is %s with %d nodes: %+v", ro.Phase, ro.Updated, ro.History)
	}
	took := time.Since(began)
	for _, a := range agents {
		if m := a.Module("large"); m == nil || m.Digest() != digest {
			t.Error("a node runs something else")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for what, times := range asked {
		if times > 1 || !strings.HasPrefix(what, "gw1 ") {
			t.Errorf("%d times: %s", times, what)
		}
	}
	if len(asked) == 0 {
		t.Error("nobody fetched it from the hub")
	}
	t.Logf("%s, %.1f MB: uploaded and signed after %v, running on 1 edge and %d devices after %v, with %d requests to the hub",
		what, float64(len(bin))/1e6, uploaded.Round(time.Millisecond), devices, took.Round(time.Millisecond), len(asked))
}
