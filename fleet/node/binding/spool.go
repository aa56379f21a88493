package binding

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet/disk"
)

const (
	maxUnsent      = 4096
	maxUnsentBytes = 16 << 20
	sendPatience   = 5 * time.Second // for a broker to say that it has what was sent
	sendBatch      = 64              // messages of the disk before it is asked
)

// spool sends telemetry in order. What no broker took waits on disk, bounded: the oldest go.
type spool struct {
	fs  disk.FS
	dir string
	log *slog.Logger

	mu    sync.Mutex
	files []spooled // oldest first
	bytes int64
	next  uint64
	lost  uint64 // too old, since there was no room
}

type spooled struct {
	name string
	size int64
}

// letter is a message on disk.
type letter struct {
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header,omitempty"`
	Data    []byte      `json:"data"`
}

// newSpool finds what an earlier process left. A folder that cannot be read is like an empty one: telemetry is no reason not to work.
func newSpool(f disk.FS, dir string, log *slog.Logger) *spool {
	s := &spool{fs: f, dir: dir, log: log}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("unsent telemetry", "error", err)
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".json"), 10, 64)
		info, infoErr := e.Info()
		if err != nil || infoErr != nil || !info.Mode().IsRegular() {
			continue
		}
		s.files = append(s.files, spooled{e.Name(), info.Size()})
		s.bytes += info.Size()
		s.next = max(s.next, n+1)
	}
	slices.SortFunc(s.files, func(a, b spooled) int { return strings.Compare(a.name, b.name) }) // of 20 digits
	return s
}

// send publishes m, after what waits.
func (s *spool) send(nc *nats.Conn, m *nats.Msg) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if nc != nil && nc.IsConnected() && s.sendWaiting(nc) == nil {
		err := nc.PublishMsg(m)
		if errors.Is(err, nats.ErrMaxPayload) {
			return err
		}
		if err == nil {
			err = nc.FlushTimeout(sendPatience)
		}
		if err == nil {
			return nil
		}
		s.log.Debug("telemetry waits", "error", err)
	}
	return s.keep(m)
}

func (s *spool) flush(nc *nats.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.sendWaiting(nc); err != nil {
		s.log.Debug("telemetry waits", "error", err)
	}
}

// sendWaiting sends what is on disk. The caller holds s.mu.
func (s *spool) sendWaiting(nc *nats.Conn) error {
	for len(s.files) > 0 {
		if !nc.IsConnected() {
			return nats.ErrDisconnected
		}
		n := min(sendBatch, len(s.files))
		for _, f := range s.files[:n] {
			if err := s.publish(nc, f.name); err != nil {
				return err
			}
		}
		if err := nc.FlushTimeout(sendPatience); err != nil {
			return err
		}
		for range n {
			s.drop()
		}
	}
	return nil
}

func (s *spool) publish(nc *nats.Conn, name string) error {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	var l letter
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		s.log.Warn("unsent telemetry is damaged", "file", name, "error", err)
		return nil
	}
	err = nc.PublishMsg(&nats.Msg{Subject: l.Subject, Header: l.Header, Data: l.Data})
	if err != nil && (nc.IsClosed() || nc.IsReconnecting()) {
		return err
	}
	if err != nil { // no other time will do
		s.log.Warn("unsent telemetry", "file", name, "error", err)
	}
	return nil
}

// drop removes the oldest. One that the disk does not let go is sent again by the next process, and kept once.
func (s *spool) drop() {
	f := s.files[0]
	if err := disk.Remove(s.fs, filepath.Join(s.dir, f.name)); err != nil {
		s.log.Warn("unsent telemetry", "error", err)
	}
	s.files = s.files[1:]
	s.bytes -= f.size
}

// keep writes m to disk.
func (s *spool) keep(m *nats.Msg) error {
	b, err := json.Marshal(letter{m.Subject, m.Header, m.Data})
	if err != nil {
		return err
	}
	for len(s.files) > 0 && (len(s.files) >= maxUnsent || s.bytes+int64(len(b)) > maxUnsentBytes) {
		s.drop()
		if s.lost++; s.lost == 1 || s.lost%1000 == 0 {
			s.log.Warn("no room for telemetry: the oldest is lost", "lost", s.lost)
		}
	}
	if err := disk.MkdirAll(s.fs, s.dir, 0o700); err != nil {
		return fmt.Errorf("unsent telemetry: %w", err)
	}
	name := fmt.Sprintf("%020d.json", s.next)
	if err := disk.Write(s.fs, filepath.Join(s.dir, name), b, 0o600); err != nil {
		return fmt.Errorf("unsent telemetry: %w", err)
	}
	s.next++
	s.files = append(s.files, spooled{name, int64(len(b))})
	s.bytes += int64(len(b))
	return nil
}

// waiting is how many messages wait on disk, and how many were lost.
func (s *spool) waiting() (n int, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files), s.lost
}
