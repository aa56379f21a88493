package broker

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A stream of JetStream that could not write once, as its disk was full or no file was left to open, takes nothing more
// until its server is started again, however much space there is. So a full disk would end a hub for good. Here
// JetStream alone is started again, as soon as the disk takes writes: connections stay, and nothing that was acknowledged is lost.
const (
	probeBytes = 1 << 20
	probeFirst = 250 * time.Millisecond
	probeMost  = 5 * time.Second
)

// isBroken reads the server's lines, which is all that it tells of it.
func isBroken(line string) bool {
	return strings.Contains(line, "ritical write error") || strings.Contains(line, "resources, will be DISABLED") || strings.Contains(line, "disabling JetStream")
}

// mend starts JetStream again after writes failed, until the server ends.
func (b *Broker) mend(broken <-chan struct{}, log *slog.Logger) {
	ended := make(chan struct{})
	go func() {
		b.s.WaitForShutdown()
		close(ended)
	}()
	for {
		select {
		case <-broken:
		case <-ended:
			return
		}
		began, wait := time.Now(), probeFirst
		for {
			err := b.restartStreams()
			b.trouble.Store(&err)
			if err == nil {
				break
			}
			log.Error("state cannot be written; nothing is taken until the disk has room again", "error", err)
			select {
			case <-time.After(wait):
			case <-ended:
				return
			}
			wait = min(2*wait, probeMost)
		}
		log.Warn("JetStream was started again after a write that failed", "after", time.Since(began).Round(time.Millisecond))
	}
}

// Trouble is why nothing can be written at the moment; nil: it can.
func (b *Broker) Trouble() error {
	if err := b.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *Broker) restartStreams() error {
	if err := probe(b.o.StoreDir); err != nil {
		return err
	}
	if err := b.s.ShutdownJetStream(); err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	err := b.s.EnableJetStream(&server.JetStreamConfig{
		StoreDir: b.o.StoreDir, SyncInterval: b.o.SyncInterval, SyncAlways: b.o.SyncAlways,
		MaxMemory: b.o.JetStreamMaxMemory, MaxStore: b.o.JetStreamMaxStore, Domain: b.o.JetStreamDomain, Strict: !b.o.NoJetStreamStrict,
	})
	if err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	return nil
}

// probe writes as much as the next writes will want, and takes it back.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, "probe-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
