// Package disktest has disks for tests: one that records what is done to it and makes every state that a power cut
// may leave, and one that fails. Use it in tests of whatever must be found again after a power cut.
//
// Compatibility: none.
package disktest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/isomer-iot/isomer/fleet/disk"
)

// Recorder passes everything on to the operating system's disk and remembers it. It knows files below its
// root alone, and those that are there when it is made are durable.
//
// The model is what POSIX promises, and no more: what was written to a file is durable with the Sync of that file, a
// name in a folder with the SyncDir of that folder, a folder's own name with the SyncDir of the one above. Before
// that any part of it may be on the disk or not, and names and contents do not wait for each other. A rename is
// atomic.
type Recorder struct {
	root string

	mu    sync.Mutex
	nodes []*inode // nodes[0] is the root
	log   []op
}

// inode is a file, a folder or a symbolic link as it was in the beginning.
type inode struct {
	dir     bool
	link    string
	content []byte
	names   map[string]int // of a folder
}

// op is one change. Those with sync make the ones before it on the same inode durable.
type op struct {
	what  string // for people
	inode int
	sync  bool

	// On a file.
	write    bool
	offset   int64
	data     []byte
	truncate bool // to offset

	// On a folder: names that go, and one that comes.
	gone string
	name string
	to   int
}

// NewRecorder records what happens below root, which exists.
func NewRecorder(root string) (*Recorder, error) {
	r := &Recorder{root: filepath.Clean(root)}
	_, err := r.load(r.root)
	return r, err
}

func (r *Recorder) load(path string) (int, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	n, id := &inode{dir: info.IsDir()}, len(r.nodes)
	r.nodes = append(r.nodes, n)
	switch {
	case n.dir:
		n.names = map[string]int{}
		entries, err := os.ReadDir(path)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if n.names[e.Name()], err = r.load(filepath.Join(path, e.Name())); err != nil {
				return 0, err
			}
		}
	case info.Mode()&fs.ModeSymlink != 0:
		n.link, err = os.Readlink(path)
	default:
		n.content, err = os.ReadFile(path)
	}
	return id, err
}

// Steps is how many changes were recorded.
func (r *Recorder) Steps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.log)
}

// What describes the change after which a power cut at step comes.
func (r *Recorder) What(step int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if step == 0 {
		return "nothing"
	}
	return r.log[step-1].what
}

// find is the inode that has the path now, by the log. r.mu is held.
func (r *Recorder) find(path string) (int, bool) {
	rel, err := filepath.Rel(r.root, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return 0, false
	}
	at := 0
	if rel == "." {
		return at, true
	}
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		next, ok := r.lookup(at, part)
		if !ok {
			return 0, false
		}
		at = next
	}
	return at, true
}

func (r *Recorder) lookup(dir int, name string) (int, bool) {
	for i := len(r.log) - 1; i >= 0; i-- {
		if o := r.log[i]; o.inode == dir && !o.sync && !o.write && !o.truncate {
			if o.name == name {
				return o.to, true
			}
			if o.gone == name {
				return 0, false
			}
		}
	}
	to, ok := r.nodes[dir].names[name]
	return to, ok
}

func (r *Recorder) record(o op) { r.log = append(r.log, o) }

// enter records a new name.
func (r *Recorder) enter(what, path string, n *inode) (int, error) {
	dir, ok := r.find(filepath.Dir(path))
	if !ok {
		return 0, fmt.Errorf("disktest: the folder of %s is unknown", path)
	}
	r.nodes = append(r.nodes, n)
	id := len(r.nodes) - 1
	r.record(op{what: what + " " + filepath.Base(path), inode: dir, name: filepath.Base(path), to: id})
	return id, nil
}

// OpenFile opens a file, and makes it where the flags say so.
func (r *Recorder) OpenFile(path string, flag int, perm fs.FileMode) (disk.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	id, known := r.find(path)
	if !known {
		if id, err = r.enter("create", path, &inode{}); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if flag&os.O_TRUNC != 0 && known {
		r.record(op{what: "truncate " + filepath.Base(path), inode: id, truncate: true})
	}
	return &file{File: f, r: r, id: id, name: filepath.Base(path)}, nil
}

type file struct {
	*os.File
	r    *Recorder
	id   int
	name string
}

func (f *file) Write(p []byte) (int, error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	at, err := f.File.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	f.r.record(op{what: fmt.Sprintf("write %d bytes of %s", n, f.name), inode: f.id, write: true, offset: at, data: append([]byte(nil), p[:n]...)})
	return n, err
}

func (f *file) Truncate(size int64) error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	err := f.File.Truncate(size)
	if err == nil {
		f.r.record(op{what: "truncate " + f.name, inode: f.id, truncate: true, offset: size})
	}
	return err
}

// Sync is recorded and not passed on: the test's own machine keeps its power.
func (f *file) Sync() error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.record(op{what: "sync " + f.name, inode: f.id, sync: true})
	return nil
}

// Mkdir makes a folder.
func (r *Recorder) Mkdir(path string, perm fs.FileMode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	_, err := r.enter("mkdir", path, &inode{dir: true, names: map[string]int{}})
	return err
}

// Symlink makes a symbolic link.
func (r *Recorder) Symlink(target, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.Symlink(target, path); err != nil {
		return err
	}
	_, err := r.enter("symlink", path, &inode{link: target})
	return err
}

// Rename renames within one folder.
func (r *Recorder) Rename(from, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("disktest: %s to %s: a rename between folders is two changes on many disks", from, to)
	}
	id, ok := r.find(from)
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, _ := r.find(filepath.Dir(to))
	if !ok {
		return fmt.Errorf("disktest: %s is unknown", from)
	}
	r.record(op{what: "rename to " + filepath.Base(to), inode: dir, gone: filepath.Base(from), name: filepath.Base(to), to: id})
	return nil
}

// Remove removes a name.
func (r *Recorder) Remove(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	dir, ok := r.find(filepath.Dir(path))
	if err := os.Remove(path); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("disktest: %s is unknown", path)
	}
	r.record(op{what: "remove " + filepath.Base(path), inode: dir, gone: filepath.Base(path)})
	return nil
}

// SyncDir is recorded and not passed on.
func (r *Recorder) SyncDir(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.find(path)
	if !ok {
		return fmt.Errorf("disktest: %s is unknown", path)
	}
	r.record(op{what: "sync folder " + filepath.Base(path), inode: id, sync: true})
	return nil
}

// Crash is one state that a power cut may leave.
type Crash struct {
	Step int    // after so many changes
	How  string // what became of those that were not durable
	keep func(i int) part
}

func (c Crash) String() string { return fmt.Sprintf("step %d, %s", c.Step, c.How) }

// part is how much of a change that was not durable got onto the disk.
type part int

const (
	lost  part = iota
	whole      // all of it
	torn       // of a write: the first half
	hole       // of a write: the size alone, with zeros
)

// Crashes are the states after the first step changes: nothing of what was not durable is there, or all, or names without
// contents, contents without names, torn and zeroed contents; each such change alone and all without it; and some
// at random. Most states repeat where little is under way: the number of changes that are not durable is small.
func (r *Recorder) Crashes(step int, random int) []Crash {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.volatile(step)
	all := func(p part) func(int) part { return func(int) part { return p } }
	out := []Crash{{step, "all is lost", all(lost)}}
	if len(open) == 0 {
		return out
	}
	byKind := func(names, contents part) func(int) part {
		return func(i int) part {
			if r.log[i].write || r.log[i].truncate {
				return contents
			}
			return names
		}
	}
	out = append(out, Crash{step, "all is there", all(whole)}, Crash{step, "names alone", byKind(whole, lost)},
		Crash{step, "names, and zeros", byKind(whole, hole)}, Crash{step, "names, and halves", byKind(whole, torn)},
		Crash{step, "contents alone", byKind(lost, whole)})
	if len(open) > 1 {
		for _, i := range open {
			out = append(out, Crash{step, "only: " + r.log[i].what, one(i, whole, lost)}, Crash{step, "all but: " + r.log[i].what, one(i, lost, whole)})
		}
	}
	for n := range random {
		out = append(out, Crash{step, fmt.Sprintf("random %d", n), func(i int) part {
			return part(rand.New(rand.NewPCG(uint64(step)<<32|uint64(n), uint64(i))).IntN(4))
		}})
	}
	return out
}

func one(i int, it, others part) func(int) part {
	return func(k int) part {
		if k == i {
			return it
		}
		return others
	}
}

// volatile are the changes of the first step ones that no sync confirmed.
func (r *Recorder) volatile(step int) []int {
	synced := map[int]bool{}
	var out []int
	for i := step - 1; i >= 0; i-- {
		switch o := r.log[i]; {
		case o.sync:
			synced[o.inode] = true
		case !synced[o.inode]:
			out = append(out, i)
		}
	}
	return out
}

// Restore makes the state in dir, which must not exist.
func (r *Recorder) Restore(c Crash, dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := make([]inode, len(r.nodes))
	for i, n := range r.nodes {
		nodes[i] = *n
		nodes[i].content = append([]byte(nil), n.content...)
		if n.dir {
			nodes[i].names = map[string]int{}
			for name, to := range n.names {
				nodes[i].names[name] = to
			}
		}
	}
	open := map[int]bool{}
	for _, i := range r.volatile(c.Step) {
		open[i] = true
	}
	for i, o := range r.log[:c.Step] {
		p := whole
		if open[i] {
			p = c.keep(i)
		}
		if !o.sync && p != lost {
			nodes[o.inode].apply(o, p)
		}
	}
	return write(nodes, 0, dir)
}

func (n *inode) apply(o op, p part) {
	switch {
	case o.truncate:
		n.content = resize(n.content, o.offset)
	case o.write:
		data := o.data
		switch p {
		case torn:
			data = data[:len(data)/2]
		case hole:
			data = make([]byte, len(data))
		}
		if end := o.offset + int64(len(data)); end > int64(len(n.content)) {
			n.content = resize(n.content, end)
		}
		copy(n.content[o.offset:], data)
	default:
		if o.gone != "" {
			delete(n.names, o.gone)
		}
		if o.name != "" {
			n.names[o.name] = o.to
		}
	}
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func write(nodes []inode, id int, path string) error {
	n := nodes[id]
	switch {
	case n.dir:
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		for name, to := range n.names {
			if err := write(nodes, to, filepath.Join(path, name)); err != nil {
				return err
			}
		}
		return nil
	case n.link != "":
		return os.Symlink(n.link, path)
	}
	return os.WriteFile(path, n.content, 0o600)
}

// Failing is the operating system's disk until Fail: from then on whatever takes room or changes it fails with
// that error, such as syscall.ENOSPC or syscall.EROFS. Removals go on, as they do on a full disk.
type Failing struct {
	disk.OS
	mu    sync.Mutex
	err   error
	after int // changes that still succeed
}

// Fail makes changes fail after the next after ones; nil ends it.
func (f *Failing) Fail(err error, after int) {
	f.mu.Lock()
	f.err, f.after = err, after
	f.mu.Unlock()
}

func (f *Failing) check(what, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return nil
	}
	if f.after > 0 {
		f.after--
		return nil
	}
	return &fs.PathError{Op: what, Path: path, Err: f.err}
}

// OpenFile opens a file.
func (f *Failing) OpenFile(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE) != 0 {
		if err := f.check("open", path); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &failingFile{file, f}, nil
}

type failingFile struct {
	*os.File
	f *Failing
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.f.check("write", f.Name()); err != nil {
		n, _ := f.File.Write(p[:len(p)/2]) // a disk gets full in the middle
		return n, err
	}
	return f.File.Write(p)
}

func (f *failingFile) Sync() error {
	if err := f.f.check("sync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

// Mkdir makes a folder.
func (f *Failing) Mkdir(path string, perm fs.FileMode) error {
	if err := f.check("mkdir", path); err != nil {
		return err
	}
	return f.OS.Mkdir(path, perm)
}

// Symlink makes a link.
func (f *Failing) Symlink(target, path string) error {
	if err := f.check("symlink", path); err != nil {
		return err
	}
	return f.OS.Symlink(target, path)
}

// Rename renames.
func (f *Failing) Rename(from, to string) error {
	if err := f.check("rename", from); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

// SyncDir syncs a folder.
func (f *Failing) SyncDir(path string) error {
	if err := f.check("sync", path); err != nil {
		return err
	}
	return f.OS.SyncDir(path)
}
