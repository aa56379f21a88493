package isomer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// history keeps the module that serves and the one before it in a directory, so that Rollback and Open
// have them after a restart. Modules lie under their digest and are never changed; one small index,
// replaced by a rename, says which is which. So at each moment of a power cut the directory is in its
// state before or after, and a damaged file is found by its name.
type history struct {
	dir string
	historyIndex
}

// historyIndex is the content of index.json. Digests are hexadecimal SHA-256, empty: none.
type historyIndex struct {
	Current  string `json:"current"`
	Previous string `json:"previous,omitempty"`
	// Rejected was rolled back; Open does not take it from its file.
	Rejected string `json:"rejected,omitempty"`
}

const (
	historyFile = "index.json"
	moduleExt   = ".wasm"
	maxIndex    = 4 << 10
)

// WithHistory keeps the module that serves and the one before it in the directory dir, which belongs to
// this Module alone. Default: nothing is written, and Rollback ends with the process.
//
// With it Rollback works after a restart, and lasts: Open goes on with the module rolled back to until
// the file's content is another one. Open also goes on with the module that served last where the file
// is missing or refused (event Refused, Stats.LastRefusal), as after a power cut in the middle of an
// overwrite. What cannot be written is the event HistoryFailed and never keeps a module from serving.
// A swap writes the new module once, to the end (fsync), after it serves. Whoever can write to dir
// chooses what runs.
func WithHistory(dir string) Option {
	return func(o *options) error {
		if dir == "" {
			return fmt.Errorf("%w: history directory is empty", ErrOption)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("%w: history directory: %w", ErrOption, err)
		}
		o.historyDir = abs
		return nil
	}
}

// openHistory reads the index of dir; nil without one. An error leaves a history that is empty and usable.
func openHistory(dir string) (*history, error) {
	if dir == "" {
		return nil, nil
	}
	h := &history{dir: dir}
	f, st, err := openModule(filepath.Join(dir, historyFile), maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	b := make([]byte, st.Size())
	n, _ := f.ReadAt(b, 0)
	var x historyIndex
	if err := json.Unmarshal(b[:n], &x); err != nil {
		return h, fmt.Errorf("history: %s: %w", f.Name(), err)
	}
	for _, d := range []string{x.Current, x.Previous, x.Rejected} {
		if d != "" && !isDigest(d) {
			return h, fmt.Errorf("history: %s: %.80q is no digest", f.Name(), d)
		}
	}
	h.historyIndex = x
	return h, nil
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func (h *history) file(digest string) string { return filepath.Join(h.dir, digest+moduleExt) }

// load reads a module and proves that it is the one.
func (h *history) load(digest string, most int64) ([]byte, error) {
	bin, err := readModule(h.file(digest), most)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if got := digestOf(bin); got != digest {
		return nil, fmt.Errorf("history: %s is damaged: its SHA-256 is %s", h.file(digest), got)
	}
	return bin, nil
}

// served notes that bin serves now.
func (h *history) served(bin []byte, digest string) error {
	// Read again rather than trusted: a file that was damaged is repaired here.
	if have, err := readModule(h.file(digest), int64(len(bin))); err != nil || !bytes.Equal(have, bin) {
		if err := h.write(digest+moduleExt, bin); err != nil {
			return err
		}
	}
	if h.Current == digest {
		return nil
	}
	return h.set(historyIndex{Current: digest, Previous: h.Current})
}

// rolledBack notes that the module before serves again.
func (h *history) rolledBack(to, from string) error {
	return h.set(historyIndex{Current: to, Previous: from, Rejected: from})
}

// set replaces the index and removes modules that it does not name.
func (h *history) set(x historyIndex) error {
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := h.write(historyFile, append(b, '\n')); err != nil {
		return err
	}
	h.historyIndex = x
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var errs []error
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), moduleExt)
		if stale := strings.HasPrefix(e.Name(), newFile); stale || ok && isDigest(digest) && digest != x.Current && digest != x.Previous {
			if err := os.Remove(filepath.Join(h.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("history: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// write makes a file whole or not at all.
func (h *history) write(name string, b []byte) error {
	err := os.MkdirAll(h.dir, 0o700)
	if err == nil {
		err = replaceFile(filepath.Join(h.dir, name), b)
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// first brings the first module into service. What was rolled back, or cannot serve, is not taken from
// its file where history has the module that served last.
func (m *Module) first(ctx context.Context, bin []byte, unread error) error {
	h, err := openHistory(m.opts.historyDir)
	m.history = h
	m.remember(err)
	var refused error
	switch {
	case unread != nil:
		refused = m.refuse(&release{name: nameOf(m.path)}, StepRead, unread)
	case h != nil && m.path != "" && h.Rejected != "" && digestOf(bin) == h.Rejected:
		if err := m.resume(ctx); err != nil {
			m.remember(err)
			break // better the file's than none
		}
		m.status.reject(h.Rejected)
		return nil
	}
	if refused == nil {
		if refused = m.replace(ctx, bin); refused == nil || h == nil || m.path == "" || ctx.Err() != nil || h.Current == digestOf(bin) {
			return refused
		}
	}
	last := m.status.lastRefusal()
	if err := m.resume(ctx); err != nil {
		if h.Current != "" {
			m.remember(err)
		}
		if unread != nil {
			return unread
		}
		return refused
	}
	m.status.stillRefused(last)
	return nil
}

// resume serves the module that history says served last.
func (m *Module) resume(ctx context.Context) error {
	if m.history.Current == "" {
		return ErrNoPrevious
	}
	bin, err := m.history.load(m.history.Current, m.opts.maxFile())
	if err != nil {
		return err
	}
	return m.replace(ctx, bin)
}

// before is the module that Rollback returns to, with a reference for who asks.
func (m *Module) before(ctx context.Context) (*release, error) {
	if r := m.previous; r != nil {
		r.refs.Add(1) // m.previous gives its own up when it changes
		return r, nil
	}
	if m.history == nil || m.history.Previous == "" {
		return nil, ErrNoPrevious
	}
	bin, err := m.history.load(m.history.Previous, m.opts.maxFile())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPrevious, err)
	}
	r := &release{digest: m.history.Previous}
	if err := r.describe(bin, m.path); err != nil {
		return nil, m.refuse(r, StepManifest, err)
	}
	if err := m.compile(ctx, r, bin); err != nil {
		return nil, m.refuse(r, stepOf(err), err)
	}
	return r, nil
}

// remember tells what history could not do.
func (m *Module) remember(err error) {
	if err != nil {
		m.emit(m.info(), Event{Kind: HistoryFailed, Err: err})
	}
}
