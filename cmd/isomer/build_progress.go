package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows the stage that a build is at and the time of those behind it, in one line of a
// terminal. It does nothing where no one watches.
type progress struct {
	w       io.Writer // nil: nobody watches
	mu      sync.Mutex
	behind  strings.Builder
	current string
	turn    string // how far the stage is
	since   time.Time
	done    chan struct{} // nil once the line is removed
}

const eraseLine = "\r\x1b[K"

func newProgress(std streams) *progress {
	if !std.errTerminal {
		return &progress{}
	}
	p := &progress{w: std.err, done: make(chan struct{})}
	go func(done <-chan struct{}) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			}
		}
	}(p.done)
	return p
}

// stage begins the next stage.
func (p *progress) stage(name string) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != "" {
		fmt.Fprintf(&p.behind, "%s %s · ", p.current, elapsed(p.since))
	}
	p.current, p.turn, p.since = name, "", time.Now()
	p.draw()
}

// far says how far the stage is, such as "12 of 50".
func (p *progress) far(turn string) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn = turn
}

func (p *progress) draw() {
	if p.current != "" {
		fmt.Fprintf(p.w, "%s%s%s %s… %s", eraseLine, p.behind.String(), p.current, p.turn, elapsed(p.since))
	}
}

// clear removes the line. Calling it twice is no error.
func (p *progress) clear() {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		close(p.done)
		p.done = nil
		fmt.Fprint(p.w, eraseLine)
	}
	p.current = ""
}

func elapsed(since time.Time) string { return fmt.Sprintf("%.1f s", time.Since(since).Seconds()) }
