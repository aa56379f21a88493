package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Bounds of what is read: a sparse file of terabytes costs its writer nothing.
const (
	maxModule = 1 << 30  // a module, or the input of a function
	maxTensor = 4 << 30  // more does not fit the memory of a module
	maxText   = 16 << 20 // settings, labels, a profile, a project
)

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
		return nil, hint(fmt.Errorf("%s: not a regular file", path), "give a file; what a pipe or a device holds has to be written to one first")
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

// readInput reads a file of at most maxModule bytes, or stdin for "-". Pipes and devices are read too, until
// they end or ctx does.
func readInput(ctx context.Context, std streams, path string) ([]byte, error) {
	return await(ctx, func() ([]byte, error) {
		r, name := std.in, "stdin"
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			r, name = f, path
		}
		b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
		if err == nil && len(b) > maxModule {
			err = fmt.Errorf("%s: more than the %d bytes that are read", name, maxModule)
		}
		return b, err
	})
}

// writeFile writes a whole file or nothing: to a temporary file beside it, synced, then renamed over it, so
// that a host that watches the file never sees half of it and a full disk costs nothing. What exists and
// is no regular file (a pipe, /dev/null) is written as it is, until ctx ends: a pipe may never be read.
func writeFile(ctx context.Context, path string, b []byte) (err error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		_, err := await(ctx, func() (struct{}, error) { return struct{}{}, os.WriteFile(path, b, 0o644) })
		return err
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
	default:
		if _, err := os.Readlink(path); err == nil {
			return hint(fmt.Errorf("%s: a symbolic link to what does not exist", path), "remove it, or choose another name")
		}
	}
	defer func() {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			e.Path = path // which was asked for, not the temporary one
		}
	}()
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
