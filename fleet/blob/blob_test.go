package blob_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/blob"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func newStore(t *testing.T) *blob.Store {
	t.Helper()
	s, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *blob.Store, digest string) []byte {
	t.Helper()
	f, err := s.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestATransferGoesOnWhereItStopped(t *testing.T) {
	s := newStore(t)
	want := bytes.Repeat([]byte("module"), 1000)
	digest := digestOf(want)
	w, err := s.Write(digest, int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(want[:2500]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(digest, 10); !errors.Is(err, blob.ErrBusy) {
		t.Errorf("a second writer: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Has(digest) {
		t.Error("a part counts as a module")
	}
	if w, err = s.Write(digest, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if w.Offset() != 2500 {
		t.Fatalf("it goes on at %d, not at 2500", w.Offset())
	}
	if _, err := w.Write(want[w.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, s, digest), want) {
		t.Error("what was written does not come back")
	}
	if err := s.Verify(digest); err != nil {
		t.Error(err)
	}
}

func TestWhatIsDamagedNeverGetsAName(t *testing.T) {
	s := newStore(t)
	want := []byte("a module")
	digest := digestOf(want)
	if err := s.Put(digest, bytes.NewReader([]byte("b module")), 100); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("another content: %v", err)
	}
	if err := s.Put(digest, bytes.NewReader(want), 3); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("more than was announced: %v", err)
	}
	if s.Has(digest) {
		t.Error("it is kept")
	}
	// A part that a crash left with wrong bytes: the transfer ends in an error and the next one begins anew.
	if err := os.WriteFile(s.Path(digest)+".part", []byte("????"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := s.Write(digest, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(want[w.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("a damaged part: %v", err)
	}
	if w, err = s.Write(digest, 100); err != nil || w.Offset() != 0 {
		t.Fatalf("after that it goes on at %d (%v)", w.Offset(), err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Put(digest, bytes.NewReader(want), 100); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(s.Path(digest), []byte("a mODule"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(digest); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("a file that changed on the disk: %v", err)
	}
	for _, bad := range []string{"", "../x", digest + "0", digest[:10]} {
		if _, err := s.Open(bad); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("digest %q: %v", bad, err)
		}
	}
}

func TestCollectKeepsWhatIsWantedOrNew(t *testing.T) {
	s := newStore(t)
	var digests []string
	for _, text := range []string{"one", "two", "three"} {
		d := digestOf([]byte(text))
		digests = append(digests, d)
		if err := s.Put(d, bytes.NewReader([]byte(text)), 10); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	for _, d := range digests[:2] {
		if err := os.Chtimes(s.Path(d), old, old); err != nil {
			t.Fatal(err)
		}
	}
	w, err := s.Write(digestOf([]byte("four")), 10)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.Chtimes(s.Path(digestOf([]byte("four")))+".part", old, old); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Collect(func(d string) bool { return d == digests[0] }, time.Minute)
	if err != nil || freed != 3 {
		t.Errorf("%d bytes are freed (%v)", freed, err)
	}
	if !s.Has(digests[0]) || s.Has(digests[1]) || !s.Has(digests[2]) {
		t.Error("the wrong modules are kept")
	}
	if _, err := os.Stat(s.Path(digestOf([]byte("four"))) + ".part"); err != nil {
		t.Errorf("a part that is being written: %v", err)
	}
	if err := errors.Join(s.Remove(digests[0]), s.Remove(digests[0])); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(digests[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Errorf("listed: %v (%v)", list, err)
	}
}
