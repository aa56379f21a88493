package broker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// wire carries connections to a server, until it is cut.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	whole    bool
	open     []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to, whole: true}
	t.Cleanup(func() {
		_ = l.Close()
		w.set(false)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.carry(c)
		}
	}()
	return w
}

func (w *wire) carry(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.whole {
		_ = c.Close()
		return
	}
	d, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = c.Close()
		return
	}
	w.open = append(w.open, c, d)
	for _, pair := range [][2]net.Conn{{c, d}, {d, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends when either is closed
			_, _ = pair[0].Close(), pair[1].Close()
		}()
	}
}

// set cuts the wire, or makes it whole again.
func (w *wire) set(whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = whole
	if !whole {
		for _, c := range w.open {
			_ = c.Close()
		}
		w.open = nil
	}
}

func TestALinkThatIsCutLosesNothingAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := newSite(t)
	w := newWire(t, strings.TrimPrefix(s.hub.LeafURL(), "nats-leaf://"))
	s.startEdgeVia("tls://" + w.listener.Addr().String())
	hub := s.streams(ctx)
	u := s.user("dev1", fleet.Device)
	dev, _ := s.connect(s.edge, "dev1", u)
	local := s.atEdge()
	s.answer(dev, fleet.CallSubject("dev1", "m", "f"))
	held := func() uint64 {
		info, err := hub.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	said := 0
	say := func(n int) {
		for range n {
			if err := dev.Publish("tele.dev1.metric", []byte(fmt.Sprint(said))); err != nil {
				t.Fatal(err)
			}
			said++
		}
	}
	// Cut three times, the last ones in the middle of what flows.
	for round := range 3 {
		say(40)
		if round == 0 {
			wait(t, "what was said with the link up", func() bool { return held() == uint64(said) })
		}
		w.set(false)
		wait(t, "the end of the link", func() bool { return !s.edge.Linked() })
		say(40)
		if _, err := local.Request(fleet.CallSubject("dev1", "m", "f"), nil, patience); err != nil {
			t.Errorf("a call at the edge without the hub: %v", err)
		}
		w.set(true)
		wait(t, "the link", s.edge.Linked)
	}
	wait(t, "all that was said", func() bool { return held() >= uint64(said) })
	say(1) // what would come twice has come before this
	wait(t, "the last word", func() bool { return held() >= uint64(said) })
	seen := map[string]bool{}
	for seq := uint64(1); seq <= held(); seq++ {
		m, err := hub.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(m.Data)] {
			t.Errorf("%s came twice", m.Data)
		}
		seen[string(m.Data)] = true
	}
	if len(seen) != said {
		t.Errorf("%d of %d came", len(seen), said)
	}
}

// A client that opens a connection and says nothing, or goes on without proving who it is, is sent away.
func TestThoseWhoSayNothingAreSentAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var waiting sync.WaitGroup
	for what, url := range map[string]string{"NATS": s.hub.URL(), "leaf": s.hub.LeafURL(), "MQTT": s.hub.MQTTURL()} {
		c, err := net.Dial("tcp", url[strings.Index(url, "://")+3:])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: a connection without a word stays open", what)
			}
		})
	}
	if _, err := nats.Connect(s.hub.URL(), nats.Secure(), nats.RootCAs(s.caFile())); err == nil {
		t.Error("whoever has no claims comes in")
	}
	waiting.Wait() // 10 s, which the server gives a handshake
}
