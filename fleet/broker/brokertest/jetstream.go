package brokertest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// patience bounds a start that takes milliseconds, on a machine that is busy with other things.
const patience = 30 * time.Second

// JetStream starts a server on loopback that lets anybody in and keeps its streams in dir, in a hub's domain, and connects to it.
// Both end with the test.
func JetStream(t testing.TB, dir string) (*nats.Conn, *server.Server) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: dir, JetStreamDomain: fleet.Domain,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, s
}
