package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxModule is the most that a host reads of a module.
const maxModule = 1 << 30

// readRegular reads a file of at most that many bytes. It does not wait, as opening a pipe would, and
// allocates nothing for a file that is too large.
func readRegular(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		e.Op = "open" // what was asked for
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // before opening, which may already wait
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", path, info.Size(), most)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The file may still grow: no more than the bound is read of it.
	return io.ReadAll(io.LimitReader(f, most))
}

// writeFile writes a whole file or nothing: to a temporary file beside it, synced, then renamed over it, so
// that a host that watches the file never sees half of it and a full disk costs nothing. What exists and
// is no regular file (a pipe, /dev/null) is written as it is.
func writeFile(path string, b []byte) (err error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, b, 0o644)
	}
	mode := fs.FileMode(0o644)
	switch {
	case err == nil:
		mode = info.Mode().Perm()
		// A link stays a link: what it points to is replaced.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	// CreateTemp makes files that only their owner reads.
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
