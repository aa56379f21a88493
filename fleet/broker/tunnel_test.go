package broker

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The way to the hub is the server's alone, and whatever it is given ends.
func TestTunnel(t *testing.T) {
	hub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	go func() {
		for {
			c, err := hub.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	tun, err := newTunnel()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, host, password string) (net.Conn, *bufio.Reader, int) {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(tun.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		target := host
		if method == http.MethodGet {
			target = "http://" + host + "/"
		}
		basic := base64.StdEncoding.EncodeToString([]byte(tunnelUser + ":" + password))
		if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Basic %s\r\n\r\n", method, target, host, basic); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return c, in, res.StatusCode
	}
	at := hub.Addr().String()
	if _, _, status := ask(http.MethodConnect, at, "guessed"); status != http.StatusProxyAuthRequired {
		t.Errorf("a stranger gets %d", status)
	}
	if _, _, status := ask(http.MethodGet, at, tun.password); status != http.StatusProxyAuthRequired {
		t.Errorf("a GET gets %d", status)
	}
	c, in, status := ask(http.MethodConnect, at, tun.password)
	if status != http.StatusOK {
		t.Fatalf("the server gets %d", status)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Errorf("%q comes back (%v)", line, err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	if _, _, status := ask(http.MethodConnect, gone.Addr().String(), tun.password); status != http.StatusBadGateway {
		t.Errorf("without a hub it gets %d", status)
	}
	tun.close()
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection outlives its tunnel")
	}
}
