package control

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/hub/state"
)

// cutter is a connection to NATS that breaks as soon as some writes to buckets have gone out: they arrive, and
// nobody hears of it. What goes out behind them, such as the other desired states of the same batch, does not.
type cutter struct {
	net.Conn
	left  int // writes until it breaks
	bytes []byte
}

// Dial makes it nats.CustomDialer.
func (c *cutter) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	c.Conn = conn
	return c, err
}

// Write passes on whole messages. The client writes from one goroutine at a time.
func (c *cutter) Write(p []byte) (int, error) {
	c.bytes = append(c.bytes, p...)
	for {
		line, _, ok := bytes.Cut(c.bytes, []byte("\r\n"))
		if !ok {
			return len(p), nil
		}
		size, write := len(line)+2, false
		if f := strings.Fields(string(line)); len(f) > 2 && (f[0] == "PUB" || f[0] == "HPUB") {
			n, err := strconv.Atoi(f[len(f)-1])
			if err != nil {
				return 0, err
			}
			size += n + 2
			// Entries of the audit log are offered again by each controller, and mostly refused.
			write = strings.HasPrefix(f[1], "$KV.")
		}
		if len(c.bytes) < size {
			return len(p), nil
		}
		if _, err := c.Conn.Write(c.bytes[:size]); err != nil {
			return 0, err
		}
		c.bytes = c.bytes[size:]
		if !write {
			continue
		}
		if c.left--; c.left <= 0 {
			// Whoever closes with answers unread resets the connection, and what has just been sent is lost.
			if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				return 0, err
			}
			return 0, net.ErrClosed
		}
	}
}

// lifeOfWrites runs one controller on a connection of its own, which breaks behind its nth write, until it
// dies of that or done says that nothing is left to do; it reports whether it died.
func (f *fleetUnderTest) lifeOfWrites(n int, done func() bool) (died bool) {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.ctx)
	defer stop()
	broken := make(chan struct{})
	nc, err := nats.Connect(f.url, nats.SetCustomDialer(&cutter{left: n}), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.ClosedHandler(func(*nats.Conn) {
		close(broken)
		stop() // a hub without its process
	}))
	if err != nil {
		f.t.Fatal(err)
	}
	store, err := state.Open(ctx, nc, state.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = New(store, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	for f.ctx.Err() == nil {
		select {
		case <-broken:
			<-ended
			return true
		default:
		}
		if done() {
			break
		}
		f.wait()
	}
	stop()
	<-ended
	nc.Close()
	<-broken
	return false
}

// obeysThresholds checks that no node is asked for what its rollout does not admit it to.
func (f *fleetUnderTest) obeysThresholds() {
	f.t.Helper()
	all, err := f.store.Desired.List(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range all {
		for _, m := range e.Value.Modules {
			r, err := f.store.Rollouts.Get(f.ctx, m.Deployment)
			if err != nil {
				f.t.Fatal(err)
			}
			if r.Value.Phase != fleet.RolledBack && !r.Value.Admits(e.Key) {
				f.t.Errorf("%s is asked for %s, and its rollout is %+v", e.Key, m.Release, r.Value)
			}
		}
	}
}

// TestTheControllerIsCutOffAtEachWrite gives each controller a connection that breaks behind its nth write, the
// nth of all those in a batch too: the write is there, its answer is not. The next controller goes on, until
// there is nothing left to write.
func TestTheControllerIsCutOffAtEachWrite(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run("write "+strconv.Itoa(n), func(t *testing.T) {
			f := newFleet(t, 6)
			plan := fleet.Plan{Waves: []fleet.Share{{Count: 1}, {Percent: 50}}, Concurrency: 2}
			deaths := 0
			carryOut := func(id, want string, phase fleet.Phase) fleet.Rollout {
				t.Helper()
				for f.lifeOfWrites(n, func() bool { return f.done(id, want, phase) }) {
					f.obeysThresholds()
					deaths++
				}
				return f.ended(id, phase)
			}
			f.deploy("d1", "1", plan)
			if r := carryOut("d1", "digits@1", fleet.Completed); r.Updated != 6 {
				t.Errorf("%d of 6 nodes have it", r.Updated)
			}
			f.mu.Lock()
			f.bad = fleet.Ref{Name: "digits", Version: "2"}
			f.mu.Unlock()
			f.deploy("d2", "2", plan)
			carryOut("d2", "digits@1", fleet.RolledBack)
			// Six desired states and those of the canary, there and back; both rollouts with their transitions.
			if deaths < 12/n {
				t.Errorf("only %d controllers died", deaths)
			}
			t.Logf("%d controllers died", deaths)
			f.mu.Lock()
			defer f.mu.Unlock()
			tried := 0
			for _, asked := range f.asked {
				if slices.Contains(asked, "digits@2") {
					tried++
				}
			}
			if tried != 1 {
				t.Errorf("%d nodes met the bad release, the canary is 1", tried)
			}
		})
	}
}
