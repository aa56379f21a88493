package seldom

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFloodIsAFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := Logger(slog.New(slog.NewTextHandler(&out, nil)))
		for range 1000 {
			log.With("of", 1).Warn("flood")
		}
		log.Warn("another")
		if n := strings.Count(out.String(), "\n"); n != burst+1 {
			t.Errorf("%d lines, want %d", n, burst+1)
		}
		time.Sleep(time.Second)
		log.Warn("flood")
		if !strings.Contains(out.String(), "unlogged=995") {
			t.Errorf("what was left out is not counted: %s", &out)
		}
	})
}
