package isomer

import (
	"context"
	"errors"
	"fmt"
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
	// coarse is the coarsest step of modification times (vfat): a file younger than that may change once
	// more and look the same.
	coarse = 2 * time.Second
)

// watcher keeps a Module current with its file. fsnotify does not report that a writer is done, so
// an event only leads to a look at the file; look decides.
type watcher struct {
	path  string
	fs    *fsnotify.Watcher      // nil: polling, until one can be had
	names map[string]bool        // paths whose change concerns us: the file, links to it, directories
	dirs  map[string]os.FileInfo // watched directories
	seen  os.FileInfo            // the file when it was looked at last; nil: not there
	most  int64                  // bytes that a module may have
	err   error                  // why there are no events
	who   func(*os.File) writing
	open  func() (*fsnotify.Watcher, error)
	where func(dir string) string // file system without trustworthy events; empty: none

	m       *Module
	stop    chan struct{}
	ctx     context.Context // of swaps that changes lead to
	cancel  context.CancelCauseFunc
	done    sync.WaitGroup
	once    sync.Once
	waiting bool // FileWaiting was said
	gone    bool // FileRemoved was said
	polling bool // Polling was said
	young   bool // the file was younger than coarse at the last look
	trying  *trying
	brought string // digest of the file's content that was tried last
	last    sight

	unreadable string // the last error of reading that was said
}

// sight is what a file looked like.
type sight struct {
	info  os.FileInfo
	since time.Time // first seen like this
}

// trying is a module from the file that is in its shadow, while the file is watched on.
type trying struct {
	digest string
	end    context.CancelCauseFunc
	done   chan struct{}
}

func newWatcher(path string) *watcher {
	w := &watcher{
		path: path, who: writers, open: fsnotify.NewWatcher, where: remote,
		stop: make(chan struct{}), dirs: map[string]os.FileInfo{}, most: maxFile,
	}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
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
		w.cancel(ErrClosed)
		w.done.Wait()
		if w.fs != nil {
			_ = w.fs.Close()
		}
	})
}

func (w *watcher) loop() {
	// The file may have changed between watching and reading, while the first module was compiled.
	timer := time.NewTimer(0)
	defer timer.Stop()
	glance := time.NewTicker(glanceEvery)
	defer glance.Stop()
	var first time.Time // of the changes not looked at yet
	polled := false     // the timer is that of polling: nothing is known to have happened
	for {
		var events <-chan fsnotify.Event
		var errs <-chan error
		if w.fs != nil { // it may come later
			events, errs = w.fs.Events, w.fs.Errors
		}
		select {
		case <-w.stop:
			return
		case e := <-events:
			if !w.concerns(e) {
				continue
			}
			polled = false
			if first.IsZero() {
				first = time.Now()
			}
			timer.Reset(min(settle, max(0, settleMost-time.Since(first))))
		case err := <-errs:
			// Events were lost (or the watch is broken); what they were about is seen by looking.
			w.err = err
			polled = false
			timer.Reset(settle)
		case <-glance.C:
			if first.IsZero() && !w.polling && w.changed() {
				polled = false
				timer.Reset(0)
			}
		case <-timer.C:
			first = time.Time{}
			again := time.Duration(0)
			if w.rewatch(); !polled || w.err == nil || w.changed() {
				again = w.look()
			}
			polled = w.err != nil && again == 0
			if polled || again > pollEvery {
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
	w.err = nil
	if w.fs == nil {
		if w.fs, w.err = w.open(); w.err != nil {
			w.fs = nil
			return
		}
	}
	for d := range dirs {
		if kind := w.where(d); kind != "" {
			w.err = fmt.Errorf("%s is on %s, where changes made elsewhere have no events", d, kind)
		}
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
	if w.polling {
		if w.young {
			return true
		}
		// NFS answers stat from memory for up to a minute, but asks its server when a file is opened.
		if f, _, err := openModule(w.path, w.most); err == nil {
			_ = f.Close()
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
	if w.err != nil && !w.polling {
		w.polling = true
		w.m.emit(w.m.info(), Event{Kind: Polling, Err: w.err})
	} else if w.err == nil {
		w.polling = false
	}
	if w.seen, _ = os.Stat(w.path); w.seen != nil {
		age := time.Since(w.seen.ModTime())
		w.young = age > -coarse && age < coarse
	}
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

// bring puts new content of the file into service. A shadow takes minutes, so then it goes on beside
// the watching; a newer file ends it.
func (w *watcher) bring(bin []byte) {
	digest := digestOf(bin)
	if t := w.trying; t != nil {
		select {
		case <-t.done:
		default:
			if t.digest == digest {
				return
			}
		}
		t.end(ErrSuperseded)
		<-t.done
		w.trying = nil
	}
	if w.m.opts.shadow == nil {
		w.put(w.ctx, bin, digest)
		return
	}
	if w.m.shadow.Load() != nil && digest == w.brought {
		return // the file did not change: no reason to end the shadow of a Swap
	}
	w.brought = digest
	ctx, end := context.WithCancelCause(w.ctx)
	t := &trying{digest: digest, end: end, done: make(chan struct{})}
	w.trying = t
	w.done.Go(func() {
		defer close(t.done)
		defer end(nil)
		w.put(ctx, bin, digest)
	})
}

func (w *watcher) put(ctx context.Context, bin []byte, digest string) {
	m := w.m
	m.lockSwapping(ErrSuperseded)
	defer m.swapping.Unlock()
	g := m.current.Load()
	if g == nil || ctx.Err() != nil {
		return
	}
	if digest == g.release.digest {
		m.status.restored()
		return
	}
	if m.status.isRejected(digest) {
		return
	}
	m.emit(g.release, Event{Kind: Detected, Bytes: len(bin)})
	// The refusal is an event and in the stats; there is no one to return it to.
	_ = m.replace(ctx, bin)
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
