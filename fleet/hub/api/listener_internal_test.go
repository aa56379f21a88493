package api

import (
	"errors"
	"net"
	"testing"
)

// from is a listener whose connections come from wherever the test says.
type from struct{ net.Listener }

type stranger struct {
	net.Conn
	ip net.IP
}

func (s stranger) RemoteAddr() net.Addr { return &net.TCPAddr{IP: s.ip, Port: 4711} }

var addresses = make(chan net.IP, 64)

func (f from) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stranger{c, <-addresses}, nil
}

func TestNobodyHasAllConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := bounded(from{l}, 8)
	taken := make(chan net.Conn, 8)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				ended <- err
				return
			}
			taken <- c
		}
	}()
	one, two, local := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2), net.IPv4(127, 0, 0, 1)
	dial := func(ip net.IP) net.Conn {
		t.Helper()
		addresses <- ip
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	enters := func(ip net.IP) net.Conn { t.Helper(); dial(ip); return <-taken }
	refused := func(ip net.IP) {
		t.Helper()
		if _, err := dial(ip).Read(make([]byte, 1)); err == nil {
			t.Errorf("%v has a third of eight connections", ip)
		}
	}
	first := enters(one)
	enters(one)
	refused(one)
	enters(two)
	for range 4 {
		enters(local) // a proxy
	}
	_ = first.Close()
	_ = first.Close()
	enters(one)
	refused(one)
	_ = b.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
