package api

import (
	"net"
	"sync"

	"golang.org/x/net/netutil"

	"github.com/isomer-iot/isomer/fleet/internal/descriptors"
)

// MaxConns is how many connections a listener of the API has at once: 4,096, fewer where the process may open less.
func MaxConns() int {
	_, api := descriptors.Shares(descriptors.Limit())
	return min(maxConns, api)
}

// bounded limits a listener's connections, and lets nobody have more than a quarter of them: who kept all of them open, with a
// request a minute and no token, kept everybody else out. A proxy on this machine may have all.
func bounded(l net.Listener, most int) net.Listener {
	return &fair{Listener: netutil.LimitListener(l, most), each: max(most/4, 1), of: map[string]int{}}
}

type fair struct {
	net.Listener
	each int
	mu   sync.Mutex
	of   map[string]int // connections by address
}

func (f *fair) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		a, ok := c.RemoteAddr().(*net.TCPAddr)
		if !ok || a.IP.IsLoopback() {
			return c, nil
		}
		if from := a.IP.String(); f.enter(from) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { f.exit(from) })}, nil
		}
		_ = c.Close()
	}
}

func (f *fair) enter(from string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[from] >= f.each {
		return false
	}
	f.of[from]++
	return true
}

func (f *fair) exit(from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[from]--; f.of[from] == 0 {
		delete(f.of, from)
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
