package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// gather is how long changes are gathered into one report.
const gather = 50 * time.Millisecond

func randomText() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// jitter is a random part, up to a fifth, of d: thousands of nodes that start together do not ask together for ever.
func jitter(d time.Duration) time.Duration { return mrand.N(d / 5) }

// changed makes the next report come soon.
func (a *Agent) changed() {
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

// reporting tells the hub of each change, and that the node lives.
func (a *Agent) reporting(ctx context.Context) {
	for {
		a.report()
		select {
		case <-a.dirty:
			select {
			case <-time.After(gather):
			case <-ctx.Done():
			}
			// What changed while they were gathered is in this report.
			select {
			case <-a.dirty:
			default:
			}
		case <-time.After(fleet.ReportEvery - jitter(fleet.ReportEvery)):
		case <-ctx.Done():
			a.report()
			return
		}
	}
}

// Summary is a line on how the node is, for people.
func (a *Agent) Summary() string {
	r := a.describe()
	nc := a.conn()
	link := "no link"
	if nc != nil && nc.IsConnected() {
		link = "connected"
	}
	running := 0
	for _, m := range r.Modules {
		if m.Release.Name != "" {
			running++
		}
	}
	return fmt.Sprintf("%s, %s; modules that serve: %d of %d; problems: %d", r.Node, link, running, len(r.Modules), len(r.Problems))
}

func (a *Agent) report() {
	nc := a.conn()
	if nc == nil || !nc.IsConnected() {
		return // the connection's return makes a report
	}
	r := a.describe()
	r.Sequence = a.sequence.Add(1)
	b, err := json.Marshal(r)
	if err == nil {
		err = nc.Publish(fleet.TelemetrySubject(a.node, fleet.StateSubject), b)
	}
	if err != nil {
		a.log.Debug("report", "error", err)
	}
}
