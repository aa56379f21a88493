package broker

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// How an edge's link ends and comes back.
const (
	// linkDead is how long what was sent may stay without a sign from the other side's kernel, from when it was first sent
	// again. Without a bound TCP goes on for a quarter of an hour, and tries again after as long as the outage lasted so far.
	linkDead = 3 * time.Second
	// linkDial is how long one attempt to connect may take. TCP tries at once, after 1 s and after 3; ended after 2 and begun
	// anew there are at most 1.5 s between tries, which is what a link is late by at its return.
	linkDial = 2 * time.Second
	// linkWrite is how long the server may wait to get rid of what it has for the hub: a slow line takes its time for 2 MB of
	// telemetry, and a dead one the kernel knows sooner.
	linkWrite = 2 * time.Minute
)

// tunnel is an edge's way to its hub: a proxy for this process alone, since the server lets nobody at the connections that
// it makes. It has the kernel find out that packets are lost. The server's own pings cannot tell: on a slow line
// the answer waits behind what else is on its way, and the link would fall again and again.
type tunnel struct {
	listener net.Listener
	password string
	dialer   net.Dialer

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
	work   sync.WaitGroup
}

func newTunnel() (*tunnel, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the way to the hub: %w", err)
	}
	t := &tunnel{listener: l, password: rand.Text(), open: map[net.Conn]bool{}}
	t.dialer = net.Dialer{
		Timeout:         linkDial,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return firstOf(c.Control(func(fd uintptr) { err = setUserTimeout(fd, linkDead) }), &err)
		},
	}
	t.work.Go(t.accept)
	return t, nil
}

// firstOf is the first of two errors, the second of which is known by then.
func firstOf(err error, then *error) error {
	if err != nil {
		return err
	}
	return *then
}

// URL is where the server finds the proxy, and User its name for itself.
func (t *tunnel) URL() string { return "http://" + t.listener.Addr().String() }

const tunnelUser = "edge"

func (t *tunnel) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		if t.keep(c) {
			t.work.Go(func() {
				defer t.drop(c)
				t.carry(c)
			})
		}
	}
}

// keep remembers a connection for Close; false: it is too late.
func (t *tunnel) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return false
	}
	t.open[c] = true
	return true
}

func (t *tunnel) drop(c net.Conn) {
	t.mu.Lock()
	delete(t.open, c)
	t.mu.Unlock()
	_ = c.Close()
}

// carry connects c to where it asks for.
func (t *tunnel) carry(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(2 * linkDial))
	r, err := http.ReadRequest(bufio.NewReaderSize(io.LimitReader(c, 4096), 4096))
	if err != nil {
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(tunnelUser+":"+t.password))
	if r.Method != http.MethodConnect || subtle.ConstantTimeCompare([]byte(r.Header.Get("Proxy-Authorization")), []byte(want)) != 1 {
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return // other programs of this machine have no business here
	}
	ctx, cancel := context.WithTimeout(context.Background(), linkDial)
	defer cancel()
	hub, err := t.dialer.DialContext(ctx, "tcp", r.Host)
	if err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if !t.keep(hub) {
		return
	}
	defer t.drop(hub)
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	// Whichever side ends, the other one does.
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, hub}, {hub, c}} {
		t.work.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			ended <- struct{}{}
		})
	}
	<-ended
}

func (t *tunnel) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.open {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.work.Wait()
}
