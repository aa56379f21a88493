package broker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
)

// small is a disk of a few megabytes, where this machine lets the test mount one.
func small(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("isomer-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("DISABLED: a full disk needs a mount, which wants root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A disk that was full may have room again: what was acknowledged is there, and writes are taken without a restart.
func TestAFullDiskIsSurvived(t *testing.T) {
	t.Parallel()
	disk := small(t, 8<<20)
	s := newSite(t)
	b := s.start(broker.Config{Name: "hub-2", Domain: fleet.Domain, Dir: disk, Listen: broker.Listen{NATS: "127.0.0.1:0"}})
	u, err := s.authority.Hub("hub-2")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := b.Connect(u.JWT, string(u.Seed))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "x", History: 1})
	if err != nil {
		t.Fatal(err)
	}
	acked := map[string]uint64{}
	put := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		rev, err := kv.Put(ctx, key, []byte(key))
		if err == nil {
			acked[key] = rev
		}
		return err
	}
	for i := range 20 {
		if err := put(fmt.Sprint("before-", i)); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	for i := 0; ; i++ {
		if err := put(fmt.Sprint("full-", i)); err != nil {
			break
		}
		if i == 100_000 {
			t.Fatal("the disk does not fill")
		}
	}
	wait(t, "word of the full disk", func() bool { return b.Trouble() != nil })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wait(t, "a write after the disk has room again", func() bool { return put("after") == nil })
	if err := b.Trouble(); err != nil {
		t.Errorf("still in trouble: %v", err)
	}
	for key, rev := range acked {
		e, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatalf("%s was acknowledged: %v", key, err)
		}
		if string(e.Value()) != key || e.Revision() < rev {
			t.Errorf("%s is %q at %d, was acknowledged at %d", key, e.Value(), e.Revision(), rev)
		}
	}
}

func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); err != nil {
			return
		}
	}
}
