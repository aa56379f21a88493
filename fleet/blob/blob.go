// Package blob keeps module files in a folder under the SHA-256 of their content. Use it wherever modules wait
// on a disk: the hub's cache, an edge's, a node's; it never holds a module in memory whole.
//
// What has its final name is complete and on the disk (fsync), and had the right digest when it got there. A
// transfer that is interrupted leaves a part, and goes on from its end.
package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/disk"
)

// ErrDamaged is content that has another digest than its name says.
var ErrDamaged = errors.New("the content is damaged")

// Store is a folder of modules. Its methods may be called from several goroutines; one process at a time may
// write to a folder.
type Store struct {
	disk disk.FS
	dir  string

	mu      sync.Mutex
	writing map[string]bool // parts that a Writer has open
}

const partSuffix = ".part"

// Open makes the folder if it is missing.
func Open(dir string) (*Store, error) { return OpenOn(disk.OS{}, dir) }

// OpenOn is Open with a disk to write to.
func OpenOn(d disk.FS, dir string) (*Store, error) {
	if err := disk.MkdirAll(d, dir, 0o755); err != nil {
		return nil, fmt.Errorf("module folder: %w", err)
	}
	return &Store{disk: d, dir: dir, writing: map[string]bool{}}, nil
}

// Path is where the module with the digest is, or would be.
func (s *Store) Path(digest string) string { return filepath.Join(s.dir, digest) }

// Open opens a module; fs.ErrNotExist where it is not kept. The caller closes it.
func (s *Store) Open(digest string) (*os.File, error) {
	if err := fleet.CheckDigest(digest); err != nil {
		return nil, err
	}
	return os.Open(s.Path(digest))
}

// Has reports whether the module is kept.
func (s *Store) Has(digest string) bool {
	info, err := os.Stat(s.Path(digest))
	return err == nil && info.Mode().IsRegular()
}

// Info is a module in the folder.
type Info struct {
	Digest string
	Size   int64
	Used   time.Time // when it came, or was touched last
}

// List returns the complete modules.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("module folder: %w", err)
	}
	var out []Info
	for _, e := range entries {
		if fleet.CheckDigest(e.Name()) != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("module folder: %w", err)
		}
		out = append(out, Info{e.Name(), info.Size(), info.ModTime()})
	}
	return out, nil
}

// Verify reads the module and compares its digest; ErrDamaged where it differs.
func (s *Store) Verify(digest string) error {
	f, err := s.Open(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := sum(f)
	if err != nil {
		return fmt.Errorf("module %.12s: %w", digest, err)
	}
	if got != digest {
		return fmt.Errorf("module %.12s: %w: it has the digest %.12s", digest, ErrDamaged, got)
	}
	return nil
}

func sum(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Remove removes a module and its part. That there is none is no error.
func (s *Store) Remove(digest string) error {
	if err := fleet.CheckDigest(digest); err != nil {
		return err
	}
	var errs []error
	for _, path := range []string{s.Path(digest), s.Path(digest) + partSuffix} {
		if err := disk.Remove(s.disk, path); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Collect removes modules and parts that keep does not want, but none that came or changed within grace, and
// none that is being written. It returns the bytes that it freed.
func (s *Store) Collect(keep func(digest string) bool, grace time.Duration) (freed int64, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("module folder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		digest := strings.TrimSuffix(e.Name(), partSuffix)
		if fleet.CheckDigest(digest) != nil || keep(digest) {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < grace {
			continue
		}
		s.mu.Lock()
		busy := s.writing[digest]
		if !busy {
			err = s.disk.Remove(filepath.Join(s.dir, e.Name()))
		}
		s.mu.Unlock()
		switch {
		case busy:
		case err == nil:
			freed += info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return freed, errors.Join(errs...)
}

// ErrBusy is a second Writer for a module that is being written.
var ErrBusy = errors.New("the module is being written already")

// Writer takes a module in pieces, in order.
type Writer struct {
	s      *Store
	digest string
	f      disk.File
	size   int64 // so far
	most   int64
}

// Write begins or goes on with a module of at most most bytes: Offset says from where. It ends with Commit or
// Close.
func (s *Store) Write(digest string, most int64) (*Writer, error) {
	if err := fleet.CheckDigest(digest); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing[digest] {
		return nil, fmt.Errorf("module %.12s: %w", digest, ErrBusy)
	}
	f, err := s.disk.OpenFile(s.Path(digest)+partSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("module %.12s: %w", digest, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size > most {
		size, err = 0, errors.Join(f.Truncate(0), second(f.Seek(0, io.SeekStart)))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("module %.12s: %w", digest, err)
	}
	s.writing[digest] = true
	return &Writer{s: s, digest: digest, f: f, size: size, most: most}, nil
}

func second[T any](_ T, err error) error { return err }

// Offset is how many bytes are there: the next one to write has this offset.
func (w *Writer) Offset() int64 { return w.size }

// Write appends.
func (w *Writer) Write(p []byte) (int, error) {
	if w.size+int64(len(p)) > w.most {
		return 0, fmt.Errorf("module %.12s: %w: it is longer than %d bytes", w.digest, ErrDamaged, w.most)
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if err != nil {
		err = fmt.Errorf("module %.12s: %w", w.digest, err)
	}
	return n, err
}

// Commit checks the digest and gives the module its name, durably. Where the digest is another the part is
// removed, since no byte of it can be believed, and the error is ErrDamaged. The Writer is closed in any case.
func (w *Writer) Commit() error {
	defer w.Close()
	if _, err := w.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("module %.12s: %w", w.digest, err)
	}
	// Read again rather than summed on the way: parts of an earlier run, which a crash may have left with holes, are checked too.
	got, err := sum(w.f)
	if err != nil {
		return fmt.Errorf("module %.12s: %w", w.digest, err)
	}
	part := w.s.Path(w.digest) + partSuffix
	if got != w.digest {
		_ = w.s.disk.Remove(part)
		return fmt.Errorf("module %.12s: %w: what came has the digest %.12s", w.digest, ErrDamaged, got)
	}
	// One after the other: a file whose bytes the disk did not take must not get the name.
	err = w.f.Sync()
	if err == nil {
		err = w.s.disk.Rename(part, w.s.Path(w.digest))
	}
	if err == nil {
		err = w.s.disk.SyncDir(w.s.dir)
	}
	if err != nil {
		return fmt.Errorf("module %.12s: %w", w.digest, err)
	}
	return nil
}

// Close ends the Writer and leaves the part for another to go on with. After Commit it does nothing.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	w.s.mu.Lock()
	delete(w.s.writing, w.digest)
	w.s.mu.Unlock()
	return err
}

// Put takes a whole module from r. A part that is there is begun anew.
func (s *Store) Put(digest string, r io.Reader, most int64) error {
	w, err := s.Write(digest, most)
	if err != nil {
		return err
	}
	defer w.Close()
	if w.size > 0 {
		if err := errors.Join(w.f.Truncate(0), second(w.f.Seek(0, io.SeekStart))); err != nil {
			return fmt.Errorf("module %.12s: %w", digest, err)
		}
		w.size = 0
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Commit()
}
