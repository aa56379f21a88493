package edge_test

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/hubtest"
	"github.com/isomer-iot/isomer/fleet/node"
)

// slowLine carries connections to an address, with so many bytes a second from there.
func slowLine(t *testing.T, to string, rate int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(d, c)
				_ = d.Close()
			}()
			go func() {
				b := make([]byte, max(1, rate/50))
				for {
					n, err := d.Read(b)
					if n > 0 {
						if _, err := c.Write(b[:n]); err != nil {
							break
						}
						time.Sleep(time.Second * time.Duration(n) / time.Duration(rate))
					}
					if err != nil {
						break
					}
				}
				_, _ = c.Close(), d.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// A link that is busy is not a link that is dead: over a line of 800 kbit/s the answer to a ping waits behind a chunk of a
// module for 5 s.
func TestAModuleComesOverASlowLine(t *testing.T) {
	if testing.Short() {
		t.Skip("a slow line takes its time (-short)")
	}
	t.Parallel()
	r := hubtest.New(t)
	dir := joinEdge(r)
	id, err := node.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	line := slowLine(t, strings.TrimPrefix(r.Hub.Broker().LeafURL(), "nats-leaf://"), 100_000)
	id.Enrolment.Edge.Leaf = []string{"tls://" + line}
	e, _ := startEdgeAs(t, filepath.Join(r.Dir, "gw1"), id, "127.0.0.1:0")
	online(r, "gw1", "")
	module := enginetest.Guest{Version: "1", Manifest: &abi.Manifest{
		Name: "meter", Version: "1", Golden: []abi.Golden{{Function: "version", Output: []byte("1")}},
	}}.Build()
	module = append(module, custom("ballast", 500_000)...)
	r.Publish("meter@1.0.0", module)
	if ro := r.Ended(r.Deploy("meter@1.0.0", "all", fleet.Plan{}).ID); ro.Phase != fleet.Completed {
		t.Fatalf("the rollout is %s: %+v", ro.Phase, ro.History)
	}
	if got := version(e.Agent()); got != "1" {
		t.Errorf("it answers %s", got)
	}
}

// custom is a custom section that nobody reads, of n bytes that do not repeat.
func custom(name string, n int) []byte {
	body := append([]byte{byte(len(name))}, name...)
	for i := uint32(1); len(body) < n; i = i*1664525 + 1013904223 {
		body = append(body, byte(i>>24))
	}
	var b bytes.Buffer
	b.WriteByte(0)
	for v := len(body); ; {
		c := byte(v & 0x7f)
		if v >>= 7; v == 0 {
			b.WriteByte(c)
			break
		}
		b.WriteByte(c | 0x80)
	}
	b.Write(body)
	return b.Bytes()
}
