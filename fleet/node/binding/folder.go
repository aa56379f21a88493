package binding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/disk"
)

const (
	// settled is how long a file that nobody was seen to close must stay as it is, until it counts as whole.
	settled = time.Second
	// lookAgain is how often a folder is read though nothing was heard of it, as on network file systems.
	lookAgain = 30 * time.Second
	// maxFile is how large a file may be.
	maxFile = 32 << 20

	keptDone, keptDoneBytes     = 1000, 256 << 20
	keptFailed, keptFailedBytes = 100, 64 << 20
	maxListed                   = 10_000 // files of a folder that are looked at in one go
)

// folder feeds a binding from files, oldest first, one after the other: the files themselves are the queue. Files
// whose names begin with a dot or end in .tmp or .part are still being written, as are those that still change.
type folder struct {
	r    *Runner
	b    *bound
	dir  string
	done string
	end  context.CancelFunc
	over chan struct{}

	mu     sync.Mutex
	closed map[string]bool // seen to be closed after writing, or moved here
	wake   chan struct{}

	// Of the one goroutine.
	handled map[string]string    // name to stamp: answered, and still there
	seen    map[string]firstSeen // not yet whole
}

type firstSeen struct {
	stamp string
	at    time.Time
}

func newFolder(r *Runner, b *bound, own fleet.Binding) *folder {
	ctx, cancel := context.WithCancel(r.ctx)
	f := &folder{
		r: r, b: b, dir: own.Folder, done: own.Done, end: cancel, over: make(chan struct{}),
		closed: map[string]bool{}, wake: make(chan struct{}, 1), handled: map[string]string{}, seen: map[string]firstSeen{},
	}
	go func() {
		defer close(f.over)
		if f.done == fleet.DoneMark {
			f.load()
		}
		for ctx.Err() == nil {
			err := f.follow(ctx)
			if ctx.Err() == nil {
				f.b.problem(err)
				sleep(ctx, settled)
			}
		}
	}()
	return f
}

func (f *folder) stop() {
	f.end()
	<-f.over
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// heard is what the watcher calls: name was closed or moved here, or empty: something happened.
func (f *folder) heard(name string) {
	f.mu.Lock()
	if name != "" && len(f.closed) < maxListed {
		f.closed[name] = true
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// follow works on the folder's files until ctx ends or the folder cannot be read.
func (f *folder) follow(ctx context.Context) error {
	if err := disk.MkdirAll(f.r.cfg.Disk, f.dir, 0o755); err != nil {
		return err
	}
	// Watched before it is read: a file between the two would be missed.
	stop, watched := watch(f.dir, f.heard)
	defer stop()
	for {
		again, err := f.look(ctx)
		if err != nil {
			return err
		}
		if again == 0 {
			again = lookAgain
		}
		if !watched {
			again = min(again, settled)
		}
		select {
		case <-f.wake:
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

// file is a file that may be worked on.
type file struct {
	name, stamp string
	at          time.Time
}

// look works on all files that are whole. again is when to look for those that are not; 0: there is none.
func (f *folder) look(ctx context.Context) (again time.Duration, err error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	whole, waiting, err := f.list(root)
	if err != nil {
		return 0, err
	}
	f.b.problem(nil)
	for _, file := range whole {
		if ctx.Err() != nil {
			return 0, nil
		}
		f.one(ctx, root, file)
	}
	if waiting {
		again = settled
	}
	if len(whole) > 0 { // some may have come meanwhile
		f.heard("")
	}
	return again, nil
}

// list finds files, oldest first.
func (f *folder) list(root *os.Root) (whole []file, waiting bool, err error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, false, err
	}
	defer d.Close()
	now := time.Now()
	present := map[string]bool{}
	complete := false
	for len(whole) < maxListed {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			name := e.Name()
			if !e.Type().IsRegular() || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part") {
				continue
			}
			present[name] = true
			info, err := e.Info()
			if err != nil {
				continue // gone
			}
			it := file{name, fmt.Sprintf("%d:%d", info.Size(), info.ModTime().UnixNano()), info.ModTime()}
			if f.handled[name] == it.stamp {
				continue
			}
			if f.isWhole(it, now) {
				whole = append(whole, it)
			} else {
				waiting = true
			}
		}
		if errors.Is(err, io.EOF) {
			complete = true
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	if complete {
		f.forget(present)
	}
	slices.SortFunc(whole, func(a, b file) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return whole, waiting, nil
}

// isWhole reports whether nobody writes the file any more, as far as one can see.
func (f *folder) isWhole(it file, now time.Time) bool {
	f.mu.Lock()
	closed := f.closed[it.name]
	f.mu.Unlock()
	if closed {
		return true
	}
	before, ok := f.seen[it.name]
	if !ok || before.stamp != it.stamp {
		f.seen[it.name] = firstSeen{it.stamp, now}
		return now.Sub(it.at) > 10*settled // it was there before this process
	}
	return now.Sub(before.at) >= settled
}

// forget frees what is remembered of files that are gone.
func (f *folder) forget(present map[string]bool) {
	f.mu.Lock()
	for name := range f.closed {
		if !present[name] {
			delete(f.closed, name)
		}
	}
	f.mu.Unlock()
	for name := range f.seen {
		if !present[name] {
			delete(f.seen, name)
		}
	}
	changed := false
	for name := range f.handled {
		if !present[name] {
			delete(f.handled, name)
			changed = true
		}
	}
	if changed && f.done == fleet.DoneMark {
		f.save()
	}
}

// one gives a file to the function and waits for what comes of it: the next is younger.
func (f *folder) one(ctx context.Context, root *os.Root, it file) {
	f.b.received.Add(1)
	f.mu.Lock()
	delete(f.closed, it.name) // it may be written again
	f.mu.Unlock()
	delete(f.seen, it.name)
	body, err := read(root, it.name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	sum := sha256.Sum256([]byte(f.dir + "\x00" + it.name + "\x00" + it.stamp))
	result := make(chan error, 1)
	input := &item{
		order: "files", from: filepath.Join(f.dir, it.name), name: strings.TrimSuffix(it.name, filepath.Ext(it.name)),
		id: f.r.cfg.Node + "." + hex.EncodeToString(sum[:12]), body: body, size: len(body),
		ended: func(_ Answer, err error) { result <- err },
	}
	if err != nil {
		f.b.dead.Add(1)
		f.r.bury(f.r.ctx, f.b, f.b.def.Load(), input, 0, err)
	} else {
		if err = f.b.queue.push(ctx, input, true); err != nil {
			return // stopped: the next process takes it
		}
		err = <-result
	}
	if errors.Is(err, ErrStopped) {
		return
	}
	f.handled[it.name] = it.stamp
	f.finish(it, err)
}

func read(root *os.Root, name string) ([]byte, error) {
	h, err := root.Open(name) // a link that leads out of the folder is refused
	if err != nil {
		return nil, err
	}
	defer h.Close()
	info, err := h.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", info.Size(), maxFile)
	}
	b, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return b, err
}

// finish does with the file what is to be done with those that were answered, or failed. Where the disk refuses, it is not
// worked on again by this process.
func (f *folder) finish(it file, failed error) {
	path := filepath.Join(f.dir, it.name)
	if info, err := os.Lstat(path); err != nil || fmt.Sprintf("%d:%d", info.Size(), info.ModTime().UnixNano()) != it.stamp {
		delete(f.handled, it.name) // another file by now, whose turn comes
		return
	}
	var err error
	switch {
	case failed != nil:
		err = f.move(it.name, "failed", keptFailed, keptFailedBytes)
	case f.done == fleet.DoneMark:
		f.save()
	case f.done == fleet.DoneMove:
		err = f.move(it.name, "done", keptDone, keptDoneBytes)
	default:
		if err = disk.Remove(f.r.cfg.Disk, path); err == nil {
			err = f.r.cfg.Disk.SyncDir(f.dir)
		}
	}
	if err != nil {
		f.b.problem(err)
		f.r.cfg.Log.Warn("folder", "file", path, "error", err)
	}
}

// move puts a file into a subfolder, bounded.
func (f *folder) move(name, below string, most int, bytes int64) error {
	to := filepath.Join(f.dir, below)
	if err := disk.MkdirAll(f.r.cfg.Disk, to, 0o755); err != nil {
		return err
	}
	if err := f.r.cfg.Disk.Rename(filepath.Join(f.dir, name), filepath.Join(to, name)); err != nil {
		return err
	}
	err := errors.Join(f.r.cfg.Disk.SyncDir(to), f.r.cfg.Disk.SyncDir(f.dir))
	prune(f.r.cfg.Disk, to, most, bytes)
	return err
}

// prune removes the oldest files of a folder beyond a number and a size.
func prune(d disk.FS, dir string, most int, bytes int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) }) // newest first
	var sum int64
	for i, info := range files {
		if sum += info.Size(); i >= most || sum > bytes && i > 0 {
			_ = disk.Remove(d, filepath.Join(dir, info.Name()))
		}
	}
}

// marks is where answered files are remembered that stay.
func (f *folder) marks() string {
	sum := sha256.Sum256([]byte(f.dir))
	return filepath.Join(f.r.cfg.Dir, "bindings", "marks-"+hex.EncodeToString(sum[:8])+".json")
}

func (f *folder) load() {
	b, err := os.ReadFile(f.marks())
	if err == nil {
		err = json.Unmarshal(b, &f.handled)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.r.cfg.Log.Warn("which files were answered is lost; they are called again", "folder", f.dir, "error", err)
	}
	if f.handled == nil {
		f.handled = map[string]string{}
	}
}

func (f *folder) save() {
	b, err := json.Marshal(f.handled)
	if err == nil {
		err = disk.MkdirAll(f.r.cfg.Disk, filepath.Dir(f.marks()), 0o700)
	}
	if err == nil {
		err = disk.Write(f.r.cfg.Disk, f.marks(), b, 0o600)
	}
	if err != nil {
		f.b.problem(err)
	}
}
