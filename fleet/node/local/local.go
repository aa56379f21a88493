// Package local is the API of a node for programs on the same machine, in any language: they call modules over
// loopback HTTP or a Unix socket. Use it inside an agent, as fleet/node does; a program in Go that has the agent in
// its own process calls that.
//
//	POST /v1/modules/{name}/call/{function}   bytes, JSON or a picture in, the answer out
//	GET  /v1/modules                          what serves, with its functions
//	GET  /v1/status                           what the node reports to the hub, and whether it is connected
//	GET  /healthz                             200 while every module that the node has serves, else 503
//	GET  /metrics                             for Prometheus
//	POST /any/path                            of a binding with such a path
//
// Whoever can reach it may call: it listens on loopback alone, and its socket is for its owner and group. Browsers are
// another matter, since any page of the Internet can make them speak to loopback: requests that a page of another
// origin made are refused, and those whose Host is no name of this machine (DNS rebinding).
//
// Errors are JSON: {"error": "what is wrong", "code": 404}.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isomer-iot/isomer/fleet"
)

// Listen says where the API is. The zero value: nowhere.
type Listen struct {
	Address string // of loopback, such as 127.0.0.1:8600; empty: no TCP
	Socket  string // path of a Unix socket, mode 0660; empty: none
	// MaxBody bounds a request's body in bytes. 0: 32 MiB. All that are worked on at once have at most four times as much together.
	MaxBody int64
	// Timeout bounds a request's body, and again the call. 0: 30 s, which no slow client can stretch, and 2 minutes for the call.
	Timeout time.Duration
}

// Wanted reports whether it is anywhere.
func (l Listen) Wanted() bool { return l.Address != "" || l.Socket != "" }

// Answer is what a module answered.
type Answer struct {
	Body            []byte
	Encoding        string // MIME type
	Release, Digest string
	Took            time.Duration
}

// Status is what GET /v1/status shows.
type Status struct {
	fleet.Report
	Connected bool `json:"connected"`
}

// Module is an entry of GET /v1/modules.
type Module struct {
	Name      string            `json:"name"`
	Serves    bool              `json:"serves"`
	State     fleet.ModuleState `json:"state"`
	Reason    string            `json:"reason,omitempty"`
	Release   string            `json:"release,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	Functions []Function        `json:"functions"`
}

// Function is one that can be called.
type Function struct {
	Name    string `json:"name"`
	Picture bool   `json:"picture,omitempty"` // takes image/jpeg or image/png
	Input   string `json:"input,omitempty"`
	Output  string `json:"output,omitempty"`
}

// Node is what the API speaks for.
type Node interface {
	Call(ctx context.Context, module, function, encoding string, body []byte) (Answer, error)
	HasPath(path string) bool
	Feed(ctx context.Context, path, encoding string, body []byte) (Answer, error)
	Code(error) int // an error's status in HTTP
	Status() Status
	Modules() []Module
}

// Config is what the API shows.
type Config struct {
	Node    Node
	Metrics prometheus.Gatherer // nil: no /metrics
	Log     *slog.Logger        // nil: silent
}

const (
	defaultBody     = 32 << 20
	defaultTimeout  = 30 * time.Second
	defaultDeadline = 2 * time.Minute
	maxHeader       = 16 << 10
	maxConnections  = 128 // of each listener
)

// Server is a running API.
type Server struct {
	http      http.Server
	listeners []net.Listener
	socket    string
	info      fs.FileInfo // of the socket
	serving   sync.WaitGroup
}

// Serve begins to listen.
func Serve(l Listen, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if l.MaxBody <= 0 {
		l.MaxBody = defaultBody
	}
	deadline := l.Timeout
	if l.Timeout <= 0 {
		l.Timeout, deadline = defaultTimeout, defaultDeadline
	}
	s := &Server{}
	if err := s.listen(l); err != nil {
		for _, ln := range s.listeners {
			_ = ln.Close()
		}
		return nil, fmt.Errorf("local API: %w", err)
	}
	s.http = http.Server{
		Handler:           newHandler(l, deadline, c),
		ReadHeaderTimeout: min(l.Timeout, 5*time.Second), ReadTimeout: l.Timeout, WriteTimeout: 2*l.Timeout + deadline, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, network{}, conn.LocalAddr().Network())
		},
	}
	for _, ln := range s.listeners {
		at := ln.Addr().String()
		if ln.Addr().Network() == "unix" {
			at = l.Socket // it was moved there
		}
		c.Log.Info("local API", "address", at)
		s.serving.Go(func() {
			if err := s.http.Serve(bound(ln, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
				c.Log.Error("local API", "error", err)
			}
		})
	}
	return s, nil
}

// network is the key under which a request's context has the network that it came over.
type network struct{}

func (s *Server) listen(l Listen) error {
	if l.Address != "" {
		if err := loopback(l.Address); err != nil {
			return err
		}
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, ln)
	}
	if l.Socket == "" {
		return nil
	}
	ln, err := listenSocket(l.Socket)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, ln)
	s.socket = l.Socket
	s.info, err = os.Lstat(l.Socket)
	return err
}

// loopback refuses addresses that others can reach: the API asks nobody who they are.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q: want such as 127.0.0.1:8600: %w", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address %q is not of loopback: the local API has no passwords; use 127.0.0.1, ::1 or localhost", address)
	}
	return nil
}

const maxSocketPath = 107 // what the kernel takes

// listenSocket makes the socket where nobody else gets in, and then puts it in its place: between its making and its
// mode another user could connect.
func listenSocket(path string) (net.Listener, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("socket %s: there is something else", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("socket %s: another process listens there", path)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("socket %s: %w", path, err)
		}
	}
	made, err := os.MkdirTemp(dir, ".s") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	defer os.RemoveAll(made)
	first := filepath.Join(made, "s")
	if len(first) > maxSocketPath || len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket %s: the path is too long: a socket's has at most %d bytes, 15 of them for a moment ours", path, maxSocketPath)
	}
	ln, err := net.Listen("unix", first)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = os.Chmod(first, 0o660); err == nil {
		err = os.Rename(first, path)
	}
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return ln, nil
}

// Addr is where the API listens over TCP; empty: it does not.
func (s *Server) Addr() string {
	for _, ln := range s.listeners {
		if ln.Addr().Network() == "tcp" {
			return ln.Addr().String()
		}
	}
	return ""
}

// stopPatience is how long calls that run may take when the node stops.
const stopPatience = 5 * time.Second

// Close lets calls that run end, and removes the socket.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	s.serving.Wait()
	if now, err := os.Lstat(s.socket); err == nil && s.info != nil && os.SameFile(now, s.info) { // not that of a later process
		_ = os.Remove(s.socket)
	}
}

// bound lets so many connections in at once; others wait in the kernel.
func bound(ln net.Listener, most int) net.Listener {
	return &bounded{Listener: ln, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

type bounded struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &counted{Conn: c, free: sync.OnceFunc(func() { <-b.slots })}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

type counted struct {
	net.Conn
	free func()
}

func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
