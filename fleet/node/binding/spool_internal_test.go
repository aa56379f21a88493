package binding

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet/disk"
)

// quick is a disk that does not wait for its flash.
type quick struct{ disk.OS }

func (quick) SyncDir(string) error { return nil }

func TestUnsentTelemetryIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSpool(quick{}, dir, slog.New(slog.DiscardHandler))
	const each = 700_000 // with base64 and its envelope some 930 kB
	for i := range 40 {
		m := &nats.Msg{Subject: "tele.dev1.metric", Data: make([]byte, each), Header: nats.Header{"N": {fmt.Sprint(i)}}}
		if err := s.send(nil, m); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	n, lost := s.waiting()
	if sum > maxUnsentBytes || n != len(entries) || n+int(lost) != 40 || n < 10 {
		t.Errorf("%d files with %d bytes, %d wait, %d are lost", len(entries), sum, n, lost)
	}
	if last := entries[len(entries)-1].Name(); last != fmt.Sprintf("%020d.json", 39) {
		t.Errorf("the newest is %s", last)
	}
	again := newSpool(quick{}, dir, slog.New(slog.DiscardHandler))
	if found, _ := again.waiting(); found != n || again.next != 40 || again.bytes != s.bytes {
		t.Errorf("another process finds %d with %d bytes, and goes on at %d", found, again.bytes, again.next)
	}
}
