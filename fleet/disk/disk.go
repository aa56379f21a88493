// Package disk changes files so that a power cut leaves the old or the new state and nothing in between. Use it
// for whatever a node must find again when it starts; never os.WriteFile.
//
// All goes through FS, which is the operating system (OS) or, in tests, one that knows what a power cut would lose or
// that fails (package disktest).
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// FS are the operations that change a disk. Their errors are those of package os. Nothing but what Sync (the content of
// a file) and SyncDir (the names in a folder) confirmed survives a power cut for sure.
type FS interface {
	// OpenFile opens with flags of package os.
	OpenFile(path string, flag int, perm fs.FileMode) (File, error)
	Mkdir(path string, perm fs.FileMode) error
	Symlink(target, path string) error
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(path string) error
}

// File is an open file. *os.File is one.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// OS is the operating system's disk.
type OS struct{}

// OpenFile is os.OpenFile.
func (OS) OpenFile(path string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

// Mkdir is os.Mkdir.
func (OS) Mkdir(path string, perm fs.FileMode) error { return os.Mkdir(path, perm) }

// Symlink is os.Symlink.
func (OS) Symlink(target, path string) error { return os.Symlink(target, path) }

// Rename is os.Rename.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.Remove.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir makes the names in a folder durable.
func (OS) SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there; NTFS journals names
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MkdirAll makes a folder and those above it, durably. What is there already is left alone.
func MkdirAll(f FS, dir string, perm fs.FileMode) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(f, parent, perm); err != nil {
			return err
		}
	}
	if err := f.Mkdir(dir, perm); err != nil {
		if info, look := os.Stat(dir); look == nil && info.IsDir() {
			return nil // somebody else was quicker
		}
		return err
	}
	return f.SyncDir(filepath.Dir(dir))
}

// tempSuffix marks what is being made. What a crash leaves of it is overwritten by the next attempt.
const tempSuffix = ".new"

// Write replaces the file at path: it is the old one or the new one, whole, at each moment and after a power
// cut, and the new one when Write has returned nil. One goroutine at a time may write one path.
func Write(f FS, path string, b []byte, perm fs.FileMode) error {
	temp := path + tempSuffix
	// Not truncated but made anew: a temporary file of an earlier run may have other permissions.
	if err := Remove(f, temp); err != nil {
		return err
	}
	file, err := f.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.Rename(temp, path)
	}
	if err != nil {
		_ = f.Remove(temp) // it takes room on a disk that may be full
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// Link makes path a symbolic link to target, in place of whatever link was there, as Write does with files.
func Link(f FS, target, path string) error {
	temp := path + tempSuffix
	if err := Remove(f, temp); err != nil {
		return err
	}
	if err := f.Symlink(target, temp); err != nil {
		return err
	}
	if err := f.Rename(temp, path); err != nil {
		_ = f.Remove(temp)
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// Remove removes a file or an empty folder. That there is none is no error. It is durable with the next SyncDir of its
// folder.
func Remove(f FS, path string) error {
	if err := f.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveAll removes a folder with all that is below it, durably. That there is none is no error.
func RemoveAll(f FS, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = RemoveAll(f, path)
		} else {
			err = Remove(f, path)
		}
		if err != nil {
			return err
		}
	}
	if err := Remove(f, dir); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(dir))
}
