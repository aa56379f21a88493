package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLinesOfOneClientAreFew(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := newFailures(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	for range 10_000 {
		f.Noticef("%s - Client connection created", "192.0.2.7:4711 - cid:7") // not logged: it takes no place
		f.Errorf("%s - Publish Violation - Subject %q", "192.0.2.7:4711 - cid:7", "cfg."+strings.Repeat("é", 3000))
		f.Warnf("%s - MQTT: bad topic", "192.0.2.7:4712 - mid:8")
	}
	if n := strings.Count(out.String(), "\n"); n < linesEach || n > 2*linesEach { // two minutes, where one ends meanwhile
		t.Errorf("%d lines of one address, want %d", n, linesEach)
	}
	if out.Len() > 2*linesEach*2*lineMost {
		t.Errorf("%d bytes", out.Len())
	}
	out.Reset()
	f.Errorf("JetStream: no space left on device") // of the server itself
	if out.Len() == 0 {
		t.Error("a line of the server is lost in those of a client")
	}
	for line, want := range map[string]string{
		`127.0.0.1:4711 - cid:7 - "v1.55.0:go:dev1" - Publish Violation`: "127.0.0.1",
		`[::1]:4711 - mid_ws:7 - x`:                                      "[::1]",
		`192.0.2.7/127.0.0.1:4711 - wid:8 - x`:                           "192.0.2.7/127.0.0.1",
		`Temporary Client Accept Error - accept: too many open files`:    "accept",
		`JetStream - invalid:x`:                                          "",
	} {
		if got := client(line); got != want {
			t.Errorf("%s: client %q, want %q", line, got, want)
		}
	}
}
