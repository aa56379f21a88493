package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing may happen before a save counts as done: editors write, rename and set
	// times within a few milliseconds, a checkout takes longer.
	quiet = 60 * time.Millisecond
	// pollEvery is how often sources are read where the system tells nothing.
	pollEvery = time.Second
	// maxSource bounds what is read of one file to see whether it changed.
	maxSource = 16 << 20
)

// sources watches the files that a project is built from.
type sources struct {
	dir     string
	changed chan struct{} // holds one mark, however many files changed
	events  *fsnotify.Watcher
	done    chan struct{}
	// blind begins polling when a folder that came later cannot be watched.
	blind sync.Once
	// polling says why there are no events; nil: there are.
	polling error
}

// watchSources begins to watch dir and every folder below it.
func watchSources(dir string) (*sources, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	s := &sources{dir: real, changed: make(chan struct{}, 1), done: make(chan struct{})}
	if s.events, err = fsnotify.NewWatcher(); err == nil {
		if err = s.add(real); err == nil {
			go s.follow()
			return s, nil
		}
		_ = s.events.Close()
	}
	s.polling = err
	go s.poll()
	return s, nil
}

func (s *sources) close() {
	close(s.done)
	if s.polling == nil {
		_ = s.events.Close()
	}
}

// add watches a folder and those below it.
func (s *sources) add(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone already
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case path != s.dir && ignoredDir(d.Name()):
			return filepath.SkipDir
		}
		if err := s.events.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		return nil
	})
}

func (s *sources) mark() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// follow marks changes. A new folder is watched first and marked then, so that files that it already has are
// part of the next build.
func (s *sources) follow() {
	for {
		select {
		case e, ok := <-s.events.Events:
			if !ok {
				return
			}
			if e.Name == s.dir && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
				// The watch went with the folder, and one that is made again in its place has no events.
				s.blind.Do(func() { go s.poll() })
			}
			if e.Op == fsnotify.Chmod || ignoredFile(filepath.Base(e.Name)) {
				continue
			}
			if st, err := os.Lstat(e.Name); err == nil && st.IsDir() {
				if ignoredDir(filepath.Base(e.Name)) {
					continue
				}
				// Without the watch of a new folder its later changes would be missed in silence.
				if err := s.add(e.Name); err != nil {
					s.blind.Do(func() { go s.poll() })
				}
			}
			s.mark()
		case _, ok := <-s.events.Errors:
			if !ok {
				return
			}
			s.mark() // events were lost: look
		}
	}
}

// poll marks at an interval; what did not change is told by the digest.
func (s *sources) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			s.mark()
		}
	}
}

// digest is of all that a build can read: paths and contents.
func (s *sources) digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			if path != s.dir && ignoredDir(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		case ignoredFile(d.Name()) || !d.Type().IsRegular() && d.Type()&fs.ModeSymlink == 0:
			return nil
		}
		st, err := os.Stat(path) // through a link
		if err != nil || !st.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return nil // the compiler will say so, if it needs the file
		}
		defer f.Close()
		fmt.Fprintf(h, "%q %d\n", path, st.Size())
		if st.Size() > maxSource {
			fmt.Fprintln(h, st.ModTime().UnixNano())
			return nil
		}
		_, err = io.Copy(h, io.LimitReader(f, maxSource))
		return err
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// ignoredDir is true of folders that hold no sources: the outputs of builds, and what is hidden.
func ignoredDir(name string) bool {
	return name == "node_modules" || name == "target" || strings.HasPrefix(name, ".")
}

// ignoredFile is true of outputs and of what editors leave for a moment. Cargo writes Cargo.lock at each first
// build; what a person changes stands in Cargo.toml.
func ignoredFile(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") || name == "Cargo.lock" ||
		filepath.Ext(name) == ".wasm" || filepath.Ext(name) == ".tmp"
}
