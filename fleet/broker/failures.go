package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/isomer-iot/isomer/fleet"
)

// failures is the server's log, of which fatal lines end Start.
type failures struct {
	log     *slog.Logger // nil: silent
	fatal   chan string
	refused chan string   // lines that refusal reads
	broken  chan struct{} // a write of JetStream failed
	clients *fleet.Quota
}

// What a client does wrong is a line each, and it can do so a hundred thousand times a second: one address has so many lines
// a minute, all together have so many, as in the audit log.
const (
	linesEach = 20
	linesAll  = 60
	// lineMost cuts lines in which a client names something at length: an MQTT topic may have 64 KiB.
	lineMost = 1024
)

// insideWithoutTLS is what the server says of Listen.Inside, where nobody but this process connects, at each start; --insecure
// says it of itself.
const insideWithoutTLS = "Websocket not configured with TLS. DO NOT USE IN PRODUCTION!"

func newFailures(log *slog.Logger) *failures {
	return &failures{log: log, fatal: make(chan string, 1), broken: make(chan struct{}, 1), clients: fleet.NewQuota(linesEach, linesAll, nil)}
}

func (f *failures) say(level slog.Level, line string) {
	if f.log == nil || !f.log.Enabled(context.Background(), level) {
		return
	}
	var unlogged int
	if from := client(line); from != "" {
		missed, ok := f.clients.Take(from)
		if !ok {
			return
		}
		unlogged = missed
	}
	if len(line) > lineMost {
		line = strings.ToValidUTF8(line[:lineMost], "") + "…"
	}
	if unlogged > 0 {
		f.log.Log(context.Background(), level, line, "unlogged", unlogged)
		return
	}
	f.log.Log(context.Background(), level, line)
}

// client is the address that a line of the server's log begins with, without its port, where it is about a connection:
//
//	127.0.0.1:4711 - cid:7 - "v1.55.0:go:dev1" - Publish Violation - Subject "cfg.dev2"
func client(line string) string {
	if strings.Contains(line, "Accept Error") { // 100 a second where no files are left
		return "accept"
	}
	from, rest, ok := strings.Cut(line, " - ")
	if !ok {
		return ""
	}
	switch kind, _, _ := strings.Cut(rest, ":"); kind {
	case "cid", "wid", "mid", "mid_ws", "lid", "lid_ws", "rid":
	default:
		return ""
	}
	if i := strings.LastIndexByte(from, ':'); i > 0 {
		from = from[:i]
	}
	return from
}

func (f *failures) Noticef(format string, v ...any) {
	f.say(slog.LevelDebug, fmt.Sprintf(format, v...))
}
func (f *failures) Warnf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); line != insideWithoutTLS {
		f.say(slog.LevelWarn, line)
	}
}

// Errorf hears of refusals as well: the server tells of them here alone, with its locks held.
func (f *failures) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	f.say(slog.LevelWarn, line)
	if isBroken(line) {
		select {
		case f.broken <- struct{}{}:
		default:
		}
	}
	if f.refused == nil {
		return
	}
	if _, ok := refusal(line); ok {
		select {
		case f.refused <- line:
		default: // they come faster than they are told
		}
	}
}

func (f *failures) Debugf(string, ...any) {}
func (f *failures) Tracef(string, ...any) {}

func (f *failures) Fatalf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	select {
	case f.fatal <- line:
	default:
	}
	f.say(slog.LevelError, line)
}
