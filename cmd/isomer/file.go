package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

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
