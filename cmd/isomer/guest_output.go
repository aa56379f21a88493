package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/isomer-iot/isomer"
)

// maxTalk bounds what one call may write to stdout and stderr, in bytes: enough for any stack trace, and a guest
// that prints in a loop fills neither a terminal nor a log's disk in the 30 s that it has.
const maxTalk = 1 << 20

// guestOutput forwards what a guest writes, maxTalk for each call. What comes between two calls, such as from
// golden cases, counts as one more.
type guestOutput struct {
	mu   sync.Mutex
	w    io.Writer
	used int
	cut  bool
}

// options have a module write to g and renew the bound at each call.
func (g *guestOutput) options() []isomer.Option {
	return []isomer.Option{isomer.WithOutput(g), isomer.WithObserver(g)}
}

// Write takes all of p: for the guest nothing is cut.
func (g *guestOutput) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut {
		return len(p), nil
	}
	keep := p[:min(len(p), maxTalk-g.used)]
	g.used += len(keep)
	if n, err := g.w.Write(keep); err != nil {
		return n, err
	}
	if len(keep) < len(p) {
		g.cut = true
		if _, err := fmt.Fprintf(g.w, "\n… more than %s of output from one call: the rest is dropped\n", size(maxTalk)); err != nil {
			return len(keep), err
		}
	}
	return len(p), nil
}

func (g *guestOutput) renew() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used, g.cut = 0, false
}

func (g *guestOutput) CallBegan(ctx context.Context, _ isomer.CallInfo) context.Context {
	g.renew()
	return ctx
}

func (g *guestOutput) CallEnded(context.Context, isomer.CallInfo) { g.renew() }
