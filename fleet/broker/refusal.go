package broker

import (
	"net"
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
)

// Refusal is something that the server did not let a client do.
type Refusal struct {
	From string // address without port
	Node string // by the claims that the client came in with; empty: it did not come in, or is gone
	What string // in the server's words
}

// refusal takes a line of the server's log apart, where it is one of a refusal:
//
//	127.0.0.1:4711 - cid:7 - "v1.55.0:go:dev1" - Publish Violation - Subject "cfg.dev2"
//	192.0.2.7/127.0.0.1:4711 - wid:8 - "v3.4.0:nats.ws:phone" - Publish Violation - Subject "cfg.dev2"
//
// The address in front of the slash is the one that a header named (X-Forwarded-For), which counts where this machine's
// own proxy sent it.
func refusal(line string) (Refusal, bool) {
	at := -1
	for _, what := range []string{"Publish Violation", "Subscription Violation", "authentication error", "maximum payload"} {
		if at = strings.Index(line, what); at >= 0 {
			break
		}
	}
	if at < 0 {
		return Refusal{}, false
	}
	r := Refusal{What: line[at:]}
	r.From, _, _ = strings.Cut(line, " - ")
	if i := strings.LastIndexByte(r.From, ':'); i > 0 {
		r.From = r.From[:i]
	}
	if named, real, ok := strings.Cut(r.From, "/"); ok {
		r.From = real
		if ip := net.ParseIP(strings.Trim(real, "[]")); ip != nil && ip.IsLoopback() {
			r.From = strings.Trim(named, "[]")
		}
	}
	if len(r.What) > 300 {
		r.What = r.What[:300] + "…"
	}
	return r, true
}

// tellRefusals tells of refusals, apart from the server's goroutines, until the server ends.
func (b *Broker) tellRefusals(lines <-chan string, tell func(Refusal)) {
	ended := make(chan struct{})
	go func() {
		b.s.WaitForShutdown()
		close(ended)
	}()
	for {
		select {
		case line := <-lines:
			r, _ := refusal(line)
			if !strings.HasPrefix(r.What, "authentication error") { // whose claims count
				r.Node = b.nodeOf(line)
			}
			tell(r)
		case <-ended:
			return
		}
	}
}

// nodeOf is the name in the claims of the client that a line of the log is about.
func (b *Broker) nodeOf(line string) string {
	var opts *server.ClientOpts
	for _, kind := range []string{" - cid:", " - wid:", " - mid:", " - mid_ws:"} { // NATS, WebSocket, MQTT
		if id, ok := connection(line, kind); ok {
			if c := b.s.GetClient(id); c != nil {
				opts = c.GetOpts()
			}
		}
	}
	if id, ok := connection(line, " - lid:"); ok {
		if c := b.s.GetLeafNode(id); c != nil {
			opts = c.GetOpts()
		}
	}
	if opts == nil {
		return ""
	}
	claims, err := jwt.DecodeUserClaims(opts.JWT)
	if err != nil {
		return ""
	}
	return claims.Name
}

func connection(line, kind string) (uint64, bool) {
	_, rest, ok := strings.Cut(line, kind)
	if !ok {
		return 0, false
	}
	text, _, _ := strings.Cut(rest, " ")
	id, err := strconv.ParseUint(text, 10, 64)
	return id, err == nil
}
