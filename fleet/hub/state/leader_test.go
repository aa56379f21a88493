package state

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the leader of a bucket says is what any server says once it has heard of it.
func TestOfLeader(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s, err := Open(ctx, nc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Joins.Create(ctx, "one", Join{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Trust.Create(ctx, "metadata", []byte("raw")); err != nil {
		t.Fatal(err)
	}
	want, err := s.Joins.Get(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Joins.ofLeader(ctx, "one")
	if err != nil || got.Value.Key != "k" || got.Revision != want.Revision || !got.At.Equal(want.At) || got.Key != want.Key {
		t.Errorf("the leader says %+v (%v), any server %+v", got, err, want)
	}
	if raw, err := s.Trust.ofLeader(ctx, "metadata"); err != nil || string(raw.Value) != "raw" {
		t.Errorf("raw: %+v (%v)", raw, err)
	}
	if err := s.Joins.Delete(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"one", "never"} {
		if _, err := s.Joins.ofLeader(ctx, key); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: error %v", key, err)
		}
	}
	digest := strings.Repeat("ab", 32)
	if err := s.Modules.Put(ctx, digest, strings.NewReader("module")); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Modules.ofLeader(ctx, digest); err != nil || info.Size != 6 {
		t.Errorf("module: %+v (%v)", info, err)
	}
	if err := s.Modules.Delete(ctx, digest); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{digest, strings.Repeat("cd", 32)} {
		if info, err := s.Modules.ofLeader(ctx, d); !errors.Is(err, jetstream.ErrObjectNotFound) {
			t.Errorf("module %.4s: %+v (%v)", d, info, err)
		}
	}
}
