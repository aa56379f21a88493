package isomer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/isomer-iot/isomer/wasm"
)

// Times of watching.
const (
	// settle is how long nothing happens before a change is looked at: a writer's next write comes
	// within microseconds, and a burst of replacements is one change.
	settle = 15 * time.Millisecond
	// settleMost bounds that wait under changes without end.
	settleMost = time.Second
	// recheck is how often a file that is still being written is looked at.
	recheck = 100 * time.Millisecond
	// incomplete is how long a file without a recognisable end may rest before it counts as damaged
	// where the system cannot say whether someone is writing.
	incomplete = 2 * time.Second
	// pollEvery is how often the file is looked at where there are no events.
	pollEvery = time.Second
	// glanceEvery is how often the file's and the directories' identity is compared with what was seen
	// last, by stat alone: some changes have no event (a directory further up was renamed and made
	// again, another machine wrote to a network file system).
	glanceEvery = 2 * time.Second
)

// watcher keeps a Module current with its file. fsnotify does not report that a writer is done, so
// an event only leads to a look at the file; look decides.
type watcher struct {
	path  string
	fs    *fsnotify.Watcher      // nil: polling
	names map[string]bool        // paths whose change concerns us: the file, links to it, directories
	dirs  map[string]os.FileInfo // watched directories
	seen  os.FileInfo            // the file when it was looked at last; nil: not there
	most  int64                  // bytes that a module may have
	err   error                  // why there are no events
	who   func(*os.File) writing

	m       *Module
	stop    chan struct{}
	ctx     context.Context // of swaps that changes lead to
	cancel  context.CancelFunc
	done    sync.WaitGroup
	once    sync.Once
	waiting bool // FileWaiting was said
	gone    bool // FileRemoved was said
	polling bool // Polling was said
	last    sight

	unreadable string // the last error of reading that was said
}

// sight is what a file looked like.
type sight struct {
	info  os.FileInfo
	since time.Time // first seen like this
}

func newWatcher(path string) *watcher {
	w := &watcher{path: path, who: writers, stop: make(chan struct{}), dirs: map[string]os.FileInfo{}, most: maxFile}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.fs, w.err = fsnotify.NewWatcher()
	w.rewatch()
	return w
}

func (w *watcher) start(m *Module) {
	w.m = m
	w.done.Go(w.loop)
}

func (w *watcher) close() {
	w.once.Do(func() {
		close(w.stop)
		w.cancel()
		if w.fs != nil {
			_ = w.fs.Close()
		}
	})
	w.done.Wait()
}

func (w *watcher) loop() {
	var events <-chan fsnotify.Event
	var errs <-chan error
	if w.fs != nil {
		events, errs = w.fs.Events, w.fs.Errors
	}
	// The file may have changed between watching and reading, while the first module was compiled.
	timer := time.NewTimer(0)
	defer timer.Stop()
	glance := time.NewTicker(glanceEvery)
	defer glance.Stop()
	var first time.Time // of the changes not looked at yet
	for {
		select {
		case <-w.stop:
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if !w.concerns(e) {
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			timer.Reset(min(settle, max(0, settleMost-time.Since(first))))
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// Events were lost (or the watch is broken); what they were about is seen by looking.
			w.err = err
			timer.Reset(settle)
		case <-glance.C:
			if first.IsZero() && w.changed() {
				timer.Reset(0)
			}
		case <-timer.C:
			first = time.Time{}
			again := w.look()
			if w.err != nil && (again == 0 || again > pollEvery) {
				again = pollEvery
			}
			if again > 0 {
				timer.Reset(again)
			}
		}
	}
}

// concerns reports whether an event may be a change of the file.
func (w *watcher) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod || !w.names[filepath.Clean(e.Name)] {
		return false
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		delete(w.dirs, filepath.Clean(e.Name)) // a watch ends with its directory
	}
	return true
}

// rewatch watches every directory in which a change can lead to another file: those of the path and
// of each symbolic link on the way. It sets w.err where one cannot be watched.
func (w *watcher) rewatch() {
	names, dirs := chain(w.path)
	w.names = names
	if w.fs == nil {
		return
	}
	w.err = nil
	for d := range dirs {
		now, err := os.Stat(d)
		if was := w.dirs[d]; was != nil {
			if err == nil && os.SameFile(was, now) {
				continue
			}
			_ = w.fs.Remove(d) // the watch stayed with a directory that was moved away
			delete(w.dirs, d)
		}
		if err == nil {
			err = w.fs.Add(d)
		}
		if err != nil {
			w.err = err
			continue
		}
		w.dirs[d] = now
	}
	for d := range w.dirs {
		if !dirs[d] {
			_ = w.fs.Remove(d)
			delete(w.dirs, d)
		}
	}
}

// changed reports whether the file or a watched directory is not what it was at the last look.
func (w *watcher) changed() bool {
	for d, was := range w.dirs {
		if now, err := os.Stat(d); err != nil || !os.SameFile(was, now) {
			return true
		}
	}
	now, err := os.Stat(w.path)
	if err != nil || w.seen == nil {
		return err == nil || w.seen != nil
	}
	return !same(now, w.seen)
}

// maxLinks is the number of symbolic links after which a path is taken for a loop, as in Linux.
const maxLinks = 40

// chain lists the paths whose change can change what path leads to, and the directories they are in.
func chain(path string) (names, dirs map[string]bool) {
	names, dirs = map[string]bool{}, map[string]bool{}
	links := 0
	var walk func(path string)
	walk = func(path string) {
		vol := filepath.VolumeName(path)
		at := vol + string(filepath.Separator)
		rest := strings.Split(strings.TrimPrefix(path, at), string(filepath.Separator))
		for k, part := range rest {
			parent := at
			at = filepath.Join(at, part)
			target, err := os.Readlink(at)
			if err == nil && links < maxLinks {
				links++
				names[at], dirs[parent] = true, true
				if !filepath.IsAbs(target) {
					target = filepath.Join(parent, target)
				}
				walk(filepath.Join(append([]string{target}, rest[k+1:]...)...))
				return
			}
		}
		names[at], dirs[filepath.Dir(at)] = true, true
		names[filepath.Dir(at)] = true
	}
	walk(filepath.Clean(path))
	return names, dirs
}

// look reads the file if it is complete and swaps if it is new. It returns when to look again, 0 for
// after the next event.
func (w *watcher) look() time.Duration {
	w.rewatch()
	if w.err != nil && !w.polling {
		w.polling = true
		w.m.emit(w.m.info(), Event{Kind: Polling, Err: w.err})
	} else if w.err == nil {
		w.polling = false
	}
	w.seen, _ = os.Stat(w.path)
	bin, again, err := w.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !w.gone {
			w.gone = true
			w.m.emit(w.m.info(), Event{Kind: FileRemoved, Err: err})
		}
		return again
	case err != nil: // permissions, a directory in its place, too large
		if text := err.Error(); text != w.unreadable {
			w.unreadable = text
			serving := w.m.info()
			_ = w.m.refuse(&release{name: serving.name, version: serving.version}, StepRead, err)
		}
		return pollEvery
	case bin == nil:
		if !w.waiting {
			w.waiting = true
			w.m.emit(w.m.info(), Event{Kind: FileWaiting})
		}
		return again
	}
	w.waiting, w.gone, w.unreadable = false, false, ""
	w.bring(bin)
	return 0
}

// bring puts new content of the file into service.
func (w *watcher) bring(bin []byte) {
	m := w.m
	m.swapping.Lock()
	defer m.swapping.Unlock()
	g := m.current.Load()
	if g == nil {
		return
	}
	digest := digestOf(bin)
	if digest == g.release.digest {
		m.status.restored()
		return
	}
	if m.status.isRejected(digest) {
		return
	}
	m.emit(g.release, Event{Kind: Detected, Bytes: len(bin)})
	// The refusal is an event and in the stats; there is no one to return it to.
	_ = m.replace(w.ctx, bin)
}

// read returns the file's content, or nil while it is not complete.
func (w *watcher) read() (bin []byte, again time.Duration, err error) {
	f, before, err := openModule(w.path, w.most)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	if w.who(f) == beingWritten {
		return nil, recheck, nil
	}
	bin = make([]byte, before.Size())
	n, _ := f.ReadAt(bin, 0)
	state := w.who(f)
	after, err := os.Stat(w.path)
	if err != nil {
		return nil, recheck, err
	}
	if n != len(bin) || !same(before, after) || state == beingWritten {
		w.last = sight{}
		return nil, recheck, nil
	}
	if state == notWritten {
		return bin, 0, nil
	}
	// The system does not say. A module that ends where its last section ends and rested for a
	// while is taken for complete; one that does not is waited for longer.
	if w.last.info == nil || !same(w.last.info, after) {
		w.last = sight{info: after, since: time.Now()}
		return nil, recheck, nil
	}
	if _, err := wasm.Sections(bin); err != nil && time.Since(w.last.since) < incomplete {
		return nil, recheck, nil
	}
	return bin, 0, nil
}

func same(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// writing is what the system knows about writers of a file.
type writing int

const (
	unknown writing = iota
	notWritten
	beingWritten
)
