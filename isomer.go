// Package isomer is the bridge between a core application and WebAssembly modules: it opens a
// module, calls it, and keeps it current with its file while calls run.
//
// Use isomer to run a module inside a Go program; never to make modules (package compiler and
// guest/ do) nor to move them between machines (package fleet does).
//
//	m, err := isomer.Open(ctx, "digits.wasm")
//	if err != nil { … }
//	defer m.Close()
//	out, err := m.Call(ctx, "read", frame)
//
// A Module is safe for concurrent use. When its file changes, the new module is compiled, tried on
// its golden cases and published while the old one serves; calls that run finish where they began,
// and no call fails or waits for a compilation. A file that is damaged or fails its own cases is
// refused, and the old module serves on.
//
// Errors of a call are of three kinds: *AppError (the function says no), *TrapError (the guest died,
// the call's instance was replaced) and *LimitError (deadline, memory, stack, output).
//
// Compatibility: v0, the API may change until 1.0. The contract with modules is docs/abi.md.
package isomer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
	"github.com/isomer-iot/isomer/engine/wazero"
)

// Module is a module that serves calls, and is replaced while it does.
type Module struct {
	current atomic.Pointer[generation] // nil once closed
	opts    options
	engine  engine.Engine
	path    string // empty: made by New
	counts  []count

	swapping sync.Mutex // held by whoever replaces current; guards what follows
	previous *release   // what Rollback returns to; nil: what history has
	history  *history   // nil: none
	number   uint64     // of the current generation
	draining sync.WaitGroup

	wanting atomic.Int32           // who waits for swapping, and ends a shadow
	shadow  atomic.Pointer[shadow] // nil: live calls are not compared

	watch *watcher // nil: not watching

	status status
}

// closePatience is how long Close waits for calls that run.
const closePatience = 10 * time.Second

// Open loads the module in the file path and, unless WithWatch(false) says otherwise, keeps it
// current with that file: replaced by rename, overwritten in place, reached through symbolic links
// that switch, removed and made again. ctx bounds Open alone.
func Open(ctx context.Context, path string, opts ...Option) (*Module, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("isomer: open %s: %w", path, err)
	}
	var w *watcher
	if o.watch {
		// Watching begins before the file is read, so that no change falls in between.
		w = newWatcher(abs)
		w.most = o.maxFile()
	}
	fail := func(err error) (*Module, error) {
		if w != nil {
			w.close()
		}
		return nil, err
	}
	bin, err := readModule(abs, o.maxFile())
	if err != nil {
		err = fmt.Errorf("isomer: open: %w", err)
		if o.historyDir == "" {
			return fail(err)
		}
	}
	m, err := start(ctx, abs, bin, err, o)
	if err != nil {
		return fail(err)
	}
	if w != nil {
		m.watch = w
		w.start(m)
	}
	return m, nil
}

// New loads the module bin, which belongs to no file. Swap replaces it.
func New(ctx context.Context, bin []byte, opts ...Option) (*Module, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	return start(ctx, "", bin, nil, o)
}

// start serves bin or, where the file could not be read (unread), what history has.
func start(ctx context.Context, path string, bin []byte, unread error, o options) (*Module, error) {
	m := &Module{opts: o, path: path, engine: o.engine, counts: make([]count, o.instances)}
	if m.engine == nil {
		var eopts []wazero.Option
		if o.cacheDir != "" {
			eopts = append(eopts, wazero.WithCacheDir(o.cacheDir))
		}
		e, err := wazero.New(eopts...)
		if err != nil {
			return nil, fmt.Errorf("isomer: engine: %w", err)
		}
		m.engine = e
	}
	m.swapping.Lock()
	err := m.first(ctx, bin, unread)
	m.swapping.Unlock()
	if err != nil {
		m.closeEngine()
		return nil, err
	}
	return m, nil
}

// Close stops watching, refuses new calls with ErrClosed and waits up to 10 s for those that run.
// What still runs then is released when it ends, and Close returns an error that says so.
func (m *Module) Close() error {
	if m.watch != nil {
		m.watch.close()
	}
	m.lockSwapping(ErrClosed)
	old := m.current.Swap(nil)
	if old == nil {
		m.swapping.Unlock()
		return nil
	}
	if m.previous != nil {
		m.previous.unref()
		m.previous = nil
	}
	m.retire(old, nil)
	m.swapping.Unlock()

	done := make(chan struct{})
	go func() {
		m.draining.Wait()
		m.closeEngine()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closePatience):
		return fmt.Errorf("isomer: close %s: calls still run after %v; their instances are released when they end", old.release.title(), closePatience)
	}
}

func (m *Module) closeEngine() {
	if f := m.opts.grants.fetcher; f != nil {
		f.transport.CloseIdleConnections()
	}
	if m.opts.engine == nil {
		_ = m.engine.Close()
	}
}

// Name is the module's name from its manifest, otherwise its file name.
func (m *Module) Name() string { return m.info().name }

// Version is the module's version from its manifest, otherwise the first 12 digits of its digest.
func (m *Module) Version() string { return m.info().version }

// Digest is the SHA-256 of the module's bytes in hexadecimal.
func (m *Module) Digest() string { return m.info().digest }

// Manifest is the module's manifest; false where it has none.
func (m *Module) Manifest() (abi.Manifest, bool) {
	r := m.info()
	return r.manifest, r.hasManifest
}

// Functions are those that can be called, in the manifest's order, otherwise by name.
func (m *Module) Functions() []abi.Function {
	r := m.info()
	out := make([]abi.Function, len(r.funcs))
	for i := range r.funcs {
		out[i] = r.funcs[i].Function
	}
	return out
}

// info is the release that serves, or an empty one after Close.
func (m *Module) info() *release {
	if g := m.current.Load(); g != nil {
		return g.release
	}
	return &release{}
}

// maxFile bounds what is read from a file: a sparse file of terabytes costs its writer nothing.
const maxFile = 1 << 30

// maxCode is room for what is not data in a module: code, names, golden cases.
const maxCode = 64 << 20

// maxFile is what a module can have whose data fits its memory.
func (o *options) maxFile() int64 {
	return min(maxFile, int64(o.maxPages)*abi.PageSize+maxCode)
}

// openModule opens path if it can be a module. It neither waits, as opening a pipe would, nor allocates.
func openModule(path string, most int64) (*os.File, os.FileInfo, error) {
	refuse := func(err error) (*os.File, os.FileInfo, error) {
		return nil, nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() { // opening a device may already do something
		return refuse(errors.New("not a regular file"))
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && st.Size() > most {
		err = tooLarge(st.Size(), most)
	}
	if err != nil {
		_ = f.Close()
		return refuse(err)
	}
	return f, st, nil
}

// tooLarge is a limit that can be raised, unless it is that of all modules.
func tooLarge(size, most int64) error {
	if most == maxFile {
		return fmt.Errorf("%d bytes, a module has at most %d", size, most)
	}
	return &engine.LimitError{Limit: engine.MemorySz, Detail: fmt.Sprintf(
		"a file of %d bytes; where an instance may have %d bytes of memory (WithMemoryLimit), a module has at most %d",
		size, most-maxCode, most)}
}

func readModule(path string, most int64) ([]byte, error) {
	f, st, err := openModule(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bin := make([]byte, st.Size())
	n, err := io.ReadFull(f, bin)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return bin[:n], nil
}

func digestOf(bin []byte) string {
	sum := sha256.Sum256(bin)
	return hex.EncodeToString(sum[:])
}
